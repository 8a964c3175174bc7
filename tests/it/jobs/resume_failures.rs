//! A server that fails takes nothing of what the others gave with it, and is not
//! given up at once.

use std::io::{BufReader, Read as _};
use std::process::Child;
use std::thread;

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fault::Gate;
use crate::harness::held_dump::hold;
use crate::harness::memcached::{Memcached, own_host};
use crate::harness::reports::{report_of, stderr_of};
use crate::harness::running_job::{segment_files, wait_until};
use crate::harness::workdir::{Run, Workdir};

const KEY_COUNT: u64 = 20_000;

fn fill(server: &Memcached, prefix: &str, count: u64) {
    let value = vec![b'v'; 700];
    let items = (0..count).map(|at| Item::new(format!("{prefix}:{at}"), value.clone()));
    server.client().load(items);
}

fn filled(prefix: &str) -> Memcached {
    filled_with(prefix, &[])
}

fn filled_with(prefix: &str, more: &[&str]) -> Memcached {
    let arguments = [&["-m", "256"], more].concat();
    let server = Memcached::start_at(&own_host(), &arguments, &[]);
    fill(&server, prefix, KEY_COUNT);
    server
}

/// Starts a server with no items in the place of one that is gone.
fn restart(server: &mut Memcached) {
    let address = server.address();
    let (host, port) = address.split_once(':').unwrap();
    *server = Memcached::start_at(host, &["-m", "256", "-p", port], &[]);
}

fn arguments<'a>(nodes: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["dump", "--to=s", "--name=a", "--segment-records=100"];
    arguments.extend(["--compression=none", "--progress=none", "--format=json"]);
    arguments.extend(nodes);
    arguments.extend(more);
    arguments
}

/// Waits until a dump has sealed so many segments of the node of an index.
fn wait_for_sealed(workdir: &Workdir, node_index: u32, count: usize) {
    let start = format!("n{node_index:04}-");
    wait_until(&format!("segments of node {node_index}"), || {
        let files = segment_files(workdir, "a").into_iter();
        let sealed = files.filter(|file| file.starts_with(&start) && file.ends_with(".mcs"));
        sealed.count() >= count
    });
}

/// Starts a dump that halts when it has sealed four segments of the first server.
fn start_held(run: Run, workdir: &Workdir) -> (Child, Gate) {
    // One more, since each of its two shards has a writer.
    let (run, gate) = hold(run, workdir, "n0000-*", 5);
    let child = run.spawn();
    wait_for_sealed(workdir, 0, 4);
    (child, gate)
}

/// Reads what a job says up to the line that has these words, which it returns.
fn read_until(stderr: &mut impl std::io::BufRead, words: &str) -> String {
    let mut line = String::new();
    while !line.contains(words) {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "no \"{words}\"");
    }
    line
}

/// Lets a job end that was read so far; returns its exit code, its report, and what
/// else it said.
fn finish(mut child: Child, mut stderr: impl std::io::Read) -> (Option<i32>, Value, String) {
    let (mut out, mut errors) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    stderr.read_to_string(&mut errors).unwrap();
    let code = child.wait().unwrap().code();
    let report = serde_json::from_str(&out).unwrap_or_default();
    (code, report, errors)
}

