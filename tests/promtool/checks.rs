//! Each text that Prometheus reads of us has nothing that its checker complains of.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Item;
use crate::memcached::Memcached;
use crate::signals::signal;
use crate::workdir::Workdir;

fn loaded(count: usize) -> Memcached {
    let server = Memcached::start();
    let items = (0..count).map(|at| Item::new(format!("k:{at}"), "value"));
    server.client().load(items);
    server
}

/// Its exit code is 3 where it has something to say, too.
fn assert_has_no_complaint(workdir: &Workdir, name: &str) {
    let promtool = workdir.run_of("promtool").arg("check").arg("metrics");
    let output = promtool.read_from(&workdir.join(name)).succeeds();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_file_of_every_job_and_of_a_failed_one_is_right() {
    let server = loaded(100);
    let target = Memcached::start();
    let workdir = Workdir::new("promtool-files");
    let (from, to) = (server.address(), target.address());
    let jobs: [(&str, &[&str]); 5] = [
        ("dump", &["dump", &from, "--to=s", "--name=a"]),
        ("verify", &["verify", "s/a", "--deep"]),
        ("restore", &["restore", "s/a", "--to", &to]),
        ("salvage", &["salvage", "s/a", "--to=t"]),
        ("repack", &["repack", "s/a", "--look-ups"]),
    ];
    for (name, arguments) in jobs {
        let file = format!("{name}.prom");
        let option = format!("--metrics-file={file}");
        workdir.mcsnap(arguments).arg(option).succeeds();
        assert_has_no_complaint(&workdir, &file);
    }
    let again = [
        "dump",
        &from,
        "--to=s",
        "--name=a",
        "--metrics-file=dump.prom",
    ];
    workdir.mcsnap(&again).exits(2);
    assert_has_no_complaint(&workdir, "dump.prom");
}

#[test]
fn what_a_running_dump_serves_is_right() {
    let server = loaded(20_000);
    let workdir = Workdir::new("promtool-served");
    let from = server.address();
    let arguments = [
        "dump",
        &from,
        "--to=s",
        "--name=a",
        "--metrics-addr=0",
        "--log-file=log",
        // It would take minutes.
        "--items-per-second=100",
    ];
    let child = workdir.mcsnap(&arguments).spawn();
    let deadline = Instant::now() + Duration::from_secs(60);
    let page = loop {
        assert!(Instant::now() < deadline, "no metrics are served");
        let log = fs::read_to_string(workdir.join("log")).unwrap_or_default();
        let place = log.split_once("http://").map(|(_, rest)| rest);
        let address = place.and_then(|rest| Some(rest.split_once("/metrics")?.0));
        let page = address.map(scrape).unwrap_or_default();
        // Those of a node come when it has begun.
        if page.contains("mcsnap_run_node_records_total{") {
            break page;
        }
        thread::sleep(Duration::from_millis(10));
    };
    fs::write(workdir.join("page"), page).unwrap();
    assert_has_no_complaint(&workdir, "page");
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn the_rules_of_the_readme_are_right() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, rest) = readme.split_once("```yaml\ngroups:\n").unwrap();
    let (rules, _) = rest.split_once("```").unwrap();
    let workdir = Workdir::new("promtool-rules");
    fs::write(workdir.join("rules.yaml"), format!("groups:\n{rules}")).unwrap();
    let promtool = workdir.run_of("promtool").arg("check").arg("rules");
    let output = promtool.arg("rules.yaml").succeeds();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("SUCCESS: 3 rules found"), "{said}");
    // Each metric that they name is one of ours.
    for word in rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if word.starts_with("mcsnap_") {
            assert!(readme.contains(&format!("| `{word}` |")), "{word}");
        }
    }
}
