//! Publishes the manifest of a copy, byte for byte.

use crate::engines::snapshot::draft::lacks_sync;
use crate::engines::snapshot::files::MANIFEST;
use crate::engines::snapshot::object_range::read_range_by_call;
use crate::ports::store::Store;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

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
    match store.remove(&path) {
        Err(left) if !matches!(left.kind(), ErrorKind::NotFound { .. }) => {
            tracing::warn!("leftover of a failed copy: {}", left.to_chain());
        }
        Ok(()) | Err(_) => {}
    }
    Err(error)
}

fn holds(store: &dyn Store, path: &str, bytes: &[u8]) -> Result<bool> {
    let object = match store.open(path) {
        Ok(object) => object,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    if object.size() != to_u64(bytes.len()) {
        return Ok(false);
    }
    Ok(read_range_by_call(&*object, 0, object.size())? == bytes)
}
