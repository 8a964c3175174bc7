//! Whatever happens to the bytes of a segment: it is found and located, no wrong
//! record is taken for a good one, no key is said to be absent that is there,
//! and a salvage brings out every block that is not damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::frame::FrameType;
use mcsnap::codecs::format::layout::{FRAME_HEADER_SIZE, PAGE_SIZE, TAIL_SIZE};
use mcsnap::codecs::format::manifest::{ManifestSegment, Need};
use mcsnap::codecs::select::Selection;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::get::{LookupOptions, look_up};
use mcsnap::jobs::ls::{ListingOptions, list};
use mcsnap::jobs::salvage::{SalvageOptions, SalvageReport, salvage};
use mcsnap::jobs::verify::{Depth, VerifyOptions, VerifyReport, verify_snapshot};
use mcsnap::ports::store::{DamagedPlace, Fault, FaultyStore, MemoryStore, Store};
use mcsnap::words::budget::MemoryLimit;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::ErrorKind;
use mcsnap::words::finding::Finding;
use mcsnap::words::item::{Cas, ItemMeta};
use mcsnap::words::location::Location;
use mcsnap::words::progress::NoProgress;
use proptest::prelude::*;

use crate::format::snapshot_property::{
    Cut, Items, NAME, Owned, bytes_of, read_all, replace, write,
};
use crate::harness::forge::{CRITICAL, Forge, HAS_PAYLOAD_CRC};

const SALVAGED: &str = "salvaged";

/// Four records, each a block of its own, and all blocks of one length.
fn items() -> Items {
    (0..4_u8)
        .map(|number| {
            // The server told more of every other item, which starts a block.
            let meta = ItemMeta {
                client_flags: Some(7),
                cas: (number % 2 == 0).then_some(Cas(9)),
                last_access: (number % 2 == 1).then_some(mcsnap::words::units::UnixSecs(9)),
                ..ItemMeta::default()
            };
            let value = vec![b'a' + number; 20];
            (vec![b'k', b'0' + number], Owned { value, meta })
        })
        .collect()
}

/// A segment, and where its parts are.
struct Sample {
    store: MemoryStore,
    items: Items,
    object: String,
    whole: Vec<u8>,
    frames: Vec<(FrameType, Range<usize>)>,
    /// The key of each block's record.
    keys: Vec<Vec<u8>>,
}

fn sample(compression: Compression) -> Sample {
    let store = MemoryStore::new();
    let items = items();
    let cut = Cut {
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression,
        shard_bits: 0,
    };
    let named = write(Arc::new(store.clone()), &items, &cut).remove(0);
    let object = format!("{NAME}/{}", named.object);
    let snapshot = open(&store);
    let segment = snapshot.open_segment(&named).unwrap();
    let frames = segment
        .toc()
        .entries
        .iter()
        .map(|entry| {
            let start = usize::try_from(entry.offset).unwrap();
            (
                entry.frame_type,
                start..usize::try_from(entry.end()).unwrap(),
            )
        })
        .collect();
    let mut sections = SectionReader::default();
    let keys = (0..segment.block_count())
        .map(|block| {
            let columns = segment.read_keys(block, &mut sections).unwrap();
            assert_eq!(columns.len(), 1);
            columns.key(0).unwrap().to_vec()
        })
        .collect();
    let whole = bytes_of(&store, &object);
    Sample {
        store,
        items,
        object,
        whole,
        frames,
        keys,
    }
}

fn open(store: &MemoryStore) -> SnapshotReader {
    SnapshotReader::open(Arc::new(store.clone()), NAME, Need::Read).unwrap()
}

impl Sample {
    fn blocks(&self) -> Vec<Range<usize>> {
        let blocks = self
            .frames
            .iter()
            .filter(|(frame_type, _)| *frame_type == FrameType::Block);
        blocks.map(|(_, range)| range.clone()).collect()
    }

