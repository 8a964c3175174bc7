//! Objects as files below a directory.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use rustix::fs::{CWD, RenameFlags};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::store::map::map_file;
use crate::store::{Listing, ObjectInfo, ObjectReader, ObjectWriter, Store, check_name};

/// What an unfinished file's name ends in.
const PARTIAL: &str = ".partial";

/// Whether files are mapped into memory to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MmapChoice {
    /// Where the file system is local.
    #[default]
    Auto,
    /// Never: every read is a copy.
    Never,
}

/// A directory of this host.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    mmap: MmapChoice,
}

impl LocalStore {
    /// Makes a store of a directory, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>, mmap: MmapChoice) -> Self {
        Self {
            root: root.into(),
            mmap,
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(name))
    }
}

impl Store for LocalStore {
    fn describe(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        let path = self.path(name)?;
        Ok(Box::new(LocalWriter::create(path)?))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut writer = Box::new(LocalWriter::create(self.path(name)?)?);
        writer.write(bytes)?;
        writer.finish()
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        let path = self.path(name)?;
        Ok(Box::new(LocalReader::open(&path, self.mmap)?))
    }

    fn list(&self, prefix: &str, which: Listing) -> Result<Vec<ObjectInfo>> {
        let start = if prefix.is_empty() {
            self.root.clone()
        } else {
            self.path(prefix)?
        };
        let mut found = Vec::new();
        // Directories to visit, with the name their objects start with.
        let mut directories = vec![(start, prefix.to_owned())];
        while let Some((directory, name)) = directories.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(failed(Operation::List, &directory, error)),
            };
            for entry in entries {
                let entry = entry.map_err(|error| failed(Operation::List, &directory, error))?;
                // A name that is not text cannot be an object's.
                let Some(part) = entry.file_name().to_str().map(str::to_owned) else {
                    continue;
                };
                let name = if name.is_empty() {
                    part
                } else {
                    format!("{name}/{part}")
                };
                let metadata = entry
                    .metadata()
                    .map_err(|error| failed(Operation::List, &entry.path(), error));
                let metadata = metadata?;
                if metadata.is_dir() {
                    directories.push((entry.path(), name));
                } else if which == Listing::WithUnfinished || !name.ends_with(PARTIAL) {
                    found.push(ObjectInfo {
                        name,
                        size: metadata.len(),
                    });
                }
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        fs::remove_file(&path).map_err(|error| failed(Operation::Remove, &path, error))?;
        remove_empty_parents(&path, &self.root);
        Ok(())
    }
}

/// Removes the directories above a removed file, as far as they are empty; one
/// that is not, or cannot be removed, is left as it is.
fn remove_empty_parents(path: &Path, root: &Path) {
    let parents = path
        .ancestors()
        .skip(1)
        .take_while(|parent| *parent != root);
    for parent in parents {
        if fs::remove_dir(parent).is_err() {
            break;
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Makes an error of a failed call on a path; absence is a kind of its own.
fn failed(operation: Operation, path: &Path, error: io::Error) -> Error {
    let what = path.display().to_string();
    let is_lookup = matches!(operation, Operation::Open | Operation::Remove);
    if is_lookup && error.kind() == io::ErrorKind::NotFound {
        return Error::new(ErrorKind::NotFound { what }).caused_by(error);
    }
    Error::io(operation, what, error)
}

/// A file that has its name with `.partial` behind until it is finished.
#[derive(Debug)]
struct LocalWriter {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    is_published: bool,
}

impl LocalWriter {
    fn create(path: PathBuf) -> Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("."));
        create_directories(directory)?;
        if path.symlink_metadata().is_ok() {
            return Err(already_exists(&path));
        }
        // Random, so that two writers of one name never share a file.
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut partial = path.clone().into_os_string();
        partial.push(format!(".{}{PARTIAL}", token.get(..8).unwrap_or(&token)));
        let partial = PathBuf::from(partial);
        let file = File::create_new(&partial)
            .map_err(|error| failed(Operation::Create, &partial, error))?;
        Ok(Self {
            path,
            partial,
            file,
            is_published: false,
        })
    }
}

impl ObjectWriter for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| failed(Operation::Write, &self.partial, error))
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| failed(Operation::Sync, &self.partial, error))?;
        publish(&self.partial, &self.path)?;
        self.is_published = true;
        sync_directory(self.path.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if !self.is_published {
            // Nobody reads it under this name; a leftover does no harm.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// Gives a file its final name, unless something has that name.
fn publish(partial: &Path, path: &Path) -> Result<()> {
    let renamed = rustix::fs::renameat_with(CWD, partial, CWD, path, RenameFlags::NOREPLACE);
    let error = match renamed {
        Ok(()) => return Ok(()),
        // The file system does not know the flag: a hard link does the same.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            match fs::hard_link(partial, path) {
                Ok(()) => {
                    let _ = fs::remove_file(partial);
                    return Ok(());
                }
                Err(error) => error,
            }
        }
        Err(error) => error.into(),
    };
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Err(already_exists(path));
    }
    Err(failed(Operation::Publish, path, error))
}

