//! The report of a dump, for people and for programs.

use anyhow::Result;
use mcsnap::codecs::format::manifest::{Manifest, ManifestNode, Verdict};
use mcsnap::jobs::dump::DumpReport;
use mcsnap::ports::net::BrakeReport;
use mcsnap::words::units::to_u64;
use serde_json::{Value, json};

use crate::brake;
use crate::commands::dump::kept::{kept_text, with_kept};
use crate::context::Context;
use crate::metrics::{JobNumbers, NodeNumbers};
use crate::render::share::share_text;
use crate::render::{
    count, counted, holds_row, items_text, lost_text, rival_rows, size, told, unaccounted_row,
    without_address,
};
use crate::snapshots::clock_warnings;

pub(super) fn print_report(
    context: &Context,
    report: &DumpReport,
    braked: &[BrakeReport],
) -> Result<()> {
    let metrics = context.metrics();
    metrics.set_snapshot_written(&report.manifest.finished_at);
    metrics.set_numbers(numbers(report));
    let mut document = document(report);
    document["brake"] = brake::report_json(braked);
    let printed = context.print_report(document, || rows(report, braked));
    told(printed, || {
        let verdict = report.manifest.verdict.as_str();
        format!("snapshot {} is there ({verdict})", report.place)
    })
}

/// The report for programs.
fn document(report: &DumpReport) -> Value {
    let manifest = &report.manifest;
    let counters = manifest.counters();
    let totals = manifest.totals;
    let document = json!({
        "schema": "mcsnap.dump/1",
        "snapshot": report.place,
        "name": manifest.name,
        "snapshot_id": manifest.snapshot_id,
        "verdict": manifest.verdict,
        "completeness_percent": (manifest.verdict != Verdict::Partial)
            .then(|| report.completeness()),
        "records": totals.records,
        "segments": totals.segments,
        "size_bytes": totals.size,
        "key_bytes": totals.key_bytes,
        "value_bytes": totals.value_bytes,
        "content_digest": manifest.content_digest,
        "content_digest_exptime": manifest.content_digest_exptime,
        "listed": counters.taken,
        "stored": counters.stored,
        "vanished": counters.vanished,
        "expired": counters.expired,
        "duplicate": counters.duplicate,
        "filtered": counters.filtered,
        "ring": manifest.ring,
        "select": manifest.select,
        "refused": counters.refused,
        "failed": counters.failed,
        "missing": counters.missing,
        "unlisted": manifest.unlisted(),
        "unsure": manifest.unsure(),
        "unknown_kept": report.unknown_kept,
        "unsettled": report.unsettled,
        "walks_given_up": report.walks_given_up,
        "unaccounted": report.unaccounted,
        "rivals": report.rivals,
        "win_tokens_returned": report.win_tokens_returned,
        "win_tokens_kept": report.win_tokens_kept,
        "clock_warnings": clock_warnings(manifest),
        "nodes": manifest.nodes.iter().map(node_json).collect::<Vec<_>>(),
    });
    with_kept(document, &report.kept)
}

/// What the metrics say.
fn numbers(report: &DumpReport) -> JobNumbers {
    let manifest = &report.manifest;
    let counters = manifest.counters();
    let node = |node: &ManifestNode| NodeNumbers {
        node: node.address.clone(),
        stored: node.counters.stored,
        lost: node.losses(),
        has_failed: node.failure.is_some(),
    };
    JobNumbers {
        records: vec![
            ("stored", counters.stored),
            ("vanished", counters.vanished),
            ("expired", counters.expired),
            ("duplicate", counters.duplicate),
            ("filtered", counters.filtered),
            ("refused", counters.refused),
            ("failed", counters.failed),
            ("missing", counters.missing),
            ("unlisted", manifest.unlisted()),
            ("unsure", manifest.unsure()),
            ("unaccounted", report.unaccounted),
        ],
        lost: Some(manifest.losses().saturating_add(report.unaccounted)),
        findings: None,
        stored_bytes: Some(manifest.totals.size),
        segments: Some(manifest.totals.segments),
        nodes: manifest.nodes.iter().map(node).collect(),
    }
}

fn failed_servers(manifest: &Manifest) -> u64 {
    let failed = manifest.nodes.iter().filter(|node| node.failure.is_some());
    to_u64(failed.count())
}

/// Says how much of what should be there is.
fn complete_text(report: &DumpReport) -> String {
    let manifest = &report.manifest;
    let failed = failed_servers(manifest);
    if failed > 0 {
        let servers = counted(failed, "failed server");
        return format!("not known: nobody can tell what else {servers} had");
    }
    let at_least = if manifest.unsure() > 0 {
        "at least "
    } else {
        ""
    };
    let percent = floored(report.completeness());
    format!("{at_least}{percent} % of what should be there")
}

