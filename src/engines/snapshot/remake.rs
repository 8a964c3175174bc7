//! Gives a published snapshot other look-up objects.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::codecs::format::manifest::{LookUpName, Manifest, Need};
use crate::engines::snapshot::draft::SnapshotDraft;
use crate::engines::snapshot::files::MANIFEST;
use crate::engines::snapshot::object_range::read_range_by_call;
use crate::engines::snapshot::reader::SnapshotReader;
use crate::ports::store::Store;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// What was made.
#[derive(Clone, Debug)]
pub struct RemadeLookUps {
    /// Number of look-up objects.
    pub look_ups: u64,
    /// Addresses of the nodes that have none.
    pub nodes_without: Vec<String>,
}

/// Makes the look-up objects of a snapshot anew. The manifest is replaced in one step:
/// whenever the process is killed, it names all old objects or all new ones.
///
/// # Errors
///
/// - `NotFound`, `InvalidInput`: there is no snapshot, or it is a single segment.
/// - `Locked`: a job writes the snapshot.
/// - `Corrupt`, `Newer`, `Io`, `Canceled`: the snapshot is as before.
/// - `Superseded`: somebody has changed the manifest meanwhile.
pub fn remake_look_ups(
    store: Arc<dyn Store>,
    name: &str,
    scratch_directory: PathBuf,
    cancel: &Cancel,
) -> Result<RemadeLookUps> {
    let lock = store.lock_prefix(name)?;
    let root = SnapshotReader::open_root(Arc::clone(&store), name, Need::Rewrite)?;
    if root.is_lone_segment() {
        let allowed = "a segment has no look-up object; pass the directory of a snapshot";
        return Err(Error::invalid_input("snapshot", root.describe(), allowed));
    }
    let home = root.home().to_owned();
    let path = format!("{home}/{MANIFEST}");
    let object = store.open(&path)?;
    let before = read_range_by_call(&*object, 0, object.size())?;
    let whole = SnapshotReader::open(Arc::clone(&store), name, Need::Rewrite)?;
    let draft = SnapshotDraft::new(Arc::clone(&store), home, root.manifest().snapshot_id, lock)
        .with_scratch_directory(scratch_directory);
    let made = draft.with_look_ups(whole.manifest()).and_then(|made| {
        cancel.check()?;
        let mut manifest = root.manifest().clone();
        for (node, made) in manifest.nodes.iter_mut().zip(&made.nodes) {
            node.look_ups.clone_from(&made.look_ups);
        }
        if store.replace(&path, &before, &manifest.encode())? {
            return Ok(manifest);
        }
        let what = format!("the manifest of {}", draft.describe());
        let why = "another job has changed it".to_owned();
        Err(Error::new(ErrorKind::Superseded { what, why }))
    });
    let manifest = match made {
        Ok(manifest) => manifest,
        Err(error) => {
            // After a lost reply the manifest may name what was made.
            let is_unchanged = store
                .open(&path)
                .and_then(|object| read_range_by_call(&*object, 0, object.size()))
                .is_ok_and(|now| now == before);
            if is_unchanged {
                draft.discard();
            }
            return Err(error);
        }
    };
    let objects = |manifest: &Manifest| -> BTreeSet<String> {
        let names = manifest.nodes.iter().flat_map(|node| &node.look_ups);
        let names = names.filter(|name| !name.is_empty());
        names.map(LookUpName::object).collect()
    };
    let new = objects(&manifest);
    for old in objects(root.manifest()).difference(&new) {
        draft.remove_leftover(old);
    }
    let without = manifest
        .nodes
        .iter()
        .filter(|node| node.look_ups.is_empty());
    Ok(RemadeLookUps {
        look_ups: to_u64(new.len()),
        nodes_without: without.map(|node| node.address.clone()).collect(),
    })
}
