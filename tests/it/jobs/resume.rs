//! A dump that was killed goes on, and what comes of it is what would have come.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;

use mcsnap::codecs::format::ids::SnapshotId;
use mcsnap::codecs::format::journal::Journal;
use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Rule, Step};
use crate::harness::fault::{Call, Fault, Gate, Harm, was_killed};
use crate::harness::held_dump::hold;
use crate::harness::memcached::Memcached;
use crate::harness::reports::stderr_of;
use crate::harness::running_job::{segment_files, stop_at_gate, wait_until};
use crate::harness::signals::signal;
use crate::harness::workdir::{Run, Workdir};

const KEY_COUNT: u64 = 20_000;

fn filled_server() -> Memcached {
    server_of(KEY_COUNT)
}

fn server_of(key_count: u64) -> Memcached {
    let server = Memcached::start_with(&["-m", "256"]);
    let value = |at: u64| vec![at.to_le_bytes()[0]; 1500];
    let items = (0..key_count).map(|at| Item::new(format!("key:{at}"), value(at)));
    server.client().load(items);
    server
}

fn arguments<'a>(name: &'a str, nodes: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["dump", "--to", "s", "--name", name, "--segment-size=1MiB"];
    arguments.push("--compression=none");
    arguments.extend(["--progress=none", "--format=json"]);
    arguments.extend(nodes);
    arguments
}

fn resume(workdir: &Workdir, name: &str, nodes: &[&str]) -> Value {
    let arguments = arguments(name, nodes);
    let output = workdir.mcsnap(&arguments).arg("--resume").succeeds();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What each sealed segment of a dump has for its bytes.
fn sealed(workdir: &Workdir, name: &str) -> BTreeMap<String, Vec<u8>> {
    let place = workdir.join(format!("s/{name}/segments"));
    let Ok(entries) = fs::read_dir(place) else {
        return BTreeMap::new();
    };
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mcs"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect()
}

/// Starts a dump that halts when it has sealed at least two segments.
fn start_held(run: Run, workdir: &Workdir) -> (Child, Gate) {
    let before = sealed_count(workdir, "a");
    // One more, since each of its two shards has a writer.
    let (run, gate) = hold(run, workdir, "*", 3);
    let child = run.spawn();
    wait_until("sealed segments", || {
        sealed_count(workdir, "a") >= before + 2
    });
    (child, gate)
}

fn sealed_count(workdir: &Workdir, name: &str) -> usize {
    let files = segment_files(workdir, name);
    files.iter().filter(|file| file.ends_with(".mcs")).count()
}

#[test]
fn a_dump_killed_anywhere_goes_on_to_the_same_content() {
    let key_count = 5000;
    let server = server_of(key_count);
    let address = server.address();
    let workdir = Workdir::new("resumed");
    fs::create_dir(workdir.join("s")).unwrap();
    let dump = |name: &str, fault: &Fault| {
        let run = workdir.mcsnap(&arguments(name, &[&address]));
        fault.run(run, &workdir.join("s"))
    };
    let (output, counted) = dump("counted", &Fault::none(&Call::CHANGING));
    assert!(output.status.success(), "{output:?}");
    let whole = resume(&workdir, "whole", &[&address]);
    assert_eq!(whole["kept_segments"], 0);
    let (mut killed, mut with_kept) = (0, 0);
    for part in 0..30 {
        let name = format!("k{part}");
        let number = 1 + part * (counted.len() - 1) / 29;
        let fault = Fault::at(&Call::CHANGING, number, Harm::KillBefore);
        let (output, _) = dump(&name, &fault);
        let is_killed = was_killed(&output);
        assert!(is_killed || output.status.success(), "{output:?}");
        killed += u32::from(is_killed);
        let kept = sealed(&workdir, &name);
        if workdir.join(format!("s/{name}/manifest.json")).exists() {
            assert_taken(&workdir, &arguments(&name, &[&address]), &name);
            continue;
        }
        assert!(is_killed);
        let report = resume(&workdir, &name, &[&address]);
        assert_eq!(report["content_digest"], whole["content_digest"], "{name}");
        assert_eq!(
            report["content_digest_exptime"],
            whole["content_digest_exptime"]
        );
        assert_eq!(report["records"], key_count);
        assert_eq!(report["kept_segments"], kept.len(), "{name}");
        assert_eq!(report["listed"], key_count);
        with_kept += u32::from(!kept.is_empty());
        // Sealed once, never touched again.
        let now = sealed(&workdir, &name);
        for (file, bytes) in &kept {
            assert!(now.get(file) == Some(bytes), "{name}: {file} has changed");
        }
        let files = fs::read_dir(workdir.join(format!("s/{name}"))).unwrap();
        // The manifest, the segments, the look-up objects.
        assert_eq!(files.count(), 3, "{name}: more than there should be");
        workdir
            .mcsnap(&["verify", "--deep", &format!("s/{name}")])
            .succeeds();
        fs::remove_dir_all(workdir.join(format!("s/{name}"))).unwrap();
    }
    assert!(killed >= 29, "only {killed} of 30 were killed");
    assert!(with_kept > 10, "only {with_kept} of 30 had sealed anything");
}

#[test]
fn a_dump_killed_again_and_again_gets_there() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("again");
    let whole = resume(&workdir, "whole", &[&address]);
    let mut before = 0;
    for round in 1..=4 {
        let run = workdir.mcsnap(&arguments("a", &[&address]));
        before = killed(&workdir, run.arg("--resume"));
        assert!(before >= 2 * round);
    }
    let report = resume(&workdir, "a", &[&address]);
    assert_eq!(report["kept_segments"], before);
    assert_eq!(report["content_digest"], whole["content_digest"]);
    // What is done is not done again.
    assert_taken(&workdir, &arguments("a", &[&address]), "a");
}

