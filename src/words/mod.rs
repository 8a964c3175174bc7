//! The vocabulary of all floors: small types and their errors, without any I/O.

pub mod access;
pub mod budget;
pub mod cancel;
pub mod counters;
pub mod decimal;
pub mod defect;
pub mod error;
pub mod finding;
pub mod item;
pub mod limits;
pub mod location;
pub mod node;
pub mod pieces;
pub mod progress;
pub mod reasons;
pub mod units;