    /// Runs every reader over other bytes. `intact` are the blocks whose payload
    /// is still somewhere in them.
    fn check(&self, bytes: &[u8], intact: &BTreeSet<usize>, what: &str) -> Vec<Finding> {
        replace(&self.store, &self.object, bytes);
        let findings = self.verify(what);
        assert!(!findings.is_empty(), "{what}: not found");
        self.look(what);
        self.salvage(&self.snapshot_input(), intact, what);
        findings
    }

    fn snapshot_input(&self) -> DamagedPlace {
        DamagedPlace::Snapshot {
            store: Arc::new(self.store.clone()),
            name: NAME.to_owned(),
        }
    }

    fn segment_input(&self) -> DamagedPlace {
        DamagedPlace::Segment {
            store: Arc::new(self.store.clone()),
            object: self.object.clone(),
            is_unfinished: false,
        }
    }

    fn verify(&self, what: &str) -> Vec<Finding> {
        let report = verify(&self.store, NAME);
        report
            .unwrap_or_else(|error| panic!("{what}: {error}"))
            .findings
    }

    /// No look-up and no listing says anything wrong.
    fn look(&self, what: &str) {
        let snapshot = open(&self.store);
        let options = LookupOptions {
            nodes: Vec::new(),
            is_every_node_asked: false,
            is_value_wanted: true,
            thread_count: 1,
        };
        for (key, owned) in &self.items {
            let report = look_up(&snapshot, key, &options, &Cancel::new()).unwrap();
            match report.copies.as_slice() {
                [] => assert!(!report.findings.is_empty(), "{what}: {key:?} is \"absent\""),
                [copy] => {
                    assert_eq!(copy.meta, owned.meta, "{what}: {key:?}");
                    match &copy.value {
                        Some(value) => {
                            assert_eq!(value.whole().unwrap(), owned.value, "{what}: {key:?}");
                        }
                        None => assert!(!report.findings.is_empty(), "{what}: {key:?}"),
                    }
                }
                more => panic!("{what}: {key:?} has {} copies", more.len()),
            }
        }
        let options = ListingOptions {
            nodes: Vec::new(),
            selection: Selection::default(),
            at: None,
            thread_count: 1,
        };
        let render = |listed: &mcsnap::jobs::ls::ListedRecord<'_>, _: &mut Vec<u8>| {
            let owned = self.items.get(listed.record.key);
            let owned = owned.unwrap_or_else(|| panic!("{what}: a key out of nothing"));
            assert_eq!(listed.record.meta, owned.meta, "{what}");
        };
        let report = list(&snapshot, &options, &Cancel::new(), &render, &mut |_| {
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        let all = u64::try_from(self.items.len()).unwrap();
        assert!(
            report.listed == all || !report.findings.is_empty(),
            "{what}"
        );
    }

    /// A salvage brings the records of the intact blocks, and none that is wrong.
    fn salvage(&self, input: &DamagedPlace, intact: &BTreeSet<usize>, what: &str) {
        let output = MemoryStore::new();
        match run(input, &output) {
            Ok(report) => {
                let found = read_all(Arc::new(output.clone()), SALVAGED);
                for (key, owned) in &found {
                    assert_eq!(self.items.get(key), Some(owned), "{what}: {key:?}");
                }
                for block in intact {
                    let key = &self.keys[*block];
                    assert!(
                        found.contains_key(key),
                        "{what}: block {block} is not salvaged"
                    );
                }
                let lost = self.items.len() - found.len();
                assert!(lost == 0 || report.has_loss(), "{what}: a silent loss");
                if !report.is_loss_unknown {
                    assert_eq!(report.records_lost, u64::try_from(lost).unwrap(), "{what}");
                }
                let salvaged = verify(&output, SALVAGED).unwrap();
                assert!(!salvaged.has_errors(), "{what}: {:?}", salvaged.findings);
            }
            Err(error) => {
                // A newer format is for a newer reader; and nothing may be left.
                let is_newer = error.is_newer();
                assert!(is_newer || intact.is_empty(), "{what}: {error}");
                assert_eq!(output.list("").unwrap(), [], "{what}");
            }
        }
    }

    /// Which frame of the segment has this byte.
    fn frame_at(&self, byte: usize) -> Option<&(FrameType, Range<usize>)> {
        self.frames.iter().find(|(_, range)| range.contains(&byte))
    }

    /// Blocks none of whose bytes but those of the frame header are in a range.
    fn intact_without(&self, damaged: &Range<usize>) -> BTreeSet<usize> {
        let blocks = self.blocks().into_iter().enumerate();
        blocks
            .filter(|(_, block)| {
                let payload = block.start + FRAME_HEADER_SIZE..block.end;
                payload.end <= damaged.start || damaged.end <= payload.start
            })
            .map(|(number, _)| number)
            .collect()
    }
}

fn run(input: &DamagedPlace, output: &MemoryStore) -> mcsnap::words::error::Result<SalvageReport> {
    run_into(input, Arc::new(output.clone()))
}

fn run_into(
    input: &DamagedPlace,
    output: Arc<dyn Store>,
) -> mcsnap::words::error::Result<SalvageReport> {
    let options = SalvageOptions {
        name: SALVAGED.to_owned(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        thread_count: 1,
        memory_limit: MemoryLimit::None,
    };
    salvage(input, output, &options, &Cancel::new(), &NoProgress)
}

fn verify(store: &MemoryStore, name: &str) -> mcsnap::words::error::Result<VerifyReport> {
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    let store = Arc::new(store.clone());
    verify_snapshot(store, name, &options, &Cancel::new(), &NoProgress)
}

fn offset_of(finding: &Finding) -> Option<usize> {
    let Location::Object { offset, .. } = finding.location else {
        return None;
    };
    usize::try_from(offset?).ok()
}

#[test]
fn every_flipped_bit_is_found_in_its_frame_or_page_and_costs_no_other_block() {
    // Some thousand bits, and all readers for each.
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || {
                let sample = sample(Compression::None);
                for byte in (0..sample.whole.len()).skip(part).step_by(4) {
                    flip_each_bit(&sample, byte);
                }
            });
        }
    });
}

