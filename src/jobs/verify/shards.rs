//! Checks what concerns a whole shard.

use std::collections::BTreeMap;

use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::{CheckedShard, SnapshotReader};
use crate::jobs::verify::depth::Depth;
use crate::ports::host;
use crate::ports::threads::Pool;
use crate::words::cancel::Cancel;
use crate::words::defect::Defect;
use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::location::Location;

/// Checks the look-up objects, several at a time, and in a deep verification that no key
/// stands twice in a shard. Shards with a damaged segment are left out of the latter: of
/// their keys not all are known. What is wrong is taken with the number of the shard.
///
/// # Errors
///
/// - `Io` of the scratch file, `Canceled`. What is damaged or unreadable is taken.
pub(super) fn check_shards(
    snapshot: &SnapshotReader,
    depth: Depth,
    thread_count: usize,
    is_damaged: &(dyn Fn(&ManifestSegment) -> bool + Sync),
    cancel: &Cancel,
    take: &(dyn Fn(usize, Location, Defect) + Sync),
) -> Result<()> {
    let manifest = snapshot.manifest();
    let mut of_shards: BTreeMap<(u32, u64), Vec<&ManifestSegment>> = BTreeMap::new();
    for segment in &manifest.segments {
        let shard = (segment.node_index, segment.shard_index);
        of_shards.entry(shard).or_default().push(segment);
    }
    // A shard without segments may have a look-up object all the same.
    for (node_index, node) in (0_u32..).zip(&manifest.nodes) {
        for (shard_index, _) in (0_u64..).zip(&node.look_ups) {
            of_shards.entry((node_index, shard_index)).or_default();
        }
    }
    let of_shards: Vec<_> = of_shards.into_iter().collect();
    let pool = Pool::new("verify", thread_count.min(of_shards.len()).max(1))?;
    let check = |(): &mut (), number: usize| {
        cancel.check()?;
        let Some(((node_index, shard_index), segments)) = of_shards.get(number) else {
            return Ok(());
        };
        let node = usize::try_from(*node_index).unwrap_or(usize::MAX);
        let shard = usize::try_from(*shard_index).unwrap_or(usize::MAX);
        let node = manifest.nodes.get(node);
        let checked = CheckedShard {
            node_index: *node_index,
            shard_index: *shard_index,
            segments,
            look_up: node.and_then(|node| node.look_ups.get(shard)),
        };
        let is_all_known = !segments.iter().any(|segment| is_damaged(segment));
        let is_deep = depth == Depth::Deep && is_all_known;
        // Whoever compares all pages and entries with the keys reads them then.
        let looked = snapshot.check_look_up(&checked, depth != Depth::Quick && !is_deep);
        let mut take = |location, defect| take(number, location, defect);
        let is_sound = note(looked, snapshot, &mut take)?;
        if is_deep && is_sound {
            let directory = host::temporary_directory();
            let read = snapshot.check_shard_keys(&checked, directory, cancel, &mut take);
            note(read, snapshot, &mut take)?;
        }
        Ok(())
    };
    pool.try_map(of_shards.len(), || (), check).map(drop)
}

/// Takes what is damaged, newer or unreadable; returns whether there was nothing.
fn note(
    result: Result<()>,
    snapshot: &SnapshotReader,
    take: &mut dyn FnMut(Location, Defect),
) -> Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) => {
            let finding = Finding::from_any_version(error, &snapshot.describe())?;
            take(finding.location, finding.defect);
            Ok(false)
        }
    }
}
