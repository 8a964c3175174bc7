//! What Prometheus sees of a run: the file that it leaves, and what it serves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::client::Item;
use crate::harness::fault::Gate;
use crate::harness::held_dump::hold;
use crate::harness::memcached::Memcached;
use crate::harness::running_job::{
    RaiseOnDrop, SlowRestore, segment_files, stop_at_gate, wait_until,
};
use crate::harness::workdir::{Run, Workdir};

const SUCCESS: &str = "mcsnap_last_success_timestamp_seconds";

/// A text of metrics, checked for what Prometheus and its collector want of it.
#[derive(Debug)]
struct Page {
    /// The help and the type of each metric.
    families: BTreeMap<String, [String; 2]>,
    /// Names with labels, and what they have.
    series: BTreeMap<String, f64>,
}

impl Page {
    fn parse(text: &str) -> Page {
        assert!(text.ends_with('\n') && !text.contains('\r'), "{text}");
        let (mut families, mut series) = (BTreeMap::new(), BTreeMap::new());
        let mut current = "";
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap();
                let kind = lines.next().unwrap();
                let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
                let family = [help.to_owned(), kind.to_owned()];
                assert_eq!(families.insert(name.to_owned(), family), None, "{name}");
                current = name;
                continue;
            }
            // Without a moment behind it.
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.ends_with('}'), "{line}");
            assert_eq!(name.split_once('{').unwrap().0, current, "{line}");
            let value = value.parse().unwrap();
            assert_eq!(series.insert(name.to_owned(), value), None, "{line}");
        }
        Page { families, series }
    }

    fn read(workdir: &Workdir, name: &str) -> Page {
        Page::parse(&fs::read_to_string(workdir.join(name)).unwrap())
    }

    /// The number of the one series of a metric that has these labels, if there is one.
    fn find(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let start = format!("{metric}{{");
        let has_all = |name: &str| {
            let mut labels = labels.iter();
            labels.all(|(label, value)| name.contains(&format!("{label}=\"{value}\"")))
        };
        let of_it = self.series.iter();
        let mut of_it = of_it.filter(|(name, _)| name.starts_with(&start) && has_all(name));
        let (_, value) = of_it.next()?;
        assert!(of_it.next().is_none(), "{metric} has several: {self:#?}");
        Some(*value)
    }

    fn number(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(metric, labels);
        found.unwrap_or_else(|| panic!("no {metric} with {labels:?} in {self:#?}"))
    }
}

fn loaded(count: usize) -> Memcached {
    let server = Memcached::start();
    let port = server.port();
    let items = (0..count).map(|at| Item::new(format!("{port}:{at}"), "value"));
    server.client().load(items);
    server
}

fn dump_of(workdir: &Workdir, name: &str, address: &str) -> Run {
    let name = format!("--name={name}");
    workdir.mcsnap(&["dump", "--to", "s", &name, "--progress=none", address])
}

/// A dump of 500 items that halts when two segments are sealed, until the gate is open.
fn held_dump(workdir: &Workdir, address: &str, options: &[&str]) -> (Run, Gate) {
    let run = dump_of(workdir, "a", address)
        .arg("--shards=1")
        .arg("--segment-records=100");
    let run = options.iter().fold(run, |run, option| run.arg(option));
    hold(run, workdir, "*", 2)
}

fn wait_for_halt(workdir: &Workdir) {
    wait_until("two segments", || segment_files(workdir, "a").len() >= 2);
}

fn unix_now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

/// Labels are told apart by what is around, and nothing here has a quote in it.
fn assert_is_of(page: &Page, command: &str, workdir: &Workdir, file: &str) {
    let directory = workdir.join("s").display().to_string();
    let labels = format!("{{command=\"{command}\",directory=\"{directory}\",file=\"{file}\"");
    for name in page.series.keys() {
        assert!(name.contains(&labels), "{name}");
    }
}

