//! Which keys were listed before, by an earlier walk of the same dump or by one
//! that was killed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::store::KeyTable;

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

/// A set of keys, for many threads. Of each it knows the round in which it was
/// listed last, so that the keys that one round has shown can be counted though
/// earlier ones had shown them.
///
/// # Memory
///
/// As [`KeyTable`].
#[derive(Debug)]
pub struct SeenKeys(Mutex<State>);

#[derive(Debug)]
struct State {
    table: KeyTable,
    /// Keys listed since this set was made, whether a kept segment has them or not.
    listed: u64,
    /// Keys listed in this round.
    listed_in_round: u64,
    round: u16,
}

/// The lowest bit of a key's tag: a kept segment has it. Above is the round in which
/// it was listed last, 0 if it never was.
const KEPT: u16 = 1;

/// Rounds that a tag can tell apart.
const ROUND_MAX: u16 = u16::MAX >> 1;

impl SeenKeys {
    /// Makes an empty set; see [`KeyTable::create`].
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room for it.
    pub fn create(directory: &Path, expected_count: u64) -> Result<Self> {
        Ok(Self(Mutex::new(State {
            table: KeyTable::create(directory, expected_count)?,
            listed: 0,
            listed_in_round: 0,
            round: 1,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key of a kept segment.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn insert_kept(&self, key: &[u8]) -> Result<Seen> {
        let mut state = self.lock();
        let before = state
            .table
            .put(key, |before| before.unwrap_or_default() | KEPT)?;
        Ok(seen(before))
    }

    /// Adds a listed key, and says what was known of it.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn insert(&self, key: &[u8]) -> Result<Seen> {
        let mut state = self.lock();
        let round = state.round << 1;
        let before = state.table.put(key, |before| {
            let kept = before.unwrap_or_default() & KEPT;
            round | kept
        })?;
        let round_before = before.unwrap_or_default() & !KEPT;
        state.listed += u64::from(round_before == 0);
        state.listed_in_round += u64::from(round_before != round);
        Ok(seen(before))
    }

    /// Begins a round: keys that are listed from now on count anew.
    pub fn begin_round(&self) {
        let mut state = self.lock();
        // More rounds than a tag can tell would count keys of an old one.
        state.round = state.round.saturating_add(1).min(ROUND_MAX);
        state.listed_in_round = 0;
    }

    /// Returns how many keys there are, those of kept segments included.
    pub fn count(&self) -> u64 {
        self.lock().table.count()
    }

    /// Returns how many keys were listed.
    pub fn listed(&self) -> u64 {
        self.lock().listed
    }

    /// Returns how many keys were listed since the last [`SeenKeys::begin_round`].
    pub fn listed_in_round(&self) -> u64 {
        self.lock().listed_in_round
    }
}

fn seen(tag: Option<u16>) -> Seen {
    match tag {
        None => Seen::Never,
        Some(tag) if tag & KEPT == 0 => Seen::Listed,
        Some(_) => Seen::Kept,
    }
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
