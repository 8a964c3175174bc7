//! Publishes what was recovered as a new snapshot.

use std::collections::BTreeMap;

use crate::codecs::format::manifest::{Manifest, ManifestNode, ManifestSegment, Totals};
use crate::engines::snapshot::SnapshotDraft;
use crate::jobs::salvage::report::{SalvageReport, SalvagedSegment};
use crate::jobs::salvage::shard::ShardSalvage;
use crate::jobs::salvage::sources::{Sources, describe};
use crate::ports::host;
use crate::ports::host::Stopwatch;
use crate::ports::store::DamagedPlace;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::units::counted;

/// The reason recorded for records that a salvaged node has lost.
const REASON: &str = "damaged in the snapshot that was salvaged";

/// What all shards together have.
#[derive(Default)]
struct Recovered {
    segments: Vec<ManifestSegment>,
    files: Vec<SalvagedSegment>,
    /// Losses and duplicates by the index of the node.
    nodes: BTreeMap<usize, NodeCounts>,
}

#[derive(Clone, Copy, Default)]
struct NodeCounts {
    /// Records that are known to be lost.
    lost: u64,
    duplicates: u64,
}

impl Recovered {
    fn of(shards: Vec<ShardSalvage>) -> Self {
        let mut all = Self::default();
        for shard in shards {
            let lost = shard.files.iter().map(|file| file.salvage.records_lost);
            let counts = all.nodes.entry(shard.node).or_default();
            counts.lost = lost.fold(counts.lost, u64::saturating_add);
            counts.duplicates = counts.duplicates.saturating_add(shard.duplicates);
            all.segments.extend(shard.segments);
            all.files.extend(shard.files);
        }
        all
    }

    fn sum(&self, number: impl Fn(&NodeCounts) -> u64) -> u64 {
        self.nodes.values().map(number).fold(0, u64::saturating_add)
    }

    /// Refuses to publish nothing, unless the original has nothing either: a snapshot of
    /// an empty cache is complete without records.
    fn check_not_empty(&self, original: Option<&Manifest>, input: &DamagedPlace) -> Result<()> {
        let is_empty_by_right = original.is_some_and(|manifest| manifest.totals.records == 0);
        if Totals::of(&self.segments).records > 0 || is_empty_by_right {
            return Ok(());
        }
        let unreadable = self.files.iter().map(|file| file.salvage.bytes_unreadable);
        let unreadable = unreadable.fold(0, u64::saturating_add);
        let mut allowed = "no record in it can be proved to be sound".to_owned();
        if unreadable > 0 {
            let unreadable = counted(unreadable, "byte");
            allowed.push_str(&format!("; {unreadable} of it cannot be read"));
        }
        Err(Error::invalid_input("damaged", describe(input), allowed))
    }
}

/// Writes the manifest of the new snapshot.
///
/// # Errors
///
/// - `InvalidInput`: nothing was recovered.
/// - `Io`, `Canceled`.
pub(super) fn publish(
    snapshot: &SnapshotDraft,
    input: &DamagedPlace,
    mut sources: Sources,
    shards: Vec<ShardSalvage>,
    cancel: &Cancel,
    clock: Stopwatch,
) -> Result<SalvageReport> {
    let recovered = Recovered::of(shards);
    recovered.check_not_empty(sources.manifest.as_ref(), input)?;
    let nodes = std::mem::take(&mut sources.nodes);
    let manifest = make_manifest(snapshot, &sources, nodes, &recovered);
    cancel.check()?;
    snapshot.publish(&manifest, manifest.nodes.len())?;
    for rival in snapshot.find_rivals() {
        tracing::warn!("another run has written a snapshot of this name: {rival}");
    }
    let in_files = recovered.sum(|node| node.lost);
    let mut files = recovered.files.iter();
    Ok(SalvageReport {
        place: snapshot.describe(),
        manifest,
        findings: sources.findings,
        segments_missing: sources.segments_missing,
        blocks_missing: sources.blocks_missing,
        records_lost: sources.records_missing.saturating_add(in_files),
        is_loss_unknown: !sources.is_all_there || files.any(|file| file.salvage.is_loss_unknown),
        duplicates: recovered.sum(|node| node.duplicates),
        segments: recovered.files,
        elapsed: clock.elapsed(),
    })
}

fn make_manifest(
    snapshot: &SnapshotDraft,
    sources: &Sources,
    mut nodes: Vec<ManifestNode>,
    recovered: &Recovered,
) -> Manifest {
    let segments = recovered.segments.clone();
    for (index, node) in nodes.iter_mut().enumerate() {
        let counts = recovered.nodes.get(&index).copied().unwrap_or_default();
        account(node, index, &segments, counts);
    }
    let original = sources.manifest.as_ref();
    let now = host::now();
    let made = snapshot.assemble([now; 2], nodes, segments);
    // The times are those of the items, not of the salvage, since readers of the snapshot
    // compute with them.
    let times = |known: [&String; 2]| known.map(Clone::clone);
    let [started_at, finished_at] = match (original, &sources.created_at) {
        (Some(manifest), _) => times([&manifest.started_at, &manifest.finished_at]),
        (None, Some(created_at)) => times([created_at; 2]),
        (None, None) => times([&made.started_at, &made.finished_at]),
    };
    Manifest {
        tool: format!("{} salvage", made.tool),
        started_at,
        finished_at,
        ring: original.and_then(|manifest| manifest.ring.clone()),
        select: original.and_then(|manifest| manifest.select.clone()),
        ..made
    }
}

/// Corrects a node's counters: what is missing now is a loss.
fn account(
    node: &mut ManifestNode,
    index: usize,
    segments: &[ManifestSegment],
    counts: NodeCounts,
) {
    let stored = segments
        .iter()
        .filter(|segment| usize::try_from(segment.node_index) == Ok(index))
        .map(|segment| segment.records)
        .fold(0, u64::saturating_add);
    let NodeCounts { lost, duplicates } = counts;
    let counters = &mut node.counters;
    // Without a manifest there are no counters, and those of the walk are not known.
    let kept = stored.saturating_add(duplicates);
    let lost = counters.stored.saturating_sub(kept).max(lost);
    counters.stored = stored;
    counters.duplicate = counters.duplicate.saturating_add(duplicates);
    counters.failed = counters.failed.saturating_add(lost);
    counters.taken = counters.accounted();
    if lost > 0 {
        node.reasons.add_many(REASON, lost);
    }
}
