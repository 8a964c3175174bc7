//! The environment as a layer of settings.

use std::collections::BTreeMap;
use std::ffi::OsString;

use anyhow::Result;

use crate::exit::UsageError;
use crate::settings::SectionRule;

/// What the name of every variable begins with.
const PREFIX: &str = "MCSNAP_";

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
pub(crate) fn check_variables(
    environment: &BTreeMap<String, String>,
    sections: &[SectionRule],
) -> Result<()> {
    let mut known = vec![variable_name(None, "config")];
    for section in sections {
        let names = section.names()?.into_iter();
        known.extend(names.map(|name| variable_name(section.name, &name)));
    }
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
