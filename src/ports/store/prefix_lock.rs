//! The lock of a prefix of a local store: a file beside the prefix's directory.
//!
//! The directory itself cannot serve as the lock. It is removed with its last object and
//! created again with the next, and a lock on the removed directory keeps nobody out. On
//! NFS, the kernel applies `flock` on a directory to its own host only, while `flock` on
//! a file that is open for writing holds on the server.

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

/// How often others may remove the file between opening and locking it.
const ATTEMPT_COUNT_MAX: u32 = 100;

/// Locks a file, or fails with `WouldBlock`.
pub(super) type LockFile = fn(&File) -> io::Result<()>;

/// A lock. The kernel releases it when the process ends.
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
    /// If the file system has no locks, the returned lock keeps nobody out, and
    /// [`PrefixLock::is_held`] returns false.
    ///
    /// # Errors
    ///
    /// - `Locked`: another process holds the lock.
    /// - `Io`: the file cannot be created or locked.
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
                // Another process pruned the directory after it was created.
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
            // The last holder may have removed the file after it was opened here. The next
            // process would then create and lock another file.
            if is_same_file(&file, &path) {
                return Ok(Self {
                    root: Arc::clone(root),
                    path,
                    file,
                    is_held,
                });
            }
        }
        // Other processes keep taking and releasing the lock.
        Err(locked())
    }

    /// Returns whether the lock keeps others out.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Names the lock file for messages.
    pub(super) fn describe(&self) -> String {
        path_text(&self.path)
    }
}

impl StoreLock for PrefixLock {}

impl Drop for PrefixLock {
    fn drop(&mut self) {
        // Remove the file while it is still locked. A process that has already opened it gets
        // the lock when `file` is closed, finds that the name leads elsewhere, and starts over.
        // If the file were removed after that, it could be taken away from the next holder. A
        // lock that is not held leaves the file in place: a process on another host may hold
        // the lock by other means. A killed process also leaves the file, unlocked, and the
        // next process takes it.
        if self.is_held && is_same_file(&self.file, &self.path) {
            // A leftover file does no harm.
            let _ = uninterrupted(|| fs::remove_file(&self.path));
        }
        prune_up_to(&self.root, self.path.parent().unwrap_or(&self.root));
    }
}

/// Locks a file as `flock` does.
pub(super) fn lock_file(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}

/// Returns the path of the lock file: beside the directory and hidden, so that no listing
/// shows it and it is not an object.
fn lock_path(root: &Path, directory: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(directory.file_name().unwrap_or_default());
    name.push(".lock");
    directory.parent().unwrap_or(root).join(name)
}

/// Opens the file, and creates it if it is missing. It is opened for writing although
/// nothing is written, since NFS otherwise grants no exclusive lock.
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

/// Returns whether an error means that the file system has no locks.
fn has_no_locks(error: &io::Error) -> bool {
    // An NFS mount whose server runs no lock daemon returns NOLCK.
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
        // Pruning does not remove the lock's directory.
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
        // The holder removes the file after this process has opened it, and then releases the
        // lock.
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
        // A process on a host that has locks may hold it.
        assert_eq!(entries(&root), [".a.lock"]);
    }
}
