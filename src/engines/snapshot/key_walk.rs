//! Decodes key sections of a snapshot in parallel and passes them on in order.

use std::ops::{ControlFlow, Range};

use crate::codecs::format::column::Columns;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::reader::SnapshotReader;
use crate::engines::snapshot::segment_opening::Opening;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::ports::threads::Pool;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::units::to_u64;

/// The most blocks that a thread decodes before they are passed on.
const ROUND_BLOCKS: usize = 8;
/// The most raw bytes of key sections that a thread decodes before they are passed on. A
/// single block may have more; then it is alone in its round.
const ROUND_RAW_LEN: u64 = 4 << 20;

/// Reads the key sections of segments, and no values.
///
/// # Memory
///
/// For each thread 4 MiB of raw key sections, or one section if that is larger, or what
/// is made of them; and one segment's table of contents.
#[derive(Debug)]
pub struct KeyWalk<'a> {
    snapshot: &'a SnapshotReader,
    pool: Pool,
    cancel: &'a Cancel,
}

/// What a walk could not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyDamage {
    /// Lost records, as far as the manifest and the tables of contents count them.
    pub records: u64,
    /// What is damaged; at most [`KeyDamage::FINDING_COUNT_MAX`].
    pub findings: Vec<Finding>,
    /// Number of further findings.
    pub finding_count_dropped: u64,
}

impl KeyDamage {
    /// The most findings that are kept.
    pub const FINDING_COUNT_MAX: usize = 10_000;

    /// Keeps a finding, or only counts it.
    fn add(&mut self, finding: Finding, records: u64) {
        self.records = self.records.saturating_add(records);
        if self.findings.len() < Self::FINDING_COUNT_MAX {
            self.findings.push(finding);
        } else {
            self.finding_count_dropped = self.finding_count_dropped.saturating_add(1);
        }
    }
}

impl<'a> KeyWalk<'a> {
    /// Starts the threads, and reads nothing yet. `job` is part of the threads' names.
    ///
    /// # Errors
    ///
    /// - `Io`: the threads cannot be started.
    pub fn new(
        snapshot: &'a SnapshotReader,
        thread_count: usize,
        job: &'static str,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let pool = Pool::new(job, thread_count)?;
        Ok(Self {
            snapshot,
            pool,
            cancel,
        })
    }

    /// Returns the threads, for further work on the decoded blocks.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Decodes the key sections of some segments, in their order.
    ///
    /// `read` extracts what is wanted from a block; many threads call it at once. `take`
    /// receives the results of several blocks at a time, in order, and may stop the walk.
    ///
    /// # Errors
    ///
    /// - `Canceled`, and the errors of `take`. Whatever is damaged or unreadable is in
    ///   the result.
    pub fn run<T, Take>(
        &self,
        segments: &[&ManifestSegment],
        read: &(dyn Fn(&ManifestSegment, Columns) -> T + Sync),
        mut take: Take,
    ) -> Result<KeyDamage>
    where
        T: Send,
        Take: FnMut(&ManifestSegment, Vec<T>) -> Result<ControlFlow<()>>,
    {
        let mut damage = KeyDamage::default();
        for &named in segments {
            self.cancel.check()?;
            let segment = match self.snapshot.open_segment_as(named, Opening::Lookup) {
                Ok(segment) => segment,
                Err(error) => {
                    let place = self.snapshot.segment_place(named);
                    damage.add(Finding::from_any_error(error, &place)?, named.records);
                    continue;
                }
            };
            let mut next = 0;
            while next < segment.block_count() {
                self.cancel.check()?;
                let end = round_end(&segment, next, self.pool.thread_count());
                let blocks = self.decode(named, &segment, next..end, read, &mut damage)?;
                if take(named, blocks)?.is_break() {
                    return Ok(damage);
                }
                next = end;
            }
        }
        Ok(damage)
    }

    /// Decodes some blocks in parallel.
    fn decode<T: Send>(
        &self,
        named: &ManifestSegment,
        segment: &SegmentReader,
        blocks: Range<usize>,
        read: &(dyn Fn(&ManifestSegment, Columns) -> T + Sync),
        damage: &mut KeyDamage,
    ) -> Result<Vec<T>> {
        let decode = |sections: &mut SectionReader, number: usize| {
            let block = blocks.start.saturating_add(number);
            let columns = segment.read_keys(block, sections)?;
            Ok(read(named, columns))
        };
        let decoded = self.pool.map(blocks.len(), SectionReader::default, decode);
        let mut made = Vec::with_capacity(decoded.len());
        for (block, result) in blocks.clone().zip(decoded) {
            match result {
                Ok(of_block) => made.push(of_block),
                Err(error) => {
                    let entry = segment.block_entry(block);
                    let records = entry.map_or(0, |entry| entry.record_count.into());
                    damage.add(Finding::from_any_error(error, segment.place())?, records);
                }
            }
        }
        Ok(made)
    }
}

/// Returns the block after the last that is decoded along with the first.
fn round_end(segment: &SegmentReader, first: usize, thread_count: usize) -> usize {
    let threads = to_u64(thread_count.max(1));
    let mut room = threads.saturating_mul(ROUND_RAW_LEN);
    let count_max = thread_count.max(1).saturating_mul(ROUND_BLOCKS);
    let last = first.saturating_add(count_max).min(segment.block_count());
    let fits = |block: &usize| {
        let entry = segment.block_entry(*block);
        // What does not fit its header is refused before it is decompressed.
        let len = entry.map_or(0, |entry| u64::from(entry.key_raw_len));
        let left = room.checked_sub(len);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let count = (first..last).take_while(fits).count();
    first.saturating_add(count.max(1))
}

#[cfg(test)]
mod tests {
    use crate::words::defect::Defect;
    use crate::words::location::Location;

    use super::*;

    #[test]
    fn of_too_many_findings_the_first_are_kept_and_the_others_counted() {
        let mut damage = KeyDamage::default();
        for _ in 0..KeyDamage::FINDING_COUNT_MAX + 5 {
            let finding = Finding::new(Location::object("s"), Defect::SegmentMissing);
            damage.add(finding, 2);
        }
        assert_eq!(damage.findings.len(), KeyDamage::FINDING_COUNT_MAX);
        assert_eq!((damage.finding_count_dropped, damage.records), (5, 20_010));
    }
}
