//! How a snapshot of given records is written.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::codecs::format::compression::{Compression, SectionWriter};
use crate::engines::snapshot::newest_shard::NewestShard;
use crate::engines::snapshot::writer_memory::writer_memory;
use crate::ports::host;
use crate::words::budget::{MemoryLimit, Need};
use crate::words::error::{Error, Result};
use crate::words::limits::{
    NODE_ADDRESS_LEN_MAX, SEGMENT_RECORD_COUNTS, SHARD_BITS, SIZES, check_limit, check_range,
};
use crate::words::units::{UnixSecs, to_u64};

/// The options of a [`SnapshotWriter`](crate::engines::snapshot::SnapshotWriter).
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The names of the nodes, at least one, and no two the same. A node need not exist: if
    /// records come from elsewhere, the name says from where.
    pub nodes: Vec<String>,
    /// How sections are compressed.
    pub compression: Compression,
    /// The most bytes of a segment, unless a single record has more.
    pub segment_size_max: u64,
    /// The most records of a segment. Fewer if the memory does not suffice for so many.
    pub segment_record_count_max: u64,
    /// The records of each node are divided into 2^bits shards, which other jobs read side
    /// by side; 0 to 8.
    pub shard_bits: u8,
    /// How much memory the writer may take.
    pub memory_limit: MemoryLimit,
    /// The moment at which the records were as they are: exptimes and last accesses are
    /// compared with it. Without one, from the beginning of the writing to its end.
    pub taken_at: Option<UnixSecs>,
    /// The directory for nameless files with what does not fit in memory; `None` for that
    /// of the system.
    pub scratch_directory: Option<PathBuf>,
}

impl Default for WriterOptions {
    /// One node, `import`, and what a dump has without flags.
    fn default() -> Self {
        Self {
            nodes: vec!["import".to_owned()],
            compression: Compression::default(),
            segment_size_max: 256 << 20,
            segment_record_count_max: 500_000,
            shard_bits: 0,
            memory_limit: MemoryLimit::None,
            taken_at: None,
            scratch_directory: None,
        }
    }
}

/// With fewer records in a segment, there would be very many segments.
const RECORDS_LEAST: u64 = 1000;

/// Files of a shard: the open segment, and two nameless ones.
const SHARD_FILES: u64 = 3;

impl WriterOptions {
    /// Checks everything that can be checked without a store.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`, `LimitExceeded`, with the name of the option.
    pub(super) fn validate(&self) -> Result<()> {
        check_range("segment_size_max", self.segment_size_max, SIZES)?;
        let records = self.segment_record_count_max;
        check_range("segment_record_count_max", records, SEGMENT_RECORD_COUNTS)?;
        check_range("shard_bits", self.shard_bits.into(), SHARD_BITS)?;
        SectionWriter::new(self.compression)?;
        if self.nodes.is_empty() {
            return Err(Error::invalid_input("nodes", "", "wanted one at least"));
        }
        let mut known = BTreeSet::new();
        for node in &self.nodes {
            let (len, bound) = (to_u64(node.len()), to_u64(NODE_ADDRESS_LEN_MAX));
            check_limit("length of a node's name", len, bound)?;
            if node.is_empty() || !known.insert(node) {
                let allowed = "wanted names that are not empty, and no two the same";
                return Err(Error::invalid_input("nodes", node, allowed));
            }
        }
        Ok(())
    }

    /// Returns how many records a segment may have at most, so that the open segments of
    /// all shards fit in the memory together.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the memory limit is too low, or zstd does not support the level.
    pub(super) fn records_within_memory(&self) -> Result<u64> {
        let limit = self.memory_limit;
        let wanted = self.segment_record_count_max;
        let Some(allowed) = limit.bytes() else {
            return Ok(wanted);
        };
        let shards = to_u64(self.nodes.len()).saturating_mul(1 << self.shard_bits);
        let need = |records: u64| {
            let shard = writer_memory(limit, self.compression, records)?;
            let shard = shard.saturating_add(NewestShard::MEMORY);
            Ok::<u64, Error>(shard.saturating_mul(shards))
        };
        let fixed = Need {
            memory: Need::PROCESS_MEMORY,
            files: 0,
        };
        let all = |memory: u64| Need {
            memory,
            files: shards.saturating_mul(SHARD_FILES),
        };
        let least = wanted.min(RECORDS_LEAST);
        let memory = need(least)?;
        host::budget(limit).fit(fixed, all(memory), 1)?;
        // The need grows evenly with the records.
        let more = need(least.saturating_mul(2))?.saturating_sub(memory);
        let each = more.checked_div(least).unwrap_or(0).max(1);
        let left = allowed.saturating_sub(fixed.memory.saturating_add(memory));
        let beyond = left.checked_div(each).unwrap_or(0);
        Ok(least.saturating_add(beyond).min(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::error::ErrorKind;

    #[test]
    fn the_records_of_a_segment_are_as_many_as_the_memory_allows() {
        let records = |memory_limit, node_count: u32, shard_bits| {
            let nodes = (0..node_count).map(|number| number.to_string());
            let options = WriterOptions {
                nodes: nodes.collect(),
                memory_limit,
                shard_bits,
                ..WriterOptions::default()
            };
            options.validate().unwrap();
            options.records_within_memory()
        };
        let asked = |mebibytes: u64| MemoryLimit::Asked(mebibytes << 20);
        assert_eq!(records(MemoryLimit::None, 9, 8).unwrap(), 500_000);
        assert_eq!(records(asked(1 << 20), 9, 0).unwrap(), 500_000);
        let [small, large] = [64, 80].map(|limit| records(asked(limit), 2, 0).unwrap());
        assert!(RECORDS_LEAST < small && small < large && large < 500_000);
        // 16 MiB for two shards, at 80 bytes a record.
        assert_eq!(large - small, (16 << 20) / 160);
        let error = records(asked(64), 1, 4).unwrap_err();
        let is_named = matches!(
            error.kind(),
            ErrorKind::InvalidInput {
                field: "mem-limit",
                ..
            }
        );
        assert!(is_named, "{error}");
        let least = records(MemoryLimit::OfHost(64 << 20), 1, 4).unwrap();
        assert_eq!(least, RECORDS_LEAST);
    }
}