#[test]
fn what_other_servers_gave_is_kept_where_one_dies_for_good() {
    let (mut dying, healthy) = (filled("d"), filled("h"));
    let (first, second) = (dying.address(), healthy.address());
    let workdir = Workdir::new("dies");
    // One after the other: those that come later are read, too.
    let nodes = [&first[..], &second];
    let run = workdir.mcsnap(&arguments(&nodes, &["--parallel-nodes=1"]));
    let (child, gate) = start_held(run, &workdir);
    dying.kill();
    gate.open();
    let output = child.wait_with_output().unwrap();
    let message = stderr_of(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    let tries = message.matches("it is tried again\n").count();
    assert_eq!(tries, 2, "{message}");
    let last = message.lines().last().unwrap();
    let (what, hint) = last.split_once("; ").unwrap();
    assert!(what.starts_with(&format!("mcsnap: {first}: ")), "{last}");
    let hint = hint
        .strip_prefix("pass --resume --name a to go on with ")
        .unwrap();
    let (records, rest) = hint.split_once(" records of 2 servers").unwrap();
    let records: u64 = records.replace(',', "").parse().unwrap();
    assert!(
        (KEY_COUNT + 400..2 * KEY_COUNT).contains(&records),
        "{last}"
    );
    assert_eq!(
        rest,
        ", or --allow-partial for a snapshot of what other servers give"
    );

    // It is another server that comes back in its place.
    restart(&mut dying);
    fill(&dying, "n", 50);
    let output = workdir.mcsnap(&arguments(&nodes, &["--resume"])).succeeds();
    let message = stderr_of(&output);
    let told = format!("{first} was restarted or flushed since it was dumped in part; ");
    assert!(message.contains(&told), "{message}");
    let report = report_of(&output);
    assert_eq!(
        (&report["records"], &report["verdict"]),
        (&(KEY_COUNT + 50).into(), &"complete".into())
    );
    assert_eq!(report["kept_records"], KEY_COUNT);
    assert_eq!(report["dropped_records"], records - KEY_COUNT);
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
}

#[test]
fn a_server_that_is_silent_for_a_while_is_tried_again() {
    // Where its listing tells no CAS, what this run has sealed stays all the same.
    thread::scope(|scope| {
        for more in [&[][..], &["-C"]] {
            scope.spawn(move || check_silent_for_a_while(&filled_with("k", more)));
        }
    });
}

fn check_silent_for_a_while(server: &Memcached) {
    let address = server.address();
    let workdir = Workdir::new("silent");
    let run = workdir.mcsnap(&arguments(&[&address], &["--timeout=1s"]));
    let (mut child, gate) = start_held(run, &workdir);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    server.stop();
    gate.open();
    let told = read_until(&mut stderr, "it is tried again");
    server.resume();
    assert!(
        told.contains("no reply within 1 s; in 1 s it is tried again"),
        "{told}"
    );
    let (code, report, errors) = finish(child, stderr);
    assert_eq!((code, &*errors), (Some(0), ""));
    assert_eq!(
        (&report["records"], &report["verdict"]),
        (&KEY_COUNT.into(), &"complete".into())
    );
    // All of it is this run's.
    assert_eq!(
        (&report["kept_records"], &report["kept_age_s"]),
        (&0.into(), &Value::Null)
    );
    let whole = workdir
        .mcsnap(&[
            "dump",
            "--to=s",
            "--name=b",
            "--format=json",
            "-q",
            &address,
        ])
        .succeeds();
    let whole = report_of(&whole);
    assert_eq!(report["content_digest"], whole["content_digest"]);
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
}

#[test]
fn a_server_that_is_restarted_in_the_middle_is_read_as_it_is_then() {
    let mut server = filled("old");
    let address = server.address();
    let workdir = Workdir::new("restarted");
    let run = workdir.mcsnap(&arguments(&[&address], &[]));
    let (child, gate) = start_held(run, &workdir);
    server.kill();
    restart(&mut server);
    fill(&server, "new", 50);
    gate.open();
    let output = child.wait_with_output().unwrap();
    let message = stderr_of(&output);
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("it is tried again\n"), "{message}");
    let told = format!("{address} was restarted or flushed since it was dumped in part; ");
    assert!(message.contains(&told), "{message}");
    let report = report_of(&output);
    assert_eq!(
        (&report["records"], &report["verdict"]),
        (&50.into(), &"complete".into())
    );
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
}

#[test]
fn what_a_dead_server_gave_is_in_a_partial_snapshot_and_said_to_be_unsure() {
    let (mut dying, healthy) = (filled("d"), filled("h"));
    let (first, second) = (dying.address(), healthy.address());
    let nodes = [&first[..], &second];
    let workdir = Workdir::new("unconfirmed");
    let run = workdir.mcsnap(&arguments(&nodes, &[]));
    let (mut child, _gate) = start_held(run, &workdir);
    wait_for_sealed(&workdir, 1, 1);
    child.kill().unwrap();
    child.wait().unwrap();
    dying.kill();
    let of_dead = segment_files(&workdir, "a");
    let of_dead = of_dead.iter().filter(|file| file.starts_with("n0000-"));
    let of_dead = of_dead.filter(|file| file.ends_with(".mcs")).count();
    let more = ["--resume", "--allow-partial"];
    let output = workdir.mcsnap(&arguments(&nodes, &more)).exits(3);
    let report = report_of(&output);
    assert_eq!(report["verdict"], "partial");
    assert_eq!(report["kept_unconfirmed_records"], 100 * of_dead);
    assert_eq!(report["nodes"][0]["stored"], 100 * of_dead);
    assert_eq!(report["nodes"][1]["stored"], KEY_COUNT);
}

