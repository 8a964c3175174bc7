//! The hash functions of clients and proxies, bit for bit.
//!
//! The hashes decide where every item of a running cluster is stored, so each function
//! keeps the oddities of its source: 32-bit arithmetic under a 64-bit name, seeds made
//! from the length, bytes read as signed `char`, strings read as UTF-16.

mod char_sign;
mod crc;
mod fnv;
mod hsieh;
mod java;
mod jenkins;
mod murmur;
mod spooky;
mod words;

use xxhash_rust::xxh3::xxh3_64_with_seed;
use xxhash_rust::xxh64::xxh64;

pub use char_sign::CharSign;
pub(super) use fnv::fnv32a_from;
pub(super) use murmur::{Murmur3End, Murmur3Start, murmur64a};
pub(super) use spooky::spooky32;
pub(super) use words::{low_half, md5_number, md5_words, sha1_word, sha384_words};

/// The state of 32-bit FNV-1a before the first byte.
pub(super) const FNV_START: u32 = fnv::FNV_32_START;

/// A hash function from a key to a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyHash {
    /// Jenkins one-at-a-time: libmemcached's `DEFAULT`.
    #[default]
    OneAtATime,
    /// The first four bytes of the MD5 digest, little-endian.
    Md5,
    /// Bits 16 to 30 of the IEEE CRC-32: libmemcached's `CRC`, twemproxy's
    /// `crc32`, python-memcached since 1.60.
    Crc,
    /// Like `Crc`, but 1 instead of 0: python-memcached up to 1.59, PHP's memcache.
    CrcOrOne,
    /// The full IEEE CRC-32: twemproxy's `crc32a`, gomemcache, Dalli.
    Crc32,
    /// The IEEE CRC-32 without its highest bit: mcrouter.
    Crc31,
    /// twemproxy's `crc16`, which has 32 bits.
    Crc16,
    /// 32-bit FNV-1.
    Fnv32,
    /// 32-bit FNV-1a.
    Fnv32a,
    /// Bits 16 to 30 of FNV-1a, but 1 instead of 0: PHP's memcache.
    Fnv15OrOne,
    /// FNV-1 with 64 bits of state, of which the low half is the result.
    Fnv64,
    /// `fnv1a_64` of libmemcached and twemproxy, which despite its name has 32 bits of
    /// state.
    Fnv64a,
    /// MurmurHash2, seeded from the length: libmemcached's `MURMUR`. Its releases up to
    /// 1.0.18 use this for `MURMUR3`, too.
    Murmur2,
    /// MurmurHash3 for x86, seeded from the length: `MURMUR3` since libmemcached 1.1.0.
    Murmur3,
    /// lookup3's `hashlittle`: libmemcached's `JENKINS`.
    Jenkins,
    /// SuperFastHash, which most builds of libmemcached leave out.
    Hsieh,
    /// The first four bytes of the SHA-384 digest, little-endian: ElastiCache's Java
    /// client since 1.2.0.
    Sha384,
    /// Java's `String.hashCode`, as an unsigned number.
    JavaString,
    /// Bits 16 to 30 of Java's `String.hashCode`: xmemcached in its PHP mode.
    JavaString15,
    /// 0 for every key: xmemcached in its PHP mode with `CRC32_HASH`, which keeps bits
    /// that do not exist.
    Zero,
    /// The absolute value of Java's `String.hashCode`: memjs.
    JavaStringAbsolute,
    /// spymemcached's `FNV1_32_HASH`, over UTF-16 units.
    JavaFnv32,
    /// spymemcached's `FNV1A_32_HASH`, over UTF-16 units.
    JavaFnv32a,
    /// spymemcached's `FNV1_64_HASH`, over UTF-16 units.
    JavaFnv64,
    /// spymemcached's `FNV1A_64_HASH`, over UTF-16 units.
    JavaFnv64a,
    /// FNV-1a that starts from 0, because Enyim never sets the state.
    EnyimFnv32a,
    /// FNV-1a over unsigned bytes: the Core fork of Enyim.
    BytesFnv32a,
    /// 64-bit XXH3: memcached's built-in proxy.
    Xxh3 {
        /// The seed of the hash.
        seed: u64,
    },
    /// XXH64 without a seed: dskit, which Grafana's programs use.
    Xxh64,
}

