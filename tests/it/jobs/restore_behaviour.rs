//! What a restore does with records that do not simply fit.

use std::fs;

use serde_json::Value;

use crate::harness::client::{Item, meta_flag};
use crate::harness::memcached::Memcached;
use crate::harness::reports::run_json;
use crate::harness::running_job::{SlowRestore, wait_until};
use crate::harness::workdir::Workdir;

/// Every record has an outcome, or is a loss.
fn assert_accounted(report: &Value) {
    let number = |name: &str| report[name].as_u64().unwrap();
    let counters = [
        "stored",
        "existing",
        "expired",
        "filtered",
        "too_large",
        "refused",
        "failed",
        "unsent",
        "unsure",
        "not_kept",
    ];
    let sum: u64 = counters.into_iter().map(number).sum();
    assert_eq!(number("records"), sum + number("damaged"), "{report}");
    assert_eq!(number("unaccounted"), 0, "{report}");
}

#[test]
fn add_keeps_what_is_there_and_set_replaces_it() {
    let (source, target) = (Memcached::start(), Memcached::start());
    source
        .client()
        .load((0..100).map(|at| Item::new(format!("key:{at}"), "old")));
    let workdir = Workdir::new("modes");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &source.address()])
        .succeeds();
    target.client().set("key:7", 1, 0, b"newer");
    let to = target.address();
    let report = run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    assert_eq!(
        (&report["stored"], &report["existing"]),
        (&99.into(), &1.into())
    );
    assert_accounted(&report);
    assert_eq!(target.client().get("key:7"), Some((1, b"newer".to_vec())));
    let report = run_json(
        &workdir,
        &["restore", "s/a", "--mode", "set", "--to", &to],
        0,
    );
    assert_eq!(
        (&report["stored"], &report["existing"]),
        (&100.into(), &0.into())
    );
    assert_eq!(target.client().get("key:7"), Some((0, b"old".to_vec())));
}

#[test]
fn a_value_above_the_nodes_largest_item_is_told_and_harms_nothing() {
    let source = Memcached::start_with(&["-I", "4m"]);
    let target = Memcached::start();
    source.client().load([
        Item::new("large", vec![b'x'; 2 << 20]),
        Item::new("small", "fits"),
        // Larger than the source's own default, and just within the target's.
        Item::new("edge", vec![b'x'; 1_040_000]),
    ]);
    target.client().set("large", 0, 0, b"precious");
    let workdir = Workdir::new("too-large");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &source.address()])
        .succeeds();
    let to = target.address();
    let report = run_json(
        &workdir,
        &["restore", "s/a", "--mode", "set", "--to", &to],
        3,
    );
    assert_eq!(
        (&report["stored"], &report["too_large"]),
        (&2.into(), &1.into())
    );
    assert_accounted(&report);
    assert_eq!(
        target.client().get("large"),
        Some((0, b"precious".to_vec()))
    );
}

#[test]
fn a_server_without_memory_is_quoted_and_every_record_accounted_for() {
    let source = Memcached::start_with(&["-m", "256"]);
    let target = Memcached::start_with(&["-m", "8", "-M"]);
    source
        .client()
        .load((0..20_000).map(|at| Item::new(format!("key:{at}"), vec![b'x'; 2000])));
    let workdir = Workdir::new("no-memory");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &source.address()])
        .succeeds();
    let report = run_json(&workdir, &["restore", "s/a", "--to", &target.address()], 3);
    assert_accounted(&report);
    let stored = report["stored"].as_u64().unwrap();
    let words = "SERVER_ERROR out of memory storing object";
    assert_eq!(report["reasons"][words], 20_000 - stored);
    assert_eq!(
        target.client().keys().len(),
        usize::try_from(stored).unwrap()
    );
}

#[test]
fn items_evicted_again_are_a_loss() {
    let source = Memcached::start_with(&["-m", "256"]);
    let target = Memcached::start_with(&["-m", "8"]);
    source
        .client()
        .load((0..20_000).map(|at| Item::new(format!("key:{at}"), vec![b'x'; 2000])));
    let workdir = Workdir::new("evicted");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &source.address()])
        .succeeds();
    let to = target.address();
    let report = run_json(&workdir, &["restore", "s/a", "--yes", "--to", &to], 3);
    assert_accounted(&report);
    assert!(report["evicted"].as_u64().unwrap() > 0, "{report}");
}

/// Makes a snapshot `s/a` of a server with items that expire soon after; on a slow machine
/// they are given more time.
pub(crate) fn dump_before_it_expires(
    workdir: &Workdir,
    source: &Memcached,
    items: impl Fn(i64) -> Vec<Item>,
) {
    for ttl in [3, 6, 12, 24, 48] {
        source.client().load(items(ttl));
        let there = source.client().stats("")["curr_items"].clone();
        let dump = ["dump", "--to=s", "--name=a", &source.address()];
        let report = run_json(workdir, &dump, 0);
        if report["stored"] == there.parse::<u64>().unwrap() {
            return;
        }
        fs::remove_dir_all(workdir.join("s")).unwrap();
    }
    panic!("a dump takes longer than a minute");
}

