//! The hash functions of libmemcached, bit for bit.
//!
//! They are part of where every item of a running cluster lies, so each keeps
//! the oddities of the C source: 32-bit arithmetic under a 64-bit name, seeds
//! made from the length, bytes read as signed `char`.

use md5::{Digest, Md5};

use crate::units::to_u64;

/// How the client's machine reads a byte of 0x80 and above as a C `char`.
///
/// The Jenkins one-at-a-time, FNV and Hsieh functions add plain `char`s, so
/// their results for keys that are not ASCII differ between machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CharSign {
    /// Negative, as on x86.
    #[default]
    Signed,
    /// 128 to 255, as on Linux for ARM.
    Unsigned,
}

impl CharSign {
    fn extend(self, byte: u8) -> u32 {
        match self {
            Self::Signed => i32::from(byte.cast_signed()).cast_unsigned(),
            Self::Unsigned => u32::from(byte),
        }
    }

    fn extend_64(self, byte: u8) -> u64 {
        match self {
            Self::Signed => i64::from(byte.cast_signed()).cast_unsigned(),
            Self::Unsigned => u64::from(byte),
        }
    }
}

/// A hash function from key to 32 bits, named as libmemcached's
/// `memcached_hash_t` names it unless the variant says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHash {
    /// `DEFAULT`: Jenkins one-at-a-time.
    #[default]
    OneAtATime,
    /// `MD5`: the first four bytes of the digest, little-endian.
    Md5,
    /// `CRC`: bits 16 to 30 of the IEEE CRC-32.
    Crc,
    /// `FNV1_32`.
    Fnv32,
    /// `FNV1A_32`.
    Fnv32a,
    /// `FNV1_64`: 64 bits of state, of which the low half counts.
    Fnv64,
    /// `FNV1A_64`: in spite of the name, 32 bits of state.
    Fnv64a,
    /// `MURMUR`: MurmurHash2. Releases up to 1.0.18 give this for `MURMUR3`,
    /// too.
    Murmur2,
    /// `MURMUR3`: MurmurHash3 for x86, 32 bits, as of release 1.1.0.
    Murmur3,
    /// `JENKINS`: lookup3's `hashlittle`.
    Jenkins,
    /// `HSIEH`: SuperFastHash, which most builds leave out.
    Hsieh,
}

impl KeyHash {
    /// Returns the hash of the bytes.
    pub fn hash(self, bytes: &[u8], sign: CharSign) -> u32 {
        match self {
            Self::OneAtATime => one_at_a_time(bytes, sign),
            Self::Md5 => md5_words(bytes)[0],
            Self::Crc => (crc32fast::hash(bytes) >> 16) & 0x7fff,
            Self::Fnv32 => fnv32(bytes, sign),
            Self::Fnv32a => fnv32a(bytes, sign),
            Self::Fnv64 => fnv64(bytes, sign),
            Self::Fnv64a => fnv64a(bytes, sign),
            Self::Murmur2 => murmur2(bytes),
            Self::Murmur3 => murmur3(bytes),
            Self::Jenkins => jenkins(bytes),
            Self::Hsieh => hsieh(bytes, sign),
        }
    }
}

/// Returns the MD5 digest as four little-endian words: four points of a ring.
pub(super) fn md5_words(bytes: &[u8]) -> [u32; 4] {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    let (words, _) = digest.as_chunks();
    std::array::from_fn(|index| u32::from_le_bytes(words[index]))
}

