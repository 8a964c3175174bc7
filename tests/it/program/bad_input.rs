//! Bad input gets one clear line that says what, where and what to do.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::certificates::Certificates;
use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// Runs the program, and compares its exit code and all it says on stderr.
fn check(workdir: &Workdir, arguments: &[&str], code: i32, message: &str) {
    let output = workdir.mcsnap(arguments).arg("--progress=none").exits(code);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("mcsnap: {message}\n")
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn servers_that_are_none() {
    let workdir = Workdir::new("no-servers");
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let refused = "cannot connect: Connection refused (os error 111)";
    check(
        &workdir,
        &["dump", "--to", "s", &closed],
        1,
        &format!("{closed}: {refused}"),
    );

    let web = FakeServer::scripted([vec![Step::http_refusal()]]);
    let address = web.address();
    let output = workdir
        .mcsnap(&["dump", "--to", "s", "-q", &address])
        .exits(2);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = format!(
        "mcsnap: {address}: wanted memcached statistics, got \"HTTP/1.1 400 Bad Request\\x0d\\x0a"
    );
    assert!(message.starts_with(&wanted), "{message}");
    assert_eq!(message.lines().count(), 1);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    check(
        &workdir,
        &["dump", "--to", "s", "--timeout", "300ms", &address],
        1,
        &format!("{address}: stats: no reply within 300 ms"),
    );

    check(
        &workdir,
        &["dump", "--to", "s", "no host:1"],
        2,
        "node \"no host:1\": wanted HOST[:PORT][=IP][*WEIGHT][@LABEL], such as 10.0.0.1:11211, \
         [::1]:11211 or mc1*2, or unix:PATH",
    );
    assert!(
        !workdir.join("s").exists(),
        "a failed dump has left a directory"
    );
}

#[test]
fn a_server_that_forbids_the_walk_is_told_so() {
    let server = Memcached::start_with(&["-X"]);
    let workdir = Workdir::new("forbidden");
    let address = server.address();
    check(
        &workdir,
        &["dump", "--to", "s", &address],
        2,
        &format!(
            "{address}: listing of keys is not supported: the server was started with -X, which \
             forbids it"
        ),
    );
}

#[test]
fn a_node_given_twice_and_a_ring_that_is_none() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let address = server.address();
    let workdir = Workdir::new("twice");
    check(
        &workdir,
        &["dump", "--to", "s", &address, &address],
        2,
        &format!("node \"{address}\": the node is given twice; its items would be dumped twice"),
    );
    workdir
        .mcsnap(&[
            "dump", "--to", "s", "--name", "a", "--ring", "modula", &address,
        ])
        .succeeds();
    check(
        &workdir,
        &["restore", "s/a", "--ring", "modulo", "--to", &address],
        2,
        "ring \"modulo\": there is modula; `mcsnap ring list` shows all",
    );
    check(
        &workdir,
        &["restore", "s/a", "--to", "127.0.0.1:1,127.0.0.1:2"],
        2,
        "ring \"\": wanted the rule by which the client places keys on 2 nodes; the snapshot records \
         modula: give --ring modula",
    );
    let twice = format!("{address},{address}");
    check(
        &workdir,
        &["restore", "s/a", "--ring", "modula", "--to", &twice],
        2,
        &format!("node \"{address}\": has the same address as node \"{address}\" before it"),
    );
}

#[test]
fn one_server_under_two_names() {
    let server = Memcached::start();
    let distant = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("names");
    let port = server.port();
    let names = [
        format!("127.0.0.1:{port}"),
        distant.address(),
        format!("127.0.0.2:{port}=127.0.0.1"),
    ];
    let nodes = names.each_ref().map(String::as_str);
    let message = format!(
        "node \"127.0.0.2:{port}\": it is the same server as {}; its items would be dumped twice; \
         leave one out",
        names[0]
    );
    let dump = ["dump", "--to", "s", "--allow-partial"];
    check(&workdir, &[&dump[..], &nodes].concat(), 2, &message);
    assert!(!workdir.join("s").exists());

    // Clients that come and go all the time: it is told, or said that it cannot be.
    let is_over = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                server.client().command("version");
            }
        });
        let run = workdir.mcsnap(&["dump", "--to", "s", "--dry-run", nodes[0], nodes[2]]);
        let output = run.run();
        is_over.store(true, Ordering::Relaxed);
        output
    });
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_warned = said.contains("may be one server, whose items would be dumped twice");
    assert!(is_warned || said.contains(&message), "{said}");
}

