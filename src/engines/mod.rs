//! The parts that jobs are made of: reading servers, writing to them, and snapshots.

pub mod discovery;
pub mod pump;
pub mod sink;
pub mod snapshot;
pub mod source;
