//! Where a setting comes from: flag, environment, file, default, in this order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;

use anyhow::Result;
use mcsnap::words::units::to_u64;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

use crate::cli::GlobalArgs;
use crate::commands::dump::DumpArgs;
use crate::commands::get::GetArgs;
use crate::commands::inspect::InspectArgs;
use crate::commands::ls::LsArgs;
use crate::commands::restore::RestoreArgs;
use crate::commands::ring::detect::RingDetectArgs;
use crate::commands::ring::list::RingListArgs;
use crate::commands::ring::locate::RingLocateArgs;
use crate::commands::ring::plan::RingPlanArgs;
use crate::commands::salvage::SalvageArgs;
use crate::commands::verify::VerifyArgs;
use crate::connect::{HIDDEN, is_secret};
use crate::context::Format;
use crate::exit::UsageError;

/// Settings that one command, or all of them, can be given.
pub(crate) trait Section: Serialize + DeserializeOwned + Default {
    /// The mapping's name in the file; none for settings of every command.
    const NAME: Option<&'static str>;
    /// Settings that the command line has by their place, and not by a flag.
    const ARGUMENTS: &'static [&'static str] = &[];
}

/// Which layer a setting came from; a greater one hides a lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    File,
    Environment,
    Flag,
    /// A flag by its place alone.
    Argument,
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Argument => "argument",
            Self::Environment => "environment",
            Self::File => "file",
        }
    }
}

/// Settings with all layers put together; what no layer gives is left out, and
/// has its default.
#[derive(Debug)]
pub(crate) struct Resolved<T> {
    pub(crate) settings: T,
    /// Each setting that a layer gives: its value, and which layer.
    pub(crate) given: BTreeMap<String, Given>,
}

/// A setting that a layer gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// A configuration file, read and checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigFile {
    path: String,
    global: Mapping,
    commands: BTreeMap<String, Mapping>,
}

/// What the name of every variable begins with.
const PREFIX: &str = "MCSNAP_";

/// Longest configuration file, in bytes: some thousand times all settings. The
/// path may lead to a device that never ends.
const LEN_MAX: u64 = 4 << 20;

const COMMANDS: [&str; 11] = [
    "dump",
    "restore",
    "verify",
    "inspect",
    "ls",
    "get",
    "salvage",
    "ring-list",
    "ring-detect",
    "ring-locate",
    "ring-plan",
];

