//! Objects as files below a directory.
//!
//! An object is written to a sibling, `NAME.partial`, and published by a rename that does
//! not replace. A crash can leave behind a `.partial` file, a lock file that nobody
//! holds, and empty directories; `list` and readers see none of these.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use crate::ports::store::directory::{
    create_directories, is_absent, path_text, prune_up_to, sync_directory, sync_removal,
    uninterrupted, walk,
};
use crate::ports::store::file_mode::FileMode;
use crate::ports::store::map::{FileMap, MapChoice, map_by_choice};
use crate::ports::store::name::{UNFINISHED_SUFFIX, check_name, check_prefix};
use crate::ports::store::partial_file::PartialFile;
use crate::ports::store::prefix_lock::{PrefixLock, lock_file};
use crate::ports::store::range::{check_range, read_error};
use crate::ports::store::{ObjectInfo, ObjectReader, ObjectWriter, Store, StoreLock};
use crate::words::error::{Error, ErrorKind, Operation, Result};

/// A store in a directory of this machine.
///
/// Components of a name are directories. A directory is created with its first object and
/// removed with its last, no matter who created it. Files are readable by their owner
/// alone, unless a [`FileMode`] says otherwise. Files that were put there by other means
/// are objects too, except hidden files and files in directories that are symbolic links.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: Arc<Path>,
    map_choice: MapChoice,
    mode: FileMode,
    /// Whether the user was warned that this store has no locks.
    has_warned_of_locks: Arc<AtomicBool>,
}

impl LocalStore {
    /// Opens a store in an existing directory.
    ///
    /// # Errors
    ///
    /// - `NotFound`: the directory does not exist.
    /// - `InvalidInput`: the path is not a directory.
    /// - `Io`: the directory cannot be reached.
    pub fn open(root: &Path) -> Result<Self> {
        let root = absolute(root)?;
        match fs::metadata(&root) {
            Ok(metadata) if metadata.is_dir() => Ok(Self {
                root: root.into(),
                map_choice: MapChoice::default(),
                mode: FileMode::default(),
                has_warned_of_locks: Arc::default(),
            }),
            Ok(_) => Err(Error::invalid_input(
                "store",
                path_text(&root),
                "wanted a directory",
            )),
            Err(e) if is_absent(&e) => Err(not_found(&root)),
            Err(e) => Err(Error::io(Operation::Open, path_text(&root), e)),
        }
    }

    /// Opens a store in a directory; creates the directory and its parents if they are
    /// missing.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory cannot be created.
    /// - As for [`LocalStore::open`].
    pub fn create(root: &Path) -> Result<Self> {
        Self::create_as(root, FileMode::default())
    }

    /// Like [`LocalStore::create`], and gives new files these permissions.
    ///
    /// # Errors
    ///
    /// - As for [`LocalStore::create`].
    pub fn create_as(root: &Path, mode: FileMode) -> Result<Self> {
        let root = absolute(root)?;
        let made = create_directories(&root, mode)
            .map_err(|e| Error::io(Operation::Create, path_text(&root), e))?;
        for directory in made {
            if let Some(parent) = directory.parent() {
                sync_directory(parent)?;
            }
        }
        let store = Self::open(&root)?;
        Ok(Self { mode, ..store })
    }

