//! What memcached holds: an item, its metadata, and a stored record of both.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::words::units::UnixSecs;

/// When an item expires.
///
/// The wire has three encodings of this (`exp=-1` in a walk, `0` in a storage command, a
/// TTL of -1 in a meta reply); internally there is only this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exptime {
    /// The item stays until it is deleted or evicted.
    Never,
    /// The item expires at this moment, on the clock of the host that dumped.
    At(UnixSecs),
}

/// A server's unique token for one version of an item (`cas unique`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cas(pub u64);

/// A server's slab class for an item, 1 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlabClass(pub u8);

/// One mark of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The item was read since it was stored (`fetch=yes`).
    Fetched,
    /// The item was marked stale (meta delete with `I`).
    Stale,
    /// A client holds the right to recache the item (`Z` in a meta reply).
    WinSent,
    /// The key was stored as base64 (meta flag `b`).
    KeyIsBinary,
    /// The value did not shrink when it was compressed.
    Incompressible,
}

impl Attribute {
    /// Every mark, in the order of the bits in FORMAT.md 5.6.
    pub const ALL: [Self; 5] = [
        Self::Fetched,
        Self::Stale,
        Self::WinSent,
        Self::KeyIsBinary,
        Self::Incompressible,
    ];

    /// Returns the name in FORMAT.md 5.6.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Stale => "stale",
            Self::WinSent => "win-sent",
            Self::KeyIsBinary => "key-is-binary",
            Self::Incompressible => "incompressible",
        }
    }

    const fn mask(self) -> u8 {
        match self {
            Self::Fetched => 1,
            Self::Stale => 1 << 1,
            Self::WinSent => 1 << 2,
            Self::KeyIsBinary => 1 << 3,
            Self::Incompressible => 1 << 4,
        }
    }
}

/// The marks of an item; each is set, not set, or not reported by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attributes {
    values: u8,
    known: u8,
}

impl Attributes {
    /// Bits that have a meaning.
    pub const MASK: u8 = 0b0001_1111;

    /// Reverses [`Attributes::to_bits`]; `None` if a bit has no meaning, or a mark is set
    /// that is not known.
    pub fn from_bits(values: u8, known: u8) -> Option<Self> {
        let legal = known & !Self::MASK == 0 && values & !known == 0;
        legal.then_some(Self { values, known })
    }

    /// Returns the values and the known bits; bit 0 is the first of [`Attribute::ALL`].
    pub fn to_bits(self) -> (u8, u8) {
        (self.values, self.known)
    }

    /// Sets a mark that the server reported.
    pub fn set(&mut self, attribute: Attribute, value: bool) {
        self.known |= attribute.mask();
        if value {
            self.values |= attribute.mask();
        } else {
            self.values &= !attribute.mask();
        }
    }

    /// Returns a mark; `None` if the server did not report it.
    pub fn get(self, attribute: Attribute) -> Option<bool> {
        let known = self.known & attribute.mask() != 0;
        known.then_some(self.values & attribute.mask() != 0)
    }

    /// Returns whether the mark is known and set.
    pub fn has(self, attribute: Attribute) -> bool {
        self.get(attribute) == Some(true)
    }
}

/// Everything that belongs to a key and a value. `None` means *not reported by the
/// server*, which is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemMeta {
    /// The client's opaque number; 32 bits on most servers, 64 on some.
    pub client_flags: Option<u64>,
    /// When the item expires.
    pub exptime: Option<Exptime>,
    /// When a client last read the item, on the clock of the host that dumped.
    pub last_access: Option<UnixSecs>,
    /// The server's token for this version.
    pub cas: Option<Cas>,
    /// The slab class.
    pub slab_class: Option<SlabClass>,
    /// Fetched, stale, win-sent, key-is-binary, incompressible.
    pub attributes: Attributes,
}

/// A stored item, borrowed from a decoded block or from a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// 1 to 250 bytes, any bytes.
    pub key: &'a [u8],
    /// The data block without its CRLF.
    pub value: &'a [u8],
    /// Everything else.
    pub meta: ItemMeta,
}

/// Longest key, in bytes; `KEY_MAX_LENGTH` in memcached.h.
pub const KEY_LEN_MAX: usize = 250;

/// Formats a key for people: printable ASCII is unchanged, any other byte is `\xNN`, a
/// backslash is doubled, and the result is cut at 64 bytes with `...`.
pub fn escape_key(key: &[u8]) -> String {
    const SHOWN_LEN_MAX: usize = 64;
    let mut text = escape_bytes(key.get(..SHOWN_LEN_MAX).unwrap_or(key));
    if key.len() > SHOWN_LEN_MAX {
        text.push_str("...");
    }
    text
}

/// Formats outside text for people: characters that move the cursor, start a line or
/// change the writing direction are escaped as `\xNN`; everything else is unchanged.
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    let is_control = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(letter, '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_control(letter) {
            escaped.push_str(&escape_bytes(letter.encode_utf8(&mut [0; 4]).as_bytes()));
        } else {
            escaped.push(letter);
        }
    }
    Cow::Owned(escaped)
}

/// Formats bytes for people like [`escape_key`], without cutting.
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

/// Parses what [`escape_bytes`] wrote. Other text stands for its UTF-8 bytes. Returns
/// `None` if a backslash is followed by neither a backslash nor `xNN`.
pub fn unescape_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            bytes.push(byte);
        } else if let Some(after) = after.strip_prefix(b"\\") {
            bytes.push(b'\\');
            rest = after;
        } else {
            let (digits, after) = after.strip_prefix(b"x")?.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            // `from_str_radix` would also accept a sign.
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_unknown_until_it_is_set() {
        let mut attributes = Attributes::default();
        assert_eq!(attributes.get(Attribute::Stale), None);
        attributes.set(Attribute::Stale, false);
        assert_eq!(attributes.get(Attribute::Stale), Some(false));
        attributes.set(Attribute::Stale, true);
        assert!(attributes.has(Attribute::Stale));
        assert_eq!(attributes.get(Attribute::Fetched), None);
    }

    #[test]
    fn a_set_mark_that_is_not_known_is_refused() {
        assert_eq!(Attributes::from_bits(0b10, 0b01), None);
        assert_eq!(Attributes::from_bits(0, 0b1000_0000), None);
        assert!(Attributes::from_bits(0b10, 0b11).is_some());
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape_bytes(&escape_bytes(&all)), Some(all));
        assert_eq!(
            unescape_bytes("\u{e9}\\xFF"),
            Some(b"\xc3\xa9\xff".to_vec())
        );
        for text in ["\\", "\\x", "\\x1", "\\x+1", "\\n", "\\xg0"] {
            assert_eq!(unescape_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn keys_are_escaped_and_cut() {
        assert_eq!(escape_key(b"a b\\\r\n\xff"), "a b\\\\\\x0d\\x0a\\xff");
        assert_eq!(escape_key(&[b'k'; 65]), format!("{}...", "k".repeat(64)));
    }
}
