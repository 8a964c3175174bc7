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

/// A set of keys, by 120 bits of a hash with a random seed: among 10^10 keys
/// two have the same with a chance below 10^-16, and nobody can prepare them.
///
/// Of each key it knows the round in which it was listed last, so that the keys
/// that one round has shown can be counted though earlier ones had shown them.
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
    /// Keys listed since this set was made, whether a kept segment has them or not.
    listed: u64,
    /// Keys listed in this round.
    listed_in_round: u64,
    round: u8,
}

/// The lowest byte of a cell: whether a kept segment has the key, and above that
/// bit the round in which it was listed last, 0 if it never was.
const TAG: u128 = 0xff;
const KEPT: u128 = 1;

/// Rounds that a cell can tell apart.
const ROUND_MAX: u8 = 127;

/// Room for so many keys is made at once; a set that needs more grows. What a
/// server says of itself is not to fill a disk.
const ROOM_AT_FIRST_MAX: u64 = 1 << 20;

impl SeenKeys {
    /// Makes an empty set with room for so many keys, up to some bound, before it
    /// must grow.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room for it.
    pub fn create(directory: &Path, expected_count: u64) -> Result<Self> {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        let room = expected_count.clamp(1024, ROOM_AT_FIRST_MAX);
        let table = ScratchTable::create(directory, room.saturating_mul(2))?;
        Ok(Self {
            seed,
            state: Mutex::new(State {
                table,
                count: 0,
                listed: 0,
                listed_in_round: 0,
                round: 1,
            }),
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
        self.lock().insert(self.hash(key), KEPT)
    }

    /// Adds a listed key, and says what was known of it.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn insert(&self, key: &[u8]) -> Result<Seen> {
        let mut state = self.lock();
        let tag = u128::from(state.round) << 1;
        state.insert(self.hash(key), tag)
    }

    /// Begins a round: keys that are listed from now on count anew.
    pub fn begin_round(&self) {
        let mut state = self.lock();
        // More rounds than a cell can tell would count keys of an old one.
        state.round = state.round.saturating_add(1).min(ROUND_MAX);
        state.listed_in_round = 0;
    }

    /// Returns how many keys there are, those of kept segments included.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// Returns how many keys were listed.
    pub fn listed(&self) -> u64 {
        self.lock().listed
    }

    /// Returns how many keys were listed since the last [`SeenKeys::begin_round`].
    pub fn listed_in_round(&self) -> u64 {
        self.lock().listed_in_round
    }

    /// Hashes to anything but 0 in the upper bits, which means a free cell.
    fn hash(&self, key: &[u8]) -> u128 {
        (xxh3_128_with_seed(key, self.seed) & !TAG).max(TAG + 1)
    }
}

impl State {
    /// Adds a key by its hash, of a kept segment or as listed in a round.
    fn insert(&mut self, hash: u128, tag: u128) -> Result<Seen> {
        let cell_count = self.table.cell_count();
        // At most three quarters full, so that a free cell is always near.
        if self.count.saturating_mul(4) >= crate::units::to_u64(cell_count).saturating_mul(3) {
            self.grow()?;
        }
        let (cell, found) = find(&self.table, hash);
        // Where it was kept and where it was listed last.
        let is_kept = found & KEPT;
        let (listed_before, listed_now) = (found & TAG & !KEPT, tag & !KEPT);
        if listed_now != 0 {
            self.listed += u64::from(listed_before == 0);
            self.listed_in_round += u64::from(listed_before != listed_now);
        }
        let listed = listed_before.max(listed_now);
        self.table.set(cell, hash | is_kept | (tag & KEPT) | listed);
        if found == 0 {
            self.count = self.count.saturating_add(1);
            return Ok(Seen::Never);
        }
        Ok(if is_kept == 0 {
            Seen::Listed
        } else {
            Seen::Kept
        })
    }

    fn grow(&mut self) -> Result<()> {
        let cell_count = self.table.cell_count();
        let doubled = crate::units::to_u64(cell_count).saturating_mul(2);
        let mut table = self.table.create_beside(doubled)?;
        for cell in 0..cell_count {
            let entry = self.table.get(cell);
            if entry != 0 {
                let (free, _) = find(&table, entry & !TAG);
                table.set(free, entry);
            }
        }
        self.table = table;
        Ok(())
    }
}

/// Returns the cell of a hash and what is in it: 0 where the hash is not there, of
/// the first free cell from the one that the hash names.
fn find(table: &ScratchTable, hash: u128) -> (usize, u128) {
    let cell_count = table.cell_count().max(1);
    let mut cell = start_cell(hash, cell_count);
    loop {
        let found = table.get(cell);
        if found == 0 || found & !TAG == hash {
            return (cell, found);
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

    #[test]
    fn each_round_counts_the_keys_it_lists_and_all_rounds_count_them_once() {
        let directory = tempfile::tempdir().unwrap();
        let seen = SeenKeys::create(directory.path(), u64::MAX).unwrap();
        for key in ["kept", "kept and listed"] {
            seen.insert_kept(key.as_bytes()).unwrap();
        }
        let list = |keys: &[&str]| {
            for key in keys {
                seen.insert(key.as_bytes()).unwrap();
            }
            (seen.count(), seen.listed(), seen.listed_in_round())
        };
        assert_eq!(list(&["kept and listed", "a", "b", "a"]), (4, 3, 3));
        seen.begin_round();
        assert_eq!(list(&["a", "a", "c"]), (5, 4, 2));
        assert_eq!(list(&["kept"]), (5, 5, 3));
        assert_eq!(seen.insert(b"kept and listed").unwrap(), Seen::Kept);
        seen.begin_round();
        assert_eq!(list(&[]), (5, 5, 0));
    }
}
