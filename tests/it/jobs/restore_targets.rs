//! Which servers a restore fills, where not all of them are there, or are wanted.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::{Memcached, own_host};
use crate::harness::reports::{number, run_json};
use crate::harness::running_job::{SlowRestore, wait_until};
use crate::harness::workdir::Workdir;

const KEY_COUNT: u64 = 3000;

/// A snapshot `s/a` of so many keys.
fn make_snapshot(workdir: &Workdir, count: u64, value_len: usize) {
    let source = Memcached::start_with(&["-m", "1024"]);
    let items = (0..count).map(|at| Item::new(format!("key:{at}"), vec![b'v'; value_len]));
    source.client().load(items);
    workdir
        .mcsnap(&["dump", "--to=s", "--name=a", &source.address()])
        .succeeds();
}

/// An address at which nobody listens any more.
fn dead_address() -> String {
    let mut server = Memcached::start_at(&own_host(), &[], &[]);
    server.kill();
    server.address()
}

fn addresses(servers: &[Memcached]) -> String {
    let all: Vec<String> = servers.iter().map(Memcached::address).collect();
    all.join(",")
}

fn keys(server: &Memcached) -> BTreeSet<Vec<u8>> {
    server.client().keys().into_keys().collect()
}

fn stat(server: &Memcached, name: &str) -> u64 {
    server.client().stats("")[name].parse().unwrap()
}

#[test]
fn a_dead_server_at_the_start_leaves_the_others_as_they_are() {
    let workdir = Workdir::new("dead-target");
    make_snapshot(&workdir, KEY_COUNT, 10);
    let healthy = Memcached::start();
    let dead = dead_address();
    let to = format!("{},{dead}", healthy.address());
    for more in [&[][..], &["--dry-run"]] {
        let arguments = ["restore", "s/a", "--ring=modula", "--to", &to];
        let output = workdir.mcsnap(&[&arguments[..], more].concat()).exits(1);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            errors.contains(&format!("{dead}: cannot connect")),
            "{errors}"
        );
        let hint = "nothing was sent to any server; pass --allow-partial to fill those that can \
                    be reached";
        assert!(errors.contains(hint), "{errors}");
    }
    assert_eq!(stat(&healthy, "cmd_set"), 0);
    // Where nobody is there, a part is nothing.
    let alone = ["restore", "s/a", "--allow-partial", "--to", &dead];
    let output = workdir.mcsnap(&alone).exits(1);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.trim_end().ends_with("; nothing was sent"),
        "{errors}"
    );
}

#[test]
fn the_servers_that_are_there_are_filled_where_that_is_allowed() {
    let workdir = Workdir::new("partial-restore");
    make_snapshot(&workdir, KEY_COUNT, 10);
    let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let arguments = ["restore", "s/a", "--ring=ketama", "--to"];
    let all = addresses(&servers);
    run_json(&workdir, &[&arguments[..], &[&all]].concat(), 0);
    let wanted: Vec<_> = servers.iter().map(keys).collect();
    let [first, mut second, third] = servers;
    second.kill();
    for server in [&first, &third] {
        server.client().flush_all();
    }
    let all = all.as_str();
    let partial = [&arguments[..], &[all, "--allow-partial"]].concat();
    let plan = run_json(&workdir, &[&partial[..], &["--dry-run"]].concat(), 3);
    let missing = wanted[1].len();
    assert_eq!(plan["nodes"][1]["keys"], missing, "{plan}");
    let failure = plan["nodes"][1]["failure"].as_str().unwrap();
    assert!(failure.contains("cannot connect"), "{failure}");
    let report = run_json(&workdir, &partial, 3);
    assert_eq!(report["unsent"], missing, "{report}");
    assert_eq!(
        number(&report, "stored"),
        KEY_COUNT - number(&report, "unsent")
    );
    assert_eq!(number(&report, "unaccounted"), 0);
    assert_eq!(report["nodes"][1]["items_end"], Value::Null);
    assert_eq!(report["nodes"][1]["evicted"], Value::Null);
    assert_eq!(report["has_losses"], true);
    // The placement is that of all three.
    assert_eq!(keys(&first), wanted[0]);
    assert_eq!(keys(&third), wanted[2]);
    let output = workdir.mcsnap(&partial).arg("--mode=set").exits(3);
    let text = String::from_utf8_lossy(&output.stdout).replace(',', "");
    assert!(text.contains("items now unknown"), "{text}");
    assert!(
        text.contains(&format!("lost      {missing} unsent\n")),
        "{text}"
    );
    assert!(text.contains("(restored with losses)"), "{text}");
}