/// The tries after the first find nobody, and know nothing of what that one had listed.
#[test]
fn what_a_server_listed_before_it_went_away_for_good_is_told_as_missing() {
    // What was read of it is no less where its listing tells no CAS.
    thread::scope(|scope| {
        for more in [&[][..], &["-C"]] {
            scope.spawn(move || check_gone_for_good(filled_with("gone", more)));
        }
    });
}

fn check_gone_for_good(mut gone: Memcached) {
    let stays = filled("stays");
    let (first, second) = (gone.address(), stays.address());
    let workdir = Workdir::new("gone-for-good");
    let run = workdir.mcsnap(&arguments(&[&first, &second], &["--allow-partial"]));
    let (child, gate) = start_held(run, &workdir);
    gone.kill();
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr_of(&output));
    let report = report_of(&output);
    let node = &report["nodes"][0];
    let number = |name: &str| node[name].as_u64().unwrap();
    // How much of the list was read until then is chance.
    let listed = number("listed");
    assert!(listed <= KEY_COUNT && number("missing") > 0, "{node}");
    assert!(number("stored") >= 400, "{node}");
    assert_eq!(number("stored") + number("missing"), listed, "{node}");
    assert_eq!(report["nodes"][1]["stored"], KEY_COUNT);
    assert_eq!(report["completeness_percent"], Value::Null);
}

/// Nothing is compared where no CAS is listed, and nobody answers in this case.
#[test]
fn what_was_sealed_of_a_server_without_cas_stays_where_it_died_before_its_turn() {
    let (healthy, mut dying) = (filled("h"), filled_with("d", &["-C"]));
    let (first, second) = (healthy.address(), dying.address());
    let nodes = [&first[..], &second];
    let workdir = Workdir::new("died-before");
    let run = workdir.mcsnap(&arguments(&nodes, &["--shards=1"]));
    // Each server's fourth.
    let (run, _gate) = hold(run, &workdir, "n*-s000-00003-*", 0);
    let mut child = run.spawn();
    wait_for_sealed(&workdir, 0, 3);
    wait_for_sealed(&workdir, 1, 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let sealed = |start: &str| {
        let files = segment_files(&workdir, "a").into_iter();
        files
            .filter(|file| file.starts_with(start) && file.ends_with(".mcs"))
            .count()
    };
    let [of_healthy, of_dying] = ["n0000-", "n0001-"].map(sealed);
    let more = [
        "--resume",
        "--allow-partial",
        "--parallel-nodes=1",
        "--shards=1",
    ];
    let run = workdir.mcsnap(&arguments(&nodes, &more));
    let (run, gate) = hold(run, &workdir, "*", 2);
    let child = run.spawn();
    wait_for_sealed(&workdir, 0, of_healthy + 2);
    dying.kill();
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr_of(&output));
    let report = report_of(&output);
    assert_eq!(report["nodes"][0]["stored"], KEY_COUNT);
    assert_eq!(report["nodes"][1]["stored"], 100 * of_dying);
    assert_eq!(report["kept_unconfirmed_records"], 100 * of_dying);
}

/// As without an earlier run, where no server was read to its end.
#[test]
fn an_earlier_run_of_which_nothing_is_left_makes_no_partial_snapshot() {
    let mut server = filled("k");
    let address = server.address();
    let workdir = Workdir::new("nothing-left");
    let run = workdir.mcsnap(&arguments(&[&address], &[]));
    let (mut child, _gate) = start_held(run, &workdir);
    child.kill().unwrap();
    child.wait().unwrap();
    let sealed = || {
        let mut files = segment_files(&workdir, "a");
        files.retain(|file| file.ends_with(".mcs"));
        files
    };
    let before = sealed();
    // Each has another CAS then.
    fill(&server, "k", KEY_COUNT);
    let run = workdir.mcsnap(&arguments(&[&address], &["--resume", "--allow-partial"]));
    let (run, gate) = hold(run, &workdir, "*", 2);
    let child = run.spawn();
    wait_until("segments of this run alone", || {
        let now = sealed();
        !now.is_empty() && now.iter().all(|file| !before.contains(file))
    });
    server.kill();
    gate.open();
    let output = child.wait_with_output().unwrap();
    let message = stderr_of(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("; pass --resume --name a to go on with "),
        "{message}"
    );
    assert!(!workdir.join("s/a/manifest.json").exists());
}
