//! The flags of `mcsnap get`, and what it does.

use std::cell::Cell;

use anyhow::{Context as _, Result};
use mcsnap::codecs::format::manifest::Need;
use mcsnap::jobs::get::{Copy, CopyValue, LookupOptions, LookupReport, look_up};
use mcsnap::ports::store::MapChoice;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::item::{escape_bytes, escape_key};
use mcsnap::words::location::Location;
use mcsnap::words::pieces::LargeValue as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::command::Command;
use crate::commands::get::base64_value::Base64Value;
use crate::context::Context;
use crate::exit::{Outcome, UsageError};
use crate::render::record::{RecordJson, UNKNOWN, exptime, marks, moment};
use crate::render::{
    counted, finding_json, print, print_document, print_findings, print_pieces, print_text,
};
use crate::settings::{
    Format, Section, list, parse_key, parse_threads, split_commas, switch, text,
};
use crate::snapshots::{Wanted, open_snapshot, required_snapshot};
use crate::stderr::{Priority, tell};

/// Print one key of a snapshot: value and metadata
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct GetArgs {
    /// Directory or URL of the snapshot, or a segment file
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// The key, as keys are printed: \xNN for odd bytes, a backslash twice
    #[arg(value_name = "KEY")]
    #[serde(deserialize_with = "text")]
    pub(crate) key: Option<String>,
    /// Look at these nodes only, by their addresses in the snapshot
    #[arg(long, value_name = "NODE,...")]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Look at all nodes, even if the key is where the recorded ring places it
    ///
    /// Without this the node of the ring is asked first, and the others only if
    /// it did not have the key. A key can have strayed to other nodes, too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", conflicts_with = "nodes")]
    #[serde(deserialize_with = "switch")]
    pub(crate) all_nodes: Option<bool>,
    /// Print the value and nothing else, byte for byte
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) raw: Option<bool>,
    /// Segments asked side by side [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
}

impl Section for GetArgs {
    const NAME: Option<&'static str> = Some("get");
    const ARGUMENTS: &'static [&'static str] = &["snapshot", "key"];
}

impl Command for GetArgs {
    fn run(&self, context: &Context) -> Result<Outcome> {
        let settings = context.resolve(self)?.settings;
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        let Some(key) = settings.key.as_deref() else {
            return Err(UsageError("which key? pass it after the snapshot".to_owned()).into());
        };
        let key = parse_key("key", key)?;
        let options = LookupOptions {
            nodes: split_commas(&settings.nodes),
            is_every_node_asked: settings.all_nodes == Some(true),
            is_value_wanted: true,
            thread_count: parse_threads(settings.threads.as_deref())?,
        };
        // Through a map the kernel would read the values around, too.
        let snapshot = open_snapshot(place, MapChoice::Never, Need::Read, Wanted::NoSegments)?;
        let report = look_up(&snapshot, &key, &options, &context.cancel)?;
        print_findings(&report.findings, 0);
        context.log().write_findings(&report.findings);
        if settings.raw == Some(true) {
            print_raw(&key, &report, &context.cancel)?;
        } else if context.format == Format::Json {
            print_report(context, place, &key, &report)?;
        } else {
            for copy in &report.copies {
                print_copy(&key, copy, report.alone.is_some())?;
            }
        }
        tell_absence(place, &key, &report);
        Ok(
            match (report.findings.is_empty(), report.copies.is_empty()) {
                (false, _) => Outcome::Degraded,
                (true, true) => Outcome::NotFound,
                (true, false) => Outcome::Clean,
            },
        )
    }
}

/// Says on stderr why there is nothing on stdout.
fn tell_absence(place: &str, key: &[u8], report: &LookupReport) {
    if !report.copies.is_empty() {
        return;
    }
    let key = escape_key(key);
    let message = if report.findings.is_empty() {
        format!("key \"{key}\" is not in {place}")
    } else {
        format!(
            "cannot tell whether key \"{key}\" is in {place}: what says so is damaged or cannot be read"
        )
    };
    tell(Priority::Warning, &message);
}

fn print_raw(key: &[u8], report: &LookupReport, cancel: &Cancel) -> Result<()> {
    let copies = report.copies.iter();
    let mut values = copies.filter_map(|copy| Some((copy, copy.value.as_ref()?)));
    let Some((copy, value)) = values.next() else {
        return Ok(());
    };
    if values.any(|(other, other_value)| !is_same(copy, value, other, other_value)) {
        let nodes: Vec<&str> = report
            .copies
            .iter()
            .map(|copy| copy.node.as_str())
            .collect();
        let (key, nodes) = (escape_key(key), nodes.join(", "));
        return Err(UsageError(format!(
            "key \"{key}\" has different values on {nodes}; choose one with --nodes"
        ))
        .into());
    }
    match value {
        CopyValue::Whole(value) => print(value),
        CopyValue::Large(value) => print_pieces(&mut *value.open(), cancel),
    }
    .context("cannot print the value")
}

