//! Dumps items of live nodes, or of a stopped server's restart file, into a snapshot.
//!
//! [`DumpPlan::make`] asks every node about itself and decides everything.
//! [`DumpPlan::run`] carries that out, and returns a [`DumpReport`] that accounts for
//! every line of every walk. [`WarmFilePlan`] does the same for a restart file.

mod balance;
mod beginning;
mod confirm;
mod node;
mod node_plan;
mod node_tries;
mod plan;
mod report;
mod run;
mod same_server;
mod vanishing;
mod warm_file;
mod warm_file_width;
mod width;

pub use node_plan::NodePlan;
pub use plan::{DumpOptions, DumpPlan, ResumeOptions, Start};
pub use report::{DumpReport, Kept, Tolerance};
pub use warm_file::{WarmFileOptions, WarmFilePlan};