/// A finished snapshot has its name for good, and a dump each night says how to get
/// another one; also one that would change nothing.
fn assert_taken(workdir: &Workdir, arguments: &[&str], name: &str) {
    let root = workdir.path().canonicalize().unwrap().display().to_string();
    for dry_run in ["--dry-run=false", "--dry-run"] {
        let output = workdir
            .mcsnap(arguments)
            .arg("--resume")
            .arg(dry_run)
            .exits(2);
        assert_eq!(
            stderr_of(&output),
            format!(
                "mcsnap: snapshot {root}/s/{name} already exists; pass another --name; it may have \
                 the date: night-%F\n"
            )
        );
    }
}

#[test]
fn what_changed_meanwhile_is_taken_as_it_is_now() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("changed");
    let run = workdir.mcsnap(&arguments("a", &[&address]));
    let (child, gate) = start_held(run, &workdir);
    let output = stop_at_gate(child, &gate, "TERM");
    assert_eq!(output.status.code(), Some(143));
    let mut client = server.client();
    client.load((0..100).map(|at| Item::new(format!("new:{at}"), "n")));
    let report = resume(&workdir, "a", &[&address]);
    assert_eq!(report["records"], KEY_COUNT + 100);
    assert_eq!(report["verdict"], "complete");
    let output = workdir
        .mcsnap(&["ls", "s/a", "--keys", "--prefix", "new:"])
        .succeeds();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 100);
}

#[test]
fn a_stopped_dump_keeps_what_it_sealed_and_says_how_to_go_on() {
    let server = filled_server();
    let address = server.address();
    for (name, code) in [("HUP", 143), ("INT", 130), ("TERM", 143)] {
        let workdir = Workdir::new("stopped");
        // Whatever the tests themselves are to ignore.
        let defaults = ["env", "--default-signal=HUP,INT,TERM"];
        let run = workdir.mcsnap_by(&defaults, arguments("a", &[&address]));
        let (child, gate) = start_held(run, &workdir);
        let output = stop_at_gate(child, &gate, name);
        assert_eq!(output.status.code(), Some(code));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let ended =
            format!("mcsnap: stopped by SIG{name}; pass --resume --name a to go on with it\n");
        assert!(
            told.starts_with(&format!("mcsnap: stopping (SIG{name}): ")),
            "{told}"
        );
        assert!(
            told.ends_with(&ended) && told.lines().count() == 2,
            "{told}"
        );
        // The same command alone is no way to go on by mistake.
        let output = workdir.mcsnap(&arguments("a", &[&address])).exits(2);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            message.ends_with("already exists; pass --resume --name a to go on with it\n"),
            "{message}"
        );
        let report = resume(&workdir, "a", &[&address]);
        assert!(report["kept_segments"].as_u64().unwrap() >= 2);
        assert_eq!(report["records"], KEY_COUNT);
    }
}

