//! A range of an object that was read.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ports::store::RangeBytes;
use crate::ports::store::range_bytes::SharedBytes;
use crate::words::units::to_u64;

/// Buffers that nobody needs any more. A new one of some megabytes costs more than to fill
/// it: the system hands out its pages one by one.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    /// As many are kept.
    const COUNT: usize = 2;
    /// Shorter ones, and longer ones, are not.
    const LEN: Range<usize> = 1 << 20..8 << 20;

    fn take(&self, len: usize) -> Vec<u8> {
        if Self::LEN.contains(&len) {
            let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = spares.iter().position(|spare| spare.capacity() >= len);
            if let Some(number) = fits {
                return spares.swap_remove(number);
            }
        }
        Vec::with_capacity(len)
    }

    fn give(&self, mut buffer: Vec<u8>) {
        if Self::LEN.contains(&buffer.capacity()) {
            let mut spares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if spares.len() < Self::COUNT {
                buffer.clear();
                spares.push(buffer);
            }
        }
    }
}

/// Bytes in a buffer that goes back when nobody has them any more.
struct Buffer {
    bytes: Vec<u8>,
    spares: Arc<Spares>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.spares.give(std::mem::take(&mut self.bytes));
    }
}

/// A range that is being read.
#[derive(Debug)]
pub(super) struct PieceBuilder {
    start: u64,
    len: usize,
    bytes: Vec<u8>,
    spares: Arc<Spares>,
}

impl PieceBuilder {
    /// A longer piece gets room as it comes.
    const BUFFER_LEN_MAX: usize = 64 << 20;

    /// Begins a piece of at most `len` bytes. No memory is taken yet: a number in a file that
    /// somebody has made up may have led to them.
    pub(super) fn new(start: u64, len: usize, spares: &Arc<Spares>) -> Self {
        Self {
            start,
            len,
            bytes: Vec::new(),
            spares: Arc::clone(spares),
        }
    }

    /// Takes a buffer for what a store says that it will send.
    pub(super) fn expect(&mut self, len: u64) {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.len);
        self.bytes = self.spares.take(len.min(Self::BUFFER_LEN_MAX));
    }

    /// Adds what came; returns false if that is more than was asked for.
    pub(super) fn push(&mut self, chunk: &[u8]) -> bool {
        let room = self.len.saturating_sub(self.bytes.len());
        if chunk.len() <= room {
            self.bytes.extend_from_slice(chunk);
        }
        chunk.len() <= room
    }

    pub(super) fn build(self) -> Piece {
        let Self {
            start,
            bytes,
            spares,
            ..
        } = self;
        let buffer = Arc::new(Buffer { bytes, spares });
        Piece { start, buffer }
    }
}

/// A range of an object.
#[derive(Clone)]
pub(super) struct Piece {
    start: u64,
    buffer: Arc<Buffer>,
}

impl Piece {
    /// Returns where in the object it begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns where in the object it ends.
    pub(super) fn end(&self) -> u64 {
        self.start.saturating_add(to_u64(self.buffer.bytes.len()))
    }

    pub(super) fn has(&self, range: &Range<u64>) -> bool {
        self.start <= range.start && range.end <= self.end()
    }

    /// Returns where in the buffer a range is, as far as the piece has it.
    fn part(&self, range: &Range<u64>) -> Range<usize> {
        let place = |offset: u64| {
            let place = usize::try_from(offset.saturating_sub(self.start));
            place.unwrap_or(usize::MAX).min(self.buffer.bytes.len())
        };
        place(range.start)..place(range.end)
    }

    /// Returns the bytes of a range, as far as the piece has it.
    pub(super) fn get(&self, range: &Range<u64>) -> &[u8] {
        let part = self.part(range);
        self.buffer.bytes.get(part).unwrap_or_default()
    }

    /// Returns a range that the piece has; all of the piece is kept while that is.
    pub(super) fn share(&self, range: &Range<u64>) -> RangeBytes<'static> {
        let buffer = Arc::<Buffer>::clone(&self.buffer);
        RangeBytes::Shared(SharedBytes::new(buffer, self.part(range)))
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({}..{})", self.start, self.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_a_piece_is_what_came_there() {
        let spares = Arc::default();
        let mut piece = PieceBuilder::new(100, 10, &spares);
        assert!(
            ["abc", "", "d", "efghij"]
                .iter()
                .all(|chunk| piece.push(chunk.as_bytes()))
        );
        assert!(!piece.push(b"k"), "more than was asked for");
        let piece = piece.build();
        assert_eq!((piece.start(), piece.end()), (100, 110));
        for from in 0..10_usize {
            for to in from..=10 {
                let range = 100 + to_u64(from)..100 + to_u64(to);
                assert!(piece.has(&range));
                assert_eq!(piece.get(&range), &b"abcdefghij"[from..to]);
                assert_eq!(*piece.share(&range), b"abcdefghij"[from..to]);
            }
        }
        assert!(!piece.has(&(99..101)) && !piece.has(&(109..111)));
        assert_eq!(piece.get(&(108..112)), b"ij");
        assert_eq!(piece.get(&(110..112)), b"");
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_has_its_bytes() {
        let spares: Arc<Spares> = Arc::default();
        let len = Spares::LEN.start;
        let mut piece = PieceBuilder::new(0, len, &spares);
        piece.expect(to_u64(len));
        piece.push(b"abc");
        let piece = piece.build();
        let shared = piece.share(&(1..3));
        let place = piece.get(&(0..3)).as_ptr();
        drop(piece);
        assert!(spares.take(len).is_empty());
        assert_eq!(*shared, *b"bc");
        drop(shared);
        let again = spares.take(len);
        assert!(again.is_empty() && again.as_ptr() == place);
        let other = spares.take(len);
        assert_ne!(other.as_ptr(), place);
    }
}
