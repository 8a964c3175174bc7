//! A file that is written under a temporary name and then published.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};

use crate::ports::store::ObjectWriter;
use crate::ports::store::directory::{
    create_directories, is_absent, is_not_offered, path_text, prune_up_to, sync_up_to,
    uninterrupted,
};
use crate::ports::store::file_mode::FileMode;
use crate::words::error::{Error, ErrorKind, Operation, Result};

/// Writes shorter than this are collected; longer ones go straight to the file. Bytes.
const BUFFER_LEN: usize = 256 << 10;

/// How often others may prune a directory between creating it and creating a file in it.
const CREATE_ATTEMPT_COUNT_MAX: u32 = 100;

/// A file that is removed unless it is published.
pub(super) struct PartialFile {
    root: Arc<Path>,
    path: PathBuf,
    partial: PathBuf,
    file: File,
    buffer: Vec<u8>,
    progress: Progress,
}

/// Renames a file.
type Rename = fn(&Path, &Path) -> io::Result<()>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Writing,
    /// A write failed; how much of it reached the file is unknown.
    Failed,
    Published,
}

impl PartialFile {
    /// Starts the file `partial` beside `path`, both below `root`.
    pub(super) fn create(
        root: &Arc<Path>,
        mode: FileMode,
        path: PathBuf,
        partial: PathBuf,
    ) -> Result<Self> {
        let parent = path.parent().unwrap_or(root);
        let file = create_file(parent, &partial, mode).map_err(|e| {
            prune_up_to(root, parent);
            if e.kind() == io::ErrorKind::AlreadyExists {
                return Error::new(ErrorKind::AlreadyExists {
                    what: format!("unfinished object {}", path_text(&path)),
                });
            }
            Error::io(Operation::Create, path_text(&partial), e)
        })?;
        Ok(Self {
            root: Arc::clone(root),
            path,
            partial,
            file,
            buffer: Vec::new(),
            progress: Progress::Writing,
        })
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_LEN {
            self.flush()?;
        }
        if bytes.len() < BUFFER_LEN {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.write_through(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        let mut buffer = mem::take(&mut self.buffer);
        let outcome = self.write_through(&buffer);
        buffer.clear();
        self.buffer = buffer;
        outcome
    }

    fn write_through(&mut self, bytes: &[u8]) -> Result<()> {
        if self.progress == Progress::Failed {
            let cause = io::Error::other("an earlier write failed");
            return Err(self.error(Operation::Write, cause));
        }
        self.file.write_all(bytes).map_err(|e| {
            self.progress = Progress::Failed;
            self.error(Operation::Write, e)
        })
    }

    /// Makes the file durable under its final name, if that name is free.
    pub(super) fn publish(self) -> Result<()> {
        self.publish_by(rename_new)
    }

    /// Makes the file durable under its final name, replacing the existing file.
    pub(super) fn replace(self) -> Result<()> {
        self.publish_by(|from, to| fs::rename(from, to))
    }

    fn publish_by(mut self, rename: Rename) -> Result<()> {
        self.flush()?;
        self.file
            .sync_all()
            .map_err(|e| self.error(Operation::Sync, e))?;
        self.take_name(rename)?;
        // Sync all of them, not only those this writer created: another writer that created one
        // may not have synced it yet.
        let parent = self.path.parent().unwrap_or(&self.root);
        sync_up_to(&self.root, parent)
    }

    /// Gives the complete file its final name.
    fn take_name(&mut self, rename: Rename) -> Result<()> {
        // If somebody removed the partial file, there may be another one of the same name,
        // which must not be published half written.
        if !self.is_own(&self.partial) {
            let cause = io::Error::new(io::ErrorKind::NotFound, "the unfinished file was removed");
            return Err(self.error(Operation::Publish, cause));
        }
        let (from, to) = (&self.partial, &self.path);
        let (outcome, is_linked) = match uninterrupted(|| rename(from, to)) {
            Err(e) if is_not_offered(&e) => (uninterrupted(|| fs::hard_link(from, to)), true),
            outcome => (outcome, false),
        };
        match outcome {
            Ok(()) => {}
            // A network file system repeats a request whose reply was lost, and the repetition
            // fails because the first one succeeded.
            Err(_) if self.is_own(&self.path) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::new(ErrorKind::AlreadyExists {
                    what: path_text(&self.path),
                }));
            }
            Err(e) => return Err(Error::io(Operation::Publish, path_text(&self.path), e)),
        }
        self.progress = Progress::Published;
        if is_linked {
            match uninterrupted(|| fs::remove_file(from)) {
                // The interrupted attempt removed it.
                Err(e) if !is_absent(&e) => return Err(self.error(Operation::Remove, e)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Returns whether a path leads to this writer's file.
    fn is_own(&self, path: &Path) -> bool {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match (self.file.metadata(), fs::symlink_metadata(path)) {
            (Ok(own), Ok(found)) => identity(own) == identity(found),
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    fn error(&self, operation: Operation, cause: io::Error) -> Error {
        Error::io(operation, path_text(&self.partial), cause)
    }
}

impl ObjectWriter for PartialFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(bytes)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.publish()
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if self.progress != Progress::Published {
            if self.is_own(&self.partial) {
                // An error cannot be reported here. The file stays visible as an unfinished
                // object.
                let _ = uninterrupted(|| fs::remove_file(&self.partial));
            }
            if let Some(parent) = self.path.parent() {
                prune_up_to(&self.root, parent);
            }
        }
    }
}

impl fmt::Debug for PartialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialFile")
            .field("partial", &self.partial)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// Creates a file, and its directory if that is missing.
fn create_file(directory: &Path, path: &Path, mode: FileMode) -> io::Result<File> {
    let mut attempt = 1;
    loop {
        let file = create_directories(directory, mode).and_then(|_| mode.create_file(path));
        match file {
            Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < CREATE_ATTEMPT_COUNT_MAX => {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::io::Errno;
    use tempfile::TempDir;

    /// Starts a file that will be `a` in the directory.
    fn start(directory: &TempDir, text: &str) -> PartialFile {
        let root: Arc<Path> = directory.path().into();
        let (path, partial) = (root.join("a"), root.join("a.partial"));
        let mut file = PartialFile::create(&root, FileMode::default(), path, partial).unwrap();
        file.append(text.as_bytes()).unwrap();
        file.flush().unwrap();
        file
    }

    #[test]
    fn a_file_system_without_the_rename_gets_a_link() {
        let refusals: [Rename; 2] = [
            |_, _| Err(Errno::INVAL.into()),
            |_, _| Err(Errno::NOSYS.into()),
        ];
        for refuse in refusals {
            let directory = tempfile::tempdir().unwrap();
            start(&directory, "first").take_name(refuse).unwrap();
            let error = start(&directory, "second").take_name(refuse).unwrap_err();

            let path = directory.path().join("a");
            let what = path_text(&path);
            assert_eq!(*error.kind(), ErrorKind::AlreadyExists { what });
            assert_eq!(fs::read(path).unwrap(), b"first");
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_repeated_rename_whose_first_reply_was_lost_is_a_success() {
        let directory = tempfile::tempdir().unwrap();
        start(&directory, "text")
            .take_name(|from, to| {
                rename_new(from, to)?;
                rename_new(from, to)
            })
            .unwrap();
        assert_eq!(fs::read(directory.path().join("a")).unwrap(), b"text");
    }

    #[test]
    fn a_failed_write_is_final() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = start(&directory, "");
        // A file that is open for reading refuses a write, as a full disk would.
        let writable = mem::replace(
            &mut writer.file,
            File::open(directory.path().join("a.partial")).unwrap(),
        );
        writer.append(&[0; BUFFER_LEN]).unwrap_err();
        writer.file = writable;
        let error = writer.append(b"x").and(writer.publish()).unwrap_err();
        assert!(error.to_chain().ends_with("an earlier write failed"));
        assert!(!directory.path().join("a").exists());
    }
}
