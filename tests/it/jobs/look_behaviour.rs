//! Looking into a snapshot reads what it must, and says what it cannot know.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mcsnap::codecs::format::checksum::shard_of;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FRAME_HEADER_SIZE, PAGE_SIZE, TAIL_SIZE, TOC_ENTRY_SIZE, TOC_HEADER_SIZE,
};
use mcsnap::codecs::format::manifest::{ManifestSegment, Need};
use mcsnap::codecs::ring::{Placement, RingSpec};
use mcsnap::codecs::select::Selection;
use mcsnap::engines::snapshot::{Opening, SnapshotReader};
use mcsnap::jobs::get::{LookupOptions, LookupReport, look_up};
use mcsnap::jobs::ls::{ListingOptions, list};
use mcsnap::ports::store::{FaultyStore, MemoryStore, Store as _};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::node::NodeSpec;

use crate::format::golden_valid;
use crate::format::snapshot_property::{Cut, Items, NAME, Owned, noise, write};
use crate::harness::client::Item;
use crate::harness::forge::{Forge, Side};
use crate::harness::forge_manifest;
use crate::harness::memcached::Memcached;
use crate::harness::sound_segments;
use crate::harness::workdir::Workdir;

/// Some hundred records of 1 KiB in two shards of several segments and blocks.
fn filled(store: &MemoryStore) -> (Items, Vec<ManifestSegment>) {
    let items: Items = (0..3000_u64)
        .map(|number| {
            let owned = Owned {
                value: noise(number, 1024),
                meta: Default::default(),
            };
            (format!("key:{number}").into_bytes(), owned)
        })
        .collect();
    let cut = Cut {
        segment_size_max: 1 << 20,
        segment_record_count_max: 1 << 20,
        compression: Compression::Zstd(1),
        shard_bits: 1,
    };
    let segments = write(Arc::new(store.clone()), &items, &cut);
    assert!(segments.len() >= 4, "{} segments", segments.len());
    (items, segments)
}

fn get(snapshot: &SnapshotReader, key: &[u8]) -> LookupReport {
    let options = LookupOptions {
        nodes: Vec::new(),
        is_every_node_asked: false,
        is_value_wanted: true,
        thread_count: 2,
    };
    look_up(snapshot, key, &options, &Cancel::new()).unwrap()
}

/// Lets a snapshot have no look-up objects, as one of another writer.
fn forget_look_ups(store: &MemoryStore) {
    let path = format!("{NAME}/manifest.json");
    let snapshot = SnapshotReader::open(Arc::new(store.clone()), NAME, Need::Read).unwrap();
    let mut manifest = snapshot.manifest().clone();
    for node in &mut manifest.nodes {
        assert!(!node.look_ups.is_empty());
        node.look_ups.clear();
    }
    store.remove(&path).unwrap();
    store.put_new(&path, &manifest.encode()).unwrap();
}

