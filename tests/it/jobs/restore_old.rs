//! A restore into every version of memcached, key by key: what the version can hold
//! is there as it was, and all else is told.
//!
//! The versions are played by [`AgeingProxy`] in front of a real server.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::ageing_proxy::{Age, AgeingProxy, Cut, Version, binary_set};
use crate::harness::client::{Client, Item, meta_flag};
use crate::harness::memcached::Memcached;
use crate::harness::reports::number;
use crate::harness::workdir::Workdir;

/// In 2039: beyond what a text command can tell.
const LATE: u32 = 2_200_000_000;
/// The last moment that one can tell.
const TEXT_LAST: &str = "2147483647";

const PLAIN_COUNT: u32 = 600;

/// A version, and how it is written to.
struct Profile {
    version: Version,
    way: &'static str,
    stored_by: &'static str,
    has_binary_protocol: bool,
}

const fn profile(version: Version, way: &'static str, stored_by: &'static str) -> Profile {
    Profile {
        version,
        way,
        stored_by,
        has_binary_protocol: true,
    }
}

const CLASSIC: &str = "classic set; odd keys and times beyond 2038 by the binary protocol";
const OLD_META: &str =
    "meta set as of 1.6.0; odd keys and times beyond 2038 by the binary protocol";
const META: &str = "meta set; long odd keys and times beyond 2038 by the binary protocol";

const PROFILES: [Profile; 10] = [
    Profile {
        has_binary_protocol: false,
        ..profile((1, 2, 8), "classic", "classic set")
    },
    profile((1, 4, 4), "classic", CLASSIC),
    profile((1, 4, 15), "classic", CLASSIC),
    profile((1, 4, 31), "classic", CLASSIC),
    profile((1, 5, 6), "classic", CLASSIC),
    profile((1, 5, 22), "classic", CLASSIC),
    profile((1, 6, 0), "old-meta", OLD_META),
    profile((1, 6, 9), "old-meta", OLD_META),
    profile((1, 6, 12), "meta", META),
    profile((1, 6, 18), "meta", META),
];

fn odd_keys() -> Vec<Vec<u8>> {
    vec![
        b"with space".to_vec(),
        b"line\r\nflush_all\r\n".to_vec(),
        b"\0nul\0".to_vec(),
        vec![b' '; 187],
        [&[b' '; 120][..], &[0xff; 130]].concat(),
    ]
}

fn late_keys() -> Vec<String> {
    (0..20).map(|number| format!("late:{number}")).collect()
}

const STALE_COUNT: u64 = 5;

/// A server with something of everything, and a snapshot of it, `s/a`.
fn make_snapshot(workdir: &Workdir) -> Memcached {
    let source = Memcached::start();
    let mut client = source.client();
    let now: i64 = client.stats("")["time"].parse().unwrap();
    let ttls = [0, 3600, 864_000, now + 5_000_000];
    client.load((0..PLAIN_COUNT).map(|number| {
        let at = usize::try_from(number).unwrap();
        let flags = [0, 1, i32::MAX.cast_unsigned(), 1 << 31, u32::MAX];
        let value = format!("{number}\r\n").repeat(at % 60 * (at % 7));
        Item::new(format!("plain:{number}"), value)
            .flags(flags[at % flags.len()])
            .ttl(ttls[at % ttls.len()])
    }));
    for number in 0..STALE_COUNT {
        let key = format!("stale:{number}");
        client.set(&key, 7, 0, b"stale value");
        assert!(client.command(&format!("md {key} I")).starts_with("HD"));
    }
    for (number, key) in (0..).zip(odd_keys()) {
        binary_set(&source.address(), &key, b"odd\r\nvalue", number, 7200);
    }
    for key in late_keys() {
        binary_set(&source.address(), key.as_bytes(), b"late", 3, LATE);
    }
    workdir
        .mcsnap(&["dump", "--to", "s", "--name=a", &source.address()])
        .succeeds();
    source
}

fn run_json(workdir: &Workdir, arguments: &[&str], code: i32) -> (Value, String) {
    let output = workdir.mcsnap(arguments).arg("--format=json").exits(code);
    let log = String::from_utf8(output.stderr).unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), log)
}

/// What a server has under each key: flags, value, exptime, and whether it is stale.
type Content = BTreeMap<Vec<u8>, (u64, Vec<u8>, String, bool)>;

