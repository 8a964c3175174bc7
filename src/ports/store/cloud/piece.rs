//! A range of an object that was read, as it came.

use std::ops::Range;

use bytes::Bytes;

use crate::words::units::to_u64;

/// A range of an object, in the chunks in which it came: putting them together would take
/// a copy.
#[derive(Default)]
pub(super) struct Piece {
    start: u64,
    end: u64,
    /// Each with where it begins in the object.
    chunks: Vec<(u64, Bytes)>,
}

impl Piece {
    /// Begins a piece without bytes.
    pub(super) fn new(start: u64) -> Self {
        Self {
            start,
            end: start,
            chunks: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let start = self.end;
        self.end = start.saturating_add(to_u64(chunk.len()));
        self.chunks.push((start, chunk));
    }

    /// Returns where in the object it begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns where in the object it ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn has(&self, range: &Range<u64>) -> bool {
        self.start <= range.start && range.end <= self.end
    }

    /// Fills the buffer with what the piece has from `start` on; returns how many bytes
    /// that is.
    pub(super) fn copy(&self, start: u64, buffer: &mut [u8]) -> usize {
        let after = self.chunks.partition_point(|(begin, _)| *begin <= start);
        let mut filled = 0;
        for (begin, chunk) in self.chunks.iter().skip(after.saturating_sub(1)) {
            let skipped = start
                .saturating_add(to_u64(filled))
                .checked_sub(*begin)
                .and_then(|skipped| usize::try_from(skipped).ok());
            let Some(known) = skipped.and_then(|skipped| chunk.get(skipped..)) else {
                break;
            };
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            let len = known.len().min(rest.len());
            let (into, from) = (rest.get_mut(..len), known.get(..len));
            if let (Some(into), Some(from)) = (into, from) {
                into.copy_from_slice(from);
            }
            filled = filled.saturating_add(len);
            if filled == buffer.len() {
                break;
            }
        }
        filled
    }

    /// Returns a copy of a range that the piece has.
    pub(super) fn cut(&self, range: &Range<u64>) -> Vec<u8> {
        let len = range.end.saturating_sub(range.start);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.copy(range.start, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_put_together_from_its_chunks() {
        let mut piece = Piece::new(100);
        for chunk in ["abc", "", "d", "efghij"] {
            piece.push(Bytes::from(chunk));
        }
        assert_eq!((piece.start(), piece.end()), (100, 110));
        for from in 0..10_usize {
            for to in from..=10 {
                let range = 100 + to_u64(from)..100 + to_u64(to);
                assert!(piece.has(&range));
                assert_eq!(piece.cut(&range), &b"abcdefghij"[from..to]);
            }
        }
        assert!(!piece.has(&(99..101)) && !piece.has(&(109..111)));
        let mut long = [0; 4];
        assert_eq!(piece.copy(108, &mut long), 2);
        assert_eq!(&long[..2], b"ij");
        assert_eq!(piece.copy(110, &mut long), 0);
    }
}
