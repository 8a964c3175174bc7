//! Segments in memory.

use std::hint::black_box;

use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::encoder::{EncoderOptions, SegmentEncoder};
use mcsnap::codecs::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use mcsnap::codecs::format::segment_meta::SegmentMeta;
use mcsnap::engines::snapshot::SegmentReader;
use mcsnap::ports::store::{MemoryStore, Store as _};
use mcsnap::words::limits::Limits;

use crate::items::Items;

/// Encodes all items; returns the bytes of the segment.
pub(crate) fn encode(items: &Items, compression: Compression) -> Vec<u8> {
    let meta = SegmentMeta::nameless(&SegmentIds {
        segment: SegmentId([1; 16]),
        snapshot: SnapshotId([2; 16]),
        sync: SyncMarker([3; 8]),
    });
    let options = EncoderOptions {
        compression,
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
        part_raw_len: EncoderOptions::PART_RAW_LEN,
        index_seed: 5,
    };
    let mut encoder = SegmentEncoder::new(&meta, options).unwrap();
    for record in items.records() {
        encoder.push(&record).unwrap();
    }
    encoder.finish().unwrap().rest
}

/// Opens a segment of these items.
pub(crate) fn open(items: &Items, compression: Compression) -> SegmentReader {
    let store = MemoryStore::new();
    store
        .put_new("segment", &encode(items, compression))
        .unwrap();
    let object = store.open("segment").unwrap();
    SegmentReader::open_object(object, "segment".to_owned(), &Limits::default()).unwrap()
}

/// Decodes all blocks, and looks at every record.
pub(crate) fn decode(segment: &SegmentReader, sections: &mut SectionReader) {
    for number in 0..segment.block_count() {
        let block = segment.read_block(number).unwrap();
        let block = block.decode(sections).unwrap();
        for index in 0..block.len() {
            black_box(block.record(index).unwrap().unwrap().inline().unwrap());
        }
    }
}

/// Finds every key by the index, and reads its value.
pub(crate) fn look_up(segment: &SegmentReader, keys: &[Vec<u8>], sections: &mut SectionReader) {
    for key in keys {
        let found = segment.find(key, sections).unwrap().unwrap();
        black_box(segment.read_value(&found, sections).unwrap());
    }
}
