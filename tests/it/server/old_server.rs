//! A dump of every version of memcached gives what is in the server, as far as
//! that version tells; what it does not tell is unknown, and not made up.
//!
//! The versions are played by [`AgeingProxy`] in front of a real server.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mcsnap::words::item::{Attribute, Cas, Exptime, SlabClass};
use mcsnap::words::units::UnixSecs;
use serde_json::Value;

use crate::harness::ageing_proxy::{Age, AgeingProxy, Cut, ReplyFault, Version, binary_set};
use crate::harness::client::{Client, Fetched, Fields, Item, meta_flag};
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::fault::{Call, Fault, Harm, was_killed};
use crate::harness::memcached::Memcached;
use crate::harness::reports::assert_accounted;
use crate::harness::running_job::segment_files;
use crate::harness::stored::records;
use crate::harness::workdir::Workdir;

const NEVER: &str = "-1";

/// A version, how it is walked, and what it tells.
#[derive(Clone, Copy, Debug)]
struct Profile {
    version: Version,
    walk: &'static str,
    values: &'static str,
    tells_exptime: bool,
    tells_cas: bool,
    /// Last access and the fetched mark.
    tells_use: bool,
    tells_class: bool,
    tells_stale: bool,
    has_binary_protocol: bool,
    /// Off when the dump begins.
    turns_crawler_on: bool,
}

const GETS: &str = "gets, odd keys by the binary protocol";

const fn listed(version: Version) -> Profile {
    Profile {
        version,
        walk: "cachedump",
        values: GETS,
        tells_exptime: true,
        tells_cas: true,
        tells_use: false,
        tells_class: true,
        tells_stale: false,
        has_binary_protocol: true,
        turns_crawler_on: false,
    }
}

const fn crawled(version: Version) -> Profile {
    Profile {
        walk: "slabs",
        tells_use: true,
        ..listed(version)
    }
}

const fn hashed(version: Version) -> Profile {
    Profile {
        walk: "hash",
        values: "meta get",
        tells_stale: true,
        ..crawled(version)
    }
}

const PROFILES: [Profile; 20] = [
    Profile {
        values: "get",
        tells_exptime: false,
        tells_cas: false,
        has_binary_protocol: false,
        ..listed((1, 2, 3))
    },
    Profile {
        values: "gets",
        has_binary_protocol: false,
        ..listed((1, 2, 8))
    },
    listed((1, 4, 13)),
    listed((1, 4, 20)),
    listed((1, 4, 25)),
    listed((1, 4, 30)),
    Profile {
        tells_class: false,
        turns_crawler_on: true,
        ..crawled((1, 4, 31))
    },
    Profile {
        tells_class: false,
        turns_crawler_on: true,
        ..crawled((1, 4, 33))
    },
    Profile {
        tells_class: false,
        ..crawled((1, 5, 0))
    },
    Profile {
        tells_class: false,
        ..crawled((1, 5, 3))
    },
    crawled((1, 5, 4)),
    crawled((1, 5, 22)),
    Profile {
        values: "meta get, odd keys by the binary protocol",
        tells_stale: true,
        ..crawled((1, 6, 0))
    },
    Profile {
        values: "meta get, odd keys by the binary protocol",
        tells_stale: true,
        ..crawled((1, 6, 8))
    },
    Profile {
        values: "meta get, odd keys by the binary protocol",
        ..hashed((1, 6, 9))
    },
    hashed((1, 6, 10)),
    hashed((1, 6, 24)),
    hashed((1, 6, 27)),
    hashed((1, 6, 39)),
    hashed((1, 6, 43)),
];

/// Keys that need more than a plain text command.
fn odd_keys() -> Vec<Vec<u8>> {
    vec![
        b"with space".to_vec(),
        b"tab\there".to_vec(),
        b"percent%41 [3 b; 5 s]".to_vec(),
        vec![b' '; 200],
        [&[b' '; 120][..], &[0xff; 130]].concat(),
        vec![0xc3; 250],
    ]
}

