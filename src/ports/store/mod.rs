//! Where snapshots live: a flat space of named objects.
//!
//! What an object means is not known here; `snapshot` decides what is written
//! and in which order. The traits ask for no more than an object store over
//! HTTP can do: writing is a stream without seeks, publishing is
//! create-if-absent, and a small object is replaced as a whole, if it is still
//! the one that was read.
//!
//! # Invariants
//!
//! - An object is there as a whole or not at all.
//! - An object never changes in place; a name is taken at most once until it
//!   is removed, and what a reader has opened stays as it was.

mod directory;
mod faulty;
mod file_mode;
mod host_lease;
mod key_table;
mod local;
mod map;
mod memory;
mod name;
mod partial_file;
mod prefix_lock;
mod range;
mod restart_file;
mod room;
mod scratch;
mod scratch_table;
mod url;

use std::fmt;

use crate::words::error::Result;

pub use self::faulty::{Fault, FaultyStore};
pub use self::file_mode::FileMode;
pub use self::host_lease::HostLease;
pub use self::key_table::{KeyHash, KeySeed, KeyTable};
pub use self::local::LocalStore;
pub use self::map::MapChoice;
pub use self::memory::MemoryStore;
pub use self::name::check_name;
pub use self::restart_file::RestartFile;
pub use self::room::{Room, look_at_room};
pub use self::scratch::{Extent, ScratchFile};
pub use self::scratch_table::ScratchTable;
pub use self::url::{
    DamagedPlace, create_directory, create_directory_as, open_damaged_place, open_snapshot_place,
};

/// An object, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectInfo {
    /// The name in the store.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// A flat space of named objects, such as `prod-2026/segments/0123.mcs`.
///
/// Every call blocks until it is done. `tests/it/store_suite.rs` holds every
/// implementer to these obligations:
///
/// - A name that [`check_name`] refuses is `InvalidInput` in every call.
/// - An object is visible to every later `open` and `list`, from any thread,
///   once `put_new` or `finish` has returned, and survives a loss of power.
/// - An object is not visible before.
/// - Of several writers that publish under one name exactly one succeeds; the
///   others get `AlreadyExists` and change nothing.
/// - No directory is visible: a name is free again once it is removed, and so
///   is every prefix of it.
///
/// An error of `put_new` or `finish` other than `AlreadyExists` and
/// `InvalidInput` leaves open whether the object is there: the reply can be
/// lost after the deed. A caller that must know opens the name and looks.
///
/// One object must not be named like the start of another (`a` and `a/b`);
/// some stores cannot hold both.
pub trait Store: fmt::Debug + Send + Sync {
    /// Names an object for people, with the place of the store: `/backup/a.mcs`
    /// or `memory:a.mcs`. The empty name stands for the store itself.
    fn describe(&self, name: &str) -> String;

    /// Starts an object that is written as a stream.
    ///
    /// Until it is finished or dropped, or forever if the process dies, it is
    /// in [`Store::list_unfinished`].
    ///
    /// # Errors
    ///
    /// - `AlreadyExists` when an unfinished object has the name.
    /// - `InvalidInput` when the name is illegal.
    /// - `Io` when the store cannot be written.
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>>;

    /// Publishes a whole object at once, only if no object has that name.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists` when an object has the name.
    /// - `InvalidInput` when the name is illegal.
    /// - `Io` when the store cannot be written.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Replaces an object as a whole, only if it has the bytes that are expected;
    /// returns whether it did. Where no object has the name, it does not.
    ///
    /// Everybody sees the old bytes or the new ones at any time, also after a
    /// kill or a loss of power. A store that cannot compare and replace in one
    /// step does so with as little as possible in between.
    ///
    /// An error leaves open which of the two are there.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` when the name is illegal.
    /// - `Io` when the store cannot be read or written.
    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool>;

    /// Opens an object for reading.
    ///
    /// The reader goes on working when the object is removed or replaced.
    ///
    /// # Errors
    ///
    /// - `NotFound` when no object has the name.
    /// - `InvalidInput` when the name is illegal.
    /// - `Io` when the store cannot be read.
    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>>;