fn flip_each_bit(sample: &Sample, byte: usize) {
    let frame = sample.frame_at(byte);
    // The empty part of a page is thousands of times the same.
    let is_empty_part = matches!(
        frame,
        Some((FrameType::KeyIndex, range)) if byte > range.start + 200
    );
    for bit in 0..8 {
        if is_empty_part && (!byte.is_multiple_of(11) || bit != byte % 8) {
            continue;
        }
        let mut flipped = sample.whole.clone();
        flipped[byte] ^= 1 << bit;
        let what = format!("bit {bit} of byte {byte}");
        let intact = sample.intact_without(&(byte..byte + 1));
        let findings = sample.check(&flipped, &intact, &what);
        let Some((frame_type, range)) = frame else {
            continue;
        };
        // The finding names the frame, and of the index the page.
        let index_head = range.start + FRAME_HEADER_SIZE + 32;
        let place = if *frame_type == FrameType::KeyIndex && byte >= index_head {
            let page = (byte - index_head) / PAGE_SIZE;
            index_head + page * PAGE_SIZE..index_head + (page + 1) * PAGE_SIZE
        } else {
            range.clone()
        };
        let is_located = findings
            .iter()
            .filter_map(offset_of)
            .any(|offset| place.contains(&offset));
        assert!(
            is_located,
            "{what} in {frame_type:?} {place:?}: {findings:?}"
        );
    }
}

#[test]
fn every_prefix_and_every_rest_gives_the_blocks_that_it_has() {
    std::thread::scope(|scope| {
        for compression in [Compression::None, Compression::Zstd(1)] {
            scope.spawn(move || cut_everywhere(compression));
        }
    });
}

