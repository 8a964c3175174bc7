//! Bounds on what comes from outside; each has a name that its error gives.

use crate::error::{Error, ErrorKind, Result};
use crate::units::to_u64;

/// Longest value stored inside a block, in bytes. FORMAT.md 8 (L3).
pub const VALUE_LEN_MAX: u64 = 64 << 20;

/// A writer puts a longer value into parts, in bytes, so that nobody who reads
/// it has to hold it whole. FORMAT.md 5.7.
pub const VALUE_INLINE_LEN_MAX: u64 = 8 << 20;

/// Longest value in parts, in bytes. FORMAT.md 8 (L14).
pub const LARGE_VALUE_LEN_MAX: u64 = 1 << 30;

/// Longest address of a node, in bytes. FORMAT.md 8 (L13).
pub const NODE_ADDRESS_LEN_MAX: usize = 4096;

/// Bounds a reader checks before it allocates or seeks. FORMAT.md section 8
/// gives the reason for each default.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a manifest.
    pub manifest_len_max: u64,
    /// Bytes of a node's address, which a listing repeats for every record.
    pub node_address_len_max: u64,
    /// Bytes of a META frame's text.
    pub meta_len_max: u64,
    /// Raw bytes of a block's key section.
    pub key_section_len_max: u64,
    /// Raw bytes of a block's value section.
    pub value_section_len_max: u64,
    /// Raw bytes of one part of a value.
    pub value_part_len_max: u64,
    /// Bytes of a value in parts.
    pub large_value_len_max: u64,
    /// Records of one block.
    pub block_record_count_max: u64,
    /// Entries of a segment's table of contents.
    pub toc_entry_count_max: u64,
    /// Records of one segment.
    pub segment_record_count_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_len_max: 256 << 20,
            node_address_len_max: to_u64(NODE_ADDRESS_LEN_MAX),
            meta_len_max: 1 << 20,
            key_section_len_max: 32 << 20,
            value_section_len_max: VALUE_LEN_MAX + (1 << 20),
            value_part_len_max: 4 << 20,
            large_value_len_max: LARGE_VALUE_LEN_MAX,
            block_record_count_max: 65_536,
            toc_entry_count_max: 4_000_000,
            segment_record_count_max: 1 << 32,
        }
    }
}

/// Returns an error when `needed` is above the limit.
///
/// # Errors
///
/// - `LimitExceeded` with the name of the limit.
pub fn check_limit(limit: &'static str, needed: u64, bound: u64) -> Result<()> {
    if needed > bound {
        return Err(Error::new(ErrorKind::LimitExceeded {
            limit,
            needed,
            bound,
        }));
    }
    Ok(())
}
