//! Reads the key sections of blocks that follow each other together, where each read is a
//! request.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::engines::snapshot::object_range::read_range;
use crate::ports::store::{ObjectReader, RangeBytes};
use crate::words::error::Result;

/// Blocks whose keys are read together.
const BLOCKS: usize = 64;
/// Bytes of them, unless those of one block are more.
const BYTES: u64 = 4 << 20;
/// How many blocks a thread may be behind the others that take one after the other.
const LATE_MAX: usize = 16;

/// Headers and key sections that were read and are still to be asked for.
#[derive(Debug, Default)]
pub(super) struct KeysAhead(Mutex<Ahead>);

#[derive(Debug, Default)]
struct Ahead {
    /// By block.
    read: BTreeMap<usize, Vec<u8>>,
    /// The block after the last one that was asked for.
    next: Option<usize>,
}

impl Ahead {
    /// Reports whether a block is one of those that are asked for one after the other.
    fn is_next(&self, block: usize) -> bool {
        let is_near = |next: usize| (next..=next.saturating_add(LATE_MAX)).contains(&block);
        self.next.is_some_and(is_near)
    }

    /// Forgets what nobody is likely to ask for any more.
    fn forget_before(&mut self, block: usize) {
        self.read = self.read.split_off(&block.saturating_sub(LATE_MAX));
    }
}

impl KeysAhead {
    /// Returns what is at `own` of a block. If blocks are asked for one after the other,
    /// those of the next ones are read with it; `range_of` tells where they are.
    pub(super) fn read<'a>(
        &self,
        object: &'a dyn ObjectReader,
        block: usize,
        own: Range<u64>,
        range_of: impl Fn(usize) -> Option<Range<u64>>,
    ) -> Result<RangeBytes<'a>> {
        let alone = || read_range(object, own.start, own.end.saturating_sub(own.start));
        if object.as_bytes().is_some() {
            return alone();
        }
        let mut ahead = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_next = ahead.is_next(block);
        ahead.next = ahead.next.filter(|_| is_next).max(block.checked_add(1));
        if let Some(bytes) = ahead.read.remove(&block) {
            return Ok(RangeBytes::Own(bytes));
        }
        if !is_next {
            drop(ahead);
            return alone();
        }
        // An error has the place that it is of, and is not tried again: a disk that fails
        // once is told.
        let mut read = object.read_ranges(&together(block, range_of))?.into_iter();
        let first = read.next();
        ahead.forget_before(block);
        // Each is kept for itself, so that none keeps what was read with it.
        let read = read.map(RangeBytes::into_own);
        ahead.read.extend((block.saturating_add(1)..).zip(read));
        drop(ahead);
        first.map_or_else(alone, Ok)
    }
}

/// Returns where the keys of blocks from this one on are, as far as they are read together.
fn together(block: usize, range_of: impl Fn(usize) -> Option<Range<u64>>) -> Vec<Range<u64>> {
    let mut sum: u64 = 0;
    (block..)
        .take(BLOCKS)
        .map_while(range_of)
        .take_while(|range| {
            let is_first = sum == 0;
            sum = sum.saturating_add(range.end.saturating_sub(range.start));
            is_first || sum <= BYTES
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_together_up_to_a_bound() {
        let of = |len: u64| move |block: usize| Some(block as u64 * len..(block as u64 + 1) * len);
        assert_eq!(together(3, of(10)).len(), BLOCKS);
        assert_eq!(together(3, of(1 << 20)).len(), 4);
        let long = together(3, of(BYTES * 2));
        assert_eq!(long, [of(BYTES * 2)(3).unwrap()]);
        let last = |block| of(10)(block).filter(|_| block < 5);
        assert_eq!(together(3, last).len(), 2);
    }
}
