//! The lock of a part of a local store: a file beside the directory.
//!
//! The directory itself is no good for it. It goes with its last object and
//! comes back with the next, and a lock on the one that has gone keeps nobody
//! out. On NFS the kernel keeps `flock` of a directory to its own host, while
//! that of a file that is open for writing holds on the server.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::ports::store::StoreLock;
use crate::ports::store::directory::{
    create_directories, is_not_offered, path_text, prune_up_to, uninterrupted,
};
use crate::ports::store::file_mode::FileMode;
use crate::words::error::{Error, ErrorKind, Operation, Result};

/// How often the file may be removed by others between opening and locking it.
const ATTEMPT_COUNT_MAX: u32 = 100;

/// Locks a file, or fails with `WouldBlock`.
pub(super) type LockFile = fn(&File) -> io::Result<()>;

/// A lock; the kernel takes it back when the process ends.
#[derive(Debug)]
pub(super) struct PrefixLock {
    root: Arc<Path>,
    path: PathBuf,
    file: File,
    is_held: bool,
}

impl PrefixLock {
    /// Locks the prefix whose objects are in `directory`, below `root`.
    ///
    /// Where the file system has no locks, the result keeps nobody out, and
    /// [`PrefixLock::is_held`] says so.
    ///
    /// # Errors
    ///
    /// - `Locked` when another process has it.
    /// - `Io` when the file cannot be made or locked.
    pub(super) fn take(
        root: &Arc<Path>,
        mode: FileMode,
        directory: &Path,
        lock: LockFile,
    ) -> Result<Self> {
        let path = lock_path(root, directory);
        let parent = path.parent().unwrap_or(root);
        let locked = || {
            let what = path_text(directory);
            Error::new(ErrorKind::Locked { what })
        };
        for _ in 0..ATTEMPT_COUNT_MAX {
            let opened = create_directories(parent, mode).and_then(|_| open(&path, mode));
            let file = match opened {
                Ok(file) => file,
                // Another process has pruned the directory since it was made.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    prune_up_to(root, parent);
                    return Err(Error::io(Operation::Create, path_text(&path), e));
                }
            };
            let is_held = match uninterrupted(|| lock(&file)) {
                Ok(()) => true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(locked()),
                Err(e) if has_no_locks(&e) => false,
                Err(e) => return Err(Error::io(Operation::Lock, path_text(&path), e)),
            };
            // Its last holder may have removed it after it was opened here. Then
            // the next process makes another file, and locks that one.
            if is_same_file(&file, &path) {
                return Ok(Self {
                    root: Arc::clone(root),
                    path,
                    file,
                    is_held,
                });
            }
        }
        // Others take it and give it back all the time.
        Err(locked())
    }

    /// Says whether it keeps others out.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Names the file for people.
    pub(super) fn describe(&self) -> String {
        path_text(&self.path)
    }
}

impl StoreLock for PrefixLock {}

impl Drop for PrefixLock {
    fn drop(&mut self) {
        // The file goes while it is still locked. A process that has opened it
        // before gets the lock when `file` is closed, finds that the name leads
        // elsewhere, and begins anew; removed after that, it could be taken away
        // from under the next holder. Without a lock it stays: by other means a
        // process on another host may hold it. A killed process leaves it, too,
        // unlocked, and the next one takes it.
        if self.is_held && is_same_file(&self.file, &self.path) {
            // Left behind, it is in nobody's way.
            let _ = uninterrupted(|| fs::remove_file(&self.path));
        }
        prune_up_to(&self.root, self.path.parent().unwrap_or(&self.root));
    }
}

