//! A nameless file for what does not fit in memory. It disappears with the process,
//! however that ends.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::words::error::{Error, Operation, Result};
use crate::words::units::to_u64;

/// The position and length of some bytes in a scratch file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    offset: u64,
    len: usize,
}

/// A nameless temporary file.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    place: String,
}

impl Extent {
    /// Returns the extent of `len` bytes right after this one.
    #[must_use]
    pub fn next(self, len: usize) -> Self {
        Self {
            offset: self.offset.saturating_add(to_u64(self.len)),
            len,
        }
    }

    /// Returns the extent of `len` bytes from `start` on within this one.
    #[must_use]
    pub fn part(self, start: usize, len: usize) -> Self {
        Self {
            offset: self.offset.saturating_add(to_u64(start)),
            len,
        }
    }
}

impl ScratchFile {
    /// Creates a file in a directory that must exist.
    ///
    /// # Errors
    ///
    /// - `Io`: the file cannot be created.
    pub fn create(directory: &Path) -> Result<Self> {
        let place = format!("temporary file in {}", directory.display());
        let file = tempfile::tempfile_in(directory)
            .map_err(|error| Error::io(Operation::Create, &place, error))?;
        Ok(Self { file, place })
    }

    /// Writes bytes to an extent of their length. Several threads may write and read at
    /// the same time.
    ///
    /// # Errors
    ///
    /// - `Io`: the file cannot be written.
    pub fn write(&self, extent: Extent, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, extent.offset)
            .map_err(|error| Error::io(Operation::Write, &self.place, error))
    }

    /// Reads bytes back.
    ///
    /// # Errors
    ///
    /// - `Io`: the file cannot be read.
    pub fn read(&self, extent: Extent) -> Result<Vec<u8>> {
        let mut bytes = vec![0; extent.len];
        self.file
            .read_exact_at(&mut bytes, extent.offset)
            .map_err(|error| Error::io(Operation::Read, &self.place, error))?;
        Ok(bytes)
    }

    /// Discards everything that was written, and frees its space.
    ///
    /// # Errors
    ///
    /// - `Io`: the file cannot be truncated.
    pub fn clear(&self) -> Result<()> {
        self.file
            .set_len(0)
            .map_err(|error| Error::io(Operation::Write, &self.place, error))
    }
}
