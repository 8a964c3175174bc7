//! `mcsnap completions`: the completion script of a shell.

use anyhow::Result;

use crate::command::AboutProgram;
use crate::exit::Outcome;
use crate::render::print;

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl AboutProgram for CompletionsArgs {
    const NAME: &'static str = "completions";

    fn run(&self, mut program: clap::Command) -> Result<Outcome> {
        // Into memory first: the generator panics where the pipe is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "mcsnap", &mut script);
        print(&script)?;
        Ok(Outcome::Clean)
    }
}
