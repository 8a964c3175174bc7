//! What a dry run of a restore and its report both say.

use mcsnap::engines::sink::Unheld;
use mcsnap::jobs::restore::{LeftOut, RestorePlan, TargetPlan, TtlClock, UnheldGroup};
use mcsnap::words::node::NodeSpec;
use mcsnap::words::units::to_u64;
use serde_json::{Value, json};

use crate::render::{counted_with, holds_row};

pub(super) fn only_for_json(plan: &RestorePlan) -> Value {
    let only_for = plan.options.only_for.iter().map(NodeSpec::address);
    let only_for: Vec<String> = only_for.collect();
    json!((!only_for.is_empty()).then_some(only_for))
}

/// Says so where not all of the ring's nodes are filled.
pub(super) fn only_for_row(plan: &RestorePlan) -> Option<(&'static str, String)> {
    let is_left_out = |plan: &&TargetPlan| matches!(plan.target, Err(LeftOut::NotMeant));
    let others = to_u64(plan.targets.iter().filter(is_left_out).count());
    let others = Some(others).filter(|&others| others > 0)?;
    let asked = counted_with(others, "other server", ["was", "were"]);
    let named: Vec<String> = plan
        .options
        .only_for
        .iter()
        .map(NodeSpec::address)
        .collect();
    let text = format!("{}; {asked} not asked", named.join(", "));
    Some(("only for", text))
}

/// Says whose clocks do not agree, and what comes of it.
pub(super) fn clock_rows(
    plan: &RestorePlan,
    expired: u64,
) -> impl Iterator<Item = (&'static str, String)> {
    let is_doubtful = expired > 0
        && !plan.clock_warnings.is_empty()
        && plan.options.ttl_clock == TtlClock::Servers;
    let count = counted_with(expired, "record", ["counts", "count"]);
    let doubt = is_doubtful.then(|| {
        format!(
            "{count} as expired by the servers' clocks, which do not agree with the hosts'; if \
             those are right, --clock hosts restores what has not expired by them"
        )
    });
    let warnings = plan.clock_warnings.iter().cloned().chain(doubt);
    warnings.map(|warning| ("warning", warning))
}

pub(super) fn unheld_json(group: &UnheldGroup) -> Value {
    let what = match group.what {
        Unheld::Cas => "cas",
        Unheld::StaleMark => "stale-mark",
        Unheld::WideFlags => "wide-client-flags",
    };
    json!({"what": what, "why": group.why, "records": group.records, "nodes": group.nodes})
}

pub(super) fn select_json(plan: &RestorePlan) -> Value {
    let selection = &plan.options.selection;
    json!((!selection.is_everything()).then(|| selection.to_string()))
}

/// Says what was selected, by the dump and now, if it was not all.
pub(super) fn select_rows(
    plan: &RestorePlan,
    filtered: u64,
    unknown: u64,
) -> Vec<(&'static str, String)> {
    let selection = &plan.options.selection;
    let holds = holds_row(plan.snapshot.manifest().select.as_deref());
    let mut rows: Vec<_> = holds.into_iter().collect();
    if selection.is_everything() {
        return rows;
    }
    rows.push(("select", selection.to_string()));
    let filtered = counted_with(filtered, "record", ["does", "do"]);
    rows.push(("filtered", format!("{filtered} not match")));
    if unknown > 0 {
        let why = "the servers did not tell what --select asks";
        rows.push((
            "note",
            format!(
                "{} kept: {why}",
                counted_with(unknown, "record", ["is", "are"])
            ),
        ));
    }
    rows
}

pub(super) fn damage_rows(
    damaged: u64,
    findings: &[mcsnap::words::finding::Finding],
) -> Vec<(&'static str, String)> {
    let mut rows: Vec<_> = findings
        .iter()
        .map(|finding| ("damage", finding.to_string()))
        .collect();
    if damaged > 0 {
        let damaged = counted_with(damaged, "record", ["is", "are"]);
        rows.push(("lost", format!("{damaged} damaged")));
    }
    rows
}
