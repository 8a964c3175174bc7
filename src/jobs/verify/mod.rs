//! Is a snapshot whole and sound: findings, each with its place.
//!
//! A finding never stops the job; only what keeps it from going on is an error.

mod depth;
mod report;
mod run;

pub use depth::Depth;
pub use report::VerifyReport;
pub use run::{VerifyOptions, verify, verify_snapshot};
