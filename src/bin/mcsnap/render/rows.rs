//! Lines that reports of several commands have.

use std::collections::BTreeMap;

use mcsnap::engines::sink::NotText;
use mcsnap::words::counters::Counters;
use mcsnap::words::item::escape_bytes;
use serde_json::{Value, json};

use crate::render::{count, counted_with};
use crate::settings::Given;

/// Says what a snapshot holds, if its dump was not to take every item.
pub(crate) fn holds_row(select: Option<&str>) -> Option<(&'static str, String)> {
    select.map(|select| ("holds", format!("only what its dump selected: {select}")))
}

/// Says that counters do not add up, if they do not.
pub(crate) fn unaccounted_row(number: u64, what: &str) -> Option<(&'static str, String)> {
    let number = Some(number).filter(|&number| number > 0)?;
    let text = format!(
        "{} {what} have no outcome, or two: this is a bug in mcsnap; please report it",
        count(number)
    );
    Some(("lost", text))
}

/// Tells of other snapshots of a name, where the store kept no writers apart.
pub(crate) fn rival_rows(rivals: &[String]) -> Vec<(&'static str, String)> {
    let row = |rival: &String| {
        let text = format!(
            "another run wrote a snapshot of this name at the same time, which the store does not \
             prevent: {rival}"
        );
        ("rival", text)
    };
    rivals.iter().map(row).collect()
}

/// Tells of keys that no client of the ring can have.
pub(crate) fn not_text_row(found: Option<&NotText>) -> Option<(&'static str, String)> {
    let keys = counted_with(found?.keys, "key", ["is", "are"]);
    let text = format!("{keys} no UTF-8, so that no client of this ring has them");
    Some(("note", text))
}

/// Counts such keys.
pub(crate) fn not_text_count(found: Option<&NotText>) -> u64 {
    found.map_or(0, |found| found.keys)
}

/// Writes one of them as keys are printed.
pub(crate) fn not_text_example(found: Option<&NotText>) -> Option<String> {
    found.map(|found| escape_bytes(&found.example))
}

/// Writes what became of the items that were listed.
pub(crate) fn items_text(is_selected: bool, counters: &Counters) -> String {
    // Each key once, however often it was shown: lists are walked several times.
    let listed = counters.taken.saturating_sub(counters.duplicate);
    let mut text = format!(
        "{} listed: {} stored, {} vanished, {} expired",
        count(listed),
        count(counters.stored),
        count(counters.vanished),
        count(counters.expired),
    );
    if is_selected || counters.filtered > 0 {
        text.push_str(&format!(", {} filtered", count(counters.filtered)));
    }
    if counters.duplicate > 0 {
        text.push_str(&format!("; {} listed again", count(counters.duplicate)));
    }
    text
}

/// Writes kinds of losses, those alone of which there are some.
pub(crate) fn lost_text(kinds: &[(u64, &str)]) -> String {
    let kinds: Vec<String> = kinds
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, kind)| format!("{} {kind}", count(*number)))
        .collect();
    match kinds.is_empty() {
        true => "nothing".to_owned(),
        false => kinds.join(", "),
    }
}

/// Leaves out the address at the start of a reason that stands behind the node.
pub(crate) fn without_address<'a>(reason: &'a str, address: &str) -> &'a str {
    let rest = reason.strip_prefix(address);
    rest.and_then(|rest| rest.strip_prefix(": "))
        .unwrap_or(reason)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_lost_is_named() {
        assert_eq!(lost_text(&[(0, "refused"), (0, "failed")]), "nothing");
        let text = lost_text(&[(3, "refused"), (0, "failed"), (1200, "not listed")]);
        assert_eq!(text, "3 refused, 1,200 not listed");
    }

    #[test]
    fn an_address_is_not_told_twice() {
        assert_eq!(without_address("a:1: connect: no", "a:1"), "connect: no");
        assert_eq!(
            without_address("a:11: connect: no", "a:1"),
            "a:11: connect: no"
        );
    }

    #[test]
    fn counts_that_do_not_add_up_have_a_line_and_others_have_none() {
        assert_eq!(unaccounted_row(0, "items"), None);
        let (label, text) = unaccounted_row(1200, "items").unwrap();
        assert_eq!(label, "lost");
        assert!(text.starts_with("1,200 items have no outcome, or two: "));
    }
}
