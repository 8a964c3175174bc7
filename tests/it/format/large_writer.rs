//! Values that come in pieces and go into parts: what is written of them, and
//! that a value which breaks off harms nothing.

use std::sync::Arc;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::encoder::{EncoderOptions, Pushed, PushedPieces};
use mcsnap::codecs::format::manifest::ManifestSegment;
use mcsnap::engines::snapshot::{ShardWriter, SnapshotDraft};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{Error, ErrorKind, Result};
use mcsnap::words::item::{ItemMeta, Record};
use mcsnap::words::limits::{LARGE_VALUE_LEN_MAX, VALUE_INLINE_LEN_MAX};
use mcsnap::words::units::to_u64;

use crate::format::snapshot_property::{
    Cut, Items, NAME, Owned, manifest, noise, read_all, shard_options,
};
use crate::harness::made_pieces::MadePieces;

const PART_LEN: usize = EncoderOptions::PART_RAW_LEN;

fn cut(segment_size_max: u64) -> Cut {
    Cut {
        segment_size_max,
        segment_record_count_max: 1000,
        compression: Compression::Zstd(1),
        shard_bits: 0,
    }
}

/// Writes a snapshot of one shard by hand.
struct Writing {
    store: MemoryStore,
    snapshot: SnapshotDraft,
}

impl Writing {
    fn new() -> Self {
        let store = MemoryStore::new();
        let snapshot = SnapshotDraft::begin(Arc::new(store.clone()), NAME).unwrap();
        Self { store, snapshot }
    }

    fn shard(&self, cut: &Cut) -> ShardWriter<'_> {
        ShardWriter::new(&self.snapshot, shard_options(cut, 0))
    }

    /// Publishes what was written, and returns all that is read back; nothing
    /// in it is damaged.
    fn read(&self, segments: Vec<ManifestSegment>) -> Items {
        let manifest = manifest(&self.snapshot, segments, 0);
        self.snapshot.publish(&manifest, 1).unwrap();
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        for depth in [Depth::Data, Depth::Deep] {
            let options = VerifyOptions {
                depth,
                thread_count: 1,
            };
            let (cancel, progress) = (Cancel::new(), mcsnap::words::progress::NoProgress);
            let report =
                verify_snapshot(Arc::clone(&store), NAME, &options, &cancel, &progress).unwrap();
            assert_eq!(report.findings, [], "{depth:?}");
        }
        read_all(store, NAME)
    }
}

/// Hands a value out in pieces of this length.
fn pieces(value: &[u8], piece_len: usize) -> impl FnMut() -> Result<Option<Vec<u8>>> {
    let pieces: Vec<Vec<u8>> = value.chunks(piece_len).map(<[u8]>::to_vec).collect();
    let mut pieces = pieces.into_iter();
    move || Ok(pieces.next())
}

fn push(
    writer: &mut ShardWriter<'_>,
    key: &str,
    value_len: usize,
    next: &mut dyn FnMut() -> Result<Option<Vec<u8>>>,
) -> Result<PushedPieces> {
    let meta = ItemMeta::default();
    let mut pieces = MadePieces::new(next);
    writer.push_large(key.as_bytes(), &meta, to_u64(value_len), &mut pieces)
}