/// Says whether two copies have one value; those that are too large to be held
/// are compared by length and hash.
fn is_same(one: &Copy, value: &CopyValue, other: &Copy, other_value: &CopyValue) -> bool {
    match (value, other_value) {
        (CopyValue::Whole(value), CopyValue::Whole(other)) => value == other,
        (CopyValue::Whole(_) | CopyValue::Large(_), CopyValue::Whole(_) | CopyValue::Large(_)) => {
            (one.value_len, one.value_hash) == (other.value_len, other.value_hash)
        }
    }
}

fn print_report(context: &Context, place: &str, key: &[u8], report: &LookupReport) -> Result<()> {
    let cancel = &context.cancel;
    let failure = Cell::default();
    let copies = report.copies.iter().map(|copy| CopyJson {
        record: RecordJson::new(key, &copy.node, copy.value_len, copy.value_hash, &copy.meta),
        value_base64: copy.value.as_ref().map(|value| Base64Value {
            value,
            cancel,
            failure: &failure,
        }),
        place: copy.location.to_string(),
    });
    print_document(&GetJson {
        schema: "mcsnap.get/1",
        snapshot: place,
        key: escape_bytes(key),
        copies: copies.collect(),
        findings: report.findings.iter().map(finding_json).collect(),
        segments_asked: report.segment_count,
        asked_alone: report.alone.as_deref(),
        run: context.run().members(),
    })?;
    match failure.take() {
        Some(error) => Err(error).context("cannot print the value"),
        None => Ok(()),
    }
}

#[derive(Serialize)]
struct GetJson<'a> {
    schema: &'static str,
    snapshot: &'a str,
    key: String,
    copies: Vec<CopyJson<'a>>,
    findings: Vec<Value>,
    segments_asked: u64,
    asked_alone: Option<&'a str>,
    #[serde(flatten)]
    run: Map<String, Value>,
}

#[derive(Serialize)]
struct CopyJson<'a> {
    #[serde(flatten)]
    record: RecordJson<'a>,
    value_base64: Option<Base64Value<'a>>,
    place: String,
}

fn print_copy(key: &[u8], copy: &Copy, is_alone: bool) -> Result<()> {
    let meta = &copy.meta;
    let or_unknown = |text: Option<String>| text.unwrap_or_else(|| UNKNOWN.to_owned());
    let (segment, at) = place(&copy.location);
    let node = match is_alone {
        true => format!(
            "{}, by the recorded ring; --all-nodes asks the others, too",
            copy.node
        ),
        false => copy.node.clone(),
    };
    let mut rows = vec![
        ("key", escape_bytes(key)),
        ("node", node),
        ("expires", exptime(meta.exptime)),
        ("last access", or_unknown(meta.last_access.map(moment))),
        (
            "client flags",
            or_unknown(meta.client_flags.map(|flags| flags.to_string())),
        ),
        ("cas", or_unknown(meta.cas.map(|cas| cas.0.to_string()))),
        (
            "slab class",
            or_unknown(meta.slab_class.map(|class| class.0.to_string())),
        ),
        ("marks", marks(meta.attributes)),
        ("segment", segment),
        ("at", at),
        (
            "value",
            format!(
                "{}, XXH3-64 {:016x}",
                counted(copy.value_len.into(), "byte"),
                copy.value_hash
            ),
        ),
    ];
    let head = match &copy.value {
        Some(CopyValue::Whole(value)) => Some(value.clone()),
        Some(CopyValue::Large(value)) => value.open().next_piece()?.map(<[u8]>::to_vec),
        None => None,
    };
    rows.extend(value_rows(head.as_deref(), copy.value_len.into()));
    print_text(&rows)
}

/// Takes the place of a record apart: the file, and where in it.
fn place(location: &Location) -> (String, String) {
    if let Location::Object {
        object,
        block: Some(block),
        record: Some(record),
        offset: Some(offset),
    } = location
    {
        let at = format!("block {block}, record {record}, offset {offset}");
        return (object.clone(), at);
    }
    (location.to_string(), String::new())
}

/// Shows a value as keys are shown, in lines of 80 columns, and not all of a
/// long one, of which `value` may be the beginning.
fn value_rows(value: Option<&[u8]>, value_len: u64) -> Vec<(&'static str, String)> {
    const SHOWN_LEN_MAX: usize = 512;
    const LINE_LEN: usize = 80 - "client flags".len() - 2;
    let Some(value) = value else {
        return vec![("", "damaged, not shown".to_owned())];
    };
    let mut rows = Vec::new();
    let mut line = String::new();
    for byte in value.iter().take(SHOWN_LEN_MAX) {
        let shown = escape_bytes(&[*byte]);
        if line.len() + shown.len() > LINE_LEN {
            rows.push(("", std::mem::take(&mut line)));
        }
        line.push_str(&shown);
    }
    if !line.is_empty() {
        rows.push(("", line));
    }
    let shown_len = mcsnap::words::units::to_u64(value.len().min(SHOWN_LEN_MAX));
    let rest = value_len.saturating_sub(shown_len);
    if rest > 0 {
        let rest = counted(rest, "byte");
        rows.push(("", format!("and {rest} more; --raw prints all")));
    }
    rows
}
