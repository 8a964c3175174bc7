//! The keys listed so far by earlier walks of the same dump, and the keys of segments
//! that are kept from an interrupted one.

use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engines::source::key_log::KeyLog;
use crate::ports::store::KeyTable;
use crate::words::error::{Error, Result};

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The key is new; it is recorded now.
    Never,
    /// The key was listed before.
    Listed,
    /// A segment kept from an interrupted dump has the key.
    Kept,
}

/// A set of keys, shared by many threads. It knows for each key the last round that
/// listed it, so that the keys of one round can be counted even if earlier rounds listed
/// them too.
///
/// Threads that add keys wait for each other, and perhaps for a disk. Threads that only
/// count, or announce what follows, never wait: the walker is one of them, and it must
/// not wait for a disk.
///
/// # Memory
///
/// That of a [`KeyTable`]. Before a table is needed, 1 MiB, and 16 bytes a key in an
/// unnamed file.
#[derive(Debug)]
pub struct SeenKeys {
    keys: Mutex<Keys>,
    /// What is done with listed keys, as a [`Stage`].
    stage: AtomicU8,
    /// Keys of kept segments that have not been listed yet.
    only_kept: AtomicU64,
    /// Keys listed since this set was made, including those of kept segments.
    listed: AtomicU64,
    /// Keys listed in this round.
    listed_in_round: AtomicU64,
    round: AtomicU16,
}

#[derive(Debug)]
enum Keys {
    /// Logged in order. Every key comes once, unless another walk has to follow.
    Noted(KeyLog),
    /// In a table, for look-ups.
    Known(KeyTable),
    /// Lost, because the disk took no more. Holds the error until it has been returned.
    Lost(Option<Error>),
}

/// What is done with keys that are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// They are appended to the log.
    Noted,
    /// They are looked up in the table.
    LookedUp,
    /// They are ignored, because no other walk follows.
    Ignored,
}

/// The lowest bit of a key's tag, set if a kept segment has the key. The bits above are
/// the round that listed it last, 0 if none did.
const KEPT: u16 = 1;

/// The number of rounds that a tag can hold.
const ROUND_MAX: u16 = u16::MAX >> 1;

const FIRST_ROUND: u16 = 1;

impl SeenKeys {
    /// Creates an empty set; see [`KeyTable::create`].
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room for it.
    pub fn create(directory: &Path, expected_count: u64) -> Result<Self> {
        let table = KeyTable::create(directory, expected_count)?;
        Ok(Self::with(Keys::Known(table), Stage::LookedUp))
    }

    /// Creates an empty set for a walk that lists every key once. If that walk has to be
    /// given up, another one follows: see [`SeenKeys::expect_again`] and
    /// [`SeenKeys::expect_no_more`].
    pub fn for_later(directory: &Path) -> Self {
        Self::with(Keys::Noted(KeyLog::new(directory)), Stage::Noted)
    }