fn cut_everywhere(compression: Compression) {
    let sample = sample(compression);
    let blocks = sample.blocks();
    let whole = |range: Range<usize>| -> BTreeSet<usize> {
        let blocks = blocks.iter().enumerate();
        blocks
            .filter(|(_, block)| range.start <= block.start && block.end <= range.end)
            .map(|(number, _)| number)
            .collect()
    };
    let len = sample.whole.len();
    // Behind the blocks there is nothing to be lost but tables.
    let blocks_end = blocks.last().unwrap().end;
    for cut in (0..blocks_end + 200).chain((blocks_end..len).step_by(97)) {
        let (start, end) = sample.whole.split_at(cut);
        let what = format!("{compression}: the first {cut} bytes");
        sample.check(start, &whole(0..cut), &what);
        // With no manifest to tell which segment it is.
        sample.salvage(&sample.segment_input(), &whole(0..cut), &what);
        if cut > 0 {
            let what = format!("{compression}: all but the first {cut} bytes");
            sample.check(end, &whole(cut..len), &what);
            sample.salvage(&sample.segment_input(), &whole(cut..len), &what);
        }
    }
}

#[test]
fn a_piece_with_neither_head_nor_tail_gives_its_blocks() {
    let sample = sample(Compression::Zstd(1));
    let blocks = sample.blocks();
    for first in 0..blocks.len() {
        for last in first..blocks.len() {
            let piece = &sample.whole[blocks[first].start - 20..blocks[last].end + 20];
            replace(&sample.store, &sample.object, piece);
            let intact: BTreeSet<usize> = (first..=last).collect();
            let what = format!("blocks {first} to {last}");
            sample.salvage(&sample.segment_input(), &intact, &what);
        }
    }
}

#[test]
fn blocks_that_changed_places_are_found_and_brought_out() {
    let (sample, other) = (sample(Compression::None), sample(Compression::None));
    let blocks = sample.blocks();
    let all: BTreeSet<usize> = (0..blocks.len()).collect();
    let mut covered = BTreeMap::new();
    for (a, first) in blocks.iter().enumerate() {
        for (b, second) in blocks.iter().enumerate() {
            assert_eq!(first.len(), second.len());
            let without = |gone: usize| -> BTreeSet<usize> {
                all.iter().copied().filter(|block| *block != gone).collect()
            };
            let mut check = |kind: &'static str, bytes: &[u8], intact: &BTreeSet<usize>| {
                let what = format!("{kind}: {a} and {b}");
                let findings = sample.check(bytes, intact, &what);
                sample.salvage(&sample.segment_input(), intact, &what);
                *covered.entry(kind).or_insert(0) += findings.len();
            };
            let foreign = &other.whole[other.blocks()[b].clone()];
            let mut bytes = sample.whole.clone();
            bytes[first.clone()].copy_from_slice(foreign);
            check("foreign", &bytes, &without(a));
            if a == b {
                let bytes = [&sample.whole[..first.start], &sample.whole[first.end..]].concat();
                check("dropped", &bytes, &without(a));
                continue;
            }
            let mut bytes = sample.whole.clone();
            bytes[first.clone()].copy_from_slice(&sample.whole[second.clone()]);
            check("duplicated over another", &bytes, &without(a));
            bytes[second.clone()].copy_from_slice(&sample.whole[first.clone()]);
            check("swapped", &bytes, &all);
            let (start, end) = sample.whole.split_at(first.start);
            let bytes = [start, &sample.whole[second.clone()], end].concat();
            check("duplicated in between", &bytes, &all);
        }
    }
    assert_eq!(covered.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever else is gone, head, tail, tables and all, a frame that is left
    /// is brought out.
    #[test]
    fn many_damages_at_once_cost_no_block_that_they_do_not_touch(
        damages in prop::collection::vec((any::<prop::sample::Index>(), 1..400_usize), 0..6),
        is_alone in any::<bool>(),
        noise in any::<u8>(),
    ) {
        let sample = sample(Compression::Zstd(1));
        let mut bytes = sample.whole.clone();
        let mut intact: BTreeSet<usize> = (0..sample.keys.len()).collect();
        for (start, len) in &damages {
            let start = start.index(bytes.len());
            let end = (start + len).min(bytes.len());
            for (at, byte) in (start..end).zip(&mut bytes[start..end]) {
                *byte ^= noise.wrapping_add(at.to_le_bytes()[0]) | 1;
            }
            for (block, range) in sample.blocks().iter().enumerate() {
                if range.start < end && start < range.end {
                    intact.remove(&block);
                }
            }
        }
        replace(&sample.store, &sample.object, &bytes);
        let input = if is_alone { sample.segment_input() } else { sample.snapshot_input() };
        sample.salvage(&input, &intact, &format!("{damages:?}"));
        sample.look(&format!("{damages:?}"));
    }
}