#[test]
fn each_job_leaves_its_numbers_in_a_file_that_anybody_may_read() {
    let servers = [loaded(30), loaded(12)];
    let addresses = servers.each_ref().map(Memcached::address);
    let workdir = Workdir::new("metrics-file");
    let before = unix_now();
    // A job has a mask of its own, and the collector is another user.
    let closed = ["sh", "-c", "umask 077; exec \"$0\" \"$@\""];
    let dump = [
        "dump",
        "--to",
        "s/",
        "--name=night-%F",
        "--metrics-file=night.prom",
        &addresses[0],
        &addresses[1],
    ];
    workdir.mcsnap_by(&closed, dump).succeeds();
    let mode = fs::metadata(workdir.join("night.prom"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o644);
    let dump = Page::read(&workdir, "night.prom");
    assert_is_of(&dump, "dump", &workdir, "night");
    let success = dump.number(SUCCESS, &[]);
    assert!(before < success + 1.0 && success <= unix_now(), "{success}");
    for (metric, labels, wanted) in [
        ("mcsnap_last_run_success", ("file", "night"), 1.0),
        ("mcsnap_last_run_exit_code", ("file", "night"), 0.0),
        ("mcsnap_last_run_records", ("outcome", "stored"), 42.0),
        ("mcsnap_last_run_records", ("outcome", "vanished"), 0.0),
        ("mcsnap_last_run_lost_records", ("file", "night"), 0.0),
        ("mcsnap_last_run_nodes", ("state", "all"), 2.0),
        ("mcsnap_last_run_nodes", ("state", "failed"), 0.0),
        (
            "mcsnap_last_run_node_stored_records",
            ("node", &addresses[0]),
            30.0,
        ),
        (
            "mcsnap_last_run_node_stored_records",
            ("node", &addresses[1]),
            12.0,
        ),
        ("mcsnap_last_run_node_failed", ("node", &addresses[1]), 0.0),
        (
            "mcsnap_build_info",
            ("version", env!("CARGO_PKG_VERSION")),
            1.0,
        ),
    ] {
        assert_eq!(dump.number(metric, &[labels]), wanted, "{metric}");
    }
    let ended = dump.number("mcsnap_last_run_end_timestamp_seconds", &[]);
    let began = dump.number("mcsnap_last_run_start_timestamp_seconds", &[]);
    assert!(ended == success && began <= ended);
    for metric in ["segments", "stored_bytes", "read_bytes", "duration_seconds"] {
        let metric = format!("mcsnap_last_run_{metric}");
        assert!(dump.number(&metric, &[]) > 0.0, "{metric}");
    }

    let verify = ["verify", "s/latest", "--deep", "--metrics-file=check.prom"];
    workdir.mcsnap(&verify).succeeds();
    let verify = Page::read(&workdir, "check.prom");
    // Nothing has the name of the night.
    assert_is_of(&verify, "verify", &workdir, "check");
    assert_eq!(
        verify.number("mcsnap_last_run_records", &[("outcome", "checked")]),
        42.0
    );
    assert_eq!(
        verify.number("mcsnap_last_run_findings", &[("severity", "error")]),
        0.0
    );
    let at = "mcsnap_last_run_snapshot_timestamp_seconds";
    assert_eq!(verify.number(at, &[]), dump.number(at, &[]));
    let age = verify.number("mcsnap_last_run_snapshot_age_seconds", &[]);
    let began = verify.number("mcsnap_last_run_start_timestamp_seconds", &[]);
    assert!((began - verify.number(at, &[]) - age).abs() < 0.01, "{age}");

    let target = Memcached::start();
    let to = target.address();
    let restore = [
        "restore",
        "s/latest",
        "--metrics-file=warm.prom",
        "--to",
        &to,
    ];
    workdir.mcsnap(&restore).succeeds();
    let restore = Page::read(&workdir, "warm.prom");
    assert_is_of(&restore, "restore", &workdir, "warm");
    assert_eq!(
        restore.number("mcsnap_last_run_records", &[("outcome", "stored")]),
        42.0
    );
    assert_eq!(
        restore.number("mcsnap_last_run_node_stored_records", &[("node", &to)]),
        42.0
    );
    assert!(restore.number("mcsnap_last_run_snapshot_age_seconds", &[]) >= age);

    for (arguments, file) in [
        (["salvage", "s/latest", "--to=t"], "salvage"),
        (["repack", "s/latest", "--look-ups"], "repack"),
    ] {
        let option = format!("--metrics-file={file}.prom");
        workdir.mcsnap(&arguments).arg(option).succeeds();
        let page = Page::read(&workdir, &format!("{file}.prom"));
        assert_is_of(&page, file, &workdir, file);
        assert_eq!(page.number("mcsnap_last_run_success", &[]), 1.0);
    }
    assert_one_folder_holds_all(&workdir, 5);
}

/// Files in one folder have one help and one type for a metric, and no series twice: the
/// collector would drop the later one.
fn assert_one_folder_holds_all(workdir: &Workdir, count: usize) {
    let entries = fs::read_dir(workdir.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| name.contains(".prom")).collect();
    // What was written first is gone.
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".prom")).count(),
        count
    );
    assert_eq!(names.len(), count, "{names:?}");
    let (mut families, mut series) = (BTreeMap::new(), BTreeSet::new());
    for name in &names {
        let page = Page::read(workdir, name);
        for (metric, family) in page.families {
            let first = families.entry(metric).or_insert_with(|| family.clone());
            assert_eq!(*first, family);
        }
        for name in page.series.into_keys() {
            assert!(series.insert(name.clone()), "{name} twice");
        }
    }
}