#[test]
fn two_servers_that_say_the_same_of_themselves() {
    let stats = "STAT pid 1\r\nSTAT uptime 10\r\nSTAT time 1700000000\r\nSTAT version 1.6.18\r\n\
                 STAT curr_items 1\r\nSTAT total_connections 7\r\nSTAT bytes_read 700\r\nEND\r\n";
    let twin = || {
        FakeServer::ruled([
            Rule::new("stats settings", [Step::reply("END\r\n")]),
            Rule::new("stats", [Step::reply(stats)]),
            Rule::new(
                "lru_crawler metadump 0",
                [Step::reply("BADCLASS invalid class id\r\n")],
            ),
        ])
    };
    let (one, other) = (twin(), twin());
    let workdir = Workdir::new("twins");
    let (one, other) = (one.address(), other.address());
    let output = workdir
        .mcsnap(&["dump", "--to", "s", "--dry-run", &one, &other])
        .succeeds();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Their clocks have stood still for years, and that is all there is to say.
    let is_of_clock = |line: &str| line.contains("WARN the clock of ");
    assert!(said.lines().all(is_of_clock), "{said}");
}

#[test]
fn places_that_hold_no_snapshot() {
    let workdir = Workdir::new("places");
    let root = workdir.path().canonicalize().unwrap().display().to_string();
    check(
        &workdir,
        &["verify", "gone"],
        1,
        &format!("snapshot {root}/gone does not exist"),
    );
    fs::create_dir(workdir.join("dir")).unwrap();
    fs::write(workdir.join("dir/file"), "x").unwrap();
    check(
        &workdir,
        &["verify", "dir"],
        2,
        &format!(
            "snapshot \"{root}/dir\": it has no manifest.json: no snapshot, a push or pull that \
             did not finish, or a dump that did not finish, of which mcsnap salvage makes a snapshot"
        ),
    );
    fs::create_dir(workdir.join("json")).unwrap();
    fs::write(workdir.join("json/manifest.json"), "{\"a\": 1}").unwrap();
    check(
        &workdir,
        &["restore", "json", "--to", "127.0.0.1:1"],
        2,
        &format!(
            "{root}/json/manifest.json: manifest \"\": its format is not mcsnap: this is not a \
             snapshot"
        ),
    );
    fs::create_dir(workdir.join("newer")).unwrap();
    let newer = "{\"format\": \"mcsnap\", \"version\": {\"major\": 2, \"minor\": 0}}";
    fs::write(workdir.join("newer/manifest.json"), newer).unwrap();
    check(
        &workdir,
        &["ls", "newer"],
        2,
        &format!("{root}/newer/manifest.json: format version 2.0: made by a newer mcsnap; upgrade"),
    );
}

#[test]
fn places_that_cannot_be_written() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let address = server.address();
    let workdir = Workdir::new("unwritable");
    let root = workdir.path().canonicalize().unwrap().display().to_string();
    // Below a file there is no directory, whoever asks; permissions would not
    // stop a test that runs as root.
    fs::write(workdir.join("file"), "").unwrap();
    let output = workdir
        .mcsnap(&["dump", "--to", "file/s", "-q", &address])
        .exits(1);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.starts_with(&format!("mcsnap: {root}/file")),
        "{message}"
    );
    assert!(
        message.ends_with("Not a directory (os error 20)\n"),
        "{message}"
    );

    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "a", &address])
        .succeeds();
    check(
        &workdir,
        &["dump", "--to", "s", "--name", "a", &address],
        2,
        &format!(
            "snapshot {root}/s/a already exists; pass another --name; it may have the date: night-%F"
        ),
    );
    check(
        &workdir,
        &["dump", "--to", "s", "--name", "../a", &address],
        2,
        "snapshot name \"../a\": wanted 1 to 200 letters, digits and ._-+=@: not starting with . \
         or -",
    );
    // What a killed dump has left is in the way, and is not touched.
    fs::create_dir_all(workdir.join("s/left/segments")).unwrap();
    fs::write(workdir.join("s/left/segments/x.mcs.partial"), "x").unwrap();
    check(
        &workdir,
        &["dump", "--to", "s", "--name", "left", &address],
        2,
        &format!(
            "{root}/s/left, with 1 file and no manifest, already exists; pass another --name; it may have the date: night-%F"
        ),
    );
    assert!(workdir.join("s/left/segments/x.mcs.partial").exists());
}

