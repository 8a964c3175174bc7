//! Copying a snapshot, for the two commands that do.

mod args;
mod report;
mod run;

pub(crate) use args::TransferArgs;
pub(crate) use run::{Request, run};
