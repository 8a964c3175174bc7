//! What a dry run of a restore prints.

use std::collections::BTreeMap;

use anyhow::Result;
use mcsnap::jobs::restore::{LeftOut, RestoreEstimate, RestorePlan, TargetNode};
use serde_json::{Value, json};

use crate::brake;
use crate::commands::restore::capacity::{memory_json, memory_text};
use crate::commands::restore::shared_rows::{
    clock_rows, damage_rows, only_for_json, only_for_row, select_json, select_rows, unheld_json,
};
use crate::connect::NodeList;
use crate::context::Context;
use crate::memory;
use crate::render::{
    count, counted, finding_json, given_json, given_rows, not_text_count, not_text_example,
    not_text_row, print_text, size,
};
use crate::settings::{Format, Given};

pub(super) fn print_estimate(
    context: &Context,
    place: &str,
    plan: &RestorePlan,
    estimate: &RestoreEstimate,
    given: &BTreeMap<String, Given>,
    list: &NodeList,
) -> Result<()> {
    let nodes = || plan.targets.iter().zip(&estimate.nodes).enumerate();
    if context.format == Format::Json {
        let nodes: Vec<Value> = nodes()
            .filter_map(|(index, (plan, estimate))| {
                let mut value = json!({"node": plan.node.to_string(), "from": list.origin(index),
                       "keys": estimate.keys, "bytes": estimate.bytes,
                       "expired": estimate.expired});
                match &plan.target {
                    Ok(TargetNode {
                        server, strategy, ..
                    }) => {
                        value["server_version"] = json!(server.stats.version_text);
                        value["items_now"] = json!(server.stats.curr_items);
                        value["way"] = json!(strategy.set_protocol.as_str());
                        value["stored_by"] = json!(strategy.name());
                        value["without_cas"] = json!(estimate.unheld.cas);
                        value["stale_refused"] = json!(estimate.unheld.stale);
                        value["wide_flags_refused"] = json!(estimate.unheld.wide_flags);
                        value["clock_offset_s"] = json!(server.clock_offset);
                        value["memory"] = memory_json(estimate.capacity);
                    }
                    Err(LeftOut::Unreachable(error)) => value["failure"] = json!(error.to_chain()),
                    Err(LeftOut::NotMeant) => return None,
                }
                Some(value)
            })
            .collect();
        return context.print_plan(json!({
            "schema": "mcsnap.restore-plan/1",
            "snapshot": place,
            "select": select_json(plan),
            "only_for": only_for_json(plan),
            "clock_warnings": plan.clock_warnings,
            "filtered": estimate.filtered,
            "duplicates": estimate.duplicates,
            "unknown_kept": estimate.unknown_kept,
            "not_text": not_text_count(estimate.not_text.as_ref()),
            "not_text_example": not_text_example(estimate.not_text.as_ref()),
            "nodes": nodes,
            "cannot_hold": estimate.unheld.iter().map(unheld_json).collect::<Vec<_>>(),
            "damaged": estimate.damaged,
            "findings": estimate.findings.iter().map(finding_json).collect::<Vec<_>>(),
            "memory_max": memory::plan_json(plan.options.memory_limit),
            "brake": brake::plan_json(plan.options.brake.options()),
            "settings": given_json(given),
        }));
    }
    let mut rows = vec![("snapshot", format!("{place} (nothing sent: dry run)"))];
    rows.extend(select_rows(plan, estimate.filtered, estimate.unknown_kept));
    if estimate.duplicates > 0 {
        let doubles = counted(estimate.duplicates, "record");
        let text = format!("{doubles} of keys that are restored from another node");
        rows.push(("duplicate", text));
    }
    rows.extend(only_for_row(plan));
    for (index, (target, estimate)) in nodes() {
        let (node, origin) = (&target.node, list.suffix(index));
        let keys = counted(estimate.keys, "key");
        match &target.target {
            Ok(TargetNode {
                server, strategy, ..
            }) => {
                let text = format!(
                    "{node}  {keys}, {}; {} expired; memcached {} with {} now; stored by: \
                     {}{origin}",
                    size(estimate.bytes),
                    count(estimate.expired),
                    server.stats.version_text,
                    counted(server.stats.curr_items, "item"),
                    strategy.name(),
                );
                rows.push(("node", text));
                let text = format!("{node}  {}", memory_text(target, estimate));
                rows.push(("memory", text));
            }
            Err(LeftOut::Unreachable(error)) => {
                let reason = error.to_reason();
                let text = format!("{node}  {keys} would not be sent: {reason}{origin}");
                rows.push(("node", text));
            }
            Err(LeftOut::NotMeant) => {}
        }
    }
    rows.extend(clock_rows(
        plan,
        estimate.nodes.iter().map(|node| node.expired).sum(),
    ));
    rows.extend(
        estimate
            .unheld
            .iter()
            .map(|lacking| ("note", lacking.to_string())),
    );
    rows.push(brake::plan_row(plan.options.brake.options()));
    rows.extend(memory::plan_row(plan.options.memory_limit));
    rows.extend(not_text_row(estimate.not_text.as_ref()));
    rows.extend(damage_rows(estimate.damaged, &estimate.findings));
    rows.extend(given_rows(given));
    print_text(&rows)
}
