//! A server that is not there yet, or has no connection left, is waited for; one that
//! will not do is not.

use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Output};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::memcached::{Memcached, own_host};
use crate::harness::running_job::wait_until;
use crate::harness::signals::signal;
use crate::harness::workdir::Workdir;

/// A running program of which stderr is read as it comes.
struct Watched {
    child: Child,
    errors: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Watched {
    fn start(workdir: &Workdir, arguments: &[&str]) -> Watched {
        let mut child = workdir.mcsnap(arguments).spawn();
        let stderr = child.stderr.take().unwrap();
        let errors = Arc::new(Mutex::new(String::new()));
        let reader = thread::spawn({
            let errors = Arc::clone(&errors);
            move || read_into(stderr, &errors)
        });
        Watched {
            child,
            errors,
            reader,
        }
    }

    /// Waits until stderr has so many times this text.
    fn wait_for(&self, text: &str, count: usize) {
        wait_until(text, || {
            self.errors.lock().unwrap().matches(text).count() >= count
        });
    }

    /// Returns what is on stdout, and on stderr.
    fn end(self, code: i32) -> (Output, String) {
        let output = self.child.wait_with_output().unwrap();
        self.reader.join().unwrap();
        let errors = self.errors.lock().unwrap().clone();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        (output, errors)
    }
}

fn read_into(mut stderr: ChildStderr, errors: &Mutex<String>) {
    let mut bytes = [0; 4096];
    while let Ok(len @ 1..) = stderr.read(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..len]).into_owned();
        errors.lock().unwrap().push_str(&text);
    }
}

/// The address of a server that is gone, and can come back at it.
fn gone_server() -> String {
    let mut server = Memcached::start_at(&own_host(), &[], &[]);
    server.kill();
    server.address()
}

fn start_again(address: &str) -> Memcached {
    let (host, port) = address.split_once(':').unwrap();
    Memcached::start_at(host, &["-p", port], &[])
}

fn fill(server: &Memcached, count: usize) {
    let items = (0..count).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
}

#[test]
fn a_dump_waits_for_a_server_that_starts_and_says_so_at_once() {
    let there = Memcached::start();
    fill(&there, 10);
    let address = gone_server();
    let workdir = Workdir::new("late-source");
    let there_too = there.address();
    let running = Watched::start(
        &workdir,
        &[
            "dump",
            "--to=s",
            "--name=a",
            "--wait-for-node=5m",
            "--progress=json",
            "--format=json",
            &there_too,
            &address,
        ],
    );
    running.wait_for(&format!("waiting up to 300s for {address}: "), 1);
    running.wait_for("\"event\":\"node_awaited\"", 1);
    let late = start_again(&address);
    // Its first items may come in time, and need not: it is a server like any other.
    let (output, errors) = running.end(0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "complete", "{report}");
    assert_eq!(report["nodes"][1]["node"], address.as_str());
    let event = errors
        .lines()
        .find(|line| line.contains("node_awaited"))
        .unwrap();
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!(event["node"], address.as_str());
    assert_eq!(event["limit_ms"], 300_000);
    let reason = event["reason"].as_str().unwrap();
    assert!(reason.starts_with("cannot connect: "), "{reason}");
    drop(late);
}

#[test]
fn a_restore_waits_for_a_server_that_starts() {
    let source = Memcached::start();
    fill(&source, 500);
    let workdir = Workdir::new("late-target");
    workdir
        .mcsnap(&["dump", "--to=s", "--name=a", &source.address()])
        .succeeds();
    let address = gone_server();
    let to = format!("{},{address}", source.address());
    let arguments = [
        "restore",
        "s/a",
        "--ring=modula",
        "--format=json",
        "--wait-for-node=5m",
        "--to",
        &to,
    ];
    let running = Watched::start(&workdir, &arguments);
    running.wait_for("waiting up to 300s for ", 1);
    let late = start_again(&address);
    let (output, _) = running.end(0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stored = report["nodes"][1]["stored"].as_u64().unwrap();
    assert!(stored > 0, "{report}");
    assert_eq!(late.client().stats("")["curr_items"], stored.to_string());
}

#[test]
fn many_servers_that_do_not_come_cost_one_wait() {
    let nodes: Vec<String> = (0..50).map(|_| gone_server()).collect();
    let workdir = Workdir::new("fifty-dead");
    let to = nodes.join(",");
    let source = Memcached::start();
    fill(&source, 1);
    workdir
        .mcsnap(&["dump", "--to=s", "--name=a", &source.address()])
        .succeeds();
    let dump: Vec<&str> = ["dump", "--to=s", "--wait-for-node=3s"]
        .into_iter()
        .chain(nodes.iter().map(String::as_str))
        .collect();
    let restore = [
        "restore",
        "s/a",
        "--ring=modula",
        "--wait-for-node=3s",
        "--to",
        &to,
    ];
    for arguments in [&dump[..], &restore[..]] {
        let started = Instant::now();
        let output = workdir.mcsnap(arguments).exits(1);
        // One after the other they would take 150 s.
        assert!(started.elapsed() < Duration::from_secs(75));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            errors.matches("waiting up to 3s for ").count(),
            50,
            "{errors}"
        );
        assert!(
            errors.contains("cannot connect (tried for 3s): "),
            "{errors}"
        );
    }
}

