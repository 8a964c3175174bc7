//! What a snapshot is called, and which one `latest` is.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::ids::SnapshotId;
use mcsnap::codecs::format::journal::Journal;
use mcsnap::jobs::dump::{DumpOptions, DumpPlan};
use mcsnap::ports::store::create_directory;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{ErrorKind, Result};
use mcsnap::words::progress::{Event, NoProgress, Progress};
use mcsnap::words::units::UnixSecs;
use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::running_job::wait_until;
use crate::harness::workdir::Workdir;

fn server_with(count: u32) -> Memcached {
    let server = Memcached::start();
    let items = (0..count).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
    server
}

fn error_of(workdir: &Workdir, arguments: &[&str], code: i32) -> String {
    let output = workdir.mcsnap(arguments).exits(code);
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_name_may_have_the_date_in_it() {
    let server = server_with(3);
    let workdir = Workdir::new("name-date");
    let address = server.address();
    let name_of = |arguments: &[&str], zone: &str| {
        let mut all = vec![
            "dump",
            "--to",
            "s",
            "--format",
            "json",
            "--dry-run",
            &address,
        ];
        all.extend(arguments);
        let output = workdir.mcsnap(&all).env("TZ", zone).succeeds();
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        plan["name"].as_str().unwrap().to_owned()
    };
    let is_like = |name: &str, pattern: &str| {
        name.len() == pattern.len()
            && name
                .bytes()
                .zip(pattern.bytes())
                .all(|(byte, like)| match like {
                    b'0' => byte.is_ascii_digit(),
                    other => byte == other,
                })
    };
    let name = name_of(&["--name", "night-%F"], "");
    assert!(is_like(&name, "night-0000-00-00"), "{name}");
    // UTC, whatever the time zone is.
    let name = name_of(&["--name", "%z"], "XXX-5");
    assert_eq!(name, "+0000");
    let name = name_of(&["--name", "a%z", "--name-local"], "XXX-5");
    assert_eq!(name, "a+0500");
    assert!(!workdir.join("s").exists());
}

#[test]
fn what_makes_no_name_is_told_before_any_server_is_asked() {
    let workdir = Workdir::new("name-bad");
    let long = format!("{}%F", "x".repeat(256));
    for (name, says) in [
        ("%F/%H", "/"),
        ("%q", "%q is not known; these are: %F"),
        ("a%", "% is not known"),
        ("", "wanted 1 to 200 letters"),
        ("latest", "it stands for the newest complete snapshot"),
        (&long, "wanted 1 to 200 letters"),
    ] {
        // Nothing listens there.
        let arguments = ["dump", "127.0.0.1:1", "--to", "s", "--name", name];
        let error = error_of(&workdir, &arguments, 2);
        assert!(error.contains(says), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let into = ["dump", "127.0.0.1:1", "--to", "s/latest", "--name", "a"];
    let error = error_of(&workdir, &into, 2);
    assert!(error.contains("that name stands for the newest"), "{error}");
    for name in [&[][..], &["--name", "plain"]] {
        let mut arguments = vec!["dump", "127.0.0.1:1", "--to", "s", "--name-local"];
        arguments.extend(name);
        let error = error_of(&workdir, &arguments, 2);
        assert!(error.contains("such as night-%F"), "{error}");
    }
    assert!(!workdir.join("s").exists());
}

#[test]
fn a_name_that_is_taken_is_told_in_a_dry_run_and_before_any_server_is_asked() {
    let server = server_with(3);
    let workdir = Workdir::new("name-taken");
    let address = server.address();
    let dump = ["dump", &address, "--to", "s", "--name", "a"];
    workdir.mcsnap(&dump).succeeds();
    let again = ["dump", "127.0.0.1:1", "--to", "s", "--name", "a"];
    for more in [&[][..], &["--dry-run"]] {
        let error = error_of(&workdir, &[&again[..], more].concat(), 2);
        assert!(
            error.contains("s/a already exists; pass another --name"),
            "{error}"
        );
        assert!(error.contains("night-%F"), "{error}");
    }
    let local = [
        "dump",
        &address,
        "--to",
        "s",
        "--name",
        "n%Y",
        "--name-local",
    ];
    let zone = zone_whose_hour_is_doubled_now();
    for (zone, says) in [
        ("UTC", "s/n"),
        ("UTC", "put %H%M in the --name"),
        (
            &zone,
            "this hour comes twice today, since clocks are put back: put %z in the --name",
        ),
    ] {
        let output = workdir.mcsnap(&local).env("TZ", zone).run();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(says), "{zone}: {text}");
    }
}

/// Makes a time zone in which it is about noon, and clocks were put back by an hour
/// ten minutes ago.
fn zone_whose_hour_is_doubled_now() -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let ahead = 12 - now.hour();
    let local = now.checked_add(jiff::SignedDuration::from_hours(ahead.into()));
    let local = local.unwrap().datetime();
    let put_back = local
        .checked_add(jiff::SignedDuration::from_mins(50))
        .unwrap();
    let end = put_back.day_of_year() - 1;
    let start = (end + 180) % 360;
    let (standard, summer) = (-ahead, -ahead - 1);
    let time = put_back.strftime("%H:%M:%S");
    format!("AAA{standard}BBB{summer},{start}/0,{end}/{time}")
}

#[test]
fn a_place_that_cannot_be_written_to_is_told_in_a_dry_run() {
    let server = server_with(3);
    let workdir = Workdir::new("place-bad");
    std::fs::write(workdir.join("file"), b"").unwrap();
    let address = server.address();
    let dump = ["dump", &address, "--to", "file/deep", "--dry-run"];
    let error = error_of(&workdir, &dump, 1);
    assert!(error.contains("file/deep: cannot create"), "{error}");
    let dump = ["dump", &address, "--to", "new/deep", "--dry-run"];
    let plan = workdir.mcsnap(&dump).succeeds();
    let plan = String::from_utf8(plan.stdout).unwrap();
    assert!(
        plan.contains("\nspace ") && plan.contains(" free\n"),
        "{plan}"
    );
    assert!(!workdir.join("new").exists());
}

#[test]
fn latest_is_the_newest_complete_snapshot_for_every_command() {
    let workdir = Workdir::new("latest");
    let missing = error_of(&workdir, &["verify", "s/latest"], 1);
    assert!(missing.contains("does not exist"), "{missing}");
    std::fs::create_dir(workdir.join("s")).unwrap();
    let missing = error_of(&workdir, &["verify", "s/latest"], 1);
    assert!(
        missing.contains("a complete snapshot for ") && missing.contains("/s/latest does not"),
        "{missing}"
    );

    let server = server_with(5);
    let address = server.address();
    // Names tell nothing of age.
    workdir
        .mcsnap(&["dump", &address, "--to", "s", "--name", "z"])
        .succeeds();
    server.client().set("new", 0, 0, b"fresh");
    wait_for_another_second();
    workdir
        .mcsnap(&["dump", &address, "--to", "s", "--name", "b"])
        .succeeds();

    let found = workdir
        .mcsnap(&["get", "s/latest", "new", "--raw"])
        .succeeds();
    assert_eq!(found.stdout, b"fresh");
    let target = Memcached::start();
    let to = target.address();
    for (arguments, code) in [
        (vec!["verify", "s/latest"], 0),
        (vec!["verify", "s/latest/"], 0),
        (vec!["inspect", "s/latest"], 0),
        (vec!["ls", "s/latest"], 0),
        (vec!["restore", "s/latest", "--to", &to], 0),
        (
            vec![
                "ring", "plan", "s/latest", "--to", "a:1,b:2", "--ring", "modula",
            ],
            0,
        ),
        (vec!["ring", "detect", "--snapshot", "s/latest"], 2),
        (vec!["salvage", "s/latest", "--to", "out"], 0),
    ] {
        let output = workdir.mcsnap(&arguments).run();
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        if !["ls", "ring"].contains(&arguments[0]) {
            assert!(text.contains("s/b"), "{arguments:?}: {text}");
        }
    }
    assert_eq!(target.client().stats("")["curr_items"], "6");

    wait_for_another_second();
    // A newer one that lacks a server is not taken, and is told of.
    let both = [
        "dump",
        &address,
        "127.0.0.1:1",
        "--to",
        "s",
        "--name",
        "c",
        "--allow-partial",
    ];
    workdir.mcsnap(&both).exits(3);
    let error = error_of(&workdir, &["verify", "s/latest"], 0);
    assert!(error.contains("s/c is partial, though newer"), "{error}");
    // Nor is a dump that did not finish.
    std::fs::create_dir(workdir.join("s/e")).unwrap();
    let began = "2999-01-01T00:00:00Z".to_owned();
    let journal = Journal::new(SnapshotId([7; 16]), began).encode();
    std::fs::write(workdir.join("s/e/dump.json"), journal).unwrap();
    let error = error_of(&workdir, &["verify", "s/latest"], 0);
    assert!(
        error.contains("s/e did not finish, though newer"),
        "{error}"
    );
    std::fs::remove_dir_all(workdir.join("s/e")).unwrap();
    // Nor is one that cannot be read.
    std::fs::create_dir(workdir.join("s/d")).unwrap();
    std::fs::write(workdir.join("s/d/manifest.json"), b"{").unwrap();
    let error = error_of(&workdir, &["verify", "s/latest"], 0);
    assert!(
        error.contains("whether a newer one is complete is not known"),
        "{error}"
    );
    for name in ["z", "b"] {
        std::fs::remove_dir_all(workdir.join("s").join(name)).unwrap();
    }
    let error = error_of(&workdir, &["verify", "s/latest"], 1);
    assert!(
        error.contains("s/c is partial: name it to use it"),
        "{error}"
    );
}

/// Waits until a dump that ends now ends later than those before.
fn wait_for_another_second() {
    let second = || UnixSecs::from_system_time(SystemTime::now());
    let start = second();
    wait_until("another second", || second() > start);
}

/// Does something once, when a dump begins with its node.
struct Meanwhile<F>(AtomicBool, F);

impl<F: Fn() + Sync> Progress for Meanwhile<F> {
    fn event(&self, event: Event) {
        if matches!(event, Event::NodeStarted { .. }) && !self.0.swap(true, Ordering::SeqCst) {
            (self.1)();
        }
    }
}

#[test]
fn of_two_runs_whose_names_differ_by_chance_one_gives_way() {
    let [one, other] = [server_with(10), server_with(10)];
    let workdir = Workdir::new("sole");
    let to = workdir.join("s").display().to_string();
    let run = |nodes: [&Memcached; 2], name: &str, is_sole: bool, progress: &dyn Progress| {
        let options = DumpOptions {
            nodes: nodes.map(|node| node.address().parse().unwrap()).to_vec(),
            name: name.to_owned(),
            segment_size_max: 1 << 20,
            segment_record_count_max: 20,
            compression: Compression::None,
            connection_count: 1,
            parallel_node_count: 1,
            spool_memory_max: 1 << 20,
            is_sole,
            ..DumpOptions::default()
        };
        let plan = DumpPlan::make(options, &Cancel::new())?;
        let store = create_directory(&to)?;
        plan.run(store, &Cancel::new(), progress).map(drop)
    };
    let others: Mutex<Vec<Result<()>>> = Mutex::default();
    let meanwhile = Meanwhile(AtomicBool::new(false), || {
        let mut others = others.lock().unwrap();
        // Their order means nothing to who counts their items.
        others.push(run([&other, &one], "b", true, &NoProgress));
        // Whoever names both means both.
        others.push(run([&other, &one], "c", false, &NoProgress));
    });
    run([&one, &other], "a", true, &meanwhile).unwrap();
    let others = others.into_inner().unwrap();
    let refused = others[0].as_ref().unwrap_err();
    assert!(
        matches!(refused.kind(), ErrorKind::Locked { .. }),
        "{refused}"
    );
    let says = format!("a dump of these servers into {to} is being written by another process");
    assert_eq!(refused.to_string(), says);
    assert!(others[1].is_ok());
    // And afterwards nothing is in the way, nor left.
    run([&one, &other], "b", true, &NoProgress).unwrap();
    let mut names: Vec<_> = std::fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a", "b", "c"]);
}
