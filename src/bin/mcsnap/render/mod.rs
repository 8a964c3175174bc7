//! Reports on stdout, for people and for programs.

pub(crate) mod fold;
pub(crate) mod inspection;
pub(crate) mod record;
pub(crate) mod resharding;
pub(crate) mod share;
pub(crate) mod table;
pub(crate) mod unfinished;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mcsnap::codecs::format::manifest::Counters;
use mcsnap::engines::sink::NotText;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::finding::Finding;
use mcsnap::words::item::{escape_bytes, escape_controls};
use mcsnap::words::location::Location;
use mcsnap::words::pieces::Pieces;
use mcsnap::words::units::{plural, verb};
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Given;
use crate::render::fold::folded;
use crate::stderr::{Priority, tell};

/// Something was written to stdout.
static HAS_PRINTED: AtomicBool = AtomicBool::new(false);

/// Says whether anything was written to stdout. Safe in a signal's action.
pub(crate) fn has_printed() -> bool {
    HAS_PRINTED.load(Ordering::Relaxed)
}

/// Prints lines of a label and a text, the texts below each other; on a terminal,
/// each text in as many lines as its width takes.
pub(crate) fn print_text(rows: &[(&str, String)]) -> Result<()> {
    let label_width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let columns = terminal_width();
    let lines: String = rows
        .iter()
        .map(|(label, text)| {
            // Of a text that a file or a server gave, no part is a line of its own.
            let text = escape_controls(text);
            match columns {
                Some(columns) => folded(label, label_width, &text, columns),
                None => format!("{label:label_width$}  {text}\n"),
            }
        })
        .collect();
    print(lines.as_bytes())
}

/// Returns the columns of stdout, if it is a terminal.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    // One that does not tell has 0.
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Says, where a report cannot be written, what was done all the same.
pub(crate) fn told(printed: Result<()>, done: impl FnOnce() -> String) -> Result<()> {
    printed.with_context(|| format!("{}, but its report could not be written", done()))
}

/// A length of time in a report for programs.
pub(crate) fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Prints the report of a failure for programs: one line where the command prints
/// lines, and nothing where another report was begun.
pub(crate) fn print_failure(command: &str, document: &Value) -> Result<()> {
    if matches!(command, "ls" | "ring-locate") {
        return print(format!("{document}\n").as_bytes());
    }
    if has_printed() {
        return Ok(());
    }
    print_json(document)
}

/// Prints one JSON document.
pub(crate) fn print_json(document: &Value) -> Result<()> {
    print(format!("{document:#}\n").as_bytes())
}

/// Prints one JSON document as it comes, so that it need not fit memory.
pub(crate) fn print_document(document: &impl Serialize) -> Result<()> {
    HAS_PRINTED.store(true, Ordering::Relaxed);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, document)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    take_closed_pipe(written).context("cannot write to stdout")
}

/// Writes a value to stdout as it is read, as [`print`] does.
pub(crate) fn print_pieces(pieces: &mut dyn Pieces, cancel: &Cancel) -> Result<()> {
    while let Some(piece) = pieces.next_piece()? {
        cancel.check()?;
        if print_on(piece)
            .context("cannot write to stdout")?
            .is_break()
        {
            break;
        }
    }
    Ok(())
}

/// Writes to stdout. A reader who has seen enough is no failure; how the
/// command ended still goes into the exit code.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    if !bytes.is_empty() {
        HAS_PRINTED.store(true, Ordering::Relaxed);
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    take_closed_pipe(written).context("cannot write to stdout")
}

fn take_closed_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes to stdout, and says whether anybody still reads.
pub(crate) fn print_on(bytes: &[u8]) -> io::Result<ControlFlow<()>> {
    HAS_PRINTED.store(true, Ordering::Relaxed);
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}

/// Prints what is damaged on stderr, a line each: stdout is for what was asked.
pub(crate) fn print_findings(findings: &[Finding], dropped: u64) {
    for finding in findings {
        tell(Priority::Error, &finding.to_string());
    }
    if dropped > 0 {
        tell(
            Priority::Error,
            &format!("and {} more", counted(dropped, "finding")),
        );
    }
}

/// Says on stderr that some of what was printed may not be what was asked for.
pub(crate) fn print_unknown_kept(records: u64) {
    if records > 0 {
        let message = format!(
            "{} of the records: the servers did not tell what --select asks, so that they are \
             kept; ttl!=unknown and its like drop them",
            count(records)
        );
        tell(Priority::Warning, &message);
    }
}

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
    let listed = counters.listed.saturating_sub(counters.duplicate);
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

/// Writes a finding for programs.
pub(crate) fn finding_json(finding: &Finding) -> Value {
    let place = match &finding.location {
        Location::Object {
            object,
            block,
            record,
            offset,
        } => {
            json!({"object": object, "block": block, "record": record, "offset": offset})
        }
        Location::Node { node, key } => json!({"node": node, "key": key}),
        other => json!({"place": other.to_string()}),
    };
    json!({
        "code": finding.defect.code(),
        "severity": finding.severity().to_string(),
        "location": place,
        "message": finding.defect.to_string(),
    })
}

/// Writes a length of time in seconds.
pub(crate) fn seconds(length: Duration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

/// Writes a longer length of time, to the second: `3h 12m 5s`.
pub(crate) fn span(length: Duration) -> String {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    format!("{:#}", jiff::SignedDuration::from_secs(seconds))
}

/// Writes a count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Writes a number of things with separators: `1 key`, `1,234 keys`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), plural(number, noun))
}

/// Writes what a number of things do: `1 key is`, `1,234 keys are`.
pub(crate) fn counted_with(number: u64, noun: &str, verbs: [&str; 2]) -> String {
    format!("{} {}", counted(number, noun), verb(number, verbs))
}

/// Writes a number of bytes: `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_and_verbs_go_with_their_numbers() {
        assert_eq!(counted(1, "segment"), "1 segment");
        assert_eq!(counted(1_234_567, "record"), "1,234,567 records");
        assert_eq!(counted_with(1, "record", ["does", "do"]), "1 record does");
        assert_eq!(counted_with(0, "record", ["does", "do"]), "0 records do");
    }

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
    fn a_closed_pipe_is_no_failure_but_a_full_disk_is() {
        let result = |kind: io::ErrorKind| take_closed_pipe(Err(kind.into()));
        assert!(result(io::ErrorKind::BrokenPipe).is_ok());
        assert!(result(io::ErrorKind::StorageFull).is_err());
    }

    #[test]
    fn counts_that_do_not_add_up_have_a_line_and_others_have_none() {
        assert_eq!(unaccounted_row(0, "items"), None);
        let (label, text) = unaccounted_row(1200, "items").unwrap();
        assert_eq!(label, "lost");
        assert!(text.starts_with("1,200 items have no outcome, or two: "));
    }
}
