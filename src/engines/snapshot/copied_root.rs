//! Publishes the manifest of a copy, byte for byte.

use crate::engines::snapshot::draft::lacks_sync;
use crate::engines::snapshot::files::MANIFEST;
use crate::engines::snapshot::object_range::holds;
use crate::ports::store::Store;
use crate::words::error::{Error, ErrorKind, Result};

/// Publishes the manifest of a copy whose objects are all there. From then on the copy is a
/// snapshot.
///
/// # Errors
///
/// - `AlreadyExists`: another snapshot has the name; it is untouched.
/// - `Io`: a manifest that cannot be made durable is removed again.
pub fn publish_copy(store: &dyn Store, name: &str, root: &[u8]) -> Result<()> {
    let path = format!("{name}/{MANIFEST}");
    let Err(error) = store.put_new(&path, root) else {
        return Ok(());
    };
    // The answer may have been lost, or another run has copied the same.
    let is_there = holds(store, &path, root).unwrap_or_else(|unread| {
        tracing::warn!(
            "whether it was published is not known: {}",
            unread.to_chain()
        );
        false
    });
    if !is_there {
        if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
            let what = format!("snapshot {}", store.describe(name));
            return Err(Error::new(ErrorKind::AlreadyExists { what }));
        }
        return Err(error);
    }
    if !lacks_sync(&error) {
        return Ok(());
    }
    // After a loss of power it may be gone.
    if let Err(left) = store.remove(&path) {
        tracing::warn!("leftover of a failed copy: {}", left.to_chain());
    }
    Err(error)
}
