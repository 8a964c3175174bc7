//! Small segments of every kind that a writer makes, the same on every run:
//! where forging and fuzzing start.

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::encoder::{EncoderOptions, PushedPieces, SegmentEncoder};
use mcsnap::codecs::format::features::Features;
use mcsnap::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};
use mcsnap::codecs::format::segment_meta::{SegmentMeta, dumping_host};
use mcsnap::words::item::{Attribute, Attributes, Cas, Exptime, ItemMeta, Record, SlabClass};
use mcsnap::words::units::UnixSecs;

use super::forge::{CHECKPOINT, Forge, HAS_PAYLOAD_CRC, Place};

/// Two blocks, both sections plain; the first has every column, the second
/// only the required ones.
pub(crate) fn plain() -> Vec<u8> {
    let mut attributes = Attributes::default();
    attributes.set(Attribute::Fetched, true);
    attributes.set(Attribute::Stale, false);
    let told = ItemMeta {
        client_flags: Some(7),
        exptime: Some(Exptime::At(UnixSecs(1_800_000_000))),
        last_access: Some(UnixSecs(1_700_000_000)),
        cas: Some(Cas(42)),
        slab_class: Some(SlabClass(3)),
        attributes,
    };
    let never = ItemMeta {
        exptime: Some(Exptime::Never),
        ..told
    };
    let records = [
        ("user:1", "Ada", told),
        ("user:2", "", never),
        ("bare", "value", ItemMeta::default()),
    ];
    encode(
        Compression::None,
        EncoderOptions::BLOCK_RAW_LEN,
        records.map(|(key, value, meta)| (key.to_owned(), value.to_owned(), meta)),
    )
}

/// Two blocks whose sections are both compressed.
pub(crate) fn compressed() -> Vec<u8> {
    let records = (0..40).map(|number| {
        let meta = ItemMeta {
            client_flags: Some(number / 20),
            cas: (number >= 20).then_some(Cas(number)),
            ..ItemMeta::default()
        };
        let value = "lorem ipsum ".repeat(4);
        (format!("user:session:{number:04}"), value, meta)
    });
    encode(Compression::Zstd(1), EncoderOptions::BLOCK_RAW_LEN, records)
}

/// A block a record and so, after the 64th frame, a checkpoint.
pub(crate) fn with_checkpoint() -> Vec<u8> {
    let records = (0..66).map(|number| (format!("k{number}"), String::new(), ItemMeta::default()));
    encode(Compression::None, 1, records)
}

/// As `plain`, and a checkpoint of its first frames before the key index, which
/// a writer makes after 64 frames only: so many take random tests their time.
pub(crate) fn with_early_checkpoint() -> Vec<u8> {
    let mut forge = Forge::new(&plain());
    let mut payload = Vec::new();
    // FORMAT.md 5.9: the ids, no checkpoint before, three entries, three records; then
    // of each frame type, flags, records and length.
    payload.extend_from_slice(&[0x11; 16]);
    payload.extend_from_slice(&[0x22; 16]);
    payload.extend_from_slice(&[0x33; 8]);
    payload.extend_from_slice(&0_u64.to_le_bytes());
    payload.extend_from_slice(&3_u64.to_le_bytes());
    payload.extend_from_slice(&3_u64.to_le_bytes());
    for entry in (0..3).map(|number| &forge.bytes()[forge.range(Place::TocEntry(number))]) {
        payload.extend_from_slice(&[entry[0], entry[1], 0, 0]);
        payload.extend_from_slice(&entry[4..8]);
        payload.extend_from_slice(&entry[16..24]);
    }
    forge.insert_frame(3, CHECKPOINT, HAS_PAYLOAD_CRC, &payload);
    forge.seal()
}

/// Bytes of a part in [`in_parts`].
pub(crate) const PART_LEN: usize = 7;

/// Two blocks and four values in parts: two of the first block, one that was
/// abandoned, one of the second block that is a single part.
pub(crate) fn in_parts() -> Vec<u8> {
    let options = EncoderOptions {
        compression: Compression::None,
        block_raw_len: EncoderOptions::BLOCK_RAW_LEN,
        part_raw_len: PART_LEN,
        index_seed: 5,
    };
    in_parts_of(&meta(options), options)
}

