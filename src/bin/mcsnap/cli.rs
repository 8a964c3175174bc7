//! The command line: the program's own flags, and the list of commands.

use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

use crate::commands::completions::CompletionsArgs;
use crate::commands::dump::DumpArgs;
use crate::commands::get::GetArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::ls::LsArgs;
use crate::commands::man::ManArgs;
use crate::commands::restore::RestoreArgs;
use crate::commands::ring::RingArgs;
use crate::commands::salvage::SalvageArgs;
use crate::commands::verify::VerifyArgs;
use crate::settings::{repeat, repeat_or_none, switch, text};

/// Snapshots of memcached: dump running servers into files, verify, restore
#[derive(Debug, Parser)]
#[command(
    name = "mcsnap",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done; 1 failed, may be run again; 2 wrong usage or input, will \
                  fail again; 3 done, with losses or findings; 4 not found; 130, 143 stopped by a \
                  signal.\n\
                  Every setting can also come from the environment (MCSNAP_<COMMAND>_<FLAG>) and \
                  from a YAML file (--config)."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Settings of every command.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct GlobalArgs {
    /// Form of the report on stdout: text or json [default: text]
    #[arg(long, global = true, value_name = "FORM")]
    #[serde(deserialize_with = "text")]
    pub(crate) format: Option<String>,
    /// YAML file with settings
    ///
    /// Its top level holds the settings of every command, and one mapping a
    /// command with the same names as the long flags.
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(skip)]
    pub(crate) config: Option<String>,
    /// Append the log to a file, a JSON object a line
    #[arg(long, global = true, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) log_file: Option<String>,
    /// Progress on stderr: auto, bars, lines, json or none [default: auto]
    #[arg(long, global = true, value_name = "KIND")]
    #[serde(deserialize_with = "text")]
    pub(crate) progress: Option<String>,
    /// Say more on stderr; twice for details, three times for all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    #[serde(deserialize_with = "repeat", serialize_with = "repeat_or_none")]
    pub(crate) verbose: u8,
    /// No progress, and no notes that the report has as well
    #[arg(short, long, global = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) quiet: Option<bool>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read all items of running servers into a snapshot
    Dump(Box<DumpArgs>),
    /// Show what is in a snapshot: key prefixes, TTLs, idle times, sizes
    Inspect(InspectArgs),
    /// Check whether a snapshot is whole and sound
    Verify(VerifyArgs),
    /// Put a snapshot into running servers, placed as your client hashes
    Restore(Box<RestoreArgs>),
    /// Say how clients place keys: list the rings, find a key's node, plan a change
    Ring(RingArgs),
    /// List the keys of a snapshot, with their metadata
    Ls(LsArgs),
    /// Print one key of a snapshot: value and metadata
    Get(GetArgs),
    /// Write a new snapshot of what is still sound in a damaged one
    Salvage(SalvageArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print a manual page
    Man(ManArgs),
}

impl Command {
    /// Returns the name by which reports, the log and the settings know it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Dump(_) => "dump",
            Self::Inspect(_) => "inspect",
            Self::Verify(_) => "verify",
            Self::Restore(_) => "restore",
            Self::Ring(args) => return format!("ring-{}", args.name()),
            Self::Ls(_) => "ls",
            Self::Get(_) => "get",
            Self::Salvage(_) => "salvage",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, CommandFactory as _};

    use super::*;
    use crate::config::variable_name;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_readme_lists_every_flag_with_its_variable_and_default() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let program = Cli::command();
        let mut rows = Vec::new();
        let mut add = |section: Option<&str>, command: &clap::Command| {
            for argument in command
                .get_arguments()
                .filter(|argument| argument.is_global_set() == section.is_none())
            {
                let Some(long) = argument.get_long() else {
                    continue;
                };
                if ["help", "version"].contains(&long) {
                    continue;
                }
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let default = help
                    .split_once("[default: ")
                    .and_then(|(_, rest)| rest.strip_suffix(']'))
                    .unwrap_or("-");
                let variable = format!("`{}`", variable_name(section, long));
                rows.push(format!("| `--{long}` | {variable} | {default} |"));
            }
        };
        add(None, &program);
        for name in [
            "dump", "restore", "verify", "inspect", "ls", "get", "salvage",
        ] {
            add(Some(name), program.find_subcommand(name).unwrap());
        }
        let ring = program.find_subcommand("ring").unwrap();
        for command in ring.get_subcommands() {
            add(Some(&format!("ring-{}", command.get_name())), command);
        }
        let missing: Vec<&String> = rows.iter().filter(|row| !readme.contains(*row)).collect();
        assert!(missing.is_empty(), "README.md lacks:\n{missing:#?}");
        for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 4 |", "| 130, 143 |"] {
            assert!(readme.contains(code), "README.md lacks exit code {code}");
        }
    }

    #[test]
    fn every_flag_has_help_and_a_value_name_in_capitals() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let name = format!("{} {}", command.get_name(), argument.get_id());
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(!help.is_empty() && !help.ends_with('.'), "{name}: help");
                assert!(help.len() <= 80, "{name}: help of {} letters", help.len());
                if takes_value(argument) {
                    let values = argument.get_value_names().unwrap_or_default();
                    assert!(!values.is_empty(), "{name}: no value name");
                    assert!(
                        values
                            .iter()
                            .all(|value| value.to_uppercase() == value.as_str()),
                        "{name}: {values:?}"
                    );
                }
            }
            command.get_subcommands().for_each(check);
        }
        fn takes_value(argument: &Arg) -> bool {
            matches!(argument.get_action(), ArgAction::Set | ArgAction::Append)
        }
        check(&Cli::command());
    }
}