/// One read of the manifest, one of a page, one of the place of a block, one of keys, one of
/// values: whatever the number of segments.
#[test]
fn a_look_up_takes_five_reads_whatever_the_number_of_segments() {
    for segment_count in [1, 100, 3000] {
        let store = MemoryStore::new();
        let items: Items = (0..3000_u64)
            .map(|number| {
                let owned = Owned {
                    value: noise(number, 20),
                    meta: Default::default(),
                };
                (format!("key:{number}").into_bytes(), owned)
            })
            .collect();
        let cut = Cut {
            segment_size_max: u64::MAX,
            segment_record_count_max: 3000 / segment_count,
            compression: Compression::None,
            shard_bits: 0,
        };
        let segments = write(Arc::new(store.clone()), &items, &cut);
        assert_eq!(u64::try_from(segments.len()).unwrap(), segment_count);
        let counting = FaultyStore::counting(store);
        let store = Arc::new(counting.clone());
        let (mut most, mut all) = (0, 0);
        let cost = |key: &[u8]| {
            let before = counting.read_count();
            let store = Arc::clone(&store);
            let snapshot = SnapshotReader::open_root(store, NAME, Need::Read).unwrap();
            let report = get(&snapshot, key);
            assert!(report.findings.is_empty());
            (counting.read_count() - before, report)
        };
        for (key, owned) in items.iter().step_by(3) {
            let (reads, report) = cost(key);
            let value = report.copies[0].value.as_ref().unwrap();
            assert_eq!(value.whole().unwrap(), owned.value);
            most = most.max(reads);
            all += reads;
        }
        // Another block is read in vain by one look-up in some hundred, and two hardly ever.
        assert!(
            most <= 7 && all <= 5 * 1000 + 40,
            "{segment_count}: {most}, {all}"
        );
        let mut absent = 0;
        for number in 0..1000 {
            let (reads, report) = cost(format!("absent:{number}").as_bytes());
            assert!(report.copies.is_empty() && reads <= 6);
            absent += reads;
        }
        assert!(absent <= 2 * 1000 + 40, "{segment_count}: {absent}");
    }
}

#[test]
fn without_look_up_objects_each_segment_is_asked_for_a_page() {
    let store = MemoryStore::new();
    let (items, segments) = filled(&store);
    forget_look_ups(&store);
    let counting = FaultyStore::counting(store);
    let snapshot = SnapshotReader::open(Arc::new(counting.clone()), NAME, Need::Read).unwrap();
    let mut false_probes = 0;
    for (key, owned) in items.iter().step_by(7) {
        let shard: Vec<&ManifestSegment> = segments
            .iter()
            .filter(|segment| segment.shard_index == shard_of(key, 1))
            .collect();
        // What it may cost: the tables of each segment of the shard, a page of
        // each, and one block of the segment that has the key.
        let tables: u64 = shard.iter().map(|segment| tables_len(segment)).sum();
        let pages = PAGE_SIZE * shard.len();
        let (keys, values) = sections_of(&snapshot, &shard, key);
        let head = FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE;
        let least = tables + u64::try_from(pages + head).unwrap() + keys + values;
        let (operations, bytes) = (counting.operation_count(), counting.bytes_read());
        let report = get(&snapshot, key);
        let operations = counting.operation_count() - operations;
        let bytes = counting.bytes_read() - bytes;
        assert_eq!(report.copies.len(), 1);
        let value = report.copies[0].value.as_ref().unwrap();
        assert_eq!(value.whole().unwrap(), owned.value);
        assert_eq!(report.segment_count, u64::try_from(shard.len()).unwrap());
        // To open, to read the tables, to read a page; and keys and values once.
        let expected = u64::try_from(3 * shard.len() + 2).unwrap();
        if operations > expected {
            false_probes += operations - expected;
        } else {
            assert_eq!((operations, bytes), (expected, least));
        }
    }
    // One in 65,536 / (entries of a page) look-ups; a page has some hundred.
    assert!(false_probes <= 20, "{false_probes} blocks read for nothing");
}

/// Bytes of the one read that brings table of contents and tail.
fn tables_len(segment: &ManifestSegment) -> u64 {
    let entries = segment.blocks + segment.blocks / 32 + 5;
    let len = FRAME_HEADER_SIZE + TOC_HEADER_SIZE + TAIL_SIZE;
    u64::try_from(len).unwrap() + entries * u64::try_from(TOC_ENTRY_SIZE).unwrap()
}

