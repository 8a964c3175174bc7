//! `mcsnap verify`: is a snapshot whole and sound.

use std::sync::Arc;

use anyhow::Result;
use mcsnap::engines::snapshot::write_verification;
use mcsnap::jobs::verify::{Depth, VerifyOptions, VerifyReport, verify_snapshot};
use mcsnap::ports::store::{Store, open_snapshot_place};
use mcsnap::words::defect::Severity;
use mcsnap::words::finding::Finding;
use mcsnap::words::item::escape_controls;
use mcsnap::words::units::to_u64;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::command::Command;
use crate::context::Context;
use crate::exit::Outcome;
use crate::metrics::JobNumbers;
use crate::render::{counted, finding_json, holds_row, print, size};
use crate::settings::{Format, Section, parse_map_choice, parse_threads, switch, text};
use crate::snapshots::{labelled_snapshot, required_snapshot};
use crate::stderr::{Priority, tell};

/// Check whether a snapshot is whole and sound
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct VerifyArgs {
    /// Directory or URL of the snapshot, or a segment file
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Read every byte and check the stored checksums
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) data: Option<bool>,
    /// Decode every record; check counts, digests, key index and shards
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) deep: Option<bool>,
    /// Keep the result beside the snapshot; inspect shows it
    ///
    /// A small file below `verifications/`: who has checked what, when, how
    /// deeply, and with what result. Nothing else of the snapshot changes.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) record: Option<bool>,
    /// Threads [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
    /// Map files into memory: auto or never [default: auto]
    ///
    /// auto maps files of local file systems only: a mapped file that another
    /// host cuts short ends the program with a signal.
    #[arg(long, value_name = "WHEN")]
    #[serde(deserialize_with = "text")]
    pub(crate) mmap: Option<String>,
}

impl Section for VerifyArgs {
    const NAME: Option<&'static str> = Some("verify");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

impl Command for VerifyArgs {
    const HAS_METRICS: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let settings = context.resolve(self)?.settings;
        let metrics = context.metrics();
        metrics.describe(labelled_snapshot(settings.snapshot.as_deref()), None);
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        let depth = match (settings.deep, settings.data) {
            (Some(true), _) => Depth::Deep,
            (_, Some(true)) => Depth::Data,
            _ => Depth::Quick,
        };
        let thread_count = parse_threads(settings.threads.as_deref())?;
        let map_choice = parse_map_choice(settings.mmap.as_deref())?;
        let (store, name) = open_snapshot_place(place, map_choice)?;
        let options = VerifyOptions {
            depth,
            thread_count,
        };
        let progress = context.progress();
        let report = verify_snapshot(
            Arc::clone(&store),
            &name,
            &options,
            &context.cancel,
            &progress,
        )?;
        if let Some([_, finished_at]) = &report.dump_span {
            metrics.set_snapshot_read(finished_at);
        }
        metrics.set_numbers(numbers(&report));
        let record = match settings.record {
            Some(true) => write_record(store, &name, &report)?,
            _ => None,
        };
        print_report(context, place, &report, record.as_deref())?;
        if let Some(Finding { location, defect }) = report.first_newer() {
            // As every other command tells it.
            let message = format!("{location}: {defect}");
            tell(Priority::Error, &escape_controls(&message));
            return Ok(Outcome::Newer);
        }
        Ok(if report.has_errors() {
            Outcome::Degraded
        } else {
            Outcome::Clean
        })
    }
}

/// What the metrics say.
fn numbers(report: &VerifyReport) -> JobNumbers {
    // Errors or not: what was too much to keep counts as the graver one.
    let errors = to_u64(report.count(Severity::Error)).saturating_add(report.finding_count_dropped);
    JobNumbers {
        records: vec![("checked", report.records)],
        findings: Some([errors, to_u64(report.count(Severity::Warning))]),
        segments: Some(report.segments),
        ..JobNumbers::default()
    }
}

/// Keeps the result beside the snapshot; returns the place.
fn write_record(
    store: Arc<dyn Store>,
    name: &str,
    report: &VerifyReport,
) -> Result<Option<String>> {
    let Some(record) = &report.record else {
        let place = store.describe(name);
        let message =
            format!("{place}: no record is kept: there is no manifest that it could be of");
        tell(Priority::Warning, &message);
        return Ok(None);
    };
    let place = write_verification(&*store, name, record)?;
    Ok(Some(place))
}

fn print_report(
    context: &Context,
    place: &str,
    report: &VerifyReport,
    record: Option<&str>,
) -> Result<()> {
    let (errors, warnings) = (
        report.count(Severity::Error),
        report.count(Severity::Warning),
    );
    let verdict = match (report.has_damage(), report.first_newer().is_some()) {
        (true, _) => "damaged",
        (false, true) => "unsupported",
        (false, false) => "sound",
    };
    context.log().write_findings(&report.findings);
    let [began, ended] = match &report.dump_span {
        Some([began, ended]) => [Some(began), Some(ended)],
        None => [None, None],
    };
    let document = json!({
        "schema": "mcsnap.verify/1",
        "snapshot": place,
        "verdict": verdict,
        "depth": report.depth.as_str(),
        "dump_started_at": began,
        "dump_finished_at": ended,
        "select": report.select,
        "is_sound": !report.has_errors(),
        "errors": errors,
        "warnings": warnings,
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "findings_dropped": report.finding_count_dropped,
        "segments": report.segments,
        "blocks": report.blocks,
        "records": report.records,
        "size_bytes": report.bytes,
        "record": record,
    });
    if context.format == Format::Text {
        print(finding_lines(report).as_bytes())?;
    }
    context.print_report(document, || {
        let mut rows = vec![(
            "snapshot",
            format!("{place} ({verdict}, {} check)", report.depth.as_str()),
        )];
        rows.extend(holds_row(report.select.as_deref()));
        if let (Some(began), Some(ended)) = (began, ended) {
            rows.push(("dump", format!("{began} to {ended}")));
        }
        rows.extend([
            (
                "findings",
                format!(
                    "{}, {}",
                    counted(to_u64(errors), "error"),
                    counted(to_u64(warnings), "warning")
                ),
            ),
            (
                "seen",
                format!(
                    "{} in {} of {}, {}",
                    counted(report.records, "record"),
                    counted(report.blocks, "block"),
                    counted(report.segments, "segment"),
                    size(report.bytes),
                ),
            ),
        ]);
        rows.extend(record.map(|record| ("record", record.to_owned())));
        rows
    })
}

/// Writes what was found, a line each.
fn finding_lines(report: &VerifyReport) -> String {
    let mut lines: String = report
        .findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    if report.finding_count_dropped > 0 {
        let dropped = counted(report.finding_count_dropped, "finding");
        lines.push_str(&format!("and {dropped} more\n"));
    }
    lines
}
