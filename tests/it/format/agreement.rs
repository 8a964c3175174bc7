//! Both readers find the same, in the same places, whatever lies or is damaged.
//!
//! Two readers that agree where the specification is clear show nothing; two
//! that were written apart and agree on some thousand lies show that it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use mcsnap::codecs::format::layout::PAGE_SIZE;
use mcsnap::words::limits::NODE_ADDRESS_LEN_MAX;
use serde_json::{Value, json};

use crate::format::golden_valid::{forged, of_one, raw_keys, resealed, text_of};
use crate::format::hostile::lies;
use crate::format::independent_reader::{verify_by_library, verify_independently};
use crate::harness::forge::{Forge, PLAIN, Place, STAT, Side};
use crate::harness::sound_segments;
use crate::harness::workdir::Workdir;

/// Lets both readers look at all places; each has a word on what is wrong.
fn compare(lying: &[(PathBuf, String)]) {
    let compare_part = |part: &[(PathBuf, String)]| {
        let places: Vec<&Path> = part.iter().map(|(place, _)| place.as_path()).collect();
        let found = verify_independently(&places);
        let mut different = Vec::new();
        for (place, what) in part {
            let by_library = verify_by_library(place);
            if found[place] != by_library {
                let other = &found[place];
                different.push(format!("{what}\n  {by_library:?}\n  {other:?}"));
            }
        }
        different
    };
    // No command line can hold all of them.
    let parts: Vec<_> = lying.chunks(300).collect();
    let different: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|first| {
                let parts = parts.iter().skip(first).step_by(2);
                scope.spawn(move || {
                    parts
                        .flat_map(|part| compare_part(part))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap());
        joined.flatten().collect()
    });
    let (count, all, text) = (different.len(), lying.len(), different.join("\n"));
    assert!(different.is_empty(), "{count} of {all}:\n{text}");
}

#[test]
fn both_readers_find_the_same_in_segments_that_lie() {
    let workdir = Workdir::new("lies");
    let mut lying = Vec::new();
    let later = forged(&sound_segments::plain(), |forge| {
        forge.set(Place::FileHeader, "minor", 7);
        forge.set(Place::Tail, "minor", 7);
    });
    for (name, segment) in [sound_segments::all(), vec![("later", later)]].concat() {
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
                if field.size > 8 {
                    continue;
                }
                let stored = forge.get(place, field.name);
                for lie in lies(field.size, stored) {
                    let mut forged = forge.clone();
                    forged.set_field(place, *field, lie);
                    let path = workdir.join(format!("{}.mcs", lying.len()));
                    fs::write(&path, forged.seal()).unwrap();
                    lying.push((path, format!("{name}, {place:?}, {}: {lie}", field.name)));
                }
            }
        }
    }
    compare(&lying);
}

#[test]
fn both_readers_find_the_same_where_values_are_said_to_be_elsewhere() {
    let workdir = Workdir::new("places");
    let segment = sound_segments::in_parts();
    let forge = Forge::new(&segment);
    let mut places = vec![0, 1, u64::MAX];
    for frame in 0..forge.frame_count() {
        let offset = forge.get(Place::Frame(frame), "offset");
        places.extend([offset, offset + 1]);
    }
    let mut lying = Vec::new();
    for block in 0..forge.block_count() {
        let raw = raw_keys(&forge, block);
        let count = usize::try_from(forge.get(Place::Block(block), "record_count")).unwrap();
        for record in 0..count {
            // The last column.
            let at = raw.len() - (count - record) * 8;
            for &place in &places {
                let mut raw = raw.clone();
                raw[at..at + 8].copy_from_slice(&place.to_le_bytes());
                let what = format!("block {block}, record {record}, place {place}");
                lying.push((block, raw, what));
            }
            // VALUE_LEN, behind KEY_LEN and KEY.
            let columns = 4 + 8 * usize::from(raw[0]);
            let keys = raw[columns..columns + count].iter();
            let keys: usize = keys.map(|&len| usize::from(len)).sum();
            let at = columns + count + keys + record * 4;
            for len in [0_u32, 1, 6, 7, 13, 14, 15, 24, 25, u32::MAX] {
                let mut raw = raw.clone();
                raw[at..at + 4].copy_from_slice(&len.to_le_bytes());
                let what = format!("block {block}, record {record}, length {len}");
                lying.push((block, raw, what));
            }
        }
    }
    let lying = (0..).zip(lying).map(|(number, (block, raw, what))| {
        let path = workdir.join(format!("{number}.mcs"));
        let bytes = forged(&segment, |forge| {
            forge.set_section(block, Side::Keys, PLAIN, &raw, &raw);
        });
        fs::write(&path, bytes).unwrap();
        (path, what)
    });
    compare(&lying.collect::<Vec<_>>());
}

