//! One expression keeps the same keys in every command, and says what it could
//! not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::layout::{BLOCK_HEADER_SIZE, FRAME_HEADER_SIZE};
use mcsnap::codecs::format::manifest::{ManifestSegment, Need};
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::select::Selection;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::inspect::{InspectOptions, PrefixDepth, inspect};
use mcsnap::jobs::ls::{ListingOptions, list};
use mcsnap::jobs::restore::{RestoreOptions, RestorePlan, RestoreReport};
use mcsnap::ports::store::{FaultyStore, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::item::{Exptime, ItemMeta, SlabClass, unescape_bytes};
use mcsnap::words::progress::NoProgress;
use mcsnap::words::units::UnixSecs;
use serde_json::Value;

use crate::format::golden_valid::testdata;
use crate::format::snapshot_property::{Cut, Items, NAME, Owned, bytes_of, noise, replace, write};
use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// A server with items of many kinds, dumped to `s/a`.
struct Dumped {
    workdir: Workdir,
}

impl Dumped {
    fn new(name: &str) -> Self {
        let server = Memcached::start();
        let mut client = server.client();
        client.load((0..300_u32).map(|at| {
            let size = if at % 3 == 0 { 3000 } else { 30 };
            let ttl = [0, 100, 10_000][usize::try_from(at % 4 % 3).unwrap()];
            let kind = if at < 200 { "user" } else { "sess" };
            Item::new(format!("{kind}:{at}"), vec![b'v'; size])
                .flags(at % 5)
                .ttl(ttl)
        }));
        client.load([Item::new(b"tmp:\xff(x)".as_slice(), "binary")]);
        let workdir = Workdir::new(name);
        workdir
            .mcsnap(&["dump", "--to", "s", "--name", "a", &server.address()])
            .succeeds();
        Self { workdir }
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        self.workdir.mcsnap(arguments).succeeds().stdout
    }

    fn keys(&self, arguments: &[&str]) -> BTreeSet<String> {
        let output = self.run(&[&["ls", "s/a", "--keys"], arguments].concat());
        let text = String::from_utf8(output).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn selected(&self, expression: &str) -> BTreeSet<String> {
        self.keys(&["--select", expression])
    }
}

/// What the snapshot says of each key, without the filter.
fn listed(dumped: &Dumped) -> BTreeMap<String, Value> {
    let output = dumped.run(&["ls", "s/a", "--format", "json"]);
    let records = serde_json::Deserializer::from_slice(&output).into_iter::<Value>();
    records
        .map(|record| {
            let record = record.unwrap();
            (record["key"].as_str().unwrap().to_owned(), record)
        })
        .collect()
}

#[test]
fn a_listing_has_the_keys_that_match_and_no_others() {
    let dumped = Dumped::new("select-ls");
    let all = listed(&dumped);
    assert_eq!(all.len(), 301);
    let matching = |is_wanted: &dyn Fn(&str, &Value) -> bool| -> BTreeSet<String> {
        let wanted = all.iter().filter(|(key, record)| is_wanted(key, record));
        wanted.map(|(key, _)| key.clone()).collect()
    };
    let number = |record: &Value, name: &str| record[name].as_u64().unwrap();
    let expect = |expression: &str, wanted: BTreeSet<String>| {
        assert!(
            !wanted.is_empty() && wanted.len() < all.len(),
            "{expression} says nothing"
        );
        assert_eq!(dumped.selected(expression), wanted, "{expression}");
    };
    expect("prefix=user:", matching(&|key, _| key.starts_with("user:")));
    expect(
        "glob=*:?[05]",
        matching(&|key, _| {
            let tail = key.split_once(':').unwrap().1;
            tail.len() == 2 && tail.ends_with(['0', '5'])
        }),
    );
    expect(
        "regex=^(user|sess):[0-9]+$",
        matching(&|key, _| !key.starts_with("tmp:")),
    );
    expect(
        "prefix='tmp:\\xff('",
        matching(&|key, _| key.starts_with("tmp:")),
    );
    expect(
        "glob='tmp:\\xff(*'",
        matching(&|key, _| key.starts_with("tmp:")),
    );
    expect("key=user:7", matching(&|key, _| key == "user:7"));
    expect(
        "size>=1KiB",
        matching(&|_, record| number(record, "value_len") >= 1024),
    );
    expect(
        "size=..30",
        matching(&|_, record| number(record, "value_len") <= 30),
    );
    expect(
        "flags=3",
        matching(&|_, record| record["client_flags"] == "3"),
    );
    expect(
        "ttl=never",
        matching(&|_, record| record["exptime"] == "never"),
    );
    expect(
        "ttl>1h and ttl!=never",
        matching(&|key, _| {
            let (kind, at) = key.split_once(':').unwrap();
            kind != "tmp" && at.parse::<u32>().unwrap() % 4 % 3 == 2
        }),
    );
    let class = number(&all["user:3"], "slab_class");
    expect(
        &format!("class={class}"),
        matching(&|_, record| number(record, "slab_class") == class),
    );
    expect(
        "not (prefix=user: or size<1KiB)",
        matching(&|key, record| !key.starts_with("user:") && number(record, "value_len") >= 1024),
    );
    // Nobody has read anything, and all were stored a moment ago.
    assert_eq!(dumped.selected("idle<1h").len(), 301);
    assert_eq!(dumped.selected("idle>1h"), BTreeSet::new());
    // At another moment, other keys have a second left.
    let late = number(&all["user:2"], "exptime") - 1;
    let at_late = [
        "--select",
        "ttl=1s.. and ttl!=never",
        "--at",
        &late.to_string(),
    ];
    assert!(dumped.keys(&at_late).contains("user:2"));
    assert!(!dumped.keys(&at_late).contains("user:1"));
}

#[test]
fn short_flags_and_several_expressions_are_joined() {
    let dumped = Dumped::new("select-joined");
    let wanted = dumped.selected("prefix=user:1 and glob=*5 and size<1KiB");
    assert!(!wanted.is_empty());
    let joined = [
        "--prefix",
        "user:1",
        "--glob",
        "*5",
        "--select",
        "size<1KiB or size<1B",
    ];
    assert_eq!(dumped.keys(&joined), wanted);
    let several = [
        "--select",
        "prefix=user:1 or prefix=none",
        "--select",
        "glob=*5",
        "--select=size<1KiB",
    ];
    assert_eq!(dumped.keys(&several), wanted);
    let config = "ls:\n  select: ['prefix=user:1', 'glob={user,none}:*5', size<1KiB]\n";
    std::fs::write(dumped.workdir.join("c.yaml"), config).unwrap();
    assert_eq!(dumped.keys(&["--config", "c.yaml"]), wanted);
}

#[test]
fn a_sample_and_the_owners_share_the_keys_out() {
    let dumped = Dumped::new("select-shares");
    let all = dumped.keys(&[]);
    let half = dumped.selected("sample=50%");
    assert_eq!(half, dumped.selected("sample=50%"));
    assert!(dumped.selected("sample=10%").is_subset(&half));
    let other = dumped.selected("sample!=50%");
    assert!((100..200).contains(&half.len()), "{}", half.len());
    assert!(half.is_disjoint(&other));
    assert_eq!(half.len() + other.len(), all.len());

    let ring = "ketama-weighted/10.0.0.1:11211,10.0.0.2:11211*2,10.0.0.3";
    let of = |owner: &str| dumped.selected(&format!("owner={owner}/{ring}"));
    let owned = ["10.0.0.1", "10.0.0.2", "10.0.0.3:11211"].map(of);
    assert!(owned.iter().all(|keys| !keys.is_empty()));
    assert_eq!(owned.iter().map(BTreeSet::len).sum::<usize>(), all.len());
    let two: BTreeSet<String> = &owned[0] | &owned[2];
    assert_eq!(of("10.0.0.3,10.0.0.1"), two);
}

#[test]
fn an_inspection_is_of_what_is_kept_and_says_so() {
    let dumped = Dumped::new("select-inspect");
    let expression = "prefix=user: and size>1KiB";
    let kept = dumped.selected(expression).len();
    let arguments = ["inspect", "s/a", "--select", expression];
    let json = dumped.run(&[&arguments[..], &["--format", "json"]].concat());
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["select"]["expression"], expression);
    assert_eq!(json["select"]["kept"], kept);
    assert_eq!(json["select"]["filtered"], 301 - kept);
    assert_eq!(json["select"]["unknown_kept"], 0);
    assert_eq!(json["totals"]["records"], kept);
    assert_eq!(json["nodes"][0]["share"]["records"], kept);
    assert_eq!(json["value_length"]["min_bytes"], 3000);
    assert_eq!(json["key_prefixes"]["values"].as_array().unwrap().len(), 1);
    // The snapshot is no worse for it.
    assert_eq!(json["is_whole"], true);
    let text = String::from_utf8(dumped.run(&arguments)).unwrap();
    for line in [
        format!("select    {expression}"),
        format!("kept      {kept} of 301 records; all below is of these"),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} in\n{text}"
        );
    }
    let plain = dumped.run(&["inspect", "s/a", "--format=json"]);
    let plain: Value = serde_json::from_slice(&plain).unwrap();
    assert_eq!(plain["select"], Value::Null);
}