#[test]
fn a_server_at_its_limit_of_connections_is_waited_for() {
    let workdir = Workdir::new("full-server");
    let [from, to] = [(), ()].map(|()| Memcached::start_with(&["-c", "64"]));
    fill(&from, 100);
    workdir
        .mcsnap(&["dump", "--to=s", "--name=sound", &from.address()])
        .succeeds();
    let (wait, from, to) = ("--wait-for-node=5m", from.address(), to.address());
    let dump = ["dump", "--to=s", "--name=a", "--connections=1", wait, &from];
    let restore = ["restore", "s/sound", "--connections=1", wait, "--to", &to];
    let workdir = &workdir;
    thread::scope(|scope| {
        for (arguments, address) in [(&dump[..], &from), (&restore, &to)] {
            scope.spawn(move || check_full_server(workdir, arguments, address));
        }
    });
}

/// Runs a job while the server has as many connections as it takes, and then not.
fn check_full_server(workdir: &Workdir, arguments: &[&str], address: &str) {
    // The server accepts, says that it has too many, and hangs up.
    let connect = || {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut byte = [0];
        // It may have hung up already, and what it said be lost.
        let asked = stream.write_all(b"version\r\n");
        let answered = asked.and_then(|()| stream.read_exact(&mut byte));
        (answered.is_ok() && byte == *b"V").then_some(stream)
    };
    let mut held = Vec::new();
    while let Some(stream) = connect() {
        held.push(stream);
        assert!(held.len() < 1000, "the server takes any number");
    }
    let running = Watched::start(workdir, arguments);
    running.wait_for("server takes no more connections", 1);
    drop(held);
    running.end(0);
}

#[test]
fn what_will_not_pass_is_not_waited_for() {
    let workdir = Workdir::new("for-good");
    let web = FakeServer::ruled([Rule::new("", [Step::http_refusal(), Step::Close])]);
    let address = web.address().to_string();
    // It would be waited for longer than a test may run.
    workdir
        .mcsnap(&["dump", "--to=s", "--wait-for-node=1h", &address])
        .exits(2);
    let output = workdir
        .mcsnap(&["dump", "--to=s", "--wait-for-node=2h", "127.0.0.1:1"])
        .exits(2);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("wait-for-node \"2h\": wanted 0s, or"),
        "{errors}"
    );
}

#[test]
fn a_name_that_is_not_found_just_now_is_waited_for() {
    let workdir = Workdir::new("no-name");
    let node = "no-such-host.invalid:11211";
    let running = Watched::start(&workdir, &["dump", "--to=s", "--wait-for-node=1h", node]);
    running.wait_for("waiting up to 3600s for no-such-host", 1);
    signal(&running.child, "INT");
    running.end(130);
    let output = workdir
        .mcsnap(&["dump", "--to=s", "--wait-for-node=200ms", node])
        .exits(1);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.contains("cannot resolve (tried for 200ms)"),
        "{errors}"
    );
    // So is an endpoint that names the nodes.
    let endpoint = "cfg:no-such-host.invalid:11211";
    let output = workdir
        .mcsnap(&["dump", "--to=s", "--wait-for-node=200ms", endpoint])
        .exits(1);
    let errors = String::from_utf8_lossy(&output.stderr);
    let wanted = "configuration endpoint cfg:no-such-host.invalid:11211: cannot resolve (tried for";
    assert!(errors.contains(wanted), "{errors}");
}

#[test]
fn a_server_that_is_silent_is_waited_for() {
    let source = Memcached::start();
    fill(&source, 100);
    let address = source.address();
    let workdir = Workdir::new("silent-server");
    source.stop();
    let arguments = [
        "dump",
        "--to=s",
        "--timeout=1s",
        "--wait-for-node=5m",
        &address,
    ];
    let running = Watched::start(&workdir, &arguments);
    running.wait_for("no reply within 1 s", 1);
    source.resume();
    running.end(0);
}

#[test]
fn a_signal_ends_the_wait() {
    let address = gone_server();
    let workdir = Workdir::new("wait-stopped");
    let source = Memcached::start();
    fill(&source, 1);
    workdir
        .mcsnap(&["dump", "--to=s", "--name=a", &source.address()])
        .succeeds();
    let dump = ["dump", "--to=s", "--name=b", "--wait-for-node=1h", &address];
    let detect = [
        "dump",
        "--to=s",
        "--name=b",
        "--ring=detect",
        "--wait-for-node=1h",
        &source.address(),
        &address,
    ];
    let restore = ["restore", "s/a", "--wait-for-node=1h", "--to", &address];
    for arguments in [&dump[..], &detect[..], &restore[..]] {
        let running = Watched::start(&workdir, arguments);
        running.wait_for("waiting up to 3600s for ", 1);
        signal(&running.child, "INT");
        running.end(130);
    }
}
