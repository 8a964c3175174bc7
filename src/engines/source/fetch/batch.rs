//! Keys that are requested together, all by the same protocol.

use std::ops::Range;

use crate::codecs::protocol::classic::GETS_KEY_COUNT_MAX;
use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::select::Judgement;
use crate::engines::source::strategy::KeyProtocol;

/// One key to request.
#[derive(Debug)]
struct Asked {
    key: Range<usize>,
    protocol: KeyProtocol,
    walked: WalkItem,
    judgement: Judgement,
}

/// Keys that are requested over one connection, in order.
#[derive(Debug)]
pub(super) struct Batch {
    /// Number of keys in one `gets`.
    pub(super) command_key_count: usize,
    keys: Vec<u8>,
    asked: Vec<Asked>,
    /// Total size of the items, as far as the walk reported sizes.
    pub(super) bytes: u64,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            command_key_count: GETS_KEY_COUNT_MAX,
            keys: Vec::new(),
            asked: Vec::new(),
            bytes: 0,
        }
    }
}

impl Batch {
    /// Makes a batch of some of these keys, each in a command of its own.
    pub(super) fn one_by_one(&self, indexes: &[usize]) -> Self {
        let mut single = Self {
            command_key_count: 1,
            ..Self::default()
        };
        for &index in indexes {
            single.push(
                self.key(index),
                self.protocol_of(index),
                self.walked(index),
                self.judgement(index),
            );
        }
        single
    }

    pub(super) fn push(
        &mut self,
        key: &[u8],
        protocol: KeyProtocol,
        walked: WalkItem,
        judgement: Judgement,
    ) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.asked.push(Asked {
            key: start..self.keys.len(),
            protocol,
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
        self.command_key_count = GETS_KEY_COUNT_MAX;
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

    /// Reports whether the walk line did not decide if the item is wanted.
    pub(super) fn is_undecided(&self, index: usize) -> bool {
        self.judgement(index) == Judgement::Unknown
    }

    fn judgement(&self, index: usize) -> Judgement {
        self.asked
            .get(index)
            .map_or(Judgement::Keep, |asked| asked.judgement)
    }

    pub(super) fn protocol_of(&self, index: usize) -> KeyProtocol {
        self.asked
            .get(index)
            .map_or(KeyProtocol::Binary, |asked| asked.protocol)
    }

    /// Returns the protocol of the batch, or `None` if it is empty.
    pub(super) fn protocol(&self) -> Option<KeyProtocol> {
        self.asked.first().map(|asked| asked.protocol)
    }
}
