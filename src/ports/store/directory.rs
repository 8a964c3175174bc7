//! Directories of a local store: made, made durable, walked and pruned.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::ports::store::ObjectInfo;
use crate::ports::store::file_mode::FileMode;
use crate::ports::store::name::is_visible_component;
use crate::words::error::{Error, Operation, Result};

/// Where ext file systems put what fsck found; only root may read it. A mount
/// point used as a store would not be listable by anyone else.
const FSCK_DIRECTORY: &str = "lost+found";

/// Writes a path for people.
pub(super) fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Creates a directory and those above it, and returns the ones that were
/// missing, the outermost first.
pub(super) fn create_directories(path: &Path, mode: FileMode) -> io::Result<Vec<PathBuf>> {
    let mut missing: Vec<_> = path
        .ancestors()
        .take_while(|directory| !directory.is_dir())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    for directory in &missing {
        match uninterrupted(|| mode.create_directory(directory)) {
            Ok(()) => {}
            // Another writer was faster, or it is a file; then what is created
            // in it next fails and says so.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Ok(missing)
}

/// Makes the entries of one directory durable.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    try_sync(path).map_err(|e| Error::io(Operation::Sync, path_text(path), e))
}

/// Makes the entries of a directory and of those between it and `root`
/// durable, `root` included.
pub(super) fn sync_up_to(root: &Path, path: &Path) -> Result<()> {
    for directory in path.ancestors() {
        if directory == root {
            break;
        }
        match try_sync(directory) {
            Ok(()) => {}
            // Pruned since, so the object was removed already.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(Operation::Sync, path_text(directory), e)),
        }
    }
    sync_directory(root)
}

fn try_sync(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems have no such request for directories; there
        // nothing more can be done.
        Err(e) if is_not_offered(&e) => Ok(()),
        outcome => outcome,
    }
}

/// Removes a directory and those between it and `root` as long as they are
/// empty, `root` excluded.
pub(super) fn prune_up_to(root: &Path, path: &Path) {
    for directory in path.ancestors() {
        if directory == root {
            break;
        }
        match uninterrupted(|| fs::remove_dir(directory)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            // It has other entries, or it may not be removed: both are no
            // reason to fail what was done before.
            Err(_) => break,
        }
    }
}

/// Makes a removal from a directory durable, after pruning.
pub(super) fn sync_removal(root: &Path, path: &Path) -> Result<()> {
    for directory in path.ancestors().take_while(|&above| above != root) {
        match try_sync(directory) {
            // The removal of a directory takes along all that was in it, so
            // the nearest one that is left is enough.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(Operation::Sync, path_text(directory), e)),
            Ok(()) => return Ok(()),
        }
    }
    sync_directory(root)
}

/// Lists the files below a directory of `root`, finished and unfinished, in no
/// order.
///
/// Entries that cannot be objects are left out: hidden ones, those with
/// control characters, and what is neither a file nor a directory. A symbolic
/// link to a file is an object; one to a directory is not followed, since it
/// can lead back up.
pub(super) fn walk(root: &Path, prefix: &str) -> Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    let mut pending = vec![prefix.to_owned()];
    while let Some(directory) = pending.pop() {
        let path = root.join(&directory);
        let list_error = |e| Error::io(Operation::List, path_text(&path), e);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // No such prefix, or pruned since its parent was listed.
            Err(e) if !directory.is_empty() && is_absent(&e) => continue,
            Err(e) => return Err(list_error(e)),
        };
        for entry in entries {
            let entry = entry.map_err(list_error)?;
            let file_name = entry.file_name();
            let Some(component) = file_name.to_str().filter(|c| is_visible_component(c)) else {
                continue;
            };
            let name = if directory.is_empty() {
                component.to_owned()
            } else {
                format!("{directory}/{component}")
            };
            if entry.file_type().map_err(list_error)?.is_dir() {
                if name != FSCK_DIRECTORY {
                    pending.push(name);
                }
                continue;
            }
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => found.push(ObjectInfo {
                    name,
                    size: metadata.len(),
                }),
                Ok(_) => {}
                // Removed since, or a link to nowhere.
                Err(e) if is_absent(&e) => {}
                Err(e) => {
                    return Err(Error::io(Operation::List, path_text(&entry.path()), e));
                }
            }
        }
    }
    Ok(found)
}

/// Repeats a call for as long as signals interrupt it. The standard library
/// repeats reads, writes and syncs, but not the calls that change directories,
/// which a network file system can interrupt as well.
///
/// Such a call may have been done by then: the caller must take for its own
/// success what an earlier try of it has left.
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Says whether an error means that no object has this path.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// Says whether an error means that the file system lacks an operation.
pub(super) fn is_not_offered(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
    )
}
