//! Which keys were listed before, by an earlier walk of the same dump or by one
//! that was killed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::error::Result;
use crate::store::ScratchTable;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not seen before; it is now.
    Never,
    /// It was listed.
    Listed,
    /// A segment that is kept from a killed dump has it.
    Kept,
}

/// A set of keys, by 127 bits of a hash with a random seed: among 10^10 keys
/// two have the same with a chance below 10^-18, and nobody can prepare them.
///
/// # Memory
///
/// 16 bytes a key and as much again free, in a nameless file that the system
/// keeps in memory as far as there is room.
#[derive(Debug)]
pub struct SeenKeys {
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: ScratchTable,
    count: u64,
}

/// Marks a key that a kept segment has, in the lowest bit of its cell.
const KEPT: u128 = 1;

impl SeenKeys {
    /// Makes an empty set with room for so many keys before it must grow.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room for it.
    pub fn create(directory: &Path, expected_count: u64) -> Result<Self> {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        let cell_count = expected_count.max(1024).saturating_mul(2);
        let table = ScratchTable::create(directory, cell_count)?;
        Ok(Self {
            seed,
            state: Mutex::new(State { table, count: 0 }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key of a kept segment.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn insert_kept(&self, key: &[u8]) -> Result<Seen> {
        self.lock().insert(self.hash(key) | KEPT)
    }

    /// Adds a listed key, and says what was known of it.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn insert(&self, key: &[u8]) -> Result<Seen> {
        self.lock().insert(self.hash(key))
    }

    /// Returns how many keys there are.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// Hashes to anything but 0 and 1 in the upper bits, which mean a free cell.
    fn hash(&self, key: &[u8]) -> u128 {
        (xxh3_128_with_seed(key, self.seed) & !KEPT).max(2)
    }
}

impl State {
    fn insert(&mut self, entry: u128) -> Result<Seen> {
        let cell_count = self.table.cell_count();
        // At most three quarters full, so that a free cell is always near.
        if self.count.saturating_mul(4) >= crate::units::to_u64(cell_count).saturating_mul(3) {
            self.grow()?;
        }
        let seen = put(&mut self.table, entry);
        if seen == Seen::Never {
            self.count = self.count.saturating_add(1);
        }
        Ok(seen)
    }

    fn grow(&mut self) -> Result<()> {
        let cell_count = self.table.cell_count();
        let doubled = crate::units::to_u64(cell_count).saturating_mul(2);
        let mut table = self.table.create_beside(doubled)?;
        for cell in 0..cell_count {
            let entry = self.table.get(cell);
            if entry != 0 {
                put(&mut table, entry);
            }
        }
        self.table = table;
        Ok(())
    }
}

/// Looks from the cell that the hash names to the first free one.
fn put(table: &mut ScratchTable, entry: u128) -> Seen {
    let cell_count = table.cell_count().max(1);
    let mut cell = start_cell(entry, cell_count);
    loop {
        let found = table.get(cell);
        if found == 0 {
            table.set(cell, entry);
            return Seen::Never;
        }
        if found & !KEPT == entry & !KEPT {
            return if found & KEPT == 0 {
                Seen::Listed
            } else {
                Seen::Kept
            };
        }
        cell = (cell + 1) % cell_count;
    }
}

/// Spreads the upper half of a hash evenly over the cells.
fn start_cell(entry: u128, cell_count: usize) -> usize {
    let upper = entry >> 64;
    let count = u128::try_from(cell_count).unwrap_or(u128::MAX);
    usize::try_from(upper.saturating_mul(count) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_new_once_however_often_the_table_grows() {
        let directory = tempfile::tempdir().unwrap();
        let seen = SeenKeys::create(directory.path(), 0).unwrap();
        let key = |number: u32| format!("key:{number}");
        for number in 0..20_000 {
            let insert = if number % 3 == 0 {
                SeenKeys::insert_kept
            } else {
                SeenKeys::insert
            };
            assert_eq!(insert(&seen, key(number).as_bytes()).unwrap(), Seen::Never);
        }
        assert_eq!(seen.count(), 20_000);
        for number in 0..20_000 {
            let wanted = if number % 3 == 0 {
                Seen::Kept
            } else {
                Seen::Listed
            };
            assert_eq!(seen.insert(key(number).as_bytes()).unwrap(), wanted);
        }
        assert_eq!(seen.count(), 20_000);
    }
}