    /// Sets whether objects opened from now on are mapped into memory.
    #[must_use]
    pub fn with_map(self, map_choice: MapChoice) -> Self {
        Self { map_choice, ..self }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(name))
    }

    /// Lists the files whose names are an object's name with this suffix.
    fn list_files(&self, prefix: &str, suffix: &str) -> Result<Vec<ObjectInfo>> {
        check_prefix(prefix)?;
        let mut objects: Vec<_> = walk(&self.root, prefix)?
            .into_iter()
            .filter_map(|file| {
                let name = file.name.strip_suffix(suffix)?;
                check_name(name).ok()?;
                Some(ObjectInfo {
                    name: name.to_owned(),
                    size: file.size,
                })
            })
            .collect();
        objects.sort_unstable();
        Ok(objects)
    }

    /// Writes the whole content for the object at this path, without publishing it yet.
    fn write_attempt(&self, path: PathBuf, bytes: &[u8]) -> Result<PartialFile> {
        // Every attempt has a name of its own, so that what a killed attempt left behind never
        // blocks the next one.
        let suffix = format!(".{}{UNFINISHED_SUFFIX}", Uuid::new_v4().simple());
        let partial = with_suffix(&path, &suffix);
        let mut writer = PartialFile::create(&self.root, self.mode, path, partial)?;
        writer.append(bytes)?;
        Ok(writer)
    }

    fn open_file(&self, path: PathBuf) -> Result<Box<dyn ObjectReader>> {
        let open_error = |e: io::Error| {
            if is_absent(&e) {
                not_found(&path)
            } else {
                Error::io(Operation::Open, path_text(&path), e)
            }
        };
        // Check before opening: opening a pipe would wait for its other end.
        if !fs::metadata(&path).map_err(open_error)?.is_file() {
            return Err(not_found(&path));
        }
        let file = File::open(&path).map_err(open_error)?;
        let size = file.metadata().map_err(open_error)?.len();
        Ok(Box::new(LocalObject {
            map: map_by_choice(self.map_choice, &file, size)
                .map_err(|e| Error::io(Operation::Map, path_text(&path), e))?,
            described: path_text(&path),
            file,
            size,
        }))
    }

    fn remove_file(&self, path: &Path, object: &Path) -> Result<()> {
        let mut try_count = 0;
        let outcome = uninterrupted(|| {
            try_count += 1;
            fs::remove_file(path)
        });
        match outcome {
            Ok(()) => {}
            // The interrupted attempt removed it.
            Err(e) if is_absent(&e) && try_count > 1 => {}
            Err(e) if is_absent(&e) => return Err(not_found(object)),
            Err(e) => return Err(Error::io(Operation::Remove, path_text(path), e)),
        }
        let parent = path.parent().unwrap_or(&self.root);
        prune_up_to(&self.root, parent);
        sync_removal(&self.root, parent)
    }
}

impl Store for LocalStore {
    fn describe(&self, name: &str) -> String {
        if name.is_empty() {
            return path_text(&self.root);
        }
        path_text(&self.root.join(name))
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        let path = self.path(name)?;
        let partial = with_suffix(&path, UNFINISHED_SUFFIX);
        let writer = PartialFile::create(&self.root, self.mode, path, partial)?;
        Ok(Box::new(writer))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write_attempt(self.path(name)?, bytes)?.publish()
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool> {
        let path = self.path(name)?;
        let attempt = self.write_attempt(path.clone(), bytes)?;
        // Compare as late as possible, since no system call compares and renames in one step.
        match fs::read(&path) {
            Ok(found) if found == expected => {}
            Ok(_) => return Ok(false),
            Err(e) if is_absent(&e) => return Ok(false),
            Err(e) => return Err(Error::io(Operation::Read, path_text(&path), e)),
        }
        attempt.replace()?;
        Ok(true)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        let path = self.path(name)?;
        self.open_file(path)
    }

    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        let path = self.path(name)?;
        self.open_file(with_suffix(&path, UNFINISHED_SUFFIX))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.list_files(prefix, "")
    }

    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.list_files(prefix, UNFINISHED_SUFFIX)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        match self.remove_file(&path, &path) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => Ok(()),
            removed => removed,
        }
    }

    fn lock_prefix(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        let path = self.path(prefix)?;
        let lock = PrefixLock::take(&self.root, self.mode, &path, lock_file)?;
        if !lock.is_held() && !self.has_warned_of_locks.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "{}: this file system has no locks; nothing keeps two runs from writing one \
                 snapshot at the same time, so start only one",
                lock.describe()
            );
        }
        Ok(Box::new(lock))
    }

    fn remove_unfinished(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        self.remove_file(&with_suffix(&path, UNFINISHED_SUFFIX), &path)
    }
}

#[derive(Debug)]
struct LocalObject {
    described: String,
    file: File,
    size: u64,
    map: Option<FileMap>,
}

impl ObjectReader for LocalObject {
    fn describe(&self) -> &str {
        &self.described
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        check_range(&self.described, self.size, offset, buffer.len())?;
        // Read by a call even if there is a map: if the file was truncated in the meantime, the
        // result is an error and not a signal.
        self.file.read_exact_at(buffer, offset).map_err(|e| {
            if e.kind() == io::ErrorKind::UnexpectedEof {
                let cause = io::Error::new(e.kind(), "the file has become shorter");
                return read_error(&self.described, offset, cause);
            }
            read_error(&self.described, offset, e)
        })
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        self.map.as_ref()?.bytes(&self.file)
    }
}

/// Makes a root independent of later changes of the working directory.
fn absolute(root: &Path) -> Result<PathBuf> {
    std::path::absolute(root).map_err(|e| {
        Error::invalid_input("store", path_text(root), "wanted a directory").caused_by(e)
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn not_found(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound {
        what: path_text(path),
    })
}
