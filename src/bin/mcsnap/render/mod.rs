//! Reports on stdout, for people and for programs.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::config::Given;

/// Prints lines of a label and a text, the texts below each other.
pub(crate) fn print_text(rows: &[(&str, String)]) -> Result<()> {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for (label, text) in rows {
        writeln!(out, "{label:width$}  {text}")?;
    }
    Ok(())
}

/// Prints one JSON document.
pub(crate) fn print_json(document: &Value) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Writes the settings that are no defaults, for people.
pub(crate) fn given_rows(given: &BTreeMap<String, Given>) -> Vec<(&'static str, String)> {
    let row = |(name, given): (&String, &Given)| {
        (
            "setting",
            format!("{name} = {} ({})", given.value, given.origin.as_str()),
        )
    };
    given.iter().map(row).collect()
}

/// Writes the settings that are no defaults, for programs.
pub(crate) fn given_json(given: &BTreeMap<String, Given>) -> Value {
    let entry = |(name, given): (&String, &Given)| {
        let entry = json!({"value": given.value, "origin": given.origin.as_str()});
        (name.clone(), entry)
    };
    Value::Object(given.iter().map(entry).collect())
}

/// Writes a length of time in seconds.
pub(crate) fn seconds(length: Duration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

/// Writes a count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Writes a number of bytes: `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}
