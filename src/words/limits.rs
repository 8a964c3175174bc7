//! Bounds on what comes from outside; each has a name that its error gives.

use std::ops::RangeInclusive;

use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// Longest value stored inside a block, in bytes. FORMAT.md 8 (L3).
pub const VALUE_LEN_MAX: u64 = 64 << 20;

/// A writer puts a longer value into parts, in bytes, so that nobody who reads
/// it has to hold it whole. FORMAT.md 5.7.
pub const VALUE_INLINE_LEN_MAX: u64 = 8 << 20;

/// Longest value in parts, in bytes. FORMAT.md 8 (L14).
pub const LARGE_VALUE_LEN_MAX: u64 = 1 << 30;

/// Longest address of a node, in bytes. FORMAT.md 8 (L13).
pub const NODE_ADDRESS_LEN_MAX: usize = 4096;

/// How many connections a job may have to one node.
pub const CONNECTION_COUNTS: RangeInclusive<u64> = 1..=256;

/// How many nodes may be dumped side by side.
pub const PARALLEL_NODE_COUNTS: RangeInclusive<u64> = 1..=10_000;

/// Into 2 to the power of what a node's keys may be split; each part has a
/// thread and an open file.
pub const SHARD_BITS: RangeInclusive<u64> = 0..=8;

/// How many threads a job may work with.
pub const THREAD_COUNTS: RangeInclusive<u64> = 1..=1024;

/// How many records a segment may be cut at.
pub const SEGMENT_RECORD_COUNTS: RangeInclusive<u64> = 1..=1 << 32;

/// Sizes in bytes where none at all makes no sense.
pub const SIZES: RangeInclusive<u64> = 1..=u64::MAX;

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

/// Returns an error when an option is not in its range.
///
/// # Errors
///
/// - `InvalidInput` with the name of the option and the range.
pub fn check_range(option: &'static str, value: u64, range: RangeInclusive<u64>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let allowed = format!("wanted a number from {} to {}", range.start(), range.end());
    Err(Error::invalid_input(option, value.to_string(), allowed))
}