/// A snapshot in memory of which servers did not tell everything.
fn untold() -> SnapshotReader {
    let meta = |number: u64| ItemMeta {
        exptime: Some(Exptime::Never),
        slab_class: number.is_multiple_of(2).then_some(SlabClass(5)),
        last_access: number.is_multiple_of(3).then_some(UnixSecs(1_795_130_000)),
        ..ItemMeta::default()
    };
    let items: Items = (0..600)
        .map(|number| {
            let owned = Owned {
                value: vec![b'v'; 100],
                meta: meta(number),
            };
            (format!("key:{number}").into_bytes(), owned)
        })
        .collect();
    let cut = Cut {
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        shard_bits: 1,
    };
    let store = Arc::new(MemoryStore::new());
    write(store.clone(), &items, &cut);
    SnapshotReader::open(store, NAME, Need::Read).unwrap()
}

#[test]
fn what_the_servers_did_not_tell_is_kept_and_counted() {
    let snapshot = untold();
    for (expression, kept, unknown) in [
        ("class=5", 600, 300),
        ("class=6", 300, 300),
        ("class=5 and class!=unknown", 300, 0),
        ("class=unknown", 300, 0),
        ("class=5 or prefix=key:", 600, 0),
        ("class=5 and key=key:1", 1, 1),
        ("idle>1h", 600, 400),
        ("flags=0", 600, 600),
        ("flags=0 and size>1k", 0, 0),
    ] {
        let selection = Selection::parse(expression).unwrap();
        let options = ListingOptions {
            nodes: Vec::new(),
            selection: selection.clone(),
            at: Some(UnixSecs(1_795_140_000)),
            thread_count: 2,
        };
        let report = list(&snapshot, &options, &Cancel::new(), &|_, _| {}, &mut |_| {
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
        let found = (report.listed, report.unknown_kept, report.seen);
        assert_eq!(found, (kept, unknown, 600), "{expression}");
        let options = InspectOptions {
            at: options.at,
            nodes: Vec::new(),
            delimiters: Vec::new(),
            depth: PrefixDepth::Fitting,
            largest_count: 0,
            thread_count: 2,
            selection,
            is_exact: false,
        };
        let report = inspect(&snapshot, &options, &Cancel::new(), &NoProgress).unwrap();
        let found = (report.statistics.total.records, report.unknown_kept);
        assert_eq!(found, (kept, unknown), "{expression}");
        assert_eq!(report.filtered.records, 600 - kept, "{expression}");
        assert_eq!(report.findings, []);
    }
}

impl Dumped {
    fn restore_json(&self, arguments: &[&str]) -> Value {
        let arguments = [&["restore", "s/a", "--format", "json"], arguments].concat();
        serde_json::from_slice(&self.run(&arguments)).unwrap()
    }
}

#[test]
fn a_restore_stores_what_a_listing_shows_and_counts_the_rest() {
    let dumped = Dumped::new("select-restore");
    let target = Memcached::start();
    let to = target.address();
    let expression = "prefix!=sess: and (size>1KiB or ttl=never)";
    let wanted: BTreeSet<Vec<u8>> = dumped
        .selected(expression)
        .iter()
        .map(|key| unescape_bytes(key).unwrap())
        .collect();
    let (kept, filtered) = (wanted.len(), 301 - wanted.len());
    assert!(kept > 50 && filtered > 50);
    let arguments = ["--to", &to, "--select", expression];
    let plan = dumped.restore_json(&[&arguments[..], &["--dry-run"]].concat());
    assert_eq!(plan["filtered"], filtered);
    assert_eq!(plan["nodes"][0]["keys"], kept);
    assert_eq!(plan["select"], expression);
    let report = dumped.restore_json(&arguments);
    assert_eq!(report["stored"], kept);
    assert_eq!(report["filtered"], filtered);
    assert_eq!(report["unknown_kept"], 0);
    assert_eq!(report["records"], 301);
    assert_eq!(report["select"], expression);
    let stored: BTreeSet<Vec<u8>> = target.client().keys().into_keys().collect();
    assert_eq!(stored, wanted);
    // The others, and what is there already.
    let text = String::from_utf8(dumped.run(&["restore", "s/a", "--to", &to])).unwrap();
    let all = format!("301 in the snapshot: {filtered} stored, {kept} existing, 0 expired");
    assert!(text.contains(&all), "{text}");
    assert!(
        text.contains("(restored; ") && !text.contains("select"),
        "{text}"
    );
    let arguments = ["restore", "s/a", "--to", &to, "--select", "class=5.."];
    let text = String::from_utf8(dumped.run(&arguments)).unwrap();
    assert!(text.contains("\nselect    class>=5\n"), "{text}");
    assert!(text.contains(" records do not match\n"), "{text}");
}

#[test]
fn one_node_of_a_ring_is_filled_alone() {
    let dumped = Dumped::new("select-owner");
    let (one, two) = (Memcached::start(), Memcached::start());
    let to = format!("{},{}", one.address(), two.address());
    let owner = format!("owner={}", two.address());
    let ring = ["--ring", "ketama-weighted"];
    // The ring is that of the command.
    let report = dumped.restore_json(&[&["--to", &to, "--select", &owner], &ring[..]].concat());
    let keys = two.client().keys();
    assert_eq!(report["stored"], keys.len());
    assert_eq!(report["filtered"], 301 - keys.len());
    assert!(one.client().keys().is_empty() && keys.len() > 50);
    // Or it is spelled out, for a command that knows one node of it.
    let spelled = format!("{owner}/ketama-weighted/{to}");
    assert_eq!(report["select"], spelled);
    two.client().flush_all();
    let report = dumped.restore_json(&["--to", &two.address(), "--select", &spelled]);
    assert_eq!(report["stored"], keys.len());
    assert_eq!(
        two.client().keys().into_keys().collect::<Vec<_>>(),
        keys.into_keys().collect::<Vec<_>>()
    );
}

/// Six hundred records of 4 KiB that do not compress.
fn of_many_blocks(store: &MemoryStore) -> Vec<ManifestSegment> {
    let items: Items = (0..600)
        .map(|number| {
            let owned = Owned {
                value: noise(number, 4096),
                meta: ItemMeta {
                    client_flags: Some(0),
                    exptime: Some(Exptime::Never),
                    ..ItemMeta::default()
                },
            };
            let kind = if number < 400 { "drop" } else { "keep" };
            (format!("{kind}:{number}").into_bytes(), owned)
        })
        .collect();
    let cut = Cut {
        segment_size_max: 1 << 20,
        segment_record_count_max: 1 << 20,
        compression: Compression::None,
        shard_bits: 0,
    };
    write(Arc::new(store.clone()), &items, &cut)
}

fn restore(store: impl Store + 'static, target: &Memcached, expression: &str) -> RestoreReport {
    let snapshot = SnapshotReader::open(Arc::new(store), NAME, Need::Restore).unwrap();
    let options = RestoreOptions {
        nodes: vec![target.address().parse().unwrap()],
        mode: SetMode::Set,
        connection_count: 1,
        selection: Selection::parse(expression).unwrap(),
        ..RestoreOptions::default()
    };
    let cancel = Cancel::new();
    let plan = RestorePlan::make(snapshot, options, &cancel).unwrap();
    plan.run(&cancel, &NoProgress).unwrap()
}

#[test]
fn of_blocks_that_are_dropped_no_value_is_read() {
    let store = MemoryStore::new();
    let segments = of_many_blocks(&store);
    let size: u64 = segments.iter().map(|segment| segment.size).sum();
    let target = Memcached::start();
    let read = |expression: &str, stored: u64| {
        let counting = FaultyStore::counting(store.clone());
        let report = restore(counting.clone(), &target, expression);
        assert_eq!(report.totals().counters.stored, stored, "{report:?}");
        assert_eq!(report.filtered, 600 - stored, "{expression}");
        assert_eq!(report.accounted(), 600, "{expression}");
        assert!(!report.has_losses());
        counting.bytes_read()
    };
    let nothing = read("prefix=none", 0);
    assert!(
        nothing * 20 < size,
        "{nothing} bytes of {size} were read for nothing"
    );
    let third = read("prefix=keep:", 200);
    assert!(
        third < size / 2,
        "{third} bytes of {size} were read for a third of them"
    );
    assert!(third > size / 4);
}

#[test]
fn what_is_damaged_and_dropped_is_no_loss() {
    let store = MemoryStore::new();
    let segments = of_many_blocks(&store);
    let snapshot = SnapshotReader::open(Arc::new(store.clone()), NAME, Need::Read).unwrap();
    // One byte of the values of each block.
    for named in &segments {
        let segment = snapshot.open_segment(named).unwrap();
        let object = snapshot.segment_object(named);
        let mut bytes = bytes_of(&store, &object);
        for block in 0..segment.block_count() {
            let entry = segment.block_entry(block).unwrap();
            let keys_end = entry.offset + u64::from(entry.key_stored_len);
            let head = FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE;
            bytes[usize::try_from(keys_end).unwrap() + head + 9] ^= 1;
        }
        replace(&store, &object, &bytes);
    }
    let target = Memcached::start();
    for (expression, damaged) in [("prefix=none", 0), ("prefix=keep:", 200), ("size>1", 600)] {
        let report = restore(store.clone(), &target, expression);
        assert_eq!((report.damaged, report.filtered), (damaged, 600 - damaged));
        assert_eq!(report.accounted(), 600);
        assert_eq!(report.has_losses(), damaged > 0);
    }
    assert!(target.client().keys().is_empty());
}

#[test]
fn a_snapshot_of_a_part_says_so_wherever_it_is_looked_at() {
    let place = testdata("valid/selected").display().to_string();
    let workdir = Workdir::new("select-holds");
    let target = Memcached::start();
    let to = target.address();
    let expression = "regex=\"^[ab d]$\" and size>=1KiB";
    // What a dump writes down is what it was told.
    assert_eq!(
        Selection::parse(expression).unwrap().to_string(),
        expression
    );
    let line = format!("only what its dump selected: {expression}\n");
    let text = |arguments: &[&str]| {
        let output = workdir.mcsnap(arguments).succeeds();
        String::from_utf8(output.stdout).unwrap()
    };
    for arguments in [
        &["verify", &place][..],
        &["inspect", &place],
        &["restore", &place, "--dry-run", "--to", &to],
        &["restore", &place, "--to", &to],
    ] {
        let text = text(arguments);
        let held = text.lines().find(|found| found.starts_with("holds "));
        let held = held.unwrap_or_else(|| panic!("{arguments:?} prints\n{text}"));
        assert!(format!("{held}\n").ends_with(&line), "{held}");
    }
    let inspected = text(&["inspect", &place]);
    assert!(
        inspected.contains(", 0 expired, 9 filtered\n"),
        "{inspected}"
    );
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&text(&[arguments, &["--format=json"]].concat())).unwrap()
    };
    assert_eq!(json(&["verify", &place])["select"], expression);
    let inspected = json(&["inspect", &place]);
    assert_eq!(inspected["snapshot"]["select"], expression);
    assert_eq!(inspected["select"], Value::Null);
    assert_eq!(inspected["nodes"][0]["counters"]["filtered"], "9");
    // Nothing is lost, and what is brought out of it is no more.
    text(&["salvage", &place, "--to", "salvaged", "--name", "part"]);
    let salvaged = json(&["inspect", "salvaged/part"]);
    assert_eq!(salvaged["snapshot"]["select"], expression);
    assert_eq!(salvaged["nodes"][0]["counters"]["filtered"], "9");
    assert_eq!(salvaged["snapshot"]["verdict"], "complete");
}

