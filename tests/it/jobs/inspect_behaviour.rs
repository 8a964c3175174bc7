//! An inspection tells what the servers had, from keys alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use mcsnap::codecs::format::frame::FrameType;
use mcsnap::codecs::format::layout::{BLOCK_HEADER_SIZE, FRAME_HEADER_SIZE};
use mcsnap::codecs::format::manifest::{Manifest, Need};
use mcsnap::codecs::select::Selection;
use mcsnap::codecs::statistics::KEY_DELIMITERS;
use mcsnap::engines::snapshot::{SnapshotDraft, SnapshotReader};
use mcsnap::jobs::inspect::{InspectOptions, InspectReport, KeyPrefixTable, PrefixDepth, inspect};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify};
use mcsnap::ports::store::{FaultyStore, LocalStore, MapChoice, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{ErrorKind, Result};
use mcsnap::words::progress::{Event, NoProgress, Progress};
use mcsnap::words::units::UnixSecs;
use serde_json::{Value, json};

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const OPTIONS: InspectOptions = InspectOptions {
    at: None,
    nodes: Vec::new(),
    delimiters: Vec::new(),
    depth: PrefixDepth::Fitting,
    largest_count: 10,
    thread_count: 2,
    selection: Selection::EVERYTHING,
    is_exact: false,
};

/// Bytes that do not compress.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..len).map(|_| next()).collect()
}

/// Items of every kind that an inspection tells apart; the large one expires
/// at this moment.
fn mixed_items(seed: u64, far: u64) -> Vec<Item> {
    let number = |number: u64| format!("{seed}:{number}");
    let mut items = Vec::new();
    for at in 0..600 {
        items.push(Item::new(format!("count:{}", number(at)), "1"));
        let page = noise(at, 3000 + usize::try_from(at).unwrap());
        items.push(
            Item::new(format!("page:{}", number(at)), page)
                .flags(4)
                .ttl(7200),
        );
    }
    items.push(Item::new(format!("empty:{seed}"), ""));
    let large = Item::new(format!("large:{seed}"), noise(seed, 500_000));
    items.push(large.flags(u32::MAX).ttl(i64::try_from(far).unwrap()));
    items
}

struct Dumped {
    workdir: Workdir,
    servers: Vec<Memcached>,
    /// When the large items expire: in forty days.
    far: u64,
}

impl Dumped {
    /// Dumps servers with mixed items as snapshot `s/a`, in many segments.
    fn of(server_count: u64) -> Self {
        let workdir = Workdir::new("inspect");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let far = now.as_secs() + 40 * 86_400;
        let servers: Vec<Memcached> = (0..server_count)
            .map(|seed| {
                let server = Memcached::start();
                server.client().load(mixed_items(seed, far));
                let reply = server.client().command(&format!("get empty:{seed}"));
                assert!(reply.starts_with("VALUE "), "{reply}");
                server
            })
            .collect();
        let mut dump = workdir.mcsnap(&["dump", "--to", "s", "--name", "a", "--shards", "1"]);
        for server in &servers {
            dump = dump.arg(server.address());
        }
        dump.arg("--segment-records").arg("500").succeeds();
        Self {
            workdir,
            servers,
            far,
        }
    }

    fn inspect_json(&self, arguments: &[&str]) -> Value {
        let run = self.workdir.mcsnap(&["inspect", "s/a", "--format=json"]);
        let output = arguments
            .iter()
            .fold(run, |run, argument| run.arg(argument));
        serde_json::from_slice(&output.succeeds().stdout).unwrap()
    }

    fn store(&self) -> LocalStore {
        LocalStore::open(&self.workdir.join("s"))
            .unwrap()
            .with_map(MapChoice::Never)
    }

    /// The files of the snapshot's segments, in the order of the manifest.
    fn segments(&self) -> Vec<std::path::PathBuf> {
        let manifest = self.manifest();
        let objects = manifest.segments.iter();
        objects
            .map(|segment| self.workdir.join("s/a").join(&segment.object))
            .collect()
    }

    fn manifest(&self) -> Manifest {
        open(Arc::new(self.store()), "a").manifest().clone()
    }
}

