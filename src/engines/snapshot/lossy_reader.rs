//! Reads the readable bytes of an object and counts the others.

use std::collections::BTreeSet;

use crate::codecs::format::layout::FRAME_MARKER;
use crate::codecs::format::salvage::find_markers;
use crate::ports::store::ObjectReader;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::units::to_u64;

/// Reads through a window. Bytes that the store cannot read become zeros.
///
/// A disk that fails at one place fails the whole call, so the pages of a failed call are
/// read again one by one.
#[derive(Debug)]
pub(super) struct LossyReader<'a> {
    object: &'a dyn ObjectReader,
    /// Bytes read at once, unless a caller needs more.
    window_len: u64,
    start: u64,
    window: Vec<u8>,
    /// Numbers of the pages that could not be read.
    lost_pages: BTreeSet<u64>,
}

/// Bytes of a page, the least that the kernel reads.
const PAGE_LEN: u64 = 4096;

/// Returns how many bytes of an object of this size may be examined without success.
/// Without this limit, structures that claim each other's bytes would be read again and
/// again.
pub(super) fn failed_len_max(size: u64) -> u64 {
    const FREE: u64 = 64 << 20;
    size.saturating_mul(4).saturating_add(FREE)
}

impl<'a> LossyReader<'a> {
    /// Creates a reader for reading the object from front to back.
    pub(super) fn sequential(object: &'a dyn ObjectReader) -> Self {
        Self::new(object, 1 << 20)
    }

    /// Creates a reader for reading at arbitrary places.
    pub(super) fn random(object: &'a dyn ObjectReader) -> Self {
        Self::new(object, 16 << 10)
    }

    fn new(object: &'a dyn ObjectReader, window_len: u64) -> Self {
        Self {
            object,
            window_len,
            start: 0,
            window: Vec::new(),
            lost_pages: BTreeSet::new(),
        }
    }

    /// Returns the number of bytes that could not be read, in whole pages.
    pub(super) fn unreadable_len(&self) -> u64 {
        to_u64(self.lost_pages.len()).saturating_mul(PAGE_LEN)
    }

    /// Returns `len` bytes from `offset` on, or as many as there are. The caller has
    /// limited the length.
    pub(super) fn bytes(&mut self, offset: u64, len: u64) -> &[u8] {
        let size = self.object.size();
        let end = offset.saturating_add(len).min(size);
        if offset >= end {
            return &[];
        }
        let window_end = self.start.saturating_add(to_u64(self.window.len()));
        if offset < self.start || end > window_end {
            let window_end = offset.saturating_add(self.window_len);
            self.fill(offset, end.max(window_end).min(size));
        }
        let range = |from: u64| usize::try_from(from.saturating_sub(self.start)).ok();
        match (range(offset), range(end)) {
            (Some(from), Some(to)) => self.window.get(from..to).unwrap_or_default(),
            _ => &[],
        }
    }

    /// Returns the window's contents from `offset` on, at least `least` bytes unless the
    /// object ends. Reading forward reads no byte twice.
    pub(super) fn bytes_at_hand(&mut self, offset: u64, least: u64) -> &[u8] {
        let window_end = self.start.saturating_add(to_u64(self.window.len()));
        let is_within = offset >= self.start && offset.saturating_add(least) <= window_end;
        let len = if is_within {
            window_end.saturating_sub(offset)
        } else {
            self.window_len.max(least)
        };
        self.bytes(offset, len)
    }

    /// Returns the next position before `end` where a frame may start.
    ///
    /// # Errors
    ///
    /// - `Canceled`.
    pub(super) fn next_marker(
        &mut self,
        from: u64,
        end: u64,
        cancel: &Cancel,
    ) -> Result<Option<u64>> {
        let marker_len = to_u64(FRAME_MARKER.len());
        let mut at = from;
        while at < end {
            cancel.check()?;
            let bytes = self.bytes_at_hand(at, marker_len);
            if let Some(found) = find_markers(bytes).next() {
                let found = at.saturating_add(to_u64(found));
                return Ok((found < end).then_some(found));
            }
            let len = to_u64(bytes.len());
            if len < marker_len {
                break;
            }
            // A marker may cross the end of the window.
            at = at.saturating_add(len).saturating_sub(marker_len - 1);
        }
        Ok(None)
    }

    fn fill(&mut self, offset: u64, end: u64) {
        let len = usize::try_from(end.saturating_sub(offset)).unwrap_or(0);
        self.start = offset;
        self.window = vec![0; len];
        if self.object.read_at(offset, &mut self.window).is_ok() {
            return;
        }
        let mut at = offset;
        let mut rest = self.window.as_mut_slice();
        while !rest.is_empty() {
            // Up to the end of the page.
            let page = at / PAGE_LEN;
            let page_end = page.saturating_add(1).saturating_mul(PAGE_LEN);
            let len = usize::try_from(page_end.saturating_sub(at)).unwrap_or(usize::MAX);
            let (chunk, after) = rest.split_at_mut(len.min(rest.len()));
            let read: Result<()> = self.object.read_at(at, chunk);
            if read.is_err() {
                chunk.fill(0);
                self.lost_pages.insert(page);
            }
            at = page_end;
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::error::{Error, Operation};

    /// Sixteen pages, of which the fourth cannot be read.
    #[derive(Debug)]
    struct BadDisk(Vec<u8>);

    impl ObjectReader for BadDisk {
        fn describe(&self) -> &str {
            "bad"
        }

        fn size(&self) -> u64 {
            to_u64(self.0.len())
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            let start = usize::try_from(offset).unwrap();
            let end = start + buffer.len();
            if start < 16384 && end > 12288 {
                let cause = std::io::Error::other("bad sector");
                return Err(Error::io(Operation::Read, "bad", cause));
            }
            buffer.copy_from_slice(&self.0[start..end]);
            Ok(())
        }

        fn as_bytes(&self) -> Option<&[u8]> {
            None
        }
    }

    #[test]
    fn a_bad_page_is_zeros_and_counted_once() {
        let bytes: Vec<u8> = (0..65_536_u32).map(|n| n.to_le_bytes()[0] | 1).collect();
        let disk = BadDisk(bytes.clone());
        let mut reader = LossyReader::sequential(&disk);
        for (offset, len) in [
            (0, 100),
            (12_000, 1000),
            (5, 65_536),
            (65_530, 100),
            (70_000, 5),
        ] {
            let found = reader.bytes(offset, len).to_vec();
            let start = usize::try_from(offset).unwrap().min(bytes.len());
            let end = (start + usize::try_from(len).unwrap()).min(bytes.len());
            assert_eq!(found.len(), end - start);
            for (at, byte) in (start..end).zip(found) {
                let is_lost = (12_288..16_384).contains(&at);
                assert_eq!(byte, if is_lost { 0 } else { bytes[at] }, "at {at}");
            }
        }
        assert_eq!(reader.unreadable_len(), 4096);
        // The window reaches exactly as far as the object was read.
        let mut reader = LossyReader::random(&disk);
        assert_eq!(reader.bytes_at_hand(100, 4).len(), 16 << 10);
        assert_eq!(reader.bytes_at_hand(16_400, 4).len(), 84);
        assert_eq!(reader.bytes_at_hand(16_482, 4).len(), 16 << 10);
        assert_eq!(reader.bytes_at_hand(65_534, 4).len(), 2);
        assert_eq!(reader.bytes_at_hand(65_536, 4).len(), 0);
    }
}