fn content(server: &Memcached) -> Content {
    let mut client = server.client();
    let keys = client.keys();
    let mut content = Content::new();
    for (key, fields) in keys {
        let (flags, value, is_stale) = if key.len() > 186 {
            let (flags, value) = binary_get(server, &key);
            (flags, value, false)
        } else {
            let (header, value) = client.mg(&key, "f v u").unwrap();
            let flags = meta_flag(&header, 'f').parse().unwrap();
            (flags, value, header.split(' ').any(|word| word == "X"))
        };
        content.insert(key, (flags, value, fields["exp"].clone(), is_stale));
    }
    content
}

fn binary_get(server: &Memcached, key: &[u8]) -> (u64, Vec<u8>) {
    use std::io::{Read, Write};
    let len = u8::try_from(key.len()).unwrap();
    let mut request = vec![0x80, 0, 0, len, 0, 0, 0, 0, 0, 0, 0, len];
    request.extend_from_slice(&[0; 12]);
    request.extend_from_slice(key);
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream.write_all(&request).unwrap();
    let mut head = [0; 24];
    stream.read_exact(&mut head).unwrap();
    assert_eq!((head[6], head[7]), (0, 0), "{}", key.escape_ascii());
    let body_len = u32::from_be_bytes(head[8..12].try_into().unwrap());
    let mut body = vec![0; usize::try_from(body_len).unwrap()];
    stream.read_exact(&mut body).unwrap();
    let value = body.split_off(4);
    (
        u32::from_be_bytes(body[..].try_into().unwrap()).into(),
        value,
    )
}

/// The exptimes of the same item on two servers, whose clocks tick apart.
fn assert_same_exptime(source: &str, target: &str, what: &str) {
    let (source, target): (i64, i64) = (source.parse().unwrap(), target.parse().unwrap());
    assert_eq!(source < 0, target < 0, "{what}");
    assert!((source - target).abs() <= 60, "{what}: {source}, {target}");
}

/// Compares a target with the source, as far as the version can hold it.
fn assert_restored(profile: &Profile, source: &Content, target: &Content) {
    let version = profile.version;
    let mut wanted: Vec<&Vec<u8>> = source.keys().collect();
    wanted.retain(|key| {
        let is_refused = key.starts_with(b"stale:") && version < (1, 6, 0)
            || odd_keys().contains(key) && !profile.has_binary_protocol;
        !is_refused
    });
    assert_eq!(target.keys().collect::<Vec<_>>(), wanted, "{version:?}");
    for (key, (flags, value, exptime, is_stale)) in target {
        let what = format!("{version:?} {}", key.escape_ascii());
        let (source_flags, source_value, source_exptime, _) = &source[key];
        assert_eq!(flags, source_flags, "{what}");
        assert!(value == source_value, "{what}");
        if key.starts_with(b"late:") && !profile.has_binary_protocol {
            assert_eq!(exptime, TEXT_LAST, "{what}");
        } else {
            assert_same_exptime(source_exptime, exptime, &what);
        }
        assert_eq!(*is_stale, key.starts_with(b"stale:"), "{what}");
    }
}

#[test]
fn every_version_gets_what_it_can_hold() {
    let workdir = Workdir::new("restore-old");
    let server = make_snapshot(&workdir);
    let source = content(&server);
    for (index, profile) in PROFILES.iter().enumerate() {
        for mode in ["add", "set"] {
            let real = Memcached::start();
            let age = Age {
                cut: match index % 3 {
                    0 => Cut::Nowhere,
                    1 => Cut::EveryByte,
                    _ => Cut::Random(7),
                },
                ..Age::of(profile.version)
            };
            let proxy = AgeingProxy::start(&real.address(), age);
            let to = proxy.address();
            let arguments = ["restore", "s/a", "--mode", mode, "--to", &to];
            let (plan, _) = run_json(&workdir, &[&arguments[..], &["--dry-run"]].concat(), 0);
            let node = &plan["nodes"][0];
            assert_eq!(node["way"], profile.way, "{plan}");
            assert_eq!(node["stored_by"], profile.stored_by);
            assert_eq!(real.client().stats("")["curr_items"], "0", "a dry run");

            let has_stale_marks = profile.version >= (1, 6, 0);
            let stale = if has_stale_marks { 0 } else { STALE_COUNT };
            let odd = if profile.has_binary_protocol {
                0
            } else {
                u64::try_from(odd_keys().len()).unwrap()
            };
            let late = if profile.has_binary_protocol { 0 } else { 20 };
            assert_eq!(number(node, "stale_refused"), stale);
            let code = if stale + odd > 0 { 3 } else { 0 };
            let (report, log) = run_json(&workdir, &arguments, code);
            assert_eq!(number(&report, "refused"), stale + odd, "{report}");
            assert_eq!(number(&report, "clamped"), late, "{report}");
            assert_eq!(
                number(&report, "stored"),
                number(&report, "records") - stale - odd,
                "{report}"
            );
            assert_eq!(number(&report, "not_kept"), 0);
            // None of these takes a CAS.
            assert_eq!(report["without_cas"], report["stored"]);
            assert!(log.contains("is not restored on"), "{log}");
            assert_eq!(
                log.contains(&format!(
                    "{STALE_COUNT} stale records will be refused by {to}"
                )),
                !has_stale_marks,
                "{log}"
            );
            assert_restored(profile, &source, &content(&real));
        }
    }
}