impl ConfigFile {
    /// Reads a file; every section is checked, not only the one that is used.
    pub(crate) fn read(path: &str) -> Result<Self> {
        let cannot_read = |error| UsageError(format!("{path}: cannot read: {error}"));
        let file = File::open(path).map_err(cannot_read)?;
        let mut text = String::new();
        file.take(LEN_MAX.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(cannot_read)?;
        if to_u64(text.len()) > LEN_MAX {
            let most = bytesize::ByteSize(LEN_MAX);
            let text = format!("{path}: longer than {most}; this is no file of settings");
            return Err(UsageError(text).into());
        }
        Self::parse(path, &text)
    }

    /// Reads the same file again.
    pub(crate) fn reread(&self) -> Result<Self> {
        if self.path.is_empty() {
            let text = "there is no configuration file; --config names one".to_owned();
            return Err(UsageError(text).into());
        }
        Self::read(&self.path)
    }

    pub(crate) fn parse(path: &str, text: &str) -> Result<Self> {
        let usage = |message: String| UsageError(format!("{path}: {message}"));
        let value: Value =
            serde_yaml::from_str(text).map_err(|error| usage(format!("not YAML: {error}")))?;
        let root = match value {
            Value::Null => Mapping::new(),
            Value::Mapping(root) => root,
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Tagged(_) => {
                return Err(usage("wanted a mapping of settings".to_owned()).into());
            }
        };
        let mut file = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        for (key, value) in root {
            let name = key.as_str().map(str::to_owned);
            match (name, value) {
                (Some(name), Value::Mapping(section)) if COMMANDS.contains(&name.as_str()) => {
                    file.commands.insert(name, section);
                }
                (Some(name), Value::Null) if COMMANDS.contains(&name.as_str()) => {}
                (Some(name), _) if COMMANDS.contains(&name.as_str()) => {
                    return Err(usage(format!("{name}: wanted a mapping of settings")).into());
                }
                (_, value) => {
                    file.global.insert(key, value);
                }
            }
        }
        file.check::<GlobalArgs>()?;
        file.check::<DumpArgs>()?;
        file.check::<InspectArgs>()?;
        file.check::<RestoreArgs>()?;
        file.check::<VerifyArgs>()?;
        file.check::<LsArgs>()?;
        file.check::<GetArgs>()?;
        file.check::<SalvageArgs>()?;
        file.check::<RingListArgs>()?;
        file.check::<RingDetectArgs>()?;
        file.check::<RingLocateArgs>()?;
        file.check::<RingPlanArgs>()?;
        Ok(file)
    }

    /// Names the place of a command's settings, for people.
    fn place(&self, section: Option<&str>) -> String {
        match section {
            Some(section) => format!("{}: {section}", self.path),
            None => self.path.clone(),
        }
    }

    /// Returns the word for the form of reports, if it has one that is known.
    pub(crate) fn format(&self) -> Option<String> {
        let word = self.global.get("format")?.as_str()?;
        let mut choices = Format::CHOICES.iter();
        let known = choices.find(|(name, _)| *name == word)?;
        Some(known.0.to_owned())
    }

    fn section(&self, name: Option<&str>) -> Mapping {
        match name {
            Some(name) => self.commands.get(name).cloned().unwrap_or_default(),
            None => self.global.clone(),
        }
    }

    fn check<T: Section>(&self) -> Result<()> {
        let place = T::NAME.map(|name| format!("{name}: ")).unwrap_or_default();
        for (key, value) in self.section(T::NAME) {
            check_setting::<T>(&key, &value)
                .map_err(|message| UsageError(format!("{}: {place}{message}", self.path)))?;
        }
        Ok(())
    }
}

/// Reads one setting alone, so that the message can name it.
fn check_setting<T: Section>(key: &Value, value: &Value) -> Result<(), String> {
    let Some(name) = key.as_str() else {
        return Err("the name of a setting is not text".to_owned());
    };
    let one = Mapping::from_iter([(key.clone(), value.clone())]);
    let Err(error) = serde_yaml::from_value::<T>(Value::Mapping(one)) else {
        return Ok(());
    };
    let names = names::<T>().unwrap_or_default();
    if names.iter().any(|known| known == name) {
        let error = error.to_string();
        // Some values say of themselves what they are.
        return Err(match error.starts_with(&format!("{name} \"")) {
            true => error,
            false => format!("{name}: {error}"),
        });
    }
    // serde knows neither the settings of parts that several commands share nor
    // the commands beside the settings.
    let settings: Vec<String> = names.iter().map(|known| format!("`{known}`")).collect();
    let commands = match T::NAME {
        Some(_) => String::new(),
        None => format!(", or a command: {}", COMMANDS.join(", ")),
    };
    let settings = settings.join(", ");
    Err(format!(
        "unknown field `{name}`, expected one of {settings}{commands}"
    ))
}

/// Takes the environment as text. What is none is left out, unless it would be
/// a setting.
pub(crate) fn read_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    for (name, value) in variables {
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => {
                environment.insert(name, value);
            }
            Err(_) if name.starts_with(PREFIX) => {
                return Err(UsageError(format!("{name}: the value is not UTF-8")).into());
            }
            Err(_) => {}
        }
    }
    Ok(environment)
}

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

/// Returns the name of the environment variable for a setting.
pub(crate) fn variable_name(section: Option<&str>, setting: &str) -> String {
    let section = section
        .map(|section| format!("{section}_"))
        .unwrap_or_default();
    format!("{PREFIX}{section}{setting}")
        .to_uppercase()
        .replace('-', "_")
}

