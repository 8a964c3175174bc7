//! `mcsnap man`: a manual page of the program or of one command.

use anyhow::Result;

use crate::command::AboutProgram;
use crate::exit::{Outcome, UsageError};
use crate::render::print;

/// Print a manual page
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// A command; the program itself if left out
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

impl AboutProgram for ManArgs {
    const NAME: &'static str = "man";

    fn run(&self, program: clap::Command) -> Result<Outcome> {
        let mut program = program;
        program.build();
        let command = match &self.command {
            None => program,
            Some(name) => program.find_subcommand(name).cloned().ok_or_else(|| {
                UsageError(format!("command \"{name}\": there is none of this name"))
            })?,
        };
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        print(&page)?;
        Ok(Outcome::Clean)
    }
}
