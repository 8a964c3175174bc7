//! Whether the servers have room: what is told of it, and the question before items are
//! thrown out.

use anyhow::Result;
use mcsnap::jobs::restore::{Capacity, Fit, NodeEstimate, RestorePlan, TargetPlan};
use mcsnap::words::cancel::Cancel;
use serde_json::{Value, json};

use crate::commands::restore::consent;
use crate::exit::UsageError;
use crate::render::{count, counted, size};

/// Asks before items are thrown out for want of memory.
pub(super) fn check_capacity(plan: &RestorePlan, is_agreed: bool, cancel: &Cancel) -> Result<()> {
    let estimate = plan.estimate(cancel)?;
    let mut evicting = Vec::new();
    for (target, estimate) in plan.targets.iter().zip(&estimate.nodes) {
        let text = || format!("{}: {}", target.node, memory_text(target, estimate));
        match estimate.capacity.fit {
            Fit::Evicts(_) => evicting.push(text()),
            Fit::Refuses(_) => tracing::warn!("{}", text()),
            Fit::Unknown | Fit::Fits | Fit::Tight => {}
        }
    }
    if evicting.is_empty() {
        return Ok(());
    }
    if is_agreed {
        for text in evicting {
            tracing::warn!("{text}");
        }
        return Ok(());
    }
    let all = evicting.join("\n");
    let question = format!("{all}\nRestore, and let items be thrown out?");
    match consent::ask(&question, cancel)? {
        Some(true) => Ok(()),
        Some(false) => Err(UsageError("nothing was sent".to_owned()).into()),
        None => {
            let all = evicting.join("; ");
            let text = format!("nothing was sent: {all}; pass --yes if that is to be");
            Err(UsageError(text).into())
        }
    }
}

/// Says what the restore is to a node's memory.
pub(super) fn memory_text(target: &TargetPlan, estimate: &NodeEstimate) -> String {
    let capacity = estimate.capacity;
    let there = target.target.as_ref();
    let there = there.map_or(0, |target| target.server.stats.curr_items);
    let all = there.saturating_add(estimate.keys);
    let verdict = match capacity.fit {
        Fit::Unknown => return "it does not tell how much memory it has".to_owned(),
        Fit::Fits => "fits".to_owned(),
        Fit::Tight => "fits, and hardly any is left".to_owned(),
        Fit::Evicts(items) => format!(
            "would evict about {} of {} there and to come",
            count(items),
            counted(all, "item")
        ),
        Fit::Refuses(items) => format!(
            "would refuse about {} of {} to come, since it evicts nothing (-M)",
            count(items),
            counted(estimate.keys, "item")
        ),
    };
    format!(
        "{} needed, {} of {} free: {verdict}",
        size(capacity.needed),
        size(capacity.free),
        size(capacity.limit)
    )
}

pub(super) fn memory_json(capacity: Capacity) -> Value {
    let (fit, evicted, refused) = match capacity.fit {
        Fit::Unknown => ("unknown", 0, 0),
        Fit::Fits => ("fits", 0, 0),
        Fit::Tight => ("tight", 0, 0),
        Fit::Evicts(items) => ("evicts", items, 0),
        Fit::Refuses(items) => ("refuses", 0, items),
    };
    let told = |bytes: u64| (capacity.fit != Fit::Unknown).then_some(bytes);
    json!({"fit": fit, "needed": capacity.needed, "free": told(capacity.free),
           "limit": told(capacity.limit), "would_evict": evicted, "would_refuse": refused})
}
