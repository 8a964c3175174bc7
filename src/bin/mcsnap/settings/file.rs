//! The configuration file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use anyhow::Result;
use mcsnap::words::units::to_u64;
use serde_yaml::{Mapping, Value};

use crate::exit::UsageError;
use crate::settings::{Format, SectionRule};

/// A configuration file, read and checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConfigFile {
    path: String,
    global: Mapping,
    commands: BTreeMap<String, Mapping>,
}

/// Longest configuration file, in bytes: some thousand times all settings. The
/// path may lead to a device that never ends.
const LEN_MAX: u64 = 4 << 20;

impl ConfigFile {
    /// Reads a file; every section is checked, not only the one that is used.
    pub(crate) fn read(path: &str, sections: &[SectionRule]) -> Result<Self> {
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
        Self::parse(path, &text, sections)
    }

    /// Reads the same file again.
    pub(crate) fn reread(&self, sections: &[SectionRule]) -> Result<Self> {
        if self.path.is_empty() {
            let text = "there is no configuration file; --config names one".to_owned();
            return Err(UsageError(text).into());
        }
        Self::read(&self.path, sections)
    }

    pub(crate) fn parse(path: &str, text: &str, sections: &[SectionRule]) -> Result<Self> {
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
        let commands: Vec<&str> = sections.iter().filter_map(|rule| rule.name).collect();
        for (key, value) in root {
            let name = key.as_str().map(str::to_owned);
            match (name, value) {
                (Some(name), Value::Mapping(section)) if commands.contains(&name.as_str()) => {
                    file.commands.insert(name, section);
                }
                (Some(name), Value::Null) if commands.contains(&name.as_str()) => {}
                (Some(name), _) if commands.contains(&name.as_str()) => {
                    return Err(usage(format!("{name}: wanted a mapping of settings")).into());
                }
                (_, value) => {
                    file.global.insert(key, value);
                }
            }
        }
        for section in sections {
            file.check(section, &commands)?;
        }
        Ok(file)
    }

    /// Names the place of a command's settings, for people.
    pub(super) fn place(&self, section: Option<&str>) -> String {
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

    pub(super) fn section(&self, name: Option<&str>) -> Mapping {
        match name {
            Some(name) => self.commands.get(name).cloned().unwrap_or_default(),
            None => self.global.clone(),
        }
    }

    fn check(&self, section: &SectionRule, commands: &[&str]) -> Result<()> {
        let name = section.name;
        let place = name.map(|name| format!("{name}: ")).unwrap_or_default();
        for (key, value) in self.section(name) {
            section
                .check_setting(&key, &value, commands)
                .map_err(|message| UsageError(format!("{}: {place}{message}", self.path)))?;
        }
        Ok(())
    }
}
