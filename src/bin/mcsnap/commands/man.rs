//! `mcsnap man`: a manual page of the program or of one command.

use anyhow::Result;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::{Outcome, UsageError};
use crate::render::print;

/// Flags of `mcsnap man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// A command; the program itself if left out
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

pub(crate) fn run(args: &ManArgs) -> Result<Outcome> {
    let mut program = Cli::command();
    program.build();
    let command = match &args.command {
        None => program,
        Some(name) => program
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| UsageError(format!("command \"{name}\": there is none of this name")))?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    print(&page)?;
    Ok(Outcome::Clean)
}
