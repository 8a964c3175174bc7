//! The log: events that a program reads, and lines that the journal sorts.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::{PROGRAM, Workdir, clear_settings};

fn log(workdir: &Workdir) -> Vec<Value> {
    let text = fs::read_to_string(workdir.join("log")).unwrap();
    let read = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(read).collect()
}

fn events<'a>(log: &'a [Value], name: &str) -> Vec<&'a Value> {
    log.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn each_event_says_of_which_run_it_is() {
    let servers = [Memcached::start(), Memcached::start()];
    for server in &servers {
        server
            .client()
            .load((0..30).map(|at| Item::new(format!("k:{at}"), "v")));
    }
    let addresses = servers.each_ref().map(Memcached::address);
    let workdir = Workdir::new("event-log");
    workdir
        .mcsnap(&[
            "dump",
            "--to",
            "s",
            "--name=a",
            "--log-file=log",
            &addresses[0],
            &addresses[1],
        ])
        .succeeds();
    let first = log(&workdir);
    let id = &first[0]["run_id"];
    for event in &first {
        assert_eq!((&event["run_id"], &event["command"]), (id, &"dump".into()));
        assert_eq!(event["version"], env!("CARGO_PKG_VERSION"));
        assert!(event["pid"].is_u64() && event["time"].is_string() && event["level"].is_string());
    }
    assert_eq!(first[0]["event"], "start");
    assert_eq!(first[0]["settings"]["name"]["value"], "a");
    assert_eq!(first[0]["settings"]["nodes"]["origin"], "argument");
    assert_eq!(first[0]["global_settings"]["log-file"]["value"], "log");
    for (name, items) in [("node_started", "items_total"), ("node_finished", "items")] {
        let of_nodes = events(&first, name);
        let mut nodes: Vec<&str> = of_nodes
            .iter()
            .map(|e| e["node"].as_str().unwrap())
            .collect();
        nodes.sort_unstable();
        let mut wanted: Vec<&str> = addresses.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        assert_eq!(nodes, wanted);
        assert!(
            of_nodes.iter().all(|event| event[items] == 30),
            "{of_nodes:?}"
        );
    }
    let report = &events(&first, "report")[0]["report"];
    assert_eq!((&report["stored"], &report["run_id"]), (&60.into(), id));
    let end = first.last().unwrap();
    assert_eq!(
        (&end["event"], &end["exit_code"]),
        (&"end".into(), &0.into())
    );
    assert!(end["error"].is_null());

    // A second run, of which all fails, is told from the first.
    workdir
        .mcsnap(&[
            "dump",
            "--to",
            "s",
            "--name=a",
            "--log-file=log",
            &addresses[0],
        ])
        .exits(2);
    let both = log(&workdir);
    let second = &both[first.len()..];
    assert!(second.iter().all(|event| event["run_id"] != *id));
    let end = second.last().unwrap();
    assert_eq!(
        (&end["level"], &end["exit_code"]),
        (&"error".into(), &2.into())
    );
    assert!(end["error"].as_str().unwrap().contains("already exists"));
    assert_eq!(events(second, "report")[0]["report"]["verdict"], "failed");
}

#[test]
fn each_finding_is_an_event_with_code_and_place() {
    let server = Memcached::start();
    server
        .client()
        .load((0..500).map(|at| Item::new(format!("k:{at}"), "value")));
    let workdir = Workdir::new("finding-log");
    let dump = [
        "dump",
        "--to",
        "s",
        "--name=a",
        "--shards=1",
        &server.address(),
    ];
    workdir.mcsnap(&dump).succeeds();
    let segments = fs::read_dir(workdir.join("s/a/segments")).unwrap();
    let segment = segments.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&segment, bytes).unwrap();
    let verify = ["verify", "s/a", "--deep", "--log-file=log", "--format=json"];
    let output = workdir.mcsnap(&verify).exits(3);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let log = log(&workdir);
    let found = events(&log, "finding");
    assert_eq!(found.len(), report["findings"].as_array().unwrap().len());
    let errors: Vec<_> = found
        .iter()
        .filter(|finding| finding["level"] == "error")
        .collect();
    assert!(!errors.is_empty());
    for finding in errors {
        assert!(
            finding["code"].as_str().unwrap().starts_with("MCS"),
            "{finding}"
        );
        let object = finding["location"]["object"].as_str().unwrap();
        assert!(object.contains("/segments/"), "{finding}");
    }
    assert_eq!(log.last().unwrap()["exit_code"], 3);
}

#[test]
fn lines_for_the_journal_begin_with_their_priority() {
    let workdir = Workdir::new("journal");
    let server = Memcached::start();
    let address = server.address();
    let said = |arguments: &[&str], stream: &dyn Fn(&File) -> String| {
        let file = File::create(workdir.join("stderr")).unwrap();
        let mut command = Command::new(PROGRAM);
        clear_settings(&mut command)
            .current_dir(workdir.path())
            .args(arguments)
            .env("JOURNAL_STREAM", stream(&file))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        command.status().unwrap();
        fs::read_to_string(workdir.join("stderr")).unwrap()
    };
    let own = |file: &File| {
        let metadata = file.metadata().unwrap();
        format!("{}:{}", metadata.dev(), metadata.ino())
    };
    let failing = ["dump", "--to", "s", "127.0.0.1:1"];
    let lines = said(&failing, &own);
    assert!(
        lines.starts_with("<3>mcsnap: 127.0.0.1:1: cannot connect"),
        "{lines}"
    );
    let dump = ["dump", "--to", "s", "-v", "--ring=detect", &address];
    let lines = said(&dump, &own);
    assert!(lines.contains("<6>dump: started"), "{lines}");
    // The journal has a clock of its own.
    assert!(
        lines.contains("<6>no ring is recorded: one node needs none\n"),
        "{lines}"
    );
    assert!(lines.lines().all(|line| line.starts_with('<')), "{lines}");
    // That of a parent, and not ours.
    let lines = said(&failing, &|_| "1:1".to_owned());
    assert!(
        lines.starts_with("mcsnap: 127.0.0.1:1: cannot connect"),
        "{lines}"
    );
}

#[test]
fn a_quiet_restore_keeps_its_notes_for_the_report() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    // Newer ones can be given a CAS, and there is nothing to note.
    let is_old = server.version().as_str() < "1.6.27";
    let workdir = Workdir::new("quiet");
    let dump = ["dump", "--to", "s", "--name=a", &server.address()];
    workdir.mcsnap(&dump).succeeds();
    let note = "the CAS of 1 record is not restored on ";
    let restore = |more: &str| {
        let to = Memcached::start();
        let arguments = ["restore", "s/a", more, "--to", &to.address()];
        let output = workdir.mcsnap(&arguments).succeeds();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (report, said) = restore("-q");
    assert_eq!(said, "");
    assert_eq!(report.contains(note), is_old, "{report}");
    let (_, said) = restore("--progress=none");
    assert_eq!(said.contains(note), is_old, "{said}");
}