/// As `nohup` starts it.
#[test]
fn a_dump_that_is_to_ignore_the_end_of_its_terminal_ignores_it() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("nohup");
    let run = workdir.mcsnap_by(&["env", "--ignore-signal=HUP"], arguments("a", &[&address]));
    let (child, gate) = start_held(run, &workdir);
    signal(&child, "HUP");
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr_of(&output));
}

#[test]
fn a_dump_stopped_before_it_had_anything_leaves_nothing() {
    let stats = "STAT pid 1\r\nSTAT uptime 10\r\nSTAT time 1700000000\r\n\
                 STAT version 1.6.18\r\nSTAT curr_items 1\r\nEND\r\n";
    let server = FakeServer::ruled([
        Rule::new("stats settings", [Step::reply("END\r\n")]),
        Rule::new("stats", [Step::reply(stats)]),
        Rule::new(
            "lru_crawler metadump 0",
            [Step::reply("BADCLASS invalid class id\r\n")],
        ),
        Rule::new("lru_crawler metadump hash", [Step::Hang]),
    ]);
    let address = server.address();
    let workdir = Workdir::new("nothing-sealed");
    let mut child = workdir.mcsnap(&arguments("a", &[&address])).spawn();
    wait_until("the dump starts", || workdir.join("s/a/dump.json").exists());
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!workdir.join("s/a").exists(), "something is left");
}

#[test]
fn nothing_but_its_own_files_is_removed() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("own-files");
    killed(&workdir, workdir.mcsnap(&arguments("a", &[&address])));
    let place = workdir.join("s/a/segments");
    let foreign = [
        place.join("notes.txt"),
        place.join("other.partial"),
        place.join("n0000-s000-00099-zzzzzzzz.mcs.partial"),
        workdir.join("s/a/README"),
    ];
    for path in &foreign {
        fs::write(path, "mine").unwrap();
    }
    // As long as a file header, of another snapshot.
    let stranger = place.join("n0000-s000-00098-01234567.mcs.partial");
    fs::write(&stranger, [0x55; 100]).unwrap();
    let report = resume(&workdir, "a", &[&address]);
    assert_eq!(report["records"], KEY_COUNT);
    for path in &foreign {
        assert_eq!(fs::read_to_string(path).unwrap(), "mine", "{path:?}");
    }
    assert_eq!(fs::read(&stranger).unwrap(), [0x55; 100]);
}

