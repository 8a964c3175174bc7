//! Paul Hsieh's SuperFastHash.

use crate::codecs::ring::hash::char_sign::CharSign;
use crate::codecs::ring::hash::words::padded_word;

pub(super) fn hsieh(bytes: &[u8], sign: CharSign) -> u32 {
    let mut hash = 0_u32;
    let (words, tail) = bytes.as_chunks();
    for &[a, b, c, d] in words {
        hash = hash.wrapping_add(padded_word(&[a, b]));
        hash = (hash << 16) ^ (padded_word(&[c, d]) << 11) ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    hash = hsieh_tail(hash, tail, sign);
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

/// Mixes in the tail, of which only the third byte is read as a plain `char`.
fn hsieh_tail(mut hash: u32, tail: &[u8], sign: CharSign) -> u32 {
    match *tail {
        [a, b, c] => {
            hash = hash.wrapping_add(padded_word(&[a, b]));
            hash ^= hash << 16;
            hash ^= sign.extend(c) << 18;
            hash.wrapping_add(hash >> 11)
        }
        [a, b] => {
            hash = hash.wrapping_add(padded_word(&[a, b]));
            hash ^= hash << 11;
            hash.wrapping_add(hash >> 17)
        }
        [a] => {
            hash = hash.wrapping_add(u32::from(a));
            hash ^= hash << 10;
            hash.wrapping_add(hash >> 1)
        }
        _ => hash,
    }
}
