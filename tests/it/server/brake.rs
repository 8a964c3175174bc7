//! How a job is held back: by limits, and for the sake of other clients.

use std::fs;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::memcached::Memcached;
use crate::harness::running_job::wait_until;
use crate::harness::signals::signal;
use crate::harness::workdir::Workdir;

fn stats(items: usize, gets: u64) -> Step {
    Step::reply(format!(
        "STAT pid 1\r\nSTAT uptime 1000\r\nSTAT time 1700000000\r\nSTAT version 1.6.18\r\n\
         STAT curr_items {items}\r\nSTAT cmd_get {gets}\r\nSTAT cmd_set 0\r\nEND\r\n"
    ))
}

/// Whether a server counts commands of others.
#[derive(Clone, Copy, PartialEq)]
enum Others {
    None,
    Some,
}

/// The rules of a server with so many items, after those of the test.
fn rules(first: impl Into<Vec<Rule>>, items: usize, others: Others) -> Vec<Rule> {
    let settings = "STAT item_size_max 1048576\r\nSTAT cas_enabled yes\r\nEND\r\n";
    let lines: String = (0..items)
        .map(|at| format!("key=key:{at} exp=-1 la=1699999999 cas=5 fetch=no cls=1 size=64\n"))
        .collect();
    let turns: Vec<Vec<Step>> = match others {
        Others::None => vec![vec![stats(items, 0)]],
        // More than any test asks for between two looks.
        Others::Some => (0..2000)
            .map(|turn| vec![stats(items, turn * 1_000_000)])
            .collect(),
    };
    let mut rules: Vec<Rule> = first.into();
    rules.extend([
        Rule::new("stats settings", [Step::reply(settings)]),
        Rule::in_turn("stats", turns),
        Rule::new("version", [Step::reply("VERSION 1.6.18\r\n")]),
        Rule::new(
            "lru_crawler metadump 0",
            [Step::reply("BADCLASS invalid class id\r\n")],
        ),
        Rule::new(
            "lru_crawler metadump",
            [Step::reply(format!("{lines}END\r\n"))],
        ),
        Rule::new("mg ", [Step::reply("VA 1 f7 t-1 c5 O?\r\nv\r\n")]),
        Rule::new("mn", [Step::reply("MN\r\n")]),
    ]);
    rules
}

/// The sizes of all batches that a server was asked for, connection by connection.
fn batches(server: &FakeServer) -> Vec<Vec<usize>> {
    let connections = server.received();
    let sizes = connections.iter().map(|bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let batches: Vec<&str> = text.split("mn\r\n").collect();
        let sizes = batches.iter().map(|batch| batch.matches("mg key:").count());
        sizes.filter(|size| *size > 0).collect::<Vec<usize>>()
    });
    sizes.filter(|sizes| !sizes.is_empty()).collect()
}

/// Dumps a server, which must give all its items; returns the report.
fn dump(server: &FakeServer, items: usize, more: &[&str]) -> Value {
    let workdir = Workdir::new("brake");
    let address = server.address();
    let mut arguments = vec!["dump", "--to", "s", "--name", "a", "--format", "json", "-q"];
    arguments.push(&address);
    arguments.extend(more);
    let output = workdir.mcsnap(&arguments).succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["stored"], items, "{report}");
    report
}

#[test]
fn full_speed_asks_for_whole_batches_and_sends_no_probes() {
    let items = 3000;
    let server = FakeServer::ruled(rules([], items, Others::Some));
    let report = dump(&server, items, &["--full-speed", "--connections=1"]);
    assert_eq!(batches(&server)[0][0], 1024);
    let all = server.received().concat();
    let probes = String::from_utf8_lossy(&all).matches("version\r\n").count();
    // Those that found out what the server is.
    assert!(probes <= 1, "{probes}");
    assert_eq!(report["brake"][0]["braked_ms"], 0);
}

