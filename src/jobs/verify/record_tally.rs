//! Counts the records of a block again.

use std::ops::Range;

use crate::codecs::format::block::{Block, StoredRecord, StoredValue, TimeRanges};
use crate::codecs::format::bytes::check_count;
use crate::codecs::format::checksum::{ContentDigests, value_hash};
use crate::codecs::statistics::{RecordFacts, Recount, SegmentStatistics};
use crate::words::defect::{Defect, Structure};
use crate::words::units::to_u64;

/// What the records of a block add up to.
#[derive(Debug, Default)]
pub(super) struct RecordTally {
    pub(super) records: u64,
    pub(super) key_bytes: u64,
    pub(super) value_bytes: u64,
    pub(super) digests: ContentDigests,
    pub(super) is_damaged: bool,
    /// Numbers of the frames that were read as parts of values.
    pub(super) parts: Vec<Range<usize>>,
}

impl RecordTally {
    /// Adds a record whose value matches its hash.
    pub(super) fn add(
        &mut self,
        record: &StoredRecord<'_>,
        recount: Option<(&SegmentStatistics, &mut Recount)>,
        scratch: &mut Vec<u8>,
    ) {
        self.records = self.records.saturating_add(1);
        self.key_bytes = self.key_bytes.saturating_add(to_u64(record.key.len()));
        let (len, hash) = match record.value {
            StoredValue::Inline(value) => (to_u64(value.len()), value_hash(value)),
            StoredValue::Parts(value) => (value.len.into(), value.hash),
        };
        self.value_bytes = self.value_bytes.saturating_add(len);
        self.digests.add(record.key, &record.meta, hash, scratch);
        if let Some((stored, recount)) = recount {
            let facts = RecordFacts {
                key: record.key,
                value_len: u32::try_from(len).unwrap_or(u32::MAX),
                meta: &record.meta,
            };
            recount.add(stored, &facts);
        }
    }
}

/// Compares the times of a block in the table of contents with those of its records (T6):
/// readers that skip blocks by these times would skip the wrong ones.
pub(super) fn check_bounds(stored: TimeRanges, block: &Block) -> Result<(), Defect> {
    let mut computed = TimeRanges::default();
    for record in block.columns().iter() {
        computed.add(&record.meta);
    }
    let structure = Structure::Toc;
    let counts = (stored.never_count.into(), computed.never_count.into());
    check_count(structure, "never_count", counts.0, counts.1)?;
    let pairs = [
        ("exptime_min", stored.exptime_min, computed.exptime_min),
        ("exptime_max", stored.exptime_max, computed.exptime_max),
        (
            "last_access_min",
            stored.last_access_min,
            computed.last_access_min,
        ),
        (
            "last_access_max",
            stored.last_access_max,
            computed.last_access_max,
        ),
    ];
    for (field, stored, computed) in pairs {
        check_count(structure, field, stored, computed)?;
    }
    Ok(())
}