#[test]
fn both_readers_find_the_same_where_frames_are_missing_or_stand_twice() {
    let workdir = Workdir::new("frames");
    let segment = sound_segments::in_parts();
    let forge = Forge::new(&segment);
    let mut lying = Vec::new();
    // All but the table of contents, which the others make.
    let last = forge.frame_count() - 1;
    for frame in 0..last {
        let payload = segment[forge.payload(frame)].to_vec();
        let [flags, ..] = forge.get(Place::Frame(frame), "flags").to_le_bytes();
        let mut without = forge.clone();
        without.remove_frame(frame);
        lying.push((without.clone(), format!("without frame {frame}")));
        for at in 0..=last {
            let mut twice = forge.clone();
            twice.insert_frame(at, forge.kind(frame), flags, &payload);
            lying.push((twice, format!("frame {frame} again before {at}")));
            if at < last {
                let mut moved = without.clone();
                moved.insert_frame(at, forge.kind(frame), flags, &payload);
                lying.push((moved, format!("frame {frame} moved before {at}")));
            }
        }
    }
    let lying = (0..).zip(lying).map(|(number, (forge, what))| {
        let path = workdir.join(format!("{number}.mcs"));
        fs::write(&path, forge.seal()).unwrap();
        (path, what)
    });
    compare(&lying.collect::<Vec<_>>());
}

#[test]
fn both_readers_find_the_same_in_statistics_that_lie() {
    let workdir = Workdir::new("lying-statistics");
    let mut lying = Vec::new();
    for (name, segment) in [
        ("plain", sound_segments::plain()),
        ("in_parts", sound_segments::in_parts()),
    ] {
        let forge = Forge::new(&segment);
        let frame = forge.frame_count() - 2;
        assert_eq!(forge.kind(frame), STAT);
        let payload = segment[forge.payload(frame)].to_vec();
        let start = forge.payload(frame).start;
        for (at, byte) in payload.iter().enumerate() {
            for lie in [0, byte ^ 1, byte.wrapping_add(1), 0x40, 0x80, 0xff] {
                let mut forged = forge.clone();
                forged.write(start + at, &[lie]);
                let path = workdir.join(format!("{}.mcs", lying.len()));
                fs::write(&path, forged.seal()).unwrap();
                lying.push((path, format!("{name}, byte {at}: {byte} is {lie}")));
            }
            let mut cut = forge.clone();
            cut.set_payload(frame, &payload[..at]);
            let path = workdir.join(format!("{}.mcs", lying.len()));
            fs::write(&path, cut.seal()).unwrap();
            lying.push((path, format!("{name}, cut to {at} bytes")));
        }
    }
    compare(&lying);
}

#[test]
fn both_readers_find_the_same_in_segments_with_a_flipped_bit() {
    let workdir = Workdir::new("flipped");
    let mut lying = Vec::new();
    for (name, segment) in [
        ("plain", sound_segments::plain()),
        ("in_parts", sound_segments::in_parts()),
    ] {
        // Where a page has no entries one byte is like another.
        let page = Forge::new(&segment).range(Place::Page(0));
        let zeros = page.end + 100..page.start + PAGE_SIZE;
        for byte in (0..segment.len())
            .filter(|byte| !zeros.contains(byte))
            .step_by(3)
        {
            let bit = byte % 8;
            let mut flipped = segment.clone();
            flipped[byte] ^= 1 << bit;
            let place = workdir.join(format!("{name}-{byte}.mcs"));
            fs::write(&place, flipped).unwrap();
            lying.push((place, format!("{name}, byte {byte}, bit {bit}")));
        }
    }
    compare(&lying);
}