#[test]
fn another_dump_is_not_gone_on_with() {
    let server = filled_server();
    let other = Memcached::start();
    let (address, second) = (server.address(), other.address());
    let workdir = Workdir::new("another");
    killed(&workdir, workdir.mcsnap(&arguments("a", &[&address])));
    let refusal = |arguments: &[&str], code| {
        let output = workdir.mcsnap(arguments).arg("--resume").exits(code);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let kept = sealed(&workdir, "a");
    let message = refusal(&arguments("a", &[&address, &second]), 2);
    assert!(
        message.contains(&format!("was begun with {address}")),
        "{message}"
    );
    let mut sharded = arguments("a", &[&address]);
    sharded.push("--shards=4");
    let message = refusal(&sharded, 2);
    assert!(message.contains("shards \"4\": the dump to go on with was begun with 2"));

    // A segment of another dump in its place.
    resume(&workdir, "b", &[&address]);
    let foreign = sealed(&workdir, "b").into_iter().next().unwrap();
    let path = workdir.join("s/a/segments").join(&foreign.0);
    fs::write(&path, &foreign.1).unwrap();
    let message = refusal(&arguments("a", &[&address]), 2);
    assert!(
        message.contains("it is no segment of the dump that dump.json tells of; move it away"),
        "{message}"
    );
    fs::remove_file(&path).unwrap();

    // A damaged one.
    let (name, bytes) = kept.iter().next().unwrap();
    let path = workdir.join("s/a/segments").join(name);
    let mut damaged = bytes.clone();
    for at in [damaged.len() - 10, damaged.len() / 2, 70] {
        damaged[at] ^= 1;
        fs::write(&path, &damaged).unwrap();
        let message = refusal(&arguments("a", &[&address]), 1);
        assert!(message.contains(name.as_str()), "{message}");
        let advice = "; move the file away, and its items are read again\n";
        assert!(message.ends_with(advice), "{message}");
        damaged[at] ^= 1;
    }
    fs::write(&path, bytes).unwrap();

    // No journal.
    let journal = workdir.join("s/a/dump.json");
    let text = fs::read(&journal).unwrap();
    fs::write(&journal, "{}").unwrap();
    let message = refusal(&arguments("a", &[&address]), 1);
    assert!(
        message.contains("dump.json: journal cannot be understood"),
        "{message}"
    );
    fs::remove_file(&journal).unwrap();
    let message = refusal(&arguments("a", &[&address]), 2);
    assert!(message.contains("no dump.json"), "{message}");
    fs::write(&journal, text).unwrap();

    let report = resume(&workdir, "a", &[&address]);
    assert_eq!(report["kept_segments"], kept.len());
}

#[test]
fn a_running_dump_is_left_alone() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("running");
    let run = workdir.mcsnap(&arguments("a", &[&address]));
    let (mut child, gate) = start_held(run, &workdir);
    for resume in ["--resume", "--resume=false"] {
        let output = workdir
            .mcsnap(&arguments("a", &[&address]))
            .arg(resume)
            .run();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(
            message.ends_with("s/a is being written by another process\n"),
            "{message}"
        );
    }
    gate.open();
    assert!(child.wait().unwrap().success());
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
}

#[test]
fn without_a_name_the_dump_of_the_same_servers_is_found() {
    let server = filled_server();
    let other = Memcached::start();
    let address = server.address();
    let workdir = Workdir::new("nameless");
    let nameless = [
        "dump",
        "--to",
        "s",
        "--segment-size=1MiB",
        "--format=json",
        "-q",
    ];
    let run = |node: &str, code| {
        workdir
            .mcsnap(&nameless)
            .arg(node)
            .arg("--resume")
            .exits(code)
    };
    // There is none yet.
    run(&other.address(), 0);
    killed(&workdir, workdir.mcsnap(&arguments("a", &[&address])));
    // Not of these servers.
    run(&other.address(), 0);
    assert!(workdir.join("s/a/dump.json").exists());
    fs::create_dir_all(workdir.join("s/b")).unwrap();
    let journal = workdir.join("s/a/dump.json");
    fs::copy(&journal, workdir.join("s/b/dump.json")).unwrap();
    let output = run(&address, 0);
    let root = workdir.path().canonicalize().unwrap().display().to_string();
    let wanted = format!(
        "there are several unfinished dumps of these servers: {root}/s/a, {root}/s/b; this dump \
         starts anew. To go on with one pass --resume with its --name; remove \
         the directories of the others, or make snapshots of them by mcsnap salvage\n"
    );
    let message = stderr_of(&output);
    assert!(message.ends_with(&wanted), "{message}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["name"] != "a" && report["name"] != "b", "{report}");
    assert_eq!(report["kept_began_at"], Value::Null);
    assert!(journal.exists() && workdir.join("s/b/dump.json").exists());
    fs::remove_dir_all(workdir.join("s/b")).unwrap();
    let output = run(&address, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["name"], "a");
    assert!(report["kept_segments"].as_u64().unwrap() > 0);
}

#[test]
fn a_finished_snapshot_keeps_its_name() {
    let (server, other) = (Memcached::start(), Memcached::start());
    server.client().set("key", 0, 0, b"value");
    let (address, second) = (server.address(), other.address());
    let workdir = Workdir::new("finished");
    let whole = resume(&workdir, "a", &[&address]);
    assert_eq!(whole["verdict"], "complete");
    let mut selecting = arguments("a", &[&address]);
    selecting.push("--select=prefix=x");
    for arguments in [
        arguments("a", &[&address]),
        arguments("a", &[&second]),
        selecting,
    ] {
        assert_taken(&workdir, &arguments, "a");
    }
    // A kill between the manifest and the end of the journal.
    let path = workdir.join("s/a/dump.json");
    let journal = Journal::new(SnapshotId([7; 16]), String::new()).encode();
    fs::write(&path, journal).unwrap();
    assert_taken(&workdir, &arguments("a", &[&address]), "a");
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
}

#[test]
fn what_is_not_said_again_is_as_it_was() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("as-it-was");
    let mut sharded = arguments("a", &[&address]);
    sharded.push("--shards=4");
    killed(&workdir, workdir.mcsnap(&sharded));
    let report = resume(&workdir, "a", &[&address]);
    assert_eq!(report["records"], KEY_COUNT);
    assert!(report["kept_segments"].as_u64().unwrap() >= 2);
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
}

