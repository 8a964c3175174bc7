//! Where a setting comes from: flag, environment, file, default, in this order.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_yaml::{Mapping, Value};

use crate::exit::UsageError;
use crate::settings::secret::{HIDDEN, is_secret};
use crate::settings::section::{names, to_mapping};
use crate::settings::{ConfigFile, Given, Origin, Resolved, Section, variable_name};

/// Puts the layers together.
pub(crate) fn resolve<T: Section>(
    flags: &T,
    environment: &BTreeMap<String, String>,
    file: &ConfigFile,
) -> Result<Resolved<T>> {
    let mut merged = Mapping::new();
    let mut given = BTreeMap::new();
    let layers = [
        (Origin::File, file.section(T::NAME)),
        (Origin::Environment, environment_layer::<T>(environment)?),
        (Origin::Flag, to_mapping(flags)?),
    ];
    for (origin, layer) in layers {
        for (key, layered) in layer {
            let is_given = match &layered {
                Value::Null => false,
                Value::Sequence(items) => !items.is_empty(),
                Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Mapping(_)
                | Value::Tagged(_) => true,
            };
            if is_given {
                let name = key.as_str().unwrap_or_default().to_owned();
                let value = match is_secret(&name) {
                    true => HIDDEN.to_owned(),
                    false => shown(&layered),
                };
                let is_argument = T::ARGUMENTS.contains(&name.as_str());
                let origin = if origin == Origin::Flag && is_argument {
                    Origin::Argument
                } else {
                    origin
                };
                given.insert(name, Given { value, origin });
                merged.insert(key, layered);
            }
        }
    }
    let settings = serde_yaml::from_value(Value::Mapping(merged))
        .map_err(|error| UsageError(error.to_string()))?;
    Ok(Resolved { settings, given })
}

/// Returns where a wrong value was written, if not on the command line: the file
/// and the command, or the variable. The value is that of the field, or a part of
/// another setting's, such as a node in a list.
pub(crate) fn place_of<T: Section>(
    resolved: &Resolved<T>,
    file: &ConfigFile,
    field: &str,
    value: &str,
) -> Option<String> {
    let by_name = resolved.given.get_key_value(field);
    let mut given = resolved.given.iter();
    let (name, given) = by_name
        .or_else(|| given.find(|(_, given)| !value.is_empty() && given.value.contains(value)))?;
    match given.origin {
        Origin::Flag | Origin::Argument => None,
        Origin::Environment => Some(variable_name(T::NAME, name)),
        Origin::File => Some(file.place(T::NAME)),
    }
}

/// Writes a value as a flag would have it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null | Value::Mapping(_) | Value::Tagged(_) => String::new(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(items) => items.iter().map(shown).collect::<Vec<_>>().join(","),
    }
}

