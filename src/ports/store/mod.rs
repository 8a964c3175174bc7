//! Where snapshots live: a flat space of named objects.
//!
//! This module does not know what an object means; `snapshot` decides what is written and
//! in which order. The traits need no more than an object store over HTTP offers: writing
//! is a stream without seeks, publishing is create-if-absent, and a small object is
//! replaced as a whole if it is still the one that was read.
//!
//! # Invariants
//!
//! - An object exists as a whole or not at all.
//! - An object never changes in place. A name is taken at most once until it is removed,
//!   and an opened object stays as it was.

#[cfg(feature = "cloud")]
mod cloud;
mod directory;
mod directory_label;
mod faulty;
mod file_mode;
mod finishing;
mod host_lease;
mod key_table;
mod local;
mod map;
mod memory;
mod name;
mod partial_file;
mod prefix_lock;
mod range;
mod range_bytes;
mod resolved_place;
mod restart_file;
mod room;
mod scratch;
mod scratch_table;
mod url;

use std::fmt;
use std::ops::Range;

use self::range::check_range;
use crate::words::error::Result;

#[cfg(feature = "cloud")]
pub use self::cloud::{CloudStore, set_patience};
pub use self::directory_label::{directory_label, directory_label_of};
pub use self::faulty::{Fault, FaultyStore};
pub use self::file_mode::FileMode;
pub use self::finishing::Finishing;
pub use self::host_lease::HostLease;
pub use self::key_table::{KeyHash, KeySeed, KeyTable};
pub use self::local::LocalStore;
pub use self::map::MapChoice;
pub use self::memory::MemoryStore;
pub use self::name::{check_name, unfinished_name};
pub use self::range_bytes::{RangeBytes, SharedBytes};
pub use self::resolved_place::ResolvedPlace;
pub use self::restart_file::RestartFile;
pub use self::room::{Room, look_at_room};
pub use self::scratch::{Extent, ScratchFile};
pub use self::scratch_table::ScratchTable;
pub use self::url::{
    DamagedPlace, create_directory, create_directory_as, create_directory_unmapped, is_remote,
    open_damaged_place, open_snapshot_place,
};

/// An object, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectInfo {
    /// The name in the store.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A flat space of named objects, such as `prod-2026/segments/0123.mcs`.
///
/// Every call blocks until it is done. `tests/it/store/obligations.rs` checks that every
/// implementation meets these obligations:
///
/// - A name that [`check_name`] refuses is `InvalidInput` in every call.
/// - An object is visible to every later `open` and `list`, from any thread,
///   once `put_new` or `finish` has returned, and survives a loss of power.
/// - An object is not visible before.
/// - If several writers publish under one name, exactly one succeeds; the others get
///   `AlreadyExists` and change nothing.
/// - Directories are invisible: once a name is removed, the name and every prefix of it
///   are free again.
///
/// After an error of `put_new` or `finish` other than `AlreadyExists` and `InvalidInput`,
/// the object may or may not exist: the reply can be lost after the operation succeeded.
/// A caller that must know opens the name.
///
/// The name of one object must not be a path prefix of another (`a` and `a/b`); some
/// stores cannot hold both.
pub trait Store: fmt::Debug + Send + Sync {
    /// Names an object for messages, including the place of the store: `/backup/a.mcs` or
    /// `memory:a.mcs`. The empty name stands for the store itself.
    fn describe(&self, name: &str) -> String;

    /// Starts an object that is written as a stream.
    ///
    /// The object is in [`Store::list_unfinished`] until it is finished or dropped, or
    /// forever if the process dies.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: an unfinished object has the name.
    /// - `InvalidInput`: the name is illegal.
    /// - `Io`: the store cannot be written.
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>>;

    /// Publishes a whole object at once, only if no object has that name.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: an object has the name.
    /// - `InvalidInput`: the name is illegal.
    /// - `Io`: the store cannot be written.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Replaces an object as a whole if its bytes are `expected`, and returns whether it
    /// did. Returns false if no object has the name.
    ///
    /// Readers see either the old bytes or the new ones at any time, even after a kill or
    /// a loss of power. A store that cannot compare and replace in one step keeps the gap
    /// as short as possible.
    ///
    /// After an error, the object may have the old or the new bytes.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the name is illegal.
    /// - `Io`: the store cannot be read or written.
    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool>;