#[test]
fn a_job_begins_carefully_and_never_asks_for_much_at_once() {
    let items = 3000;
    let server = FakeServer::ruled(rules([], items, Others::Some));
    // So that the server is looked at several times.
    let report = dump(
        &server,
        items,
        &["--items-per-second=3000", "--connections=2"],
    );
    let brake = &report["brake"][0];
    assert!(brake["commands_of_others"].as_u64() > Some(0), "{report}");
    assert!(brake["in_flight_min"].as_u64() > Some(0), "{report}");
    assert!(brake["quiet_p50_p99_us"].is_array(), "{report}");
    assert!(brake["no_probes"].is_null(), "{report}");
    let batches = batches(&server);
    for sizes in &batches {
        // Nobody can have looked before 512 items were there.
        let mut seen = 0;
        for size in sizes {
            assert!(*size <= if seen < 256 { 32 } else { 256 }, "{batches:?}");
            seen += size;
        }
    }
}

#[test]
fn a_server_that_nobody_else_uses_is_asked_for_as_much_as_it_likes() {
    let items = 4000;
    let server = FakeServer::ruled(rules([], items, Others::None));
    // 200 items at a time would go at this rate; 32 go where one is careful.
    let report = dump(
        &server,
        items,
        &["--items-per-second=4000", "--connections=1"],
    );
    assert_eq!(report["brake"][0]["commands_of_others"], 0, "{report}");
    assert_eq!(report["brake"][0]["braked_ms"], 0, "{report}");
    let batches = batches(&server);
    assert_eq!(batches[0].iter().max(), Some(&200), "{batches:?}");
}

#[test]
fn without_a_connection_for_probes_a_job_goes_on_and_says_so() {
    let items = 2000;
    let gone = [
        Step::reply("ERROR Too many open connections\r\n"),
        Step::Close,
    ];
    let server = FakeServer::ruled(rules([Rule::new("version", gone)], items, Others::Some));
    let workdir = Workdir::new("blind");
    let address = server.address();
    let output = workdir
        .mcsnap(&[
            "dump",
            "--to=s",
            "--name=a",
            "-q",
            "--items-per-second=2000",
            &address,
        ])
        .succeeds();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = "no connection tells how long the server's other clients wait, so it is gone on with \
                 at 10000 items/s at most";
    assert!(errors.contains(words), "{errors}");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = "at most 10,000 items/s, since there was no connection for probes";
    assert!(report.contains(row), "{report}");
    assert!(report.contains("2,000 stored"), "{report}");
}

#[test]
fn a_job_that_lost_its_probes_gets_them_back() {
    let items = 6000;
    let gone = vec![Step::Close];
    let answer = vec![Step::reply("VERSION 1.6.18\r\n")];
    let version = Rule::in_turn("version", [gone, answer]);
    let server = FakeServer::ruled(rules([version], items, Others::Some));
    // So that the job outlives the pause before it asks for a connection again.
    let report = dump(&server, items, &["--items-per-second=1000"]);
    let brake = &report["brake"][0];
    assert!(brake["no_probes"].is_string(), "{report}");
    let blind = brake["no_probes_ms"].as_u64();
    assert!(blind >= Some(3000), "{report}");
    assert!(blind < report["elapsed_ms"].as_u64(), "{report}");
    assert!(brake["braked_ms"].as_u64() > Some(0), "{report}");
    assert!(brake["quiet_p50_p99_us"].is_array(), "{report}");
}