#[test]
fn a_value_in_pieces_of_any_length_is_read_back() {
    let writing = Writing::new();
    let mut writer = writing.shard(&cut(1 << 30));
    let mut items = Items::new();
    let lens = [0, 1, PART_LEN - 1, PART_LEN, PART_LEN + 1, 5 * PART_LEN / 2];
    for (number, len) in (0..).zip(lens) {
        for piece_len in [PART_LEN / 3, PART_LEN, 4 * PART_LEN] {
            for value in [noise(number, len), vec![b'a'; len]] {
                let key = format!("key:{}", items.len());
                let pushed = push(&mut writer, &key, len, &mut pieces(&value, piece_len));
                assert_eq!(pushed.unwrap(), PushedPieces::Stored);
                let meta = ItemMeta::default();
                items.insert(key.into_bytes(), Owned { value, meta });
            }
        }
    }
    // Empty pieces are no end.
    let mut odd = [&b""[..], b"ab", b"", b"c", b""].into_iter();
    let mut next = || Ok(odd.next().map(<[u8]>::to_vec));
    assert_eq!(
        push(&mut writer, "odd", 3, &mut next).unwrap(),
        PushedPieces::Stored
    );
    let (value, meta) = (b"abc".to_vec(), ItemMeta::default());
    items.insert(b"odd".to_vec(), Owned { value, meta });
    let found = writing.read(writer.finish().unwrap());
    assert!(found == items, "{:?}", found.keys());
}

#[test]
fn a_value_that_breaks_off_or_goes_on_leaves_no_record_and_no_damage() {
    let writing = Writing::new();
    let mut writer = writing.shard(&cut(1 << 30));
    let value = noise(7, 3 * PART_LEN);
    let small = |key| Record {
        key,
        value: b"small",
        meta: ItemMeta::default(),
    };
    assert_eq!(writer.push(&small(b"first")).unwrap(), Pushed::Stored);
    for (key, len) in [
        ("short", value.len() + 1),
        ("long", value.len() - 1),
        ("longer", 1),
        ("none", 0),
    ] {
        let pushed = push(&mut writer, key, len, &mut pieces(&value, 1000));
        assert_eq!(pushed.unwrap(), PushedPieces::Abandoned, "{key}");
    }
    let mut count = 0;
    let mut breaks_off = || {
        count += 1;
        if count > 2 {
            return Err(Error::new(ErrorKind::Closed));
        }
        Ok(Some(value[..PART_LEN].to_vec()))
    };
    let error = push(&mut writer, "broken", value.len(), &mut breaks_off).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
    let pushed = push(&mut writer, "broken", value.len(), &mut pieces(&value, 1));
    assert_eq!(pushed.unwrap(), PushedPieces::Stored, "the second time");
    let mut is_asked = false;
    let mut too_large = || {
        is_asked = true;
        Ok(None)
    };
    let meta = ItemMeta::default();
    let len = LARGE_VALUE_LEN_MAX + 1;
    let mut too_large = MadePieces::new(&mut too_large);
    assert!(writer.push_large(b"k", &meta, len, &mut too_large).is_err());
    assert!(!is_asked);
    assert_eq!(writer.push(&small(b"last")).unwrap(), Pushed::Stored);
    let found = writing.read(writer.finish().unwrap());
    let keys: Vec<&[u8]> = found.keys().map(Vec::as_slice).collect();
    assert_eq!(keys, [&b"broken"[..], b"first", b"last"]);
    assert!(found[&b"broken"[..]].value == value);
}

#[test]
fn a_duplicate_is_told_and_its_pieces_are_taken() {
    let writing = Writing::new();
    let mut writer = writing.shard(&cut(1 << 30));
    let value = noise(7, 2 * PART_LEN);
    let first = push(&mut writer, "k", value.len(), &mut pieces(&value, 1000));
    assert_eq!(first.unwrap(), PushedPieces::Stored);
    let other = noise(8, 2 * PART_LEN);
    let mut next = pieces(&other, 1000);
    let again = push(&mut writer, "k", other.len(), &mut next);
    assert_eq!(again.unwrap(), PushedPieces::Duplicate);
    assert_eq!(next().unwrap(), None);
    let record = Record {
        key: b"k",
        value: b"small",
        meta: ItemMeta::default(),
    };
    assert_eq!(writer.push(&record).unwrap(), Pushed::Duplicate);
    let found = writing.read(writer.finish().unwrap());
    assert_eq!(found.len(), 1);
    assert!(found[&b"k"[..]].value == value);
}