/// Those that a list without an encoding cannot tell.
fn unlistable_keys() -> Vec<Vec<u8>> {
    vec![b"line\r\nend".to_vec(), b"\0nul\0".to_vec()]
}

const ODD_VALUE: &[u8] = b"odd\r\nvalue";

/// Keys and their client flags.
fn odd_items(keys: &[Vec<u8>]) -> impl Iterator<Item = (&Vec<u8>, u32)> {
    keys.iter().zip([0, 1, u32::MAX].into_iter().cycle())
}

fn fill(server: &Memcached, count: u32, keys: &[Vec<u8>]) {
    let mut client = server.client();
    let now: u64 = client.stats("")["time"].parse().unwrap();
    let ttls = [0, 3600, 864_000, i64::try_from(now).unwrap() + 5_000_000];
    client.load((0..count).map(|number| {
        let ttl = ttls[usize::try_from(number).unwrap() % ttls.len()];
        let value = format!("{number} ").repeat(usize::try_from(number % 50).unwrap());
        let flags = if number % 3 == 0 {
            0
        } else {
            u32::MAX - number
        };
        Item::new(format!("plain:{number}"), value)
            .flags(flags)
            .ttl(ttl)
    }));
    for (key, flags) in odd_items(keys) {
        binary_set(&server.address(), key, ODD_VALUE, flags, 7200);
    }
}

/// What is in the server, key by key. No read leaves a trace.
fn content(server: &Memcached, keys: &[Vec<u8>]) -> BTreeMap<Vec<u8>, (Fields, Fetched)> {
    let mut client = server.client();
    let mut content = BTreeMap::new();
    for (key, fields) in client.keys() {
        let odd = odd_items(keys).find(|(odd, _)| **odd == key);
        let fetched = match odd {
            Some((_, flags)) => Fetched {
                value: ODD_VALUE.to_vec(),
                flags,
                ttl: 0,
            },
            None => read_without_trace(&mut client, &key),
        };
        content.insert(key, (fields, fetched));
    }
    content
}

fn read_without_trace(client: &mut Client, key: &[u8]) -> Fetched {
    let (header, value) = client.mg(key, "f t v u").unwrap();
    Fetched {
        value,
        flags: meta_flag(&header, 'f').parse().unwrap(),
        ttl: meta_flag(&header, 't').parse().unwrap(),
    }
}

fn dump_json(workdir: &Workdir, name: &str, address: &str, more: &[&str], code: i32) -> Value {
    let mut arguments = vec![
        "dump", "--to", "s", "--format", "json", "--name", name, address,
    ];
    arguments.extend(more);
    serde_json::from_slice(&workdir.mcsnap(&arguments).exits(code).stdout).unwrap()
}

/// Compares a snapshot with a server, as far as the version tells.
fn assert_content(
    profile: &Profile,
    workdir: &Workdir,
    name: &str,
    wanted: &BTreeMap<Vec<u8>, (Fields, Fetched)>,
) {
    let version = profile.version;
    let stored = records(&workdir.join(format!("s/{name}")));
    let keys: Vec<_> = stored.keys().collect();
    assert_eq!(keys, wanted.keys().collect::<Vec<_>>(), "{version:?}");
    for (key, (fields, fetched)) in wanted {
        let record = &stored[key];
        let meta = &record.meta;
        let shown = key.escape_ascii();
        let number = |field: &str| fields[field].parse::<u64>().unwrap();
        assert_eq!(record.value, fetched.value, "{version:?} {shown}");
        assert_eq!(
            meta.client_flags,
            Some(fetched.flags.into()),
            "{version:?} {shown}"
        );
        let cas = profile.tells_cas.then_some(Cas(number("cas")));
        assert_eq!(meta.cas, cas, "{version:?} {shown}");
        let exptime = match fields["exp"].as_str() {
            NEVER => Exptime::Never,
            at => Exptime::At(UnixSecs(at.parse().unwrap())),
        };
        let exptime = profile.tells_exptime.then_some(exptime);
        assert_eq!(meta.exptime, exptime, "{version:?} {shown}");
        let last_access = profile.tells_use.then_some(UnixSecs(number("la")));
        assert_eq!(meta.last_access, last_access, "{version:?} {shown}");
        let class = u8::try_from(number("cls")).unwrap();
        let class = profile.tells_class.then_some(SlabClass(class));
        assert_eq!(meta.slab_class, class, "{version:?} {shown}");
        let mark = |attribute| meta.attributes.get(attribute);
        let fetched_mark = profile.tells_use.then_some(fields["fetch"] == "yes");
        assert_eq!(
            mark(Attribute::Fetched),
            fetched_mark,
            "{version:?} {shown}"
        );
        // Odd keys may have gone another way, which does not tell it.
        if key.starts_with(b"plain") {
            let stale = profile.tells_stale.then_some(false);
            assert_eq!(mark(Attribute::Stale), stale, "{version:?} {shown}");
            assert_eq!(mark(Attribute::WinSent), stale, "{version:?} {shown}");
        }
    }
}

