//! Segments whose checksums are right and that are wrong all the same: each
//! was once read as if it were sound, or took the reader too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mcsnap::codecs::format::checksum::SegmentDigest;
use mcsnap::codecs::format::compression::SectionReader;
use mcsnap::codecs::format::features::Need;
use mcsnap::codecs::format::frame::{FrameHeader, FrameType};
use mcsnap::codecs::format::ids::{SegmentId, SegmentIds, SnapshotId, SyncMarker};
use mcsnap::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, KEY_INDEX_HEADER_SIZE,
    PAGE_HEADER_SIZE, PAGE_SIZE, TAIL_SIZE, VALUE_PART_HEADER_SIZE,
};
use mcsnap::engines::snapshot::{DamagedSegment, Identity, SegmentReader};
use mcsnap::ports::store::{MemoryStore, ObjectReader, Store as _};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::ErrorKind;
use mcsnap::words::limits::Limits;

use crate::harness::forge::{BLOCK, Forge, KEY_INDEX, Place, VALUE_PART};
use crate::harness::sound_segments;

fn open(bytes: &[u8]) -> SegmentReader {
    let store = MemoryStore::new();
    store.put_new("forged.mcs", bytes).unwrap();
    let object = store.open("forged.mcs").unwrap();
    SegmentReader::open_object(object, "forged".to_owned(), &Limits::default()).unwrap()
}

/// The code of the finding that reading ends with.
fn code<T: std::fmt::Debug>(result: mcsnap::words::error::Result<T>) -> &'static str {
    let error = result.unwrap_err();
    let ErrorKind::Corrupt(defect) = error.kind() else {
        panic!("not an error of the bytes: {error}");
    };
    defect.code()
}

#[test]
fn a_segment_without_any_frame_is_damaged() {
    let mut forge = Forge::new(&sound_segments::empty());
    while forge.frame_count() > 1 {
        forge.remove_frame(0);
    }
    // Once the caller was told to have asked for a frame that is not there.
    assert_eq!(code(open(&forge.seal()).read_meta(Need::Verify)), "MCS007");
}

/// Of a key that a segment has twice, which no writer may do, the last record counts, and
/// once the first was found.
#[test]
fn of_two_records_of_a_key_the_last_is_found() {
    let found = |sound: &[u8], old: &[u8], new: &[u8]| {
        let mut forge = Forge::new(sound);
        let mut places = sound.windows(old.len());
        let at = places.position(|window| window == old).unwrap();
        forge.write(at, new);
        // The table has no entry for the key that stands there now.
        forge.set(Place::Toc, "key_index_offset", 0);
        let segment = open(&forge.seal());
        let found = segment.find(new, &mut SectionReader::default());
        let found = found.unwrap().unwrap();
        (found.block, found.record)
    };
    assert_eq!(
        found(&sound_segments::plain(), b"user:2", b"user:1"),
        (0, 1)
    );
    let many = sound_segments::with_checkpoint();
    assert_eq!(found(&many, b"k55", b"k33"), (55, 0));
}

#[test]
fn an_index_of_no_blocks_has_no_entries() {
    let mut forge = Forge::new(&sound_segments::plain());
    forge.remove_frame(1).remove_frame(1);
    let page = forge.range(Place::Page(0));
    assert_eq!(page.len(), PAGE_HEADER_SIZE);
    forge.set(Place::KeyIndex, "block_count", 0);
    let segment = open(&forge.seal());
    assert_eq!(segment.block_count(), 0);
    // Once block 0 was among the candidates.
    assert_eq!(code(segment.candidate_blocks(b"user:1")), "MCS010");
}

/// An index without pages would say of every key that it is not there.
#[test]
fn an_index_of_no_pages_does_not_hide_records() {
    let store = MemoryStore::new();
    let mut forge = Forge::new(&sound_segments::plain());
    forge.set(Place::Toc, "key_index_page_count", 0);
    store.put_new("no-pages.mcs", &forge.seal()).unwrap();
    let object = store.open("no-pages.mcs").unwrap();
    let limits = Limits::default();
    let opened = SegmentReader::open_object(object, "forged".to_owned(), &limits);
    assert_eq!(code(opened), "MCS007");

    // With no index at all every block is asked.
    let mut forge = Forge::new(&sound_segments::plain());
    forge.set(Place::Toc, "key_index_page_count", 0);
    forge.set(Place::Toc, "key_index_offset", 0);
    let segment = open(&forge.seal());
    assert_eq!(segment.candidate_blocks(b"user:1").unwrap(), [0, 1]);
    let found = segment.find(b"user:1", &mut Default::default()).unwrap();
    assert!(found.is_some());
}

