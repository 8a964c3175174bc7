//! The keys that were listed so far, one after the other, for a table that is made of
//! them only if there is a need for it.

use std::path::{Path, PathBuf};

use crate::ports::store::{Extent, KeyHash, KeySeed, KeyTable, ScratchFile};
use crate::words::error::Result;
use crate::words::units::to_u64;

/// Hashes of keys in the order they came: the last ones in memory, the others in a
/// nameless file, which is written by calls and not mapped. A mapped file on a disk
/// that does not take anything can hold up other threads that need memory.
///
/// # Memory
///
/// 1 MiB; 16 bytes a key on disk.
#[derive(Debug)]
pub(super) struct KeyLog {
    directory: PathBuf,
    seed: KeySeed,
    last: Vec<u8>,
    file: Option<ScratchFile>,
    written: Vec<Extent>,
}

impl KeyLog {
    /// Whole hashes of what is written at once.
    const PIECE_LEN: usize = 65_536 * KeyHash::LEN;
    const PIECE_COUNT: u64 = 65_536;

    /// Makes an empty one; the file is made when there is a need for it.
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
    /// - `Io`: the directory takes no more.
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

    /// Makes a table of the keys, each with this tag.
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
        // No name in the directory at any time.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
