//! Builds the look-up object of a shard.

use std::path::PathBuf;

use crate::codecs::format::checksum::index_hash;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::hash_page::Entry;
use crate::codecs::format::ids::{LookUpId, SegmentId};
use crate::codecs::format::layout::VERSION_MINOR;
use crate::codecs::format::look_up::{LookUpBlock, LookUpHeader};
use crate::codecs::format::manifest::LookUpName;
use crate::engines::snapshot::draft::SnapshotDraft;
use crate::engines::snapshot::known_look_up::ShardPlace;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::engines::snapshot::sorted_runs::{
    HashedNumber, SortedRuns, join, join_by_number, split,
};
use crate::ports::store::{Extent, ObjectWriter, ScratchFile};
use crate::words::error::{Error, ErrorKind, Result};

/// Collects the keys of a shard, segment after segment.
///
/// # Memory
///
/// 2 MiB, and 64 KiB of entries of blocks; the rest is in a nameless file. While it is
/// written, 4 MiB more, or 320 bytes for each segment if that is more; and 2 MiB for keys
/// that stand twice.
#[derive(Debug)]
pub(super) struct LookUpBuilder {
    id: LookUpId,
    runs: SortedRuns,
    blocks: BlockLog,
    segments: Vec<SegmentId>,
    scratch_directory: PathBuf,
}

/// What came of writing a look-up object.
#[derive(Debug)]
pub(super) enum LookUpOutcome {
    /// It is there.
    Written(LookUpName),
    /// No object was written, because some keys have two records: all of these but the
    /// newest, by [`join_by_number`] of the block and the hash of the key. Blocks are counted
    /// through all segments.
    Repeated(SortedRuns),
}

impl LookUpBuilder {
    const MEMORY: usize = 2 << 20;
    /// How many page counts to try, each some pages greater, before giving up.
    const TRY_COUNT_MAX: usize = 8;
    /// Bytes gathered before they are written.
    const WRITE_LEN: usize = 1 << 20;

    /// Starts without keys.
    pub(super) fn new(scratch_directory: PathBuf) -> Self {
        Self {
            id: LookUpId(*uuid::Uuid::new_v4().as_bytes()),
            runs: SortedRuns::new(scratch_directory.clone(), Self::MEMORY),
            blocks: BlockLog::new(scratch_directory.clone()),
            segments: Vec::new(),
            scratch_directory,
        }
    }

    /// Returns the seed that keys are hashed with.
    pub(super) fn seed(&self) -> u64 {
        self.id.seed()
    }

    /// Returns the segments that were added.
    pub(super) fn segments(&self) -> &[SegmentId] {
        &self.segments
    }

    /// Adds a segment: offset and stored length of the key section of each block, and the
    /// hash of each key with the number of its block.
    ///
    /// # Errors
    ///
    /// - `Io`: the scratch file cannot be written.
    pub(super) fn add(
        &mut self,
        segment: SegmentId,
        sequence: u32,
        blocks: &[(u64, u32)],
        hashes: impl Iterator<Item = (u128, u32)>,
    ) -> Result<()> {
        let base = self.blocks.count;
        for (block, &(offset, key_stored_len)) in (0_u32..).zip(blocks) {
            self.blocks.push(
                &LookUpBlock {
                    segment,
                    sequence,
                    block,
                    offset,
                    key_stored_len,
                },
                self.id,
            )?;
        }
        let run = hashes.map(|(hash, block)| join(hash, base.saturating_add(block)));
        self.runs.push(run.collect())?;
        self.segments.push(segment);
        Ok(())
    }

