//! What a restore says it stored is there, or it says how much is not.
//!
//! The servers are real; what they have is read from them, key by key.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::format::snapshot_property::noise;
use crate::harness::ageing_proxy::{Age, AgeingProxy};
use crate::harness::client::{Client, Item};
use crate::harness::memcached::Memcached;
use crate::harness::reports::{number, run_json};
use crate::harness::running_job::wait_until;
use crate::harness::workdir::Workdir;
use crate::jobs::restore_behaviour::dump_before_it_expires;

/// Items of these sizes, and a snapshot of them, `s/a`.
fn make_snapshot(workdir: &Workdir, sizes: &[usize]) -> Vec<Item> {
    let source = Memcached::start_with(&["-m", "1024", "-I", "64m"]);
    let bytes = noise(11, 1 << 20);
    let items: Vec<Item> = sizes
        .iter()
        .enumerate()
        .map(|(at, len)| {
            let mut value: Vec<u8> = bytes.iter().copied().cycle().skip(at).take(*len).collect();
            let stamp = at.to_string();
            let end = stamp.len().min(value.len());
            value[..end].copy_from_slice(&stamp.as_bytes()[..end]);
            Item::new(format!("item:{at}"), value).flags(u32::try_from(at % 3).unwrap())
        })
        .collect();
    let mut client = source.client();
    for item in &items {
        let key = std::str::from_utf8(&item.key).unwrap();
        client.set(key, item.flags, 0, &item.value);
    }
    workdir
        .mcsnap(&["dump", "--to", "s", "--name=a", &source.address()])
        .succeeds();
    items
}

/// Restores, and reads every key: what was stored is there as it was, and as many as
/// the report says. Returns the report.
fn check(workdir: &Workdir, items: &[Item], target: &Memcached, mode: &str, what: &str) -> Value {
    let to = target.address();
    let arguments = [
        "restore",
        "s/a",
        "--yes",
        "--format=json",
        "--mode",
        mode,
        "--to",
        &to,
    ];
    let output = workdir.mcsnap(&arguments).run();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut client = target.client();
    let mut there = 0;
    for item in items {
        let key = std::str::from_utf8(&item.key).unwrap();
        if let Some((flags, value)) = client.get(key) {
            assert!(flags == item.flags && value == item.value, "{what}: {key}");
            there += 1;
        }
    }
    let gone = report["nodes"][0]["presence"]["gone"].as_u64();
    let sum: u64 = ["too_large", "refused", "failed", "unsent", "not_kept"]
        .into_iter()
        .map(|name| number(&report, name))
        .sum();
    assert_eq!(number(&report, "stored") + sum, number(&report, "records"));
    assert_eq!(
        there + gone.unwrap_or(0),
        number(&report, "stored"),
        "{what}: {report}"
    );
    let is_lossy = sum + gone.unwrap_or(0) > 0;
    assert_eq!(report["has_losses"], is_lossy, "{what}: {report}");
    assert_eq!(output.status.code(), Some(if is_lossy { 3 } else { 0 }));
    report
}

/// The option for chunks of so many KiB, which was a number of bytes up to 1.6.22.
fn chunk_option(kib: u32) -> String {
    let version = Memcached::start().version();
    let numbers: Vec<u32> = version.split('.').map_while(|n| n.parse().ok()).collect();
    let unit = if numbers > vec![1, 6, 22] { 1 } else { 1024 };
    format!("slab_chunk_max={}", kib * unit)
}

/// Stores small items until some are evicted.
fn fill_up(server: &Memcached) {
    let mut client = server.client();
    let mut number = 0;
    while client.stats("")["evictions"] == "0" {
        client.load(
            (number..number + 5000).map(|at| Item::new(format!("there:{at}"), vec![b'x'; 900])),
        );
        number += 5000;
    }
}

#[test]
fn large_values_into_a_full_server_are_there_or_told() {
    let workdir = Workdir::new("kept-full");
    let items = make_snapshot(&workdir, &[3 << 20; 14]);
    for mode in ["add", "set"] {
        let target = Memcached::start_with(&["-m", "64", "-I", "8m"]);
        fill_up(&target);
        let report = check(&workdir, &items, &target, mode, mode);
        // Its memory ends within a value.
        assert!(number(&report, "failed") > 0, "{report}");
        let words = "SERVER_ERROR Out of memory during read";
        assert_eq!(report["reasons"][words], report["failed"], "{report}");
    }
}

#[test]
fn values_that_do_not_fit_a_server_without_evictions_are_told() {
    let workdir = Workdir::new("kept-no-evictions");
    let items = make_snapshot(&workdir, &[700_000; 150]);
    let target = Memcached::start_with(&["-m", "64", "-M"]);
    let report = check(&workdir, &items, &target, "set", "-M");
    assert!(number(&report, "failed") > 40, "{report}");
    assert!(number(&report, "stored") > 40, "{report}");
}