/// A dump that was killed with something sealed; returns how many segments.
fn killed(workdir: &Workdir, run: Run) -> usize {
    let (mut child, _gate) = start_held(run, workdir);
    child.kill().unwrap();
    child.wait().unwrap();
    sealed_count(workdir, "a")
}

#[test]
fn the_same_servers_in_another_order_start_anew_and_say_so() {
    let (server, second) = (filled_server(), Memcached::start());
    second.client().set("key", 0, 0, b"value");
    let (address, other) = (server.address(), second.address());
    let workdir = Workdir::new("order");
    killed(
        &workdir,
        workdir.mcsnap(&arguments("a", &[&address, &other])),
    );
    let nameless = ["dump", "--to", "s", "--resume", "--progress=none"];
    let root = workdir.path().canonicalize().unwrap().display().to_string();
    let left = |select: &str| {
        format!(
            "{root}/s/a is an unfinished dump of {address} {other}, with the selection \"{select}\" \
             and 2 shards a server; this one is another, and goes on with nothing of it\n"
        )
    };
    let reordered = arguments("a", &[&other, &address]);
    let output = workdir.mcsnap(&reordered).arg("--resume").exits(2);
    assert_eq!(
        stderr_of(&output),
        format!(
            "mcsnap: nodes \"{other}, {address}\": the dump to go on with was begun with {address}, \
             {other}; give the same, or another --name to start anew\n"
        )
    );
    // A job in another order, with a selection of its own, with other shards, or of
    // fewer servers is another; it is told of what it leaves.
    for arguments in [
        vec![&other[..], &address],
        vec!["--select=prefix=key:1", &address, &other],
        vec!["--shards=4", &address, &other],
        vec![&address],
    ] {
        for dry_run in ["--dry-run", "--dry-run=false"] {
            let output = workdir
                .mcsnap(&[&nameless[..], &[dry_run], &arguments].concat())
                .succeeds();
            let message = stderr_of(&output);
            assert!(message.ends_with(&left("all")), "{message}");
        }
    }
    let report = resume(&workdir, "a", &[&address, &other]);
    assert!(report["kept_segments"].as_u64().unwrap() >= 2);
}

#[test]
fn a_selection_by_owner_is_found_again() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("owner");
    let select = format!("--select=owner={address}");
    let mut selecting = arguments("a", &[&address]);
    selecting.extend([&select[..], "--ring=ketama"]);
    let count = killed(&workdir, workdir.mcsnap(&selecting));
    let nameless = selecting
        .iter()
        .filter(|argument| !["--name", "a"].contains(argument));
    let nameless: Vec<&str> = nameless.copied().collect();
    let output = workdir.mcsnap(&nameless).arg("--resume").succeeds();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["name"], "a");
    assert_eq!(report["kept_segments"], count);
}

