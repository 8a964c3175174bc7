//! Bytes that arrived over a connection and are not consumed yet.

use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// Bytes in the order of their arrival. The buffer grows with the longest reply that must
/// be complete in it, but not beyond what the caller allows.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Unread bytes are `bytes[start..end]`.
    start: usize,
    end: usize,
}

impl Buffer {
    /// Its usual length in bytes; only a longer reply makes it grow.
    pub(super) const LEN: usize = 256 << 10;

    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; Self::LEN],
            start: 0,
            end: 0,
        }
    }

    pub(super) fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Consumes bytes from the front.
    pub(super) fn take(&mut self, len: usize) {
        self.start = self.end.min(self.start.saturating_add(len));
    }

    /// Returns room for more bytes, at least one.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: as many bytes are unread as one reply may have.
    pub(super) fn room(&mut self, reply_len_max: usize) -> Result<&mut [u8]> {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
            // Still full: one reply is longer than the buffer.
            if self.end == self.bytes.len() {
                let bound = reply_len_max.max(Self::LEN);
                if self.end >= bound {
                    return Err(Error::new(ErrorKind::LimitExceeded {
                        limit: "reply length",
                        needed: to_u64(self.end).saturating_add(1),
                        bound: to_u64(bound),
                    }));
                }
                let doubled = self.bytes.len().saturating_mul(2);
                self.bytes.resize(doubled.min(bound), 0);
            }
        }
        Ok(self.bytes.get_mut(self.end..).unwrap_or_default())
    }

    /// Marks bytes as written to the room.
    pub(super) fn add(&mut self, len: usize) {
        self.end = self.bytes.len().min(self.end.saturating_add(len));
    }

    /// Frees memory that one long reply took.
    pub(super) fn shrink(&mut self) {
        if self.is_empty() && self.bytes.len() > Self::LEN {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, byte: u8, reply_len_max: usize) -> Result<usize> {
        let room = buffer.room(reply_len_max)?;
        room.fill(byte);
        let len = room.len();
        buffer.add(len);
        Ok(len)
    }

    #[test]
    fn it_grows_up_to_the_longest_reply_and_no_further() {
        const LONGEST: usize = 3 * Buffer::LEN;
        let mut buffer = Buffer::new();
        let lens: Vec<usize> = (1..=3)
            .map(|byte| fill(&mut buffer, byte, LONGEST).unwrap())
            .collect();
        assert_eq!(lens, [Buffer::LEN; 3]);
        let error = fill(&mut buffer, 4, LONGEST).unwrap_err();
        let wanted = "reply length would be 786433; the limit is 786432";
        assert_eq!(error.to_chain(), wanted);
        assert_eq!(buffer.unread().len(), LONGEST);
        // Consumed bytes make room without growth.
        buffer.take(10);
        assert_eq!(fill(&mut buffer, 4, LONGEST).unwrap(), 10);
        assert_eq!(buffer.unread().first(), Some(&1));
        assert_eq!(buffer.unread().last(), Some(&4));
        buffer.shrink();
        assert_eq!(buffer.unread().len(), LONGEST);
        buffer.take(usize::MAX);
        buffer.shrink();
        assert_eq!(buffer.room(0).unwrap().len(), Buffer::LEN);
    }

    #[test]
    fn a_short_limit_costs_no_room_that_is_there() {
        let mut buffer = Buffer::new();
        assert_eq!(fill(&mut buffer, 1, 0).unwrap(), Buffer::LEN);
        assert!(fill(&mut buffer, 1, 0).is_err());
    }
}
