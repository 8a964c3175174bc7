//! Numbers of any width, bit after bit, the lowest bit of a byte and of a number first.
//! FORMAT.md 5.8.

use byteorder::{ByteOrder as _, LittleEndian};

/// Appends numbers to bytes.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, below the lowest `held_len`.
    held: u64,
    held_len: u32,
}

impl BitWriter {
    /// The widest number.
    pub const WIDTH_MAX: u32 = 56;

    /// Appends the lowest `width` bits of a number; at most [`Self::WIDTH_MAX`].
    pub fn number(&mut self, number: u64, width: u32) {
        debug_assert!(width <= Self::WIDTH_MAX && number.checked_shr(width).unwrap_or(0) == 0);
        // Fewer than 8 bits are held, so that this fits.
        self.held |= number << self.held_len;
        self.held_len = self.held_len.saturating_add(width);
        while self.held_len >= 8 {
            let [low, ..] = self.held.to_le_bytes();
            self.bytes.push(low);
            self.held >>= 8;
            self.held_len = self.held_len.saturating_sub(8);
        }
    }

    /// Appends so many ones, and a zero.
    pub fn unary(&mut self, mut ones: u64) {
        const RUN: u32 = 32;
        while ones >= RUN.into() {
            self.number(low_bits(RUN), RUN);
            ones = ones.saturating_sub(RUN.into());
        }
        let width = u32::try_from(ones).unwrap_or(0);
        self.number(low_bits(width), width.saturating_add(1));
    }

    /// Returns the bytes; bits that remain in the last one are 0.
    pub fn finish(mut self) -> Vec<u8> {
        if self.held_len > 0 {
            let [low, ..] = self.held.to_le_bytes();
            self.bytes.push(low);
        }
        self.bytes
    }
}

/// Returns a number of so many ones, at most 63.
pub fn low_bits(width: u32) -> u64 {
    (1_u64 << width.min(63)).wrapping_sub(1)
}

/// Takes numbers from bytes.
#[derive(Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// The next bit.
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Returns how many bits are left.
    pub fn left(&self) -> usize {
        let len = self.bytes.len().saturating_mul(8);
        len.saturating_sub(self.position)
    }

    /// Returns the next 57 bits at least, with zeros behind the last.
    fn window(&self) -> u64 {
        let rest = self.bytes.get(self.position / 8..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                let mut word = [0; 8];
                for (slot, byte) in word.iter_mut().zip(rest) {
                    *slot = *byte;
                }
                LittleEndian::read_u64(&word)
            }
        };
        word >> (self.position % 8)
    }

    /// Takes a number of `width` bits, at most [`BitWriter::WIDTH_MAX`]. Returns `None` if
    /// there are not so many left.
    pub fn number(&mut self, width: u32) -> Option<u64> {
        let len = usize::try_from(width).ok()?;
        if width > BitWriter::WIDTH_MAX || len > self.left() {
            return None;
        }
        let number = self.window() & low_bits(width);
        self.position = self.position.checked_add(len)?;
        Some(number)
    }

    /// Takes ones, and the zero behind them; returns how many ones there were. Returns
    /// `None` if there is no zero.
    pub fn unary(&mut self) -> Option<u64> {
        const RUN: u32 = 56;
        let mut ones: u64 = 0;
        loop {
            let run = self.window().trailing_ones().min(RUN);
            ones = ones.checked_add(run.into())?;
            self.position = self.position.checked_add(usize::try_from(run).ok()?)?;
            if self.left() == 0 {
                return None;
            }
            if run < RUN {
                self.position = self.position.checked_add(1)?;
                return Some(ones);
            }
        }
    }

    /// Returns whether all bits that are left are 0.
    pub fn is_rest_zero(&self) -> bool {
        let rest = self.bytes.get(self.position / 8..).unwrap_or_default();
        let Some((first, rest)) = rest.split_first() else {
            return true;
        };
        first >> (self.position % 8) == 0 && rest.iter().all(|&byte| byte == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let numbers = [
            (0, 0),
            (1, 1),
            (5, 3),
            (0xABCD, 16),
            ((1 << 56) - 1, 56),
            (0, 7),
        ];
        let runs = [0, 1, 7, 31, 32, 33, 55, 56, 57, 200];
        let mut writer = BitWriter::default();
        for (number, width) in numbers {
            writer.number(number, width);
        }
        for run in runs {
            writer.unary(run);
            writer.number(1, 1);
        }
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        for (number, width) in numbers {
            assert_eq!(reader.number(width), Some(number), "{width}");
        }
        for run in runs {
            assert_eq!(reader.unary(), Some(run));
            assert_eq!(reader.number(1), Some(1), "{run}");
        }
        assert!(reader.left() < 8 && reader.is_rest_zero());
    }

    #[test]
    fn the_lowest_bit_comes_first() {
        let mut writer = BitWriter::default();
        writer.number(0b01, 2);
        writer.unary(2);
        writer.number(0b1_0110, 5);
        assert_eq!(writer.finish(), [0b1100_1101, 0b10]);
    }

    #[test]
    fn reading_ends_where_the_bytes_end() {
        let mut reader = BitReader::new(&[0xff, 0x01]);
        assert_eq!(reader.number(17), None);
        assert_eq!(reader.unary(), Some(9));
        assert_eq!(reader.number(6), Some(0));
        assert_eq!(reader.number(1), None);
        assert_eq!(reader.number(0), Some(0));
        assert_eq!(reader.unary(), None);
        assert_eq!(BitReader::new(&[0xff; 20]).unary(), None);
        assert!(!BitReader::new(&[0, 1]).is_rest_zero());
    }
}
