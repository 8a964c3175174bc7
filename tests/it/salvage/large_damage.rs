//! Whatever happens to a segment with values in parts: no wrong value is taken
//! for a good one, and a salvage brings every value of which all parts are there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::format::layout::FRAME_HEADER_SIZE;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::{SegmentReader, SnapshotReader};
use mcsnap::jobs::get::{LookupOptions, look_up};
use mcsnap::jobs::salvage::{SalvageOptions, SalvageReport, salvage};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{DamagedPlace, MemoryStore, Store as _};
use mcsnap::words::budget::MemoryLimit;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::limits::Limits;
use mcsnap::words::progress::NoProgress;

use crate::format::snapshot_property::read_all;
use crate::harness::forge::{BLOCK, Forge, Place};
use crate::harness::sound_segments;

const NAME: &str = "parts.mcs";

type Values = BTreeMap<Vec<u8>, Vec<u8>>;

struct Sample {
    whole: Vec<u8>,
    frames: Vec<Range<usize>>,
    values: Values,
    /// The frames that a record takes: its block, and its parts.
    needed: BTreeMap<Vec<u8>, BTreeSet<usize>>,
}

fn sample() -> Sample {
    let whole = sound_segments::in_parts();
    let forge = Forge::new(&whole);
    let frames: Vec<Range<usize>> = (0..forge.frame_count())
        .map(|frame| forge.range(Place::Frame(frame)).start..forge.payload(frame).end)
        .collect();
    let store = MemoryStore::new();
    store.put_new(NAME, &whole).unwrap();
    let object = store.open(NAME).unwrap();
    let segment = SegmentReader::open_object(object, NAME.to_owned(), &Limits::default()).unwrap();
    let block_frames: Vec<usize> = (0..frames.len())
        .filter(|&frame| forge.kind(frame) == BLOCK)
        .collect();
    let (mut values, mut needed) = (Values::new(), BTreeMap::new());
    for (number, &frame) in block_frames.iter().enumerate() {
        let block = segment.read_block(number).unwrap();
        let block = block.decode(&mut SectionReader::default()).unwrap();
        for index in 0..block.len() {
            let record = block.record(index).unwrap().unwrap();
            let value = segment.whole_value(number, index, record.value).unwrap();
            let mut takes = BTreeSet::from([frame]);
            if let Some(parted) = block.columns().parted_value(index) {
                let first = frames
                    .iter()
                    .position(|range| range.start == usize::try_from(parted.place).unwrap());
                let count = value.len().div_ceil(sound_segments::PART_LEN);
                takes.extend(first.unwrap()..first.unwrap() + count);
            }
            needed.insert(record.key.to_vec(), takes);
            values.insert(record.key.to_vec(), value.into_owned());
        }
    }
    assert_eq!(values.len(), 5);
    Sample {
        whole,
        frames,
        values,
        needed,
    }
}

impl Sample {
    /// The keys of records whose frames are all among these.
    fn keys_of(&self, intact: &BTreeSet<usize>) -> BTreeSet<&[u8]> {
        let needed = self.needed.iter();
        needed
            .filter(|(_, takes)| takes.is_subset(intact))
            .map(|(key, _)| key.as_slice())
            .collect()
    }

    /// Runs every reader over other bytes; the payloads of the frames that are
    /// intact are still somewhere in them.
    fn check(&self, bytes: &[u8], intact: &BTreeSet<usize>, what: &str) -> Option<SalvageReport> {
        let store = MemoryStore::new();
        store.put_new(NAME, bytes).unwrap();
        self.look(&store, what);
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
        let wanted = self.keys_of(intact);
        let Ok(report) = done else {
            assert!(wanted.is_empty(), "{what}: {:?}", done.err());
            return None;
        };
        let found = read_all(Arc::new(output.clone()), "salvaged");
        for (key, owned) in &found {
            assert_eq!(self.values.get(key), Some(&owned.value), "{what}: {key:?}");
        }
        for key in &wanted {
            assert!(found.contains_key(*key), "{what}: {key:?} is not salvaged");
        }
        let lost = self.values.len() - found.len();
        assert!(lost == 0 || report.has_loss(), "{what}: a silent loss");
        if !report.is_loss_unknown {
            let told = usize::try_from(report.records_lost).unwrap();
            assert_eq!(told, lost, "{what}");
        }
        let options = VerifyOptions {
            depth: Depth::Deep,
            thread_count: 1,
        };
        let verified = verify_snapshot(
            Arc::new(output),
            "salvaged",
            &options,
            &Cancel::new(),
            &NoProgress,
        );
        assert!(!verified.unwrap().has_errors(), "{what}");
        Some(report)
    }