#[test]
fn flags_and_files_that_make_no_sense() {
    let workdir = Workdir::new("flags");
    check(
        &workdir,
        &["dump", "a:1"],
        2,
        "where should the snapshot go? pass --to DIR",
    );
    check(
        &workdir,
        &["verify"],
        2,
        "which snapshot? pass its directory, or DIR/latest for the newest complete one",
    );
    check(
        &workdir,
        &["restore", "s"],
        2,
        "which servers? pass --to HOST:PORT,...",
    );
    check(
        &workdir,
        &["dump", "--to", "s"],
        2,
        "which servers? pass HOST:PORT for each, or --nodes-file FILE",
    );
    check(
        &workdir,
        &["dump", "--to", "s", "a:1", "--segment-size", "10q"],
        2,
        "segment-size \"10q\": wanted a size of at least 1.0 MiB, such as 256MiB",
    );
    check(
        &workdir,
        &["dump", "--to", "s", "a:1", "--shards", "3"],
        2,
        "shards \"3\": wanted a power of two, 1 to 256",
    );
    check(
        &workdir,
        &["dump", "--to", "s", "a:1", "--compression", "lz4"],
        2,
        "compression \"lz4\": wanted none, or zstd:LEVEL with 1 to 22",
    );
    check(
        &workdir,
        &["dump", "--to", "ftp://bucket/x", "127.0.0.1:1"],
        2,
        "place \"ftp://bucket/x\": wanted a directory, or a URL such as s3://BUCKET/PREFIX, \
         gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///DIRECTORY",
    );
    fs::write(workdir.join("c.yaml"), "dump:\n  segment-sise: 1MiB\n").unwrap();
    let output = workdir
        .mcsnap(&["--config", "c.yaml", "dump", "a:1"])
        .exits(2);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted =
        "mcsnap: c.yaml: dump: unknown field `segment-sise`, expected one of `nodes`, `to`";
    assert!(message.starts_with(wanted), "{message}");
    assert_eq!(message.lines().count(), 1);
    check(
        &workdir,
        &["--config", "gone.yaml", "dump", "a:1"],
        2,
        "gone.yaml: cannot read: No such file or directory (os error 2)",
    );
    // A file without an end does not take all memory.
    check(
        &workdir,
        &["--config", "/dev/zero", "dump", "a:1"],
        2,
        "/dev/zero: longer than 4.0 MiB; this is no file of settings",
    );
    // clap's own: a flag that does not exist.
    workdir.mcsnap(&["dump", "--nonsense"]).exits(2);

    // What is understood only later is told with its place, too.
    for (yaml, told) in [
        ("dump: {timeout: 5}", "c.yaml: dump: timeout \"5\": wanted"),
        (
            "dump: {nodes: [a:1, 'b:x']}",
            "c.yaml: dump: node \"b:x\": wanted",
        ),
        (
            "dump: {select: ttl>}",
            "c.yaml: dump: select \"ttl>\": at the end",
        ),
        ("format: yml", "c.yaml: format \"yml\": wanted"),
    ] {
        fs::write(workdir.join("c.yaml"), yaml).unwrap();
        let mut arguments = vec!["dump", "--to=s", "--config=c.yaml"];
        arguments.extend((!yaml.contains("nodes")).then_some("127.0.0.1:1"));
        let output = workdir.mcsnap(&arguments).exits(2);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let wanted = format!("mcsnap: {told}");
        assert!(
            message.starts_with(&wanted) && message.lines().count() == 1,
            "{message}"
        );
    }
    let run = workdir.mcsnap(&["dump", "--to=s", "127.0.0.1:1"]);
    let output = run.env("MCSNAP_DUMP_CONNECTIONS", "0").exits(2);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let wanted = "mcsnap: MCSNAP_DUMP_CONNECTIONS: connections \"0\": wanted a number";
    assert!(message.starts_with(wanted), "{message}");
}

