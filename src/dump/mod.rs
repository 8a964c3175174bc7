//! The dump: items of live nodes into a snapshot.
//!
//! [`DumpPlan::make`] asks every node who it is and decides everything;
//! [`DumpPlan::run`] obeys, and returns a [`DumpReport`] that accounts for every
//! line of every walk.

mod node;
mod plan;
mod report;
mod run;

pub use plan::{DumpOptions, DumpPlan, NodePlan, NodeSource};
pub use report::{DumpReport, Kept};