#[test]
fn a_bad_expression_is_refused_before_anything_is_done() {
    let workdir = Workdir::new("select-bad");
    let place = testdata("valid/cluster").display().to_string();
    let check = |arguments: &[&str], message: &str| {
        let output = workdir.mcsnap(arguments).arg("--progress=none").exits(2);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors, format!("mcsnap: {message}\n"));
        assert!(output.stdout.is_empty());
    };
    let names = "key, prefix, glob, regex, ttl, size, class, idle, flags, sample or owner";
    for command in [
        &["ls"][..],
        &["inspect"],
        &["restore", "--to", "127.0.0.1:1"],
    ] {
        let select = |expression, message: &str| {
            let arguments = [command, &[&place, "--select", expression]].concat();
            check(&arguments, &format!("select \"{expression}\": {message}"));
        };
        select(
            "perfix=a",
            &format!("at column 1, \"perfix\": wanted {names}"),
        );
        select(
            "class=5 and ttl>1hx",
            "at column 17, \"1hx\": wanted a length of time such as 90s, 1h or 7d, a range of two, \
             never or unknown, not \"1hx\"",
        );
        // What a shell leaves of --select ttl>1h.
        select(
            "ttl",
            "at the end: wanted =, !=, <, <=, > or >= after ttl; in a shell, < and > need quotes \
             around all",
        );
        select(
            "",
            &format!("at the end: wanted a term: {names}, or not, or ("),
        );
    }
    check(
        &["ls", &place, "--select", "owner=a:1"],
        "owner \"a:1\": of which ring? write owner=OWNER,.../RING/NODE,...",
    );
    check(
        &["ls", &place, "--glob", "a["],
        "glob \"a[\": unclosed character class; missing ']'",
    );
    check(
        &["ls", &place, "--select", "ttl>1h", "--at", "soon"],
        "at \"soon\": wanted now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970",
    );
}