    /// Lists the objects whose names start with `prefix` and a `/`, or all of
    /// them when `prefix` is empty, sorted by the bytes of their names.
    ///
    /// A prefix that no object has gives an empty list.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` when the prefix is neither empty nor a legal name.
    /// - `Io` when the store cannot be read.
    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Lists objects that were started and not finished, as [`Store::list`]
    /// lists those that were, with the bytes stored so far: what other
    /// processes write at this moment and what killed ones left behind.
    ///
    /// The last component of a name can have an addition that keeps two
    /// attempts at one object apart.
    ///
    /// # Errors
    ///
    /// - As [`Store::list`].
    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Opens an object that was started and not finished, by its name in
    /// [`Store::list_unfinished`], for whoever wants what was stored of it.
    ///
    /// # Errors
    ///
    /// - `NotFound` when no unfinished object has the name, or the store keeps
    ///   no bytes of them that could be read.
    /// - `InvalidInput` when the name is illegal.
    /// - `Io` when the store cannot be read.
    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>>;

    /// Removes an object; a loss of power does not bring it back.
    ///
    /// # Errors
    ///
    /// - `NotFound` when no object has the name.
    /// - `InvalidInput` when the name is illegal.
    /// - `Io` when the store cannot be written.
    fn remove(&self, name: &str) -> Result<()>;

    /// Removes an unfinished object, under the name that
    /// [`Store::list_unfinished`] gave.
    ///
    /// A writer that is still at work on it fails from then on, at the latest
    /// when it finishes.
    ///
    /// # Errors
    ///
    /// - `NotFound` when no unfinished object has the name.
    /// - `InvalidInput` when the name is illegal.
    /// - `Io` when the store cannot be written.
    fn remove_unfinished(&self, name: &str) -> Result<()>;

    /// Keeps other processes that ask for it from writing below a prefix, until
    /// what is returned is dropped or the process dies, however that ends.
    ///
    /// A store that has no locks, and a file system that has none, grants it to
    /// everyone, and the latter warns of it: it guards against a mistake, while
    /// what must hold is held by names that are taken once.
    ///
    /// It holds also while no object has the prefix, and is in no listing.
    ///
    /// # Errors
    ///
    /// - `Locked` when another writer has it.
    /// - `InvalidInput` when the prefix is not a legal name.
    /// - `Io` when the store cannot be written.
    fn lock_prefix(&self, prefix: &str) -> Result<Box<dyn StoreLock>>;
}

/// A lock, held while this lives.
pub trait StoreLock: fmt::Debug + Send + Sync {}

/// An object on its way into a store.
///
/// Dropping it without `finish` leaves nothing under its name, and removes
/// what was written as far as that is possible; errors of this are not told.
pub trait ObjectWriter: fmt::Debug + Send {
    /// Appends bytes.
    ///
    /// After an error the object cannot be finished any more.
    ///
    /// # Errors
    ///
    /// - `Io` when the store cannot be written.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the object durable and visible under its name, only if no object
    /// has that name.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists` when an object has the name.
    /// - `Io` when the store cannot be written, a write failed before, or the
    ///   unfinished object was removed.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A stored object, opened for reading by any number of threads.
pub trait ObjectReader: fmt::Debug + Send + Sync {
    /// Names the object for people, as [`Store::describe`] does.
    fn describe(&self) -> &str;

    /// Returns the bytes of the object, counted when it was opened.
    fn size(&self) -> u64;

    /// Fills the buffer from this offset on.
    ///
    /// # Errors
    ///
    /// - `Io` when the store cannot be read or the range does not lie inside
    ///   the object; the buffer may then have been written to.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Returns all bytes when they can be had without a copy, from a memory
    /// map or from memory.
    ///
    /// Whoever gets `None` reads with `read_at`. The answer may change from
    /// `Some` to `None`, when the store finds that the bytes are no longer
    /// safe to touch.
    fn as_bytes(&self) -> Option<&[u8]>;
}
