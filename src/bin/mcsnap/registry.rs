//! The list of all commands, each in one line. From it come the command line, what is
//! run, and the sections of settings.

use clap::error::ErrorKind;
use clap::{ArgMatches, FromArgMatches, Subcommand};

use crate::command::{CommandRule, GivenCommand};
use crate::commands::completions::CompletionsArgs;
use crate::commands::dump::DumpArgs;
use crate::commands::get::GetArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::ls::LsArgs;
use crate::commands::man::ManArgs;
use crate::commands::pull::PullArgs;
use crate::commands::push::PushArgs;
use crate::commands::repack::RepackArgs;
use crate::commands::restore::RestoreArgs;
use crate::commands::ring::detect::RingDetectArgs;
use crate::commands::ring::list::RingListArgs;
use crate::commands::ring::locate::RingLocateArgs;
use crate::commands::ring::plan::RingPlanArgs;
use crate::commands::salvage::SalvageArgs;
use crate::commands::verify::VerifyArgs;
use crate::settings::{GlobalArgs, SectionRule};

/// All commands, in the order of the help.
static COMMANDS: [Entry; 13] = [
    Entry::One(CommandRule::of::<DumpArgs>()),
    Entry::One(CommandRule::of::<InspectArgs>()),
    Entry::One(CommandRule::of::<VerifyArgs>()),
    Entry::One(CommandRule::of::<RestoreArgs>()),
    Entry::Several {
        word: "ring",
        about: "Say how clients place keys: list the rings, find a key's node, plan a change",
        commands: &[
            CommandRule::of::<RingListArgs>(),
            CommandRule::of::<RingDetectArgs>(),
            CommandRule::of::<RingLocateArgs>(),
            CommandRule::of::<RingPlanArgs>(),
        ],
    },
    Entry::One(CommandRule::of::<LsArgs>()),
    Entry::One(CommandRule::of::<GetArgs>()),
    Entry::One(CommandRule::of::<PushArgs>()),
    Entry::One(CommandRule::of::<PullArgs>()),
    Entry::One(CommandRule::of::<SalvageArgs>()),
    Entry::One(CommandRule::of::<RepackArgs>()),
    Entry::One(CommandRule::about_program::<CompletionsArgs>()),
    Entry::One(CommandRule::about_program::<ManArgs>()),
];

/// A line of the help.
#[derive(Debug)]
enum Entry {
    One(CommandRule),
    /// Commands behind a common word, with which their names begin.
    Several {
        word: &'static str,
        about: &'static str,
        commands: &'static [CommandRule],
    },
}

impl Entry {
    fn commands(&self) -> &[CommandRule] {
        match self {
            Self::One(command) => std::slice::from_ref(command),
            Self::Several { commands, .. } => commands,
        }
    }

    fn define(&self) -> clap::Command {
        let define = |rule: &CommandRule, word| (rule.define)(clap::Command::new(word));
        match self {
            Self::One(rule) => define(rule, rule.name),
            Self::Several {
                word,
                about,
                commands,
            } => {
                let below = commands.iter().map(|rule| {
                    let rest = rule.name.strip_prefix(word);
                    let rest = rest.and_then(|rest| rest.strip_prefix('-'));
                    define(rule, rest.unwrap_or(rule.name))
                });
                clap::Command::new(*word)
                    .about(*about)
                    .subcommand_required(true)
                    .arg_required_else_help(true)
                    .subcommands(below)
            }
        }
    }
}

/// Returns all sections of settings, those of every command first.
pub(crate) fn sections() -> Vec<SectionRule> {
    let of_commands = COMMANDS.iter().flat_map(Entry::commands);
    [SectionRule::of::<GlobalArgs>()]
        .into_iter()
        .chain(of_commands.filter_map(|command| command.section))
        .collect()
}

impl Subcommand for GivenCommand {
    fn augment_subcommands(program: clap::Command) -> clap::Command {
        program.subcommands(COMMANDS.iter().map(Entry::define))
    }

    fn augment_subcommands_for_update(program: clap::Command) -> clap::Command {
        Self::augment_subcommands(program)
    }

    fn has_subcommand(name: &str) -> bool {
        let mut defined = COMMANDS.iter().map(Entry::define);
        defined.any(|command| command.get_name() == name)
    }
}

impl FromArgMatches for GivenCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut words = Vec::new();
        let mut matches = matches;
        while let Some((word, below)) = matches.subcommand() {
            words.push(word);
            matches = below;
        }
        let name = words.join("-");
        let mut all = COMMANDS.iter().flat_map(Entry::commands);
        let rule = all.find(|rule| rule.name == name);
        rule.ok_or_else(|| clap::Error::new(ErrorKind::MissingSubcommand))?
            .read(matches)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
