//! All records of a snapshot in memory, for tests that compare them one by one.

use std::collections::BTreeMap;
use std::path::Path;

use mcsnap::codecs::format::block::StoredValue;
use mcsnap::codecs::format::compression::SectionReader;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::ports::store::{MapChoice, open_snapshot_place};
use mcsnap::words::item::ItemMeta;

/// One record, its key apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) value: Vec<u8>,
    pub(crate) meta: ItemMeta,
}

/// The records of a snapshot by key; a key that is there twice panics.
pub(crate) fn records(place: &Path) -> BTreeMap<Vec<u8>, Stored> {
    let (store, name) = open_snapshot_place(place.to_str().unwrap(), MapChoice::Auto).unwrap();
    let snapshot = SnapshotReader::open(store, &name, Need::Read).unwrap();
    let mut sections = SectionReader::default();
    let mut records = BTreeMap::new();
    for named in &snapshot.manifest().segments {
        let segment = snapshot.open_segment(named).unwrap();
        for block in 0..segment.block_count() {
            let block = segment.read_block(block).unwrap();
            let block = block.decode(&mut sections).unwrap();
            for index in 0..block.len() {
                let record = block.record(index).unwrap().unwrap();
                let stored = Stored {
                    value: match record.value {
                        StoredValue::Inline(value) => value.to_vec(),
                        StoredValue::Parts(_) => panic!("{:?} is in parts", record.key),
                    },
                    meta: record.meta,
                };
                let before = records.insert(record.key.to_vec(), stored);
                assert_eq!(before, None, "{:?} is there twice", record.key);
            }
        }
    }
    records
}
