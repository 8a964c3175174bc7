//! A table that maps each of many keys to a small number, and may be larger than memory.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::ports::store::ScratchTable;
use crate::words::error::Result;
use crate::words::units::to_u64;

/// A table of keys. A key is represented by 112 bits of a hash with a random seed, and
/// has a tag of 16 bits. Among 10^10 keys, two have the same hash with a probability
/// below 10^-13, and nobody can prepare such keys.
///
/// # Memory
///
/// 16 bytes a key, and as much again in free cells, in a nameless file that the system
/// keeps in memory as far as there is room.
#[derive(Debug)]
pub struct KeyTable {
    seed: KeySeed,
    table: ScratchTable,
    count: u64,
}

/// The random seed of key hashes, so that nobody can prepare two keys with the same hash.
#[derive(Clone, Copy, Debug)]
pub struct KeySeed(u64);

impl KeySeed {
    /// Makes a random seed.
    pub fn random() -> Self {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self(seed)
    }

    /// Returns the hash of a key for tables with this seed.
    pub fn hash(self, key: &[u8]) -> KeyHash {
        // The bits above the tag must not all be 0, since that marks a free cell.
        KeyHash((xxh3_128_with_seed(key, self.0) & !TAG).max(TAG + 1))
    }
}

/// The hash by which a table knows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u128);

impl KeyHash {
    /// Length of the stored form in bytes.
    pub const LEN: usize = 16;

    /// Returns the stored form, for a table with the same seed.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        self.0.to_le_bytes()
    }

    /// Reads the stored form.
    pub fn of_bytes(bytes: [u8; Self::LEN]) -> Self {
        // Whatever the bytes are, the hash must not look like a free cell or have a tag.
        Self((u128::from_le_bytes(bytes) & !TAG).max(TAG + 1))
    }
}

/// The bits of a cell that hold the tag.
const TAG: u128 = 0xffff;

/// Most keys that room is made for at once; a table with more keys grows. A key count
/// from an untrusted source must not fill the disk.
const ROOM_AT_FIRST_MAX: u64 = 1 << 20;

impl KeyTable {
    /// Creates an empty table with room for `expected_count` keys, up to a bound, before
    /// it must grow.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room for it.
    pub fn create(directory: &Path, expected_count: u64) -> Result<Self> {
        Self::create_with(KeySeed::random(), directory, expected_count)
    }

    /// Like [`KeyTable::create`], with the seed of keys that were hashed before.
    ///
    /// # Errors
    ///
    /// - As for [`KeyTable::create`].
    pub fn create_with(seed: KeySeed, directory: &Path, expected_count: u64) -> Result<Self> {
        let room = expected_count.clamp(1024, ROOM_AT_FIRST_MAX);
        let table = ScratchTable::create(directory, room.saturating_mul(2))?;
        Ok(Self {
            seed,
            table,
            count: 0,
        })
    }

    /// Returns the number of keys.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the tag of a key, or `None` if the table does not have the key.
    pub fn get(&self, key: &[u8]) -> Option<u16> {
        let (_, found) = self.find(self.seed.hash(key).0);
        (found != 0).then(|| tag_of(found))
    }

    /// Sets the tag of a key to what `choose` returns for its current tag, and returns
    /// the current tag; `None` stands for a missing key.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn put(
        &mut self,
        key: &[u8],
        choose: impl FnOnce(Option<u16>) -> u16,
    ) -> Result<Option<u16>> {
        self.put_hash(self.seed.hash(key), choose)
    }

    /// Like [`KeyTable::put`], for a key of which only the hash is known.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn put_hash(
        &mut self,
        hash: KeyHash,
        choose: impl FnOnce(Option<u16>) -> u16,
    ) -> Result<Option<u16>> {
        // Fill at most three quarters, so that a free cell is always near.
        if self.count.saturating_mul(4) >= to_u64(self.table.cell_count()).saturating_mul(3) {
            self.grow()?;
        }
        let KeyHash(hash) = hash;
        let (cell, found) = self.find(hash);
        let before = (found != 0).then(|| tag_of(found));
        self.table.set(cell, hash | u128::from(choose(before)));
        self.count = self.count.saturating_add(u64::from(before.is_none()));
        Ok(before)
    }

    /// Returns the cell of a hash and its content. If the table does not have the hash,
    /// returns the first free cell at or after the hash's start cell, and 0.
    fn find(&self, hash: u128) -> (usize, u128) {
        let cell_count = self.table.cell_count().max(1);
        let mut cell = start_cell(hash, cell_count);
        loop {
            let found = self.table.get(cell);
            if found == 0 || found & !TAG == hash {
                return (cell, found);
            }
            cell = (cell + 1) % cell_count;
        }
    }

    fn grow(&mut self) -> Result<()> {
        let cell_count = self.table.cell_count();
        let table = self
            .table
            .create_beside(to_u64(cell_count).saturating_mul(2))?;
        let small = std::mem::replace(&mut self.table, table);
        for cell in 0..cell_count {
            let entry = small.get(cell);
            if entry != 0 {
                let (free, _) = self.find(entry & !TAG);
                self.table.set(free, entry);
            }
        }
        Ok(())
    }
}

fn tag_of(cell: u128) -> u16 {
    // The mask leaves 16 bits.
    u16::try_from(cell & TAG).unwrap_or(u16::MAX)
}

/// Spreads the upper half of a hash evenly over the cells.
fn start_cell(hash: u128, cell_count: usize) -> usize {
    let upper = hash >> 64;
    let count = u128::try_from(cell_count).unwrap_or(u128::MAX);
    usize::try_from(upper.saturating_mul(count) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_keeps_its_tag_however_often_the_table_grows() {
        const KEY_COUNT: u32 = 2_000_000;
        let directory = tempfile::tempdir().unwrap();
        let mut table = KeyTable::create(directory.path(), u64::MAX).unwrap();
        let key = |number: u32| format!("key:{number}");
        let tag = |number: u32| u16::try_from(number % 65_536).unwrap();
        for number in 0..KEY_COUNT {
            let put = table.put(key(number).as_bytes(), |before| {
                assert_eq!(before, None);
                tag(number)
            });
            assert_eq!(put.unwrap(), None);
        }
        assert_eq!(table.count(), u64::from(KEY_COUNT));
        for number in (0..KEY_COUNT).step_by(97) {
            assert_eq!(table.get(key(number).as_bytes()), Some(tag(number)));
        }
        assert_eq!(table.get(b"another"), None);
        let put = table.put(b"key:7", |before| before.map_or(0, |tag| tag + 1));
        assert_eq!(put.unwrap(), Some(7));
        assert_eq!(table.get(b"key:7"), Some(8));
        assert_eq!(table.count(), u64::from(KEY_COUNT));
    }
}