#[test]
fn values_of_all_sizes_are_there_or_told_whatever_the_chunks() {
    let workdir = Workdir::new("kept-chunks");
    let mut sizes = vec![10, 1000, 8000];
    sizes.extend([100, 250, 500, 511, 512, 513, 700, 1000, 1023].map(|size| size << 10));
    sizes.extend([1 << 20, 3 << 20, 9 << 20, 20 << 20]);
    let items = make_snapshot(&workdir, &sizes);
    for (limit, memory, chunk_kib) in [
        ("32m", "512", None),
        ("32m", "512", Some(16)),
        ("32m", "512", Some(256)),
        ("32m", "512", Some(1024)),
        ("2m", "64", None),
        ("768k", "64", Some(256)),
        ("16k", "64", Some(8)),
        ("2k", "64", Some(1)),
    ] {
        let mut arguments = vec!["-I", limit, "-m", memory];
        let option = chunk_kib.map(chunk_option);
        if let Some(option) = &option {
            arguments.extend(["-o", option]);
        }
        let target = Memcached::start_with(&arguments);
        let settings = target.client().stats("settings");
        let what = format!(
            "{arguments:?}: items of {} in chunks of {}",
            settings["item_size_max"], settings["slab_chunk_max"]
        );
        let report = check(&workdir, &items, &target, "add", &what);
        assert_eq!(number(&report, "failed"), 0, "{what}: {report}");
        let limit: usize = settings["item_size_max"].parse().unwrap();
        let too_large = sizes.iter().filter(|size| **size + 100 > limit).count();
        assert_eq!(
            number(&report, "too_large"),
            u64::try_from(too_large).unwrap()
        );
    }
}

#[test]
fn a_restore_into_a_full_cache_in_use_is_complete() {
    let workdir = Workdir::new("kept-live");
    let items = make_snapshot(&workdir, &[900; 5000]);
    let target = Memcached::start_with(&["-m", "64"]);
    fill_up(&target);
    let report = check(&workdir, &items, &target, "set", "live");
    assert!(number(&report, "evicted") > 0, "{report}");
    let node = &report["nodes"][0];
    let presence = &node["presence"];
    assert_eq!(
        (&presence["looked"], &presence["gone"]),
        (&1000.into(), &0.into())
    );
    assert_eq!(presence["is_all"], false);
    let most = presence["share_gone_most"].as_f64().unwrap();
    assert!((0.003..0.004).contains(&most), "{most}");
    let text = workdir
        .mcsnap(&[
            "restore",
            "s/a",
            "--yes",
            "--mode=set",
            "--to",
            &target.address(),
        ])
        .succeeds();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("(restored, complete)"), "{text}");
    // In mode set nothing need be evicted again, since each takes its own place.
    let again =
        "all of a sample of 1,000 stored keys are still there: at most 0.4 % of all are gone";
    assert!(text.contains(again) || !text.contains("evicted"), "{text}");
}

#[test]
fn stored_keys_that_are_evicted_again_are_estimated() {
    let workdir = Workdir::new("kept-evicted");
    let items = make_snapshot(&workdir, &[2000; 20_000]);
    let target = Memcached::start_with(&["-m", "8"]);
    let to = target.address();
    let arguments = ["restore", "s/a", "--yes", "--to", &to];
    let report = run_json(&workdir, &arguments, 3);
    assert_eq!(number(&report, "stored"), 20_000);
    let presence = &report["nodes"][0]["presence"];
    assert_eq!(presence["looked"], 1000);
    let there: BTreeSet<Vec<u8>> = target.client().keys().into_keys().collect();
    let gone = items
        .iter()
        .filter(|item| !there.contains(&item.key))
        .count();
    let gone = u32::try_from(gone).unwrap();
    let share = f64::from(gone) / 20_000.0;
    // The interval is right in 95 of 100 cases; twice as wide it is as good as
    // always.
    let bound = |name: &str| presence[name].as_f64().unwrap();
    let middle = bound("share_gone");
    let spread = bound("share_gone_most") - bound("share_gone_least");
    assert!(
        spread > 0.0 && (share - middle).abs() <= spread,
        "{share} {presence}"
    );
    let target = Memcached::start_with(&["-m", "8"]);
    let output = workdir
        .mcsnap(&["restore", "s/a", "--yes", "--to", &target.address()])
        .exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(" of a sample of 1,000 stored keys are gone: about "),
        "{text}"
    );
    assert!(text.contains("(restored, with losses)"), "{text}");
}

