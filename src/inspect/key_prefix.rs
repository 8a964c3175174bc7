//! What keys have in common: the words before the first delimiter.

use std::borrow::Cow;

use crate::inspect::capped_table::CappedTable;
use crate::inspect::tally::Tally;

/// Records by the start of their keys.
///
/// The prefix of `user:123:mail` is `user:`, up to the first delimiter and with
/// it; of several delimiters, the first in the list that the key has. Numbers
/// in it are written `#`, since `page1:`, `page2:` and so on are one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefixTable {
    delimiters: Vec<u8>,
    /// By the prefix.
    pub values: CappedTable<Vec<u8>>,
    /// Their keys have no delimiter.
    pub none: Tally,
}

impl KeyPrefixTable {
    /// Prefixes kept apart.
    pub const VALUE_COUNT_MAX: usize = 65_536;
    /// A colon, as memcached's own option `-D`; where a key has none, a slash,
    /// an underscore, a dash, a dot.
    pub const DELIMITERS: &'static str = ":/_-.";

    /// Makes an empty table; the first delimiter is tried first.
    pub fn new(delimiters: &[u8]) -> Self {
        Self {
            delimiters: delimiters.to_vec(),
            values: CappedTable::new(Self::VALUE_COUNT_MAX),
            none: Tally::default(),
        }
    }

    /// Adds a record.
    pub(super) fn add(&mut self, key: &[u8], tally: &Tally) {
        let mut places = self.delimiters.iter();
        let end = places.find_map(|delimiter| memchr::memchr(*delimiter, key));
        let Some(prefix) = end.and_then(|end| key.get(..=end)) else {
            self.none.merge(tally);
            return;
        };
        self.values.add(&*without_numbers(prefix), tally);
    }

    /// Adds the counts of another part, with the same delimiters.
    pub(super) fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.delimiters, other.delimiters);
        self.values.merge(other.values);
        self.none.merge(&other.none);
    }
}

/// Returns a prefix with `#` for each number: digits, or at least eight
/// hexadecimal digits of which one is no letter.
fn without_numbers(prefix: &[u8]) -> Cow<'_, [u8]> {
    const HEX_LEN_MIN: usize = 8;
    // Most prefixes are words, and need no copy.
    if !prefix.iter().any(u8::is_ascii_digit) {
        return Cow::Borrowed(prefix);
    }
    let mut kept = Vec::with_capacity(prefix.len());
    let mut rest = prefix;
    while let Some((first, after)) = rest.split_first() {
        let run_of = |is_part: fn(&u8) -> bool| {
            let len = rest.iter().take_while(|byte| is_part(byte)).count();
            rest.split_at(len)
        };
        let (hex, after_hex) = run_of(u8::is_ascii_hexdigit);
        let (digits, after_digits) = run_of(u8::is_ascii_digit);
        if hex.len() >= HEX_LEN_MIN && hex.iter().any(u8::is_ascii_digit) {
            kept.push(b'#');
            rest = after_hex;
        } else if !digits.is_empty() {
            kept.push(b'#');
            rest = after_digits;
        } else {
            kept.push(*first);
            rest = after;
        }
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Tally = Tally {
        records: 1,
        key_bytes: 1,
        value_bytes: 0,
    };

    #[test]
    fn keys_of_one_kind_have_one_prefix() {
        let mut table = KeyPrefixTable::new(KeyPrefixTable::DELIMITERS.as_bytes());
        for (key, wanted) in [
            ("user:123:mail", "user:"),
            ("user_profile:7", "user_profile:"),
            ("page/1/x_y", "page/"),
            ("view_12345", "view_"),
            ("a.b-c", "a.b-"),
            ("page17:x", "page#:"),
            ("v2.10:x", "v#.#:"),
            ("550e8400-e29b-41d4", "#-"),
            ("d41d8cd98f00b204:x", "#:"),
            // A word of hexadecimal letters is a word.
            ("deadbeef:x", "deadbeef:"),
            ("feed1:x", "feed#:"),
            (":x", ":"),
            ("\u{e9}:x", "\u{e9}:"),
        ] {
            let mut one = KeyPrefixTable::new(KeyPrefixTable::DELIMITERS.as_bytes());
            one.add(key.as_bytes(), &ONE);
            let found: Vec<_> = one.values.by_bytes();
            assert_eq!(found, [(&wanted.as_bytes().to_vec(), &ONE)], "{key}");
            table.merge(one);
        }
        table.add(b"plain", &ONE);
        assert_eq!(table.none, ONE);
        assert_eq!(table.values.by_bytes().len(), 13);
    }

    #[test]
    fn other_delimiters_make_other_prefixes() {
        let mut table = KeyPrefixTable::new(b"|");
        table.add(b"a:b|c", &ONE);
        table.add(b"a:b", &ONE);
        assert_eq!(table.values.by_bytes(), [(&b"a:b|".to_vec(), &ONE)]);
        assert_eq!(table.none, ONE);
    }
}
