//! How a user names a place: a path, or a URL.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "cloud")]
use crate::ports::store::cloud::{CloudPlace, CloudStore};
use crate::ports::store::name::UNFINISHED_SUFFIX;
use crate::ports::store::{FileMode, LocalStore, MapChoice, Store, check_name};
use crate::words::error::{Error, ErrorKind, Operation, Result};

/// A user may also name a snapshot by its manifest.
pub(super) const MANIFEST: &str = "manifest.json";

/// Opens the store into which snapshots are written: a directory, created if it is
/// missing, or a prefix of a bucket.
///
/// # Errors
///
/// - `InvalidInput`: a URL of an unknown scheme, or settings of its store that contradict
///   each other.
/// - `Io`: the directory cannot be created.
pub fn create_directory(place: &str) -> Result<Arc<dyn Store>> {
    create_directory_as(place, FileMode::default())
}

/// Like [`create_directory`], and gives new files these permissions.
///
/// # Errors
///
/// - As for [`create_directory`].
pub fn create_directory_as(place: &str, mode: FileMode) -> Result<Arc<dyn Store>> {
    create(place, mode, MapChoice::default())
}

/// Like [`create_directory_as`], and reads back what is written by calls and never by a
/// map, so that a failing disk causes an error and not a signal.
///
/// # Errors
///
/// - As for [`create_directory`].
pub fn create_directory_unmapped(place: &str, mode: FileMode) -> Result<Arc<dyn Store>> {
    create(place, mode, MapChoice::Never)
}

fn create(place: &str, mode: FileMode, map_choice: MapChoice) -> Result<Arc<dyn Store>> {
    if let Some(store) = open_prefix(place)? {
        return Ok(store);
    }
    let path = absolute(local_path(place)?)?;
    let store = LocalStore::create_as(&path, mode)?;
    Ok(Arc::new(store.with_map(map_choice)))
}

/// Opens the store that a URL names; `None` if the place is local.
#[cfg(feature = "cloud")]
fn open_prefix(place: &str) -> Result<Option<Arc<dyn Store>>> {
    let Some(place) = CloudPlace::parse(place)? else {
        return Ok(None);
    };
    Ok(Some(Arc::new(CloudStore::open(place)?)))
}

#[cfg(not(feature = "cloud"))]
fn open_prefix(_place: &str) -> Result<Option<Arc<dyn Store>>> {
    Ok(None)
}

/// Opens the store that holds what a URL names, and returns the name in it; `None` if the
/// place is local.
#[cfg(feature = "cloud")]
fn open_object(place: &str, wanted: &str) -> Result<Option<(Arc<dyn Store>, String)>> {
    let Some(parsed) = CloudPlace::parse(place)? else {
        return Ok(None);
    };
    let Some((outer, name)) = parsed.split_last() else {
        return Err(Error::invalid_input("snapshot", place, wanted));
    };
    // By its manifest.
    let (outer, name) = match outer.split_last() {
        Some(outermost) if name == MANIFEST => outermost,
        _ => (outer, name),
    };
    Ok(Some((Arc::new(CloudStore::open(outer)?), name)))
}

#[cfg(not(feature = "cloud"))]
fn open_object(_place: &str, _wanted: &str) -> Result<Option<(Arc<dyn Store>, String)>> {
    Ok(None)
}

/// Reports whether a place is in an object store. One that is no place is none.
pub fn is_remote(place: &str) -> bool {
    match place.split_once("://") {
        Some((scheme, _)) => scheme != "file",
        None => false,
    }
}

/// Opens the store that holds a snapshot, and returns it with the snapshot's name in it.
/// `place` is the snapshot's directory or its manifest.
///
/// # Errors
///
/// - `InvalidInput`: the URL has another scheme than `file`, or the path names no
///   directory.
/// - `Io`: the current directory cannot be determined.
pub fn open_snapshot_place(place: &str, map_choice: MapChoice) -> Result<(Arc<dyn Store>, String)> {
    let wanted = "wanted the directory of a snapshot";
    if let Some(found) = open_object(place, wanted)? {
        return Ok(found);
    }
    let path = absolute(local_path(place)?)?;
    let is_manifest = path.file_name().is_some_and(|name| name == MANIFEST);
    let directory = if is_manifest {
        path.parent().unwrap_or(&path)
    } else {
        &path
    };
    let name = directory.file_name().and_then(|name| name.to_str());
    let (Some(name), Some(root)) = (name, directory.parent()) else {
        return Err(Error::invalid_input("snapshot", place, wanted));
    };
    check_name(name)?;
    let store = LocalStore::open(root)?.with_map(map_choice);
    Ok((Arc::new(store), name.to_owned()))
}

