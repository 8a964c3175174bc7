//! Takes out of a shard what stands twice in it.

use std::collections::HashSet;

use crate::codecs::format::block::StoredValue;
use crate::codecs::format::checksum::index_hash;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::engines::snapshot::shard_writer::{ShardOptions, ShardWriter};
use crate::engines::snapshot::sorted_runs::{Merge, SortedRuns, split_by_number};
use crate::words::error::{Error, Result};
use crate::words::item::Record;
use crate::words::units::to_u64;

impl ShardWriter<'_> {
    /// Writes the finished segments anew that have older records of repeated keys, without
    /// these, which are given as in [`LookUpOutcome::Repeated`]. Returns the segments, and
    /// how many records were left out.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    ///
    /// [`LookUpOutcome::Repeated`]: super::look_up_builder::LookUpOutcome::Repeated
    pub(super) fn without_repeated(
        self,
        repeated: &SortedRuns,
    ) -> Result<(Vec<ManifestSegment>, u64)> {
        let segments = self.finished;
        let mut dropped = Dropped::new(repeated)?;
        let last = segments.iter().map(|segment| segment.sequence).max();
        let mut next_sequence = last.map_or(0, |last| last.saturating_add(1));
        let mut kept = Vec::with_capacity(segments.len());
        let mut rewritten = Vec::new();
        let (mut count, mut first_block) = (0_u64, 0_u64);
        for named in segments {
            let end = first_block.saturating_add(named.blocks);
            if !dropped.has_before(end) {
                kept.push(named);
                first_block = end;
                continue;
            }
            let options = ShardOptions {
                segment_size_max: u64::MAX,
                segment_record_count_max: u64::MAX,
                first_sequence: next_sequence,
                ..self.options.clone()
            };
            let segment = self.snapshot.open_sealed(&named)?;
            let mut writer = ShardWriter::without_look_up(self.snapshot.clone(), options);
            let left_out = copy(&segment, &mut writer, &mut dropped, first_block, self.seed)?;
            count = count.saturating_add(left_out);
            next_sequence = next_sequence.saturating_add(1);
            rewritten.extend(writer.finish()?);
            self.snapshot.remove_segments(&[named])?;
            first_block = end;
        }
        kept.extend(rewritten);
        Ok((kept, count))
    }
}

/// The records to be left out, block after block.
struct Dropped<'a> {
    rest: Merge<'a>,
    next: Option<(u64, u128)>,
}

impl<'a> Dropped<'a> {
    fn new(repeated: &'a SortedRuns) -> Result<Self> {
        let mut dropped = Self {
            rest: repeated.merge()?,
            next: None,
        };
        dropped.advance()?;
        Ok(dropped)
    }

    fn advance(&mut self) -> Result<()> {
        let entry = self.rest.next()?;
        self.next = entry.map(|entry| {
            let (block, hash) = split_by_number(&entry);
            (block.into(), hash)
        });
        Ok(())
    }

    /// Reports whether there is one before this block.
    fn has_before(&self, block: u64) -> bool {
        self.next.is_some_and(|(next, _)| next < block)
    }

    /// Takes the hashes of this block; those of earlier ones were taken before.
    fn of_block(&mut self, block: u64) -> Result<HashSet<u128>> {
        let mut hashes = HashSet::new();
        while let Some((next, hash)) = self.next
            && next <= block
        {
            hashes.insert(hash);
            self.advance()?;
        }
        Ok(hashes)
    }
}

/// Copies all records but those to be left out; returns how many these are.
fn copy(
    segment: &SegmentReader,
    writer: &mut ShardWriter<'_>,
    dropped: &mut Dropped<'_>,
    first_block: u64,
    seed: u64,
) -> Result<u64> {
    let mut sections = SectionReader::default();
    let mut count = 0_u64;
    for block in 0..segment.block_count() {
        let hashes = dropped.of_block(first_block.saturating_add(to_u64(block)))?;
        let frame = segment.read_block(block)?;
        let at = |defect| Error::corrupt(defect).at(segment.block_location(block));
        let decoded = frame.decode(&mut sections).map_err(at)?;
        for index in 0..decoded.len() {
            let Some(record) = decoded.record(index) else {
                continue;
            };
            let record = record.map_err(at)?;
            if hashes.contains(&index_hash(record.key, seed)) {
                count = count.saturating_add(1);
                continue;
            }
            match record.value {
                StoredValue::Inline(value) => {
                    let (key, meta) = (record.key, record.meta);
                    writer.push(&Record { key, value, meta })?;
                }
                StoredValue::Parts(parted) => {
                    let len = parted.len.into();
                    let mut parts = segment.open_parts(block, index, parted);
                    writer.push_large(record.key, &record.meta, len, &mut parts)?;
                }
            }
        }
    }
    Ok(count)
}
