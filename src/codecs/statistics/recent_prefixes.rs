//! Tells the prefix of a key by those that came lately, without making its name.

use crate::codecs::statistics::key_prefix::{KEY_DELIMITERS, find_byte};

/// Some prefixes, by how their keys start. Most keys have one that came lately, and to
/// compare a key with it takes a third of what making and hashing its name does.
#[derive(Debug)]
pub(super) struct RecentPrefixes {
    slots: [Recent; Self::COUNT],
}

#[derive(Clone, Debug, Default)]
struct Recent {
    /// The prefix; empty while the slot is unused.
    name: Vec<u8>,
    hash: u64,
    /// Whether further delimiters in the key make no longer prefix.
    is_deepest: bool,
}

impl RecentPrefixes {
    const COUNT: usize = 16;

    pub(super) fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Recent::default()),
        }
    }

    /// Returns the hash of the prefix of a key, if it came lately.
    pub(super) fn find(&self, key: &[u8]) -> Option<u64> {
        let recent = self.slots.get(slot_of(key))?;
        recent.is_of(key).then_some(recent.hash)
    }

    /// Remembers the prefix of a key.
    pub(super) fn remember(&mut self, key: &[u8], name: &[u8], hash: u64, is_deepest: bool) {
        let is_delimiter = |byte: &&u8| Some(*byte) == name.last();
        let after_start = name.iter().find(|byte| !is_delimiter(byte));
        if name.first() == name.last() && after_start == Some(&b'#') {
            // A shorter number there would be a version, and stay.
            return;
        }
        if let Some(recent) = self.slots.get_mut(slot_of(key)) {
            recent.name.clear();
            recent.name.extend_from_slice(name);
            recent.hash = hash;
            recent.is_deepest = is_deepest;
        }
    }

    /// Forgets all, since some may be known no more.
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(|recent| recent.name.clear());
    }
}

impl Recent {
    /// Reports whether this is the prefix of a key; now and then not although it is.
    fn is_of(&self, key: &[u8]) -> bool {
        let mut at = 0_usize;
        for &byte in &self.name {
            let Some(&other) = key.get(at) else {
                return false;
            };
            at = at.wrapping_add(1);
            if byte == other {
                continue;
            }
            // A number: where other hexadecimal digits are near, more must be looked at.
            let before = at.checked_sub(2).and_then(|before| key.get(before));
            let is_number = byte == b'#' && other.is_ascii_digit();
            if !is_number || before.is_some_and(u8::is_ascii_hexdigit) {
                return false;
            }
            while key.get(at).is_some_and(u8::is_ascii_digit) {
                at = at.wrapping_add(1);
            }
            if key.get(at).is_some_and(u8::is_ascii_hexdigit) {
                return false;
            }
        }
        let (Some(&delimiter), Some(rest)) = (self.name.last(), key.get(at..)) else {
            return false;
        };
        let is_whole = match self.is_deepest {
            true => rest.first() != Some(&delimiter),
            false => find_byte(delimiter, rest).is_none(),
        };
        // An earlier delimiter would make another prefix.
        let mut earlier = KEY_DELIMITERS.bytes().take_while(|byte| *byte != delimiter);
        is_whole && !earlier.any(|byte| find_byte(byte, key).is_some())
    }
}

fn slot_of(key: &[u8]) -> usize {
    let start = key
        .first_chunk()
        .map_or(0, |start| u32::from_le_bytes(*start));
    // The highest four bits of the product, which all bits of the start change.
    usize::try_from(start.wrapping_mul(0x9e37_79b1) >> 28).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::statistics::key_prefix::{prefix_end, prefix_of, push_without_numbers};

    #[test]
    fn what_is_told_is_the_prefix_of_the_key() {
        const BYTES: &[u8] = b"::::__/-.0019afFgz#";
        let mut state = 9_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut recent = RecentPrefixes::new();
        let mut told = 0;
        for _ in 0..500_000 {
            let len = 1 + next(9);
            let key: Vec<u8> = (0..len).map(|_| BYTES[next(BYTES.len())]).collect();
            let prefix = prefix_of(&key, KEY_DELIMITERS.as_bytes(), 3);
            let mut name = Vec::new();
            if let Some((prefix, delimiter)) = prefix {
                push_without_numbers(&mut name, prefix, delimiter);
            }
            let hash = u64::from_le_bytes(std::array::from_fn(|at| {
                name.get(at).copied().unwrap_or_default()
            }));
            if let Some(found) = recent.find(&key) {
                assert!(prefix.is_some() && found == hash, "{}", key.escape_ascii());
                told += 1;
            }
            if let Some((prefix, delimiter)) = prefix
                && name.len() <= 8
            {
                let end = prefix_end(prefix, delimiter, 2);
                let is_deepest = end.is_some_and(|end| end < prefix.len());
                recent.remember(&key, &name, hash, is_deepest);
            }
        }
        assert!(told > 1000, "{told}");
        recent.clear();
        assert_eq!(recent.find(b"::"), None);
    }
}
