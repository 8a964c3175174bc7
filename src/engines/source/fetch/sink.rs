//! Where fetched items go.

use crate::words::error::Result;
use crate::words::item::{ItemMeta, Record};

/// Takes items as they come off the wire. An error ends the fetch.
pub trait ItemSink {
    /// Takes a whole item.
    ///
    /// # Errors
    ///
    /// - Whatever keeps the sink from taking it.
    fn item(&mut self, record: &Record<'_>) -> Result<()>;

    /// Starts an item whose value comes in pieces.
    ///
    /// # Errors
    ///
    /// - As [`ItemSink::item`].
    fn begin_large(&mut self, key: &[u8], meta: &ItemMeta, value_len: u64) -> Result<()>;

    /// Takes the next piece of it.
    ///
    /// # Errors
    ///
    /// - As [`ItemSink::item`].
    fn piece(&mut self, bytes: &[u8]) -> Result<()>;

    /// Ends it: all pieces were there.
    ///
    /// # Errors
    ///
    /// - As [`ItemSink::item`].
    fn end_large(&mut self) -> Result<()>;

    /// Gives it up: the connection broke in its middle.
    fn abandon_large(&mut self);
}
