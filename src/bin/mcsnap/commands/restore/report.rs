//! The report of a restore, for people and for programs.

use anyhow::Result;
use mcsnap::codecs::format::manifest::Verdict;
use mcsnap::engines::sink::Unheld;
use mcsnap::jobs::restore::{RestorePlan, RestoreReport, UnheldGroup};
use mcsnap::words::error::Error;
use serde_json::{Value, json};

use crate::brake;
use crate::commands::restore::node_rows::{
    node_text, presence_json, presence_row, tally_json, too_large_row, unsure_row,
};
use crate::commands::restore::shared_rows::{
    clock_rows, damage_rows, only_for_json, only_for_row, select_json, select_rows, unheld_json,
};
use crate::commands::restore::verdict::verdict;
use crate::context::Context;
use crate::failure::{self, Unfinished};
use crate::render::{
    count, counted, counted_with, finding_json, lost_text, not_text_count, not_text_example,
    not_text_row, unaccounted_row,
};

/// Says how many records were left out for those of other nodes.
fn duplicates_text(duplicates: u64) -> String {
    match duplicates {
        0 => String::new(),
        duplicates => format!(
            ", {} left out for another node's (where the recorded ring looks, else the first)",
            count(duplicates)
        ),
    }
}

/// The report for programs.
fn document(
    place: &str,
    snapshot_verdict: Verdict,
    plan: &RestorePlan,
    report: &RestoreReport,
) -> Value {
    let totals = report.totals();
    let nodes: Vec<Value> = report
        .nodes
        .iter()
        .map(|node| {
            let mut value = tally_json(&node.tally);
            value["node"] = json!(node.node.to_string());
            value["evicted"] = json!(node.evicted);
            value["presence"] = json!(node.presence.map(presence_json));
            value["too_large_keys"] = json!(node.tally.too_large_keys);
            value["item_size_max"] = json!(node.item_size_max);
            value["items_end"] = json!(node.items_end);
            value["failure"] = json!(node.failure);
            value["clock_offset_s"] = json!(node.clock_offset);
            value
        })
        .collect();
    let mut document = tally_json(&totals);
    document["unsent"] = json!(totals.counters.unsent.saturating_add(report.unsent));
    document["stopped"] = json!(report.is_stopped);
    document["only_for"] = only_for_json(plan);
    document["clock_warnings"] = json!(plan.clock_warnings);
    document["schema"] = json!("mcsnap.restore/1");
    document["snapshot"] = json!(place);
    document["snapshot_verdict"] = json!(snapshot_verdict.as_str());
    document["records"] = json!(report.records);
    document["select"] = select_json(plan);
    document["filtered"] = json!(report.filtered);
    document["duplicates"] = json!(report.duplicates);
    document["unknown_kept"] = json!(report.unknown_kept);
    document["not_text"] = json!(not_text_count(report.not_text.as_ref()));
    document["not_text_example"] = json!(not_text_example(report.not_text.as_ref()));
    document["damaged"] = json!(report.damaged);
    document["unaccounted"] = json!(report.unaccounted());
    document["evicted"] = json!(report.evicted());
    document["verdict"] = json!(verdict(snapshot_verdict, report));
    document["has_losses"] = json!(report.has_losses());
    document["nodes"] = json!(nodes);
    document["brake"] = brake::report_json(&plan.options.brake.reports());
    let findings: Vec<Value> = report.findings.iter().map(finding_json).collect();
    document["findings"] = json!(findings);
    let unheld: Vec<Value> = report.unheld.iter().map(unheld_json).collect();
    document["cannot_hold"] = json!(unheld);
    document
}