#[test]
fn a_walk_is_read_at_full_speed_whatever_the_limits() {
    // More than the buffers of two sockets hold.
    let items = 300_000;
    let is_read = Arc::new(AtomicBool::new(false));
    let mut rules = rules([], items, Others::None);
    let walk = rules.len() - 3;
    let lines: String = (0..items)
        .map(|at| format!("key=key:{at} exp=-1 la=1699999999 cas=5 fetch=no cls=1 size=64\n"))
        .collect();
    rules[walk] = Rule::new(
        "lru_crawler metadump",
        [
            Step::reply(format!("{lines}END\r\n")),
            Step::Raise(Arc::clone(&is_read)),
        ],
    );
    let server = FakeServer::ruled(rules);
    let workdir = Workdir::new("walk");
    let address = server.address();
    let mut child = workdir
        .mcsnap(&[
            "dump",
            "--to=s",
            "--name=a",
            "-q",
            "--items-per-second=1",
            &address,
        ])
        .spawn();
    wait_until("the end of the walk", || is_read.load(Ordering::SeqCst));
    let asked: usize = batches(&server).concat().iter().sum();
    // No test waits as long as two minutes.
    assert!(asked < 120, "{asked}");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

/// A server with so many items of some bytes.
fn filled(count: usize, len: usize) -> Memcached {
    let server = Memcached::start_with(&["-m", "256", "-I", "16m"]);
    let items = (0..count).map(|at| Item::new(format!("key:{at}"), vec![b'v'; len]));
    server.client().load(items);
    server
}

#[test]
fn a_signal_has_the_limits_of_the_file_taken_over() {
    let items = 5000;
    let server = filled(items, 10);
    let workdir = Workdir::new("reload");
    let write = |text: &str| {
        // In one step, as an editor does it.
        fs::write(workdir.join("new.yaml"), text).unwrap();
        fs::rename(workdir.join("new.yaml"), workdir.join("c.yaml")).unwrap();
    };
    write("dump:\n  items-per-second: 1\n");
    let address = server.address();
    let mut child = workdir
        .mcsnap(&[
            "dump",
            "--to=s",
            "--name=a",
            "--config=c.yaml",
            "--progress=json",
            &address,
        ])
        .spawn();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next_with = |what: &str| {
        let found = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains(what));
        found.unwrap_or_else(|| panic!("no line with {what}"))
    };
    next_with("\"started\"");
    write("dump: [\n");
    signal(&child, "USR1");
    next_with("SIGUSR1: the limits stay as they are: c.yaml: not YAML");
    write("dump:\n  items-per-second: 10\n  node-items-per-second: 20\n");
    signal(&child, "USR1");
    next_with("node-items-per-second \"20\": is above items-per-second, 10");
    write("dump:\n  items-per-second: 1M\n  connections: 99\n  latency-bound: none\n");
    signal(&child, "USR1");
    next_with("SIGUSR1: latency-bound and full-speed stay as they were");
    let told = next_with("\"limits\"");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["limits"]["items_per_second"], 1_000_000, "{told}");
    // It would take more than an hour at the rate of the beginning.
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("5,000 stored"));
}

#[test]
fn a_signal_without_a_file_changes_nothing_and_ends_nothing() {
    let go_on = Arc::new(AtomicBool::new(false));
    let value = [
        Step::Await(Arc::clone(&go_on)),
        Step::reply("VA 1 f7 t-1 c5 O?\r\nv\r\n"),
    ];
    let server = FakeServer::ruled(rules([Rule::new("mg ", value)], 100, Others::None));
    let workdir = Workdir::new("no-file");
    let address = server.address();
    let mut child = workdir
        .mcsnap(&["dump", "--to=s", "--name=a", "--progress=lines", &address])
        .spawn();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("started"));
    signal(&child, "USR1");
    let words =
        "SIGUSR1: the limits stay as they are: there is no configuration file; --config names one";
    assert!(lines.any(|line| line.unwrap().contains(words)));
    go_on.store(true, Ordering::SeqCst);
    assert!(child.wait().unwrap().success());
}

#[test]
fn limits_hold_for_a_dump_and_a_restore_and_a_large_value_is_no_slow_server() {
    let (source, sink) = (filled(400, 100), filled(0, 0));
    let large = vec![b'l'; 6 << 20];
    source.client().set("large", 0, 0, &large);
    let workdir = Workdir::new("limits");
    let elapsed = |arguments: &[&str], least_ms: u64| {
        let output = workdir
            .mcsnap(arguments)
            .arg("--format=json")
            .arg("-q")
            .succeeds();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["stored"], 401, "{report}");
        let took = report["elapsed_ms"].as_u64().unwrap();
        assert!(took >= least_ms, "{arguments:?}: {took} ms");
    };
    let (from, to) = (source.address(), sink.address());
    // 401 items at 500 a second; the last batch of 25 waits for those before it.
    elapsed(
        &[
            "dump",
            "--to=s",
            "--name=a",
            "--items-per-second=500",
            &from,
        ],
        550,
    );
    // 6 MiB at 2 MiB a second, of which 100 ms may be there at the start. The server, which
    // may be late itself, has less time to answer.
    let rate = "--bytes-per-second=2MiB";
    elapsed(
        &["dump", "--to=s", "--name=b", "--timeout=2s", rate, &from],
        2400,
    );
    let to = format!("--to={to}");
    elapsed(&["restore", "s/a", &to, "--timeout=2s", rate], 2400);
    elapsed(
        &[
            "restore",
            "s/a",
            &to,
            "--mode=set",
            "--node-items-per-second=500",
        ],
        550,
    );
    assert_eq!(sink.client().get("large").unwrap().1, large);
}