/// Where a key stands twice in a shard, which no writer may do, the later record counts, and
/// the earlier one is better than none.
#[test]
fn of_two_records_of_a_key_the_one_of_the_last_segment_is_given() {
    for has_look_up in [true, false] {
        let mut snapshot = golden_valid::of_one();
        for (sequence, value) in [(2, "newest"), (1, "newer")] {
            let mut rows = golden_valid::rows_of_one();
            rows.iter_mut().for_each(|row| row.1 = value.into());
            snapshot.add(0, 1, sequence, Compression::None, &rows);
        }
        // Written in another order than that of the manifest.
        let segments = &mut snapshot.manifest.segments;
        segments.sort_by_key(|segment| segment.sequence);
        let last = segments[2].object.clone();
        if has_look_up {
            snapshot = snapshot.look_up();
        }
        let key = golden_valid::rows_of_one()[0].0.clone();
        let store = MemoryStore::new();
        let values = |store: &MemoryStore| {
            let snapshot = SnapshotReader::open(Arc::new(store.clone()), NAME, Need::Read);
            let report = get(&snapshot.unwrap(), &key);
            let copies = report.copies.iter();
            let values: Vec<Vec<u8>> = copies
                .map(|copy| copy.value.as_ref().unwrap().whole().unwrap().into_owned())
                .collect();
            (values, report.findings.len())
        };
        for (name, bytes) in snapshot.files() {
            store.put_new(&format!("{NAME}/{name}"), &bytes).unwrap();
        }
        assert_eq!(values(&store), (vec![b"newest".to_vec()], 0));
        let path = format!("{NAME}/{last}");
        let (_, sound) = snapshot
            .files
            .iter()
            .find(|(file, _)| *file == last)
            .unwrap();
        let at = Forge::new(sound).section_range(0, Side::Values).start;
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        store.remove(&path).unwrap();
        store.put_new(&path, &damaged).unwrap();
        assert_eq!(values(&store), (vec![b"newer".to_vec()], 1));
    }
}

/// Stored bytes of both sections of the block that has a key.
fn sections_of(snapshot: &SnapshotReader, shard: &[&ManifestSegment], key: &[u8]) -> (u64, u64) {
    let mut sections = Default::default();
    for named in shard {
        let segment = snapshot.open_segment_as(named, Opening::Lookup).unwrap();
        if let Some(found) = segment.find(key, &mut sections).unwrap() {
            let entry = segment.block_entry(found.block).unwrap();
            return (entry.key_stored_len.into(), entry.value_stored_len.into());
        }
    }
    panic!("no segment has {key:?}");
}

#[test]
fn a_key_that_is_not_there_costs_no_block() {
    let store = MemoryStore::new();
    let (_, segments) = filled(&store);
    forget_look_ups(&store);
    let counting = FaultyStore::counting(store);
    let snapshot = SnapshotReader::open(Arc::new(counting.clone()), NAME, Need::Read).unwrap();
    let mut costly = 0;
    for number in 0..200 {
        let key = format!("absent:{number}").into_bytes();
        let asked = segments
            .iter()
            .filter(|segment| segment.shard_index == shard_of(&key, 1))
            .count();
        let operations = counting.operation_count();
        let report = get(&snapshot, &key);
        assert_eq!((report.copies.len(), report.findings.len()), (0, 0));
        let operations = counting.operation_count() - operations;
        costly += operations - 3 * u64::try_from(asked).unwrap();
    }
    assert!(
        costly <= 10,
        "{costly} blocks read for keys that are not there"
    );
}

#[test]
fn a_listing_reads_no_value() {
    let store = MemoryStore::new();
    let (items, segments) = filled(&store);
    let counting = FaultyStore::counting(store);
    let snapshot = SnapshotReader::open(Arc::new(counting.clone()), NAME, Need::Read).unwrap();
    let before = counting.bytes_read();
    let options = ListingOptions {
        nodes: Vec::new(),
        selection: Selection::parse("prefix=key:1 and glob=*[05]").unwrap(),
        at: None,
        thread_count: 2,
    };
    let mut keys = BTreeSet::new();
    let report = list(
        &snapshot,
        &options,
        &Cancel::new(),
        &|listed, out| {
            out.extend_from_slice(listed.record.key);
            out.push(b'\n');
        },
        &mut |bytes| {
            let lines = bytes.split(|byte| *byte == b'\n');
            keys.extend(lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec));
            Ok(std::ops::ControlFlow::Continue(()))
        },
    )
    .unwrap();
    let wanted: BTreeSet<Vec<u8>> = items
        .keys()
        .filter(|key| key.starts_with(b"key:1") && (key.ends_with(b"0") || key.ends_with(b"5")))
        .cloned()
        .collect();
    assert_eq!(keys, wanted);
    assert_eq!(report.listed, u64::try_from(wanted.len()).unwrap());
    assert_eq!(report.seen, u64::try_from(items.len()).unwrap());
    let bytes = counting.bytes_read() - before;
    let size: u64 = segments.iter().map(|segment| segment.size).sum();
    assert!(bytes * 10 < size, "{bytes} bytes of {size} were read");
}

