//! A thousand items, and what a server says of them.

use std::collections::HashMap;

use mcsnap::codecs::protocol::metadump::parse_item;
use mcsnap::engines::source::{LineForm, WalkChunk, WalkPacker};
use mcsnap::words::item::{Cas, Exptime, ItemMeta, Record, SlabClass};
use mcsnap::words::units::UnixSecs;

/// So the instructions of one item are a thousandth of those that are printed.
pub(crate) const ITEM_COUNT: usize = 1_000;

/// The moment at which the items expire: far away, so that none is gone, and before 2038,
/// beyond which a server is told another time.
const EXPIRES_AT: u64 = 2_100_000_000;

/// Items in the order in which a walk lists them.
#[derive(Debug)]
pub(crate) struct Items {
    pub(crate) keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

impl Items {
    /// Values of one length, of words that compress as text does.
    pub(crate) fn new(value_len: usize) -> Self {
        let mut state = 7_u64;
        let mut next = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((state >> 33) % below).unwrap()
        };
        let words: Vec<String> = (0..2_000)
            .map(|number| format!("{:x} ", number * 7_919 % 1_000_003))
            .collect();
        let mut value = || {
            let mut value = Vec::with_capacity(value_len + 8);
            while value.len() < value_len {
                value.extend_from_slice(words[next(2_000)].as_bytes());
            }
            value.truncate(value_len);
            value
        };
        Self {
            keys: (0..ITEM_COUNT).map(key).collect(),
            values: (0..ITEM_COUNT).map(|_| value()).collect(),
        }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let meta = ItemMeta {
            client_flags: Some(4),
            exptime: Some(Exptime::At(UnixSecs(EXPIRES_AT))),
            last_access: Some(UnixSecs(1_795_140_000)),
            cas: Some(Cas(1)),
            slab_class: Some(SlabClass(9)),
            ..ItemMeta::default()
        };
        let values = self.values.iter();
        let pairs = self.keys.iter().zip(values);
        pairs.map(move |(key, value)| Record { key, value, meta })
    }

    pub(crate) fn by_key(&self) -> HashMap<Vec<u8>, Vec<u8>> {
        let pairs = self.keys.iter().cloned();
        pairs.zip(self.values.iter().cloned()).collect()
    }

    /// The lines of a walk, without their ends.
    pub(crate) fn walk_lines(&self) -> Vec<Vec<u8>> {
        let line = |(number, record): (usize, Record<'_>)| {
            let key = String::from_utf8_lossy(record.key).replace(':', "%3A");
            let size = record.key.len() + record.value.len() + 58;
            let cas = number + 1;
            format!("key={key} exp={EXPIRES_AT} la=1795140000 cas={cas} fetch=no cls=9 size={size}")
                .into_bytes()
        };
        self.records().enumerate().map(line).collect()
    }
}

/// Parses the lines of a walk and packs them, as the thread does that reads a walk.
pub(crate) fn pack_walk(lines: &[Vec<u8>]) -> WalkChunk {
    let mut packer = WalkPacker::new().unwrap();
    let mut key = Vec::new();
    for line in lines {
        let item = parse_item(line, &mut key).unwrap();
        packer.push(&key, &item);
    }
    WalkChunk {
        items: packer.finish().unwrap().unwrap(),
        form: LineForm::Metadump,
    }
}

/// Keys as they are often named; all different.
fn key(number: usize) -> Vec<u8> {
    let kind = ["profile", "session", "feed"][number % 3];
    format!("user:{}:{kind}", number * 7_919 % 1_000_000).into_bytes()
}
