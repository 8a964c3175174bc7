//! Takes out of a shard what stands twice in it.

use std::collections::{BTreeMap, HashSet};

use crate::codecs::format::block::StoredValue;
use crate::codecs::format::checksum::index_hash;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::engines::snapshot::shard_writer::{ShardOptions, ShardWriter};
use crate::words::error::{Error, Result};
use crate::words::item::Record;

impl ShardWriter<'_> {
    /// Writes the finished segments anew that have older records of repeated keys, without
    /// these. `repeated` has the hash of each such key, with the numbers of all blocks but
    /// the newest; blocks are counted through all segments. Returns the segments, and how
    /// many records were left out.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub(super) fn without_repeated(
        self,
        repeated: &[(u128, Vec<u32>)],
    ) -> Result<(Vec<ManifestSegment>, u64)> {
        let segments = self.finished;
        let mut dropped: BTreeMap<usize, HashSet<u128>> = BTreeMap::new();
        for (hash, blocks) in repeated {
            for block in blocks {
                let mut end = 0_u64;
                let holds = |segment: &ManifestSegment| {
                    end = end.saturating_add(segment.blocks);
                    u64::from(*block) < end
                };
                if let Some(number) = segments.iter().position(holds) {
                    dropped.entry(number).or_default().insert(*hash);
                }
            }
        }
        let last = segments.iter().map(|segment| segment.sequence).max();
        let mut next_sequence = last.map_or(0, |last| last.saturating_add(1));
        let mut kept = Vec::with_capacity(segments.len());
        let mut rewritten = Vec::new();
        let mut count = 0_u64;
        for (number, named) in segments.into_iter().enumerate() {
            let Some(hashes) = dropped.get(&number) else {
                kept.push(named);
                continue;
            };
            let options = ShardOptions {
                segment_size_max: u64::MAX,
                segment_record_count_max: u64::MAX,
                first_sequence: next_sequence,
                ..self.options.clone()
            };
            let segment = self.snapshot.open_sealed(&named)?;
            let mut writer = ShardWriter::without_look_up(self.snapshot.clone(), options);
            count = count.saturating_add(copy(&segment, &mut writer, hashes, self.seed)?);
            next_sequence = next_sequence.saturating_add(1);
            rewritten.extend(writer.finish()?);
            self.snapshot.remove_segments(&[named])?;
        }
        kept.extend(rewritten);
        Ok((kept, count))
    }
}

/// Copies all records but those of the hashes; returns how many were left out.
fn copy(
    segment: &SegmentReader,
    writer: &mut ShardWriter<'_>,
    hashes: &HashSet<u128>,
    seed: u64,
) -> Result<u64> {
    let mut sections = SectionReader::default();
    let mut count = 0_u64;
    for block in 0..segment.block_count() {
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
