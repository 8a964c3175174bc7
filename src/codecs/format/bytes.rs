//! Reads fixed-width numbers from bytes that may be truncated or hostile.

use byteorder::{ByteOrder, LittleEndian};

use crate::words::defect::{Defect, Structure};
use crate::words::units::to_u64;

/// Takes fields from the front of a slice; every read is checked.
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    rest: &'a [u8],
    consumed: usize,
    structure: Structure,
}

impl<'a> ByteReader<'a> {
    /// Starts at the front of `bytes`, which should hold a `structure`.
    pub fn new(bytes: &'a [u8], structure: Structure) -> Self {
        Self {
            rest: bytes,
            consumed: 0,
            structure,
        }
    }

    /// Takes `len` bytes.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer bytes are left. This applies to every method below, too.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Defect> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(Defect::Truncated {
                structure: self.structure,
                needed: to_u64(self.consumed.saturating_add(len)),
                found: to_u64(self.consumed.saturating_add(self.rest.len())),
            });
        };
        self.rest = rest;
        self.consumed = self.consumed.saturating_add(len);
        Ok(head)
    }

    /// Takes an array.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer than `N` bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Defect> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// - `Truncated`: no byte is left.
    pub fn u8(&mut self) -> Result<u8, Defect> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Takes two bytes, little-endian.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer bytes are left.
    pub fn u16(&mut self) -> Result<u16, Defect> {
        Ok(LittleEndian::read_u16(self.bytes(2)?))
    }

    /// Takes four bytes, little-endian.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer bytes are left.
    pub fn u32(&mut self) -> Result<u32, Defect> {
        Ok(LittleEndian::read_u32(self.bytes(4)?))
    }

    /// Takes eight bytes, little-endian.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer bytes are left.
    pub fn u64(&mut self) -> Result<u64, Defect> {
        Ok(LittleEndian::read_u64(self.bytes(8)?))
    }

    /// Takes sixteen bytes, little-endian.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer bytes are left.
    pub fn u128(&mut self) -> Result<u128, Defect> {
        Ok(LittleEndian::read_u128(self.bytes(16)?))
    }

    /// Takes `len` bytes that must be zero.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer bytes are left.
    /// - `ReservedNotZero`: a byte is not zero.
    pub fn reserved(&mut self, len: usize, field: &'static str) -> Result<(), Defect> {
        let structure = self.structure;
        if self.bytes(len)?.iter().any(|&byte| byte != 0) {
            return Err(Defect::ReservedNotZero { structure, field });
        }
        Ok(())
    }

    /// Takes bytes that must be the structure's magic number.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer bytes are left.
    /// - `BadMagic`: the bytes differ.
    pub fn magic(&mut self, magic: &[u8]) -> Result<(), Defect> {
        let structure = self.structure;
        if self.bytes(magic.len())? != magic {
            return Err(Defect::BadMagic { structure });
        }
        Ok(())
    }

    /// Returns the remaining bytes.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

/// Returns the first `len` bytes.
///
/// # Errors
///
/// - `Truncated`: there are fewer bytes.
pub fn prefix(bytes: &[u8], len: usize, structure: Structure) -> Result<&[u8], Defect> {
    ByteReader::new(bytes, structure).bytes(len)
}

/// Returns the `len` bytes from `start` on.
///
/// # Errors
///
/// - `Truncated`: there are fewer bytes.
pub fn slice(bytes: &[u8], start: u64, len: u64, structure: Structure) -> Result<&[u8], Defect> {
    let truncated = || Defect::Truncated {
        structure,
        needed: start.saturating_add(len),
        found: to_u64(bytes.len()),
    };
    let start = usize::try_from(start).map_err(|_| truncated())?;
    let len = usize::try_from(len).map_err(|_| truncated())?;
    let end = start.checked_add(len).ok_or_else(truncated)?;
    bytes.get(start..end).ok_or_else(truncated)
}

/// Compares a number in the file with the actual one.
///
/// # Errors
///
/// - `CountMismatch`: they differ.
pub fn check_count(
    structure: Structure,
    field: &'static str,
    stored: u64,
    computed: u64,
) -> Result<(), Defect> {
    if stored != computed {
        return Err(Defect::CountMismatch {
            structure,
            field,
            stored,
            computed,
        });
    }
    Ok(())
}

/// Compares a text in the file with what it must be.
///
/// # Errors
///
/// - `TextMismatch`: they differ.
pub fn check_text(
    structure: Structure,
    field: &'static str,
    stored: &str,
    computed: &str,
) -> Result<(), Defect> {
    if stored != computed {
        return Err(Defect::TextMismatch {
            structure,
            field,
            stored: stored.to_owned(),
            computed: computed.to_owned(),
        });
    }
    Ok(())
}

/// Compares a length or count in the file with its limit.
///
/// # Errors
///
/// - `AboveLimit`: it is greater.
pub fn check_bound(
    structure: Structure,
    field: &'static str,
    stored: u64,
    bound: u64,
) -> Result<(), Defect> {
    if stored > bound {
        return Err(Defect::AboveLimit {
            structure,
            field,
            stored,
            bound,
        });
    }
    Ok(())
}

/// Compares a word of a text with those of this version of the format.
///
/// # Errors
///
/// - `UnknownWord`: it is another one.
pub fn check_word(
    structure: Structure,
    field: &'static str,
    stored: &str,
    words: &[&str],
) -> Result<(), Defect> {
    if words.contains(&stored) {
        return Ok(());
    }
    Err(Defect::UnknownWord {
        structure,
        field,
        stored: stored.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_past_the_end_says_how_much_is_missing() {
        let mut reader = ByteReader::new(&[1, 0, 2], Structure::Tail);
        assert_eq!(reader.u16(), Ok(1));
        let truncated = Defect::Truncated {
            structure: Structure::Tail,
            needed: 6,
            found: 3,
        };
        assert_eq!(reader.u32(), Err(truncated));
        assert_eq!(reader.u8(), Ok(2));
    }

    #[test]
    fn a_slice_with_hostile_bounds_is_refused() {
        for (start, len) in [(0, 4), (4, 0), (u64::MAX, 2), (1, u64::MAX)] {
            assert!(slice(&[0; 3], start, len, Structure::Toc).is_err());
        }
        assert_eq!(slice(&[1, 2, 3], 1, 2, Structure::Toc), Ok(&[2, 3][..]));
    }
}