/// What stands at a place that the user names.
#[derive(Clone, Debug)]
pub enum DamagedPlace {
    /// A directory that is or was a snapshot.
    Snapshot {
        /// The store that contains it.
        store: Arc<dyn Store>,
        /// Its name in that store.
        name: String,
    },
    /// A file that is or was a segment.
    Segment {
        /// The store that contains it.
        store: Arc<dyn Store>,
        /// Its name in that store, without the suffix of an unfinished object.
        object: String,
        /// Whether the file never got its final name.
        is_unfinished: bool,
    },
}

/// Opens a place that may be damaged in any way. It is read by calls and never mapped, so
/// that a failing disk causes an error and not a signal.
///
/// # Errors
///
/// - `InvalidInput`: the URL has another scheme than `file`, or no object can have the
///   name.
/// - `NotFound`, `Io`: the place does not exist or cannot be reached.
pub fn open_damaged_place(place: &str) -> Result<DamagedPlace> {
    let wanted = "wanted a segment file, or the directory of a snapshot";
    if let Some((store, name)) = open_object(place, wanted)? {
        if store.open(&name).is_ok() {
            return Ok(DamagedPlace::Segment {
                store,
                object: name,
                is_unfinished: false,
            });
        }
        return Ok(DamagedPlace::Snapshot { store, name });
    }
    let path = absolute(local_path(place)?)?;
    let metadata = std::fs::metadata(&path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            return Error::new(ErrorKind::NotFound {
                what: path.display().to_string(),
            });
        }
        Error::io(Operation::Open, path.display().to_string(), error)
    })?;
    let is_segment = metadata.is_file() && path.file_name().is_none_or(|name| name != MANIFEST);
    if !is_segment {
        let (store, name) = open_snapshot_place(place, MapChoice::Never)?;
        return Ok(DamagedPlace::Snapshot { store, name });
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(name), Some(root)) = (name, path.parent()) else {
        return Err(Error::invalid_input("segment", place, wanted));
    };
    let object = name.strip_suffix(UNFINISHED_SUFFIX);
    let is_unfinished = object.is_some();
    let object = object.unwrap_or(name).to_owned();
    check_name(&object)?;
    let store = LocalStore::open(root)?.with_map(MapChoice::Never);
    Ok(DamagedPlace::Segment {
        store: Arc::new(store),
        object,
        is_unfinished,
    })
}

pub(super) fn local_path(place: &str) -> Result<&Path> {
    #[cfg(feature = "cloud")]
    let wanted = "wanted a directory, or a URL of s3://, gs://, az:// or file://";
    #[cfg(not(feature = "cloud"))]
    let wanted = "wanted a directory, or a file:// URL; this build has no object stores";
    if place.is_empty() {
        return Err(Error::invalid_input("place", place, wanted));
    }
    match place.split_once("://") {
        Some(("file", path)) if path.starts_with('/') => Ok(Path::new(path)),
        Some(_) => Err(Error::invalid_input("place", place, wanted)),
        None => Ok(Path::new(place)),
    }
}

/// Resolves `.` and `..` if the path exists, since its last component is used as a name.
pub(super) fn absolute(path: &Path) -> Result<std::path::PathBuf> {
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .map_err(|error| Error::io(Operation::Open, path.display().to_string(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_named_by_its_directory_or_its_manifest() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory
            .path()
            .canonicalize()
            .unwrap()
            .display()
            .to_string();
        for place in [
            format!("{root}/night"),
            format!("{root}/night/"),
            format!("file://{root}/night/manifest.json"),
        ] {
            let (store, name) = open_snapshot_place(&place, MapChoice::Never).unwrap();
            assert_eq!(store.describe(&name), format!("{root}/night"));
        }
        assert!(open_snapshot_place("/", MapChoice::Never).is_err());
        let error = create_directory("ftp://host").unwrap_err().to_string();
        assert!(
            error.starts_with("place \"ftp://host\": wanted a directory"),
            "{error}"
        );
    }
}