/// Few bytes in a file may be much text, of which little may wait for a reader
/// who is slow.
#[test]
fn a_listing_hands_out_its_text_in_pieces() {
    const THREADS: usize = 2;
    let store = MemoryStore::new();
    store.put_new("wide.mcs", &sound_segments::wide()).unwrap();
    let snapshot = SnapshotReader::open(Arc::new(store), "wide.mcs", Need::Read).unwrap();
    let options = ListingOptions {
        nodes: Vec::new(),
        selection: Selection::default(),
        at: None,
        thread_count: THREADS,
    };
    let rendered = AtomicUsize::new(0);
    let (mut handed, mut waiting_max) = (Vec::new(), 0);
    let report = list(
        &snapshot,
        &options,
        &Cancel::new(),
        &|listed, out| {
            rendered.fetch_add(1, Ordering::Relaxed);
            out.extend_from_slice(listed.record.key);
        },
        &mut |bytes| {
            waiting_max = waiting_max.max(rendered.load(Ordering::Relaxed) - handed.len() / 20);
            handed.extend_from_slice(bytes);
            Ok(std::ops::ControlFlow::Continue(()))
        },
    )
    .unwrap();
    assert_eq!((report.listed, report.seen), (131_072, 131_072));
    let wanted = (0..131_072).map(|number| format!("{number:-<20}").into_bytes());
    assert!(wanted.eq(handed.chunks(20).map(<[u8]>::to_vec)));
    assert!(waiting_max <= 1024 * THREADS, "{waiting_max} records wait");
}