#[test]
fn only_the_servers_that_are_named_are_asked_and_filled() {
    let workdir = Workdir::new("only-for");
    make_snapshot(&workdir, KEY_COUNT, 10);
    let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    let all = addresses(&servers);
    let arguments = ["restore", "s/a", "--ring=ketama-weighted", "--to", &all];
    run_json(&workdir, &arguments, 0);
    let wanted = keys(&servers[2]);
    for server in &servers {
        server.client().flush_all();
    }
    let new = servers[2].address();
    let only = [&arguments[..], &["--only-for", &new]].concat();
    // The first cannot be reached, and nobody notices: it is not asked.
    let [mut first, second, third] = servers;
    first.kill();
    let connections = stat(&second, "total_connections");
    let plan = run_json(&workdir, &[&only[..], &["--dry-run"]].concat(), 0);
    assert_eq!(plan["only_for"], serde_json::json!([new]));
    assert_eq!(plan["nodes"].as_array().unwrap().len(), 1, "{plan}");
    assert_eq!(plan["nodes"][0]["keys"], wanted.len());
    let report = run_json(&workdir, &only, 0);
    assert_eq!(report["stored"], wanted.len());
    assert_eq!(
        number(&report, "filtered"),
        KEY_COUNT - number(&report, "stored")
    );
    assert_eq!(number(&report, "unaccounted"), 0);
    assert_eq!(report["nodes"].as_array().unwrap().len(), 1, "{report}");
    // The second has been asked by this test alone.
    assert_eq!(stat(&second, "total_connections"), connections + 1);
    assert_eq!(stat(&second, "curr_items"), 0);
    assert_eq!(keys(&third), wanted);
    // With a selection it is both.
    third.client().flush_all();
    let both = [&only[..], &["--select", "prefix=key:1"]].concat();
    run_json(&workdir, &both, 0);
    let ones: BTreeSet<_> = wanted
        .into_iter()
        .filter(|key| key.starts_with(b"key:1"))
        .collect();
    assert_eq!(keys(&third), ones);
    let output = workdir.mcsnap(&only).arg("--mode=set").succeeds();
    let text = String::from_utf8_lossy(&output.stdout);
    let row = format!("only for  {new}; 2 other servers were not asked\n");
    assert!(text.contains(&row), "{text}");
    assert!(text.contains("\nlost      nothing\n"), "{text}");
}

#[test]
fn a_server_that_is_not_of_the_ring_is_refused() {
    let workdir = Workdir::new("only-for-whom");
    make_snapshot(&workdir, 3, 10);
    let dead = dead_address();
    for (more, wanted) in [
        (
            &["--ring=modula", "--only-for=c:1"][..],
            "only-for \"c:1\": wanted one of the servers of the ring",
        ),
        (
            &["--ring=node-for-node", "--only-for=a:1", "--nodes=x:1"],
            "node \"x:1\": wanted a node of the snapshot",
        ),
        (
            &["--ring=modula", "--only-for="],
            "an empty list; leave it out",
        ),
    ] {
        let arguments = ["restore", "s/a", "--to", "a:1,b:1"];
        let output = workdir.mcsnap(&[&arguments[..], more].concat()).exits(2);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(wanted), "{errors}");
    }
    // Of one server it is all.
    let alone = ["restore", "s/a", "--only-for", &dead, "--to", &dead];
    workdir.mcsnap(&alone).exits(1);
    let target = Memcached::start();
    let to = target.address();
    let report = run_json(
        &workdir,
        &["restore", "s/a", "--only-for", &to, "--to", &to],
        0,
    );
    assert_eq!(report["stored"], 3);
}

/// What was sent and never answered may be there, and may not.
#[test]
fn what_a_dying_server_did_not_answer_is_unsure() {
    let workdir = Workdir::new("unsure");
    make_snapshot(&workdir, 20_000, 100);
    let target = Memcached::start();
    let arguments = [
        "s/a",
        "--progress=none",
        "--connections=2",
        "--timeout=500ms",
        "--to",
        &target.address(),
    ];
    let restore = SlowRestore::start(&workdir, &arguments);
    let mut client = target.client();
    wait_until("the first items", || client.stats("")["curr_items"] != "0");
    target.stop();
    let output = restore.finish();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let row = text
        .lines()
        .find(|line| line.starts_with("unsure"))
        .unwrap();
    assert!(
        row.contains("were sent and not answered: the node went away"),
        "{row}"
    );
    assert!(text.contains("items now unknown"), "{text}");
    let lost = text.lines().find(|line| line.starts_with("lost")).unwrap();
    assert!(lost.ends_with(" unsent"), "{lost}");
}

#[test]
fn what_a_flush_takes_of_a_target_meanwhile_is_looked_for() {
    let (source, target) = (Memcached::start(), Memcached::start());
    let items = (0..4000).map(|at| Item::new(format!("key:{at}"), "value"));
    source.client().load(items);
    let workdir = Workdir::new("flushed-target");
    let from = source.address();
    workdir
        .mcsnap(&["dump", "--to=s", "--name=a", &from])
        .succeeds();
    let to = target.address();
    let arguments = ["s/a", "--to", &to, "--format=json"];
    let restore = SlowRestore::start(&workdir, &arguments);
    // Of so many the sample has some.
    wait_until("a part of it is there", || {
        let items = target.client().stats("")["curr_items"].clone();
        items.parse::<u64>().unwrap() >= 300
    });
    assert_eq!(target.client().command("flush_all"), "OK");
    let output = restore.finish();
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let seen = &report["nodes"][0]["presence"];
    assert!(seen["gone"].as_u64().unwrap() > 0, "{report}");
}
