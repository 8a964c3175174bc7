//! The forger itself: what it seals gets past every checksum, and is refused
//! for what it says.

use std::collections::BTreeSet;

use mcsnap::codecs::format::compression::SectionReader;
use mcsnap::codecs::format::features::Need;
use mcsnap::engines::snapshot::SegmentReader;
use mcsnap::ports::store::{MemoryStore, Store as _};
use mcsnap::words::error::{ErrorKind, Result};
use mcsnap::words::limits::Limits;

use crate::harness::forge::{
    BLOCK, CHECKPOINT, CRITICAL, Forge, HAS_PAYLOAD_CRC, KEY_INDEX, META, PLAIN, Place, STAT, Side,
    TOC,
};
use crate::harness::sound_segments;

/// Reads all there is, up to the first complaint; returns the values.
fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
    let store = MemoryStore::new();
    store.put_new("forged.mcs", bytes)?;
    let object = store.open("forged.mcs")?;
    let segment = SegmentReader::open_object(object, "forged".to_owned(), &Limits::default())?;
    segment.read_meta(Need::Verify)?;
    segment.compute_digest()?;
    for (frame, entry) in segment.toc().entries.iter().enumerate() {
        let is_other = !entry.is_block() && entry.offset != segment.toc().key_index_offset;
        if is_other {
            segment.read_other_frame(frame)?;
        }
    }
    segment.decode_key_index(&segment.read_key_index()?)?;
    let mut values = Vec::new();
    for number in 0..segment.block_count() {
        let frame = segment.read_block(number)?;
        let block = frame.decode(&mut SectionReader::default());
        let block = block.map_err(mcsnap::words::error::Error::corrupt)?;
        for (index, record) in (0..block.len()).filter_map(|at| Some((at, block.record(at)?))) {
            let record = record.map_err(mcsnap::words::error::Error::corrupt)?;
            let value = segment.whole_value(number, index, record.value)?;
            values.push(value.into_owned());
        }
    }
    Ok(values)
}

/// The code of the first finding; nothing for a segment that is sound.
fn code(bytes: &[u8]) -> Option<&'static str> {
    let error = read(bytes).err()?;
    if let ErrorKind::Corrupt(defect) = error.kind() {
        return Some(defect.code());
    }
    assert!(error.is_newer(), "{error}");
    Some("unsupported")
}

#[test]
fn a_sound_segment_stays_as_it_is() {
    let early = sound_segments::with_early_checkpoint();
    for (name, segment) in [sound_segments::all(), vec![("early", early)]].concat() {
        assert_eq!(code(&segment), None, "{name}");
        let forge = Forge::new(&segment);
        assert_eq!(forge.bytes(), segment);
        assert!(Forge::of_any(&segment[..segment.len() - 1]).is_none());
        assert_eq!(forge.clone().seal(), segment, "{name}");
        for frame in 0..forge.frame_count() {
            let payload = forge.bytes()[forge.payload(frame)].to_vec();
            let mut linked = forge.clone();
            linked.set_payload(frame, &payload);
            assert_eq!(linked.seal(), segment, "{name}, frame {frame}");
        }
    }
}

#[test]
fn whatever_is_changed_no_checksum_complains() {
    let mut codes = BTreeSet::new();
    for (name, segment) in sound_segments::all() {
        let forge = Forge::new(&segment);
        // Its many blocks are as those of the others, and take their time.
        let is_long = name == "with_checkpoint";
        let is_new = |place: &Place| {
            matches!(
                place,
                Place::Checkpoint(_) | Place::CheckpointEntry(_, 0..2)
            )
        };
        let places = forge.places().into_iter();
        for place in places.filter(|place| !is_long || is_new(place)) {
            for field in Forge::fields(place) {
                let at = forge.range(place).start + field.offset;
                for bit in [0, 7] {
                    let mut forged = forge.clone();
                    forged.write(at, &[forge.bytes()[at] ^ 1 << bit]);
                    let found = code(&forged.seal());
                    // A checksum of raw bytes that no codec gives is a lie, too.
                    let is_raw = field.name == "raw_crc";
                    assert!(
                        found != Some("MCS003") || is_raw,
                        "{name}: {place:?}, {}, bit {bit}",
                        field.name
                    );
                    codes.extend(found);
                }
            }
        }
    }
    for code in [
        "MCS002",
        "MCS004",
        "MCS005",
        "MCS006",
        "MCS007",
        "MCS008",
        "MCS009",
        "MCS010",
        "MCS011",
        "unsupported",
    ] {
        assert!(codes.contains(code), "{code} is not in {codes:?}");
    }
}

#[test]
fn fields_take_every_number_they_have_room_for() {
    let mut forge = Forge::new(&sound_segments::plain());
    forge.set(Place::TocEntry(1), "stored_len", u64::MAX);
    assert_eq!(forge.get(Place::TocEntry(1), "stored_len"), u64::MAX);
    assert_eq!(code(&forge.seal()), Some("MCS006"));

    let mut forge = Forge::new(&sound_segments::plain());
    let values = Place::Section(1, Side::Values);
    forge.set(values, "raw_len", u32::MAX.into());
    assert_eq!(code(&forge.seal()), Some("MCS008"));
}

#[test]
fn content_can_be_replaced() {
    let sound = sound_segments::plain();
    let values = read(&sound).unwrap();
    assert_eq!(values, [&b"Ada"[..], b"", b"value"]);

    // The same value, compressed although it does not pay.
    let mut forge = Forge::new(&sound);
    let raw = [b"value".to_vec(), vec![b' '; 100]].concat();
    let stored = zstd::bulk::compress(&raw, 1).unwrap();
    forge.set_section(1, Side::Values, 1, &stored, &raw);
    let bytes = forge.clone().seal();
    // Longer than the key section says; the lengths around it are true.
    assert_eq!(code(&bytes), Some("MCS010"));
    let stored_len = forge.get(Place::Section(1, Side::Values), "stored_len");
    assert_eq!(stored_len, u64::try_from(stored.len()).unwrap());
    let range = forge.section_range(1, Side::Values);
    assert_eq!(forge.bytes()[range], stored);
    assert_eq!(forge.block_count(), 2);
    forge.set_section(1, Side::Values, PLAIN, b"value", b"value");
    assert_eq!(forge.seal(), sound);
}

#[test]
fn frames_can_be_added_and_taken_out() {
    let sound = sound_segments::with_checkpoint();
    let values = read(&sound).unwrap();
    let mut forge = Forge::new(&sound);
    let kinds: Vec<u8> = (0..forge.frame_count())
        .map(|frame| forge.kind(frame))
        .collect();
    assert!(kinds.starts_with(&[META, BLOCK, BLOCK]), "{kinds:?}");
    assert!(kinds.ends_with(&[BLOCK, KEY_INDEX, STAT, TOC]), "{kinds:?}");
    let checkpoint = kinds.iter().position(|&kind| kind == CHECKPOINT);
    forge.remove_frame(checkpoint.unwrap());
    assert_eq!(read(&forge.clone().seal()).unwrap(), values);

    forge.insert_frame(2, 200, HAS_PAYLOAD_CRC, b"private");
    assert_eq!(read(&forge.clone().seal()).unwrap(), values);
    forge.insert_frame(2, 200, CRITICAL, b"private");
    assert_eq!(code(&forge.seal()), Some("MCS009"));
}
