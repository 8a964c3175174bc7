//! Austin Appleby's Murmur functions.

use crate::ring::hash::words::{padded_word, padded_word_64, wrapped_len};
use crate::units::to_u64;

/// MurmurHash2, 32 bits, seeded from the length as libmemcached has it.
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

/// MurmurHash3 for x86, 32 bits, seeded from the length as libmemcached has it.
pub(super) fn murmur3(bytes: &[u8]) -> u32 {
    murmur3_seeded(bytes, length_seed(wrapped_len(bytes)))
}

/// MurmurHash3 for x86, 32 bits.
pub(in crate::ring) fn murmur3_seeded(bytes: &[u8], seed: u32) -> u32 {
    let scramble = |word: u32| {
        word.wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let len = wrapped_len(bytes);
    let mut hash = seed;
    let (words, tail) = bytes.as_chunks();
    for &word in words {
        hash ^= scramble(u32::from_le_bytes(word));
        hash = hash.rotate_left(13).wrapping_mul(5);
        hash = hash.wrapping_add(0xe654_6b64);
    }
    // An empty tail scrambles to 0, which changes nothing.
    hash ^= scramble(padded_word(tail)) ^ len;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// Both Murmur functions of libmemcached are seeded from the length.
fn length_seed(len: u32) -> u32 {
    len.wrapping_mul(0xdead_beef)
}

/// `MurmurHash64A`, as mcrouter hashes keys, tags and states.
pub(in crate::ring) fn murmur64a(bytes: &[u8], seed: u64) -> u64 {
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