fn rows(report: &DumpReport, braked: &[BrakeReport]) -> Vec<(&'static str, String)> {
    let manifest = &report.manifest;
    let counters = manifest.counters();
    let totals = manifest.totals;
    let mut rows = vec![(
        "snapshot",
        format!("{} ({})", report.place, manifest.verdict.as_str()),
    )];
    if report.kept.since.is_some() {
        rows.push(("kept", kept_text(&report.kept)));
    }
    for node in &manifest.nodes {
        rows.push(("node", node_text(node)));
        rows.extend(unlisted_row(node));
        rows.extend(unsure_row(node));
        rows.extend(
            node.reasons
                .iter()
                .map(|(reason, n)| ("lost", format!("{}: {reason}", counted(n, "item")))),
        );
    }
    rows.extend(
        clock_warnings(manifest)
            .into_iter()
            .map(|text| ("warning", text)),
    );
    rows.extend(brake::report_rows(braked));
    if let Some(ring) = &manifest.ring {
        rows.push(("ring", ring.clone()));
    }
    rows.extend(holds_row(manifest.select.as_deref()));
    if report.unknown_kept > 0 {
        let unknown = counted(report.unknown_kept, "item");
        let text = format!("{unknown} kept though the servers do not tell what --select asks");
        rows.push(("select", text));
    }
    if report.win_tokens_kept > 0 {
        let tokens = count(report.win_tokens_kept);
        let text = format!(
            "{tokens} stale items are not made again by a client before they expire: reading them \
             took their win token, and the server did not take it back"
        );
        rows.push(("stale", text));
    }
    for node in &report.walks_given_up {
        let text = format!(
            "{node}: the first one was given up, since the disk of the spool did not keep up; the \
             keys were listed once more, by slab classes"
        );
        rows.push(("walks", text));
    }
    rows.extend(rival_rows(&report.rivals));
    if report.unsettled > 0 {
        let unsettled = counted(report.unsettled, "item");
        let reason = "items are added faster than the lists are walked";
        let text = format!("{unsettled} first seen in the last walk: {reason}");
        rows.push(("walks", text));
    }
    rows.extend(unaccounted_row(report.unaccounted, "items"));
    rows.push(("items", items_text(manifest.select.is_some(), &counters)));
    let losses = [
        (counters.refused, "refused"),
        (counters.failed, "failed"),
        (counters.missing, "missing"),
        (manifest.unlisted(), "not listed"),
    ];
    let failed = failed_servers(manifest);
    let lost = match (failed, losses.iter().all(|(number, _)| *number == 0)) {
        (0, _) => lost_text(&losses),
        (_, true) => format!("all else that {} had", counted(failed, "failed server")),
        (_, false) => format!(
            "{}, and all else that {} had",
            lost_text(&losses),
            counted(failed, "failed server")
        ),
    };
    rows.push(("lost", lost));
    rows.push(("complete", complete_text(report)));
    rows.push((
        "size",
        format!(
            "{} in {}, for {} of keys and values",
            size(totals.size),
            counted(totals.segments, "segment"),
            size(totals.key_bytes.saturating_add(totals.value_bytes)),
        ),
    ));
    rows.push(("digest", manifest.content_digest.to_string()));
    rows
}

/// Says how many items the node did not list.
fn unlisted_row(node: &ManifestNode) -> Option<(&'static str, String)> {
    if node.unlisted == 0 {
        return None;
    }
    // Each key once, however many walks have shown it.
    let seen = node.counters.taken.saturating_sub(node.counters.duplicate);
    let share = share_text(seen, seen.saturating_add(node.unlisted));
    let unlisted = counted(node.unlisted, "item");
    let reason = "the server counts them, and its listing does not show them";
    let text = format!("{unlisted}: {reason} ({share} % could be seen)");
    Some(("lost", text))
}

/// Says how many items may have been there without being listed.
fn unsure_row(node: &ManifestNode) -> Option<(&'static str, String)> {
    if node.unsure == 0 {
        return None;
    }
    let unsure = count(node.unsure);
    let known = node.counters.stored.saturating_add(node.losses());
    let share = share_text(node.unsure, known.saturating_add(node.unsure));
    let text = format!(
        "up to {unsure} more items may have been there ({share} %): the server counts them, \
         and they may as well have expired, or been set, removed or in use while it listed \
         its keys; --max-unsure accepts that"
    );
    Some(("unsure", text))
}

/// Writes a percentage with four digits, and never 100 for less than all.
fn floored(percent: f64) -> String {
    format!("{:.4}", (percent * 1e4).floor() / 1e4)
}

fn node_text(node: &ManifestNode) -> String {
    match &node.failure {
        Some(failure) => format!(
            "{}  {} stored, then: {}",
            node.address,
            counted(node.counters.stored, "item"),
            without_address(failure, &node.address)
        ),
        None if node.server_version.is_empty() => format!(
            "{}  stopped server, {} in its file, {} stored",
            node.address,
            counted(node.items_start, "item"),
            count(node.counters.stored),
        ),
        None => format!(
            "{}  memcached {}, {}, {} at start, {} at end, {} stored",
            node.address,
            node.server_version,
            node.walk,
            counted(node.items_start, "item"),
            count(node.items_end),
            count(node.counters.stored),
        ),
    }
}

fn node_json(node: &ManifestNode) -> Value {
    json!({
        "node": node.address,
        "server_version": node.server_version,
        "pid": node.pid,
        "clock_offset_s": node.clock_offset.parse::<i64>().unwrap_or(0),
        "walk": node.walk,
        "items_start": node.items_start,
        "items_end": node.items_end,
        "listed": node.counters.taken,
        "stored": node.counters.stored,
        "vanished": node.counters.vanished,
        "expired": node.counters.expired,
        "duplicate": node.counters.duplicate,
        "filtered": node.counters.filtered,
        "refused": node.counters.refused,
        "failed": node.counters.failed,
        "missing": node.counters.missing,
        "unlisted": node.unlisted,
        "unsure": node.unsure,
        "reasons": node.reasons.counts(),
        "failure": node.failure,
    })
}
