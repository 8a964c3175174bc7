//! Directories of a local store: creating, syncing, walking and pruning them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::ports::store::ObjectInfo;
use crate::ports::store::file_mode::FileMode;
use crate::ports::store::name::is_visible_component;
use crate::words::error::{Error, Operation, Result};

/// The directory where ext file systems keep what fsck found. Only root may read it, so
/// other users could not list a store that is the root of a mount.
const FSCK_DIRECTORY: &str = "lost+found";

/// Converts a path to text for messages.
pub(super) fn path_text(path: &Path) -> String {
    path.display().to_string()
}

/// Creates a directory and its parents, and returns those that were missing, outermost
/// first.
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
            // Another writer was faster, or it is a file. If it is a file, creating something in
            // it fails next and reports that.
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

/// Makes the entries of a directory and of its parents up to and including `root`
/// durable.
pub(super) fn sync_up_to(root: &Path, path: &Path) -> Result<()> {
    for directory in path.ancestors() {
        if directory == root {
            break;
        }
        match try_sync(directory) {
            Ok(()) => {}
            // The directory was pruned since, so the object was already removed.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(Operation::Sync, path_text(directory), e)),
        }
    }
    sync_directory(root)
}

fn try_sync(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some file systems do not support this for directories; nothing more can be done.
        Err(e) if is_not_offered(&e) => Ok(()),
        outcome => outcome,
    }
}

/// Removes a directory and its parents below `root` as long as they are empty.
pub(super) fn prune_up_to(root: &Path, path: &Path) {
    for directory in path.ancestors() {
        if directory == root {
            break;
        }
        match uninterrupted(|| fs::remove_dir(directory)) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            // It is not empty or cannot be removed. Neither is a reason to fail the operation
            // before it.
            Err(_) => break,
        }
    }
}

/// Makes a removal from a directory durable, after pruning.
pub(super) fn sync_removal(root: &Path, path: &Path) -> Result<()> {
    for directory in path.ancestors().take_while(|&above| above != root) {
        match try_sync(directory) {
            // If the directory was removed, so was everything in it; syncing its nearest
            // remaining parent is enough.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(Operation::Sync, path_text(directory), e)),
            Ok(()) => return Ok(()),
        }
    }
    sync_directory(root)
}

/// Lists the files below a directory of `root`, finished and unfinished, in no particular
/// order.
///
/// Entries that cannot be objects are left out: hidden ones, names with control
/// characters, and anything that is neither a file nor a directory. A symbolic link to a
/// file is an object; a link to a directory is not followed, since it can lead back up.
pub(super) fn walk(root: &Path, prefix: &str) -> Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    let mut pending = vec![prefix.to_owned()];
    while let Some(directory) = pending.pop() {
        let path = root.join(&directory);
        let list_error = |e| Error::io(Operation::List, path_text(&path), e);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // The prefix does not exist, or was pruned after its parent was listed.
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
                // It was removed since, or is a dangling link.
                Err(e) if is_absent(&e) => {}
                Err(e) => {
                    return Err(Error::io(Operation::List, path_text(&entry.path()), e));
                }
            }
        }
    }
    Ok(found)
}

/// Repeats a call for as long as signals interrupt it. The standard library repeats
/// reads, writes and syncs, but not the calls that change directories, which a network
/// file system can interrupt too.
///
/// An interrupted call may still have taken effect, so the caller must treat the result
/// of an earlier attempt as its own success.
pub(super) fn uninterrupted(mut call: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Returns whether an error means that no object has this path.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// Returns whether an error means that the file system does not support the operation.
pub(super) fn is_not_offered(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP)
    )
}
