//! Checks whether a snapshot is complete and sound. The result is a list of findings,
//! each with its place.
//!
//! A finding never stops the job. Only what keeps it from continuing is an error.

mod depth;
mod ordered_recount;
mod record;
mod record_tally;
mod report;
mod run;
mod shards;

pub use depth::Depth;
pub use report::VerifyReport;
pub use run::{VerifyOptions, verify, verify_snapshot};