    /// Opens an object for reading.
    ///
    /// The reader keeps working after the object is removed or replaced, or its reads fail
    /// from then on; it never returns bytes of another object. Of an object of up to
    /// 64 KiB it keeps working.
    ///
    /// # Errors
    ///
    /// - `NotFound`: no object has the name.
    /// - `InvalidInput`: the name is illegal.
    /// - `Io`: the store cannot be read.
    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>>;

    /// Opens an object of which this range is read first, as [`Store::open`] does. A store
    /// that is far away reads it with the same request. An object that ends before is no
    /// error.
    ///
    /// # Errors
    ///
    /// - As for [`Store::open`].
    fn open_at(&self, name: &str, first: Range<u64>) -> Result<Box<dyn ObjectReader>> {
        let _ = first;
        self.open(name)
    }

    /// Lists the objects whose names start with `prefix` and a `/`, or all of
    /// them when `prefix` is empty, sorted by the bytes of their names.
    ///
    /// The list is empty if no object has the prefix.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the prefix is neither empty nor a legal name.
    /// - `Io`: the store cannot be read.
    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Lists what is directly below a prefix, or in the store when it is empty: the first
    /// component of each name there, once, sorted.
    ///
    /// # Errors
    ///
    /// - As for [`Store::list`].
    fn list_below(&self, prefix: &str) -> Result<Vec<String>> {
        let below = |object: &ObjectInfo| {
            let rest = match prefix {
                "" => Some(object.name.as_str()),
                prefix => object.name.strip_prefix(prefix)?.strip_prefix('/'),
            };
            Some(rest?.split('/').next()?.to_owned())
        };
        let mut names: Vec<String> = self.list(prefix)?.iter().filter_map(below).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Lists objects that were started but not finished, with the bytes stored so far, in
    /// the way of [`Store::list`]. These are being written by other processes right now,
    /// or were left behind by killed ones.
    ///
    /// The last component of a name can have a suffix that distinguishes two attempts at
    /// one object.
    ///
    /// # Errors
    ///
    /// - As for [`Store::list`].
    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Opens an object that was started but not finished, by its name in
    /// [`Store::list_unfinished`], to read what was stored of it.
    ///
    /// # Errors
    ///
    /// - `NotFound`: no unfinished object has the name, or the store keeps no readable
    ///   bytes of unfinished objects.
    /// - `InvalidInput`: the name is illegal.
    /// - `Io`: the store cannot be read.
    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>>;

    /// Removes an object, if it is there; a loss of power does not bring it back. Few stores
    /// over HTTP say whether it was there.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the name is illegal.
    /// - `Io`: the store cannot be written.
    fn remove(&self, name: &str) -> Result<()>;

    /// Removes an unfinished object by its name in [`Store::list_unfinished`].
    ///
    /// A writer that is still working on it fails from then on, at the latest when it
    /// finishes.
    ///
    /// # Errors
    ///
    /// - `NotFound`: no unfinished object has the name.
    /// - `InvalidInput`: the name is illegal.
    /// - `Io`: the store cannot be written.
    fn remove_unfinished(&self, name: &str) -> Result<()>;

    /// Locks a prefix against other processes that lock it too, until the result is
    /// dropped or the process ends in any way.
    ///
    /// A store without locks, or one on a file system without locks, grants the lock to
    /// everyone; the latter logs a warning. The lock only guards against mistakes.
    /// Correctness rests on names that can be taken only once.
    ///
    /// The lock holds even while no object has the prefix, and no listing shows it.
    ///
    /// # Errors
    ///
    /// - `Locked`: another writer holds the lock.
    /// - `InvalidInput`: the prefix is not a legal name.
    /// - `Io`: the store cannot be written.
    fn lock_prefix(&self, prefix: &str) -> Result<Box<dyn StoreLock>>;

    /// Looks whether a prefix is locked, for a caller that writes nothing. A store whose locks
    /// are objects writes none, and keeps nobody out; any other locks the prefix.
    ///
    /// # Errors
    ///
    /// - As for [`Store::lock_prefix`].
    fn look_at_lock(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        self.lock_prefix(prefix)
    }

    /// Returns how many bytes the store holds of each object that is being written.
    fn writing_memory(&self) -> u64 {
        0
    }

    /// Returns how many bytes the store holds of each object that is read from front to back.
    fn reading_memory(&self) -> u64 {
        0
    }

    /// Reports whether a name that is taken stays its first writer's, whichever host the
    /// others are on.
    ///
    /// Some stores that speak S3 ignore that an object is only to be created; there, each
    /// writer needs names of its own.
    ///
    /// # Errors
    ///
    /// - `Io`: the store cannot be asked.
    fn keeps_writers_apart(&self) -> Result<bool> {
        Ok(true)
    }
}

/// A lock, held while this lives.
pub trait StoreLock: fmt::Debug + Send + Sync {
    /// Checks that the lock still keeps others away: one that has to be renewed can be lost.
    ///
    /// # Errors
    ///
    /// - `Superseded`: another writer may hold it by now.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Reports whether nobody else can write, on whatever host, while
    /// [`StoreLock::check`] succeeds.
    fn keeps_all_out(&self) -> bool {
        false
    }
}

/// An object that is being written.
///
/// Dropping it without `finish` publishes nothing and removes what was written as far as
/// possible; errors of the removal are not reported.
pub trait ObjectWriter: fmt::Debug + Send {
    /// Appends bytes.
    ///
    /// After an error the object can no longer be finished.
    ///
    /// # Errors
    ///
    /// - `Io`: the store cannot be written.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the object durable and visible under its name, if no object has that name.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: an object has the name.
    /// - `Io`: the store cannot be written, an earlier write failed, or the unfinished
    ///   object was removed.
    fn finish(self: Box<Self>) -> Result<()>;

