//! Keys that are asked for together, all in one way.

use std::ops::Range;

use crate::protocol::metadump::WalkItem;
use crate::select::Judgement;
use crate::source::strategy::Carrier;

/// One key to ask for.
#[derive(Debug)]
struct Asked {
    key: Range<usize>,
    carrier: Carrier,
    walked: WalkItem,
    judgement: Judgement,
}

/// Keys that go over one connection, in order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    keys: Vec<u8>,
    asked: Vec<Asked>,
    /// Bytes of the items, as far as the walk told them.
    pub(super) bytes: u64,
}

impl Batch {
    pub(super) fn push(
        &mut self,
        key: &[u8],
        carrier: Carrier,
        walked: WalkItem,
        judgement: Judgement,
    ) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.asked.push(Asked {
            key: start..self.keys.len(),
            carrier,
            walked,
            judgement,
        });
        let len = walked.item_size.or(walked.value_len).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(len);
    }

    pub(super) fn len(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.asked.clear();
        self.bytes = 0;
    }

    pub(super) fn key(&self, index: usize) -> &[u8] {
        let asked = self.asked.get(index);
        asked
            .and_then(|asked| self.keys.get(asked.key.clone()))
            .unwrap_or_default()
    }

    pub(super) fn walked(&self, index: usize) -> WalkItem {
        self.asked
            .get(index)
            .map(|asked| asked.walked)
            .unwrap_or_default()
    }

    /// Says whether the walk left open if the item is wanted.
    pub(super) fn is_undecided(&self, index: usize) -> bool {
        let asked = self.asked.get(index);
        asked.is_some_and(|asked| asked.judgement == Judgement::Unknown)
    }

    pub(super) fn carrier(&self, index: usize) -> Carrier {
        self.asked
            .get(index)
            .map_or(Carrier::Classic, |asked| asked.carrier)
    }

    /// Returns how the keys travel; none in an empty batch.
    pub(super) fn way(&self) -> Option<Carrier> {
        self.asked.first().map(|asked| asked.carrier)
    }
}