fn open(store: Arc<dyn Store>, name: &str) -> SnapshotReader {
    SnapshotReader::open(store, name, Need::Read).unwrap()
}

fn inspect_quietly(snapshot: &SnapshotReader, options: &InspectOptions) -> InspectReport {
    inspect(snapshot, options, &Cancel::new(), &NoProgress).unwrap()
}

/// The prefixes of keys with their records, as shown.
fn prefixes(report: &Value) -> Vec<(String, u64)> {
    let rows = report["key_prefixes"]["values"].as_array().unwrap().iter();
    rows.map(|row| {
        let prefix = row["prefix"].as_str().unwrap().to_owned();
        (prefix, row["records"].as_u64().unwrap())
    })
    .collect()
}

/// The buckets that have records, by their lower bound.
fn filled(buckets: &Value) -> BTreeMap<u64, u64> {
    let unit = |bucket: &Value, unit| bucket[format!("at_least_{unit}")].as_u64();
    let buckets = buckets.as_array().unwrap().iter();
    buckets
        .map(|bucket| {
            let bound = unit(bucket, "seconds").or(unit(bucket, "bytes")).unwrap();
            (bound, bucket["records"].as_u64().unwrap())
        })
        .filter(|(_, records)| *records > 0)
        .collect()
}

/// Changes one byte of a file.
fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_the_servers_have_is_told() {
    let dumped = Dumped::of(2);
    let report = dumped.inspect_json(&[]);
    assert_eq!(report["schema"], "mcsnap.inspect/1");
    assert_eq!(report["is_whole"], true);
    assert_eq!(report["snapshot"]["verdict"], "complete");
    let records = 2 * 1202;
    assert_eq!(report["totals"]["records"], records);
    assert_eq!(report["totals"]["unreadable_records"], 0);
    let manifest = dumped.manifest();
    assert_eq!(report["totals"]["value_bytes"], manifest.totals.value_bytes);
    assert_eq!(report["totals"]["size_bytes"], manifest.totals.size);
    let left = &report["ttl_left"];
    assert_eq!(left["expired"]["records"], 0);
    assert_eq!(left["never"]["records"], 2 * 601);
    // Two hours, less the seconds that the test took.
    assert_eq!(
        filled(&left["buckets"]),
        [(3600, 1200), (2_592_000, 2)].into()
    );
    assert_eq!(left["buckets"][7]["below_seconds"], Value::Null);
    let sizes = filled(&report["value_size"]["buckets"]);
    assert_eq!(
        sizes,
        [(0, 2), (1, 1200), (1024, 1200), (1 << 18, 2)].into()
    );
    assert_eq!(
        prefixes(&report),
        [
            ("page:#:".to_owned(), 1200),
            ("large:".to_owned(), 2),
            ("count:#:".to_owned(), 1200),
            ("empty:".to_owned(), 2),
        ]
    );
    assert_eq!(report["key_prefixes"]["depth"], Value::Null);
    let at_one = dumped.inspect_json(&["--depth", "1"]);
    let words: Vec<_> = prefixes(&at_one)
        .into_iter()
        .map(|(word, _)| word)
        .collect();
    assert_eq!(words, ["page:", "large:", "count:", "empty:"]);
    assert_eq!(at_one["key_prefixes"]["depth"], 1);
    let selected = dumped.inspect_json(&["--depth=2", "--select", "prefix=page:1:"]);
    assert_eq!(prefixes(&selected), [("page:#:".to_owned(), 600)]);
    let flags = report["client_flags"]["values"].as_array().unwrap();
    let flags: Vec<_> = flags
        .iter()
        .map(|row| (&row["client_flags"], &row["records"]))
        .collect();
    let wanted = [("4", 1200), ("4294967295", 2), ("0", 1202)];
    let wanted = wanted.map(|(flags, records)| (json!(flags), json!(records)));
    assert_eq!(
        flags,
        wanted.each_ref().map(|(flags, records)| (flags, records))
    );
    assert_eq!(report["key_length"]["min_bytes"], 7);
    assert_eq!(report["value_length"]["max_bytes"], 500_000);
    let classes = report["slab_classes"]["classes"].as_array().unwrap();
    let in_classes: u64 = classes
        .iter()
        .map(|row| row["records"].as_u64().unwrap())
        .sum();
    assert_eq!(in_classes, records);
    assert_eq!(report["marks"]["fetched"]["set"]["records"], 2);
    let largest = report["largest_values"].as_array().unwrap();
    assert_eq!(largest.len(), 10);
    assert_eq!(largest[0]["key"], "large:0");
    assert_eq!(largest[0]["node"], dumped.servers[0].address());
    assert_eq!(largest[0]["exptime"], dumped.far);
    assert_eq!(largest[0]["client_flags"], "4294967295");
    assert_eq!(
        (&largest[2]["value_bytes"], &largest[2]["key"]),
        (&json!(3599), &json!("page:0:599"))
    );
    let members: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        [
            "schema",
            "snapshot",
            "verification",
            "at_unix_seconds",
            "select",
            "is_whole",
            "figures",
            "nodes",
            "nodes_not_inspected",
            "totals",
            "key_length",
            "value_length",
            "memory",
            "key_prefixes",
            "ttl_left",
            "idle",
            "value_size",
            "slab_classes",
            "client_flags",
            "marks",
            "largest_values",
            "findings",
            "findings_dropped",
            "run_id",
            "host",
            "pid",
            "version",
            "started_at",
            "finished_at",
            "elapsed_ms",
        ]
    );
}

