//! Bounds on outside input; each has a name that its error reports.

use std::ops::RangeInclusive;

use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// Longest value stored inside a block, in bytes. FORMAT.md 8 (L3).
pub const VALUE_LEN_MAX: u64 = 64 << 20;

/// Longest value in bytes that a writer stores inside a block. A longer one is stored in
/// parts, so that no reader has to hold it in memory as a whole. FORMAT.md 5.7.
pub const VALUE_INLINE_LEN_MAX: u64 = 8 << 20;

/// Longest value stored in parts, in bytes. FORMAT.md 8 (L14).
pub const LARGE_VALUE_LEN_MAX: u64 = 1 << 30;

/// Longest address of a node, in bytes. FORMAT.md 8 (L13).
pub const NODE_ADDRESS_LEN_MAX: usize = 4096;

/// How many connections a job may have to one node.
pub const CONNECTION_COUNTS: RangeInclusive<u64> = 1..=256;

/// How many nodes may be dumped in parallel.
pub const PARALLEL_NODE_COUNTS: RangeInclusive<u64> = 1..=10_000;

/// A node's keys may be split into 2 to the power of this many shards; each shard has a
/// thread and an open file.
pub const SHARD_BITS: RangeInclusive<u64> = 0..=8;

/// How many threads a job may use.
pub const THREAD_COUNTS: RangeInclusive<u64> = 1..=1024;

/// Allowed values for the number of records after which a segment ends.
pub const SEGMENT_RECORD_COUNTS: RangeInclusive<u64> = 1..=1 << 32;

/// Sizes in bytes that must not be 0.
pub const SIZES: RangeInclusive<u64> = 1..=u64::MAX;

/// Bounds that a reader checks before it allocates or seeks. FORMAT.md section 8 explains
/// each default.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Length of a manifest in bytes.
    pub manifest_len_max: u64,
    /// Length of a part of a manifest in bytes.
    pub manifest_part_len_max: u64,
    /// Length of a node's address in bytes; a listing repeats it for every record.
    pub node_address_len_max: u64,
    /// Length of the text of a META frame in bytes.
    pub meta_len_max: u64,
    /// Raw length of a block's key section in bytes.
    pub key_section_len_max: u64,
    /// Raw length of a block's value section in bytes.
    pub value_section_len_max: u64,
    /// Raw length of one part of a value in bytes.
    pub value_part_len_max: u64,
    /// Length of a value in parts in bytes.
    pub large_value_len_max: u64,
    /// Number of records of one block.
    pub block_record_count_max: u64,
    /// Number of entries of a segment's table of contents.
    pub toc_entry_count_max: u64,
    /// Number of records of one segment.
    pub segment_record_count_max: u64,
    /// Length of a STAT frame's payload in bytes.
    pub stat_len_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_len_max: 64 << 20,
            manifest_part_len_max: 16 << 20,
            node_address_len_max: to_u64(NODE_ADDRESS_LEN_MAX),
            meta_len_max: 1 << 20,
            key_section_len_max: 32 << 20,
            value_section_len_max: VALUE_LEN_MAX + (1 << 20),
            value_part_len_max: 4 << 20,
            large_value_len_max: LARGE_VALUE_LEN_MAX,
            block_record_count_max: 65_536,
            toc_entry_count_max: 4_000_000,
            segment_record_count_max: 1 << 32,
            stat_len_max: 64 << 10,
        }
    }
}

/// Returns an error if `needed` exceeds the limit.
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

/// Returns an error if an option is out of its range.
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
