//! Values that come piece by piece, for those that nobody is to hold whole.

use std::fmt;

use crate::words::error::Result;

/// The bytes of a value in pieces, from front to back.
pub trait Pieces {
    /// Returns the next piece, which is never empty; nothing after the last.
    ///
    /// The last piece comes only once the value is known to be the one that was
    /// stored: whoever got all pieces has a sound value, and whoever got an
    /// error has not got all of it.
    ///
    /// # Errors
    ///
    /// - Whatever keeps the value from being read; nothing comes after that.
    fn next_piece(&mut self) -> Result<Option<&[u8]>>;
}

/// A value too large to be held, that can be read as often as it takes.
pub trait LargeValue: fmt::Debug + Send + Sync {
    /// Bytes of the value.
    fn len(&self) -> u64;

    /// Says whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts at the front of the value.
    fn open(&self) -> Box<dyn Pieces + '_>;
}