#[test]
fn the_text_fits_a_terminal_and_names_the_largest() {
    let dumped = Dumped::of(2);
    let key = [b"binary:".as_slice(), &[0xfe; 170]].concat();
    let reply = dumped.servers[0].client().ms(&key, &noise(1, 900_000), "");
    assert_eq!(reply, "HD");
    let arguments = [
        "dump",
        "--to",
        "s",
        "--name",
        "b",
        &dumped.servers[0].address(),
    ];
    dumped.workdir.mcsnap(&arguments).succeeds();
    let output = dumped.workdir.mcsnap(&["inspect", "s/b"]).succeeds();
    let text = String::from_utf8(output.stdout).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    for heading in [
        "NODE",
        "KEY PREFIX",
        "TTL LEFT",
        "IDLE FOR",
        "VALUE SIZE",
        "SLAB CLASS",
        "CLIENT FLAGS",
        "MARK",
    ] {
        assert!(
            text.contains(&format!("\n\n{heading} ")),
            "{heading}\n{text}"
        );
    }
    let largest = text
        .lines()
        .find(|line| line.contains("900,000 B"))
        .unwrap();
    assert!(largest.contains("never  binary:\\xfe\\xfe"), "{text}");
    assert!(largest.ends_with("\\xfe..."), "{text}");
}

#[test]
fn a_node_and_a_moment_can_be_chosen() {
    let dumped = Dumped::of(2);
    let address = dumped.servers[1].address();
    let far = dumped.far.to_string();
    let report = dumped.inspect_json(&["--nodes", &address, "--top=1", "--at", &far]);
    assert_eq!(report["nodes_not_inspected"], 1);
    assert_eq!(report["nodes"].as_array().unwrap().len(), 1);
    assert_eq!(report["nodes"][0]["address"], address);
    assert_eq!(report["nodes"][0]["share"]["records_percent"], 100.0);
    assert_eq!(report["totals"]["records"], 1202);
    assert_eq!(report["largest_values"].as_array().unwrap().len(), 1);
    assert_eq!(report["largest_values"][0]["key"], "large:1");
    assert_eq!(report["at_unix_seconds"], dumped.far);
    assert_eq!(report["ttl_left"]["expired"]["records"], 601);
    let both = dumped.servers.iter().map(Memcached::address);
    let both = both.collect::<Vec<_>>().join(",");
    assert_eq!(
        dumped.inspect_json(&["--nodes", &both])["totals"]["records"],
        2404
    );
    for (arguments, message) in [
        (
            ["--nodes", "gone:1"],
            format!(
                "node \"gone:1\": wanted a node of the snapshot: {}",
                both.replace(',', ", ")
            ),
        ),
        (
            ["--at", "soon"],
            "at \"soon\": wanted now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970"
                .to_owned(),
        ),
        (
            ["--top", "1001"],
            "top \"1001\": wanted a number from 0 to 1000".to_owned(),
        ),
        (
            ["--depth", "0"],
            "depth \"0\": wanted a number from 1 to 100".to_owned(),
        ),
    ] {
        let [name, value] = arguments;
        let output = dumped
            .workdir
            .mcsnap(&["inspect", "-q", "s/a", name, value])
            .exits(2);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(told, format!("mcsnap: {message}\n"));
    }
}

