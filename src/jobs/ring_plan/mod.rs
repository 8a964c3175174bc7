//! What a change of the ring moves, from the keys of a snapshot.
//!
//! Keys and metadata alone are read, no value. A key moves when the address of
//! its node changes; nodes of the old ring and of the new one with the same
//! address are the same node.
//!
//! # Not here
//!
//! The move itself, which is a `restore` to the new nodes.

mod report;
mod run;

pub use report::{Amount, Flow, FromNode, ReshardingReport, ToNode};
pub use run::{FLOW_COUNT_MAX, ReshardingOptions, plan_resharding};