    /// Begins to do what [`ObjectWriter::finish`] does. A store that is far away does it
    /// while the caller goes on; any other has done it when this returns.
    fn begin_finish(self: Box<Self>) -> Finishing {
        Finishing::done(self.finish())
    }
}

/// A stored object, opened for reading by any number of threads.
pub trait ObjectReader: fmt::Debug + Send + Sync {
    /// Names the object for messages, as [`Store::describe`] does.
    fn describe(&self) -> &str;

    /// Returns the size of the object in bytes when it was opened.
    fn size(&self) -> u64;

    /// Fills the buffer with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// - `Io`: the store cannot be read, or the range lies beyond the object; the buffer
    ///   may have been written to.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Returns the bytes of a range, without a copy where that can be. The caller bounds how
    /// many bytes it has.
    ///
    /// # Errors
    ///
    /// - As for [`ObjectReader::read_at`].
    fn read(&self, range: Range<u64>) -> Result<RangeBytes<'_>> {
        let len = range.end.saturating_sub(range.start);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        check_range(self.describe(), self.size(), range.start, len)?;
        if let Some(bytes) = self.as_bytes()
            && let Ok(start) = usize::try_from(range.start)
            && let Some(bytes) = bytes.get(start..start.saturating_add(len))
        {
            return Ok(RangeBytes::Mapped(bytes));
        }
        let mut bytes = vec![0; len];
        self.read_at(range.start, &mut bytes)?;
        Ok(RangeBytes::Own(bytes))
    }

    /// Returns the bytes of each range. A store that is far away reads those that are near
    /// each other together, and several at once. The caller bounds how many bytes they have
    /// in all.
    ///
    /// # Errors
    ///
    /// - As for [`ObjectReader::read_at`].
    fn read_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<RangeBytes<'_>>> {
        ranges
            .iter()
            .map(|range| self.read(range.clone()))
            .collect()
    }

    /// Says that the object is about to be read on from `offset`. A store that is far away
    /// asks for what comes there, and does not wait for it.
    fn expect_reads_from(&self, offset: u64) {
        let _ = offset;
    }

    /// Says that reading on has come to its end: what was read ahead is dropped.
    fn forget_ahead(&self) {}

    /// Returns all bytes if they are available without a copy, from a memory map or from
    /// memory.
    ///
    /// If this returns `None`, use `read_at`. The result may change from `Some` to `None`
    /// when the store finds that the bytes are no longer safe to touch.
    fn as_bytes(&self) -> Option<&[u8]>;
}