#[test]
fn two_dumps_that_are_alike_have_series_of_their_own() {
    let server = loaded(3);
    let workdir = Workdir::new("metrics-alike");
    for name in ["a", "b"] {
        let option = format!("--metrics-file={name}.prom");
        dump_of(&workdir, name, &server.address())
            .arg(option)
            .succeeds();
    }
    assert_one_folder_holds_all(&workdir, 2);
}

#[test]
fn a_failing_night_keeps_when_the_last_success_was() {
    let server = loaded(3);
    let address = server.address();
    let workdir = Workdir::new("metrics-failing");
    let file = "--metrics-file=night.prom";
    let page = || Page::read(&workdir, "night.prom");

    // None is known yet, and an alert on its age wants a number.
    dump_of(&workdir, "a", "127.0.0.1:1").arg(file).exits(1);
    assert_eq!(page().number(SUCCESS, &[]), 0.0);
    dump_of(&workdir, "a", &address).arg(file).succeeds();
    let success = page().number(SUCCESS, &[]);
    assert!(success > 1e9);

    fs::write(workdir.join("wrong.yaml"), "dump:\n  two: s\n").unwrap();
    let failures: [(Run, i32); 5] = [
        // The name is taken.
        (dump_of(&workdir, "a", &address), 2),
        (dump_of(&workdir, "b", "127.0.0.1:1"), 1),
        (dump_of(&workdir, "c", &address).arg("--connections=no"), 2),
        (
            dump_of(&workdir, "c", &address).arg("--config=wrong.yaml"),
            2,
        ),
        // Its directory is that of the run before.
        (workdir.mcsnap(&["dump", &address]), 2),
    ];
    for (run, code) in failures {
        run.arg(file).exits(code);
        let page = page();
        assert_is_of(&page, "dump", &workdir, "night");
        assert_eq!(page.number(SUCCESS, &[]), success);
        assert_eq!(page.number("mcsnap_last_run_success", &[]), 0.0);
        assert_eq!(
            page.number("mcsnap_last_run_exit_code", &[]),
            f64::from(code)
        );
        assert!(page.number("mcsnap_last_run_end_timestamp_seconds", &[]) > success);
        assert_eq!(
            page.find("mcsnap_last_run_records", &[("outcome", "stored")]),
            None
        );
    }
    // A dry run is no run of the job, whatever comes of it.
    let before = fs::read_to_string(workdir.join("night.prom")).unwrap();
    for (run, code) in [
        (dump_of(&workdir, "d", &address), 0),
        (dump_of(&workdir, "d", "127.0.0.1:1"), 1),
    ] {
        run.arg("--dry-run").arg(file).exits(code);
    }
    assert_eq!(
        fs::read_to_string(workdir.join("night.prom")).unwrap(),
        before
    );
    dump_of(&workdir, "d", &address).arg(file).succeeds();
    assert!(page().number(SUCCESS, &[]) > success);
}

