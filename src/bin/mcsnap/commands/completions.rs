//! `mcsnap completions`: the completion script of a shell.

use anyhow::Result;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::exit::Outcome;
use crate::render::print;

/// Flags of `mcsnap completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> Result<Outcome> {
    // Into memory first: the generator panics where the pipe is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mcsnap", &mut script);
    print(&script)?;
    Ok(Outcome::Clean)
}