impl KeyHash {
    /// Every function with its name in a ring's text. `xxh3` gets its seed from a
    /// separate part.
    pub const NAMES: [(&'static str, Self); 28] = [
        ("one-at-a-time", Self::OneAtATime),
        ("md5", Self::Md5),
        ("crc", Self::Crc),
        ("crc-or-one", Self::CrcOrOne),
        ("crc32-whole", Self::Crc32),
        ("crc31", Self::Crc31),
        ("crc16", Self::Crc16),
        ("fnv1-32", Self::Fnv32),
        ("fnv1a-32", Self::Fnv32a),
        ("fnv1a-15-or-one", Self::Fnv15OrOne),
        ("fnv1-64", Self::Fnv64),
        ("fnv1a-64", Self::Fnv64a),
        ("murmur2", Self::Murmur2),
        ("murmur3", Self::Murmur3),
        ("jenkins", Self::Jenkins),
        ("hsieh", Self::Hsieh),
        ("sha384", Self::Sha384),
        ("java", Self::JavaString),
        ("java-15", Self::JavaString15),
        ("zero", Self::Zero),
        ("java-absolute", Self::JavaStringAbsolute),
        ("java-fnv1-32", Self::JavaFnv32),
        ("java-fnv1a-32", Self::JavaFnv32a),
        ("java-fnv1-64", Self::JavaFnv64),
        ("java-fnv1a-64", Self::JavaFnv64a),
        ("enyim-fnv1a-32", Self::EnyimFnv32a),
        ("bytes-fnv1a-32", Self::BytesFnv32a),
        ("xxh64", Self::Xxh64),
    ];

    /// Returns the function with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "xxh3" {
            return Some(Self::Xxh3 { seed: 0 });
        }
        let mut names = Self::NAMES.into_iter();
        names.find_map(|(known, function)| (known == name).then_some(function))
    }

    /// Returns the name of the function.
    pub fn name(self) -> &'static str {
        if let Self::Xxh3 { .. } = self {
            return "xxh3";
        }
        let mut names = Self::NAMES.into_iter();
        let found = names.find_map(|(name, known)| (known == self).then_some(name));
        found.unwrap_or_default()
    }

    /// Returns whether it hashes the UTF-16 units of a text.
    pub(super) fn is_of_text(self) -> bool {
        matches!(
            self,
            Self::JavaString
                | Self::JavaString15
                | Self::JavaStringAbsolute
                | Self::JavaFnv32
                | Self::JavaFnv32a
                | Self::JavaFnv64
                | Self::JavaFnv64a
        )
    }

    /// Returns the hash of the bytes in 32 bits; of a wider hash, the low ones.
    pub fn hash(self, bytes: &[u8], sign: CharSign) -> u32 {
        match self {
            Self::OneAtATime => jenkins::one_at_a_time(bytes, sign),
            Self::Md5 => md5_words(bytes)[0],
            Self::Crc => crc::crc15(bytes),
            Self::CrcOrOne => crc::crc15(bytes).max(1),
            Self::Crc32 => crc32fast::hash(bytes),
            Self::Crc31 => crc32fast::hash(bytes) & 0x7fff_ffff,
            Self::Crc16 => crc::crc16(bytes),
            Self::Fnv32 => fnv::fnv32(bytes, sign),
            Self::Fnv32a => fnv::fnv32a(bytes, sign),
            Self::Fnv15OrOne => ((fnv::fnv32a(bytes, sign) >> 16) & 0x7fff).max(1),
            Self::Fnv64 => fnv::fnv64(bytes, sign),
            Self::Fnv64a => fnv::fnv64a(bytes, sign),
            Self::Murmur2 => murmur::murmur2(bytes),
            Self::Murmur3 => murmur::murmur3(bytes),
            Self::Jenkins => jenkins::jenkins(bytes),
            Self::Hsieh => hsieh::hsieh(bytes, sign),
            Self::Sha384 => sha384_words(bytes)[0],
            Self::JavaString => java::string_hash(bytes),
            Self::JavaString15 => (java::string_hash(bytes) >> 16) & 0x7fff,
            Self::Zero => 0,
            Self::JavaStringAbsolute => java::string_hash(bytes).cast_signed().unsigned_abs(),
            Self::JavaFnv32 => fnv::java_fnv(bytes, FNV_START.into(), fnv::FNV_32_PRIME.into()),
            Self::JavaFnv32a => fnv::java_fnv_a(bytes, FNV_START.into(), fnv::FNV_32_PRIME.into()),
            Self::JavaFnv64 => fnv::java_fnv(bytes, fnv::FNV_64_START, fnv::FNV_64_PRIME),
            Self::JavaFnv64a => fnv::java_fnv_a(bytes, fnv::FNV_64_START, fnv::FNV_64_PRIME),
            Self::EnyimFnv32a => fnv32a_from(0, bytes),
            Self::BytesFnv32a => fnv32a_from(FNV_START, bytes),
            Self::Xxh3 { .. } | Self::Xxh64 => low_half(self.hash_wide(bytes, sign)),
        }
    }

    /// Returns the hash in 64 bits, as a jump hash takes it.
    pub fn hash_wide(self, bytes: &[u8], sign: CharSign) -> u64 {
        if let Self::Xxh3 { seed } = self {
            xxh3_64_with_seed(bytes, seed)
        } else if self == Self::Xxh64 {
            xxh64(bytes, 0)
        } else {
            self.hash(bytes, sign).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(KeyHash, u32); 13] = [
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
        (KeyHash::Crc32, 2_838_417_488),
        (KeyHash::Crc16, 3_662_830_516),
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
        // Eleven bytes, so that Hsieh's tail is three bytes long.
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
        assert_eq!(hash(KeyHash::Fnv32), fnv::FNV_32_START);
        assert_eq!(hash(KeyHash::Jenkins), 0xdead_beef + 13);
        assert_eq!(hash(KeyHash::Hsieh), 0);
    }

    #[test]
    fn functions_of_64_bits_give_their_check_word_for_apple() {
        let wide = |function: KeyHash| function.hash_wide(b"apple", CharSign::Signed);
        assert_eq!(wide(KeyHash::Xxh3 { seed: 0 }), 0x517a_430d_cf1f_8a00);
        assert_eq!(wide(KeyHash::Xxh64), 0x5889_a1c1_5c94_729f);
        assert_eq!(murmur64a(b"apple", 4_193_360_111), 0xadd4_f344_8abd_bd45);
    }

    #[test]
    fn java_hashes_units_of_utf_16() {
        let hash = |text: &str| KeyHash::JavaString.hash(text.as_bytes(), CharSign::Signed);
        assert_eq!(hash("apple"), 93_029_210);
        // "polygenelubricants" hashes to the least int.
        assert_eq!(hash("polygenelubricants"), 0x8000_0000);
        let absolute = KeyHash::JavaStringAbsolute;
        assert_eq!(
            absolute.hash(b"polygenelubricants", CharSign::Signed),
            0x8000_0000
        );
        assert_eq!(hash("\u{1f525}"), 0xd83d * 31 + 0xdd25);
    }

    #[test]
    fn every_name_of_a_function_is_read_back() {
        for (name, function) in KeyHash::NAMES {
            assert_eq!(KeyHash::from_name(name), Some(function));
            assert_eq!(function.name(), name);
        }
        assert_eq!(KeyHash::from_name("crc64"), None);
    }
}
