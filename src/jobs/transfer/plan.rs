//! What a copy would do.

use crate::engines::snapshot::home_of_copy;
use crate::jobs::transfer::destination::Destination;
use crate::jobs::transfer::original::{LeftOut, Original};
use crate::ports::store::Store;
use crate::words::error::Result;
use crate::words::units::to_u64;

/// What a copy would do. What is there already is taken for right by its size; the copy
/// itself reads it.
#[derive(Clone, Debug)]
pub struct TransferPlan {
    /// Where the snapshot is, for messages.
    pub from: String,
    /// Whether the same snapshot is at the destination.
    pub is_there_already: bool,
    /// Objects that would be copied, the manifest included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that are there already.
    pub objects_there: u64,
    /// Their bytes.
    pub bytes_there: u64,
    /// What would not be copied.
    pub left_out: Vec<LeftOut>,
}

/// Looks at what there is at both ends; writes nothing. `destination` is `None` if the
/// directory does not exist.
///
/// # Errors
///
/// - `AlreadyExists`: another snapshot has the name, or an unfinished dump, or something
///   that is no part of the snapshot.
/// - `Io`.
pub fn plan_transfer(
    original: &Original,
    destination: Option<&dyn Store>,
    name: &str,
) -> Result<TransferPlan> {
    let id = original.snapshot.manifest().snapshot_id;
    let look = |store| {
        let home = home_of_copy(store, name, id)?;
        Destination::look(store, &home, original)
    };
    let there = destination.map(look).transpose()?;
    let is_there_already = there.as_ref().is_some_and(|there| there.is_published);
    let mut plan = TransferPlan {
        from: original.describe(),
        is_there_already,
        objects: 0,
        bytes: 0,
        objects_there: 0,
        bytes_there: 0,
        left_out: original.left_out.clone(),
    };
    let root = (to_u64(original.root.len()), is_there_already);
    let objects = original.objects.iter().map(|object| {
        let is_there = there.as_ref().is_some_and(|there| there.has(object));
        (object.size, is_there)
    });
    for (size, is_there) in objects.chain([root]) {
        let (count, bytes) = if is_there {
            (&mut plan.objects_there, &mut plan.bytes_there)
        } else {
            (&mut plan.objects, &mut plan.bytes)
        };
        *count = count.saturating_add(1);
        *bytes = bytes.saturating_add(size);
    }
    Ok(plan)
}