    /// Adds a segment that was written before, by its key sections.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub(super) fn add_written(&mut self, segment: &SegmentReader, sequence: u32) -> Result<()> {
        let seed = self.seed();
        let mut sections = SectionReader::default();
        let mut hashes = Vec::new();
        for (number, block) in (0_u32..).zip(0..segment.block_count()) {
            let columns = segment.read_keys(block, &mut sections)?;
            hashes.extend(
                columns
                    .iter()
                    .map(|record| (index_hash(record.key, seed), number)),
            );
        }
        let blocks = segment.toc().blocks();
        let blocks: Vec<(u64, u32)> = blocks.map(|b| (b.offset, b.key_stored_len)).collect();
        self.add(segment.ids().segment, sequence, &blocks, hashes.into_iter())
    }

    /// Writes the object.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: a page is too full whatever the page count is, which a random
    ///   seed rules out.
    /// - `Io`.
    pub(super) fn write(
        &self,
        snapshot: &SnapshotDraft,
        shard: ShardPlace,
    ) -> Result<LookUpOutcome> {
        let repeated = self.find_repeated()?;
        if repeated.len() > 0 {
            return Ok(LookUpOutcome::Repeated(repeated));
        }
        let mut name = LookUpName {
            id: self.id,
            pages: 0,
            blocks: self.blocks.count,
        };
        if self.runs.len() == 0 {
            return Ok(LookUpOutcome::Written(name));
        }
        let counts = name.table().page_counts(self.runs.len());
        for pages in counts.take(Self::TRY_COUNT_MAX) {
            name.pages = pages;
            match self.try_write(snapshot, shard, &name) {
                Ok(true) => return Ok(LookUpOutcome::Written(name)),
                Ok(false) => {}
                Err(error) => {
                    // It may be there all the same.
                    snapshot.remove_leftover(&name.object());
                    return Err(error);
                }
            }
        }
        let bound = name.table().page_capacity();
        Err(Error::new(ErrorKind::LimitExceeded {
            limit: "keys in one page of a look-up object",
            needed: bound.saturating_add(1),
            bound,
        }))
    }

    fn find_repeated(&self) -> Result<SortedRuns> {
        const RUN: usize = LookUpBuilder::MEMORY / size_of::<HashedNumber>();
        let mut repeated = SortedRuns::new(self.scratch_directory.clone(), 0);
        let mut run = Vec::new();
        let mut merge = self.runs.merge()?;
        let mut last: Option<(u128, u32)> = None;
        while let Some(entry) = merge.next()? {
            let (hash, number) = split(&entry);
            // Sorted by number, so that the last one is the newest.
            if let Some((before, block)) = last
                && before == hash
            {
                run.push(join_by_number(block, hash));
                if run.len() >= RUN {
                    repeated.push(std::mem::take(&mut run))?;
                }
            }
            last = Some((hash, number));
        }
        if !run.is_empty() {
            repeated.push(run)?;
        }
        Ok(repeated)
    }

    fn try_write(
        &self,
        snapshot: &SnapshotDraft,
        shard: ShardPlace,
        name: &LookUpName,
    ) -> Result<bool> {
        let mut writer = snapshot.create_look_up(name)?;
        let is_whole = self.write_all(snapshot, shard, name, &mut *writer)?;
        if is_whole {
            writer.finish()?;
        }
        Ok(is_whole)
    }

    /// Writes everything; returns false if a page is too full.
    fn write_all(
        &self,
        snapshot: &SnapshotDraft,
        shard: ShardPlace,
        name: &LookUpName,
        writer: &mut dyn ObjectWriter,
    ) -> Result<bool> {
        let header = LookUpHeader {
            minor: VERSION_MINOR,
            id: name.id,
            snapshot: snapshot.id(),
            node_index: shard.node_index,
            shard_index: shard.shard_index,
            entry_count: self.runs.len(),
            page_count: name.pages,
            block_count: name.blocks,
        };
        let mut pending = header.encode();
        let table = name.table();
        let mut merge = self.runs.merge()?;
        let mut next = merge.next()?;
        let mut entries: Vec<Entry> = Vec::new();
        for page in 0..name.pages {
            entries.clear();
            while let Some(entry) = next {
                let (hash, number) = split(&entry);
                let (place, fingerprint) = table.place_of(hash);
                if place != page {
                    break;
                }
                entries.push((fingerprint, number));
                next = merge.next()?;
            }
            entries.sort_unstable();
            if !table.encode_page(page, &entries, &mut pending) {
                return Ok(false);
            }
            if pending.len() >= Self::WRITE_LEN {
                writer.write(&pending)?;
                pending.clear();
            }
        }
        writer.write(&pending)?;
        self.blocks.write(writer)?;
        Ok(true)
    }
}

/// The entries of blocks, in their order.
#[derive(Debug)]
struct BlockLog {
    directory: PathBuf,
    count: u32,
    held: Vec<u8>,
    scratch: Option<ScratchFile>,
    extents: Vec<Extent>,
}

impl BlockLog {
    const HELD_LEN: usize = 64 << 10;

    fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            count: 0,
            held: Vec::new(),
            scratch: None,
            extents: Vec::new(),
        }
    }

    fn push(&mut self, block: &LookUpBlock, id: LookUpId) -> Result<()> {
        let number = self.count;
        self.count = number.checked_add(1).ok_or_else(|| {
            Error::new(ErrorKind::LimitExceeded {
                limit: "blocks of a shard",
                needed: u64::from(number).saturating_add(1),
                bound: number.into(),
            })
        })?;
        block.encode(id, number, &mut self.held);
        if self.held.len() < Self::HELD_LEN {
            return Ok(());
        }
        let scratch = match &mut self.scratch {
            Some(scratch) => scratch,
            empty => empty.insert(ScratchFile::create(&self.directory)?),
        };
        let end = self.extents.last().copied().unwrap_or_default();
        let extent = end.next(self.held.len());
        scratch.write(extent, &self.held)?;
        self.extents.push(extent);
        self.held.clear();
        Ok(())
    }

    fn write(&self, writer: &mut dyn ObjectWriter) -> Result<()> {
        if let Some(scratch) = &self.scratch {
            for extent in &self.extents {
                writer.write(&scratch.read(*extent)?)?;
            }
        }
        writer.write(&self.held)
    }
}