#[test]
fn what_has_expired_since_the_dump_is_not_restored() {
    let (source, target) = (Memcached::start(), Memcached::start());
    let workdir = Workdir::new("expired");
    source.client().set("long", 0, 1000, b"x");
    dump_before_it_expires(&workdir, &source, |ttl| {
        vec![Item::new("brief", "x").ttl(ttl)]
    });
    let to = target.address();
    let mut plan = Value::Null;
    wait_until("the item expires", || {
        plan = run_json(&workdir, &["restore", "s/a", "--dry-run", "--to", &to], 0);
        plan["nodes"][0]["expired"] != 0
    });
    assert_eq!(
        (&plan["nodes"][0]["keys"], &plan["nodes"][0]["expired"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        target.client().keys().len(),
        0,
        "a dry run has sent something"
    );
    let report = run_json(&workdir, &["restore", "s/a", "--to", &to], 0);
    assert_eq!(
        (&report["stored"], &report["expired"]),
        (&1.into(), &1.into())
    );
    assert_accounted(&report);
}

#[test]
fn the_version_is_restored_where_the_server_can() {
    let (source, target) = (Memcached::start(), Memcached::start());
    source.client().set("key", 0, 0, b"value");
    let cas = |server: &Memcached| {
        let (header, _) = server.client().mg(b"key", "c v").unwrap();
        meta_flag(&header, 'c').parse::<u64>().unwrap()
    };
    // So that the two servers' counters differ.
    for _ in 0..10 {
        source.client().set("key", 0, 0, b"value");
    }
    let workdir = Workdir::new("cas");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &source.address()])
        .succeeds();
    workdir
        .mcsnap(&["restore", "s/a", "--to", &target.address()])
        .succeeds();
    let numbers: Vec<u64> = target
        .version()
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect();
    let is_able = numbers >= vec![1, 6, 27];
    assert_eq!(
        cas(&target) == cas(&source),
        is_able,
        "on {}",
        target.version()
    );
}

#[test]
fn a_damaged_block_costs_its_own_records_only() {
    let (source, target) = (
        Memcached::start_with(&["-m", "256"]),
        Memcached::start_with(&["-m", "256"]),
    );
    source
        .client()
        .load((0..5000).map(|at| Item::new(format!("key:{at}"), vec![b'x'; 1000])));
    let workdir = Workdir::new("damaged");
    let address = source.address();
    workdir
        .mcsnap(&[
            "dump",
            "--to",
            "s",
            "--name",
            "a",
            "--shards=1",
            "--compression=none",
            &address,
        ])
        .succeeds();
    let directory = workdir.join("s/a/segments");
    let segment = fs::read_dir(directory)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    for depth in ["--data", "--deep"] {
        let report = run_json(&workdir, &["verify", "s/a", depth], 3);
        assert_eq!(report["errors"], 1, "{report}");
        assert_eq!(report["findings"][0]["code"], "MCS003");
        assert!(report["findings"][0]["location"]["block"].is_u64());
    }
    let report = run_json(&workdir, &["restore", "s/a", "--to", &target.address()], 3);
    assert_accounted(&report);
    let damaged = report["damaged"].as_u64().unwrap();
    assert!(
        (1..400).contains(&damaged),
        "{damaged} records of a block of 256 KiB"
    );
    assert_eq!(report["stored"], 5000 - damaged);
}

#[test]
fn a_node_that_dies_midway_is_named_and_the_others_are_filled() {
    let source = Memcached::start_with(&["-m", "512"]);
    let healthy = Memcached::start_with(&["-m", "512"]);
    let mut dying = Memcached::start_with(&["-m", "512"]);
    source
        .client()
        .load((0..20_000).map(|at| Item::new(format!("key:{at}"), vec![b'x'; 100])));
    let workdir = Workdir::new("dying-target");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &source.address()])
        .succeeds();
    let to = format!("{},{}", healthy.address(), dying.address());
    let arguments = ["s/a", "--ring=modula", "--format=json", "--to", &to];
    let restore = SlowRestore::start(&workdir, &arguments);
    let mut client = dying.client();
    wait_until("the restore starts", || {
        client.stats("")["curr_items"] != "0"
    });
    drop(client);
    dying.kill();
    let output = restore.finish();
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_accounted(&report);
    assert!(report["unsent"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["nodes"][0]["failure"], Value::Null);
    assert!(
        report["nodes"][1]["failure"]
            .as_str()
            .unwrap()
            .contains("127.0.0.1:")
    );
    let whole = report["nodes"][0]["stored"].as_u64().unwrap();
    assert_eq!(
        healthy.client().keys().len(),
        usize::try_from(whole).unwrap()
    );
}

#[test]
fn a_flush_during_a_restore_is_no_success() {
    let source = Memcached::start_with(&["-m", "512"]);
    let target = Memcached::start_with(&["-m", "512"]);
    source
        .client()
        .load((0..20_000).map(|at| Item::new(format!("key:{at}"), vec![b'x'; 100])));
    let workdir = Workdir::new("flushed");
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &source.address()])
        .succeeds();
    let arguments = ["s/a", "--format=json", "--to", &target.address()];
    let restore = SlowRestore::start(&workdir, &arguments);
    let mut client = target.client();
    wait_until("the restore starts", || {
        client.stats("")["curr_items"] != "0"
    });
    client.flush_all();
    let output = restore.finish();
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failure = report["nodes"][0]["failure"].as_str().unwrap();
    assert!(
        failure.ends_with("flush_all was called on the server meanwhile"),
        "{failure}"
    );
}
