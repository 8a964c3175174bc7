//! A table that may be larger than memory: it lives in a mapped file without a name,
//! whose pages the system writes out when it needs the memory.

use std::path::{Path, PathBuf};

use byteorder::{ByteOrder as _, NativeEndian};
use memmap2::MmapMut;

use crate::ports::store::map::map_scratch;
use crate::words::error::{Error, Operation, Result};

/// A fixed number of 128-bit cells, all 0 at first.
#[derive(Debug)]
pub struct ScratchTable {
    map: MmapMut,
    directory: PathBuf,
}

impl ScratchTable {
    const CELL_LEN: usize = 16;

    /// Creates a table in a nameless file in `directory`, which must exist.
    ///
    /// # Errors
    ///
    /// - `Io`: the disk has no room for the file, or the file cannot be mapped.
    pub fn create(directory: &Path, cell_count: u64) -> Result<Self> {
        let place = format!("temporary file in {}", directory.display());
        let file = tempfile::tempfile_in(directory)
            .map_err(|error| Error::io(Operation::Create, &place, error))?;
        let len = cell_count.saturating_mul(16);
        let map =
            map_scratch(&file, len).map_err(|error| Error::io(Operation::Map, &place, error))?;
        Ok(Self {
            map,
            directory: directory.to_owned(),
        })
    }

    /// Creates another table in the same directory.
    ///
    /// # Errors
    ///
    /// - `Io`, as for [`ScratchTable::create`].
    pub fn create_beside(&self, cell_count: u64) -> Result<Self> {
        Self::create(&self.directory, cell_count)
    }

    /// Returns the number of cells.
    pub fn cell_count(&self) -> usize {
        self.map.len() / Self::CELL_LEN
    }

    /// Returns a cell, or 0 beyond the end.
    pub fn get(&self, cell: usize) -> u128 {
        let start = cell.saturating_mul(Self::CELL_LEN);
        let bytes = self.map.get(start..start.saturating_add(Self::CELL_LEN));
        bytes.map_or(0, NativeEndian::read_u128)
    }

    /// Sets a cell; does nothing beyond the end.
    pub fn set(&mut self, cell: usize, value: u128) {
        let start = cell.saturating_mul(Self::CELL_LEN);
        let bytes = self
            .map
            .get_mut(start..start.saturating_add(Self::CELL_LEN));
        if let Some(bytes) = bytes {
            NativeEndian::write_u128(bytes, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_hold_what_they_are_given_and_the_file_has_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let mut table = ScratchTable::create(directory.path(), 1000).unwrap();
        assert_eq!(table.cell_count(), 1000);
        assert_eq!(table.get(999), 0);
        table.set(999, u128::MAX - 5);
        table.set(0, 7);
        table.set(1000, 1);
        assert_eq!((table.get(0), table.get(999)), (7, u128::MAX - 5));
        assert_eq!(table.get(1000), 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_table_that_no_disk_holds_is_an_error_and_no_signal() {
        let directory = tempfile::tempdir().unwrap();
        assert!(ScratchTable::create(directory.path(), 1 << 58).is_err());
    }
}