#[test]
fn the_program_looks_into_the_dump_of_a_real_server() {
    let server = Memcached::start();
    let mut client = server.client();
    client.load([
        Item::new("user:1", "Ada").flags(7),
        Item::new("user:2", vec![b'x'; 2000]).ttl(3600),
        Item::new("a\\b", "backslash"),
        Item::new("empty", ""),
    ]);
    let workdir = Workdir::new("look");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "n", &server.address()])
        .succeeds();
    let text = |arguments: &[&str], code: i32| {
        let output = workdir.mcsnap(arguments).exits(code);
        (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };

    let (keys, _) = text(&["ls", "s/n", "--keys"], 0);
    let keys: BTreeSet<&str> = keys.lines().collect();
    assert_eq!(
        keys,
        BTreeSet::from(["user:1", "user:2", "a\\\\b", "empty"])
    );
    let (users, _) = text(&["ls", "s/n", "--prefix", "user:"], 0);
    assert_eq!(users.lines().count(), 2);
    assert!(
        users.contains("         3  never                 user:1\n"),
        "{users}"
    );
    let (one, _) = text(&["ls", "s/n", "--glob", "*:2", "--format", "json"], 0);
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(
        (&one["key"], &one["value_len"]),
        (&"user:2".into(), &2000.into())
    );

    let (value, _) = text(&["get", "s/n", "user:1", "--raw"], 0);
    assert_eq!(value, "Ada");
    let (value, _) = text(&["get", "s/n", "a\\\\b", "--raw"], 0);
    assert_eq!(value, "backslash");
    let (copy, _) = text(&["get", "s/n", "user:1"], 0);
    for row in [
        "client flags  7\n",
        "expires       never\n",
        "              Ada\n",
    ] {
        assert!(copy.contains(row), "{copy}");
    }
    let (long, _) = text(&["get", "s/n", "user:2"], 0);
    assert!(
        long.contains("and 1,488 bytes more; --raw prints all"),
        "{long}"
    );
    let place = format!("{}:", workdir.path().display());
    for line in long
        .lines()
        .filter(|line| !line.contains(&place[..place.len() - 1]))
    {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let (json, _) = text(&["get", "s/n", "empty", "--format", "json"], 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["copies"][0]["value_base64"], "");

    let (nothing, message) = text(&["get", "s/n", "user:3"], 4);
    assert_eq!(nothing, "");
    assert_eq!(message, "mcsnap: key \"user:3\" is not in s/n\n");
    let (_, message) = text(&["get", "s/n", "a\\b"], 2);
    assert!(
        message.starts_with("mcsnap: key \"a\\b\": a backslash is written"),
        "{message}"
    );
    let (_, message) = text(&["ls", "s/n", "--nodes", "b:1"], 2);
    assert!(
        message.starts_with("mcsnap: node \"b:1\": wanted a node of the snapshot: 127.0.0.1:"),
        "{message}"
    );
}

/// A file that leads to itself cannot be opened, not even by root.
#[test]
fn a_segment_that_cannot_be_opened_takes_nothing_from_the_others() {
    let servers = [Memcached::start(), Memcached::start()];
    let workdir = Workdir::new("unreadable");
    let mut dump = vec![
        "dump".to_owned(),
        "--to=s".to_owned(),
        "--name=n".to_owned(),
    ];
    for (server, key) in servers.iter().zip(["here", "there"]) {
        server.client().load([Item::new(key, "v")]);
        dump.push(server.address());
    }
    workdir.mcsnap(&dump).succeeds();
    let manifest = std::fs::read(workdir.path().join("s/n/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let object = manifest["segments"][1]["object"].as_str().unwrap();
    let path = workdir.path().join("s/n").join(object);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(path.file_name().unwrap(), &path).unwrap();
    let told = |output: &std::process::Output| {
        let text = String::from_utf8(output.stderr.clone()).unwrap();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("MCS021"))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(lines[0].contains(object), "{text}");
        assert!(
            lines[0].contains("it cannot be read: cannot open: "),
            "{text}"
        );
        text
    };

    let output = workdir.mcsnap(&["ls", "s/n", "--keys"]).exits(3);
    assert_eq!(output.stdout, b"here\n");
    told(&output);
    // The look-up object of the other node says that it did not have this key.
    let output = workdir.mcsnap(&["get", "s/n", "here", "--raw"]).succeeds();
    assert_eq!(output.stdout, b"v");
    let output = workdir.mcsnap(&["get", "s/n", "there"]).exits(3);
    assert_eq!(output.stdout, b"");
    assert!(told(&output).contains("cannot tell whether key \"there\" is in s/n"));
    for job in ["inspect", "verify"] {
        let output = workdir.mcsnap(&[job, "s/n", "--format=json"]).exits(3);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["findings"][0]["code"], "MCS021", "{job}");
    }
    let text = workdir.mcsnap(&["inspect", "s/n"]).exits(3).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("cannot be read"), "{text}");
}

