//! The Fowler-Noll-Vo functions, and clients' variants of them.

use crate::codecs::ring::hash::char_sign::CharSign;
use crate::codecs::ring::hash::java::utf16_units;
use crate::codecs::ring::hash::words::low_half;

pub(super) const FNV_32_START: u32 = 0x811c_9dc5;
pub(super) const FNV_32_PRIME: u32 = 0x0100_0193;
pub(super) const FNV_64_START: u64 = 0xcbf2_9ce4_8422_2325;
pub(super) const FNV_64_PRIME: u64 = 0x0100_0000_01b3;

pub(super) fn fnv32(bytes: &[u8], sign: CharSign) -> u32 {
    bytes.iter().fold(FNV_32_START, |hash, &byte| {
        hash.wrapping_mul(FNV_32_PRIME) ^ sign.extend(byte)
    })
}

pub(super) fn fnv32a(bytes: &[u8], sign: CharSign) -> u32 {
    bytes.iter().fold(FNV_32_START, |hash, &byte| {
        (hash ^ sign.extend(byte)).wrapping_mul(FNV_32_PRIME)
    })
}

pub(super) fn fnv64(bytes: &[u8], sign: CharSign) -> u32 {
    let hash = bytes.iter().fold(FNV_64_START, |hash, &byte| {
        hash.wrapping_mul(FNV_64_PRIME) ^ sign.extend_64(byte)
    });
    low_half(hash)
}

/// The C source keeps the state in a `uint32_t`, which truncates the start value and the
/// prime to their low halves.
pub(super) fn fnv64a(bytes: &[u8], sign: CharSign) -> u32 {
    let prime = low_half(FNV_64_PRIME);
    bytes.iter().fold(low_half(FNV_64_START), |hash, &byte| {
        (hash ^ sign.extend(byte)).wrapping_mul(prime)
    })
}

/// spymemcached's `FNV1_32_HASH` and `FNV1_64_HASH`: the state is a Java `long`, each
/// UTF-16 unit is one step, and the low half is the result.
pub(super) fn java_fnv(bytes: &[u8], start: u64, prime: u64) -> u32 {
    low_half(utf16_units(bytes).fold(start, |hash, unit| {
        hash.wrapping_mul(prime) ^ u64::from(unit)
    }))
}

/// spymemcached's `FNV1A_32_HASH` and `FNV1A_64_HASH`.
pub(super) fn java_fnv_a(bytes: &[u8], start: u64, prime: u64) -> u32 {
    low_half(utf16_units(bytes).fold(start, |hash, unit| {
        (hash ^ u64::from(unit)).wrapping_mul(prime)
    }))
}

/// 32-bit FNV-1a over unsigned bytes, from a given state. Enyim's client hashes with an
/// object that it has not initialised, so its state is then 0.
pub(in crate::codecs::ring) fn fnv32a_from(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(FNV_32_PRIME)
    })
}
