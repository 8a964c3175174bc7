//! Computes what a change of the ring moves, from the keys of a snapshot.
//!
//! Only keys and metadata are read. A key moves if the address of its node changes; a
//! node of the old ring and a node of the new ring with the same address are the same
//! node.
//!
//! # Not here
//!
//! The move itself, which is a `restore` to the new nodes.

mod report;
mod run;

pub use report::{Amount, Flow, FromNode, ReshardingReport, ToNode};
pub use run::{FLOW_COUNT_MAX, ReshardingOptions, plan_resharding};
