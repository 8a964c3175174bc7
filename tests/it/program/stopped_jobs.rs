//! A job that is stopped says so at once, and reports what it did.

use std::io::{BufReader, Read as _};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::held_dump::hold;
use crate::harness::memcached::Memcached;
use crate::harness::running_job::{segment_files, stop_at_gate, wait_until};
use crate::harness::signals::signal;
use crate::harness::workdir::{Run, Workdir};
use crate::server::misbehaving_server::{line, rules, stats};

/// Takes a signal from its default on, whatever the tests themselves are to ignore.
const DEFAULTS: [&str; 2] = ["env", "--default-signal=HUP,INT,TERM"];

fn next_line(child: &mut Child) -> String {
    let stderr = child.stderr.as_mut().unwrap();
    let mut line = String::new();
    // One byte at a time, so that none of the next line is taken.
    for byte in BufReader::with_capacity(1, stderr).bytes() {
        line.push(char::from(byte.unwrap()));
        if line.ends_with('\n') {
            break;
        }
    }
    line
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(bytes));
    })
}

/// A server whose walk begins, and does not end before the flag is up.
pub(crate) fn walking_server(version: &str, more: Step) -> FakeServer {
    FakeServer::ruled(rules([
        Rule::new("stats\r", [Step::reply(stats(version, ""))]),
        Rule::new(
            "lru_crawler metadump hash",
            [Step::reply(line("a")), more, Step::reply("END\r\n")],
        ),
        Rule::new("mg ", [Step::Hang]),
    ]))
}

fn dump_of(workdir: &Workdir, server: &FakeServer) -> Run {
    let address = server.address();
    let arguments = [
        "dump",
        "--to",
        "s",
        "--name",
        "a",
        "--progress=none",
        &address,
    ];
    workdir.mcsnap_by(&DEFAULTS, arguments)
}

fn wait_for_walk(server: &FakeServer) {
    wait_until("the walk begins", || {
        let received = server.received().concat();
        String::from_utf8_lossy(&received).contains("metadump hash\r\n")
    });
}

#[test]
fn the_first_signal_is_answered_at_once_and_the_second_ends_the_program() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        // It says something all the time, so that its rest is read for long.
        let more = Step::Repeat(line("b").into_bytes(), Duration::from_millis(20));
        let server = walking_server("1.6.9", more);
        let workdir = Workdir::new("stopped-walk");
        let mut child = dump_of(&workdir, &server).arg("--format=json").spawn();
        wait_for_walk(&server);
        signal(&child, name);
        let told = next_line(&mut child);
        let wanted = format!(
            "mcsnap: stopping (SIG{name}): reading the walk of {} to the end, unless 10 s pass \
             in silence, and keeping what is sealed; a second SIG{name} ends at once, and can crash a server of \
             this version in the middle of a walk\n",
            server.address()
        );
        assert_eq!(told, wanted);
        // It came before what was awaited.
        assert!(child.try_wait().unwrap().is_none());
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!("mcsnap: ended at once by a second SIG{name}\n")
        );
        let report = json(&output.stdout);
        assert_eq!(report["schema"], "mcsnap.dump/1");
        assert_eq!(report["verdict"], "stopped");
        assert_eq!(report["exit_code"], code);
    }
}

/// A terminal that is closed sends one, and its shell another.
#[test]
fn a_second_end_of_the_terminal_changes_nothing() {
    let go_on = Arc::new(AtomicBool::new(false));
    let server = walking_server("1.6.9", Step::Await(Arc::clone(&go_on)));
    let workdir = Workdir::new("hung-up");
    let mut child = dump_of(&workdir, &server).spawn();
    wait_for_walk(&server);
    signal(&child, "HUP");
    let told = next_line(&mut child);
    assert!(told.contains("; a second SIGTERM ends at once"), "{told}");
    signal(&child, "HUP");
    go_on.store(true, Ordering::SeqCst);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "mcsnap: stopped by SIGHUP\n");
}

#[test]
fn a_stopped_dump_reports_what_was_read_and_what_is_kept() {
    const KEY_COUNT: usize = 8_000;
    for is_json in [true, false] {
        let server = Memcached::start();
        let value = |at: usize| vec![at.to_le_bytes()[0]; 1500];
        let items = (0..KEY_COUNT).map(|at| Item::new(format!("key:{at}"), value(at)));
        server.client().load(items);
        let address = server.address();
        let workdir = Workdir::new("stopped-report");
        let format = if is_json {
            "--format=json"
        } else {
            "--format=text"
        };
        let arguments = ["dump", "--to", "s", "--name=a", "--segment-size=1MiB"];
        let run = workdir
            .mcsnap_by(&DEFAULTS, arguments)
            .arg("--compression=none")
            .arg("--connections=1")
            .arg(format)
            .arg(&address);
        // One of the two writers has sealed one of them.
        let (run, gate) = hold(run, &workdir, "*", 2);
        let child = run.spawn();
        wait_until("a sealed segment", || {
            let files = segment_files(&workdir, "a");
            files.iter().any(|file| file.ends_with(".mcs"))
        });
        // What is not read yet is not read any more.
        server.stop();
        let output = stop_at_gate(child, &gate, "INT");
        server.resume();
        assert_eq!(output.status.code(), Some(130));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !is_json {
            assert!(
                text.contains("/s/a (stopped: there is no snapshot)\n"),
                "{text}"
            );
            assert!(text.contains(" items read"), "{text}");
            assert!(text.contains(", for --resume --name a\n"), "{text}");
            continue;
        }
        let report = json(&output.stdout);
        assert_eq!(report["verdict"], "stopped");
        assert_eq!(report["kind"], "canceled");
        assert_eq!(report["nodes"][0]["node"], address);
        let number = |value: &Value| value.as_u64().unwrap();
        let kept = number(&report["kept_records"]);
        assert!(kept > 0 && number(&report["kept_segments"]) > 0, "{report}");
        assert!(number(&report["nodes"][0]["read"]) >= kept, "{report}");
        assert_eq!(report["resume"], true);
        // It is what the next run finds.
        let arguments = [
            "dump", "--to", "s", "--name=a", "--resume", &address, format,
        ];
        let resumed = json(&workdir.mcsnap(&arguments).succeeds().stdout);
        assert_eq!(resumed["kept_records"], report["kept_records"]);
    }
}

