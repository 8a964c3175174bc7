//! Merges what blocks of a segment were counted to have, as they are done and in their order.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::codecs::statistics::{Difference, Recount, SegmentStatistics};

/// The rows of a segment's statistics, counted again by many threads.
///
/// The order matters: of very many prefixes the lightest are dropped, and a verification
/// that is repeated must find the same.
///
/// # Memory
///
/// A count, and one for each block that is done before an earlier one; a count of a block
/// has up to 4,096 prefixes of its keys that the statistics do not list.
#[derive(Debug)]
pub(super) struct OrderedRecount<'a> {
    stored: &'a SegmentStatistics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    whole: Recount,
    next_block: usize,
    waiting: BTreeMap<usize, Recount>,
}

impl<'a> OrderedRecount<'a> {
    /// Starts counting by the rows of these statistics.
    pub(super) fn new(stored: &'a SegmentStatistics) -> Self {
        let state = State {
            whole: Recount::new(stored),
            next_block: 0,
            waiting: BTreeMap::new(),
        };
        Self {
            stored,
            state: Mutex::new(state),
        }
    }

    /// Returns the statistics in the file.
    pub(super) fn stored(&self) -> &'a SegmentStatistics {
        self.stored
    }

    /// Takes the count of a block.
    pub(super) fn put(&self, block: usize, recount: Recount) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(block, recount);
        let mut next = state.next_block;
        while let Some(recount) = state.waiting.remove(&next) {
            state.whole.merge(recount);
            next = next.saturating_add(1);
        }
        state.next_block = next;
    }

    /// Returns the first figure that is another than that of the records of all blocks.
    pub(super) fn compare(self) -> Option<Difference> {
        let state = self.state.into_inner();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        state.whole.compare(self.stored)
    }
}