#[test]
fn losses_and_signals_are_told() {
    let server = Memcached::start();
    // So that most of the segment is records.
    let items = (0..500).map(|at| Item::new(format!("k:{at}"), "v".repeat(100)));
    server.client().load(items);
    let workdir = Workdir::new("metrics-losses");
    let address = server.address();
    dump_of(&workdir, "a", &address)
        .arg("--shards=1")
        .arg("--compression=none")
        .succeeds();
    let segments = fs::read_dir(workdir.join("s/a/segments")).unwrap();
    let segment = segments.map(|entry| entry.unwrap().path()).next().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&segment, bytes).unwrap();
    let verify = ["verify", "s/a", "--deep", "--metrics-file=check.prom"];
    workdir.mcsnap(&verify).exits(3);
    let page = Page::read(&workdir, "check.prom");
    assert_eq!(page.number("mcsnap_last_run_exit_code", &[]), 3.0);
    assert_eq!(page.number(SUCCESS, &[]), 0.0);
    assert!(page.number("mcsnap_last_run_findings", &[("severity", "error")]) > 0.0);

    let target = Memcached::start();
    let to = target.address();
    let restore = ["restore", "s/a", "--metrics-file=warm.prom", "--to", &to];
    workdir.mcsnap(&restore).exits(3);
    let page = Page::read(&workdir, "warm.prom");
    let damaged = page.number("mcsnap_last_run_records", &[("outcome", "damaged")]);
    assert!(damaged > 0.0);
    assert_eq!(page.number("mcsnap_last_run_lost_records", &[]), damaged);

    fs::remove_dir_all(workdir.join("s/a")).unwrap();
    let options = ["--metrics-file=night.prom"];
    let (run, gate) = held_dump(&workdir, &address, &options);
    let child = run.spawn();
    wait_for_halt(&workdir);
    let output = stop_at_gate(child, &gate, "TERM");
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    let page = Page::read(&workdir, "night.prom");
    assert_eq!(page.number("mcsnap_last_run_exit_code", &[]), 143.0);
    assert_is_of(&page, "dump", &workdir, "night");
}

#[test]
fn nobody_reads_half_a_file() {
    let server = loaded(3);
    let workdir = Workdir::new("metrics-whole");
    dump_of(&workdir, "a", &server.address()).succeeds();
    let verify = || workdir.mcsnap(&["verify", "s/a", "--metrics-file=check.prom"]);
    verify().succeeds();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = RaiseOnDrop(&is_over);
        let reader = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !is_over.load(Ordering::SeqCst) {
                let text = fs::read_to_string(workdir.join("check.prom")).unwrap();
                assert_eq!(
                    Page::parse(&text).number("mcsnap_last_run_success", &[]),
                    1.0
                );
                // It is the last of the names.
                assert!(text.lines().last().unwrap().starts_with(SUCCESS));
                seen.insert(text);
            }
            seen.len()
        });
        for _ in 0..20 {
            verify().succeeds();
        }
        is_over.store(true, Ordering::SeqCst);
        assert!(reader.join().unwrap() > 1);
    });
}

#[test]
fn what_cannot_be_written_is_told_before_the_work() {
    let server = loaded(3);
    let workdir = Workdir::new("metrics-typo");
    fs::write(workdir.join("foreign.prom"), "node_load1 3\n").unwrap();
    fs::create_dir(workdir.join("folder.prom")).unwrap();
    dump_of(&workdir, "a", &server.address()).succeeds();
    workdir
        .mcsnap(&["verify", "s/a", "--metrics-file=check.prom"])
        .succeeds();
    let said = |run: Run| String::from_utf8(run.exits(2).stderr).unwrap();
    for (file, wanted) in [
        ("night.pro", "wanted a file whose name ends in .prom"),
        (".prom", "wanted a file whose name ends in .prom"),
        (
            "nowhere/night.prom",
            "cannot write metrics there: No such file or directory",
        ),
        ("folder.prom", "cannot read it: it is no regular file"),
        ("foreign.prom", "it is there, and has no metrics of mcsnap"),
        (
            "check.prom",
            "it has the metrics of verify, and dump would replace them",
        ),
    ] {
        let run = dump_of(&workdir, "b", &server.address())
            .arg("--metrics-file")
            .arg(file);
        let said = said(run);
        let start = format!("mcsnap: --metrics-file {file}: ");
        assert!(said.starts_with(&start) && said.contains(wanted), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!workdir.join("s/b").exists());
    }
    assert_eq!(
        fs::read_to_string(workdir.join("foreign.prom")).unwrap(),
        "node_load1 3\n"
    );

    // A command without metrics says so, unless the setting is one of all commands.
    for option in ["--metrics-file=ls.prom", "--metrics-addr=0"] {
        let said = said(workdir.mcsnap(&["ls", "s/a", option]));
        assert!(said.contains("ls has no metrics"), "{said}");
    }
    workdir
        .mcsnap(&["ls", "s/a"])
        .env("MCSNAP_METRICS_FILE", "ls.prom")
        .env("MCSNAP_METRICS_ADDR", "0")
        .succeeds();
    assert!(!workdir.join("ls.prom").exists());
}

