//! The command line: the program's own flags, and a command.

use clap::Parser;

use crate::command::GivenCommand;
use crate::settings::GlobalArgs;

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
    pub(crate) command: GivenCommand,
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, CommandFactory as _};

    use super::*;
    use crate::registry::sections;
    use crate::settings::variable_name;

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
        for name in sections().iter().filter_map(|section| section.name) {
            let mut command = &program;
            for word in name.split('-') {
                command = command.find_subcommand(word).unwrap();
            }
            add(Some(name), command);
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