    fn with(keys: Keys, stage: Stage) -> Self {
        Self {
            keys: Mutex::new(keys),
            stage: AtomicU8::new(stage.to_u8()),
            only_kept: AtomicU64::new(0),
            listed: AtomicU64::new(0),
            listed_in_round: AtomicU64::new(0),
            round: AtomicU16::new(FIRST_ROUND),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        // Every statement that can panic leaves the keys consistent.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key of a kept segment.
    ///
    /// # Errors
    ///
    /// - `Io`: the table must grow and cannot.
    pub fn insert_kept(&self, key: &[u8]) -> Result<Seen> {
        let mut keys = self.lock();
        let before = keys.put(key, |before| before.unwrap_or_default() | KEPT)?;
        self.only_kept
            .fetch_add(u64::from(before.is_none()), Ordering::Relaxed);
        Ok(seen(before))
    }

    /// Adds a listed key and returns what was known about it.
    ///
    /// # Errors
    ///
    /// - `Io`: the directory has no room for the keys, and they must be looked up. The
    ///   first call that fails returns the cause, later ones only that the keys are lost.
    pub fn insert(&self, key: &[u8]) -> Result<Seen> {
        if self.stage() == Stage::Ignored {
            return Ok(Seen::Never);
        }
        let mut keys = self.lock();
        // Checked again under the lock: the walker may have changed the stage meanwhile.
        if self.stage() == Stage::Noted && keys.note(key) {
            self.count_listed(None, FIRST_ROUND << 1);
            return Ok(Seen::Never);
        }
        let round = self.round.load(Ordering::Relaxed) << 1;
        let before = keys.put(key, |before| {
            let kept = before.unwrap_or_default() & KEPT;
            round | kept
        })?;
        self.count_listed(before, round);
        Ok(seen(before))
    }

    /// Counts a listed key whose tag was `before`.
    fn count_listed(&self, before: Option<u16>, round: u16) {
        let round_before = before.unwrap_or_default() & !KEPT;
        let is_first = u64::from(round_before == 0);
        let is_first_in_round = u64::from(round_before != round);
        self.listed.fetch_add(is_first, Ordering::Relaxed);
        self.listed_in_round
            .fetch_add(is_first_in_round, Ordering::Relaxed);
        if before == Some(KEPT) {
            self.only_kept.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Announces that another walk follows, which may list every key again.
    pub fn expect_again(&self) {
        self.leave_noting(Stage::LookedUp);
    }

    /// Announces that no walk follows the one that listed every key once.
    pub fn expect_no_more(&self) {
        self.leave_noting(Stage::Ignored);
    }

    fn leave_noting(&self, stage: Stage) {
        // Keys that are looked up from the start are still looked up. The previous stage
        // does not matter.
        let _before = self.stage.compare_exchange(
            Stage::Noted.to_u8(),
            stage.to_u8(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            0 => Stage::Noted,
            1 => Stage::LookedUp,
            _ => Stage::Ignored,
        }
    }

    /// Begins a round: keys listed from now on are counted anew. All keys of the round
    /// before must have been added.
    pub fn begin_round(&self) {
        // Beyond the last round that a tag can hold, keys of an old round would be
        // counted.
        let round = self.round.load(Ordering::Relaxed);
        let next = round.saturating_add(1).min(ROUND_MAX);
        self.round.store(next, Ordering::Relaxed);
        self.listed_in_round.store(0, Ordering::Relaxed);
    }

    /// Returns the number of keys, including those of kept segments.
    pub fn count(&self) -> u64 {
        let only_kept = self.only_kept.load(Ordering::Relaxed);
        self.listed().saturating_add(only_kept)
    }

    /// Returns how many keys were listed.
    pub fn listed(&self) -> u64 {
        self.listed.load(Ordering::Relaxed)
    }

    /// Returns how many keys were listed since the last [`SeenKeys::begin_round`].
    pub fn listed_in_round(&self) -> u64 {
        self.listed_in_round.load(Ordering::Relaxed)
    }
}

impl Keys {
    /// Logs a key for later. Returns false if keys are already looked up. A failure is
    /// reported when a key is looked up, which most dumps never need.
    fn note(&mut self, key: &[u8]) -> bool {
        match self {
            Self::Noted(log) => {
                if let Err(error) = log.push(key) {
                    *self = Self::Lost(Some(error));
                }
                true
            }
            Self::Known(_) => false,
            Self::Lost(_) => true,
        }
    }

    /// Gives a key the tag that `choose` makes of the one it has; see [`KeyTable::put`].
    /// After a failure nothing is tried again, since the next key would need just as much
    /// room.
    fn put(&mut self, key: &[u8], choose: impl FnOnce(Option<u16>) -> u16) -> Result<Option<u16>> {
        let put = self.table().and_then(|table| table.put(key, choose));
        if put.is_err() {
            *self = Self::Lost(None);
        }
        put
    }

    /// Returns the table, and builds it first if there is none.
    fn table(&mut self) -> Result<&mut KeyTable> {
        if let Self::Noted(log) = self {
            *self = Self::Known(log.to_table(FIRST_ROUND << 1)?);
        }
        match self {
            Self::Known(table) => Ok(table),
            Self::Lost(error) => Err(error.take().unwrap_or_else(keys_lost)),
            Self::Noted(_) => Err(Error::internal("a table of keys was not made")),
        }
    }
}

impl Stage {
    fn to_u8(self) -> u8 {
        match self {
            Self::Noted => 0,
            Self::LookedUp => 1,
            Self::Ignored => 2,
        }
    }
}

/// The error after the first one, which has already given the cause.
fn keys_lost() -> Error {
    Error::partner_ended("the set of keys")
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
    use crate::words::error::ErrorKind;

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

    #[test]
    fn keys_that_were_noted_are_known_when_another_walk_follows() {
        let directory = tempfile::tempdir().unwrap();
        let key = |number: u32| number.to_le_bytes();
        let seen = SeenKeys::for_later(directory.path());
        for number in 0..70_000 {
            assert_eq!(seen.insert(&key(number)).unwrap(), Seen::Never);
        }
        assert_eq!((seen.count(), seen.listed()), (70_000, 70_000));
        seen.expect_again();
        // The counts are right before any key is looked up.
        assert_eq!((seen.count(), seen.listed_in_round()), (70_000, 70_000));
        seen.begin_round();
        for number in 0..70_001 {
            let wanted = if number < 70_000 {
                Seen::Listed
            } else {
                Seen::Never
            };
            assert_eq!(seen.insert(&key(number)).unwrap(), wanted);
        }
        assert_eq!((seen.listed(), seen.listed_in_round()), (70_001, 70_001));
        // Too late to have an effect.
        seen.expect_no_more();
        assert_eq!(seen.insert(&key(1)).unwrap(), Seen::Listed);
    }

    #[test]
    fn keys_are_forgotten_when_no_walk_follows() {
        let directory = tempfile::tempdir().unwrap();
        let seen = SeenKeys::for_later(directory.path());
        assert_eq!(seen.insert(b"a").unwrap(), Seen::Never);
        seen.expect_no_more();
        assert_eq!(seen.insert(b"a").unwrap(), Seen::Never);
        assert_eq!(seen.count(), 1);
    }

    #[test]
    fn a_full_disk_matters_only_where_noted_keys_are_looked_up() {
        let directory = tempfile::tempdir().unwrap();
        let gone = directory.path().join("gone");
        let noted = || {
            let seen = SeenKeys::for_later(&gone);
            for number in 0..70_000_u32 {
                assert_eq!(seen.insert(&number.to_le_bytes()).unwrap(), Seen::Never);
            }
            assert_eq!((seen.count(), seen.listed_in_round()), (70_000, 70_000));
            seen
        };
        let seen = noted();
        seen.expect_no_more();
        assert_eq!(seen.insert(b"a").unwrap(), Seen::Never);
        let seen = noted();
        seen.expect_again();
        let error = seen.insert(b"a").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        assert!(seen.insert(b"a").unwrap_err().is_of_partner());
    }

    #[test]
    fn a_table_that_failed_is_not_made_again_for_each_key() {
        let directory = tempfile::tempdir().unwrap();
        let gone = directory.path().join("gone");
        let noted = SeenKeys::for_later(&gone);
        noted.insert(b"a").unwrap();
        noted.expect_again();
        std::fs::create_dir(&gone).unwrap();
        let full = SeenKeys::create(&gone, 0).unwrap();
        std::fs::remove_dir(&gone).unwrap();
        let mut numbers = 0_u32..;
        let mut insert = || full.insert(&numbers.next().unwrap().to_le_bytes());
        let of_full = std::iter::repeat_with(&mut insert).find_map(Result::err);
        for error in [noted.insert(b"b").unwrap_err(), of_full.unwrap()] {
            assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
        }
        // Now there would be room.
        std::fs::create_dir(&gone).unwrap();
        for error in [noted.insert(b"b").unwrap_err(), insert().unwrap_err()] {
            assert!(error.is_of_partner(), "{error}");
        }
    }

    /// A fetcher holds the lock while it waits for the table's disk.
    #[test]
    fn counting_waits_for_no_lock() {
        let directory = tempfile::tempdir().unwrap();
        let seen = SeenKeys::create(directory.path(), 0).unwrap();
        seen.insert(b"a").unwrap();
        let held = seen.lock();
        assert_eq!((seen.count(), seen.listed()), (1, 1));
        seen.begin_round();
        seen.expect_again();
        seen.expect_no_more();
        assert_eq!(seen.listed_in_round(), 0);
        drop(held);
    }
}