#[test]
fn a_file_that_fails_at_the_end_changes_no_exit_code() {
    let server = loaded(500);
    let workdir = Workdir::new("metrics-lost");
    fs::create_dir(workdir.join("m")).unwrap();
    let options = ["--log-file=log", "--metrics-file=m/night.prom"];
    let (run, gate) = held_dump(&workdir, &server.address(), &options);
    let child = run.spawn();
    wait_for_halt(&workdir);
    fs::remove_dir(workdir.join("m")).unwrap();
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let wanted = "m/night.prom: the metrics of this run are not in it: No such file or directory";
    assert!(said.contains(&format!("mcsnap: {wanted}")), "{said}");
    assert!(
        fs::read_to_string(workdir.join("log"))
            .unwrap()
            .contains(wanted)
    );
    workdir.mcsnap(&["verify", "s/a"]).succeeds();
}

/// Sends a request, and returns the head and the body of the answer.
fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

fn scrape(address: &str) -> Page {
    let (head, body) = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("http/1.1 200 ok\r\n"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    Page::parse(&body)
}

/// Where the job that writes this log serves its metrics.
fn served_at(workdir: &Workdir, log: &str) -> String {
    let mut address = None;
    wait_until("the log says where metrics are", || {
        let text = fs::read_to_string(workdir.join(log)).unwrap_or_default();
        let found = text
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once("/metrics"));
        address = found.map(|(address, _)| address.to_owned());
        address.is_some()
    });
    address.unwrap()
}

