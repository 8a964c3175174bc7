//! Where snapshots live: a flat space of named objects.
//!
//! A name is a relative path with `/` between its parts. An object appears
//! whole or not at all, and never in place of another: that is what makes a
//! manifest a commit. Streams are written from front to back, with no seek and
//! no rename by the caller, so that an object store can be one.

use std::fmt::Debug;

use crate::error::{Error, Result};

mod faulty;
mod local;
mod map;
mod memory;
mod scratch;
mod url;

pub use faulty::{Fault, FaultyStore};
pub use local::{LocalStore, MmapChoice};
pub use memory::MemoryStore;
pub use scratch::{Extent, ScratchFile};
pub use url::{open_directory, open_snapshot_place};

/// A space of named objects.
///
/// An implementer publishes an object at once or not at all, refuses to replace
/// one, and returns what was published to every later read. The suite in
/// `tests/it/store_suite.rs` checks it.
pub trait Store: Send + Sync + Debug {
    /// Returns what to call an object in a message.
    fn describe(&self, name: &str) -> String;

    /// Starts an object. Nothing has its name until
    /// [`ObjectWriter::finish`].
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the name is not a relative path.
    /// - `AlreadyExists`, `Io`.
    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>>;

    /// Publishes some bytes, durably.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: an object has the name, and stays as it is.
    /// - `InvalidInput`, `Io`.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Opens an object.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `InvalidInput`, `Io`.
    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>>;

    /// Lists the objects below a prefix (a path, or nothing for all), in the
    /// order of their names; unfinished ones only if asked for.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`, `Io`.
    fn list(&self, prefix: &str, which: Listing) -> Result<Vec<ObjectInfo>>;

    /// Removes an object, and directories that are empty then.
    ///
    /// # Errors
    ///
    /// - `NotFound`, `InvalidInput`, `Io`.
    fn remove(&self, name: &str) -> Result<()>;
}

/// Which objects a listing holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Published ones.
    Published,
    /// Also what an interrupted writer left.
    WithUnfinished,
}

/// An object in the making.
///
/// Dropped without `finish`, it leaves nothing under its name.
pub trait ObjectWriter: Send + Debug {
    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// - `Io`; the object is lost then.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes the object durable and gives it its name.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: an object has the name, and stays as it is.
    /// - `Io`.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A published object.
pub trait ObjectReader: Send + Sync + Debug {
    /// Bytes of the object.
    fn size(&self) -> u64;

    /// Fills the buffer from an offset.
    ///
    /// # Errors
    ///
    /// - `Io`: also when the object ends before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Returns all bytes, where that takes no copy.
    fn as_bytes(&self) -> Option<&[u8]>;
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

/// Checks that a name is a relative path of plain parts.
///
/// A part that starts with a dot is refused as well: those names are for
/// unfinished files and for others' business.
fn check_name(name: &str) -> Result<()> {
    let is_plain = |part: &str| !part.is_empty() && !part.starts_with('.');
    if name.contains('\0') || !name.split('/').all(is_plain) {
        return Err(Error::invalid_input(
            "object name",
            name,
            "wanted a relative path whose parts do not start with a dot",
        ));
    }
    Ok(())
}