/// FORMAT.md 6, of frames that are as long as they say.
fn digest_by_the_document(forge: &Forge) -> String {
    let bytes = forge.bytes();
    let mut digest = SegmentDigest::new();
    digest.update(&bytes[..FILE_HEADER_SIZE]);
    for frame in 0..forge.frame_count() {
        let payload = forge.payload(frame);
        digest.update(&bytes[payload.start - FRAME_HEADER_SIZE..payload.start]);
        let payload = &bytes[payload];
        match forge.kind(frame) {
            BLOCK => digest.update(&payload[..BLOCK_HEADER_SIZE]),
            VALUE_PART => digest.update(&payload[..VALUE_PART_HEADER_SIZE]),
            KEY_INDEX => {
                let (header, pages) = payload.split_at(KEY_INDEX_HEADER_SIZE);
                digest.update(header);
                for page in pages.chunks_exact(PAGE_SIZE) {
                    digest.update(&page[..4]);
                }
            }
            _ => {}
        }
    }
    digest.update(&bytes[bytes.len() - TAIL_SIZE..]);
    digest.finish()
}

#[test]
fn the_digest_of_an_index_ends_where_its_frame_does() {
    for (name, segment) in sound_segments::all() {
        let found = open(&segment).compute_digest().unwrap();
        assert_eq!(
            found,
            digest_by_the_document(&Forge::new(&segment)),
            "{name}"
        );
    }
    // A page count far above the pages there are was believed for every key
    // index frame: with many of them, reading took the square of the size.
    let mut forge = Forge::new(&sound_segments::plain());
    forge.insert_frame(1, KEY_INDEX, 1, &[0; KEY_INDEX_HEADER_SIZE + PAGE_SIZE]);
    forge.insert_frame(5, 200, 0, &[0; 5 * PAGE_SIZE]);
    forge.set(Place::Toc, "key_index_page_count", 5);
    let forged = forge.seal();
    let expected = digest_by_the_document(&Forge::new(&forged));
    assert_eq!(open(&forged).compute_digest().unwrap(), expected);
}

/// Counts the bytes that are read of an object.
#[derive(Debug)]
struct Counting {
    bytes: Vec<u8>,
    read_len: Arc<AtomicUsize>,
}

impl ObjectReader for Counting {
    fn describe(&self) -> &'static str {
        "counting"
    }

    fn size(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> mcsnap::words::error::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.bytes[start..start + buffer.len()]);
        self.read_len.fetch_add(buffer.len(), Ordering::Relaxed);
        Ok(())
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        None
    }
}

#[test]
fn descriptions_that_claim_each_other_are_not_read_again_and_again() {
    let ids = SegmentIds {
        segment: SegmentId([0x11; 16]),
        snapshot: SnapshotId([0x22; 16]),
        sync: SyncMarker([0x33; 8]),
    };
    let mut bytes = Vec::new();
    for number in 0..1 << 14 {
        let mut frame = FrameHeader::new(&ids, FrameType::Meta, number, 0, b"");
        frame.stored_len = 1 << 20;
        bytes.extend_from_slice(&frame.encode(&ids));
    }
    let len = bytes.len();
    let known = Identity {
        segment: ids.segment,
        snapshot: None,
    };
    // Once each of the 16,384 took all that follows it: to find out which segment
    // it is, and then for its description.
    for known in [None, Some(known)] {
        let read_len = Arc::new(AtomicUsize::new(0));
        let object = Counting {
            bytes: bytes.clone(),
            read_len: Arc::clone(&read_len),
        };
        let (limits, cancel) = (Limits::default(), Cancel::new());
        let place = "counting".to_owned();
        let segment =
            DamagedSegment::open(Box::new(object), place, known, &limits, &cancel).unwrap();
        assert_eq!(segment.read_meta(&cancel).unwrap(), None);
        let read_len = read_len.load(Ordering::Relaxed);
        assert!(
            read_len < 16 * len + (256 << 20),
            "{read_len} bytes read of a file of {len}"
        );
    }
}
