//! Files made to hurt: every length, count and place in them lies, and every
//! checksum is right. Each costs an error, little time and bounded memory.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mcsnap::codecs::format::block::BlockHeader;
use mcsnap::codecs::format::compression::{Codec, Compression, SectionDescriptor};
use mcsnap::codecs::format::file_header::FileHeader;
use mcsnap::codecs::format::frame::{FrameHeader, FrameType};
use mcsnap::codecs::format::ids::SegmentIds;
use mcsnap::codecs::format::layout::{FRAME_MARKER, Field};
use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::format::value_part::ValuePartHeader;
use mcsnap::codecs::select::Selection;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::get::{LookupOptions, look_up};
use mcsnap::jobs::ls::{ListingOptions, list};
use mcsnap::jobs::salvage::{SalvageOptions, salvage};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{DamagedPlace, MemoryStore, Store};
use mcsnap::words::budget::MemoryLimit;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::Result;
use mcsnap::words::progress::NoProgress;

use crate::harness::forge::{BLOCK, Forge, Place, Side};
use crate::harness::sound_segments;
use crate::harness::workdir::{Workdir, clear_settings};

const NAME: &str = "hostile.mcs";

/// Milliseconds are what any of these small files takes; the rest is for a
/// machine that does other things meanwhile.
const TIME_MAX: Duration = Duration::from_secs(10);

/// Address space for a run of the program: what the program and its threads
/// take, and the limits of FORMAT.md 8 for a block or two.
const MEMORY_KIB_MAX: &str = "900000";

/// Lies that a field of so many bytes can hold.
pub(crate) fn lies(size: usize, stored: u64) -> Vec<u64> {
    let most = u64::MAX >> (64 - 8 * size.min(8));
    let mut lies: Vec<u64> = [
        0,
        1,
        stored.wrapping_add(1),
        stored.wrapping_sub(1),
        stored.wrapping_mul(2),
        0x7f,
        0xffff,
        (1 << 26) + 1,
        (1 << 31) + 1,
        most / 2 + 1,
        most - 47,
        most,
    ]
    .into_iter()
    .filter(|lie| *lie <= most && *lie != stored)
    .collect();
    lies.sort_unstable();
    lies.dedup();
    lies
}

