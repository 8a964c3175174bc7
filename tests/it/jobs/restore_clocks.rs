//! Clocks that are wrong, of servers and of the hosts of mcsnap: an item has the time
//! left that it had when it was dumped, less the time since.

use std::process::Output;

use serde_json::Value;

use crate::harness::client::{Item, meta_flag};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const TTL: i64 = 5000;

/// Seconds by which a TTL may be off: both ends show whole seconds.
const TOLERANCE: i64 = 2;

/// Seconds by which the clock of a server may be late on a loaded machine: far fewer than
/// any clock is off here.
const LATE_MAX: i64 = 60;

/// The library that shows a program another time; `faketime` puts it in its way.
fn library() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let paths = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let found = paths.into_iter().find(|path| path.exists());
    let found = found.expect("faketime is missing; tools/setup installs what the tests need");
    found.to_str().unwrap().to_owned()
}

/// What shows a program a time that is off by so much, such as `+30d`. The clock that
/// only counts goes on as it is.
fn variables(off: &str) -> [(&'static str, String); 3] {
    [
        ("LD_PRELOAD", library()),
        ("FAKETIME", off.to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

fn start(off: &str) -> Memcached {
    let variables = variables(off);
    let variables: Vec<(&str, &str)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    Memcached::start_at("127.0.0.1", &[], &variables)
}

/// Runs the program on a host whose clock is off by so much.
fn run(workdir: &Workdir, off: &str, arguments: &[&str], code: i32) -> (Value, String) {
    let mut run = workdir.mcsnap(arguments).arg("--format=json");
    if off != "0" {
        for (name, value) in variables(off) {
            run = run.env(name, value);
        }
    }
    let output: Output = run.exits(code);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (serde_json::from_slice(&output.stdout).unwrap(), errors)
}

/// What an item has left, by its server.
fn left(server: &Memcached, key: &str) -> Option<i64> {
    let (header, _) = server.client().mg(key.as_bytes(), "t v")?;
    meta_flag(&header, 't').parse().ok()
}

fn fill(server: &Memcached) {
    server.client().load([
        Item::new("short", "x").ttl(TTL),
        // Beyond 30 days a moment is sent, and no length of time.
        Item::new("long", "x").ttl(2_000_000),
        Item::new("for-ever", "x"),
    ]);
}

/// Dumps one server and restores to the other, each on a host with a clock of its own,
/// and returns by how much each item's TTL changed beside what passed on its server. This
/// is done again where they are off by a few seconds: the servers' clocks tick late on a
/// loaded machine, and are asked one after the other.
fn change(source: &Memcached, dump_off: &str, target: &Memcached, restore_off: &str) -> [i64; 2] {
    let changes = (0..20).map(|_| change_once(source, dump_off, target, restore_off));
    let is_late = |change: &i64| (TOLERANCE + 1..=LATE_MAX).contains(&change.abs());
    let mut last = [0; 2];
    for change in changes {
        last = change;
        if !change.iter().any(is_late) {
            break;
        }
    }
    last
}

fn change_once(
    source: &Memcached,
    dump_off: &str,
    target: &Memcached,
    restore_off: &str,
) -> [i64; 2] {
    fill(source);
    let workdir = Workdir::new("clocks");
    let from = source.address();
    run(
        &workdir,
        dump_off,
        &["dump", "--to=s", "--name=a", &from],
        0,
    );
    let to = target.address();
    let arguments = ["restore", "s/a", "--mode=set", "--to", &to];
    let (report, _) = run(&workdir, restore_off, &arguments, 0);
    assert_eq!(report["stored"], 3, "{report}");
    assert_eq!(left(target, "for-ever"), Some(-1));
    // Both servers count on while they are asked.
    ["short", "long"].map(|key| left(target, key).unwrap() - left(source, key).unwrap())
}

#[test]
fn ttls_are_right_whatever_the_hosts_clocks_show() {
    let source = start("+0");
    let target = start("+0");
    for (dump_off, restore_off) in [("-6y", "0"), ("0", "-6y"), ("+6y", "0"), ("0", "+90d")] {
        let change = change(&source, dump_off, &target, restore_off);
        assert!(
            change.iter().all(|change| change.abs() <= TOLERANCE),
            "{dump_off}, {restore_off}: {change:?}"
        );
    }
}

#[test]
fn ttls_are_right_where_the_servers_are_wrong_alike() {
    for off in ["+30d", "-400d"] {
        let (source, target) = (start(off), start(off));
        for (dump_off, restore_off) in [("-6y", "0"), ("0", "0"), ("0", "+6y")] {
            let change = change(&source, dump_off, &target, restore_off);
            assert!(
                change.iter().all(|change| change.abs() <= TOLERANCE),
                "{off}, {dump_off}, {restore_off}: {change:?}"
            );
        }
    }
}

#[test]
fn a_dump_of_the_future_is_seen_by_the_hosts() {
    let change = change(&start("+30d"), "0", &start("+0"), "0");
    assert!(
        change.iter().all(|change| change.abs() <= TOLERANCE),
        "{change:?}"
    );
}

#[test]
fn clocks_that_do_not_agree_are_told() {
    let server = start("+0");
    let address = server.address();
    fill(&server);
    let workdir = Workdir::new("clock-warnings");
    let dump = ["dump", "--to=s", "--name=a", &address];
    let now = format!("the clock of {address} is about ");
    let at_dump = format!("at the dump, the clock of {address} was about ");
    for (more, wanted) in [(&["--dry-run"][..], &now), (&[], &at_dump)] {
        let (report, errors) = run(&workdir, "-6y", &[&dump[..], more].concat(), 0);
        let warnings = report["clock_warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{report}");
        assert!(
            warnings[0].as_str().unwrap().starts_with(wanted),
            "{report}"
        );
        assert!(errors.contains(" ahead of that of this host"), "{errors}");
    }
    let restore = ["restore", "s/a", "--mode=set", "--to", &address];
    for more in [&["--dry-run"][..], &[]] {
        // By the right clock of this host, only the dump's was wrong.
        let (report, errors) = run(&workdir, "0", &[&restore[..], more].concat(), 0);
        let warnings = report["clock_warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{report}");
        assert!(
            warnings[0].as_str().unwrap().starts_with(&at_dump),
            "{report}"
        );
        assert!(
            errors.contains(" ahead of that of the host that dumped"),
            "{errors}"
        );
        let offset = report["nodes"][0]["clock_offset_s"].as_i64().unwrap();
        assert!(offset.abs() <= LATE_MAX, "{report}");
    }
    let (report, _) = run(&workdir, "-1d", &restore, 0);
    assert_eq!(
        report["clock_warnings"].as_array().unwrap().len(),
        2,
        "{report}"
    );
    // What a person reads has the same line.
    let output = workdir.mcsnap(&restore).arg("--dry-run").succeeds();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("\nwarning   {at_dump}")), "{text}");
    let output = workdir.mcsnap(&["ls", "s/a"]).succeeds();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("times are shown on the latter"), "{errors}");
}

/// By the hosts' clocks six years have passed.
#[test]
fn the_user_may_trust_the_hosts_clocks() {
    let (source, target) = (start("+0"), start("+0"));
    fill(&source);
    let workdir = Workdir::new("clock-hosts");
    let from = source.address();
    run(&workdir, "-6y", &["dump", "--to=s", "--name=a", &from], 0);
    let to = target.address();
    let arguments = ["restore", "s/a", "--clock=hosts", "--to", &to];
    let (plan, _) = run(&workdir, "0", &[&arguments[..], &["--dry-run"]].concat(), 0);
    assert_eq!(plan["nodes"][0]["expired"], 2, "{plan}");
    let (report, _) = run(&workdir, "0", &arguments, 0);
    assert_eq!(
        (&report["stored"], &report["expired"]),
        (&1.into(), &2.into())
    );
}

#[test]
fn what_only_the_servers_clocks_let_expire_is_told_with_the_way_out() {
    let (source, target) = (start("+0"), start("+30d"));
    fill(&source);
    let workdir = Workdir::new("clock-doubt");
    let from = source.address();
    run(&workdir, "0", &["dump", "--to=s", "--name=a", &from], 0);
    let to = target.address();
    for dry_run in ["--dry-run", "--dry-run=false"] {
        let output = workdir
            .mcsnap(&["restore", "s/a", "--to", &to, dry_run])
            .succeeds();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let doubt = "2 records count as expired by the servers' clocks, which do not agree with \
                     the hosts'; if those are right, --clock hosts restores";
        assert!(text.contains(doubt), "{text}");
    }
}
