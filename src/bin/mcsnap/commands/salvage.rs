//! `mcsnap salvage`: what can still be had of a damaged snapshot or segment.

use anyhow::Result;
use mcsnap::engines::snapshot::parse_name;
use mcsnap::jobs::salvage::{SalvageOptions, SalvageReport, salvage};
use mcsnap::ports::store::{DamagedPlace, create_directory_as, open_damaged_place};
use mcsnap::words::defect::Severity;
use mcsnap::words::finding::Finding;
use mcsnap::words::units::to_u64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::Command;
use crate::context::Context;
use crate::exit::{Outcome, UsageError};
use crate::memory::MemoryArgs;
use crate::metrics::JobNumbers;
use crate::render::{count, counted, finding_json, print, told};
use crate::segment_args::SegmentArgs;
use crate::settings::{Format, Section, parse_file_mode, parse_threads, text};
use crate::snapshots::{labelled_snapshot, required_snapshot};

/// Write a new snapshot of what is still sound in a damaged one
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct SalvageArgs {
    /// Directory or URL of the snapshot, or a segment file; it is only read
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Directory, or URL, below which the new snapshot gets a place of its own
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) to: Option<String>,
    /// Name of the new snapshot [default: the old one and -salvaged]
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) segments: SegmentArgs,
    /// Permissions of new files, such as 640 for a group [default: 600]
    ///
    /// Three octal digits: 6 for the owner, and 0, 4 or 6 for the group and for
    /// others. Who may read the files may enter the directories, too.
    #[arg(long, value_name = "MODE")]
    #[serde(deserialize_with = "text")]
    pub(crate) file_mode: Option<String>,
    /// Threads [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) memory: MemoryArgs,
}

impl Section for SalvageArgs {
    const NAME: Option<&'static str> = Some("salvage");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

impl Command for SalvageArgs {
    const HAS_METRICS: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let settings = context.resolve(self)?.settings;
        let metrics = context.metrics();
        metrics.describe(labelled_snapshot(settings.snapshot.as_deref()), None);
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        let to = settings.to.as_deref().ok_or_else(|| {
            UsageError("where should the new snapshot go? pass --to DIR".to_owned())
        })?;
        let mode = parse_file_mode(to, settings.file_mode.as_deref())?;
        let input = open_damaged_place(place)?;
        let name = match settings.name.as_deref() {
            Some(name) => parse_name(name)?,
            None => default_name(&input)?,
        };
        let options = SalvageOptions {
            name,
            segment_size_max: settings.segments.size_max()?,
            segment_record_count_max: settings.segments.record_count_max()?,
            compression: settings.segments.compression()?,
            thread_count: parse_threads(settings.threads.as_deref())?,
            memory_limit: settings.memory.limit()?,
        };
        let store = create_directory_as(to, mode)?;
        let progress = context.progress();
        let report = salvage(&input, store, &options, &context.cancel, &progress)?;
        metrics.set_numbers(numbers(&report));
        let findings = of_all(&report);
        context.log().write_findings(findings.iter().copied());
        let printed = print_findings_of(context, &report, &findings).and_then(|()| {
            context.print_report(report_json(place, &report), || rows(place, &report))
        });
        told(printed, || {
            let verdict = report.manifest.verdict.as_str();
            format!("snapshot {} is there ({verdict})", report.place)
        })?;
        Ok(if report.has_loss() {
            Outcome::Degraded
        } else {
            Outcome::Clean
        })
    }
}

/// What the metrics say.
fn numbers(report: &SalvageReport) -> JobNumbers {
    let findings = of_all(report);
    let count = |severity| {
        let of_it = findings.iter().filter(|it| it.severity() == severity);
        to_u64(of_it.count())
    };
    let totals = report.manifest.totals;
    let dropped = report.sum(|salvage| salvage.finding_count_dropped);
    JobNumbers {
        records: vec![
            ("stored", report.records()),
            ("duplicate", report.duplicates),
            ("lost", report.records_lost),
        ],
        lost: Some(report.records_lost),
        findings: Some([
            count(Severity::Error).saturating_add(dropped),
            count(Severity::Warning),
        ]),
        stored_bytes: Some(totals.size),
        segments: Some(totals.segments),
        nodes: Vec::new(),
    }
}

fn default_name(input: &DamagedPlace) -> Result<String> {
    let old = match input {
        DamagedPlace::Snapshot { name, .. } => name,
        DamagedPlace::Segment { object, .. } => object.strip_suffix(".mcs").unwrap_or(object),
    };
    Ok(parse_name(&format!("{old}-salvaged"))?)
}

