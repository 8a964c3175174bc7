//! A command line that makes no sense: what can be told of it all the same.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;

use crate::exit;
use crate::failure::bare_document;
use crate::render::print_json;
use crate::settings::{ConfigFile, Format, SectionRule};
use crate::this_run::ThisRun;

/// Finds the form of reports as far as it is known before the settings are: by the
/// flag, the environment, or the file, in this order, and text where none says.
pub(crate) fn find_format(
    arguments: &[OsString],
    environment: &BTreeMap<String, String>,
    sections: &[SectionRule],
) -> Format {
    let arguments: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .take_while(|argument| *argument != "--")
        .collect();
    let variable = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let of_file = || {
        let path = value_of(&arguments, "--config");
        let path = path.or_else(|| variable("MCSNAP_CONFIG").cloned())?;
        // What is wrong with it is told when it is read for good.
        ConfigFile::read(&path, sections).ok()?.format()
    };
    let word = value_of(&arguments, "--format")
        .or_else(|| variable("MCSNAP_FORMAT").cloned())
        .or_else(of_file);
    let mut choices = Format::CHOICES.into_iter();
    let chosen = choices.find(|(name, _)| word.as_deref() == Some(*name));
    chosen.map_or(Format::Text, |(_, format)| format)
}

/// Returns the last value of a flag.
fn value_of(arguments: &[&str], flag: &str) -> Option<String> {
    let mut value = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if *argument == flag {
            value = rest.next().map(|value| (*value).to_owned()).or(value);
        } else if let Some(given) = argument
            .strip_prefix(flag)
            .and_then(|rest| rest.strip_prefix('='))
        {
            value = Some(given.to_owned());
        }
    }
    value
}

/// Returns the command that was meant, such as `dump` or `ring-plan`; empty where
/// none was.
fn find_command(program: &Command, arguments: &[OsString]) -> String {
    let mut names = Vec::new();
    let mut command = program;
    for argument in arguments.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(found) = command.find_subcommand(argument) {
            names.push(argument);
            command = found;
        }
    }
    names.join("-")
}

/// Ends with what clap has to say: help, which is no error, or what is wrong.
pub(crate) fn end(
    error: &clap::Error,
    format: Format,
    program: &Command,
    arguments: &[OsString],
) -> ExitCode {
    // Nothing is left to tell it to if these fail.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if format == Format::Json {
        let run = ThisRun::begin(&find_command(program, arguments));
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        let message = line.strip_prefix("error: ").unwrap_or(line);
        let document = bare_document(&run, "failed", "usage", message, exit::USAGE);
        let _ = print_json(&document);
    }
    ExitCode::from(exit::USAGE)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_form_is_found_where_a_flag_or_a_variable_says_it() {
        let find = |arguments: &[&str], variable: &str| {
            let environment = BTreeMap::from([("MCSNAP_FORMAT".to_owned(), variable.to_owned())]);
            find_format(&words(arguments), &environment, &[])
        };
        assert_eq!(find(&["mcsnap", "--format", "json"], ""), Format::Json);
        assert_eq!(find(&["mcsnap", "x", "--format=json"], ""), Format::Json);
        assert_eq!(find(&["mcsnap"], "json"), Format::Json);
        assert_eq!(find(&["mcsnap", "--format=text"], "json"), Format::Text);
        assert_eq!(find(&["mcsnap", "--", "--format=json"], ""), Format::Text);
        assert_eq!(find(&["mcsnap", "--format"], ""), Format::Text);
        assert_eq!(find(&["mcsnap", "--format", "yaml"], ""), Format::Text);
    }

    #[test]
    fn the_command_is_found_among_wrong_flags() {
        let find = |arguments: &[&str]| find_command(&Cli::command(), &words(arguments));
        assert_eq!(find(&["mcsnap", "-x", "dump", "--nope"]), "dump");
        assert_eq!(find(&["mcsnap", "ring", "plan", "s"]), "ring-plan");
        assert_eq!(find(&["mcsnap", "dumb"]), "");
    }
}