    /// A look-up finds the value, or says that it cannot tell.
    fn look(&self, store: &MemoryStore, what: &str) {
        let opened = SnapshotReader::open(Arc::new(store.clone()), NAME, Need::Read);
        let Ok(snapshot) = opened else {
            return;
        };
        let options = LookupOptions {
            nodes: Vec::new(),
            is_every_node_asked: false,
            is_value_wanted: true,
            thread_count: 1,
        };
        for (key, value) in &self.values {
            let report = look_up(&snapshot, key, &options, &Cancel::new()).unwrap();
            let found = report.copies.first().and_then(|copy| copy.value.as_ref());
            match found {
                Some(found) => assert_eq!(found.whole().unwrap(), *value, "{what}: {key:?}"),
                None => assert!(!report.findings.is_empty(), "{what}: {key:?}"),
            }
        }
    }

    /// Frames none of whose bytes but those of the header are in a range.
    fn intact_without(&self, damaged: &Range<usize>) -> BTreeSet<usize> {
        let frames = self.frames.iter().enumerate();
        frames
            .filter(|(_, frame)| {
                let payload = frame.start + FRAME_HEADER_SIZE..frame.end;
                payload.end <= damaged.start || damaged.end <= payload.start
            })
            .map(|(number, _)| number)
            .collect()
    }
}

#[test]
fn a_flipped_bit_costs_the_values_that_have_it_and_no_other() {
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                let sample = sample();
                let records_end = sample.frames[12].end;
                for byte in (0..records_end).skip(thread).step_by(2) {
                    let mut flipped = sample.whole.clone();
                    flipped[byte] ^= 1 << (byte % 8);
                    let intact = sample.intact_without(&(byte..byte + 1));
                    sample.check(&flipped, &intact, &format!("byte {byte}"));
                }
            });
        }
    });
}

#[test]
fn every_prefix_and_every_rest_gives_the_values_that_it_has() {
    let sample = sample();
    let whole = |range: Range<usize>| -> BTreeSet<usize> {
        let frames = sample.frames.iter().enumerate();
        frames
            .filter(|(_, frame)| range.start <= frame.start && frame.end <= range.end)
            .map(|(number, _)| number)
            .collect()
    };
    let len = sample.whole.len();
    for cut in (1..sample.frames[12].end + 100).step_by(3) {
        let (start, end) = sample.whole.split_at(cut);
        sample.check(start, &whole(0..cut), &format!("the first {cut} bytes"));
        sample.check(end, &whole(cut..len), &format!("all but the first {cut}"));
    }
}

#[test]
fn parts_are_found_wherever_they_stand() {
    let sample = sample();
    let all: BTreeSet<usize> = (0..sample.frames.len()).collect();
    let bytes_of = |order: &[usize]| {
        let mut bytes = sample.whole[..sample.frames[0].start].to_vec();
        for &frame in order {
            bytes.extend_from_slice(&sample.whole[sample.frames[frame].clone()]);
        }
        let end = sample.frames.last().unwrap().end;
        bytes.extend_from_slice(&sample.whole[end..]);
        bytes
    };
    let mut order: Vec<usize> = (0..sample.frames.len()).collect();
    assert_eq!(bytes_of(&order), sample.whole);
    // The blocks in front of their parts, and the parts backwards.
    order[1..13].reverse();
    let report = sample.check(&bytes_of(&order), &all, "backwards").unwrap();
    assert_eq!((report.records(), report.records_lost), (5, 0));
    // A frame twice, or gone.
    for frame in 1..12 {
        let mut twice: Vec<usize> = (0..sample.frames.len()).collect();
        twice.insert(frame, frame);
        sample.check(&bytes_of(&twice), &all, &format!("frame {frame} twice"));
        let mut without: Vec<usize> = (0..sample.frames.len()).collect();
        without.remove(frame);
        let intact = without.iter().copied().collect();
        let what = format!("without frame {frame}");
        let report = sample.check(&bytes_of(&without), &intact, &what).unwrap();
        let kept = u64::try_from(sample.keys_of(&intact).len()).unwrap();
        assert_eq!(report.records(), kept, "{what}");
    }
}

#[test]
fn a_lost_value_is_told_with_its_key_and_its_block_is_not_whole() {
    let sample = sample();
    let mut bytes = sample.whole.clone();
    // The last byte of the second part of user:2.
    bytes[sample.frames[2].end - 1] ^= 1;
    let intact = sample.intact_without(&(sample.frames[2].end - 1..sample.frames[2].end));
    let report = sample.check(&bytes, &intact, "a part").unwrap();
    let salvaged = &report.segments[0].salvage;
    assert_eq!(salvaged.lost_keys, ["user:2"]);
    assert_eq!((salvaged.blocks_whole, salvaged.blocks_damaged), (1, 1));
    assert_eq!((salvaged.records, salvaged.records_lost), (4, 1));
    let codes: Vec<&str> = salvaged
        .findings
        .iter()
        .map(|finding| finding.defect.code())
        .collect();
    // The part, and the value that ends before it.
    assert_eq!(codes, ["MCS003", "MCS001"]);
}