#[test]
fn no_value_is_read_and_no_damaged_value_is_noticed() {
    let dumped = Dumped::of(1);
    let counting = FaultyStore::counting(dumped.store());
    let snapshot = open(Arc::new(counting.clone()), "a");
    let whole = inspect_quietly(&snapshot, &OPTIONS);
    let storage = whole.totals().storage;
    let values = storage.value_stored;
    // The pages are noise, so that the values are most of the files.
    assert!(values * 10 > storage.size * 9, "{storage:?}");
    let manifest_size = fs::metadata(dumped.workdir.join("s/a/manifest.json"))
        .unwrap()
        .len();
    let index_is_unread = storage.size - values + manifest_size;
    assert!(
        counting.bytes_read() <= index_is_unread,
        "{} bytes of {storage:?}",
        counting.bytes_read()
    );
    for (named, path) in snapshot.manifest().segments.iter().zip(dumped.segments()) {
        let segment = snapshot.open_segment(named).unwrap();
        for block in segment.toc().blocks() {
            // The last byte of a frame is its last value's.
            flip(&path, block.end() - 1);
        }
    }
    let report = inspect_quietly(&snapshot, &OPTIONS);
    assert_eq!(report.findings, []);
    assert_eq!(report.statistics, whole.statistics);
    dumped.workdir.mcsnap(&["inspect", "s/a"]).succeeds();
    dumped.workdir.mcsnap(&["verify", "s/a", "--data"]).exits(3);
}

/// What an inspection shows, without what tells how it was found out.
fn shown(mut report: Value) -> Value {
    for name in [
        "run_id",
        "pid",
        "started_at",
        "finished_at",
        "elapsed_ms",
        "figures",
    ] {
        report[name] = Value::Null;
    }
    report
}

#[test]
fn the_statistics_of_segments_say_what_their_keys_say() {
    let dumped = Dumped::of(2);
    let far = dumped.far.to_string();
    for more in [&[][..], &["--at", &far], &["--depth=2", "--top=3"]] {
        let quick = dumped.inspect_json(more);
        let exact = dumped.inspect_json(&[more, &["--exact"]].concat());
        let segments = quick["totals"]["segments"].as_u64().unwrap();
        assert!(segments >= 6, "{segments}");
        let figures = |are_exact, by_statistics, by_keys, why: Value| {
            json!({
                "are_exact": are_exact, "segments_by_statistics": by_statistics,
                "segments_by_keys": by_keys, "keys_because_of": why,
            })
        };
        let all = figures(true, 0, segments, json!("exact"));
        assert_eq!(exact["figures"], all);
        assert_eq!(quick["figures"]["segments_by_statistics"], segments);
        // Where figures are exact, they are the same; times near a bound may not be.
        let are_exact = quick["figures"]["are_exact"].as_bool().unwrap();
        let (quick, exact) = (shown(quick), shown(exact));
        for (name, member) in exact.as_object().unwrap() {
            let is_exact = match name.as_str() {
                "ttl_left" | "idle" => quick[name]["unsure_records"] == 0,
                _ => true,
            };
            if is_exact {
                assert_eq!(&quick[name], member, "{name}, {are_exact}");
            }
        }
    }
    for (arguments, why) in [
        (["--select", "prefix=page:"], "select"),
        (["--depth", "4"], "delimiters or depth"),
        (["--delimiters", "|"], "delimiters or depth"),
        (["--top", "11"], "top"),
    ] {
        let report = dumped.inspect_json(&arguments);
        assert_eq!(report["figures"]["keys_because_of"], why);
        assert_eq!(report["figures"]["segments_by_statistics"], 0);
    }
}