/// Returns the settings that the environment gives: `MCSNAP_`, the command if it
/// is one's, and the flag, in capitals with underscores. Two commands may have a
/// flag of one name and different meaning, such as `--to`.
fn environment_layer<T: Section>(environment: &BTreeMap<String, String>) -> Result<Mapping> {
    let mut layer = Mapping::new();
    for name in names::<T>()? {
        let variable = variable_name(T::NAME, &name);
        // Empty is how a unit file or a container says "not set".
        let text = environment.get(&variable).filter(|text| !text.is_empty());
        if let Some(text) = text {
            let one = Mapping::from_iter([(name.into(), Value::String(text.clone()))]);
            serde_yaml::from_value::<T>(Value::Mapping(one.clone()))
                .map_err(|error| UsageError(format!("{variable}: {error}")))?;
            layer.extend(one);
        }
    }
    Ok(layer)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::commands::dump::DumpArgs;
    use crate::registry::sections;
    use crate::settings::{GlobalArgs, check_variables, read_environment};

    fn parse(text: &str) -> Result<ConfigFile> {
        ConfigFile::parse("c.yaml", text, &sections())
    }

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file() {
        let text = "dump:\n  segment-size: 1MiB\n  connections: 3\n  to: /file\n  nodes: [a, b]\n";
        let file = parse(text).unwrap();
        let variables = environment(&[
            ("MCSNAP_DUMP_SEGMENT_SIZE", "2MiB"),
            ("MCSNAP_DUMP_TO", "/environment"),
            ("MCSNAP_DUMP_ALLOW_PARTIAL", "1"),
        ]);
        let flags = DumpArgs {
            to: Some("/flag".to_owned()),
            ..DumpArgs::default()
        };
        let Resolved { settings, given } = resolve(&flags, &variables, &file).unwrap();
        assert_eq!(settings.to.as_deref(), Some("/flag"));
        assert_eq!(settings.segments.segment_size.as_deref(), Some("2MiB"));
        assert_eq!(settings.connections.as_deref(), Some("3"));
        assert_eq!(settings.nodes, ["a", "b"]);
        assert_eq!(settings.allow_partial, Some(true));
        assert_eq!(settings.name, None);
        assert_eq!(given["to"].origin, Origin::Flag);
        assert_eq!(given["segment-size"].origin, Origin::Environment);
        assert_eq!(given["connections"].origin, Origin::File);
        assert_eq!(given["nodes"].value, "a,b");
        assert!(!given.contains_key("name"));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_told_with_its_place() {
        let message = |text| parse(text).unwrap_err().to_string();
        let unknown = message("dump:\n  segment-sise: 1MiB\n");
        assert!(
            unknown.starts_with("c.yaml: dump: unknown field `segment-sise`"),
            "{unknown}"
        );
        assert!(unknown.contains("`segment-size`"), "{unknown}");
        let unknown = message("fromat: json\n");
        assert!(
            unknown.starts_with("c.yaml: unknown field `fromat`"),
            "{unknown}"
        );
        assert!(
            unknown.contains(", or a command: dump, inspect, verify, restore, ring-list, "),
            "{unknown}"
        );
        for (text, wanted) in [
            ("dump:\n  to: [1]\n", "c.yaml: dump: to: wanted one value"),
            (
                "restore:\n  to: [{a: 1}]\n",
                "c.yaml: restore: to: wanted one value",
            ),
            (
                "verify:\n  deep: perhaps\n",
                "c.yaml: verify: deep: \"perhaps\" is neither true nor false",
            ),
            (
                "verbose: much\n",
                "c.yaml: verbose: \"much\": wanted a number from 0 to 255",
            ),
            ("1: 2\n", "c.yaml: the name of a setting is not text"),
        ] {
            assert_eq!(message(text), wanted);
        }
        assert_eq!(message("[1]"), "c.yaml: wanted a mapping of settings");
        assert_eq!(
            message("dump: 3"),
            "c.yaml: dump: wanted a mapping of settings"
        );
        assert!(message("a: [").starts_with("c.yaml: not YAML: "));
        assert!(parse("").is_ok());
    }

    #[test]
    fn a_count_that_is_not_given_hides_none_below() {
        let file = parse("verbose: 1\n").unwrap();
        let verbose = |flag, variables: &[(&str, &str)]| {
            let flags = GlobalArgs {
                verbose: flag,
                ..GlobalArgs::default()
            };
            let resolved = resolve(&flags, &environment(variables), &file).unwrap();
            (resolved.settings.verbose, resolved.given["verbose"].origin)
        };
        assert_eq!(verbose(0, &[]), (1, Origin::File));
        let variables = [("MCSNAP_VERBOSE", "2")];
        assert_eq!(verbose(0, &variables), (2, Origin::Environment));
        assert_eq!(verbose(3, &variables), (3, Origin::Flag));
    }

    #[test]
    fn variables_that_are_empty_or_unknown_set_nothing() {
        let variables = environment(&[
            ("MCSNAP_DUMP_TO", ""),
            ("MCSNAP_DUMP_SEGMENT_SIZE", ""),
            ("MCSNAP_SEGMENT_SIZE", "1"),
            ("MCSNAP_CONFIG", "c.yaml"),
            ("MCSNAP_VERBOSE", "1"),
            ("HOME", "h"),
        ]);
        let resolved = resolve(&DumpArgs::default(), &variables, &ConfigFile::default()).unwrap();
        assert_eq!((resolved.settings.to, resolved.given.len()), (None, 0));
        assert_eq!(
            check_variables(&variables, &sections())
                .unwrap_err()
                .to_string(),
            "MCSNAP_SEGMENT_SIZE names no setting (variables that begin with MCSNAP_ are settings \
             of mcsnap: rename or unset it)"
        );
    }

    #[test]
    fn a_misspelled_variable_is_refused_with_the_name_that_was_meant() {
        let message = |name: &str| {
            let variables = environment(&[(name, "1"), ("MCSNAP_DUMP_TO", "s")]);
            check_variables(&variables, &sections())
                .err()
                .map(|error| error.to_string())
        };
        let misspelled = message("MCSNAP_DUMP_PARALEL_NODES").unwrap();
        assert!(
            misspelled.starts_with(
                "MCSNAP_DUMP_PARALEL_NODES names no setting; did you mean \
                 MCSNAP_DUMP_PARALLEL_NODES? ("
            ),
            "{misspelled}"
        );
        assert!(!message("MCSNAP_SOMETHING_ELSE").unwrap().contains("mean"));
        for known in ["MCSNAP_DUMP_AUTH", "MCSNAP_RING_PLAN_TO", "MCSNAP_CONFIG"] {
            assert_eq!(message(known), None);
        }
    }

    #[test]
    fn an_argument_is_told_from_a_flag() {
        let flags = DumpArgs {
            nodes: vec!["a:1".to_owned()],
            to: Some("s".to_owned()),
            ..DumpArgs::default()
        };
        let given = resolve(&flags, &BTreeMap::new(), &ConfigFile::default())
            .unwrap()
            .given;
        assert_eq!(given["nodes"].origin.as_str(), "argument");
        assert_eq!(given["to"].origin.as_str(), "flag");
    }

    #[cfg(unix)]
    #[test]
    fn a_setting_that_is_no_text_is_refused_and_other_variables_are_not() {
        use std::os::unix::ffi::OsStringExt as _;
        let read = |name: &str| {
            let pair = (OsString::from(name), OsString::from_vec(vec![0xff]));
            read_environment([pair].into_iter())
        };
        assert!(read("LESS").unwrap().is_empty());
        assert_eq!(
            read("MCSNAP_TO").unwrap_err().to_string(),
            "MCSNAP_TO: the value is not UTF-8"
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        let file = parse("dump:\n  auth: joe:secret\n  tls: yes\n").unwrap();
        let resolved = resolve(&DumpArgs::default(), &BTreeMap::new(), &file).unwrap();
        assert_eq!(resolved.given["auth"].value, "(hidden)");
        assert_eq!(resolved.settings.connect.tls, Some(true));
        let variables = environment(&[("MCSNAP_DUMP_AUTH", "joe:secret")]);
        let file = ConfigFile::default();
        let resolved = resolve(&DumpArgs::default(), &variables, &file).unwrap();
        assert_eq!(resolved.given["auth"].origin, Origin::Environment);
        assert!(!format!("{resolved:?}").contains("secret"));
        let wrong = parse("dump:\n  auth: [joe:secret]\n").unwrap_err();
        assert_eq!(wrong.to_string(), "c.yaml: dump: auth: wanted one value");
    }

    #[test]
    fn a_wrong_variable_is_told_by_its_name() {
        let variables = environment(&[("MCSNAP_DUMP_DRY_RUN", "maybe")]);
        let error = resolve(&DumpArgs::default(), &variables, &ConfigFile::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "MCSNAP_DUMP_DRY_RUN: \"maybe\" is neither true nor false"
        );
    }
}