/// The same with another description.
pub(crate) fn in_parts_of(meta: &SegmentMeta, options: EncoderOptions) -> Vec<u8> {
    let mut encoder = SegmentEncoder::new(meta, options).expect("the level is a legal one");
    let told = ItemMeta {
        client_flags: Some(7),
        ..ItemMeta::default()
    };
    let inline = Record {
        key: b"user:1",
        value: b"Ada",
        meta: told,
    };
    encoder.push(&inline).expect("the record is within limits");
    push_in_parts(&mut encoder, "user:2", "a value of several parts", &told, 0);
    push_in_parts(&mut encoder, "gone", "a value that was abandoned", &told, 1);
    push_in_parts(&mut encoder, "user:3", "two parts each", &told, 0);
    let inline = Record {
        key: b"user:4",
        ..inline
    };
    encoder.push(&inline).expect("the record is within limits");
    // The server told less of this one, which starts a block.
    push_in_parts(&mut encoder, "bare", "single", &ItemMeta::default(), 0);
    encoder.finish().expect("few keys fit any page").rest
}

/// Adds a value byte by byte; without the last ones it is abandoned.
fn push_in_parts(
    encoder: &mut SegmentEncoder,
    key: &str,
    value: &str,
    meta: &ItemMeta,
    missing: usize,
) {
    let len = u64::try_from(value.len()).expect("a short value");
    let begun = encoder.begin_value(key.as_bytes(), meta, len);
    begun.expect("the record is within limits");
    for byte in value.as_bytes().iter().take(value.len() - missing) {
        encoder.push_piece(&[*byte]);
    }
    let is_stored = encoder.end_value() == PushedPieces::Stored;
    assert_eq!(is_stored, missing == 0);
}

/// No record at all.
pub(crate) fn empty() -> Vec<u8> {
    encode(Compression::None, 1, [])
}

/// Two blocks of as many records as one may have, in few bytes.
pub(crate) fn wide() -> Vec<u8> {
    let meta = ItemMeta::default();
    let records = (0..131_072).map(|number| (format!("{number:-<20}"), String::new(), meta));
    encode(Compression::Zstd(1), usize::MAX, records)
}

/// Those of a few blocks, with their names.
pub(crate) fn short() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("plain", plain()),
        ("compressed", compressed()),
        ("with_early_checkpoint", with_early_checkpoint()),
        ("empty", empty()),
        ("in_parts", in_parts()),
    ]
}

/// The small ones that a writer makes, with their names.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("plain", plain()),
        ("compressed", compressed()),
        ("with_checkpoint", with_checkpoint()),
        ("empty", empty()),
        ("in_parts", in_parts()),
    ]
}

fn encode(
    compression: Compression,
    block_raw_len: usize,
    records: impl IntoIterator<Item = (String, String, ItemMeta)>,
) -> Vec<u8> {
    let options = EncoderOptions {
        compression,
        block_raw_len,
        part_raw_len: EncoderOptions::PART_RAW_LEN,
        index_seed: 5,
    };
    let mut encoder =
        SegmentEncoder::new(&meta(options), options).expect("the level is a legal one");
    for (key, value, meta) in records {
        let record = Record {
            key: key.as_bytes(),
            value: value.as_bytes(),
            meta,
        };
        encoder.push(&record).expect("the record is within limits");
    }
    encoder.finish().expect("few keys fit any page").rest
}

fn meta(options: EncoderOptions) -> SegmentMeta {
    SegmentMeta {
        segment_id: SegmentId([0x11; 16]),
        snapshot_id: SnapshotId([0x22; 16]),
        sync_marker: SyncMarker([0x33; 8]),
        features: Features::default(),
        snapshot_name: "night".to_owned(),
        node: "a:1".to_owned(),
        node_index: 0,
        worker: 0,
        attempt: 0,
        shard_index: 0,
        shard_bits: 0,
        sequence: 0,
        clock_offset: "0".to_owned(),
        clock: dumping_host(),
        compression: options.compression.to_string(),
        server_version: "1.6.18".to_owned(),
        tool: "test".to_owned(),
        created_at: "2026-11-20T02:00:00Z".to_owned(),
    }
}
