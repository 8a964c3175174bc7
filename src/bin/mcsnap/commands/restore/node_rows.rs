//! What the report of a restore says of one node.

use mcsnap::engines::sink::{LoadTally, Presence};
use mcsnap::jobs::restore::NodeRestore;
use serde_json::{Value, json};

use crate::render::{count, counted, counted_with, size, without_address};

pub(super) fn tally_json(tally: &LoadTally) -> Value {
    json!({
        "taken": tally.counters.taken,
        "stored": tally.counters.stored,
        "stored_bytes": tally.stored_bytes,
        "existing": tally.counters.existing,
        "expired": tally.counters.expired,
        "too_large": tally.counters.too_large,
        "refused": tally.counters.refused,
        "failed": tally.counters.failed,
        "unsent": tally.counters.unsent,
        "unsure": tally.counters.unsure,
        "not_kept": tally.counters.not_kept,
        "clamped": tally.clamped,
        "without_cas": tally.without_cas,
        "reasons": tally.reasons.counts(),
    })
}

pub(super) fn presence_json(seen: Presence) -> Value {
    let (share, least, most) = seen.share_gone();
    json!({"looked": seen.looked, "gone": seen.gone, "is_all": seen.is_all,
           "share_gone": share, "share_gone_least": least, "share_gone_most": most})
}

/// Says what was found of stored keys at the end, where it was looked.
pub(super) fn presence_row(node: &NodeRestore) -> Option<(&'static str, String)> {
    let seen = node.presence?;
    let looked = count(seen.looked);
    let (share, least, most) = seen.share_gone();
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    if seen.looked == 0 {
        let text = format!(
            "{}  the node has thrown items out, and does not say whether stored keys are still there",
            node.node
        );
        return Some(("unsure", text));
    }
    Some(match (seen.gone, seen.is_all) {
        (0, true) => (
            "note",
            format!("{}  all {looked} stored keys are still there", node.node),
        ),
        (0, false) => (
            "note",
            format!(
                "{}  all of a sample of {looked} stored keys are still there: at most {} % of all are \
                 gone",
                node.node,
                percent(most)
            ),
        ),
        (gone, true) => (
            "lost",
            format!(
                "{}  {} of {looked} stored keys are gone, evicted or deleted since",
                node.node,
                count(gone)
            ),
        ),
        (gone, false) => (
            "lost",
            format!(
                "{}  {} of a sample of {looked} stored keys are gone: about {} % ({}-{} %), evicted or \
                 deleted since",
                node.node,
                count(gone),
                percent(share),
                percent(least),
                percent(most)
            ),
        ),
    })
}

/// Says which items were too large, and what to do.
pub(super) fn too_large_row(node: &NodeRestore) -> Option<(&'static str, String)> {
    let tally = &node.tally;
    let keys: Vec<String> = tally
        .too_large_keys
        .iter()
        .map(|key| format!("\"{key}\""))
        .collect();
    let what = match tally.counters.too_large {
        0 => return None,
        1 => "1 record is larger than an item of this node may be".to_owned(),
        many => format!(
            "{} records are larger than an item of this node may be",
            count(many)
        ),
    };
    Some((
        "lost",
        format!(
            "{what}, {} (memcached's option -I), such as {}",
            size(node.item_size_max),
            keys.join(", ")
        ),
    ))
}

/// Says what became of a node's records. A node that was not asked at the end has no
/// number of items.
pub(super) fn node_text(node: &NodeRestore, is_asked_at_end: bool) -> String {
    let now = match node.items_end {
        Some(items) => format!("; {} now", counted(items, "item")),
        None if is_asked_at_end => "; items now unknown".to_owned(),
        None => String::new(),
    };
    let evicted = node.evicted.filter(|&evicted| evicted > 0);
    let evicted =
        evicted.map(|evicted| format!("; {} of any items evicted meanwhile", count(evicted)));
    let address = node.node.address();
    let failure = node.failure.as_ref();
    let failure = failure.map(|failure| format!("; {}", without_address(failure, &address)));
    format!(
        "{}  {} stored, {}; {} existing{now}{}{}",
        node.node,
        count(node.tally.counters.stored),
        size(node.tally.stored_bytes),
        count(node.tally.counters.existing),
        evicted.unwrap_or_default(),
        failure.unwrap_or_default(),
    )
}

/// Says so where nobody knows whether the node has some records.
pub(super) fn unsure_row(node: &NodeRestore) -> Option<(&'static str, String)> {
    let unsure = Some(node.tally.counters.unsure).filter(|&unsure| unsure > 0)?;
    let sent = counted_with(unsure, "record", ["was", "were"]);
    let text = format!(
        "{}  {sent} sent and not answered: the node went away, and may have any of them",
        node.node
    );
    Some(("unsure", text))
}