#[test]
fn in_mode_add_every_version_keeps_what_is_there() {
    let workdir = Workdir::new("restore-old-add");
    let _source = make_snapshot(&workdir);
    for profile in &PROFILES {
        let real = Memcached::start();
        let mut there = vec![b"plain:7".to_vec(), b"late:3".to_vec()];
        if profile.has_binary_protocol {
            there.push(b"with space".to_vec());
        }
        if profile.version >= (1, 6, 0) {
            there.push(b"stale:1".to_vec());
        }
        for key in &there {
            binary_set(&real.address(), key, b"newer", 77, 0);
        }
        let proxy = AgeingProxy::start(&real.address(), Age::of(profile.version));
        let code = if profile.version < (1, 6, 0) { 3 } else { 0 };
        let (report, _) = run_json(
            &workdir,
            &["restore", "s/a", "--to", &proxy.address()],
            code,
        );
        let existing = u64::try_from(there.len()).unwrap();
        assert_eq!(number(&report, "existing"), existing, "{report}");
        let found = content(&real);
        for key in &there {
            let newer = (77, b"newer".to_vec(), "-1".to_owned(), false);
            assert_eq!(found[key], newer, "{}", key.escape_ascii());
        }
    }
}

#[test]
fn a_cluster_of_mixed_versions_gets_every_key_on_its_node() {
    let workdir = Workdir::new("restore-mixed");
    let server = make_snapshot(&workdir);
    let source = content(&server);
    let versions = [(1, 4, 4), (1, 5, 22), (1, 6, 9), (1, 6, 18)];
    let reals: Vec<Memcached> = versions.iter().map(|_| Memcached::start()).collect();
    let proxies: Vec<AgeingProxy> = reals
        .iter()
        .zip(versions)
        .map(|(real, version)| AgeingProxy::start(&real.address(), Age::of(version)))
        .collect();
    let to: Vec<String> = proxies.iter().map(AgeingProxy::address).collect();
    let all = to.join(",");
    let arguments = ["restore", "s/a", "--ring=modula", "--to", &all];
    let (plan, _) = run_json(&workdir, &[&arguments[..], &["--dry-run"]].concat(), 0);
    let planned: u64 = (0..2)
        .map(|node| number(&plan["nodes"][node], "stale_refused"))
        .sum();
    let code = if planned > 0 { 3 } else { 0 };
    let (report, log) = run_json(&workdir, &arguments, code);
    assert_eq!(number(&report, "refused"), planned, "{report}");
    // One line for all nodes that lack the same.
    assert!(log.contains(&to.get(..3).unwrap().join(", ")), "{log}");
    assert_eq!(log.matches("is not restored on").count(), 1, "{log}");
    let mut found = Content::new();
    for (real, node) in reals.iter().zip(report["nodes"].as_array().unwrap()) {
        let part = content(real);
        assert_eq!(u64::try_from(part.len()).unwrap(), number(node, "stored"));
        found.extend(part);
    }
    for (key, (flags, value, exptime, _)) in &source {
        let what = key.escape_ascii().to_string();
        let Some((found_flags, found_value, found_exptime, is_stale)) = found.get(key) else {
            assert!(key.starts_with(b"stale:"), "{what} is not there");
            continue;
        };
        assert_eq!((found_flags, found_value), (flags, value), "{what}");
        assert_same_exptime(exptime, found_exptime, &what);
        assert_eq!(*is_stale, key.starts_with(b"stale:"), "{what}");
    }
    let lost = source.len() - found.len();
    assert_eq!(u64::try_from(lost).unwrap(), planned);
}