#[test]
fn a_segment_file_is_a_snapshot_of_itself() {
    let sample = sample(Compression::Zstd(1));
    let items = read_all(Arc::new(sample.store.clone()), &sample.object);
    assert_eq!(items, sample.items);
    assert_eq!(verify(&sample.store, &sample.object).unwrap().findings, []);
}

#[test]
fn a_segment_that_is_the_value_of_a_record_is_not_taken_for_part_of_the_file() {
    let inner = sample(Compression::None);
    let store = MemoryStore::new();
    let meta = ItemMeta::default();
    let value = inner.whole.clone();
    let items: Items = [
        (b"inner".to_vec(), Owned { value, meta }),
        (
            b"other".to_vec(),
            Owned {
                value: b"x".to_vec(),
                meta: ItemMeta {
                    cas: Some(Cas(1)),
                    ..meta
                },
            },
        ),
    ]
    .into();
    let cut = Cut {
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        shard_bits: 0,
    };
    let named = write(Arc::new(store.clone()), &items, &cut).remove(0);
    let object = format!("{NAME}/{}", named.object);
    let whole = bytes_of(&store, &object);
    let at = whole
        .windows(inner.whole.len())
        .position(|window| window == inner.whole)
        .unwrap();
    // The outer record is damaged, its head and tail are gone: what is left
    // are the frames of the inner segment, and one block of the outer.
    let mut damaged = whole[70..whole.len() - 40].to_vec();
    damaged[at - 70 - 60] ^= 1;
    replace(&store, &object, &damaged);
    let input = DamagedPlace::Segment {
        store: Arc::new(store),
        object,
        is_unfinished: false,
    };
    let output = MemoryStore::new();
    run(&input, &output).unwrap();
    let found = read_all(Arc::new(output), SALVAGED);
    assert_eq!(found.keys().collect::<Vec<_>>(), [b"other"]);
}

#[test]
fn each_store_operation_failed_in_turn_leaves_a_whole_salvage_or_none() {
    let sample = sample(Compression::Zstd(1));
    let mut damaged = sample.whole.clone();
    let first = sample.blocks()[0].clone();
    damaged[first.end - 1] ^= 1;
    replace(&sample.store, &sample.object, &damaged);
    let kept = bytes_of(&sample.store, &sample.object);

    // Writing: as a dump.
    let counting = FaultyStore::counting(MemoryStore::new());
    run_into(&sample.snapshot_input(), Arc::new(counting.clone())).unwrap();
    let count = counting.operation_count();
    assert!(count >= 5, "{count} operations");
    for fault in [Fault::Freeze, Fault::Once, Fault::LostReply] {
        for fail_at in 0..count {
            let output = MemoryStore::new();
            let faulty = FaultyStore::new(output.clone(), fail_at, fault);
            let done = run_into(&sample.snapshot_input(), Arc::new(faulty));
            let is_there = output.open(&format!("{SALVAGED}/manifest.json")).is_ok();
            assert!(done.is_err() || is_there, "{fault:?} at {fail_at}");
            if is_there {
                assert!(!verify(&output, SALVAGED).unwrap().has_errors());
            } else if fault == Fault::Once {
                assert_eq!(output.list("").unwrap(), [], "{fault:?} at {fail_at}");
            }
        }
    }

    // Reading: what fails once is read again page by page, and nothing is lost
    // by it; a store that is dead brings an error or tells the loss.
    let counting = FaultyStore::counting(sample.store.clone());
    let input = |store: FaultyStore| DamagedPlace::Snapshot {
        store: Arc::new(store),
        name: NAME.to_owned(),
    };
    run(&input(counting.clone()), &MemoryStore::new()).unwrap();
    let count = counting.operation_count();
    for fault in [Fault::Freeze, Fault::Once] {
        for fail_at in 0..count {
            let output = MemoryStore::new();
            let faulty = FaultyStore::new(sample.store.clone(), fail_at, fault);
            match run(&input(faulty), &output) {
                Ok(report) => {
                    let found = read_all(Arc::new(output.clone()), SALVAGED);
                    let lost = sample.items.len() - found.len();
                    assert!(lost >= 1 && report.has_loss());
                    assert!(
                        fault == Fault::Freeze || lost == 1,
                        "{fault:?} at {fail_at}"
                    );
                }
                Err(_) => assert_eq!(output.list("").unwrap(), [], "{fault:?} at {fail_at}"),
            }
        }
    }
    assert_eq!(
        bytes_of(&sample.store, &sample.object),
        kept,
        "the input was changed"
    );
}

