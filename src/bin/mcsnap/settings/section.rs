//! Sections: the settings of one command, or of all of them.

use anyhow::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_yaml::{Mapping, Value};

/// Settings that one command, or all of them, can be given.
pub(crate) trait Section: Serialize + DeserializeOwned + Default {
    /// The mapping's name in the file; none for settings of every command.
    const NAME: Option<&'static str>;
    /// Settings that the command line has by their place, and not by a flag.
    const ARGUMENTS: &'static [&'static str] = &[];
}

/// A section, for who checks all of them and needs the values of none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SectionRule {
    pub(crate) name: Option<&'static str>,
    read: fn(Value) -> Result<(), serde_yaml::Error>,
    names: fn() -> Result<Vec<String>>,
}

impl SectionRule {
    pub(crate) const fn of<T: Section>() -> Self {
        Self {
            name: T::NAME,
            read: |value| serde_yaml::from_value::<T>(value).map(drop),
            names: names::<T>,
        }
    }

    /// Returns the names of all its settings.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        (self.names)()
    }

    /// Reads one setting alone, so that the message can name it; `commands` are what may
    /// stand beside the settings.
    pub(crate) fn check_setting(
        &self,
        key: &Value,
        value: &Value,
        commands: &[&str],
    ) -> Result<(), String> {
        let Some(name) = key.as_str() else {
            return Err("the name of a setting is not text".to_owned());
        };
        let one = Mapping::from_iter([(key.clone(), value.clone())]);
        let Err(error) = (self.read)(Value::Mapping(one)) else {
            return Ok(());
        };
        let names = self.names().unwrap_or_default();
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
        let commands = match self.name {
            Some(_) => String::new(),
            None => format!(", or a command: {}", commands.join(", ")),
        };
        let settings = settings.join(", ");
        Err(format!(
            "unknown field `{name}`, expected one of {settings}{commands}"
        ))
    }
}

/// Returns the names of a section's settings: a layer with nothing in it still
/// has them all.
pub(super) fn names<T: Section>() -> Result<Vec<String>> {
    let keys = to_mapping(&T::default())?.into_iter();
    Ok(keys
        .filter_map(|(key, _)| key.as_str().map(str::to_owned))
        .collect())
}

pub(super) fn to_mapping<T: Serialize>(settings: &T) -> Result<Mapping> {
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
