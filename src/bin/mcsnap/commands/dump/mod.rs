//! `mcsnap dump`: all items of running servers into a snapshot.

mod args;
mod hints;
mod kept;
mod naming;
mod options;
mod plan_report;
mod recorded_ring;
mod report;
mod run;
mod space;
mod unfinished;
mod warm_file;

pub(crate) use args::DumpArgs;