#[test]
fn what_was_said_last_is_done_and_an_empty_list_is_not_taken_for_all() {
    let workdir = Workdir::new("said-last");
    std::fs::write(workdir.join("s.mcs"), sound_segments::plain()).unwrap();
    let lines = |file: &str, flag: &[&str]| {
        std::fs::write(workdir.join("c.yaml"), format!("ls:\n  {file}: true\n")).unwrap();
        let arguments = [&["ls", "s.mcs", "--config=c.yaml"], flag].concat();
        let output = workdir.mcsnap(&arguments).succeeds();
        String::from_utf8(output.stdout).unwrap()
    };
    let (keys, long) = (lines("keys", &[]), lines("long", &[]));
    assert_eq!(keys, "user:1\nuser:2\nbare\n");
    assert!(long.contains("a:1"), "{long}");
    assert_eq!(lines("keys", &["--long"]), long);
    assert_eq!(lines("long", &["--keys"]), keys);

    for job in ["ls", "inspect"] {
        let output = workdir.mcsnap(&[job, "s.mcs", "--nodes", ""]).exits(2);
        assert_eq!(output.stdout, b"", "{job}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("an empty list"), "{message}");
    }
}

#[test]
fn who_looks_into_an_unfinished_dump_is_told_of_salvage() {
    let workdir = Workdir::new("unfinished");
    std::fs::create_dir_all(workdir.join("n/segments")).unwrap();
    std::fs::write(
        workdir.join("n/segments/s.mcs.partial"),
        sound_segments::plain(),
    )
    .unwrap();
    for arguments in [&["ls", "n"][..], &["get", "n", "k"], &["verify", "n"]] {
        let output = workdir.mcsnap(arguments).exits(2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("mcsnap salvage"), "{text}");
    }
}

/// A terminal obeys escape sequences, and a line of its own looks like ours.
#[test]
fn what_a_file_says_reaches_no_terminal_raw() {
    let workdir = Workdir::new("escapes");
    let segment = sound_segments::plain();
    let mut forge = Forge::new(&segment);
    let text = segment[forge.payload(0)].to_vec();
    let text = String::from_utf8(text).unwrap();
    let text = text.replace("a:1", "a\\u001b[31m\\nmcsnap: all is well\\u202e");
    forge.set_payload(0, text.as_bytes());
    std::fs::write(workdir.join("s.mcs"), forge.seal()).unwrap();
    for (arguments, code) in [
        (&["ls", "s.mcs", "--long"][..], 0),
        (&["get", "s.mcs", "user:1"], 0),
        (&["inspect", "s.mcs"], 0),
        (&["verify", "s.mcs"], 0),
        (&["ls", "s.mcs", "--nodes=b"], 2),
    ] {
        let output = workdir.mcsnap(arguments).exits(code);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert!(
            !text.contains(['\u{1b}', '\u{202e}']),
            "{arguments:?}: {text}"
        );
        assert!(!text.contains("\nmcsnap: all"), "{arguments:?}: {text}");
        if arguments[0] == "get" || arguments[0] == "ls" {
            assert!(text.contains("\\x1b[31m\\x0amcsnap: all is well"), "{text}");
        }
    }
}

/// Two segments of 2^64 - 1 records each: the sums stop at the greatest number.
#[test]
fn counts_beyond_what_a_number_holds_do_not_end_an_inspection() {
    let workdir = Workdir::new("counts");
    std::fs::create_dir(workdir.join("n")).unwrap();
    let text = String::from_utf8(forge_manifest::sound()).unwrap();
    let mut text: serde_json::Value = serde_json::from_str(&text).unwrap();
    let most = serde_json::json!(u64::MAX.to_string());
    for segment in 0..2 {
        text["segments"][segment]["records"] = most.clone();
    }
    text["totals"]["records"] = most.clone();
    for counter in ["listed", "stored"] {
        text["nodes"][0]["counters"][counter] = most.clone();
    }
    text["nodes"][0]["counters"]["failed"] = serde_json::json!("0");
    let checksum = text["checksum"].as_str().unwrap().to_owned();
    text.as_object_mut().unwrap().shift_remove("checksum");
    let body = serde_json::to_string_pretty(&text).unwrap();
    let body = body.strip_suffix("\n}").unwrap();
    let text = format!("{body},\n  \"checksum\": \"{checksum}\"\n}}\n");
    let sealed = forge_manifest::reseal(text.as_bytes());
    std::fs::write(workdir.join("n/manifest.json"), sealed).unwrap();
    // Its segments are not there, which is what the report is about.
    let output = workdir.mcsnap(&["inspect", "n"]).exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("MCS017"), "{text}");
}