#[test]
fn segments_keep_their_size_and_one_of_a_single_large_value_may_have_more() {
    let writing = Writing::new();
    let size_max = 8 * to_u64(PART_LEN);
    let mut writer = writing.shard(&cut(size_max));
    let mut items = Items::new();
    for (number, parts) in (0..).zip([1, 3, 5, 20, 1, 2, 6, 9, 1]) {
        let (key, value) = (format!("k{number}"), noise(number, parts * PART_LEN));
        let pushed = push(&mut writer, &key, value.len(), &mut pieces(&value, 1 << 19));
        assert_eq!(pushed.unwrap(), PushedPieces::Stored);
        let meta = ItemMeta::default();
        items.insert(key.into_bytes(), Owned { value, meta });
        // What is abandoned may cost a segment, and no more.
        let broken = push(&mut writer, "x", 6 * PART_LEN, &mut pieces(&[7; 999], 9));
        assert_eq!(broken.unwrap(), PushedPieces::Abandoned);
    }
    let segments = writer.finish().unwrap();
    for segment in &segments {
        let is_single = segment.records == 1;
        assert!(segment.size <= size_max || is_single, "{segment:?}");
    }
    assert!(segments.len() < 9, "{} segments", segments.len());
    let objects = writing.store.list(&format!("{NAME}/segments")).unwrap();
    assert_eq!(objects.len(), segments.len(), "nothing else is left");
    assert!(writing.read(segments) == items);
}

/// Whoever has a value in memory need not know about parts.
#[test]
fn a_long_record_goes_into_parts_by_itself() {
    let writing = Writing::new();
    let mut writer = writing.shard(&cut(1 << 30));
    let inline_max = usize::try_from(VALUE_INLINE_LEN_MAX).unwrap();
    let mut items = Items::new();
    for (key, len) in [("inline", inline_max), ("parts", inline_max + 1)] {
        let (value, meta) = (noise(1, len), ItemMeta::default());
        let record = Record {
            key: key.as_bytes(),
            value: &value,
            meta,
        };
        assert_eq!(writer.push(&record).unwrap(), Pushed::Stored);
        assert_eq!(writer.push(&record).unwrap(), Pushed::Duplicate);
        items.insert(key.as_bytes().to_vec(), Owned { value, meta });
    }
    let segments = writer.finish().unwrap();
    assert!(writing.read(segments) == items);
    let snapshot = mcsnap::engines::snapshot::SnapshotReader::open(
        Arc::new(writing.store.clone()),
        NAME,
        mcsnap::codecs::format::manifest::Need::Read,
    )
    .unwrap();
    let segment = snapshot
        .open_segment(&snapshot.manifest().segments[0])
        .unwrap();
    let entries = &segment.toc().entries;
    let parts = entries.iter().filter(|entry| entry.is_part()).count();
    assert_eq!(parts, inline_max / PART_LEN + 1);
}

/// A walk can list a key twice, so that it comes in two segments.
#[test]
fn a_key_that_comes_again_in_a_later_segment_replaces_the_earlier_one() {
    let writing = Writing::new();
    let cut = Cut {
        segment_record_count_max: 100,
        ..cut(1 << 30)
    };
    let mut writer = writing.shard(&cut);
    let mut items = Items::new();
    for round in 0..3_u8 {
        for number in (0..150).filter(|number| round < 2 || number % 50 == 0) {
            let key = format!("key:{number}").into_bytes();
            let value = if number == 100 {
                noise(u64::from(round), 9 << 20)
            } else {
                vec![round; 10]
            };
            let meta = ItemMeta::default();
            let record = Record {
                key: &key,
                value: &value,
                meta,
            };
            writer.push(&record).unwrap();
            items.insert(key, Owned { value, meta });
        }
    }
    let (segments, repeated) = writer.finish_counting().unwrap();
    // Of 303 records, and in the open segment a key is refused at once.
    assert!(repeated > 100, "{repeated}");
    let records: u64 = segments.iter().map(|segment| segment.records).sum();
    assert_eq!(records, 150);
    assert!(writing.read(segments) == items);
}
