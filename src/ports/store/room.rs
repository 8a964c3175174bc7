//! Checks whether a local store can be written to and how much fits, without writing
//! anything.

use std::fs;
use std::io;

use rustix::fs::{Access, access, statvfs};

use crate::ports::store::directory::path_text;
use crate::ports::store::url::{absolute, is_remote, local_path};
use crate::words::error::{Error, Operation, Result};

/// What a directory, or the directory in which it would be created, offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Whether the directory exists.
    pub is_there: bool,
    /// Bytes that this user can still write; `None` if the file system does not report
    /// it.
    pub free_bytes: Option<u64>,
}

/// Examines the place where a store is or would be created.
///
/// # Errors
///
/// - `InvalidInput`: the URL has another scheme than `file`.
/// - `Io`: nothing can be created there, because it is not a directory, may not be
///   written to, or is on a file system that is mounted read-only.
pub fn look_at_room(place: &str) -> Result<Room> {
    if is_remote(place) {
        // A bucket has room for whatever comes.
        return Ok(Room {
            is_there: true,
            free_bytes: None,
        });
    }
    let path = absolute(local_path(place)?)?;
    let failed = |cause: io::Error| Error::io(Operation::Create, path_text(&path), cause);
    for directory in path.ancestors() {
        match fs::metadata(directory) {
            Ok(metadata) if metadata.is_dir() => {
                let wanted = Access::WRITE_OK | Access::EXEC_OK;
                access(directory, wanted).map_err(|errno| failed(errno.into()))?;
                let free = statvfs(directory).ok();
                let free_bytes = free.map(|free| free.f_bavail.saturating_mul(free.f_frsize));
                return Ok(Room {
                    is_there: directory == path,
                    free_bytes,
                });
            }
            Ok(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_made_is_told_without_making_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display().to_string();
        let room = look_at_room(&root).unwrap();
        assert!(room.is_there && room.free_bytes > Some(0));
        let deep = look_at_room(&format!("{root}/a/b")).unwrap();
        assert!(!deep.is_there && deep.free_bytes.is_some());
        assert!(!directory.path().join("a").exists());
        fs::write(directory.path().join("file"), b"").unwrap();
        let error = look_at_room(&format!("{root}/file/a")).unwrap_err();
        assert!(error.to_string().contains("cannot create"), "{error}");
    }
}
