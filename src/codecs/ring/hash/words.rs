//! Bytes and digests as words, the way C sources read them.

use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha384;

use crate::words::units::to_u64;

/// Reads up to four bytes as a little-endian word; missing ones are 0.
pub(super) fn padded_word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    for (to, &from) in word.iter_mut().zip(bytes) {
        *to = from;
    }
    u32::from_le_bytes(word)
}

/// Reads up to eight bytes as a little-endian word; missing ones are 0.
pub(super) fn padded_word_64(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (to, &from) in word.iter_mut().zip(bytes) {
        *to = from;
    }
    u64::from_le_bytes(word)
}

/// Returns the length truncated to 32 bits, as a C source holds it.
pub(super) fn wrapped_len(bytes: &[u8]) -> u32 {
    low_half(to_u64(bytes.len()))
}

pub(in crate::codecs::ring) fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Returns the MD5 digest as one big-endian number, the value of Python's `hexdigest`.
pub(in crate::codecs::ring) fn md5_number(bytes: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(bytes).into())
}

/// Returns the MD5 digest as four little-endian words, which are four points of a ring.
pub(in crate::codecs::ring) fn md5_words(bytes: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    first_words(&digest)
}

/// Returns the first four of the twelve little-endian words of a SHA-384 digest.
pub(in crate::codecs::ring) fn sha384_words(bytes: &[u8]) -> [u32; 4] {
    let digest: [u8; 48] = Sha384::digest(bytes).into();
    first_words(&digest)
}

/// Returns the first four bytes of the SHA-1 digest, big-endian.
pub(in crate::codecs::ring) fn sha1_word(bytes: &[u8]) -> u32 {
    let digest: [u8; 20] = Sha1::digest(bytes).into();
    let [a, b, c, d, ..] = digest;
    u32::from_be_bytes([a, b, c, d])
}

fn first_words(digest: &[u8]) -> [u32; 4] {
    let mut words = digest.chunks(4).map(padded_word);
    std::array::from_fn(|_| words.next().unwrap_or_default())
}
