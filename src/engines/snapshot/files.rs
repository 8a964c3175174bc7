//! What the files of a snapshot are called.

use crate::ports::store::Store;

/// The manifest's object name, below the snapshot's.
pub const MANIFEST: &str = "manifest.json";
/// The object by which a dump that was killed goes on, below the snapshot's name.
pub const JOURNAL: &str = "dump.json";
/// Where segments are, below the snapshot's name.
pub const SEGMENTS: &str = "segments";

/// Says whether a dump of this name was begun and can go on.
pub fn can_resume(store: &dyn Store, name: &str) -> bool {
    let exists = |object: &str| store.open(&format!("{name}/{object}")).is_ok();
    exists(JOURNAL) && !exists(MANIFEST)
}
