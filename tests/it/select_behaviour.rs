//! One expression keeps the same keys in every command, and says what it could
//! not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mcsnap::cancel::Cancel;
use mcsnap::format::compression::Compression;
use mcsnap::format::manifest::Need;
use mcsnap::inspect::{InspectOptions, inspect};
use mcsnap::item::{Exptime, ItemMeta, SlabClass};
use mcsnap::listing::{ListingOptions, list};
use mcsnap::progress::NoProgress;
use mcsnap::select::Selection;
use mcsnap::snapshot::SnapshotReader;
use mcsnap::store::MemoryStore;
use mcsnap::units::UnixSecs;
use serde_json::Value;

use crate::client::Item;
use crate::memcached::Memcached;
use crate::snapshot_property::{Cut, Items, NAME, Owned, write};
use crate::workdir::Workdir;

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
            largest_count: 0,
            thread_count: 2,
            selection,
        };
        let report = inspect(&snapshot, &options, &Cancel::new(), &NoProgress).unwrap();
        let found = (report.statistics.total.records, report.unknown_kept);
        assert_eq!(found, (kept, unknown), "{expression}");
        assert_eq!(report.filtered.records, 600 - kept, "{expression}");
        assert_eq!(report.findings, []);
    }
}
