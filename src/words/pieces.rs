//! Values that come piece by piece because they are too large to hold in memory.

use std::fmt;

use crate::words::error::Result;

/// The bytes of a value in pieces, from front to back.
pub trait Pieces {
    /// Returns the next piece, which is never empty, or `None` after the last.
    ///
    /// The last piece comes only after the value was verified to be the one that was
    /// stored. So a caller that gets all pieces has a sound value, and a caller that gets
    /// an error has only part of it.
    ///
    /// # Errors
    ///
    /// - Anything that prevents the value from being read; nothing comes after an error.
    fn next_piece(&mut self) -> Result<Option<&[u8]>>;
}

/// A value too large to hold in memory, which can be read any number of times.
pub trait LargeValue: fmt::Debug + Send + Sync {
    /// Returns the length of the value in bytes.
    fn len(&self) -> u64;

    /// Returns whether the value has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts reading at the front of the value.
    fn open(&self) -> Box<dyn Pieces + '_>;
}