#[test]
fn without_a_manifest_every_segment_is_salvaged_and_a_missing_one_is_told() {
    let store = MemoryStore::new();
    let (items, segments) = several(&store);
    assert!(segments.len() >= 5);
    let input = DamagedPlace::Snapshot {
        store: Arc::new(store.clone()),
        name: NAME.to_owned(),
    };
    // One that is missing: the manifest tells how much was in it.
    let gone = format!("{NAME}/{}", segments[1].object);
    store.remove(&gone).unwrap();
    let output = MemoryStore::new();
    let report = run(&input, &output).unwrap();
    assert_eq!(report.records_lost, segments[1].records);
    assert_eq!(report.findings[0].defect.code(), "MCS017");
    assert_eq!(
        report.manifest.nodes[0].counters.failed,
        segments[1].records
    );
    // And no manifest: nothing tells.
    let manifest = format!("{NAME}/manifest.json");
    for bytes in [None, Some(b"{ not a manifest".as_slice())] {
        store.remove(&manifest).unwrap();
        if let Some(bytes) = bytes {
            store.put_new(&manifest, bytes).unwrap();
        }
        let output = MemoryStore::new();
        let report = run(&input, &output).unwrap();
        assert!(report.is_loss_unknown);
        assert_eq!(report.manifest.nodes[0].shard_bits, 1);
        assert_eq!(report.records(), 40 - segments[1].records);
        let found = read_all(Arc::new(output.clone()), SALVAGED);
        assert!(
            found
                .iter()
                .all(|(key, owned)| items.get(key) == Some(owned))
        );
        assert!(!verify(&output, SALVAGED).unwrap().has_errors());
        if bytes.is_none() {
            store.put_new(&manifest, b"").unwrap();
        }
    }
    // A name that is taken is left alone, and so is the input.
    let taken = run_into(&input, Arc::new(store.clone()));
    taken.unwrap();
    let error = run_into(&input, Arc::new(store)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::AlreadyExists { .. }));
}

#[test]
fn a_hole_in_front_of_the_tail_is_a_loss_that_nobody_can_count() {
    let sample = sample(Compression::Zstd(1));
    let blocks = sample.blocks();
    let mut bytes = sample.whole.clone();
    let tail = bytes.len() - TAIL_SIZE;
    bytes[blocks[1].end..tail].fill(0);
    replace(&sample.store, &sample.object, &bytes);
    let report = run(&sample.segment_input(), &MemoryStore::new()).unwrap();
    assert_eq!(report.records(), 2);
    assert!(report.is_loss_unknown, "{report:?}");
}

#[test]
fn frames_for_newer_readers_are_a_loss_that_nobody_can_count() {
    let segment = crate::harness::sound_segments::plain();
    let mut forge = Forge::new(&segment);
    // ENCRYPTED, before the key index.
    forge.insert_frame(3, 9, CRITICAL | HAS_PAYLOAD_CRC, b"who knows");
    let store = MemoryStore::new();
    store.put_new("x.mcs", &forge.seal()).unwrap();
    let input = DamagedPlace::Segment {
        store: Arc::new(store),
        object: "x.mcs".to_owned(),
        is_unfinished: false,
    };
    let report = run(&input, &MemoryStore::new()).unwrap();
    assert!(
        report.is_loss_unknown && report.records() == 3,
        "{report:?}"
    );
    let codes = report.segments[0].salvage.findings.iter();
    assert!(
        codes
            .map(|finding| finding.defect.code())
            .any(|code| code == "MCS009")
    );
}