/// Refuses variables that look like settings and are none, as a file's settings are:
/// one that is misspelled would leave out what was asked for.
pub(crate) fn check_variables(environment: &BTreeMap<String, String>) -> Result<()> {
    let mut known = vec![variable_name(None, "config")];
    known.extend(variables::<GlobalArgs>()?);
    known.extend(variables::<DumpArgs>()?);
    known.extend(variables::<InspectArgs>()?);
    known.extend(variables::<RestoreArgs>()?);
    known.extend(variables::<VerifyArgs>()?);
    known.extend(variables::<LsArgs>()?);
    known.extend(variables::<GetArgs>()?);
    known.extend(variables::<SalvageArgs>()?);
    known.extend(variables::<RingListArgs>()?);
    known.extend(variables::<RingDetectArgs>()?);
    known.extend(variables::<RingLocateArgs>()?);
    known.extend(variables::<RingPlanArgs>()?);
    let unknown: Vec<String> = environment
        .keys()
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .map(|name| match nearest(name, &known) {
            Some(meant) => format!("{name} names no setting; did you mean {meant}?"),
            None => format!("{name} names no setting"),
        })
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} (variables that begin with {PREFIX} are settings of mcsnap: rename or unset it)",
        unknown.join("; ")
    );
    Err(UsageError(message).into())
}

/// Returns the name that may have been meant: a few letters apart at most.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    const DISTANCE_MAX: usize = 3;
    let distances = known.iter().map(|known| (distance(name, known), known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= DISTANCE_MAX).then_some(nearest)
}

/// Returns how many letters must be put in, left out or changed to make one of the
/// other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(index.saturating_add(1));
        for (pair, other) in row.windows(2).zip(other.chars()) {
            let [diagonal, above] = pair else {
                break;
            };
            let left = next.last().copied().unwrap_or(usize::MAX);
            let changed = diagonal.saturating_add(usize::from(letter != other));
            next.push(
                changed
                    .min(above.saturating_add(1))
                    .min(left.saturating_add(1)),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

fn variables<T: Section>() -> Result<Vec<String>> {
    let names = names::<T>()?.into_iter();
    Ok(names.map(|name| variable_name(T::NAME, &name)).collect())
}

/// Returns the names of a section's settings: a layer with nothing in it still
/// has them all.
fn names<T: Section>() -> Result<Vec<String>> {
    let keys = to_mapping(&T::default())?.into_iter();
    Ok(keys
        .filter_map(|(key, _)| key.as_str().map(str::to_owned))
        .collect())
}

fn to_mapping<T: Serialize>(settings: &T) -> Result<Mapping> {
    match serde_yaml::to_value(settings)? {
        Value::Mapping(mapping) => Ok(mapping),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Sequence(_)
        | Value::Tagged(_) => Ok(Mapping::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file() {
        let text = "dump:\n  segment-size: 1MiB\n  connections: 3\n  to: /file\n  nodes: [a, b]\n";
        let file = ConfigFile::parse("c.yaml", text).unwrap();
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
        assert_eq!(settings.segment_size.as_deref(), Some("2MiB"));
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
        let message = |text| ConfigFile::parse("c.yaml", text).unwrap_err().to_string();
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
            unknown.contains(", or a command: dump, restore, verify, inspect, ls, get, salvage, "),
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
        assert!(ConfigFile::parse("c.yaml", "").is_ok());
    }

    #[test]
    fn a_count_that_is_not_given_hides_none_below() {
        let file = ConfigFile::parse("c.yaml", "verbose: 1\n").unwrap();
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
            check_variables(&variables).unwrap_err().to_string(),
            "MCSNAP_SEGMENT_SIZE names no setting (variables that begin with MCSNAP_ are settings \
             of mcsnap: rename or unset it)"
        );
    }

    #[test]
    fn a_misspelled_variable_is_refused_with_the_name_that_was_meant() {
        let message = |name: &str| {
            let variables = environment(&[(name, "1"), ("MCSNAP_DUMP_TO", "s")]);
            check_variables(&variables)
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
        let file = ConfigFile::parse("c.yaml", "dump:\n  auth: joe:secret\n  tls: yes\n").unwrap();
        let resolved = resolve(&DumpArgs::default(), &BTreeMap::new(), &file).unwrap();
        assert_eq!(resolved.given["auth"].value, "(hidden)");
        assert_eq!(resolved.settings.connect.tls, Some(true));
        let variables = environment(&[("MCSNAP_DUMP_AUTH", "joe:secret")]);
        let file = ConfigFile::default();
        let resolved = resolve(&DumpArgs::default(), &variables, &file).unwrap();
        assert_eq!(resolved.given["auth"].origin, Origin::Environment);
        assert!(!format!("{resolved:?}").contains("secret"));
        let wrong = ConfigFile::parse("c.yaml", "dump:\n  auth: [joe:secret]\n").unwrap_err();
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