/// Dumps the same items through each version.
fn check_versions(count: u32, cut: impl Fn(usize) -> Cut) {
    let server = Memcached::start();
    println!("in front of memcached {}", server.version());
    let workdir = Workdir::new("old");
    let mut odd_kept = 0;
    for (index, profile) in PROFILES.iter().enumerate() {
        let version = profile.version;
        server.client().flush_all();
        let mut keys = Vec::new();
        if profile.has_binary_protocol {
            keys = odd_keys();
        }
        if profile.walk != "cachedump" {
            keys.extend(unlistable_keys());
        }
        fill(&server, count, &keys);
        let wanted = content(&server, &keys);
        assert_eq!(wanted.len(), usize::try_from(count).unwrap() + keys.len());
        odd_kept += keys.len();
        let age = Age {
            cut: cut(index),
            ..Age::of(version)
        };
        let proxy = AgeingProxy::start(&server.address(), age);
        let name = age.name();
        let plan = dump_json(&workdir, &name, &proxy.address(), &["--dry-run"], 0);
        let plan = &plan["nodes"][0];
        assert_eq!(plan["server_version"], name);
        assert_eq!(plan["walk"], profile.walk, "{name}");
        assert_eq!(plan["values"], profile.values, "{name}");
        assert_eq!(plan["turns_crawler_on"], profile.turns_crawler_on, "{name}");
        let was_on = proxy.is_crawler_on();
        let report = dump_json(&workdir, &name, &proxy.address(), &[], 0);
        assert_accounted(&report);
        assert_eq!(report["stored"], wanted.len(), "{name}");
        assert_eq!(report["unlisted"], 0, "{name}");
        assert_eq!(proxy.is_crawler_on(), was_on, "{name}");
        assert_content(profile, &workdir, &name, &wanted);
    }
    assert!(odd_kept > 80);
}

#[test]
fn every_version_gives_what_is_in_it() {
    check_versions(700, |_| Cut::Nowhere);
}

#[test]
fn answers_may_be_cut_anywhere() {
    check_versions(12, |_| Cut::EveryByte);
    check_versions(150, |index| {
        Cut::Random(u64::try_from(index).unwrap() * 7919 + 1)
    });
}

fn load_plain(server: &Memcached, count: u32, value_len: usize) {
    let value = vec![b'v'; value_len];
    let items = (0..count).map(|number| Item::new(format!("plain:{number}"), value.clone()));
    server.client().load(items);
}

#[test]
fn a_crawler_that_is_on_stays_on() {
    let server = Memcached::start();
    load_plain(&server, 100, 10);
    let proxy = AgeingProxy::start(&server.address(), Age::of((1, 4, 34)));
    let mut operator = Client::connect(&proxy.address());
    assert_eq!(operator.command("lru_crawler enable"), "OK");
    let workdir = Workdir::new("crawler-on");
    let plan = dump_json(&workdir, "a", &proxy.address(), &["--dry-run"], 0);
    assert_eq!(plan["nodes"][0]["turns_crawler_on"], false);
    let report = dump_json(&workdir, "a", &proxy.address(), &[], 0);
    assert_eq!(report["stored"], 100);
    assert!(proxy.is_crawler_on());
    let switches: Vec<_> = proxy
        .commands()
        .into_iter()
        .filter(|command| command.starts_with("lru_crawler") && command.ends_with("able"))
        .collect();
    assert_eq!(switches, ["lru_crawler enable"], "the operator's alone");
}

