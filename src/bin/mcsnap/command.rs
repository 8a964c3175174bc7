//! What a command is: its flags, what it does, and how the program finds it.

use std::fmt;

use anyhow::Result;
use clap::ArgMatches;

use crate::context::Context;
use crate::exit::Outcome;
use crate::settings::{Section, SectionRule};

/// The flags of a command, which know what to do. Their doc comment is the command's line
/// in the help.
pub(crate) trait Command: Section + clap::Args {
    /// It can read walks of servers, which nothing may hold up.
    const HAS_WALKS: bool = false;
    /// It is a job of which metrics are of use.
    const HAS_METRICS: bool = false;
    /// Its report for programs is a JSON object a line, and no document.
    const PRINTS_LINES: bool = false;

    fn run(&self, context: &Context) -> Result<Outcome>;
}

/// The flags of a command that has no settings, and tells of the program itself.
pub(crate) trait AboutProgram: clap::Args {
    const NAME: &'static str;

    /// Takes the whole command line as it is defined.
    fn run(&self, program: clap::Command) -> Result<Outcome>;
}

/// A command of the list of all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommandRule {
    /// The name by which reports, the log and the settings know it.
    pub(crate) name: &'static str,
    pub(crate) section: Option<SectionRule>,
    pub(crate) has_walks: bool,
    pub(crate) has_metrics: bool,
    pub(crate) prints_lines: bool,
    /// Adds the flags.
    pub(crate) define: fn(clap::Command) -> clap::Command,
    read: fn(&ArgMatches) -> Result<Work, clap::Error>,
}

/// What a command does, by its flags; it may want the definition of the command line.
type Work = Box<dyn FnOnce(&Context, fn() -> clap::Command) -> Result<Outcome>>;

impl CommandRule {
    pub(crate) const fn of<T: Command + 'static>() -> Self {
        let Some(name) = T::NAME else {
            panic!("only what every command has is without a name");
        };
        Self {
            name,
            section: Some(SectionRule::of::<T>()),
            has_walks: T::HAS_WALKS,
            has_metrics: T::HAS_METRICS,
            prints_lines: T::PRINTS_LINES,
            define: T::augment_args,
            read: |matches| {
                let args = T::from_arg_matches(matches)?;
                // Where a value is wrong, it is told where it was written.
                Ok(Box::new(move |context, _| {
                    let ended = args.run(context);
                    ended.map_err(|error| context.with_place(&args, error))
                }))
            },
        }
    }

    pub(crate) const fn about_program<T: AboutProgram + 'static>() -> Self {
        Self {
            name: T::NAME,
            section: None,
            has_walks: false,
            has_metrics: false,
            prints_lines: false,
            define: T::augment_args,
            read: |matches| {
                let args = T::from_arg_matches(matches)?;
                Ok(Box::new(move |_, program| args.run(program())))
            },
        }
    }

    /// Takes the flags that were given.
    pub(crate) fn read(&'static self, matches: &ArgMatches) -> Result<GivenCommand, clap::Error> {
        Ok(GivenCommand {
            rule: self,
            work: (self.read)(matches)?,
        })
    }
}

/// The command of a command line, with its flags.
pub(crate) struct GivenCommand {
    pub(crate) rule: &'static CommandRule,
    work: Work,
}

impl GivenCommand {
    pub(crate) fn run(self, context: &Context, program: fn() -> clap::Command) -> Result<Outcome> {
        (self.work)(context, program)
    }
}

impl fmt::Debug for GivenCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GivenCommand")
            .field(&self.rule.name)
            .finish()
    }
}
