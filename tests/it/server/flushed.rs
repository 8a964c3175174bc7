//! A flush in the middle of a dump, however it is called, and what looks like one.

use std::fs;
use std::process::Child;

use serde_json::Value;

use crate::harness::ageing_proxy::{Age, AgeingProxy};
use crate::harness::client::{Client, Item};
use crate::harness::fault::Gate;
use crate::harness::held_dump::hold;
use crate::harness::memcached::Memcached;
use crate::harness::running_job::{segment_files, wait_until};
use crate::harness::workdir::{Run, Workdir};

const KEY_COUNT: u64 = 20_000;

fn filled(server: &Memcached) {
    let value = vec![b'v'; 2000];
    let items = (0..KEY_COUNT).map(|at| Item::new(format!("key:{at}"), value.clone()));
    server.client().load(items);
}

/// Waits until a dump has begun a segment, so that it is in the middle.
fn wait_for_segment(workdir: &Workdir) {
    wait_until("a segment", || !segment_files(workdir, "a").is_empty());
}

/// A server, flushed before it was filled.
fn flushed_and_filled() -> Memcached {
    let server = Memcached::start_with(&["-m", "256"]);
    let mut client = server.client();
    client.flush_all();
    // What is set in the second of a flush may go with it.
    client.wait_for_tick();
    filled(&server);
    server
}

fn dump_of(workdir: &Workdir, address: &str) -> Run {
    let arguments = ["dump", "--to=s", "--name=a", "--segment-size=1MiB"];
    let run = workdir.mcsnap(&arguments).arg("--compression=none");
    let run = run.arg("--connections=1");
    run.arg("--progress=none").arg("--format=json").arg(address)
}

/// Starts a dump that halts in the middle, until the gate is open.
fn start_dump(workdir: &Workdir, address: &str) -> (Child, Gate) {
    let (run, gate) = hold(dump_of(workdir, address), workdir, "*", 3);
    let child = run.spawn();
    wait_for_segment(workdir);
    (child, gate)
}

fn assert_is_no_snapshot(workdir: &Workdir, child: Child, address: &str, why: &str) {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let wanted = format!("mcsnap: {address}: {why}\n");
    assert!(errors.ends_with(&wanted), "{errors}");
    assert!(!workdir.join("s/a").exists());
}

fn assert_is_whole(output: &[u8]) {
    let report: Value = serde_json::from_slice(output).unwrap();
    assert_eq!(report["records"], KEY_COUNT, "{report}");
    assert_eq!(report["verdict"], "complete");
}

/// A delayed flush was called before the dump, and empties the server in the
/// middle of it; no counter tells.
#[test]
fn a_delayed_flush_that_comes_due_meanwhile_is_noticed() {
    let server = Memcached::start_with(&["-m", "256"]);
    filled(&server);
    let workdir = Workdir::new("flushed-later");
    let mut client = server.client();
    let time = |client: &mut Client| client.stats("")["time"].parse::<u64>().unwrap();
    let mut delay = 4;
    let (child, gate) = loop {
        assert_eq!(client.command(&format!("flush_all {delay}")), "OK");
        let due = time(&mut client) + delay;
        let (mut child, gate) = start_dump(&workdir, &server.address());
        if time(&mut client) < due {
            wait_until("the flush comes due", || time(&mut client) > due);
            break (child, gate);
        }
        // The dump began too late, on a slow machine: the next one has more time.
        child.kill().unwrap();
        child.wait().unwrap();
        drop(gate);
        fs::remove_dir_all(workdir.join("s")).unwrap();
        wait_until("the flush comes due", || time(&mut client) > due);
        filled(&server);
        delay *= 2;
    };
    gate.open();
    let why = "a delayed flush_all came due on the server meanwhile";
    assert_is_no_snapshot(&workdir, child, &server.address(), why);
}

/// One that comes due later has taken nothing yet.
#[test]
fn a_delayed_flush_that_is_still_to_come_takes_nothing() {
    let server = Memcached::start_with(&["-m", "256"]);
    filled(&server);
    assert_eq!(server.client().command("flush_all 3600"), "OK");
    let workdir = Workdir::new("flushed-much-later");
    let output = dump_of(&workdir, &server.address()).succeeds();
    assert_is_whole(&output.stdout);
}

/// The counter of flushes is 0 before and after.
#[test]
fn a_flush_is_noticed_though_the_counters_are_reset_after_it() {
    let server = Memcached::start_with(&["-m", "256"]);
    filled(&server);
    let workdir = Workdir::new("flushed-and-reset");
    let (child, gate) = start_dump(&workdir, &server.address());
    let mut client = server.client();
    client.flush_all();
    assert_eq!(client.command("stats reset"), "RESET");
    gate.open();
    let why = "flush_all was called on the server meanwhile";
    assert_is_no_snapshot(&workdir, child, &server.address(), why);
}

#[test]
fn counters_that_are_reset_meanwhile_are_no_flush() {
    let server = flushed_and_filled();
    let workdir = Workdir::new("reset");
    let (child, gate) = start_dump(&workdir, &server.address());
    assert_eq!(server.client().command("stats reset"), "RESET");
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_is_whole(&output.stdout);
}

#[test]
fn counters_that_are_reset_do_not_keep_a_killed_dump_from_going_on() {
    let server = flushed_and_filled();
    let workdir = Workdir::new("reset-between");
    let (mut child, gate) = start_dump(&workdir, &server.address());
    wait_until("sealed segments", || {
        let files = segment_files(&workdir, "a");
        files.iter().filter(|name| name.ends_with(".mcs")).count() > 1
    });
    child.kill().unwrap();
    child.wait().unwrap();
    drop(gate);
    assert_eq!(server.client().command("stats reset"), "RESET");
    let output = workdir
        .mcsnap(&["dump", "--to=s", "--name=a", "--resume", "--format=json"])
        .arg(server.address())
        .succeeds();
    assert_is_whole(&output.stdout);
}

/// Memcached 1.2 counts no flushes and tells no moment; what it counts of items
/// that go one by one does not explain that most are gone.
#[test]
fn a_flush_that_no_counter_tells_is_noticed_by_what_it_takes() {
    let server = Memcached::start_with(&["-m", "256"]);
    filled(&server);
    let proxy = AgeingProxy::start(&server.address(), Age::of((1, 2, 8)));
    let workdir = Workdir::new("flushed-untold");
    let (child, gate) = start_dump(&workdir, &proxy.address());
    server.client().flush_all();
    gate.open();
    let why = "most of its items vanished meanwhile, more than it deleted, evicted or changed, \
               as by a flush";
    assert_is_no_snapshot(&workdir, child, &proxy.address(), why);
}

/// Clients that delete nearly everything are no flush.
#[test]
fn items_that_clients_delete_meanwhile_have_vanished() {
    let server = Memcached::start_with(&["-m", "256"]);
    filled(&server);
    let workdir = Workdir::new("deleted-meanwhile");
    let (child, gate) = start_dump(&workdir, &server.address());
    let mut client = server.client();
    let deletes = (0..KEY_COUNT).map(|at| format!("delete key:{at} noreply\r\n"));
    client.send(deletes.collect::<String>().as_bytes());
    assert_eq!(client.stats("")["curr_items"], "0");
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // How many were listed before they were deleted depends on the moment.
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("vanished") > number("stored"), "{report}");
    assert_eq!(report["verdict"], "complete");
}