#[test]
fn a_crawl_that_is_running_is_waited_for() {
    let server = Memcached::start();
    load_plain(&server, 100, 10);
    for version in [(1, 4, 34), (1, 5, 22), (1, 6, 43)] {
        let age = Age {
            busy_count: 3,
            ..Age::of(version)
        };
        let proxy = AgeingProxy::start(&server.address(), age);
        let workdir = Workdir::new("busy");
        let report = dump_json(&workdir, "a", &proxy.address(), &[], 0);
        assert_eq!(
            (&report["stored"], &report["missing"]),
            (&100.into(), &0.into())
        );
        let commands = proxy.commands();
        let walks = commands.iter().filter(|command| {
            command.starts_with("lru_crawler metadump") && !command.ends_with(" 0")
        });
        assert!(walks.count() >= 4, "{commands:?}");
    }
}

#[test]
fn a_service_without_a_crawler_is_listed_as_far_as_it_shows() {
    let server = Memcached::start_with(&["-m", "256"]);
    load_plain(&server, 2000, 10);
    let age = Age {
        has_crawler_command: false,
        ..Age::of((1, 6, 17))
    };
    let proxy = AgeingProxy::start(&server.address(), age);
    let workdir = Workdir::new("service");
    let plan = workdir
        .mcsnap(&[
            "dump",
            "--to",
            "s",
            "--name",
            "a",
            "--dry-run",
            &proxy.address(),
        ])
        .succeeds();
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(
        plan.contains("walk cachedump, values by meta get, 2 MiB of keys a slab class at most"),
        "{plan}"
    );
    // Items that were just stored may be in lists which the listing does not
    // show.
    let report = dump_json(
        &workdir,
        "a",
        &proxy.address(),
        &["--max-missing", "100"],
        0,
    );
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(number("stored") + number("unlisted"), 2000);
    let verdict = if number("unlisted") > 0 {
        "lossy"
    } else {
        "complete"
    };
    assert_eq!(report["verdict"], verdict);
    let refused = workdir
        .mcsnap(&["dump", "--to", "s", "--walk", "hash", &proxy.address()])
        .exits(2);
    let words = String::from_utf8(refused.stderr).unwrap();
    let wanted = format!(
        "mcsnap: {}: walk hash is not supported: the server has no LRU crawler; \
         use --walk cachedump\n",
        proxy.address()
    );
    assert_eq!(words, wanted);
}

#[test]
fn a_listing_that_ends_at_two_mebibytes_says_how_much_is_missing() {
    let server = Memcached::start_with(&["-m", "256"]);
    let count = 9000;
    let items = (0..count).map(|number| Item::new(format!("{number:0>240}"), "v"));
    server.client().load(items);
    for version in [(1, 2, 8), (1, 4, 13)] {
        let proxy = AgeingProxy::start(&server.address(), Age::of(version));
        let workdir = Workdir::new("truncated");
        let report = dump_json(&workdir, "a", &proxy.address(), &[], 3);
        let stored = report["stored"].as_u64().unwrap();
        // ITEM, a key of 240 bytes, [1 b; and ten digits s], CRLF.
        assert!((7000..8400).contains(&stored), "{stored}");
        assert_eq!(report["unlisted"], count - stored);
        assert_eq!(report["verdict"], "lossy");
        let output = workdir
            .mcsnap(&["dump", "--to", "s", "--name", "b"])
            .arg(proxy.address())
            .exits(3);
        let text = String::from_utf8(output.stdout).unwrap().replace(',', "");
        let line = format!(
            "{} items: the server counts them and its listing does not show them",
            count - stored
        );
        assert!(text.contains(&line), "{text}");
        // And whoever opens the snapshot is told.
        let output = workdir.mcsnap(&["verify", "s/a"]).succeeds();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("MCS020 warning"), "{text}");
    }
}