#[test]
fn a_summary_reads_the_tables_and_the_statistics_of_segments_alone() {
    const TABLES_MAX: u64 = 16 << 10;
    let dumped = Dumped::of(1);
    let counting = FaultyStore::counting(dumped.store());
    let snapshot = open(Arc::new(counting.clone()), "a");
    let before = counting.bytes_read();
    let options = InspectOptions {
        delimiters: KEY_DELIMITERS.into(),
        ..OPTIONS
    };
    let whole = inspect_quietly(&snapshot, &options);
    let segments = whole.totals().storage.segments;
    assert_eq!(whole.sources.by_statistics, segments);
    let read = counting.bytes_read() - before;
    assert!(read < segments * TABLES_MAX, "{read} bytes of {segments}");
    // Damaged statistics are told, and the keys are counted in their place.
    let segment = snapshot.open_segment(&snapshot.manifest().segments[0]);
    let segment = segment.unwrap();
    let mut entries = segment.toc().entries.iter();
    let statistics = entries.find(|entry| entry.frame_type == FrameType::Stat);
    flip(&dumped.segments()[0], statistics.unwrap().end() - 1);
    let report = inspect_quietly(&snapshot, &options);
    let codes: Vec<_> = report
        .findings
        .iter()
        .map(|found| found.defect.code())
        .collect();
    assert_eq!(codes, ["MCS003"]);
    assert_eq!(
        (report.sources.by_statistics, report.sources.by_keys),
        (segments - 1, 1)
    );
    assert_eq!(report.statistics.total, whole.statistics.total);
    assert_eq!(
        report.statistics.client_flags,
        whole.statistics.client_flags
    );
    for depth in [Depth::Quick, Depth::Data, Depth::Deep] {
        let options = VerifyOptions {
            depth,
            thread_count: 1,
        };
        let report = verify(&snapshot, &options, &Cancel::new(), &NoProgress).unwrap();
        let codes: Vec<_> = report
            .findings
            .iter()
            .map(|found| found.defect.code())
            .collect();
        assert_eq!(codes, ["MCS003"], "{depth:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_shown() {
    let dumped = Dumped::of(1);
    let store = Arc::new(dumped.store());
    let snapshot = open(store, "a");
    let whole = inspect_quietly(&snapshot, &OPTIONS);
    let segments = dumped.segments();
    assert_eq!(segments.len(), 3);
    fs::remove_file(&segments[0]).unwrap();
    let second = snapshot
        .open_segment(&snapshot.manifest().segments[1])
        .unwrap();
    let block = *second.block_entry(1).unwrap();
    let key_section = u64::try_from(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE).unwrap();
    flip(&segments[1], block.offset + key_section + 9);
    drop(second);

    let report = inspect_quietly(&snapshot, &OPTIONS);
    let codes: Vec<_> = report
        .findings
        .iter()
        .map(|finding| finding.defect.code())
        .collect();
    assert_eq!(codes, ["MCS017", "MCS003"]);
    let unreadable = snapshot.manifest().segments[0].records + u64::from(block.record_count);
    assert_eq!(report.totals().unreadable, unreadable);
    let read = report.statistics.total.records;
    assert_eq!(read + unreadable, whole.statistics.total.records);
    assert!(report.has_errors());

    let run = dumped.workdir.mcsnap(&["inspect", "s/a", "--exact"]);
    let output = run.exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(&format!(
            "\ndamage    {unreadable} records cannot be read; "
        )),
        "{text}"
    );
    assert!(text.contains("\nFINDINGS\n"), "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    let json = dumped
        .workdir
        .mcsnap(&["inspect", "s/a", "--exact", "--format=json"])
        .exits(3);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["is_whole"], false);
    assert_eq!(json["findings"][0]["code"], "MCS017");
    assert_eq!(json["findings"][1]["location"]["block"], 1);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let dumped = Dumped::of(2);
    fs::remove_file(&dumped.segments()[2]).unwrap();
    let snapshot = open(Arc::new(dumped.store()), "a");
    let with_threads = |thread_count| InspectOptions {
        delimiters: KEY_DELIMITERS.into(),
        thread_count,
        ..OPTIONS
    };
    let one = inspect_quietly(&snapshot, &with_threads(1));
    assert_eq!(
        one.statistics
            .key_prefixes
            .rows(&one.statistics.total)
            .len(),
        4
    );
    for thread_count in [2, 7] {
        let many = inspect_quietly(&snapshot, &with_threads(thread_count));
        assert_eq!(many.statistics, one.statistics);
        assert_eq!(many.nodes, one.nodes);
        assert_eq!(many.findings, one.findings);
    }
}

#[test]
fn memory_is_what_the_server_spends() {
    let server = Memcached::start();
    let mut items = mixed_items(1, 0);
    // Of every size that a class begins or ends with, with and without flags; the
    // last are in chains of chunks.
    for at in 0..100_u64 {
        let len = usize::try_from(at * at * 100).unwrap();
        let item = Item::new(format!("size:{at}"), noise(at, len));
        items.push(item.flags(u32::try_from(at % 3).unwrap()));
    }
    server.client().load(items);
    let workdir = Workdir::new("inspect-memory");
    let dump = ["dump", "--to", "s", "--name", "a", &server.address()];
    workdir.mcsnap(&dump).succeeds();
    let output = workdir
        .mcsnap(&["inspect", "s/a", "--format=json"])
        .succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stats = server.client().stats("slabs");
    let number = |class: u64, name: &str| -> u64 {
        let text = stats.get(&format!("{class}:{name}"));
        text.map_or(0, |text| text.parse().unwrap())
    };
    let spent: u64 = (1..64)
        .map(|class| number(class, "chunk_size") * number(class, "used_chunks"))
        .sum();
    assert_eq!(report["totals"]["memory_bytes"], spent);
    assert_eq!(report["memory"]["class_as_default_records"], 1302);
    assert_eq!(report["memory"]["has_default_slab_classes"], true);

    // Other classes than the default ones: the items by themselves.
    let other = Memcached::start_with(&["-f", "1.07", "-n", "100"]);
    other.client().load(mixed_items(1, 0));
    let dump = ["dump", "--to", "s", "--name", "b", &other.address()];
    workdir.mcsnap(&dump).succeeds();
    let output = workdir.mcsnap(&["inspect", "s/b"]).succeeds();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = "in a server by the sizes of the items; what its slab classes";
    assert!(text.contains(told), "{text}");
}

/// Writes down which events come.
#[derive(Default)]
struct Noted(std::sync::Mutex<Vec<Event>>);

impl Progress for Noted {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn a_job_that_fails_is_over_too() {
    let dumped = Dumped::of(1);
    let snapshot = open(Arc::new(dumped.store()), "a");
    let cancel = Cancel::new();
    cancel.cancel();
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 2,
    };
    let jobs: [&dyn Fn(&Noted); 2] = [
        &|noted| assert!(inspect(&snapshot, &OPTIONS, &cancel, noted).is_err()),
        &|noted| assert!(verify(&snapshot, &options, &cancel, noted).is_err()),
    ];
    for job in jobs {
        let noted = Noted::default();
        job(&noted);
        let events = noted.0.into_inner().unwrap();
        let ends = events.iter().filter(|event| **event == Event::Finished);
        assert_eq!(ends.count(), 1, "{events:?}");
        assert_eq!(events.last(), Some(&Event::Finished));
    }
}

#[test]
fn of_too_many_prefixes_the_heaviest_are_named() {
    let server = Memcached::start();
    let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap());
    let count = KeyPrefixTable::VALUE_COUNT_MAX * 2;
    let light = (0..count).map(|number| {
        let name: String = [17_576, 676, 26, 1]
            .map(|unit| letter(number / unit))
            .iter()
            .collect();
        Item::new(format!("{name}:1"), "")
    });
    // By its name it would be the last.
    let heavy = (0..50).map(|number| Item::new(format!("zz:{number}"), noise(number, 5000)));
    server.client().load(light.chain(heavy));
    let workdir = Workdir::new("inspect-prefixes");
    let dump = ["dump", "--to", "s", "--name", "a", &server.address()];
    workdir.mcsnap(&dump).succeeds();
    let inspect = ["inspect", "s/a", "--depth=1", "--exact"];
    let report = |threads: &str| -> Value {
        let run = workdir.mcsnap(&inspect).arg("--format=json").arg(threads);
        let mut report: Value = serde_json::from_slice(&run.succeeds().stdout).unwrap();
        // Which run it was, and when.
        for name in ["run_id", "pid", "started_at", "finished_at", "elapsed_ms"] {
            report[name] = Value::Null;
        }
        report
    };
    let one = report("--threads=1");
    assert_eq!(prefixes(&one)[0], ("zz:".to_owned(), 50));
    let kept = u64::try_from(KeyPrefixTable::VALUE_COUNT_MAX).unwrap();
    assert_eq!(one["key_prefixes"]["others"]["records"], kept + 1);
    // Groups have some prefixes each, of one small item.
    let most = one["key_prefixes"]["others_item_bytes_max"]
        .as_u64()
        .unwrap();
    assert!((63..630).contains(&most), "{most}");
    assert_eq!(report("--threads=5"), one);
    let text = String::from_utf8(workdir.mcsnap(&inspect).succeeds().stdout).unwrap();
    let wanted = format!("\n  No prefix that is not kept apart has items of more than {most} B.\n");
    assert!(text.contains(&wanted), "{text}");

    // Segments keep the heavy ones, and tell how much the others may have.
    let run = workdir.mcsnap(&inspect[..3]).arg("--format=json");
    let quick: Value = serde_json::from_slice(&run.succeeds().stdout).unwrap();
    assert_eq!(prefixes(&quick)[0], ("zz:".to_owned(), 50));
    assert_eq!(quick["figures"]["are_exact"], false);
    let missed = quick["key_prefixes"]["missed_item_bytes_max"]
        .as_u64()
        .unwrap();
    assert!((63..100_000).contains(&missed), "{missed}");
    let rows: u64 = prefixes(&quick).iter().map(|(_, records)| records).sum();
    let others = quick["key_prefixes"]["others"]["records"].as_u64().unwrap();
    assert_eq!(rows + others, 2 * kept + 50);
    let text = String::from_utf8(workdir.mcsnap(&inspect[..3]).succeeds().stdout).unwrap();
    assert!(text.contains("more than its line says.\n"), "{text}");
}

