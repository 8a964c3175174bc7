//! The reports of a copy: of what was done, and of what would be.

use std::collections::BTreeMap;

use anyhow::Result;
use mcsnap::jobs::transfer::{Direction, LeftOut, TransferOptions, TransferPlan, TransferReport};
use mcsnap::words::finding::Finding;
use mcsnap::words::item::escape_controls;
use mcsnap::words::units::to_u64;
use serde_json::{Value, json};

use crate::context::Context;
use crate::render::{
    count, counted, finding_json, given_json, given_rows, print, print_text, rival_rows, size, told,
};
use crate::settings::{Format, Given};

/// More than these objects are for a program to read.
const SHOWN_MAX: usize = 20;

pub(super) fn print_plan(
    context: &Context,
    plan: &TransferPlan,
    options: &TransferOptions,
    to: &str,
    name: &str,
    given: &BTreeMap<String, Given>,
) -> Result<()> {
    if context.format == Format::Json {
        return context.print_plan(json!({
            "schema": format!("mcsnap.{}-plan/1", options.direction.as_str()),
            "from": plan.from,
            "to": to,
            "name": name,
            "is_there_already": plan.is_there_already,
            "objects": plan.objects,
            "bytes": plan.bytes,
            "objects_there": plan.objects_there,
            "bytes_there": plan.bytes_there,
            "left_out": left_out_json(&plan.left_out),
            "connection_count": options.connection_count,
            "bytes_per_second": options.bytes_per_second,
            "settings": given_json(given),
        }));
    }
    let state = match plan.is_there_already {
        true => "there already",
        false => "not made: dry run",
    };
    let place = format!("{}/{name} ({state})", to.trim_end_matches('/'));
    let mut rows = vec![
        ("snapshot", place),
        ("from", plan.from.clone()),
        ("to copy", amount(plan.objects, plan.bytes)),
    ];
    if plan.objects_there > 0 {
        let there = amount(plan.objects_there, plan.bytes_there);
        rows.push(("there", format!("{there}, by their size")));
    }
    rows.extend(left_out_rows(&plan.left_out));
    if let Some(rate) = options.bytes_per_second {
        rows.push(("limit", format!("{}/s", size(rate))));
    }
    rows.extend(given_rows(given));
    print_text(&rows)
}

pub(super) fn print_report(
    context: &Context,
    direction: Direction,
    report: &TransferReport,
) -> Result<()> {
    context.log().write_findings(&report.damage);
    let document = report_json(direction, report);
    let printed = print_lines(context, &report.damage)
        .and_then(|()| context.print_report(document, || rows(report)));
    told(printed, || match report.is_published() {
        true => format!("snapshot {} is there", report.place),
        false => format!("nothing was made of {}, which is damaged", report.from),
    })
}

/// Reports that the manifest, or a part of it, is damaged, so that nothing was begun.
pub(super) fn print_damaged_root(
    context: &Context,
    direction: Direction,
    from: &str,
    finding: &Finding,
) -> Result<()> {
    context.log().write_findings([finding]);
    print_lines(context, std::slice::from_ref(finding))?;
    let document = json!({
        "schema": format!("mcsnap.{}/1", direction.as_str()),
        "verdict": "damaged",
        "from": from,
        "snapshot": Value::Null,
        "findings": [finding_json(finding)],
    });
    context.print_report(document, || {
        vec![
            ("snapshot", NOT_MADE.to_owned()),
            ("from", format!("{from} ({DAMAGED})")),
        ]
    })
}

const NOT_MADE: &str = "none was made";
const DAMAGED: &str = "damaged; mcsnap salvage recovers what is sound";

fn report_json(direction: Direction, report: &TransferReport) -> Value {
    let verdict = match (report.was_there, report.damage.is_empty()) {
        (_, false) => "damaged",
        (true, true) => "there-already",
        (false, true) => "copied",
    };
    json!({
        "schema": format!("mcsnap.{}/1", direction.as_str()),
        "verdict": verdict,
        "from": report.from,
        "snapshot": report.is_published().then_some(&report.place),
        "place": report.place,
        "objects": report.objects,
        "bytes": report.bytes,
        "objects_kept": report.objects_kept,
        "bytes_kept": report.bytes_kept,
        "objects_again": report.objects_again,
        "rivals": report.rivals,
        "verifications": report.verifications,
        "left_out": left_out_json(&report.left_out),
        "records": report.records,
        "content_digest": report.content_digest,
        "dump_verdict": report.verdict.as_str(),
        "findings": report.damage.iter().map(finding_json).collect::<Vec<_>>(),
    })
}

fn rows(report: &TransferReport) -> Vec<(&'static str, String)> {
    let place = &report.place;
    let verdict = report.verdict.as_str();
    let mut rows = match (report.was_there, report.damage.is_empty()) {
        (true, true) => vec![
            ("snapshot", format!("{place} (there already, {verdict})")),
            ("from", report.from.clone()),
        ],
        (true, false) => vec![
            (
                "snapshot",
                format!("{place} (there already, and damaged; remove it, and copy it again)"),
            ),
            ("from", report.from.clone()),
        ],
        (false, true) => vec![
            ("snapshot", format!("{place} ({verdict})")),
            ("from", report.from.clone()),
        ],
        (false, false) => vec![
            ("snapshot", NOT_MADE.to_owned()),
            ("from", format!("{} ({DAMAGED})", report.from)),
        ],
    };
    if report.objects > 0 {
        let copied = amount(report.objects, report.bytes);
        let left = match report.is_published() {
            true => String::new(),
            false => format!(", which are left in {place}"),
        };
        rows.push(("copied", format!("{copied}{left}")));
    }
    if report.objects_kept > 0 {
        let kept = amount(report.objects_kept, report.bytes_kept);
        rows.push(("kept", format!("{kept}, copied by an earlier run")));
    }
    if report.objects_again > 0 {
        let again = counted(report.objects_again, "object");
        rows.push(("again", format!("{again}, which came out wrong at first")));
    }
    rows.push(("records", count(report.records)));
    if report.verifications > 0 {
        let records = counted(report.verifications, "record");
        rows.push(("verified", format!("{records} of verifications with it")));
    }
    rows.extend(rival_rows(&report.rivals));
    rows.extend(left_out_rows(&report.left_out));
    rows.push(("digest", report.content_digest.to_string()));
    rows
}

fn amount(objects: u64, bytes: u64) -> String {
    format!("{}, {}", counted(objects, "object"), size(bytes))
}

fn left_out_json(left_out: &[LeftOut]) -> Vec<Value> {
    let entry = |out: &LeftOut| json!({"place": out.place, "reason": out.reason});
    left_out.iter().map(entry).collect()
}

fn left_out_rows(left_out: &[LeftOut]) -> Vec<(&'static str, String)> {
    let shown = left_out.iter().take(SHOWN_MAX);
    let row = |out: &LeftOut| {
        let text = format!("{}: {}", out.place, out.reason);
        ("left out", escape_controls(&text).into_owned())
    };
    let mut rows: Vec<_> = shown.map(row).collect();
    let more = left_out.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        let more = counted(to_u64(more), "file");
        rows.push(("", format!("and {more} more; --format json lists all")));
    }
    rows
}

/// Writes what is wrong, a line each.
fn print_lines(context: &Context, findings: &[Finding]) -> Result<()> {
    if context.format == Format::Json {
        return Ok(());
    }
    let lines: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    print(lines.as_bytes())
}
