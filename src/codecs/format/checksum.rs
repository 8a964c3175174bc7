//! Checksums, hashes and digests. FORMAT.md section 6.

use std::fmt;

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3;

use crate::codecs::format::ids::{SegmentId, to_hex};
use crate::words::defect::{Defect, Structure};
use crate::words::item::{Exptime, ItemMeta};

/// Seed of the value hash and of the shard hash.
pub const HASH_SEED: u64 = 0;

/// Returns the CRC32 of some bytes.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Returns the CRC32 of the segment's id followed by the parts in order.
pub fn seeded_crc32(segment: SegmentId, parts: &[&[u8]]) -> u32 {
    seeded_crc32_of(segment.0, parts)
}

/// Returns the CRC32 of an id followed by the parts in order.
pub fn seeded_crc32_of(id: [u8; 16], parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Compares a checksum in the file with the one of the bytes.
///
/// # Errors
///
/// - `ChecksumMismatch`: they differ.
pub fn check_crc(structure: Structure, stored: u32, computed: u32) -> Result<(), Defect> {
    if stored != computed {
        return Err(Defect::ChecksumMismatch {
            structure,
            stored,
            computed,
        });
    }
    Ok(())
}

/// Returns the hash that a record stores for its value: XXH3-64.
pub fn value_hash(value: &[u8]) -> u64 {
    xxh3::xxh3_64_with_seed(value, HASH_SEED)
}

/// Computes the same hash for a value that comes piece by piece.
#[derive(Clone, Default)]
pub struct ValueHasher(xxh3::Xxh3);

impl fmt::Debug for ValueHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueHasher").finish_non_exhaustive()
    }
}

impl ValueHasher {
    /// Adds the next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the hash of all bytes so far.
    pub fn finish(&self) -> u64 {
        self.0.digest()
    }
}

/// Returns the shard of a key, from 0 to `2^shard_bits - 1`.
pub fn shard_of(key: &[u8], shard_bits: u8) -> u64 {
    let hash = xxh3::xxh3_64_with_seed(key, HASH_SEED);
    // A shift by 64 would overflow. Zero bits mean one shard.
    hash.checked_shr(64_u32.saturating_sub(u32::from(shard_bits)))
        .unwrap_or(0)
}

/// Returns the hash by which the key index locates a key.
pub fn index_hash(key: &[u8], seed: u64) -> u128 {
    xxh3::xxh3_128_with_seed(key, seed)
}

/// Digests of the content of a set of records, in any order: equal sets have equal
/// digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentDigests {
    /// Digest of keys, client flags and values.
    pub content: u128,
    /// Digest of keys, client flags, values and exptimes.
    pub content_exptime: u128,
}

impl ContentDigests {
    /// Adds one record. `scratch` is overwritten; reusing it saves an allocation per
    /// record.
    pub fn add(&mut self, key: &[u8], meta: &ItemMeta, value_hash: u64, scratch: &mut Vec<u8>) {
        const FLAGS_KNOWN: u8 = 1;
        const EXPTIME_KNOWN: u8 = 2;
        let known = if meta.client_flags.is_some() {
            FLAGS_KNOWN
        } else {
            0
        };
        scratch.clear();
        scratch.extend_from_slice(key);
        scratch.push(known);
        scratch.extend_from_slice(&meta.client_flags.unwrap_or(0).to_le_bytes());
        scratch.extend_from_slice(&value_hash.to_le_bytes());
        self.content = self
            .content
            .wrapping_add(xxh3::xxh3_128_with_seed(scratch, HASH_SEED));

        let exptime_known = if meta.exptime.is_some() {
            EXPTIME_KNOWN
        } else {
            0
        };
        if let Some(byte) = scratch.get_mut(key.len()) {
            *byte = known | exptime_known;
        }
        let exptime = meta.exptime.map_or(0, exptime_to_raw);
        scratch.extend_from_slice(&exptime.to_le_bytes());
        self.content_exptime = self
            .content_exptime
            .wrapping_add(xxh3::xxh3_128_with_seed(scratch, HASH_SEED));
    }

    /// Adds the records of another set.
    pub fn merge(&mut self, other: &Self) {
        self.content = self.content.wrapping_add(other.content);
        self.content_exptime = self.content_exptime.wrapping_add(other.content_exptime);
    }
}

/// The value of an exptime field that means *never*. FORMAT.md 5.6.
pub const EXPTIME_NEVER: u64 = u64::MAX;

/// Returns the number that represents an exptime in a file.
pub fn exptime_to_raw(exptime: Exptime) -> u64 {
    match exptime {
        Exptime::Never => EXPTIME_NEVER,
        Exptime::At(at) => at.0,
    }
}

/// The digest of a segment. It covers every header and checksum in the segment, and so,
/// indirectly, every byte, at almost no cost.
#[derive(Clone, Debug, Default)]
pub struct SegmentDigest(Sha256);

impl SegmentDigest {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that the digest covers.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest as `sha256:` and 64 hexadecimal digits.
    pub fn finish(self) -> String {
        format!("sha256:{}", to_hex(&self.0.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::units::UnixSecs;

    #[test]
    fn the_hashes_are_the_published_ones() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        // XXH3-64 of "apple", seed 0.
        assert_eq!(value_hash(b"apple"), 0x517a_430d_cf1f_8a00);
    }

    #[test]
    fn a_value_in_pieces_has_the_hash_of_the_whole() {
        let value: Vec<u8> = (0..5000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for piece_len in [1, 7, 240, 256, 1024, 5000] {
            let mut hasher = ValueHasher::default();
            for piece in value.chunks(piece_len) {
                hasher.update(piece);
            }
            assert_eq!(hasher.finish(), value_hash(&value), "pieces of {piece_len}");
        }
        assert_eq!(ValueHasher::default().finish(), value_hash(b""));
    }

    #[test]
    fn a_shard_is_the_top_bits_of_the_hash() {
        assert_eq!(shard_of(b"apple", 0), 0);
        assert_eq!(shard_of(b"apple", 4), 0x5);
        assert_eq!(shard_of(b"apple", 8), 0x51);
    }

    #[test]
    fn the_content_digest_ignores_order_and_sees_every_part() {
        let mut scratch = Vec::new();
        let meta = ItemMeta {
            client_flags: Some(1),
            exptime: Some(Exptime::At(UnixSecs(9))),
            ..ItemMeta::default()
        };
        let mut digest = |records: &[(&[u8], ItemMeta, u64)]| {
            let mut digests = ContentDigests::default();
            for (key, meta, hash) in records {
                digests.add(key, meta, *hash, &mut scratch);
            }
            digests
        };
        let forward = digest(&[(b"a", meta, 1), (b"b", meta, 2)]);
        assert_eq!(forward, digest(&[(b"b", meta, 2), (b"a", meta, 1)]));
        let later = ItemMeta {
            exptime: Some(Exptime::Never),
            ..meta
        };
        let moved = digest(&[(b"a", later, 1), (b"b", meta, 2)]);
        assert_eq!(moved.content, forward.content);
        assert_ne!(moved.content_exptime, forward.content_exptime);
        let unknown = ItemMeta {
            client_flags: None,
            ..meta
        };
        assert_ne!(
            digest(&[(b"a", unknown, 1), (b"b", meta, 2)]).content,
            forward.content
        );
        assert_ne!(
            digest(&[(b"a", meta, 2), (b"b", meta, 1)]).content,
            forward.content
        );
    }
}
