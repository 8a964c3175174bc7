//! The ring that a dump records: found by the keys, or held against them.

use std::sync::Arc;

use anyhow::Result;
use mcsnap::codecs::format::manifest::{Manifest, Need, Verdict};
use mcsnap::codecs::ring::{Explanation, RingSpec, Sureness};
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::dump::DumpOptions;
use mcsnap::jobs::ring_detect::{SampleOptions, detect, sample_nodes, sample_snapshot};
use mcsnap::ports::store::Store;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::node::NodeSpec;
use mcsnap::words::units::{percent, to_u64};

use crate::render::{count, counted};

/// Keys of each node that show which ring a dump records, or whether it is the one.
const KEYS_PER_NODE: usize = 1_000;

/// Finds the ring for the record. A dump does not fail for want of it.
pub(super) fn find_recorded_rings(options: &DumpOptions, cancel: &Cancel) -> Result<Vec<RingSpec>> {
    if options.nodes.len() < 2 {
        tracing::info!("no ring is recorded: one node needs none");
        return Ok(Vec::new());
    }
    let reason = match find_rings(&options.nodes, &sample_options(options), cancel) {
        Ok(Ok(rings)) => return Ok(rings),
        Ok(Err(reason)) => reason,
        Err(error) => {
            cancel.check()?;
            format!("{error:#}")
        }
    };
    tracing::warn!("no ring is recorded: {reason}");
    Ok(Vec::new())
}

/// Warns of a ring that the keys contradict, now that they are there: no server is
/// asked for them once more. The user may know better, so it is recorded.
pub(super) fn check_recorded_ring(
    store: Arc<dyn Store>,
    manifest: &Manifest,
    rings: &[RingSpec],
    nodes: &[NodeSpec],
    cancel: &Cancel,
) {
    let [ring] = rings else {
        return;
    };
    // Of a server that is missing nobody knows which keys it has.
    if nodes.len() < 2 || ring.is_node_for_node() || manifest.verdict == Verdict::Partial {
        return;
    }
    let contradiction = SnapshotReader::open(store, &manifest.name, Need::Read)
        .map_err(anyhow::Error::from)
        .and_then(|snapshot| find_contradiction(ring, &snapshot, nodes, cancel));
    match contradiction {
        Ok(Some(contradiction)) => tracing::warn!("{contradiction}"),
        Ok(None) => {}
        // The dump is what it is.
        Err(error) => {
            tracing::info!("whether the keys lie where {ring} puts them is not known: {error:#}");
        }
    }
}

/// Says how some keys of each server are listed.
fn sample_options(options: &DumpOptions) -> SampleOptions {
    SampleOptions {
        count_per_node: KEYS_PER_NODE,
        walk: options.walk,
        net: options.net.clone(),
        busy_timeout: options.busy_timeout,
    }
}

/// The rings that explain where the keys of servers lie, for the record of a dump:
/// several where these keys cannot tell them apart. Or why none is certain.
fn find_rings(
    nodes: &[NodeSpec],
    options: &SampleOptions,
    cancel: &Cancel,
) -> Result<std::result::Result<Vec<RingSpec>, String>> {
    let report = detect(&sample_nodes(nodes, options, cancel)?, None)?;
    let total = counted(to_u64(report.sightings.len()), "key");
    let Some(best) = report.explanations.first() else {
        return Ok(Err(format!("no ring explains where {total} lie")));
    };
    if best.sureness != Sureness::Certain {
        let share = percent(best.agreeing, to_u64(report.sightings.len()));
        return Ok(Err(format!(
            "{} explains where {share:.1} % of {total} lie, which is not enough",
            best.ring
        )));
    }
    let is_changed = |found: &&Explanation| found.nodes != nodes;
    if let Some(found) = report.explanations.iter().find(is_changed) {
        let nodes: Vec<String> = found.nodes.iter().map(ToString::to_string).collect();
        return Ok(Err(format!(
            "{} explains where keys lie, but for the nodes written {}",
            found.ring,
            nodes.join(",")
        )));
    }
    let rings = report.explanations.iter();
    let rings = rings.flat_map(|found| [&found.ring].into_iter().chain(&found.alike));
    Ok(Ok(rings.cloned().collect()))
}

/// Says what speaks against a ring that is recorded, by the keys of the snapshot;
/// nothing where none does, or where there are too few.
fn find_contradiction(
    ring: &RingSpec,
    snapshot: &SnapshotReader,
    nodes: &[NodeSpec],
    cancel: &Cancel,
) -> Result<Option<String>> {
    /// Keys of all nodes, below which a few strays say nothing.
    const KEYS_LEAST: usize = 100;
    let sample = sample_snapshot(snapshot, nodes, KEYS_PER_NODE, cancel)?;
    if sample.sightings.len() < KEYS_LEAST {
        return Ok(None);
    }
    let report = detect(&sample, Some(ring))?;
    let total = to_u64(report.sightings.len());
    let doubtful = report
        .explanations
        .first()
        .filter(|found| found.sureness < Sureness::Certain && found.agreeing < total);
    Ok(doubtful.map(|found| {
        format!(
            "{} of {} lie elsewhere than {ring} puts them on these nodes, and it is recorded \
             all the same; `mcsnap ring detect` finds the ring",
            count(total.saturating_sub(found.agreeing)),
            counted(total, "key")
        )
    }))
}
