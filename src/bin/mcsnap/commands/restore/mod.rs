//! `mcsnap restore`: a snapshot into running servers.

mod args;
mod capacity;
mod consent;
mod node_rows;
mod numbers;
mod options;
mod plan_report;
mod report;
mod run;
mod shared_rows;
mod verdict;

pub(crate) use args::RestoreArgs;