#[test]
fn values_that_are_read_and_dropped_count_for_the_limit_of_bytes() {
    // The walk tells no flags, so every value is read.
    let items = 60;
    let value = "v".repeat(100_000);
    let reply = Step::reply(format!("VA 100000 f7 t-1 c5 O?\r\n{value}\r\n"));
    let lines: String = (0..items)
        .map(|at| format!("key=key:{at} exp=-1 la=1699999999 cas=5 fetch=no cls=1 size=100064\n"))
        .collect();
    let walk = Rule::new(
        "lru_crawler metadump hash",
        [Step::reply(format!("{lines}END\r\n"))],
    );
    let server = FakeServer::ruled(rules(
        [Rule::new("mg ", [reply]), walk],
        items,
        Others::None,
    ));
    let workdir = Workdir::new("dropped");
    let output = workdir
        .mcsnap(&["dump", "--to=s", "--name=a", "--select=flags=2", "-q"])
        .arg("--bytes-per-second=4MiB")
        .arg("--format=json")
        .arg(server.address())
        .succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["filtered"], items, "{report}");
    // 5.7 MiB at 4 MiB a second, of which 100 ms may be there at the start.
    assert!(report["elapsed_ms"].as_u64() > Some(1200), "{report}");
}

#[test]
fn a_dry_run_tells_how_the_job_will_be_held_back() {
    let server = filled(1, 1);
    let workdir = Workdir::new("dry");
    let address = server.address();
    let dry = |more: &[&str]| {
        let output = workdir
            .mcsnap(&["dump", "--to=s", "--dry-run", &address])
            .arg("--format=json");
        let output = more
            .iter()
            .fold(output, |run, flag| run.arg(flag))
            .succeeds();
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["brake"].clone()
    };
    assert_eq!(dry(&[])["latency_bound_us"], 1000);
    let plan = dry(&["--latency-bound=2ms", "--node-bytes-per-second=5MB"]);
    assert_eq!(plan["latency_bound_us"], 2000);
    assert_eq!(plan["node_bytes_per_second"], 5_000_000);
    assert!(dry(&["--full-speed"])["latency_bound_us"].is_null());
}

#[test]
fn limits_that_are_none_are_refused() {
    let workdir = Workdir::new("bad-limits");
    for (flags, message) in [
        (
            &["--items-per-second=0"][..],
            "items-per-second \"0\": wanted items a second, at least 1, such as 500, 50k or 2M",
        ),
        (
            &["--node-items-per-second=many"],
            "node-items-per-second \"many\": wanted items a second, at least 1, such as 500, 50k or 2M",
        ),
        (
            &["--bytes-per-second=0"],
            "bytes-per-second \"0\": wanted bytes a second with their unit, at least 1KiB, such as 10MiB",
        ),
        (
            &["--bytes-per-second=1000000"],
            "bytes-per-second \"1000000\": wanted bytes a second with their unit, at least 1KiB, such as \
             10MiB",
        ),
        (
            &["--latency-bound=1"],
            "latency-bound \"1\": wanted none, or a length of time from 100us to 10s, such as 1ms",
        ),
        (
            &["--node-bytes-per-second=2MiB", "--bytes-per-second=1MiB"],
            "node-bytes-per-second \"2MiB\": is above bytes-per-second, 1MiB, which is for all servers \
             together",
        ),
        (
            &["--full-speed", "--latency-bound=1ms"],
            "--full-speed and --latency-bound contradict each other; leave one out",
        ),
    ] {
        for command in [
            &["dump", "--to=s", "127.0.0.1:1"][..],
            &["restore", "s/a", "--to=127.0.0.1:1"],
        ] {
            let output = flags
                .iter()
                .fold(workdir.mcsnap(command), |run, flag| run.arg(flag));
            let output = output.arg("-q").exits(2);
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(errors, format!("mcsnap: {message}\n"));
        }
    }
    assert!(!workdir.join("s").exists());
}
