//! Reads the key sections of blocks that follow each other together, where each read is a
//! request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::codecs::format::layout::{BLOCK_HEADER_SIZE, FRAME_HEADER_SIZE};
use crate::codecs::format::toc::TocEntry;
use crate::engines::snapshot::object_range::read_range;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::words::error::Result;
use crate::words::units::to_u64;

/// Blocks whose keys are read together.
const BLOCKS: usize = 64;
/// Bytes of them, unless those of one block are more.
const BYTES: u64 = 4 << 20;

/// Headers and key sections that were read and are still to be asked for.
#[derive(Debug, Default)]
pub(super) struct KeysAhead(Mutex<Ahead>);

#[derive(Debug, Default)]
struct Ahead {
    /// By block.
    read: BTreeMap<usize, Vec<u8>>,
    /// The block after the one that was asked for last.
    next: usize,
}

impl SegmentReader {
    /// Returns a block's headers and its stored key section. If blocks are asked for one
    /// after the other, those of the next ones are read with it.
    pub(super) fn key_bytes(&self, block: usize, entry: &TocEntry) -> Result<Cow<'_, [u8]>> {
        let own = key_range(entry);
        let alone = || {
            let len = own.end.saturating_sub(own.start);
            read_range(&*self.object, own.start, len)
        };
        if self.object.as_bytes().is_some() {
            return alone();
        }
        let mut ahead = (self.keys_ahead.0)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_next = block == ahead.next;
        ahead.next = block.saturating_add(1);
        if let Some(bytes) = ahead.read.remove(&block) {
            return Ok(Cow::Owned(bytes));
        }
        if !is_next {
            drop(ahead);
            return alone();
        }
        let ranges = self.key_ranges(block);
        // An error is told for the block that it is of.
        let Ok(read) = self.object.read_ranges(&ranges) else {
            drop(ahead);
            return alone();
        };
        let mut read = read.into_iter();
        let first = read.next();
        ahead.read = (block.saturating_add(1)..).zip(read).collect();
        drop(ahead);
        first.map_or_else(alone, |bytes| Ok(Cow::Owned(bytes)))
    }

    /// Returns where the keys of blocks from this one on are, as far as they are read
    /// together.
    fn key_ranges(&self, block: usize) -> Vec<Range<u64>> {
        let mut sum: u64 = 0;
        (block..self.block_count())
            .take(BLOCKS)
            .map_while(|block| self.block_entry(block).map(key_range))
            .take_while(|range| {
                let is_first = sum == 0;
                sum = sum.saturating_add(range.end.saturating_sub(range.start));
                is_first || sum <= BYTES
            })
            .collect()
    }
}

fn key_range(entry: &TocEntry) -> Range<u64> {
    let head_len = to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE);
    let len = head_len.saturating_add(entry.key_stored_len.into());
    entry.offset..entry.offset.saturating_add(len)
}