#[test]
fn what_a_listing_shows_though_it_has_expired_is_counted_so() {
    let server = Memcached::start();
    load_plain(&server, 100, 10);
    let age = Age {
        lists_expired: true,
        ..Age::of((1, 4, 20))
    };
    let proxy = AgeingProxy::start(&server.address(), age);
    let workdir = Workdir::new("expired");
    let report = dump_json(&workdir, "a", &proxy.address(), &[], 0);
    assert_eq!(report["stored"], 100);
    assert_eq!(
        (&report["expired"], &report["vanished"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn the_newest_item_that_a_version_leaves_out_is_counted_as_not_listed() {
    let server = Memcached::start();
    load_plain(&server, 100, 10);
    load_plain(&server, 1, 5000);
    for version in [(1, 5, 5), (1, 5, 6)] {
        let age = Age {
            has_listing: false,
            ..Age::of(version)
        };
        let proxy = AgeingProxy::start(&server.address(), age);
        let workdir = Workdir::new("newest");
        let plan = dump_json(&workdir, "a", &proxy.address(), &["--dry-run"], 0);
        assert_eq!(
            plan["nodes"][0]["known_gap"],
            "memcached 1.5.5 and 1.5.6 leave out the newest item of each LRU list"
        );
        let report = dump_json(&workdir, "a", &proxy.address(), &[], 3);
        assert_eq!(
            (&report["stored"], &report["unlisted"]),
            (&98.into(), &2.into())
        );
    }
}

/// Where all items are in COLD lists, as without the thread that maintains others.
#[test]
fn the_newest_item_that_a_walk_leaves_out_is_found_by_a_listing() {
    let server = Memcached::start_with(&["-o", "no_lru_maintainer"]);
    load_plain(&server, 100, 10);
    load_plain(&server, 1, 5000);
    let proxy = AgeingProxy::start(&server.address(), Age::of((1, 5, 6)));
    let report = dump_json(&Workdir::new("head"), "a", &proxy.address(), &[], 0);
    assert_eq!(report["verdict"], "complete");
    assert_eq!(report["stored"], 100);
}

#[test]
fn a_walk_that_ends_before_its_end_is_no_complete_dump() {
    let server = Memcached::start();
    load_plain(&server, 500, 10);
    let age = Age {
        walk_item_count_max: 300,
        ..Age::of((1, 6, 17))
    };
    let proxy = AgeingProxy::start(&server.address(), age);
    let workdir = Workdir::new("ends-early");
    let report = dump_json(&workdir, "a", &proxy.address(), &[], 3);
    assert_eq!(report["verdict"], "lossy");
    assert_eq!(report["stored"], 300);
    assert_eq!(report["unlisted"], 200);
}

#[test]
fn a_reply_that_is_lost_or_comes_twice_gives_no_key_the_value_of_another() {
    let server = Memcached::start();
    let values = (0..200).map(|at| Item::new(format!("key:{at}"), format!("value of {at}")));
    server.client().load(values);
    for version in [(1, 6, 9), (1, 6, 17), (1, 6, 18)] {
        for fault in [ReplyFault::Lost, ReplyFault::Twice] {
            for at in [0, 77, 199] {
                let age = Age {
                    reply_fault: Some((at, fault)),
                    ..Age::of(version)
                };
                let proxy = AgeingProxy::start(&server.address(), age);
                let workdir = Workdir::new("reply-fault");
                let more = ["--connections", "1"];
                let report = dump_json(&workdir, "a", &proxy.address(), &more, 0);
                assert_eq!(report["stored"], 200, "{version:?} {fault:?} {at}");
                for (key, record) in records(&workdir.join("s/a")) {
                    let key = String::from_utf8(key).unwrap();
                    let wanted = key.replace("key:", "value of ");
                    assert_eq!(String::from_utf8_lossy(&record.value), wanted);
                }
            }
        }
    }
}

#[test]
fn a_crawler_that_somebody_turns_off_is_turned_on_again_and_off_in_the_end() {
    let server = Memcached::start();
    load_plain(&server, 300, 10);
    let age = Age {
        is_crawler_contended: true,
        ..Age::of((1, 4, 31))
    };
    let proxy = AgeingProxy::start(&server.address(), age);
    let workdir = Workdir::new("contended");
    let report = dump_json(&workdir, "a", &proxy.address(), &[], 0);
    assert_eq!(report["stored"], 300);
    assert!(!proxy.is_crawler_on());
}

#[test]
fn a_version_that_is_no_number_is_read_by_what_it_can_do() {
    let server = Memcached::start();
    load_plain(&server, 300, 10);
    for (version, walk) in [
        ((1, 6, 18), "metadump-hash"),
        ((1, 6, 17), "metadump-hash"),
        ((1, 6, 5), "metadump-slabs"),
        ((1, 5, 22), "metadump-slabs"),
        ((1, 4, 13), "cachedump"),
        ((1, 2, 3), "cachedump"),
    ] {
        let age = Age {
            version_text: Some("UNKNOWN"),
            ..Age::of(version)
        };
        let proxy = AgeingProxy::start(&server.address(), age);
        let workdir = Workdir::new("unknown");
        let report = dump_json(&workdir, "a", &proxy.address(), &[], 0);
        assert_eq!(report["stored"], 300, "{version:?}");
        assert_eq!(report["nodes"][0]["walk"], walk, "{version:?}");
        assert_eq!(report["nodes"][0]["server_version"], "UNKNOWN");
    }
}

/// Up to 1.6.12 no CAS is the right one for a mark that compares it.
#[test]
fn the_win_token_of_a_stale_item_is_given_back_by_every_version() {
    for version in [(1, 6, 0), (1, 6, 12), (1, 6, 13)] {
        let server = Memcached::start();
        let mut client = server.client();
        client.set("stale", 5, 3600, b"value");
        assert_eq!(client.command("md stale I"), "HD");
        let proxy = AgeingProxy::start(&server.address(), Age::of(version));
        let workdir = Workdir::new("win-token-of-old");
        let report = dump_json(&workdir, "a", &proxy.address(), &[], 0);
        assert_eq!(report["win_tokens_returned"], 1, "{version:?}");
        assert_eq!(report["win_tokens_kept"], 0, "{version:?}");
        let (header, _) = client.mg(b"stale", "t v").unwrap();
        assert!(
            header.contains(" W") && header.contains(" X"),
            "{version:?} {header}"
        );
        assert_ne!(meta_flag(&header, 't'), "-1", "{version:?}");
    }
}

#[test]
fn a_dump_that_goes_on_turns_the_crawler_off_that_a_killed_one_left_on() {
    let server = Memcached::start_with(&["-m", "256"]);
    load_plain(&server, 4000, 2000);
    let proxy = AgeingProxy::start(&server.address(), Age::of((1, 4, 31)));
    let workdir = Workdir::new("crawler-left-on");
    fs::create_dir(workdir.join("s")).unwrap();
    let address = proxy.address();
    let arguments = ["dump", "--to", "s", "--name", "a", "--compression=none"];
    let arguments = [&arguments[..], &["--segment-size=1MiB", &address]].concat();
    // When some segments of eight are sealed.
    let fault = Fault::at(&[Call::Create], 7, Harm::KillBefore);
    let (output, _) = fault.run(workdir.mcsnap(&arguments), &workdir.join("s"));
    assert!(was_killed(&output), "{output:?}");
    let files = segment_files(&workdir, "a");
    assert!(files.iter().any(|name| name.ends_with(".mcs")));
    assert!(proxy.is_crawler_on());
    let output = workdir.mcsnap(&arguments).arg("--resume").succeeds();
    assert!(!proxy.is_crawler_on(), "{output:?}");
}

/// Items that a client is being sent are passed over by a walk of the lists, and keys
/// that are added meanwhile hide that in the server's counts.
#[test]
fn what_new_keys_hide_is_no_complete_dump() {
    let server = Memcached::start_with(&["-m", "256"]);
    load_plain(&server, 2000, 10);
    let mut client = server.client();
    let big = ["big:0", "big:1", "big:2"];
    for key in big {
        client.set(key, 0, 0, &vec![b'x'; 500_000]);
    }
    let mut holders: Vec<Client> = big.iter().map(|_| server.client()).collect();
    for (holder, key) in holders.iter_mut().zip(big) {
        holder.send(format!("get {key}\r\n").repeat(40).as_bytes());
    }
    let workdir = Workdir::new("hidden-by-new");
    let is_over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let mut client = server.client();
            for at in 0.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                client.set(&format!("new:{at}"), 0, 0, b"v");
                // Some in each pass over the lists, and not a server full of them.
                thread::sleep(Duration::from_millis(1));
            }
        });
        let arguments = [
            "dump",
            "--to=s",
            "--name=a",
            "--walk=slabs",
            "--format=json",
        ];
        let output = workdir.mcsnap(&arguments).arg(server.address()).run();
        is_over.store(true, Ordering::SeqCst);
        adding.join().unwrap();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    });
    let stored = records(&workdir.join("s/a"));
    let missing = big
        .iter()
        .filter(|key| !stored.contains_key(key.as_bytes()));
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("unlisted") + number("unsure") >= u64::try_from(missing.count()).unwrap());
    assert!(
        ["unsure", "lossy"]
            .map(Value::from)
            .contains(&report["verdict"])
    );
    assert!(report["completeness_percent"].as_f64().unwrap() < 100.0);
    // Whoever reads it is told.
    let output = workdir.mcsnap(&["ls", "s/a"]).succeeds();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let verdict = report["verdict"].as_str().unwrap();
    assert!(stderr.contains(&format!("s/a is {verdict}")), "{stderr}");
    drop(holders);
}

