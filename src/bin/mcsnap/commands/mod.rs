//! The commands, a file for each.

pub(crate) mod completions;
pub(crate) mod dump;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod restore;
pub(crate) mod salvage;
pub(crate) mod verify;

use anyhow::Result;

use crate::cli::Command;
use crate::context::Context;
use crate::exit::Outcome;

/// Runs a command.
pub(crate) fn dispatch(context: &Context, command: Command) -> Result<Outcome> {
    match command {
        Command::Dump(args) => dump::run(context, &args),
        Command::Inspect(args) => inspect::run(context, &args),
        Command::Verify(args) => verify::run(context, &args),
        Command::Restore(args) => restore::run(context, &args),
        Command::Ls(args) => ls::run(context, &args),
        Command::Get(args) => get::run(context, &args),
        Command::Salvage(args) => salvage::run(context, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
