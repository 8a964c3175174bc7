//! What is stored: keys of all lengths and of every kind that a client takes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::client::Item;

/// Bytes that a client takes in keys. None has spaces or control characters, which
/// no text command carries, nor `$`, which node-memcached garbles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    Ascii,
    /// ASCII, and UTF-8 of two to four bytes a letter.
    Text,
    /// All that, and bytes that are no text.
    Bytes,
    /// Names of PHP's sessions.
    Ids,
}

const LENGTH_MAX: usize = 200;

/// Keys of each length; the last letter tells them apart.
const EACH: usize = 15;

/// Keys whose CRC-32 has nothing in the 15 bits that many clients look at:
/// python-memcached 1.59 places them elsewhere than later versions.
const ZERO_CRC_COUNT: usize = 20;

const ID_LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,-";

const LETTERS: &[u8] =
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-@#%+=|&~!?*,;'\"\\`^()[]{}<>";

/// Of two, three and four bytes; those of four are two units of UTF-16.
const WIDE_LETTERS: [char; 9] = ['é', 'ß', 'ÿ', 'я', 'خ', 'ア', '語', '한', '😀'];

/// The same items in every run: about 3,000, the key of each with this prefix.
pub(crate) fn items(keys: Keys, prefix: &str) -> Vec<Item> {
    let mut random = Random(0x6d63_736e_6170);
    let mut all = BTreeSet::new();
    for length in 1..=LENGTH_MAX {
        for (number, last) in LETTERS.iter().take(EACH).enumerate() {
            let mut key = match (keys, number % 3) {
                (Keys::Text | Keys::Bytes, 1) => random.text(length - 1),
                (Keys::Bytes, 2) => random.bytes(length - 1),
                (Keys::Ascii | Keys::Text | Keys::Bytes, _) => random.of(LETTERS, length - 1),
                (Keys::Ids, _) => random.of(ID_LETTERS, length - 1),
            };
            key.push(*last);
            all.insert(key);
        }
    }
    let zeros = (0_u32..)
        .map(|number| format!("zero-{number}").into_bytes())
        .filter(|key| (crc32fast::hash(key) >> 16) & 0x7fff == 0);
    all.extend(zeros.take(ZERO_CRC_COUNT));
    all.into_iter().map(|key| item(prefix, &key)).collect()
}

fn item(prefix: &str, key: &[u8]) -> Item {
    let key = [prefix.as_bytes(), key].concat();
    let mut value = key.clone();
    value.extend_from_slice(format!(":{:016x}", xxh3_64(&key)).as_bytes());
    Item::new(key, value)
}

/// Writes the file that agents read.
pub(crate) fn write_items(items: &[Item], path: &Path) {
    let mut text = Vec::new();
    for item in items {
        text.extend_from_slice(&item.key);
        text.push(b'\t');
        text.extend_from_slice(&item.value);
        text.push(b'\n');
    }
    fs::write(path, text).unwrap();
}

/// A linear congruential generator: any will do, if it is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn of(&mut self, letters: &[u8], length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| letters[self.below(letters.len())])
            .collect()
    }

    /// Every second letter is a wide one, while there is room.
    fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::new();
        let mut buffer = [0; 4];
        while text.len() < length {
            let wide = WIDE_LETTERS[self.below(WIDE_LETTERS.len())];
            if text.len() + wide.len_utf8() <= length {
                text.extend_from_slice(wide.encode_utf8(&mut buffer).as_bytes());
            }
            if text.len() < length {
                text.extend(self.of(LETTERS, 1));
            }
        }
        text
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| u8::try_from(0x80 + self.below(0x80)).unwrap())
            .collect()
    }
}

#[test]
fn keys_are_of_their_kind_and_of_every_length() {
    for keys in [Keys::Ascii, Keys::Text, Keys::Bytes, Keys::Ids] {
        let items = items(keys, "");
        assert_eq!(items.len(), LENGTH_MAX * EACH + ZERO_CRC_COUNT);
        let lengths: BTreeSet<_> = items.iter().map(|item| item.key.len()).collect();
        assert_eq!(lengths, (1..=LENGTH_MAX).collect());
        let all_are = |is: fn(&[u8]) -> bool| items.iter().all(|item| is(&item.key));
        assert_eq!(
            all_are(<[u8]>::is_ascii),
            matches!(keys, Keys::Ascii | Keys::Ids)
        );
        assert_eq!(
            all_are(|key| str::from_utf8(key).is_ok()),
            keys != Keys::Bytes
        );
        assert!(all_are(|key| key
            .iter()
            .all(|byte| *byte > b' ' && *byte != 0x7f)));
    }
}
