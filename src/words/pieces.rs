//! Values that come piece by piece because they are too large to hold in memory.

use std::fmt;

use crate::words::error::Result;
use crate::words::units::to_u64;

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

    /// Returns how many bytes it takes in memory while nobody reads it; 0 if it is read
    /// from elsewhere.
    fn held_len(&self) -> u64 {
        0
    }

    /// Starts reading at the front of the value.
    fn open(&self) -> Box<dyn Pieces + '_>;
}

/// A value that is in memory after all. It is sent piece by piece, so that nobody has to
/// copy it as a whole.
pub struct HeldValue(Box<[u8]>);

impl HeldValue {
    const PIECE_LEN: usize = 256 << 10;

    /// Copies a value.
    pub fn new(value: &[u8]) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for HeldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldValue({} bytes)", self.0.len())
    }
}

impl LargeValue for HeldValue {
    fn len(&self) -> u64 {
        to_u64(self.0.len())
    }

    fn held_len(&self) -> u64 {
        self.len()
    }

    fn open(&self) -> Box<dyn Pieces + '_> {
        Box::new(HeldPieces(self.0.chunks(Self::PIECE_LEN)))
    }
}

struct HeldPieces<'a>(std::slice::Chunks<'a, u8>);

impl Pieces for HeldPieces<'_> {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        Ok(self.0.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_value_comes_whole_any_number_of_times() {
        for len in [0, 1, HeldValue::PIECE_LEN, 2 * HeldValue::PIECE_LEN + 1] {
            let bytes: Vec<u8> = (0..=250).cycle().take(len).collect();
            let value = HeldValue::new(&bytes);
            assert_eq!((value.len(), value.held_len()), (to_u64(len), to_u64(len)));
            for _ in 0..2 {
                let mut pieces = value.open();
                let mut read = Vec::new();
                while let Some(piece) = pieces.next_piece().unwrap() {
                    assert!(!piece.is_empty());
                    read.extend_from_slice(piece);
                }
                assert_eq!(read, bytes);
            }
        }
    }
}
