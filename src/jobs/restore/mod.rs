//! Restores a snapshot into live nodes, placing keys as the client does.
//!
//! [`RestorePlan::make`] asks the nodes and decides everything. [`RestorePlan::estimate`]
//! reports what would go where. [`RestorePlan::run`] carries it out, and returns a
//! [`RestoreReport`] that accounts for every record.

mod block_reader;
mod capacity;
mod clocks;
mod counting;
mod cursor;
mod duplicate_search;
mod duplicates;
mod end;
mod estimate;
mod eviction_watch;
mod filter;
mod key_scan;
mod node_sink;
mod options;
mod plan;
mod report;
mod run;
mod targets;
mod unheld;
mod width;

pub use capacity::{Capacity, Fit};
pub use clocks::TtlClock;
pub use cursor::BlockOrder;
pub use estimate::{NodeEstimate, RestoreEstimate};
pub use options::RestoreOptions;
pub use plan::RestorePlan;
pub use report::{EndedRestore, NodeRestore, RestoreReport};
pub use targets::{LeftOut, TargetNode, TargetPlan};
pub use unheld::{UnheldCounts, UnheldGroup};