fn already_exists(path: &Path) -> Error {
    Error::new(ErrorKind::AlreadyExists {
        what: path.display().to_string(),
    })
}

/// Creates a directory and those above it, and makes each new entry durable.
fn create_directories(directory: &Path) -> Result<()> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    for path in missing.into_iter().rev() {
        match fs::create_dir(path) {
            Ok(()) => sync_directory(path.parent().unwrap_or(Path::new(".")))?,
            // Another writer was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(Operation::Create, path, error)),
        }
    }
    Ok(())
}

/// Makes the entries of a directory durable.
fn sync_directory(directory: &Path) -> Result<()> {
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let synced = File::open(directory).and_then(|file| file.sync_all());
    match synced {
        Ok(()) => Ok(()),
        // Some file systems cannot sync a directory, and then need not.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        Err(error) => Err(failed(Operation::Sync, directory, error)),
    }
}

#[derive(Debug)]
struct LocalReader {
    path: PathBuf,
    file: File,
    size: u64,
    map: Option<Mmap>,
}

impl LocalReader {
    fn open(path: &Path, mmap: MmapChoice) -> Result<Self> {
        let file = File::open(path).map_err(|error| failed(Operation::Open, path, error))?;
        let metadata = file
            .metadata()
            .map_err(|error| failed(Operation::Open, path, error))?;
        if !metadata.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(failed(Operation::Open, path, error));
        }
        let size = metadata.len();
        let map = match mmap {
            MmapChoice::Auto if is_local_file_system(&file) => {
                map_file(&file, size).map_err(|error| failed(Operation::Map, path, error))?
            }
            MmapChoice::Auto | MmapChoice::Never => None,
        };
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            map,
        })
    }
}

impl ObjectReader for LocalReader {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|error| failed(Operation::Read, &self.path, error))
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        self.map.as_deref()
    }
}

/// Says whether a map of this file is safe from other hosts.
fn is_local_file_system(file: &File) -> bool {
    // From linux/magic.h and the file systems' own sources: NFS, SMB, SMB2,
    // CIFS, FUSE, 9P, Ceph, Lustre, AFS, GPFS.
    const REMOTE: [u32; 10] = [
        0x6969,
        0x517b,
        0xfe53_4d42,
        0xff53_4d42,
        0x6573_5546,
        0x0102_1997,
        0x00c3_6400,
        0x0bd0_0bd0,
        0x5346_414f,
        0x4750_4653,
    ];
    let Ok(information) = rustix::fs::fstatfs(file) else {
        return false;
    };
    // The type's width and sign differ by platform; the numbers have 32 bits.
    let [a, b, c, d, ..] = information.f_type.to_le_bytes();
    !REMOTE.contains(&u32::from_le_bytes([a, b, c, d]))
}