#[test]
fn files_that_flags_name_and_nobody_can_read() {
    let workdir = Workdir::new("unreadable");
    fs::create_dir(workdir.join("directory")).unwrap();
    fs::write(workdir.join("empty"), "").unwrap();
    let dump = ["dump", "--to", "s", "a:1"];
    let restore = ["restore", "s", "--to=a:1"];
    let absent = "No such file or directory (os error 2)";
    let directory = "cannot read: Is a directory (os error 21)";
    for (flag, operation) in [
        ("nodes-file", "open"),
        ("auth-file", "open"),
        ("tls-ca", "read"),
        ("tls-cert", "read"),
    ] {
        let tls: &[&str] = match flag {
            "tls-ca" => &["--tls"],
            "tls-cert" => &["--tls", "--tls-key=empty"],
            _ => &[],
        };
        for command in [&dump[..], &restore] {
            let refused = |path: &str, message: &str| {
                let given = format!("--{flag}={path}");
                let all = [command, tls, &[&given]].concat();
                check(&workdir, &all, 2, &format!("{flag} \"{path}\": {message}"));
            };
            refused("gone", &format!("cannot {operation}: {absent}"));
            refused("directory", directory);
        }
    }
    let files = Certificates::new();
    let certificate = format!("--tls-cert={}", files.path("client.pem"));
    let key = ["--tls", &certificate, "--tls-key=gone"];
    let message = format!("tls-key \"gone\": cannot read: {absent}");
    check(&workdir, &[&dump[..], &key].concat(), 2, &message);
    let message = format!("warm-file \"gone\": cannot open: {absent}");
    check(
        &workdir,
        &["dump", "--to", "s", "--warm-file=gone"],
        2,
        &message,
    );
    fs::create_dir(workdir.join("empty.meta")).unwrap();
    check(
        &workdir,
        &["dump", "--to", "s", "--warm-file=empty"],
        2,
        &format!("warm-file \"empty.meta\": {directory}"),
    );
}

#[test]
fn a_spool_that_cannot_be_made_is_told_before_the_dump() {
    let server = Memcached::start();
    let address = server.address();
    let workdir = Workdir::new("spool");
    fs::write(workdir.join("file"), "").unwrap();
    for (place, reason) in [
        ("gone", "No such file or directory (os error 2)"),
        ("file", "Not a directory (os error 20)"),
    ] {
        let spool = format!("--spool-dir={place}");
        check(
            &workdir,
            &["dump", "--to", "s", &spool, &address],
            2,
            &format!("spool-dir \"{place}\": no temporary file can be made in it: {reason}"),
        );
    }
    assert!(!workdir.join("s").exists());
    workdir
        .mcsnap(&["dump", "--to", "s", "-q", "--spool-dir=.", &address])
        .succeeds();
}

#[test]
fn a_log_that_cannot_be_written_is_told_at_the_end() {
    let server = Memcached::start();
    let address = server.address();
    let workdir = Workdir::new("log");
    let dump = ["dump", "--to", "s", "-q", &address, "--log-file"];
    let lacks = "mcsnap: /dev/full: the log is not whole: No space left on device (os error 28)\n";
    let said = |to: &str, code| {
        let run = workdir.mcsnap(&dump).arg(to);
        let output = run.exits(code);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let message = said("/dev/full", 0);
    assert!(message.ends_with(lacks), "{message}");
    assert_eq!(message.matches("not whole").count(), 1);
    let message = said("log", 0);
    assert!(!message.contains("not whole"), "{message}");
    drop(server);
    let message = said("/dev/full", 1);
    assert!(message.ends_with(lacks), "{message}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let server = Memcached::start();
    server
        .client()
        .load((0..10).map(|at| Item::new(format!("key:{at}"), "v")));
    let workdir = Workdir::new("pipe");
    let program = env!("CARGO_BIN_EXE_mcsnap");
    // `true` reads nothing, so the page meets a closed pipe.
    let script = format!("set -o pipefail; '{program}' man | true");
    let status = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(workdir.path())
        .status()
        .unwrap();
    assert!(status.success());
}