/// Anything that can stand in the place of a member.
fn other_values() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!([]),
        json!({}),
        json!(["x"]),
    ];
    values.extend([0, 1, 200, 1 << 32, u64::MAX].map(|number| json!(number)));
    values.extend(
        [
            "",
            "x",
            "0",
            "1",
            "-1",
            "+1",
            "007",
            "1 ",
            "18446744073709551616",
            "\u{e9}",
            "AA112233445566778899aabbccddeeff",
            "zz112233445566778899aabbccddeeff",
        ]
        .map(|text| json!(text)),
    );
    values
}

/// Every text that differs from this one in one member, with a word on it.
fn lying_texts(text: &Value) -> Vec<(Value, String)> {
    let mut pointers = Vec::new();
    collect_pointers(text, String::new(), &mut pointers);
    let mut texts = Vec::new();
    for pointer in pointers {
        let mut values = other_values();
        if pointer.ends_with("/node") || pointer.ends_with("/address") {
            let lens = [NODE_ADDRESS_LEN_MAX, NODE_ADDRESS_LEN_MAX + 1];
            values.extend(lens.map(|len| json!("x".repeat(len))));
        }
        for value in values {
            // The library's parser takes a list for the members of an object in
            // order, and so an empty one for an object without members.
            let is_object = text.pointer(&pointer).unwrap().is_object();
            if is_object && value == json!([]) {
                continue;
            }
            let mut lying = text.clone();
            let what = format!("{pointer}: {value}");
            *lying.pointer_mut(&pointer).unwrap() = value;
            texts.push((lying, what));
        }
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let mut lying = text.clone();
        if let Some(Value::Object(members)) = lying.pointer_mut(parent) {
            members.shift_remove(name);
            texts.push((lying, format!("{pointer} is missing")));
        }
    }
    texts
}

fn collect_pointers(value: &Value, pointer: String, pointers: &mut Vec<String>) {
    let within: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, each)| (name.clone(), each))
            .collect(),
        Value::Array(list) => (0..).map(|at: usize| at.to_string()).zip(list).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (name, each) in within {
        collect_pointers(each, format!("{pointer}/{name}"), pointers);
    }
    if !pointer.is_empty() {
        pointers.push(pointer);
    }
}

#[test]
fn both_readers_find_the_same_in_manifests_that_lie() {
    let workdir = Workdir::new("lying-manifests");
    let snapshot = of_one();
    let mut text: Value = serde_json::from_str(&text_of(&snapshot.manifest)).unwrap();
    let members = text.as_object_mut().unwrap();
    members.shift_remove("checksum");
    // Members that the golden snapshot leaves empty.
    members["features"]["restore"] = json!(["time-travel"]);
    // Words are unknown in a later version, and wrong in this one.
    members["version"]["minor"] = json!(7);
    members["nodes"][0]["reasons"] = json!({"why": "1"});
    let mut lying = Vec::new();
    for (text, what) in lying_texts(&text) {
        let place = workdir.join(lying.len().to_string());
        fs::create_dir_all(place.join("segments")).unwrap();
        let text = serde_json::to_string_pretty(&text).unwrap();
        let text = text.strip_suffix("\n}").unwrap_or(&text);
        let text = format!("{text},\n  \"checksum\": \"sha256:\"\n}}\n");
        fs::write(place.join("manifest.json"), resealed(&text)).unwrap();
        for (object, bytes) in &snapshot.files {
            fs::write(place.join(object), bytes).unwrap();
        }
        lying.push((place, what));
    }
    assert!(lying.len() > 1000, "{}", lying.len());
    compare(&lying);
}

#[test]
fn both_readers_find_the_same_in_descriptions_that_lie() {
    let workdir = Workdir::new("lying-descriptions");
    let segment = sound_segments::plain();
    let forge = Forge::new(&segment);
    let text: Value = serde_json::from_slice(&segment[forge.payload(0)]).unwrap();
    let mut lying = Vec::new();
    for (text, what) in lying_texts(&text) {
        let place = workdir.join(format!("{}.mcs", lying.len()));
        let lies = forged(&segment, |forge| {
            forge.set_payload(0, text.to_string().as_bytes());
        });
        fs::write(&place, lies).unwrap();
        lying.push((place, what));
    }
    compare(&lying);
}