#[test]
fn a_dry_run_tells_what_would_be_kept_and_changes_nothing() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("dry-resume");
    let dry = |name: &str, format: &str, code| {
        let mut arguments = vec!["dump", "--to", "s", "--name", name, "--resume", "--dry-run"];
        arguments.extend([format, &address]);
        let output = workdir.mcsnap(&arguments).exits(code);
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr_of(&output),
        )
    };
    let nothing = "kept      nothing: no dump that did not finish has anything to go on with\n";
    let (plan, _) = dry("a", "--format=text", 0);
    assert!(plan.contains(nothing), "{plan}");
    assert!(!workdir.join("s").exists());
    let count = killed(&workdir, workdir.mcsnap(&arguments("a", &[&address])));
    let listing = || {
        let mut names: Vec<_> = fs::read_dir(workdir.join("s/a/segments"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let before = listing();
    let (plan, _) = dry("a", "--format=json", 0);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["kept_segments"], count);
    let records = plan["kept_records"].as_u64().unwrap();
    assert!(records > 0, "{plan}");
    let began_at = plan["kept_began_at"].as_str().unwrap().to_owned();
    assert!(plan["kept_age_s"].as_u64().unwrap() < 600, "{plan}");
    let (plan, _) = dry("a", "--format=text", 0);
    let row = format!("in {count} segments of a dump that began at {began_at}, ");
    assert!(plan.contains(&row), "{plan}");
    let rest = " before this run; what has changed since is read anew\n";
    assert!(plan.contains(rest), "{plan}");
    assert_eq!(listing(), before, "a dry run has changed something");
    let (plan, _) = dry("b", "--format=text", 0);
    assert!(plan.contains(nothing) && !workdir.join("s/b").exists());
    // What would be refused is refused.
    let name = sealed(&workdir, "a").into_keys().next().unwrap();
    let path = workdir.join("s/a/segments").join(name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (_, message) = dry("a", "--format=text", 1);
    let advice = "; move the file away, and its items are read again\n";
    assert!(message.ends_with(advice), "{message}");
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let report = resume(&workdir, "a", &[&address]);
    assert_eq!(report["kept_segments"], count);
    assert_eq!(report["kept_records"], records);
    assert_eq!(report["kept_began_at"], began_at);
    assert!(report["kept_age_s"].as_u64().unwrap() < 600, "{report}");
}

#[test]
fn who_looks_at_an_unfinished_dump_is_told_how_it_goes_on() {
    let server = filled_server();
    let address = server.address();
    let workdir = Workdir::new("look");
    killed(&workdir, workdir.mcsnap(&arguments("a", &[&address])));
    let root = workdir.path().canonicalize().unwrap().display().to_string();
    for command in [
        &["verify", "s/a"][..],
        &["ls", "s/a"],
        &["inspect", "s/a"],
        &["get", "s/a", "key"],
        &["restore", "s/a", "--to", &address],
    ] {
        let output = workdir.mcsnap(command).exits(2);
        assert_eq!(
            stderr_of(&output),
            format!(
                "mcsnap: snapshot \"{root}/s/a\": a dump that has not finished: mcsnap dump of the \
                 same servers with --resume --name a goes on with it, and mcsnap salvage makes a \
                 snapshot of what is there\n"
            ),
            "{command:?}"
        );
    }
}

#[test]
fn a_finished_partial_snapshot_stays_so() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let address = server.address();
    let gone = Memcached::start().address();
    let workdir = Workdir::new("partial");
    let run = |code| {
        let arguments = ["dump", "--to", "s", "--name=a", "--resume", "-q"];
        let arguments = [&arguments[..], &["--allow-partial", &address, &gone]].concat();
        stderr_of(&workdir.mcsnap(&arguments).exits(code))
    };
    run(3);
    let message = run(2);
    let wanted = "s/a already exists; pass another --name; it may have the date: night-%F\n";
    assert!(message.ends_with(wanted), "{message}");
}