/// Locks a file as `flock` does.
pub(super) fn lock_file(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Returns the place of the lock: beside the directory, and hidden, so that it
/// is in no listing and is no object.
fn lock_path(root: &Path, directory: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(directory.file_name().unwrap_or_default());
    name.push(".lock");
    directory.parent().unwrap_or(root).join(name)
}

/// Opens the file, and makes it where it is missing. For writing, although
/// nothing is written: NFS gives no exclusive lock otherwise.
fn open(path: &Path, mode: FileMode) -> io::Result<File> {
    mode.open_or_create(path)
}

fn is_same_file(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(own), Ok(found)) => identity(own) == identity(found),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// Says whether an error means that the file system has no locks.
fn has_no_locks(error: &io::Error) -> bool {
    // NFS whose server runs no lock daemon says NOLCK.
    is_not_offered(error) || Errno::from_io_error(error) == Some(Errno::NOLCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    use tempfile::TempDir;

    fn root_of(directory: &TempDir) -> Arc<Path> {
        directory.path().into()
    }

    fn entries(path: &Path) -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn the_lock_outlives_the_directory_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = root_of(&directory);
        let place = root.join("deep/a");
        let lock = PrefixLock::take(&root, FileMode::default(), &place, lock_file).unwrap();
        for _ in 0..2 {
            fs::create_dir(&place).unwrap();
            fs::remove_dir(&place).unwrap();
            let error =
                PrefixLock::take(&root, FileMode::default(), &place, lock_file).unwrap_err();
            let what = path_text(&place);
            assert_eq!(*error.kind(), ErrorKind::Locked { what });
        }
        // No pruning takes its directory away.
        prune_up_to(&root, &root.join("deep"));
        assert_eq!(entries(&root.join("deep")), [".a.lock"]);
        drop(lock);
        assert_eq!(entries(&root), [""; 0]);
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_meanwhile_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let root = root_of(&directory);
        let place = root.join("a");
        // Its holder removes the file when this process has opened it, and lets
        // go of it then.
        let lock: LockFile = |file| {
            let path = fs::read_link(format!("/proc/self/fd/{}", as_number(file))).unwrap();
            let marker = path.with_extension("once");
            if File::create_new(marker).is_ok() {
                fs::remove_file(path).unwrap();
            }
            lock_file(file)
        };
        let first = PrefixLock::take(&root, FileMode::default(), &place, lock).unwrap();
        assert!(first.is_held());
        PrefixLock::take(&root, FileMode::default(), &place, lock_file).unwrap_err();
    }

    fn as_number(file: &File) -> i32 {
        use std::os::fd::AsRawFd;
        file.as_raw_fd()
    }

    #[test]
    fn of_many_that_take_and_give_back_one_has_it_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let root = root_of(&directory);
        let place = root.join("deep/a");
        let holders = std::sync::atomic::AtomicUsize::new(0);
        let taken = std::sync::atomic::AtomicUsize::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        if let Ok(lock) =
                            PrefixLock::take(&root, FileMode::default(), &place, lock_file)
                        {
                            assert_eq!(holders.fetch_add(1, order), 0);
                            taken.fetch_add(1, order);
                            holders.fetch_sub(1, order);
                            drop(lock);
                        }
                    }
                });
            }
        });
        assert!(taken.load(order) > 0);
        assert_eq!(entries(&root), [""; 0]);
    }

    #[test]
    fn a_file_system_without_locks_grants_it_and_says_that_it_holds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let root = root_of(&directory);
        let place = root.join("a");
        let refusals: [LockFile; 3] = [
            |_| Err(Errno::NOLCK.into()),
            |_| Err(Errno::NOSYS.into()),
            |_| Err(Errno::OPNOTSUPP.into()),
        ];
        let locks = refusals
            .map(|refuse| PrefixLock::take(&root, FileMode::default(), &place, refuse).unwrap());
        assert!(locks.iter().all(|lock| !lock.is_held()));
        let error = PrefixLock::take(
            &root,
            FileMode::default(),
            &place,
            |_| Err(Errno::IO.into()),
        )
        .unwrap_err();
        assert!(
            error.to_string().ends_with(".a.lock: cannot lock"),
            "{error}"
        );
        drop(locks);
        // Who is on a host that has locks may hold it.
        assert_eq!(entries(&root), [".a.lock"]);
    }
}
