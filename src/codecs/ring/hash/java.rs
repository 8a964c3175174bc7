//! Strings as Java and JavaScript see them: UTF-16 units.

use std::borrow::Cow;

/// Returns the UTF-16 units of a key. Such a client never writes a key that is not UTF-8;
/// its malformed parts are read as U+FFFD, as Java reads them.
pub(super) fn utf16_units(bytes: &[u8]) -> Units<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Units::Ascii(text.bytes()),
        Ok(_) | Err(_) => Units::Other(units_of(String::from_utf8_lossy(bytes))),
    }
}

fn units_of(text: Cow<'_, str>) -> std::vec::IntoIter<u16> {
    let units: Vec<u16> = text.encode_utf16().collect();
    units.into_iter()
}

/// An iterator over UTF-16 units that allocates only for keys beyond ASCII.
pub(super) enum Units<'a> {
    Ascii(std::str::Bytes<'a>),
    Other(std::vec::IntoIter<u16>),
}

impl Iterator for Units<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        match self {
            Self::Ascii(bytes) => bytes.next().map(u16::from),
            Self::Other(units) => units.next(),
        }
    }
}

/// `String.hashCode`, with its 32 bits taken as unsigned.
pub(super) fn string_hash(bytes: &[u8]) -> u32 {
    utf16_units(bytes).fold(0_u32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(u32::from(unit))
    })
}