/// Some segments in two shards.
fn several(store: &MemoryStore) -> (Items, Vec<ManifestSegment>) {
    let items: Items = (0..40_u8)
        .map(|number| {
            let owned = Owned {
                value: vec![number; 50],
                meta: ItemMeta::default(),
            };
            (vec![b'k', number], owned)
        })
        .collect();
    let cut = Cut {
        segment_size_max: 1 << 20,
        segment_record_count_max: 8,
        compression: Compression::None,
        shard_bits: 1,
    };
    let segments = write(Arc::new(store.clone()), &items, &cut);
    (items, segments)
}

#[test]
fn segments_under_each_other_s_names_are_found_by_what_they_are() {
    let store = MemoryStore::new();
    let (items, segments) = several(&store);
    let names: Vec<String> = segments
        .iter()
        .map(|segment| format!("{NAME}/{}", segment.object))
        .collect();
    let first = bytes_of(&store, &names[0]);
    let last = bytes_of(&store, names.last().unwrap());
    replace(&store, &names[0], &last);
    replace(&store, names.last().unwrap(), &first);
    let input = DamagedPlace::Snapshot {
        store: Arc::new(store),
        name: NAME.to_owned(),
    };
    let output = MemoryStore::new();
    let report = run(&input, &output).unwrap();
    assert!(!report.has_loss());
    assert_eq!(read_all(Arc::new(output), SALVAGED), items);
    let codes: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.defect.code())
        .collect();
    assert_eq!(codes, ["MCS005", "MCS005"]);
}

#[test]
fn a_second_copy_of_a_segment_adds_nothing() {
    let store = MemoryStore::new();
    let (items, segments) = several(&store);
    store.remove(&format!("{NAME}/manifest.json")).unwrap();
    let bytes = bytes_of(&store, &format!("{NAME}/{}", segments[0].object));
    store
        .put_new(&format!("{NAME}/segments/copy.mcs"), &bytes)
        .unwrap();
    // A cut copy is left out for the whole one, whichever comes first.
    let cut = &bytes[..bytes.len() / 2];
    store
        .put_new(&format!("{NAME}/segments/a.mcs"), cut)
        .unwrap();
    let input = DamagedPlace::Snapshot {
        store: Arc::new(store),
        name: NAME.to_owned(),
    };
    let output = MemoryStore::new();
    let report = run(&input, &output).unwrap();
    assert_eq!(report.records(), u64::try_from(items.len()).unwrap());
    assert_eq!(report.manifest.nodes.len(), 1);
    assert_eq!(read_all(Arc::new(output), SALVAGED), items);
    let strays = report.findings.iter();
    assert_eq!(
        strays
            .filter(|finding| finding.defect.code() == "MCS019")
            .count(),
        2
    );
}

#[test]
fn records_in_a_wrong_shard_are_written_in_a_right_one() {
    let store = MemoryStore::new();
    let (items, _) = several(&store);
    // A manifest that swaps the shards.
    let path = format!("{NAME}/manifest.json");
    let mut manifest = open(&store).manifest().clone();
    for segment in &mut manifest.segments {
        segment.shard_index = 1 - segment.shard_index;
    }
    manifest.segments.sort_by_key(ManifestSegment::place);
    // Those would lead to other names.
    manifest.nodes[0].look_ups.clear();
    replace(&store, &path, &manifest.encode());
    let input = DamagedPlace::Snapshot {
        store: Arc::new(store),
        name: NAME.to_owned(),
    };
    let output = MemoryStore::new();
    let report = run(&input, &output).unwrap();
    assert!(!report.has_loss());
    assert_eq!(report.findings[0].defect.code(), "MCS014");
    assert_eq!(read_all(Arc::new(output.clone()), SALVAGED), items);
    assert_eq!(verify(&output, SALVAGED).unwrap().findings, []);
    // What the first try wrote is gone.
    let segments = output.list(&format!("{SALVAGED}/segments")).unwrap();
    assert_eq!(segments.len(), report.manifest.segments.len());
}
