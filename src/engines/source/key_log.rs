//! A log of the keys listed so far, from which a table is built only if one is needed.

use std::path::{Path, PathBuf};

use crate::ports::store::{Extent, KeyHash, KeySeed, KeyTable, ScratchFile};
use crate::words::error::Result;
use crate::words::units::to_u64;

/// Hashes of keys in the order in which they came. The last ones are in memory, the
/// others in an unnamed file. The file is written by system calls, not mapped: a mapped
/// file on a disk that accepts no writes can hold up other threads that need memory.
///
/// # Memory
///
/// 1 MiB, and 16 bytes a key on disk.
#[derive(Debug)]
pub(super) struct KeyLog {
    directory: PathBuf,
    seed: KeySeed,
    last: Vec<u8>,
    file: Option<ScratchFile>,
    written: Vec<Extent>,
}

impl KeyLog {
    /// Bytes written at once, a whole number of hashes.
    const PIECE_LEN: usize = 65_536 * KeyHash::LEN;
    const PIECE_COUNT: u64 = 65_536;

    /// Creates an empty log. The file is created when it is needed.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            seed: KeySeed::random(),
            last: Vec::new(),
            file: None,
            written: Vec::new(),
        }
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room.
    pub(super) fn push(&mut self, key: &[u8]) -> Result<()> {
        self.last.extend_from_slice(&self.seed.hash(key).to_bytes());
        if self.last.len() >= Self::PIECE_LEN {
            let file = match &self.file {
                Some(file) => file,
                None => self.file.insert(ScratchFile::create(&self.directory)?),
            };
            let before = self.written.last().copied().unwrap_or_default();
            let extent = before.next(self.last.len());
            file.write(extent, &self.last)?;
            self.written.push(extent);
            self.last.clear();
        }
        Ok(())
    }

    /// Builds a table of the keys, each with this tag.
    ///
    /// # Errors
    ///
    /// - `Io`: what was written cannot be read, or the directory has no room.
    pub(super) fn to_table(&self, tag: u16) -> Result<KeyTable> {
        let count = to_u64(self.written.len()).saturating_mul(Self::PIECE_COUNT);
        let mut table = KeyTable::create_with(self.seed, &self.directory, count)?;
        let mut put_piece = |piece: &[u8]| {
            let (hashes, _) = piece.as_chunks::<{ KeyHash::LEN }>();
            hashes.iter().try_for_each(|bytes| {
                let hash = KeyHash::of_bytes(*bytes);
                table.put_hash(hash, |_| tag).map(drop)
            })
        };
        for &extent in &self.written {
            let file = self.file.as_ref();
            let piece = file.map(|file| file.read(extent)).transpose()?;
            put_piece(&piece.unwrap_or_default())?;
        }
        put_piece(&self.last)?;
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_are_in_the_table() {
        const KEY_COUNT: u32 = 150_000;
        let directory = tempfile::tempdir().unwrap();
        let mut log = KeyLog::new(directory.path());
        for number in 0..KEY_COUNT {
            log.push(&number.to_le_bytes()).unwrap();
        }
        assert_eq!(log.written.len(), 2);
        let table = log.to_table(7).unwrap();
        assert_eq!(table.count(), u64::from(KEY_COUNT));
        for number in 0..KEY_COUNT {
            assert_eq!(table.get(&number.to_le_bytes()), Some(7));
        }
        assert_eq!(table.get(b"another"), None);
        // The file never has a name in the directory.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