#[test]
fn a_value_that_differs_between_nodes_is_not_chosen_for_the_user() {
    let servers = [Memcached::start(), Memcached::start()];
    let mut arguments = vec![
        "dump".to_owned(),
        "--to=s".to_owned(),
        "--name=n".to_owned(),
    ];
    for (server, value) in servers.iter().zip(["one", "two"]) {
        server
            .client()
            .load([Item::new("k", value), Item::new("same", "v")]);
        arguments.push(server.address());
    }
    let workdir = Workdir::new("copies");
    workdir.mcsnap(&arguments).succeeds();
    let same = workdir.mcsnap(&["get", "s/n", "same", "--raw"]).succeeds();
    assert_eq!(same.stdout, b"v");
    let output = workdir.mcsnap(&["get", "s/n", "k", "--raw"]).exits(2);
    assert_eq!(output.stdout, b"");
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("different values"), "{message}");
    for (server, value) in servers.iter().zip(["one", "two"]) {
        let nodes = format!("--nodes={}", server.address());
        let output = workdir
            .mcsnap(&["get", "s/n", "k", "--raw", &nodes])
            .succeeds();
        assert_eq!(output.stdout, value.as_bytes());
    }
}

#[test]
fn the_node_of_the_recorded_ring_is_asked_first_and_the_others_if_need_be() {
    let servers = [Memcached::start(), Memcached::start()];
    let nodes: Vec<NodeSpec> = servers
        .iter()
        .map(|server| server.address().parse().unwrap())
        .collect();
    let ring: RingSpec = "ketama".parse().unwrap();
    let placement = Placement::new(&ring, &nodes).unwrap();
    let owner_of = |key: &str| placement.locate(key.as_bytes(), 0);
    let strayed = (0..)
        .map(|n| format!("strayed:{n}"))
        .find(|key| owner_of(key) == 0);
    let strayed = strayed.unwrap();
    for (server, value) in servers.iter().zip(["first", "second"]) {
        server.client().load([Item::new("both", value)]);
    }
    servers[1]
        .client()
        .load([Item::new(strayed.as_str(), "away")]);
    let workdir = Workdir::new("ring-get");
    let addresses = format!("{},{}", servers[0].address(), servers[1].address());
    workdir
        .mcsnap(&["dump", "--to=s", "--name=n", "--ring=ketama", &addresses])
        .succeeds();
    let raw = |arguments: &[&str], code: i32| {
        let output = workdir.mcsnap(&["get", "s/n", "--raw"]);
        let output = arguments
            .iter()
            .fold(output, |run, argument| run.arg(argument));
        String::from_utf8(output.exits(code).stdout).unwrap()
    };
    let json = |key: &str| -> serde_json::Value {
        let run = workdir.mcsnap(&["get", "s/n", key, "--format=json"]);
        serde_json::from_slice(&run.succeeds().stdout).unwrap()
    };
    // Where a client would look, whatever else there is.
    let owner = owner_of("both");
    assert_eq!(raw(&["both"], 0), ["first", "second"][owner]);
    assert_eq!(json("both")["asked_alone"], servers[owner].address());
    let output = workdir.mcsnap(&["get", "s/n", "both"]).succeeds();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = format!(
        "{}, by the recorded ring; --all-nodes asks the others, too\n",
        servers[owner].address()
    );
    assert!(text.contains(&row), "{text}");
    // All of them are two values.
    raw(&["both", "--all-nodes"], 2);
    assert_eq!(raw(&[&strayed], 0), "away");
    assert_eq!(json(&strayed)["asked_alone"], serde_json::Value::Null);
    raw(&["nowhere"], 4);
}
