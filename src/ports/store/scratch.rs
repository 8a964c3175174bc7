//! A file for what does not fit in memory, without a name: it goes with the
//! process, however that ends.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::words::error::{Error, Operation, Result};
use crate::words::units::to_u64;

/// Where some bytes are in a scratch file.
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
    /// Returns the place of so many bytes behind this one.
    #[must_use]
    pub fn next(self, len: usize) -> Self {
        Self {
            offset: self.offset.saturating_add(to_u64(self.len)),
            len,
        }
    }
}

impl ScratchFile {
    /// Makes a file in a directory that exists.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn create(directory: &Path) -> Result<Self> {
        let place = format!("temporary file in {}", directory.display());
        let file = tempfile::tempfile_in(directory)
            .map_err(|error| Error::io(Operation::Create, &place, error))?;
        Ok(Self { file, place })
    }

    /// Writes bytes to a place of their length; several threads may write and read
    /// at a time.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn write(&self, extent: Extent, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all_at(bytes, extent.offset)
            .map_err(|error| Error::io(Operation::Write, &self.place, error))
    }

    /// Reads bytes back.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn read(&self, extent: Extent) -> Result<Vec<u8>> {
        let mut bytes = vec![0; extent.len];
        self.file
            .read_exact_at(&mut bytes, extent.offset)
            .map_err(|error| Error::io(Operation::Read, &self.place, error))?;
        Ok(bytes)
    }

    /// Forgets all that was written, and gives its space back.
    ///
    /// # Errors
    ///
    /// - `Io`.
    pub fn clear(&self) -> Result<()> {
        self.file
            .set_len(0)
            .map_err(|error| Error::io(Operation::Write, &self.place, error))
    }
}
