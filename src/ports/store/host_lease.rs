//! A lease that one process of a host can hold at a time.

use std::env;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use rustix::fs::{FlockOperation, OFlags, flock};
use xxhash_rust::xxh3::xxh3_64;

use crate::ports::store::directory::uninterrupted;

/// The exclusive use of a named thing, such as a server's crawler. The lease is a lock on
/// a small file in the system's temporary directory, which stays there; the kernel
/// releases the lock when the process ends.
///
/// If files or locks cannot be had, the lease keeps nobody out.
#[derive(Debug)]
pub struct HostLease(Option<File>);

/// Longest note that is read, in bytes.
const NOTE_LEN_MAX: usize = 64;

impl HostLease {
    /// Takes the lease, or returns `None` while another process holds it. With `is_new`,
    /// the file is created if it does not exist.
    pub fn take(name: &str, is_new: bool) -> Option<Self> {
        let file = format!("mcsnap-{:016x}.lock", xxh3_64(name.as_bytes()));
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(is_new)
            .mode(0o600)
            .custom_flags(no_link)
            .open(env::temp_dir().join(file));
        let Ok(file) = opened else {
            return Some(Self(None));
        };
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        match uninterrupted(|| flock(&file, exclusive).map_err(io::Error::from)) {
            Ok(()) => Some(Self(Some(file))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(Self(None)),
        }
    }

    /// Leaves a note for the next holder, replacing an earlier one.
    pub fn leave_note(&self, note: &str) {
        let Some(file) = &self.0 else {
            return;
        };
        let left = file
            .set_len(0)
            .and_then(|()| file.write_all_at(note.as_bytes(), 0));
        if let Err(error) = left {
            tracing::debug!("no note for others on this host: {error}");
        }
    }

    /// Returns whether the stored note equals this one.
    pub fn has_note(&self, note: &str) -> bool {
        let mut bytes = [0; NOTE_LEN_MAX];
        let read = self.0.as_ref().map(|file| file.read_at(&mut bytes, 0));
        let Some(Ok(len)) = read else {
            return false;
        };
        bytes.get(..len) == Some(note.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_at_a_time_and_the_next_one_finds_the_note() {
        let name = uuid::Uuid::new_v4().to_string();
        // The file does not exist, so nobody is kept out.
        let absent = HostLease::take(&name, false).unwrap();
        assert!(!absent.has_note("off"));
        let first = HostLease::take(&name, true).unwrap();
        first.leave_note("off");
        assert!(HostLease::take(&name, true).is_none());
        assert!(HostLease::take(&name, false).is_none());
        drop(first);
        let second = HostLease::take(&name, false).unwrap();
        assert!(second.has_note("off") && !second.has_note("of"));
        second.leave_note("");
        assert!(second.has_note("") && !second.has_note("off"));
    }
}