/// Asks every reader; whatever they say, they say it soon, and a salvage makes a
/// sound snapshot or none.
fn ask_everyone(bytes: &[u8], what: &str) {
    let started = Instant::now();
    let store = MemoryStore::new();
    store.put_new(NAME, bytes).unwrap();
    // An error is an answer here; only a panic or a long time is none.
    let _ = verify_snapshot(
        Arc::new(store.clone()),
        NAME,
        &VerifyOptions {
            depth: Depth::Deep,
            thread_count: 1,
        },
        &Cancel::new(),
        &NoProgress,
    );
    let _ = look(&store);
    let input = DamagedPlace::Segment {
        store: Arc::new(store),
        object: NAME.to_owned(),
        is_unfinished: false,
    };
    let output = MemoryStore::new();
    let options = SalvageOptions {
        name: "salvaged".to_owned(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        thread_count: 1,
        memory_limit: MemoryLimit::None,
    };
    let done = salvage(
        &input,
        Arc::new(output.clone()),
        &options,
        &Cancel::new(),
        &NoProgress,
    );
    if done.is_err() {
        assert_eq!(output.list("").unwrap(), [], "{what}");
    }
    let elapsed = started.elapsed();
    assert!(elapsed < TIME_MAX, "{what} took {elapsed:?}");
}

fn look(store: &MemoryStore) -> Result<()> {
    let snapshot = SnapshotReader::open(Arc::new(store.clone()), NAME, Need::Read)?;
    let options = LookupOptions {
        nodes: Vec::new(),
        is_every_node_asked: false,
        is_value_wanted: true,
        thread_count: 1,
    };
    for key in [b"k".as_slice(), b"user:1", b"absent"] {
        let _ = look_up(&snapshot, key, &options, &Cancel::new());
    }
    let options = ListingOptions {
        nodes: Vec::new(),
        selection: Selection::default(),
        at: None,
        thread_count: 1,
    };
    let render = |_: &mcsnap::jobs::ls::ListedRecord<'_>, _: &mut Vec<u8>| {};
    let mut out = |_: &[u8]| Ok(ControlFlow::Continue(()));
    list(&snapshot, &options, &Cancel::new(), &render, &mut out)?;
    Ok(())
}

/// One lie in a sealed segment.
fn with_lie(segment: &[u8], place: Place, field: Field, lie: u64) -> Vec<u8> {
    let mut forge = Forge::new(segment);
    forge.set_field(place, field, lie);
    forge.seal()
}

/// What a field says.
fn stored(forge: &Forge, place: Place, field: Field) -> u64 {
    let start = forge.range(place).start + field.offset;
    let bytes = forge.bytes()[start..start + field.size].iter();
    bytes
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The places worth lying at: of many like ones, the first.
fn places(forge: &Forge, is_long: bool) -> Vec<Place> {
    let is_new = |place: &Place| match *place {
        // Of the long one all but this has been told by the others.
        Place::Checkpoint(number) | Place::CheckpointEntry(number, 0 | 63) => number == 0,
        Place::Toc | Place::Tail => true,
        _ if is_long => false,
        Place::Block(number)
        | Place::Section(number, _)
        | Place::Columns(number)
        | Place::Column(number, _) => number == 0,
        Place::CheckpointEntry(..) => false,
        Place::Page(number) => number < 2,
        Place::Part(number) | Place::PartSection(number) => number < 2,
        Place::FileHeader
        | Place::KeyIndex
        | Place::Stat
        | Place::StatSection(_)
        | Place::Frame(_)
        | Place::TocEntry(_) => true,
    };
    let mut places = forge.places();
    places.retain(is_new);
    places
}

#[test]
fn every_field_may_lie_and_every_reader_answers_soon() {
    let count = thread::scope(|scope| {
        let tellers: Vec<_> = sound_segments::all()
            .into_iter()
            .map(|(name, segment)| scope.spawn(move || lie_everywhere(name, &segment)))
            .collect();
        let told = tellers.into_iter().map(|teller| teller.join().unwrap());
        told.sum::<usize>()
    });
    assert!(count > 2000, "only {count} lies");
}

fn lie_everywhere(name: &str, segment: &[u8]) -> usize {
    let forge = Forge::new(segment);
    let mut count = 0;
    for place in places(&forge, name == "with_checkpoint") {
        for field in Forge::fields(place).iter().filter(|field| field.size <= 8) {
            for lie in lies(field.size, stored(&forge, place, *field)) {
                let bytes = with_lie(segment, place, *field, lie);
                let what = format!("{name}: {place:?} {} = {lie}", field.name);
                ask_everyone(&bytes, &what);
                count += 1;
            }
        }
    }
    count
}

/// Segments in which several places tell the same lie, or that unpack to far
/// more than they say.
fn schemes() -> Vec<(&'static str, Vec<u8>)> {
    let plain = sound_segments::plain();
    let compressed = sound_segments::compressed();
    let blocks: Vec<usize> = {
        let forge = Forge::new(&plain);
        let frames = 0..forge.frame_count();
        frames.filter(|frame| forge.kind(*frame) == BLOCK).collect()
    };
    let block = blocks[0];
    let forged = |segment: &[u8], lies: &[(Place, &str, u64)]| {
        let mut forge = Forge::new(segment);
        for (place, name, lie) in lies {
            forge.set(*place, name, *lie);
        }
        forge.seal()
    };
    let huge = u64::MAX - 1000;
    let mut schemes = vec![
        (
            "a frame of 2^64 bytes, in header and table",
            forged(
                &plain,
                &[
                    (Place::Frame(block), "stored_len", huge),
                    (Place::TocEntry(block), "stored_len", huge),
                ],
            ),
        ),
        (
            "a key section of 4 GiB, in header and table",
            forged(
                &plain,
                &[
                    (Place::Section(0, Side::Keys), "stored_len", 0xffff_ffff),
                    (Place::Section(0, Side::Keys), "raw_len", 0xffff_ffff),
                    (Place::TocEntry(block), "key_stored_len", 0xffff_ffff),
                    (Place::TocEntry(block), "key_raw_len", 0xffff_ffff),
                ],
            ),
        ),
        (
            "a block of 65,536 records that are not there",
            forged(
                &plain,
                &[
                    (Place::Block(0), "record_count", 65_536),
                    (Place::TocEntry(block), "record_count", 65_536),
                    (Place::Toc, "record_count", 65_536),
                ],
            ),
        ),
        (
            "a key index of 16 TiB",
            forged(
                &plain,
                &[
                    (Place::KeyIndex, "page_count", 0xffff_ffff),
                    (Place::Toc, "key_index_page_count", 0xffff_ffff),
                ],
            ),
        ),
        ("every entry of the table at one place", {
            let mut forge = Forge::new(&plain);
            let entries: Vec<Place> = forge
                .places()
                .into_iter()
                .filter(|place| matches!(place, Place::TocEntry(_)))
                .collect();
            for entry in entries {
                forge.set(entry, "offset", 64);
            }
            forge.seal()
        }),
        ("a table of contents that is its own first entry", {
            let forge = Forge::new(&plain);
            let offset = forge.get(Place::Tail, "toc_offset");
            forged(&plain, &[(Place::TocEntry(0), "offset", offset)])
        }),
        ("a checkpoint that follows itself", {
            let segment = sound_segments::with_checkpoint();
            let forge = Forge::new(&segment);
            let own = (0..forge.frame_count())
                .find(|frame| forge.kind(*frame) == crate::harness::forge::CHECKPOINT)
                .unwrap();
            let offset = forge.get(Place::Frame(own), "offset");
            forged(
                &segment,
                &[(Place::Checkpoint(0), "previous_offset", offset)],
            )
        }),
        (
            "a tail that sends the reader to the file's start",
            forged(&plain, &[(Place::Tail, "toc_offset", 0)]),
        ),
    ];
    // Bombs: a gibibyte of zeros in some kilobytes, with and without saying so,
    // and a small one that fits a small claim.
    let zeros = vec![0; 1 << 27];
    let stated = zstd::bulk::compress(&zeros, 19).unwrap().repeat(8);
    let unstated = zstd::stream::encode_all(zeros.as_slice(), 1)
        .unwrap()
        .repeat(8);
    let small = zstd::bulk::compress(&zeros[..1 << 16], 19).unwrap();
    for (what, bomb, raw_len) in [
        ("a bomb of 64 KiB that claims a hundred bytes", &small, 100),
        ("a bomb that claims 4 GiB", &stated, u64::from(u32::MAX)),
        ("a bomb that claims all that is allowed", &stated, 65 << 20),
        ("a bomb that keeps its size to itself", &unstated, 30 << 20),
    ] {
        for side in [Side::Keys, Side::Values] {
            let mut forge = Forge::new(&compressed);
            forge.set_section(0, side, 1, bomb, &[0; 100]);
            forge.set(Place::Section(0, side), "raw_len", raw_len);
            let field = match side {
                Side::Keys => "key_raw_len",
                Side::Values => "value_raw_len",
            };
            forge.set(Place::TocEntry(block), field, raw_len);
            schemes.push((what, forge.seal()));
        }
    }
    schemes
}

#[test]
fn schemes_of_several_lies_cost_little_time() {
    for (what, bytes) in schemes() {
        ask_everyone(&bytes, what);
    }
}

/// A segment with 256 KiB of something behind its description, where only a
/// scan comes by.
fn stuffed(mut next: impl FnMut(&SegmentIds, u64) -> Vec<u8>) -> Vec<u8> {
    let segment = sound_segments::plain();
    let ids = FileHeader::decode(&segment).unwrap().ids;
    let forge = Forge::new(&segment);
    let start = forge.range(Place::Frame(1)).start;
    let mut bytes = segment[..start].to_vec();
    while bytes.len() < 1 << 18 {
        let more = next(&ids, u64::try_from(bytes.len()).unwrap());
        bytes.extend_from_slice(&more);
    }
    bytes.extend_from_slice(&segment[start..]);
    bytes
}

#[test]
fn a_scan_is_not_led_in_circles() {
    let schemes: [(&str, Vec<u8>); 5] = [
        ("markers", stuffed(|_, _| FRAME_MARKER.to_vec())),
        (
            "frames that claim each other",
            stuffed(|ids, at| {
                let mut frame = FrameHeader::new(ids, FrameType::Other(200), at / 48, at, b"");
                frame.stored_len = 200_000;
                frame.encode(ids)
            }),
        ),
        (
            "tables that claim each other",
            stuffed(|ids, at| {
                let mut frame = FrameHeader::new(ids, FrameType::Toc, at / 48, at, b"");
                frame.stored_len = 200_000;
                frame.encode(ids)
            }),
        ),
        (
            "parts that claim each other",
            stuffed(|ids, at| {
                let header = ValuePartHeader {
                    value_len: 200_000,
                    value_offset: 0,
                    part_number: 0,
                    section: SectionDescriptor {
                        codec: Codec::Plain,
                        stored_len: 200_000,
                        raw_len: 200_000,
                        stored_crc: 0,
                        raw_crc: 0,
                    },
                };
                let mut frame = FrameHeader::new(ids, FrameType::ValuePart, at / 96, at, b"");
                frame.stored_len = header.payload_len();
                [frame.encode(ids), header.encode(ids, at / 96)].concat()
            }),
        ),
        (
            "blocks that claim each other",
            stuffed(|ids, at| {
                let section = SectionDescriptor {
                    codec: Codec::Plain,
                    stored_len: 90_000,
                    raw_len: 90_000,
                    stored_crc: 0,
                    raw_crc: 0,
                };
                let header = BlockHeader {
                    record_count: 1,
                    keys: section,
                    values: section,
                };
                let mut frame = FrameHeader::new(ids, FrameType::Block, at / 96, at, b"");
                frame.stored_len = header.payload_len();
                [frame.encode(ids), header.encode(ids, at / 96)].concat()
            }),
        ),
    ];
    for (what, bytes) in schemes {
        ask_everyone(&bytes, what);
        // And with nothing to say which segment it is.
        ask_everyone(&bytes[100..bytes.len() - 100], what);
    }
}

#[test]
fn no_lie_makes_the_program_take_much_memory() {
    let workdir = Workdir::new("hostile");
    let mut files: Vec<(String, Vec<u8>)> = schemes()
        .into_iter()
        .map(|(what, bytes)| (what.to_owned(), bytes))
        .collect();
    let plain = sound_segments::plain();
    let forge = Forge::new(&plain);
    for place in places(&forge, false) {
        for field in Forge::fields(place).iter().filter(|field| field.size <= 8) {
            let most = u64::MAX >> (64 - 8 * field.size);
            let bytes = with_lie(&plain, place, *field, most);
            files.push((format!("{place:?} {} = {most}", field.name), bytes));
        }
    }
    let in_parts = sound_segments::in_parts();
    for place in [Place::Part(0), Place::PartSection(0), Place::TocEntry(1)] {
        for field in Forge::fields(place).iter().filter(|field| field.size <= 8) {
            let most = u64::MAX >> (64 - 8 * field.size);
            let bytes = with_lie(&in_parts, place, *field, most);
            files.push((format!("{place:?} {} = {most}", field.name), bytes));
        }
    }
    thread::scope(|scope| {
        for (number, part) in files.chunks(files.len().div_ceil(4)).enumerate() {
            let place = workdir.join(number.to_string());
            scope.spawn(move || ask_the_program(&place, part));
        }
    });
}

/// Writes each file into a place of its own, and runs all commands on it.
fn ask_the_program(place: &Path, files: &[(String, Vec<u8>)]) {
    fs::create_dir(place).unwrap();
    for (what, bytes) in files {
        fs::write(place.join(NAME), bytes).unwrap();
        for command in ["verify --deep", "ls", "get", "salvage --to out --name x -q"] {
            let key = if command == "get" { "k" } else { "" };
            let line = format!(
                "ulimit -v {MEMORY_KIB_MAX}; exec {} {command} {NAME} {key}",
                env!("CARGO_BIN_EXE_mcsnap")
            );
            let output = clear_settings(&mut Command::new("sh"))
                .args(["-c", &line])
                .current_dir(place)
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let code = output.status.code();
            assert!(
                matches!(code, Some(0..=4)) && !stderr.contains("panicked"),
                "{what}: {command}: {:?}\n{stderr}",
                output.status
            );
            let _ = fs::remove_dir_all(place.join("out"));
        }
    }
}