fn one_at_a_time(bytes: &[u8], sign: CharSign) -> u32 {
    let mut hash = 0_u32;
    for &byte in bytes {
        hash = hash.wrapping_add(sign.extend(byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

const FNV_32_START: u32 = 0x811c_9dc5;
const FNV_32_PRIME: u32 = 0x0100_0193;
const FNV_64_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_64_PRIME: u64 = 0x0100_0000_01b3;

fn fnv32(bytes: &[u8], sign: CharSign) -> u32 {
    bytes.iter().fold(FNV_32_START, |hash, &byte| {
        hash.wrapping_mul(FNV_32_PRIME) ^ sign.extend(byte)
    })
}

fn fnv32a(bytes: &[u8], sign: CharSign) -> u32 {
    bytes.iter().fold(FNV_32_START, |hash, &byte| {
        (hash ^ sign.extend(byte)).wrapping_mul(FNV_32_PRIME)
    })
}

fn fnv64(bytes: &[u8], sign: CharSign) -> u32 {
    let hash = bytes.iter().fold(FNV_64_START, |hash, &byte| {
        hash.wrapping_mul(FNV_64_PRIME) ^ sign.extend_64(byte)
    });
    low_half(hash)
}

/// The C source keeps the state in a `uint32_t`, which cuts the start value
/// and the prime to their low halves.
fn fnv64a(bytes: &[u8], sign: CharSign) -> u32 {
    let prime = low_half(FNV_64_PRIME);
    bytes.iter().fold(low_half(FNV_64_START), |hash, &byte| {
        (hash ^ sign.extend(byte)).wrapping_mul(prime)
    })
}

fn low_half(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn murmur2(bytes: &[u8]) -> u32 {
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

fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |word: u32| {
        word.wrapping_mul(0xcc9e_2d51)
            .rotate_left(15)
            .wrapping_mul(0x1b87_3593)
    };
    let len = wrapped_len(bytes);
    let mut hash = length_seed(len);
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

fn jenkins(bytes: &[u8]) -> u32 {
    const BLOCK_LEN: usize = 12;
    /// `JENKINS_INITVAL` in libmemcached's jenkins.cc.
    const START: u32 = 13;
    let start = wrapped_len(bytes)
        .wrapping_add(0xdead_beef)
        .wrapping_add(START);
    let mut state = [start; 3];
    let mut rest = bytes;
    // The last block, full or not, is mixed differently.
    while let Some((block, more)) = rest.split_at_checked(BLOCK_LEN)
        && !more.is_empty()
    {
        add_block(&mut state, block);
        jenkins_mix(&mut state);
        rest = more;
    }
    if !rest.is_empty() {
        add_block(&mut state, rest);
        jenkins_finish(&mut state);
    }
    state[2]
}

fn add_block(state: &mut [u32; 3], block: &[u8]) {
    for (word, chunk) in state.iter_mut().zip(block.chunks(4)) {
        *word = word.wrapping_add(padded_word(chunk));
    }
}

fn jenkins_mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    *state = [a, b, c];
}

fn jenkins_finish(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    *state = [a, b, c];
}

fn hsieh(bytes: &[u8], sign: CharSign) -> u32 {
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

/// Of the tail, only the third byte is read as a plain `char`.
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

/// Reads up to four bytes as a little-endian word; missing ones are 0.
fn padded_word(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    for (to, &from) in word.iter_mut().zip(bytes) {
        *to = from;
    }
    u32::from_le_bytes(word)
}

/// Returns the length as the C source holds it, in 32 bits.
fn wrapped_len(bytes: &[u8]) -> u32 {
    low_half(to_u64(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(KeyHash, u32); 11] = [
        (KeyHash::OneAtATime, 2_297_466_611),
        (KeyHash::Md5, 3_195_025_439),
        (KeyHash::Crc, 10_542),
        (KeyHash::Fnv32, 67_176_023),
        (KeyHash::Fnv32a, 280_767_167),
        (KeyHash::Fnv64, 473_199_127),
        (KeyHash::Fnv64a, 1_488_911_807),
        (KeyHash::Murmur2, 4_142_305_122),
        (KeyHash::Murmur3, 1_120_212_521),
        (KeyHash::Jenkins, 1_442_444_624),
        (KeyHash::Hsieh, 3_738_850_110),
    ];

    #[test]
    fn every_function_gives_its_check_word_for_apple_whatever_the_char() {
        for (function, check_word) in ALL {
            for sign in [CharSign::Signed, CharSign::Unsigned] {
                let hash = function.hash(b"apple", sign);
                assert_eq!(hash, check_word, "{function:?} {sign:?}");
            }
        }
    }

    #[test]
    fn bytes_above_127_are_negative_where_char_is_signed() {
        let key = "na\u{ef}ve:\u{e9}".as_bytes();
        let hash = |function: KeyHash, sign| function.hash(key, sign);
        let signed = CharSign::Signed;
        assert_eq!(hash(KeyHash::OneAtATime, signed), 1_828_917_219);
        assert_eq!(hash(KeyHash::Fnv64a, signed), 1_833_069_323);
        assert_eq!(hash(KeyHash::Md5, signed), 3_430_152_131);
    }

    #[test]
    fn only_functions_that_read_plain_char_depend_on_its_sign() {
        // Eleven bytes: Hsieh's tail is then three bytes long.
        let key = "caf\u{e9}/n\u{ef}\u{e9}".as_bytes();
        assert_eq!(key.len(), 11);
        for (function, _) in ALL {
            let differs =
                function.hash(key, CharSign::Signed) != function.hash(key, CharSign::Unsigned);
            let reads_char = matches!(
                function,
                KeyHash::OneAtATime
                    | KeyHash::Fnv32
                    | KeyHash::Fnv32a
                    | KeyHash::Fnv64
                    | KeyHash::Fnv64a
                    | KeyHash::Hsieh
            );
            assert_eq!(differs, reads_char, "{function:?}");
        }
    }

    #[test]
    fn nothing_to_hash_gives_the_start_value() {
        let hash = |function: KeyHash| function.hash(b"", CharSign::Signed);
        assert_eq!(hash(KeyHash::OneAtATime), 0);
        assert_eq!(hash(KeyHash::Fnv32), FNV_32_START);
        assert_eq!(hash(KeyHash::Jenkins), 0xdead_beef + 13);
        assert_eq!(hash(KeyHash::Hsieh), 0);
    }
}
