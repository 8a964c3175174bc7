//! Cyclic redundancy checks, and the parts of them that clients use.

/// twemproxy's `crc16`: the CCITT polynomial, but in 32 bits that are never masked.
pub(super) fn crc16(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0_u32, |hash, &byte| {
        let [high_of_16, ..] = (hash >> 8).to_le_bytes();
        (hash << 8) ^ ccitt(high_of_16 ^ byte)
    })
}

/// One entry of the CCITT table, polynomial 0x1021.
fn ccitt(index: u8) -> u32 {
    let mut word = u16::from(index) << 8;
    for _ in 0..8 {
        let carry = word & 0x8000 != 0;
        word = (word << 1) ^ if carry { 0x1021 } else { 0 };
    }
    word.into()
}

/// Bits 16 to 30 of the IEEE CRC-32.
pub(super) fn crc15(bytes: &[u8]) -> u32 {
    (crc32fast::hash(bytes) >> 16) & 0x7fff
}
