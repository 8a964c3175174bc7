//! Austin Appleby's Murmur functions.

use std::ops::Range;

use crate::codecs::ring::hash::words::{padded_word, padded_word_64, wrapped_len};
use crate::words::units::to_u64;

/// 32-bit MurmurHash2, seeded from the length as in libmemcached.
pub(super) fn murmur2(bytes: &[u8]) -> u32 {
    const MULTIPLIER: u32 = 0x5bd1_e995;
    let len = wrapped_len(bytes);
    let mut hash = length_seed(len) ^ len;
    let (words, tail) = bytes.as_chunks();
    for &word in words {
        let mut word = u32::from_le_bytes(word).wrapping_mul(MULTIPLIER);
        word ^= word >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ word.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        hash = (hash ^ padded_word(tail)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

/// 32-bit MurmurHash3 for x86, seeded from the length as in libmemcached.
pub(super) fn murmur3(bytes: &[u8]) -> u32 {
    murmur3_seeded(bytes, length_seed(wrapped_len(bytes)))
}

/// 32-bit MurmurHash3 for x86.
fn murmur3_seeded(bytes: &[u8], seed: u32) -> u32 {
    let (words, tail) = bytes.as_chunks();
    let words = words.iter().map(|&word| scramble(u32::from_le_bytes(word)));
    // An empty tail scrambles to 0, which changes nothing.
    let hash = words.fold(seed, mix) ^ scramble(padded_word(tail));
    finish(hash ^ wrapped_len(bytes))
}

fn scramble(word: u32) -> u32 {
    word.wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
}

fn mix(hash: u32, scrambled: u32) -> u32 {
    let hash = (hash ^ scrambled).rotate_left(13).wrapping_mul(5);
    hash.wrapping_add(0xe654_6b64)
}

fn finish(mut hash: u32) -> u32 {
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// The beginning of a hashed text, with MurmurHash3 (without a seed) already computed for
/// its whole words.
#[derive(Clone, Copy, Debug)]
pub(in crate::codecs::ring) struct Murmur3Start {
    hash: u32,
    /// The bytes after the last whole word, as a word.
    tail: u32,
    tail_len: usize,
    len: u32,
}

impl Murmur3Start {
    /// Hashes the whole words of a text.
    pub(in crate::codecs::ring) fn new(start: &[u8]) -> Self {
        let (words, tail) = start.as_chunks();
        let words = words.iter().map(|&word| scramble(u32::from_le_bytes(word)));
        Self {
            hash: words.fold(0, mix),
            tail: padded_word(tail),
            tail_len: tail.len(),
            len: wrapped_len(start),
        }
    }

    /// Returns the hash of this text followed by `end`.
    pub(in crate::codecs::ring) fn hash(&self, end: &Murmur3End) -> u32 {
        let shifted = &end.shifted[self.tail_len];
        // The word has bytes of both parts, in different places.
        let first = scramble(shifted.first | self.tail);
        let hash = match &shifted.rest {
            None => self.hash ^ first,
            Some((words, tail)) => {
                let words = end.scrambled[words.clone()].iter().copied();
                words.fold(mix(self.hash, first), mix) ^ tail
            }
        };
        finish(hash ^ self.len.wrapping_add(end.len))
    }
}

/// The end of a hashed text, cut into words for each position in a word at which it may
/// begin. When it is hashed after many beginnings, each hash takes only the last steps.
#[derive(Debug)]
pub(in crate::codecs::ring) struct Murmur3End {
    shifted: [Shifted; 4],
    scrambled: Vec<u32>,
    len: u32,
}

/// The words of a text that begins at a given byte of a word.
#[derive(Debug, Default)]
struct Shifted {
    /// The first word, unscrambled, since it also has bytes of the beginning.
    first: u32,
    /// If the first word is whole: the range of the whole words after it, and the rest,
    /// scrambled.
    rest: Option<(Range<usize>, u32)>,
}

impl Murmur3End {
    /// Cuts a text into words.
    pub(in crate::codecs::ring) fn new(text: &[u8]) -> Self {
        let mut scrambled = Vec::with_capacity(text.len() + 4);
        let shifted = std::array::from_fn(|shift| {
            let (head, rest) = text.split_at(text.len().min(4 - shift));
            let mut first = [0; 4];
            first[shift..shift + head.len()].copy_from_slice(head);
            let is_whole = shift + head.len() == 4;
            let (words, tail) = rest.as_chunks();
            let start = scrambled.len();
            scrambled.extend(words.iter().map(|&word| scramble(u32::from_le_bytes(word))));
            let words = start..scrambled.len();
            Shifted {
                first: u32::from_le_bytes(first),
                rest: is_whole.then(|| (words, scramble(padded_word(tail)))),
            }
        });
        Self {
            shifted,
            scrambled,
            len: wrapped_len(text),
        }
    }
}

/// The seed of libmemcached's Murmur functions, made from the length.
fn length_seed(len: u32) -> u32 {
    len.wrapping_mul(0xdead_beef)
}

/// `MurmurHash64A`, with which mcrouter hashes keys, tags and states.
pub(in crate::codecs::ring) fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = seed ^ to_u64(bytes.len()).wrapping_mul(MULTIPLIER);
    let (words, tail) = bytes.as_chunks();
    for &word in words {
        let mut word = u64::from_le_bytes(word).wrapping_mul(MULTIPLIER);
        word = (word ^ (word >> 47)).wrapping_mul(MULTIPLIER);
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        hash = (hash ^ padded_word_64(tail)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 47)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_of_two_parts_is_that_of_the_whole() {
        let text: Vec<u8> = (0..40_u8).map(|number| number.wrapping_mul(151)).collect();
        for whole in (0..=text.len()).map(|len| &text[..len]) {
            let hash = murmur3_seeded(whole, 0);
            for at in 0..=whole.len() {
                let (start, end) = whole.split_at(at);
                let parts = Murmur3Start::new(start).hash(&Murmur3End::new(end));
                assert_eq!(parts, hash, "{at} of {}", whole.len());
            }
        }
    }
}