#[test]
fn a_stopped_inspection_ends_at_once() {
    let dumped = Dumped::of(1);
    let cancel = Cancel::new();
    cancel.cancel();
    let snapshot = open(Arc::new(dumped.store()), "a");
    let error = inspect(&snapshot, &OPTIONS, &cancel, &NoProgress).unwrap_err();
    assert!(error.is_canceled());
}

/// Publishes a snapshot without a segment.
fn empty_snapshot(finished_at: &str) -> Result<SnapshotReader> {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let draft = SnapshotDraft::begin(Arc::clone(&store), "a").unwrap();
    let digest = "0".repeat(32);
    let manifest = json!({
        "format": "mcsnap", "version": {"major": 1, "minor": 0},
        "snapshot_id": draft.id().to_string(), "name": "a", "token": draft.token(),
        "tool": "test", "started_at": finished_at, "finished_at": finished_at, "ring": null,
        "shard_hash": {"algorithm": "xxh3-64", "seed": "0"}, "nodes": [], "segments": [],
        "totals": {"segments": "0", "size": "0", "records": "0", "key_bytes": "0",
                   "value_bytes": "0"},
        "content_digest": digest, "content_digest_exptime": digest, "verdict": "complete",
    });
    // Not published, since whoever publishes checks what readers check.
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    store
        .put_new("a/manifest.json", &manifest.encode())
        .unwrap();
    drop(draft);
    SnapshotReader::open(store, "a", Need::Read)
}

#[test]
fn nothing_is_nothing_and_a_dump_without_end_is_no_snapshot() {
    let empty = empty_snapshot("2026-11-20T02:00:00Z").unwrap();
    let report = inspect_quietly(&empty, &OPTIONS);
    assert_eq!(report.at, UnixSecs(1_795_140_000));
    assert_eq!(
        (report.statistics.total.records, report.statistics.key_len),
        (0, None)
    );
    // Neither `inspect` nor `verify` goes on.
    let error = empty_snapshot("later").err().unwrap();
    assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{error}");
    assert!(
        error
            .to_chain()
            .contains("started_at \"later\" is no moment")
    );
}
