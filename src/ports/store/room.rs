//! Whether a local store can be written to, and how much fits: looked at without
//! writing anything.

use std::fs;
use std::io;

use rustix::fs::{Access, access, statvfs};

use crate::ports::store::directory::path_text;
use crate::ports::store::url::{absolute, local_path};
use crate::words::error::{Error, Operation, Result};

/// What a directory, or the one in which it would be made, has to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The directory is there already.
    pub is_there: bool,
    /// Bytes that this user can still write, where the file system tells.
    pub free_bytes: Option<u64>,
}

/// Looks at the place where a store is, or would be made.
///
/// # Errors
///
/// - `InvalidInput`: a URL of another kind.
/// - `Io`: nothing can be made there: it is no directory, may not be written to,
///   or the file system is mounted read-only.
pub fn look_at_room(place: &str) -> Result<Room> {
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