/// Makes the report of a restore that ended early.
pub(super) fn unfinished(
    place: &str,
    snapshot_verdict: Verdict,
    plan: &RestorePlan,
    report: &RestoreReport,
    error: &Error,
) -> Unfinished {
    // What nobody came to has no outcome, and that is no bug.
    let not_sent = report.records.saturating_sub(report.accounted());
    let mut document = document(place, snapshot_verdict, plan, report);
    document["not_sent"] = json!(not_sent);
    document["unaccounted"] = json!(0);
    let verdict = failure::verdict(Some(error.kind()));
    let head = format!("{verdict}: {} not sent", counted(not_sent, "record"));
    Unfinished {
        document,
        rows: rows(place, &head, plan, report, false),
    }
}

pub(super) fn print_report(
    context: &Context,
    place: &str,
    snapshot_verdict: Verdict,
    plan: &RestorePlan,
    report: &RestoreReport,
) -> Result<()> {
    let document = document(place, snapshot_verdict, plan, report);
    context.print_report(document, || {
        let verdict = verdict(snapshot_verdict, report);
        let mut rows = rows(place, &verdict, plan, report, true);
        rows.extend(unaccounted_row(report.unaccounted(), "records"));
        rows
    })
}

fn rows(
    place: &str,
    verdict: &str,
    plan: &RestorePlan,
    report: &RestoreReport,
    is_asked_at_end: bool,
) -> Vec<(&'static str, String)> {
    let totals = report.totals();
    let mut rows = vec![("snapshot", format!("{place} ({verdict})"))];
    rows.extend(select_rows(plan, report.filtered, report.unknown_kept));
    rows.extend(only_for_row(plan));
    for node in &report.nodes {
        rows.push(("node", node_text(node, is_asked_at_end)));
        rows.extend(unsure_row(node));
        rows.extend(too_large_row(node));
        rows.extend(
            node.tally
                .reasons
                .iter()
                .map(|(reason, n)| ("lost", format!("{}: {reason}", counted(n, "record")))),
        );
        if node.tally.counters.not_kept > 0 {
            let not_kept = counted(node.tally.counters.not_kept, "record");
            let why = "the node said that it stored them, and does not count them as stored";
            rows.push(("lost", format!("{not_kept}: {why}")));
        }
        rows.extend(presence_row(node));
    }
    rows.extend(brake::report_rows(&plan.options.brake.reports()));
    rows.push((
        "records",
        format!(
            "{} in the snapshot: {} stored, {} existing, {} expired{}",
            count(report.records),
            count(totals.counters.stored),
            count(totals.counters.existing),
            count(totals.counters.expired),
            duplicates_text(report.duplicates),
        ),
    ));
    let is_gone_again = report
        .nodes
        .iter()
        .any(|node| node.presence.is_some_and(|seen| seen.gone > 0));
    let losses = [
        (totals.counters.too_large, "too large"),
        (totals.counters.refused, "refused"),
        (totals.counters.failed, "failed"),
        (
            totals.counters.unsent.saturating_add(report.unsent),
            "unsent",
        ),
        (totals.counters.not_kept, "not kept"),
        (report.damaged, "damaged"),
    ];
    let lost = lost_text(&losses);
    rows.push((
        "lost",
        match (is_gone_again, losses.iter().all(|(number, _)| *number == 0)) {
            (false, _) => lost,
            (true, true) => "stored keys that are gone again, above".to_owned(),
            (true, false) => format!("{lost}; and stored keys that are gone again, above"),
        },
    ));
    // What was stored lacks its CAS; where nothing was, there is nothing to note.
    let is_seen =
        |lacking: &&UnheldGroup| totals.counters.stored > 0 || lacking.what != Unheld::Cas;
    let unheld = report.unheld.iter().filter(is_seen);
    rows.extend(unheld.map(|lacking| ("note", lacking.to_string())));
    rows.extend(clock_rows(plan, totals.counters.expired));
    if totals.clamped > 0 {
        let clamped = counted_with(totals.clamped, "record", ["expires", "expire"]);
        rows.push((
            "note",
            format!(
                "{clamped} in 2038, or in 2106 by the binary protocol: earlier than the dump says"
            ),
        ));
    }
    rows.extend(not_text_row(report.not_text.as_ref()));
    rows.extend(damage_rows(0, &report.findings));
    rows
}