#[test]
fn a_dump_takes_what_the_other_commands_would_keep() {
    let server = Memcached::start();
    let mut client = server.client();
    client.load((0..600_u32).map(|at| {
        let size = if at % 3 == 0 { 3000 } else { 30 };
        let ttl = [0, 1000, 100_000][usize::try_from(at % 4 % 3).unwrap()];
        Item::new(format!("user:{at}"), vec![b'v'; size])
            .flags(at % 5)
            .ttl(ttl)
    }));
    let address = server.address();
    let workdir = Workdir::new("dump-select");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "all", &address])
        .succeeds();
    let keys = |arguments: &[&str]| {
        let output = workdir.mcsnap(arguments).arg("--keys").succeeds();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(str::to_owned)
            .collect::<BTreeSet<String>>()
    };
    // Slabs, since another walk tells no more or less.
    for (number, (expression, walk, reads)) in [
        ("prefix=user:1", "hash", None),
        ("ttl=never or ttl>2h", "hash", None),
        ("size>1KiB and class>3", "hash", None),
        ("flags=3 and glob!=*3", "slabs", None),
        ("sample=20%", "hash", None),
        ("idle<1h", "hash", None),
        ("size<=30", "cachedump", None),
        // Of these nothing is read, since the listing decides.
        ("prefix=sess:", "hash", Some(0)),
        ("ttl=500s..599s", "slabs", Some(0)),
        // Far from what the listed size of the item may be without its overhead.
        ("size>10KiB", "hash", Some(0)),
        ("size=2000 or size>=1MiB", "slabs", Some(0)),
        ("size>1KiB", "hash", Some(200)),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("n{number}");
        let before: u64 = client.stats("")["cmd_get"].parse().unwrap();
        let output = workdir
            .mcsnap(&[
                "dump",
                "--to",
                "s",
                "--name",
                &name,
                "--format=json",
                &address,
            ])
            .arg("--select")
            .arg(expression)
            .arg("--walk")
            .arg(walk)
            .arg("--max-missing=100")
            .succeeds();
        let after: u64 = client.stats("")["cmd_get"].parse().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let place = format!("s/{name}");
        let stored = keys(&["ls", &place]);
        if walk != "cachedump" {
            let wanted = keys(&["ls", "s/all", "--select", expression]);
            assert_eq!(stored, wanted, "{expression}");
        }
        let count = |name: &str| report[name].as_u64().unwrap();
        assert_eq!(count("stored"), u64::try_from(stored.len()).unwrap());
        assert_eq!(
            count("listed"),
            count("stored") + count("filtered") + count("duplicate"),
            "{expression}"
        );
        assert!(
            count("filtered") > 0 || expression == "idle<1h",
            "{expression}"
        );
        if let Some(reads) = reads {
            assert_eq!(after - before, reads, "{expression}");
        }
        let output = workdir.mcsnap(&["verify", "--deep", &place]).succeeds();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(&format!("only what its dump selected: {expression}")),
            "{text}"
        );
    }
    let output = workdir
        .mcsnap(&["dump", "--to", "s", "--select", "ttl>", &address])
        .exits(2);
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1);
}