#[test]
fn a_dump_is_scraped_while_it_runs() {
    let server = loaded(500);
    let node = server.address();
    let workdir = Workdir::new("metrics-scraped");
    let options = ["--log-file=log", "--metrics-addr=0"];
    let (run, gate) = held_dump(&workdir, &node, &options);
    let child = run.spawn();
    let address = served_at(&workdir, "log");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    wait_for_halt(&workdir);
    let page = scrape(&address);
    let directory = workdir.join("s").display().to_string();
    let common = [("command", "dump"), ("directory", directory.as_str())];
    assert_eq!(page.number("mcsnap_run_expected_records", &common), 500.0);
    assert_eq!(
        page.number("mcsnap_run_node_expected_records", &[("node", &node)]),
        500.0
    );
    assert_eq!(
        page.number("mcsnap_run_nodes", &[("state", "started")]),
        1.0
    );
    assert_eq!(
        page.number("mcsnap_run_nodes", &[("state", "finished")]),
        0.0
    );
    assert_eq!(
        page.number("mcsnap_run_node_finished", &[("node", &node)]),
        0.0
    );
    assert_eq!(page.number("mcsnap_run_lost_records_total", &[]), 0.0);
    let began = page.number("mcsnap_run_start_timestamp_seconds", &[]);
    assert!(began > 1e9 && began <= unix_now());
    // The sums are those of the node.
    for (all, of_node) in [
        ("mcsnap_run_records_total", "mcsnap_run_node_records_total"),
        ("mcsnap_run_bytes_total", "mcsnap_run_node_bytes_total"),
    ] {
        wait_until("one number for both", || {
            let page = scrape(&address);
            page.number(of_node, &[("node", &node)]) == page.number(all, &[])
        });
    }
    for (name, [_, kind]) in &page.families {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
    }
    for (request, wanted) in [
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 ok"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404 not found"),
        (
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "405 method not allowed",
        ),
        ("nonsense\r\n\r\n", "400 bad request"),
    ] {
        let (head, _) = ask(&address, request);
        assert!(
            head.starts_with(&format!("http/1.1 {wanted}")),
            "{request}: {head}"
        );
    }
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn who_asks_slowly_or_too_much_is_left_and_the_job_goes_on() {
    let server = loaded(500);
    let workdir = Workdir::new("metrics-hostile");
    let options = ["--log-file=log", "--metrics-addr=127.0.0.1:0"];
    let (run, gate) = held_dump(&workdir, &server.address(), &options);
    let child = run.spawn();
    let address = served_at(&workdir, "log");
    wait_for_halt(&workdir);
    // More than are answered at a time: they say nothing, or half of it.
    let mut idle: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    for stream in idle.iter_mut().step_by(2) {
        stream.write_all(b"GET /metrics HTT").unwrap();
    }
    let patience = Some(Duration::from_secs(60));
    let is_closed = |error: std::io::Error| {
        // And not still waited for.
        let silent = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
        !silent.contains(&error.kind())
    };
    for stream in &mut idle {
        stream.set_read_timeout(patience).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(ended.map_or_else(is_closed, |_| true));
    }
    // A head that does not end is given up before it is stored.
    let mut endless = TcpStream::connect(&address).unwrap();
    endless.set_write_timeout(patience).unwrap();
    endless.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    let line = format!("X: {}\r\n", "x".repeat(1000));
    let mut lines = std::iter::repeat_with(|| endless.write_all(line.as_bytes()));
    let error = lines.find_map(Result::err).unwrap();
    assert!(is_closed(error));
    assert_eq!(
        scrape(&address).number("mcsnap_run_expected_records", &[]),
        500.0
    );
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_node_that_goes_away_is_told_while_the_others_are_filled() {
    let server = loaded(6000);
    let workdir = Workdir::new("metrics-away");
    dump_of(&workdir, "a", &server.address()).succeeds();
    let (stays, mut goes) = (Memcached::start(), Memcached::start());
    let gone = goes.address();
    let to = format!("--to={},{gone}", stays.address());
    let options = [
        "s/a",
        &to,
        "--ring=node-memcached",
        "--metrics-addr=0",
        "--metrics-file=warm.prom",
        "--log-file=log",
    ];
    let restore = SlowRestore::start(&workdir, &options);
    let address = served_at(&workdir, "log");
    wait_until("the nodes have been looked at", || {
        scrape(&address).number("mcsnap_run_expected_records", &[]) > 0.0
    });
    goes.end();
    // What is lost is certain when the node is given up, which may be the end.
    wait_until("retries are told", || {
        scrape(&address).number("mcsnap_run_retries_total", &[]) > 0.0
    });
    let output = restore.finish();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let page = Page::read(&workdir, "warm.prom");
    let lost = page.number("mcsnap_last_run_lost_records", &[]);
    let of_node = |metric| page.number(metric, &[("node", &gone)]);
    assert!(lost > 0.0);
    assert_eq!(of_node("mcsnap_last_run_node_lost_records"), lost);
    assert_eq!(of_node("mcsnap_last_run_node_failed"), 1.0);
    assert_eq!(
        page.number("mcsnap_last_run_nodes", &[("state", "failed")]),
        1.0
    );
}

#[test]
fn an_address_that_is_taken_or_wrong_ends_the_run_before_it_begins() {
    let server = loaded(3);
    let workdir = Workdir::new("metrics-taken");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let port = taken.rsplit_once(':').unwrap().1;
    let wrong = "wanted PORT, for this host alone, or ADDRESS:PORT";
    for (address, wanted) in [
        (
            taken.as_str(),
            "cannot listen there: Address already in use",
        ),
        (port, "cannot listen there: Address already in use"),
        (":9191", wrong),
        ("here", wrong),
        ("70000", wrong),
    ] {
        let option = format!("--metrics-addr={address}");
        let run = dump_of(&workdir, "a", &server.address()).arg(option);
        let run = run.arg("--metrics-file=night.prom");
        let said = String::from_utf8(run.exits(2).stderr).unwrap();
        assert!(said.contains(wanted) && said.contains(address), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!workdir.join("s").exists());
        let page = Page::read(&workdir, "night.prom");
        assert_eq!(page.number("mcsnap_last_run_exit_code", &[]), 2.0);
    }
    // The place of a wrong setting is told as of every other.
    fs::write(workdir.join("c.yaml"), "metrics-addr: nowhere\n").unwrap();
    let run = dump_of(&workdir, "a", &server.address()).arg("--config=c.yaml");
    let said = String::from_utf8(run.exits(2).stderr).unwrap();
    assert!(
        said.contains("c.yaml: metrics-addr \"nowhere\": wanted PORT"),
        "{said}"
    );
}
