//! `mcsnap ls`: the keys of a snapshot, with their metadata.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::select::Selection;
use mcsnap::jobs::ls::{ListedRecord, ListingOptions, list};
use mcsnap::ports::store::MapChoice;
use mcsnap::words::error::{Error, Operation};
use mcsnap::words::item::{escape_bytes, escape_controls};
use mcsnap::words::units::UnixSecs;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render::record::{RecordJson, UNKNOWN, exptime, marks, moment};
use crate::render::{print, print_findings, print_on, print_unknown_kept};
use crate::settings::{
    Format, Given, Resolved, SELECT_HELP, SELECT_LONG_HELP, Section, expressions,
    list as parse_list, parse_key, parse_moment, parse_select, parse_threads, split_commas, switch,
    text,
};
use crate::snapshots::{Wanted, open_snapshot, required_snapshot};

/// List the keys of a snapshot, with their metadata
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct LsArgs {
    /// Directory or URL of the snapshot, or a segment file
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Keys that start so
    ///
    /// Written as keys are printed: \xNN for a byte that is no printable ASCII,
    /// and a backslash twice.
    #[arg(long, value_name = "TEXT")]
    #[serde(deserialize_with = "text")]
    pub(crate) prefix: Option<String>,
    /// Keys that match as a whole: * ? [a-z] {this,that}
    #[arg(long, value_name = "PATTERN")]
    #[serde(deserialize_with = "text")]
    pub(crate) glob: Option<String>,
    /// Keys of these nodes only, by their addresses in the snapshot
    #[arg(long, value_name = "NODE,...")]
    #[serde(deserialize_with = "parse_list")]
    pub(crate) nodes: Vec<String>,
    /// Show last access, client flags, slab class, marks and node, too
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) long: Option<bool>,
    /// Print the keys alone
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL", conflicts_with = "long")]
    #[serde(deserialize_with = "switch")]
    pub(crate) keys: Option<bool>,
    /// Threads [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
    #[arg(long, value_name = "EXPRESSION", help = SELECT_HELP, long_help = SELECT_LONG_HELP)]
    #[serde(deserialize_with = "expressions")]
    pub(crate) select: Vec<String>,
    /// See TTLs and idle times from this moment [default: the end of the dump]
    ///
    /// now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) at: Option<String>,
}

impl Section for LsArgs {
    const NAME: Option<&'static str> = Some("ls");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Key,
    Short,
    Long,
    Json,
}

impl Command for LsArgs {
    const PRINTS_LINES: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, given } = context.resolve(self)?;
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        let options = ListingOptions {
            nodes: split_commas(&settings.nodes),
            selection: selection(&settings)?,
            at: settings.at.as_deref().map(parse_moment).transpose()?,
            thread_count: parse_threads(settings.threads.as_deref())?,
        };
        // Through a map the kernel would read the values around, too.
        let snapshot = open_snapshot(
            place,
            MapChoice::Never,
            Need::Read,
            Wanted::Nodes(&options.nodes),
        )?;
        let line = match context.format {
            Format::Json => Line::Json,
            Format::Text => choose_line(&settings, &given),
        };
        // Whoever counts or cuts lines wants none but records.
        if io::stdout().is_terminal() {
            print(heading(line).as_bytes())?;
        }
        let report = list(
            &snapshot,
            &options,
            &context.cancel,
            &|listed, out| write_line(line, listed, out),
            &mut |bytes| {
                print_on(bytes).map_err(|error| Error::io(Operation::Write, "stdout", error))
            },
        )?;
        print_findings(&report.findings, report.finding_count_dropped);
        context.log().write_findings(&report.findings);
        print_unknown_kept(report.unknown_kept);
        tracing::info!(listed = report.listed, seen = report.seen, "listed");
        Ok(if report.findings.is_empty() {
            Outcome::Clean
        } else {
            Outcome::Degraded
        })
    }
}

/// `--prefix` and `--glob` are short for terms of `--select`.
fn selection(settings: &LsArgs) -> Result<Selection> {
    let mut selection = parse_select(&settings.select)?;
    if let Some(text) = &settings.prefix {
        selection = selection.and(Selection::prefix(&parse_key("prefix", text)?)?)?;
    }
    if let Some(pattern) = &settings.glob {
        selection = selection.and(Selection::glob(pattern)?)?;
    }
    Ok(selection)
}

/// Of the two that exclude each other, what was said last wins: a flag hides
/// what a file says.
fn choose_line(settings: &LsArgs, given: &BTreeMap<String, Given>) -> Line {
    let origin = |name: &str| given.get(name).map(|given| given.origin);
    match (settings.keys == Some(true), settings.long == Some(true)) {
        (true, true) if origin("long") > origin("keys") => Line::Long,
        (true, _) => Line::Key,
        (false, true) => Line::Long,
        (false, false) => Line::Short,
    }
}

fn heading(line: Line) -> &'static str {
    match line {
        Line::Key | Line::Json => "",
        Line::Short => "     BYTES  EXPIRES               KEY\n",
        Line::Long => {
            "     BYTES  EXPIRES               LAST ACCESS                FLAGS  SLAB  \
             MARKS                 NODE                   KEY\n"
        }
    }
}

fn write_line(line: Line, listed: &ListedRecord<'_>, out: &mut Vec<u8>) {
    let record = &listed.record;
    let meta = &record.meta;
    // Writing to memory cannot fail.
    let _ = match line {
        Line::Key => writeln!(out, "{}", escape_bytes(record.key)),
        Line::Short => writeln!(
            out,
            "{:>10}  {:20}  {}",
            record.value_len,
            exptime(meta.exptime),
            escape_bytes(record.key),
        ),
        Line::Long => writeln!(
            out,
            "{:>10}  {:20}  {:20}  {:>10}  {:>4}  {:20}  {:21}  {}",
            record.value_len,
            exptime(meta.exptime),
            or_unknown(meta.last_access.map(|UnixSecs(at)| moment(UnixSecs(at)))),
            or_unknown(meta.client_flags.map(|flags| flags.to_string())),
            or_unknown(meta.slab_class.map(|class| class.0.to_string())),
            marks(meta.attributes),
            escape_controls(listed.node),
            escape_bytes(record.key),
        ),
        Line::Json => {
            let json = RecordJson::new(
                record.key,
                listed.node,
                record.value_len,
                record.value_hash,
                meta,
            );
            serde_json::to_writer(&mut *out, &json)
                .map_err(io::Error::from)
                .and_then(|()| out.write_all(b"\n"))
        }
    };
}

fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| UNKNOWN.to_owned())
}