#[test]
fn the_sample_is_read_by_gets_where_there_is_no_mg() {
    let workdir = Workdir::new("kept-gets");
    make_snapshot(&workdir, &[2000; 20_000]);
    for version in [(1, 2, 3), (1, 4, 15), (1, 6, 9)] {
        let target = Memcached::start_with(&["-m", "8"]);
        let proxy = AgeingProxy::start(&target.address(), Age::of(version));
        let report = run_json(
            &workdir,
            &["restore", "s/a", "--yes", "--to", &proxy.address()],
            3,
        );
        let presence = &report["nodes"][0]["presence"];
        assert_eq!(presence["looked"], 1000, "{report}");
        let gone = presence["gone"].as_u64().unwrap();
        assert!((700..1000).contains(&gone), "{report}");
    }
}

/// A server that throws items out and answers no question about them.
#[test]
fn what_nobody_can_look_for_is_no_success() {
    let workdir = Workdir::new("kept-unsure");
    make_snapshot(&workdir, &[2000; 20_000]);
    let target = Memcached::start_with(&["-m", "8"]);
    let age = Age {
        has_values: false,
        ..Age::of((1, 4, 15))
    };
    let proxy = AgeingProxy::start(&target.address(), age);
    let to = proxy.address();
    let report = run_json(&workdir, &["restore", "s/a", "--yes", "--to", &to], 3);
    let presence = &report["nodes"][0]["presence"];
    assert_eq!(presence["looked"], 0, "{report}");
    let output = workdir
        .mcsnap(&["restore", "s/a", "--yes", "--mode=set", "--to", &to])
        .exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("does not say whether stored keys"), "{text}");
}

#[test]
fn what_a_server_does_not_count_as_stored_is_no_success() {
    let workdir = Workdir::new("kept-liar");
    make_snapshot(&workdir, &[100; 500]);
    let target = Memcached::start();
    target.client().set("there", 0, 0, b"value");
    let age = Age {
        stats: &[("total_items", "1")],
        ..Age::of((1, 6, 18))
    };
    let proxy = AgeingProxy::start(&target.address(), age);
    let to = proxy.address();
    let arguments = ["restore", "s/a", "--mode=set", "--to", &to];
    let report = run_json(&workdir, &arguments, 3);
    assert_eq!(
        (number(&report, "stored"), number(&report, "not_kept")),
        (0, 500)
    );
    let output = workdir.mcsnap(&arguments).exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = "500 records: the node said that it stored them, and does not count them as stored";
    assert!(text.contains(line), "{text}");
}

#[test]
fn what_is_too_large_is_named_with_what_to_do() {
    let workdir = Workdir::new("kept-too-large");
    let items = make_snapshot(&workdir, &[3000; 8]);
    let target = Memcached::start_with(&["-I", "2k", "-o", &chunk_option(1)]);
    let to = target.address();
    target.client().set("item:3", 0, 0, b"precious");
    let arguments = ["restore", "s/a", "--mode=set", "--to", &to];
    let report = run_json(&workdir, &arguments, 3);
    assert_eq!(number(&report, "too_large"), 8);
    let node = &report["nodes"][0];
    assert_eq!(node["item_size_max"], 2048);
    let named: Vec<&str> = node["too_large_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap())
        .collect();
    assert_eq!(named.len(), 5);
    assert!(
        named
            .iter()
            .all(|key| items.iter().any(|item| item.key == key.as_bytes()))
    );
    assert_eq!(
        Client::connect(&to).get("item:3"),
        Some((0, b"precious".to_vec()))
    );
    let output = workdir.mcsnap(&arguments).exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = "8 records are larger than an item of this node may be, 2.0 KiB (memcached's option -I), \
                such as \"item:";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_snapshot_of_which_all_has_expired_says_so_first() {
    let workdir = Workdir::new("kept-expired");
    let source = Memcached::start();
    dump_before_it_expires(&workdir, &source, |ttl| {
        let item = |at| Item::new(format!("key:{at}"), "value").ttl(ttl);
        (0..100).map(item).collect()
    });
    let target = Memcached::start();
    let to = target.address();
    wait_until("the items expire", || {
        let plan = run_json(&workdir, &["restore", "s/a", "--dry-run", "--to", &to], 0);
        plan["nodes"][0]["expired"] == 100
    });
    let output = workdir.mcsnap(&["restore", "s/a", "--to", &to]).succeeds();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = "nothing restored: all 100 records have expired";
    assert_eq!(
        text.lines().next().unwrap(),
        format!("snapshot  s/a ({words})")
    );
    let report = run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    assert_eq!(report["verdict"], words);
}
