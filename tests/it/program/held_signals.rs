//! SIGTSTP and its like in the middle of a walk: the process stops when that is over.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::running_job::wait_until;
use crate::harness::signals::send_signal;
use crate::harness::workdir::Workdir;

/// The state of a process, as `ps` shows it.
fn state_of(pid: u32) -> char {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    rest.chars().next().unwrap()
}

/// Whether a signal was sent to the process and has not acted.
fn is_pending(pid: u32, signal: i32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = text.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask & (1 << (signal - 1)) != 0
}

/// A server with one key, `a`, that plays these steps for a walk and for the key.
fn fake_server(walk: impl Into<Vec<Step>>, get: impl Into<Vec<Step>>) -> FakeServer {
    let stats = "STAT pid 1\r\nSTAT uptime 10\r\nSTAT time 1700000000\r\n\
                 STAT version 1.6.18\r\nSTAT curr_items 1\r\nEND\r\n";
    let settings = "STAT item_size_max 1048576\r\nSTAT cas_enabled yes\r\nEND\r\n";
    let classes = "STAT items:1:number 1\r\nEND\r\n";
    let no_class = "BADCLASS invalid class id\r\n";
    FakeServer::ruled([
        Rule::new("stats settings", [Step::reply(settings)]),
        Rule::new("stats items", [Step::reply(classes)]),
        Rule::new("stats", [Step::reply(stats)]),
        Rule::new("lru_crawler metadump 0", [Step::reply(no_class)]),
        Rule::new("lru_crawler metadump hash", walk),
        Rule::new("mg a", get),
        Rule::new("mn", [Step::reply("MN\r\n")]),
    ])
}

#[test]
fn a_process_stops_when_its_walk_is_over_and_goes_on_from_there() {
    for (signal, name) in [(20, "TSTP"), (21, "TTIN"), (22, "TTOU")] {
        let flag = || Arc::new(AtomicBool::new(false));
        let (is_walked, may_end, may_answer) = (flag(), flag(), flag());
        let server = fake_server(
            [
                Step::reply("key=a exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n"),
                Step::Raise(Arc::clone(&is_walked)),
                Step::Await(Arc::clone(&may_end)),
                Step::reply("END\r\n"),
            ],
            // The dump cannot come to its end before the process has stopped.
            [Step::Await(Arc::clone(&may_answer)), Step::reply("EN\r\n")],
        );
        let workdir = Workdir::new("held");
        let dump = ["dump", &server.address(), "--to=s", "--name=a", "-q"];
        let child = workdir.mcsnap(&dump).own_group().spawn();
        let pid = child.id();
        wait_until("the walk", || is_walked.load(Ordering::SeqCst));
        send_signal(pid, name);
        assert!(is_pending(pid, signal) && state_of(pid) != 'T');
        // One that is taken back does nothing.
        send_signal(pid, "CONT");
        wait_until("the end of it", || !is_pending(pid, signal));
        send_signal(pid, name);
        assert!(is_pending(pid, signal) && state_of(pid) != 'T');
        may_end.store(true, Ordering::SeqCst);
        wait_until("the stop", || state_of(pid) == 'T');
        may_answer.store(true, Ordering::SeqCst);
        send_signal(pid, "CONT");
        let output = child.wait_with_output().unwrap();
        // The one key has gone meanwhile, by the script.
        assert_eq!(output.status.code(), Some(0), "{name} {output:?}");
    }
}

/// Nothing is held while nothing is walked.
#[test]
fn a_process_that_walks_nothing_stops_at_once() {
    let server = FakeServer::scripted([vec![Step::Hang]]);
    let workdir = Workdir::new("stops");
    let locate = ["ring", "locate", "a", "--ring=modula", "--nodes"];
    let endpoint = format!("cfg:{}", server.address());
    let mut child = workdir
        .mcsnap(&[&locate[..], &[&endpoint]].concat())
        .own_group()
        .spawn();
    let pid = child.id();
    wait_until("the question", || !server.received().is_empty());
    send_signal(pid, "TSTP");
    wait_until("the stop", || state_of(pid) == 'T');
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Some versions crash where a client goes away in the middle of a walk.
#[test]
fn a_walk_that_is_interrupted_is_read_to_its_end() {
    let flag = || Arc::new(AtomicBool::new(false));
    let (is_walked, may_go_on, is_read) = (flag(), flag(), flag());
    let line = "key=a exp=-1 la=1 cas=1 fetch=no cls=1 size=60\n";
    // Far more than sockets hold.
    let rest = line.repeat((32 << 20) / line.len());
    let server = fake_server(
        [
            Step::reply(line),
            Step::Raise(Arc::clone(&is_walked)),
            Step::Await(Arc::clone(&may_go_on)),
            Step::reply(rest),
            Step::reply("END\r\n"),
            Step::Raise(Arc::clone(&is_read)),
        ],
        [Step::reply("EN\r\n")],
    );
    let workdir = Workdir::new("interrupted");
    let dump = ["dump", &server.address(), "--to=s", "--timeout=50s", "-q"];
    let mut child = workdir.mcsnap(&dump).spawn();
    wait_until("the walk", || is_walked.load(Ordering::SeqCst));
    send_signal(child.id(), "INT");
    // A silence is no reason to go away.
    let silence = Instant::now() + Duration::from_secs(2);
    while Instant::now() < silence {
        assert_eq!(child.try_wait().unwrap(), None);
        thread::sleep(Duration::from_millis(10));
    }
    may_go_on.store(true, Ordering::SeqCst);
    wait_until("the end of the walk", || is_read.load(Ordering::SeqCst));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