#[test]
fn a_server_that_does_not_know_its_version_is_written_to_by_what_it_answers() {
    let workdir = Workdir::new("restore-unknown");
    let server = make_snapshot(&workdir);
    let source = content(&server);
    for profile in PROFILES
        .iter()
        .filter(|profile| profile.version >= (1, 6, 0))
    {
        let real = Memcached::start();
        let age = Age {
            stats: &[("version", "UNKNOWN")],
            ..Age::of(profile.version)
        };
        let proxy = AgeingProxy::start(&real.address(), age);
        let to = proxy.address();
        let (plan, _) = run_json(&workdir, &["restore", "s/a", "--dry-run", "--to", &to], 0);
        assert_eq!(plan["nodes"][0]["server_version"], "UNKNOWN");
        assert_eq!(plan["nodes"][0]["way"], profile.way);
        run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
        assert_restored(profile, &source, &content(&real));
    }
}

#[test]
fn records_of_unknown_exptime_get_the_one_that_is_given() {
    let workdir = Workdir::new("restore-ttl");
    let source = Memcached::start();
    let items = (0..100).map(|at| Item::new(format!("key:{at}"), "value"));
    source.client().load(items);
    let old = AgeingProxy::start(&source.address(), Age::of((1, 2, 3)));
    workdir
        .mcsnap(&["dump", "--to", "s", "--name=a", &old.address()])
        .succeeds();
    let target = Memcached::start();
    let to = target.address();
    let arguments = ["restore", "s/a", "--mode=set", "--to", &to];
    let (report, _) = run_json(&workdir, &arguments, 3);
    assert_eq!(number(&report, "refused"), 100);
    let reason = "the snapshot does not tell the exptime; --ttl-if-unknown gives one";
    assert_eq!(report["reasons"][reason], 100);
    for (given, ttls) in [
        ("never", -1..=-1),
        ("2h", 7140..=7200),
        // A moment, of which a server whose clock is late by a tick or two is further.
        ("40d", 3_455_940..=3_456_002),
    ] {
        let with = [&arguments[..], &["--ttl-if-unknown", given]].concat();
        let (report, _) = run_json(&workdir, &with, 0);
        assert_eq!(number(&report, "stored"), 100, "{report}");
        let mut client = target.client();
        let keys = client.keys();
        let fetched = client.fetch_all(keys.keys());
        assert_eq!(fetched.len(), 100);
        assert!(
            fetched.values().all(|item| ttls.contains(&item.ttl)),
            "{given}"
        );
    }
    let output = workdir
        .mcsnap(&[&arguments[..], &["--ttl-if-unknown", "soon"]].concat())
        .exits(2);
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        words,
        "mcsnap: ttl-if-unknown \"soon\": wanted never, or a time from 1s to 3650d, such as 30m, 2h \
         or 7d\n"
    );
}

#[test]
fn a_refused_classic_set_costs_its_own_record_alone() {
    // A line that a server does not understand, and so reads the value behind it as
    // commands: no answer after that one is that of a set.
    let workdir = Workdir::new("restore-step");
    let source = Memcached::start();
    let items = (0..50).map(|at| Item::new(format!("key:{at:02}"), format!("value {at}")));
    source.client().load(items);
    workdir
        .mcsnap(&["dump", "--to", "s", "--name=a", &source.address()])
        .succeeds();
    let real = Memcached::start();
    let age = Age {
        refused_key: Some("key:17"),
        ..Age::of((1, 4, 15))
    };
    let proxy = AgeingProxy::start(&real.address(), age);
    let arguments = ["restore", "s/a", "--mode=set", "--to", &proxy.address()];
    let (report, _) = run_json(&workdir, &arguments, 3);
    assert_eq!(
        (number(&report, "stored"), number(&report, "failed")),
        (49, 1)
    );
    let words = "CLIENT_ERROR bad command line format";
    assert_eq!(report["reasons"][words], 1, "{report}");
    let mut client = Client::connect(&real.address());
    for at in 0..50 {
        let found = client.get(&format!("key:{at:02}"));
        let wanted = (at != 17).then(|| (0, format!("value {at}").into_bytes()));
        assert_eq!(found, wanted);
    }
}