fn report_json(place: &str, report: &SalvageReport) -> Value {
    let segments: Vec<Value> = report
        .segments
        .iter()
        .map(|segment| {
            let salvage = &segment.salvage;
            json!({
                "object": segment.place,
                "size": salvage.size,
                "records": salvage.records,
                "records_lost": salvage.records_lost,
                "is_loss_unknown": salvage.is_loss_unknown,
                "blocks_whole": salvage.blocks_whole,
                "blocks_damaged": salvage.blocks_damaged,
                "blocks_repeated": salvage.blocks_repeated,
                "bytes_lost": salvage.bytes_lost,
                "bytes_unreadable": salvage.bytes_unreadable,
                "lost_key_count": salvage.lost_key_count,
                "lost_keys": salvage.lost_keys,
                "findings_dropped": salvage.finding_count_dropped,
                "findings": salvage.findings.iter().map(finding_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "schema": "mcsnap.salvage/1",
        "from": place,
        "snapshot": report.place,
        "verdict": report.manifest.verdict.as_str(),
        "content_digest": report.manifest.content_digest,
        "records": report.records(),
        "segments_missing": report.segments_missing,
        "blocks_missing": report.blocks_missing,
        "records_lost": report.records_lost,
        "is_loss_unknown": report.is_loss_unknown,
        "duplicates": report.duplicates,
        "findings": report.findings.iter().map(finding_json).collect::<Vec<_>>(),
        "segments": segments,
    })
}

/// Returns the findings of the snapshot, and of each of its segments.
fn of_all(report: &SalvageReport) -> Vec<&Finding> {
    let of_segments = report
        .segments
        .iter()
        .flat_map(|segment| &segment.salvage.findings);
    report.findings.iter().chain(of_segments).collect()
}

/// Prints what was found as text; the other form has it in its document.
fn print_findings_of(
    context: &Context,
    report: &SalvageReport,
    findings: &[&Finding],
) -> Result<()> {
    if context.format == Format::Json {
        return Ok(());
    }
    let mut lines: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    let dropped = report.sum(|salvage| salvage.finding_count_dropped);
    if dropped > 0 {
        lines.push_str(&format!("and {} more\n", counted(dropped, "finding")));
    }
    print(lines.as_bytes())
}

fn rows(place: &str, report: &SalvageReport) -> Vec<(&'static str, String)> {
    /// More keys than this are for a program to read.
    const SHOWN_KEYS_MAX: usize = 20;
    let lost = match (report.records_lost, report.is_loss_unknown) {
        (0, false) => "none lost".to_owned(),
        (0, true) => "nothing tells how many are lost".to_owned(),
        (lost, false) => format!("{} lost", count(lost)),
        (lost, true) => format!("{} lost, and nothing tells how many more", count(lost)),
    };
    let mut rows = vec![
        (
            "snapshot",
            format!("{} ({})", report.place, report.manifest.verdict.as_str()),
        ),
        ("from", place.to_owned()),
        (
            "records",
            format!("{} recovered, {lost}", count(report.records())),
        ),
        (
            "blocks",
            format!(
                "{} whole, {} damaged or missing, {} repeated",
                count(report.sum(|salvage| salvage.blocks_whole)),
                count(
                    report
                        .sum(|salvage| salvage.blocks_damaged)
                        .saturating_add(report.blocks_missing)
                ),
                count(report.sum(|salvage| salvage.blocks_repeated)),
            ),
        ),
        (
            "bytes",
            format!(
                "{} of {} are part of nothing sound, {} of these unreadable",
                count(report.sum(|salvage| salvage.bytes_lost)),
                count(report.sum(|salvage| salvage.size)),
                count(report.sum(|salvage| salvage.bytes_unreadable)),
            ),
        ),
        ("digest", report.manifest.content_digest.to_string()),
    ];
    let keys = report
        .segments
        .iter()
        .flat_map(|segment| &segment.salvage.lost_keys);
    for key in keys.take(SHOWN_KEYS_MAX) {
        rows.push(("lost key", key.clone()));
    }
    let key_count = report.sum(|salvage| salvage.lost_key_count);
    let more = key_count.saturating_sub(to_u64(SHOWN_KEYS_MAX));
    if more > 0 {
        let more = format!(
            "and {} more; --format json lists 10,000 a segment",
            count(more)
        );
        rows.push(("", more));
    }
    rows
}
