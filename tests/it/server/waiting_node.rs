//! What happens to a server while it waits for its turn is none of a dump's
//! business: all that is read of it is read afterwards.

use std::process::Child;

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fault::Gate;
use crate::harness::held_dump::hold;
use crate::harness::memcached::{Memcached, own_host};
use crate::harness::running_job::{segment_files, wait_until};
use crate::harness::workdir::Workdir;

const KEY_COUNT: u64 = 20_000;

/// As the dumps are told.
const SEGMENT_RECORDS: usize = 1000;

/// How many segments a dump has begun when it halts.
const HELD_AT: usize = 2;

fn fill(server: &Memcached, prefix: &str, count: u64) {
    let value = vec![b'v'; 1500];
    let items = (0..count).map(|at| Item::new(format!("{prefix}:{at}"), value.clone()));
    server.client().load(items);
}

/// Kills a server, and starts one with no items in its place.
fn restart(server: &mut Memcached) {
    server.kill();
    let address = server.address();
    let (host, port) = address.split_once(':').unwrap();
    *server = Memcached::start_at(host, &["-m", "256", "-p", port], &[]);
}

fn arguments<'a>(first: &'a str, second: &'a str) -> [&'a str; 10] {
    [
        "dump",
        "--to=s",
        "--name=a",
        "--segment-records=1000",
        "--parallel-nodes=1",
        "--compression=none",
        "--progress=none",
        "--format=json",
        first,
        second,
    ]
}

/// Waits until a dump has so many files of the node of an index.
fn wait_for_segments(workdir: &Workdir, node_index: u32, count: usize) {
    let start = format!("n{node_index:04}-");
    wait_until(&format!("segments of node {node_index}"), || {
        let files = segment_files(workdir, "a");
        files.iter().filter(|name| name.starts_with(&start)).count() >= count
    });
}

/// Dumps two servers one after the other, and does something to the second while
/// the first is read.
fn dump_with(first: &Memcached, second: &str, workdir: &Workdir, what: impl FnOnce()) -> Child {
    let (child, gate) = start_dump(first, second, workdir);
    what();
    gate.open();
    child
}

/// Starts a dump that halts while the first server is read.
fn start_dump(first: &Memcached, second: &str, workdir: &Workdir) -> (Child, Gate) {
    let run = workdir.mcsnap(&arguments(&first.address(), second));
    let (run, gate) = hold(run, workdir, "*", HELD_AT);
    let child = run.spawn();
    wait_for_segments(workdir, 0, 1);
    (child, gate)
}

fn assert_whole(child: Child, second_count: u64) {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["records"], KEY_COUNT + second_count, "{report}");
    assert_eq!(report["verdict"], "complete");
    assert_eq!(report["nodes"][1]["items_start"], second_count);
}

#[test]
fn a_server_that_is_restarted_before_its_turn_is_dumped_as_it_is_then() {
    let first = Memcached::start_with(&["-m", "256"]);
    fill(&first, "first", KEY_COUNT);
    let mut second = Memcached::start_at(&own_host(), &["-m", "256"], &[]);
    fill(&second, "old", 100);
    let address = second.address();
    let workdir = Workdir::new("waiting-restarted");
    let child = dump_with(&first, &address, &workdir, || {
        restart(&mut second);
        fill(&second, "new", 300);
    });
    assert_whole(child, 300);
}

#[test]
fn a_server_that_is_flushed_before_its_turn_is_dumped_as_it_is_then() {
    let first = Memcached::start_with(&["-m", "256"]);
    fill(&first, "first", KEY_COUNT);
    let second = Memcached::start_with(&["-m", "256"]);
    fill(&second, "old", 100);
    let workdir = Workdir::new("waiting-flushed");
    let child = dump_with(&first, &second.address(), &workdir, || {
        let mut client = second.client();
        client.flush_all();
        for at in 0..100 {
            assert_eq!(client.get(&format!("old:{at}")), None);
        }
        // What is set in the second of a flush may go with it.
        client.wait_for_tick();
        fill(&second, "new", 300);
    });
    assert_whole(child, 300);
}

/// Its segments are of the life that it has when its turn comes.
#[test]
fn a_dump_of_a_server_restarted_before_its_turn_goes_on_after_a_kill() {
    let first = Memcached::start_with(&["-m", "256"]);
    fill(&first, "first", KEY_COUNT);
    let mut second = Memcached::start_at(&own_host(), &["-m", "256"], &[]);
    let address = second.address();
    let workdir = Workdir::new("waiting-resumed");
    let (mut child, gate) = start_dump(&first, &address, &workdir);
    restart(&mut second);
    fill(&second, "new", KEY_COUNT);
    // All of the first server and some of the second: each of the two writers of the first
    // one may have a last segment that is not full.
    let of_first = usize::try_from(KEY_COUNT).unwrap() / SEGMENT_RECORDS + 2;
    gate.open_for((of_first + 8 - HELD_AT).try_into().unwrap());
    wait_for_segments(&workdir, 1, 6);
    child.kill().unwrap();
    child.wait().unwrap();
    let output = workdir
        .mcsnap(&arguments(&first.address(), &address))
        .arg("--resume")
        .succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["records"], 2 * KEY_COUNT, "{report}");
    assert_eq!(report["verdict"], "complete");
    assert!(report["kept_segments"].as_u64().unwrap() > 0);
}