/// Such as something that takes `stats items` for `stats`.
#[test]
fn a_server_that_names_no_classes_is_not_empty() {
    let stats = "STAT version 1.1.41\r\nSTAT curr_items 5\r\nSTAT pid 1\r\nEND\r\n";
    let server = FakeServer::ruled([Rule::new("stats", [Step::reply(stats)])]);
    let workdir = Workdir::new("no-classes");
    for more in [&[][..], &["--dry-run"]] {
        let address = server.address();
        let arguments = [&["dump", "--to", "s", "--name", "a", &address][..], more].concat();
        let output = workdir.mcsnap(&arguments).exits(2);
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!(
                "mcsnap: {address}: listing of keys is not supported: the server counts 5 items, \
                 and \"stats items\" names no slab class that has them; it is not memcached, or \
                 hides what a listing needs\n"
            )
        );
    }
}

#[test]
fn keys_that_break_a_listing_are_told_and_cost_no_other_item() {
    let server = Memcached::start();
    // The first in its class, so that others come after it.
    let breaking = [
        b"a\r\nend".to_vec(),
        b"a\r\nEND\r\ny".to_vec(),
        b"a\r\n\r\nITEM z".to_vec(),
    ];
    for key in &breaking {
        binary_set(&server.address(), key, b"value", 0, 0);
    }
    // More classes than are listed at a time.
    for (count, value_len) in [(700, 10), (600, 300), (500, 600), (400, 900), (300, 2000)] {
        load_plain(&server, count, value_len);
    }
    let wanted: u64 = server.client().stats("")["curr_items"].parse().unwrap();
    for version in [(1, 4, 13), (1, 4, 25)] {
        let proxy = AgeingProxy::start(&server.address(), Age::of(version));
        let workdir = Workdir::new("breaking");
        let report = dump_json(&workdir, "a", &proxy.address(), &[], 3);
        assert_accounted(&report);
        assert_eq!(report["stored"], wanted - 3, "{report}");
        // Each of them once, however many lines it is and however often it is read.
        assert_eq!(report["refused"], 3, "{report}");
    }
}