#[test]
fn a_dump_that_fails_reports_what_was_read_of_each_node() {
    let whole = Memcached::start();
    let items = (0..50).map(|at| Item::new(format!("key:{at}"), "value"));
    whole.client().load(items);
    // Each is tried again and again before it fails.
    let first = &whole.address();
    thread::scope(|scope| {
        for is_json in [true, false] {
            scope.spawn(move || check_report_of_failed_dump(first, is_json));
        }
    });
}

fn check_report_of_failed_dump(first: &str, is_json: bool) {
    // It goes away in the middle of its walk.
    let cut = walking_server("1.6.18", Step::Close);
    let second = cut.address();
    let workdir = Workdir::new("failed-report");
    let format = if is_json {
        "--format=json"
    } else {
        "--format=text"
    };
    let dump = ["dump", "--to", "s", "--name=a", "--progress=none", format];
    let run = workdir.mcsnap(&dump).arg("--parallel-nodes=1");
    let output = run.arg(first).arg(&second).exits(1);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !is_json {
        assert!(
            text.contains("/s/a (failed: there is no snapshot)\n"),
            "{text}"
        );
        let read = format!("{first}  50 items read, 540 B, to its end\n");
        assert!(text.contains(&read), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let failed = lines.iter().find(|line| line.contains(&second)).unwrap();
        // The address is told once.
        assert_eq!(failed.matches(&second).count(), 1, "{text}");
        // It stays for the next try.
        assert!(text.contains("\nkept      50 records in "), "{text}");
        return;
    }
    let report = json(&output.stdout);
    assert_eq!(
        (&report["verdict"], &report["exit_code"]),
        (&"failed".into(), &1.into())
    );
    assert_eq!(report["node"], second);
    let nodes = &report["nodes"];
    assert_eq!(
        (&nodes[0]["read"], &nodes[0]["is_finished"]),
        (&50.into(), &true.into())
    );
    assert!(nodes[1]["failure"].is_string(), "{report}");
    assert_eq!(
        (&report["kept_records"], &report["resume"]),
        (&50.into(), &true.into())
    );
}

#[test]
fn a_stopped_restore_reports_what_was_sent_to_each_node() {
    const KEY_COUNT: u64 = 200;
    let source = Memcached::start();
    let items = (0..KEY_COUNT).map(|at| Item::new(format!("key:{at}"), "value"));
    source.client().load(items);
    let workdir = Workdir::new("stopped-restore");
    let dump = [
        "dump",
        "--to",
        "s",
        "--name=a",
        "--ring=modula",
        &source.address(),
    ];
    workdir.mcsnap(&dump).succeeds();
    for is_json in [true, false] {
        let target = Memcached::start();
        // One that takes sets, and does not say what came of them.
        let silent = FakeServer::ruled(rules([
            Rule::new("ms k S-1", [Step::reply("CLIENT_ERROR bad data chunk\r\n")]),
            Rule::new("ms ", [Step::Hang]),
        ]));
        let to = format!("{},{}", target.address(), silent.address());
        let format = if is_json {
            "--format=json"
        } else {
            "--format=text"
        };
        let arguments = [
            "restore",
            "s/a",
            "--ring=modula",
            "--timeout=1h",
            "--to",
            &to,
        ];
        let child = workdir.mcsnap_by(&DEFAULTS, arguments).arg(format).spawn();
        wait_until("some sets are sent to the silent one", || {
            let received = silent.received().concat();
            String::from_utf8_lossy(&received).contains("ms key:")
        });
        wait_until("the other one has something", || {
            target.client().stats("")["curr_items"] != "0"
        });
        signal(&child, "INT");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let notice = "mcsnap: stopping (SIGINT): sending nothing more, and reporting what was \
                      sent; a second SIGINT ends at once, without a report\n";
        assert!(told.contains(notice), "{told}");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !is_json {
            assert!(text.contains("s/a (stopped: "), "{text}");
            assert!(text.contains(&target.address()), "{text}");
            continue;
        }
        let report = json(&output.stdout);
        assert_eq!(report["verdict"], "stopped");
        let number = |value: &Value| value.as_u64().unwrap();
        assert_eq!(report["nodes"][1]["stored"], 0);
        // What it was sent before may be there; the rest is not.
        assert!(number(&report["nodes"][1]["unsure"]) > 0, "{report}");
        let names = [
            "stored", "existing", "failed", "unsure", "unsent", "not_sent",
        ];
        let sum: u64 = names.iter().map(|name| number(&report[*name])).sum();
        assert_eq!((sum, number(&report["records"])), (KEY_COUNT, KEY_COUNT));
    }
}
