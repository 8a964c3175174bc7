//! What a dump does with an unfinished one that is of no use any more: it begins anew,
//! and says what is left and what to do with it.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use mcsnap::codecs::format::compression::Compression;
use mcsnap::jobs::dump::{DumpOptions, DumpPlan, ResumeOptions, Start};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::net::Brake;
use mcsnap::ports::store::{Fault, FaultyStore, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::ErrorKind;
use mcsnap::words::progress::{Event, NoProgress, Progress};
use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::reports::{report_of, stderr_of};
use crate::harness::unfinished_dump::{KEY_COUNT, arguments, half_dumped, sealed};
use crate::harness::workdir::Workdir;

/// Moves the beginning of the dump into the past, or into the future; returns it as
/// the journal has it.
fn begin_at(workdir: &Workdir, seconds: i64) -> String {
    let path = workdir.join("s/a/dump.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut journal: Value = serde_json::from_str(&text).unwrap();
    let now = jiff::Timestamp::try_from(SystemTime::now()).unwrap();
    let begin = now + jiff::SignedDuration::from_secs(seconds);
    let begin = begin.strftime("%FT%TZ").to_string();
    journal["started_at"] = Value::String(begin.clone());
    fs::write(&path, journal.to_string()).unwrap();
    begin
}

/// Where the unfinished dump is, as a message names it.
fn place(workdir: &Workdir) -> String {
    let root = workdir.path().canonicalize().unwrap();
    root.join("s/a").display().to_string()
}

/// The same dump, but under whatever name.
fn nameless<'a>(address: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = arguments("a", address, more);
    arguments.retain(|argument| !["--name", "a"].contains(argument));
    arguments
}

#[test]
fn only_a_dump_that_began_in_time_goes_on() {
    let (server, workdir, count) = half_dumped(&[], &[]);
    let address = server.address();
    let plan = |resume: &str| {
        let output = workdir
            .mcsnap(&nameless(&address, &["--dry-run", resume]))
            .succeeds();
        (report_of(&output), stderr_of(&output))
    };
    for (seconds, resume) in [
        (0, "--resume"),
        (-5 * 3600, "--resume"),
        (-5 * 3600, "--resume=true"),
        (-60, "--resume=2m"),
        (-7 * 86_400 + 60, "--resume=7d"),
        (3, "--resume=1s"),
    ] {
        let begin = begin_at(&workdir, seconds);
        let (plan, message) = plan(resume);
        assert_eq!((message.as_str(), &plan["name"]), ("", &"a".into()));
        assert_eq!(plan["kept_segments"], count, "{resume}");
        assert_eq!(plan["kept_began_at"], begin);
        let age = plan["kept_age_s"].as_i64().unwrap();
        assert!((0..600).contains(&(age + seconds.min(0))), "{age}");
    }
    for (seconds, resume, told) in [
        (-6 * 3600 - 1, "--resume", "older than 6h is resumed"),
        (-90, "--resume=1m", "older than 1m is resumed"),
        (-2 * 86_400, "--resume=1d", "older than 24h is resumed"),
        (3600, "--resume", "from now by this host's clock"),
        (3600, "--resume=7d", "from now by this host's clock"),
    ] {
        let begin = begin_at(&workdir, seconds);
        let (plan, message) = plan(resume);
        let place = place(&workdir);
        let wanted =
            format!("{place} is an unfinished dump of these servers that began at {begin}, ");
        assert!(
            message.contains(&wanted) && message.contains(told),
            "{message}"
        );
        let advice = format!(
            "{told}; this dump starts anew, under another name. Remove the directory {place}, or \
             make a snapshot of it by mcsnap salvage\n"
        );
        assert!(message.ends_with(&advice), "{message}");
        assert_ne!(plan["name"], "a");
        assert_eq!(plan["kept_began_at"], Value::Null);
        assert_eq!(plan["kept_records"], 0);
    }
    // No moment at all is long ago.
    let path = workdir.join("s/a/dump.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut journal: Value = serde_json::from_str(&text).unwrap();
    journal["started_at"] = "yesterday".into();
    fs::write(&path, journal.to_string()).unwrap();
    let (_, message) = plan("--resume=3650d");
    assert!(message.contains("that began at yesterday, "), "{message}");
}

#[test]
fn each_night_has_a_snapshot_though_an_old_dump_lies_there() {
    let (server, workdir, _) = half_dumped(&[], &[]);
    let address = server.address();
    begin_at(&workdir, -86_400);
    let before = sealed(&workdir);
    let mut names = vec![Value::from("a")];
    for _ in 0..2 {
        let output = workdir
            .mcsnap(&nameless(&address, &["--resume"]))
            .succeeds();
        let report = report_of(&output);
        assert_eq!(report["records"], KEY_COUNT);
        assert_eq!(report["kept_records"], 0);
        assert_eq!(stderr_of(&output).matches("older than 6h").count(), 1);
        assert!(!names.contains(&report["name"]), "{report}");
        names.push(report["name"].clone());
    }
    assert_eq!(sealed(&workdir), before);
}

#[test]
fn a_restarted_or_flushed_server_is_dumped_anew() {
    let (server, workdir, count) = half_dumped(&[], &[]);
    let address = server.address();
    server.client().flush_all();
    server.client().wait_for_tick();
    server
        .client()
        .load((0..50).map(|at| Item::new(format!("new:{at}"), "n")));
    let told = format!(", and {address} was restarted or flushed since; this dump starts anew, ");
    let output = workdir
        .mcsnap(&nameless(&address, &["--resume"]))
        .succeeds();
    let message = stderr_of(&output);
    assert!(
        message.contains(&told) && message.contains(&place(&workdir)),
        "{message}"
    );
    let report = report_of(&output);
    assert_eq!(
        (&report["records"], &report["verdict"]),
        (&50.into(), &"complete".into())
    );
    assert_eq!(sealed(&workdir).len(), count);

    // In the name of the old one: of that nothing is left, and all else is.
    fs::write(workdir.join("s/a/segments/notes.txt"), "mine").unwrap();
    let stranger = workdir.join("s/a/segments/n0000-s000-00099-01234567.mcs");
    fs::write(&stranger, [0x55; 100]).unwrap();
    let partial = workdir.join("s/a/segments/n0000-s000-00098-01234567.mcs.partial");
    fs::write(&partial, [0x55; 100]).unwrap();
    let before = sealed(&workdir);
    let output = workdir
        .mcsnap(&arguments("a", &address, &["--resume"]))
        .succeeds();
    let message = stderr_of(&output);
    assert!(
        message.contains(&format!("{told}in its place\n")),
        "{message}"
    );
    assert!(message.contains("not a file of the dump that did not finish; it stays"));
    let report = report_of(&output);
    assert_eq!(
        (&report["name"], &report["records"]),
        (&"a".into(), &50.into())
    );
    let manifest = fs::read_to_string(workdir.join("s/a/manifest.json")).unwrap();
    let named: Vec<&String> = before
        .iter()
        .filter(|file| manifest.contains(*file))
        .collect();
    assert!(named.is_empty(), "{named:?}");
    assert_eq!(sealed(&workdir).len(), 3, "two shards and the stranger's");
    assert_eq!(fs::read(&stranger).unwrap(), [0x55; 100]);
    assert_eq!(fs::read(&partial).unwrap(), [0x55; 100]);
    assert!(workdir.join("s/a/segments/notes.txt").exists());
    assert!(!workdir.join("s/a/dump.json").exists());
}

#[test]
fn an_old_dump_of_the_same_name_is_replaced() {
    let (server, workdir, _) = half_dumped(&[], &[]);
    let address = server.address();
    let before = sealed(&workdir);
    begin_at(&workdir, -7 * 3600);
    let output = workdir
        .mcsnap(&arguments("a", &address, &["--resume", "--dry-run"]))
        .succeeds();
    assert!(stderr_of(&output).ends_with("this dump starts anew, in its place\n"));
    assert_eq!(report_of(&output)["kept_records"], 0);
    assert_eq!(sealed(&workdir), before);
    let output = workdir
        .mcsnap(&arguments("a", &address, &["--resume"]))
        .succeeds();
    let report = report_of(&output);
    assert_eq!(
        (&report["name"], &report["kept_records"]),
        (&"a".into(), &0.into())
    );
    let left = sealed(&workdir);
    assert!(before.iter().all(|file| !left.contains(file)));
    workdir.mcsnap(&["verify", "--deep", "s/a"]).succeeds();
}

#[test]
fn a_damaged_dump_is_left_alone_where_nobody_has_named_it() {
    let (server, workdir, _) = half_dumped(&[], &[]);
    let address = server.address();
    let files = sealed(&workdir);
    let path = workdir.join("s/a/segments").join(&files[0]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let run = || {
        let output = workdir
            .mcsnap(&nameless(&address, &["--resume"]))
            .succeeds();
        assert_eq!(report_of(&output)["records"], KEY_COUNT);
        assert_ne!(report_of(&output)["name"], "a");
        stderr_of(&output)
    };
    let message = run();
    assert!(
        message.contains(&files[0]) && message.contains(&place(&workdir)),
        "{message}"
    );
    fs::write(workdir.join("s/a/dump.json"), "{").unwrap();
    let message = run();
    assert!(message.contains("no run can resume: "), "{message}");
    assert_eq!(sealed(&workdir), files);
}

#[test]
fn an_age_that_is_none_is_told_as_such() {
    let workdir = Workdir::new("age");
    let told = "wanted true, false, or how long ago the unfinished dump began at most, from 1s to \
                3650d, such as 90m, 6h or 2d\n";
    for text in [
        "0",
        "0s",
        "-1h",
        "1",
        "1ms",
        "3651d",
        "h",
        "6 parsecs",
        "18446744073709551615d",
    ] {
        let output = workdir
            .mcsnap(&["dump", "--to=s", "127.0.0.1:1", &format!("--resume={text}")])
            .exits(2);
        assert_eq!(
            stderr_of(&output),
            format!("mcsnap: resume \"{text}\": {told}")
        );
        let output = workdir
            .mcsnap(&["dump", "--to=s", "127.0.0.1:1"])
            .env("MCSNAP_DUMP_RESUME", text)
            .exits(2);
        let wanted = format!("mcsnap: MCSNAP_DUMP_RESUME: resume \"{text}\": {told}");
        assert_eq!(stderr_of(&output), wanted);
        fs::write(workdir.join("c.yaml"), format!("dump: {{resume: {text}}}")).unwrap();
        let output = workdir
            .mcsnap(&["dump", "--to=s", "127.0.0.1:1", "--config=c.yaml"])
            .exits(2);
        let wanted = format!("mcsnap: c.yaml: dump: resume \"{text}\": {told}");
        assert_eq!(stderr_of(&output), wanted);
    }
    assert!(!workdir.join("s").exists());
}

#[test]
fn an_age_may_stand_in_every_layer_and_no_flag_takes_a_server_for_one() {
    let server = Memcached::start();
    let address = server.address();
    let workdir = Workdir::new("age-layers");
    let plan = |arguments: &[&str], variable: &str, yaml: &str| {
        fs::write(workdir.join("c.yaml"), yaml).unwrap();
        let common = [
            "dump",
            "--to=s",
            "--config=c.yaml",
            "--dry-run",
            "--format=json",
        ];
        let output = workdir
            .mcsnap(&[&common[..], arguments].concat())
            .env("MCSNAP_DUMP_RESUME", variable)
            .succeeds();
        report_of(&output)["resume_age_max_s"].clone()
    };
    let hour = Value::from(3600);
    let default = Value::from(6 * 3600);
    assert_eq!(plan(&["--resume", &address], "", ""), default);
    assert_eq!(plan(&[&address, "--resume=1h"], "", ""), hour);
    assert_eq!(plan(&[&address], "60m", ""), hour);
    assert_eq!(plan(&[&address], "true", ""), default);
    assert_eq!(plan(&[&address], "", "dump: {resume: 1h}"), hour);
    assert_eq!(plan(&[&address], "", "dump: {resume: true}"), default);
    assert_eq!(plan(&[&address], "", "dump: {resume: false}"), Value::Null);
    assert_eq!(
        plan(&[&address], "false", "dump: {resume: 1h}"),
        Value::Null
    );
    assert_eq!(plan(&[&address, "--resume=false"], "1h", ""), Value::Null);
    assert_eq!(plan(&[&address], "", ""), Value::Null);
}

fn plan(server: &Memcached, age_max: u64) -> DumpPlan {
    let options = DumpOptions {
        resume: Some(ResumeOptions {
            age_max: Duration::from_secs(age_max),
            is_any_name: false,
            takes_shard_bits: false,
        }),
        brake: Brake::full_speed(),
        nodes: vec![server.address().parse().unwrap()],
        name: "a".to_owned(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 30,
        compression: Compression::None,
        connection_count: 1,
        parallel_node_count: 1,
        spool_memory_max: 1 << 20,
        ..DumpOptions::default()
    };
    DumpPlan::make(options, &Cancel::new()).unwrap()
}

/// An unfinished dump of 100 items in a store, for a run of another plan.
fn unfinished(server: &Memcached) -> MemoryStore {
    let store = MemoryStore::new();
    let counting = FaultyStore::counting(store.clone());
    let run = |store| plan(server, 3600).run(Arc::new(store), &Cancel::new(), &NoProgress);
    run(counting.clone()).unwrap();
    // The last things are the manifest, and the end of the journal.
    for before_end in 1.. {
        let fail_at = counting.operation_count() - before_end;
        let store = MemoryStore::new();
        let run = run(FaultyStore::new(store.clone(), fail_at, Fault::Freeze));
        if run.is_err() && store.open("a/manifest.json").is_err() {
            assert!(store.list("a/segments").unwrap().len() >= 3);
            return store;
        }
    }
    unreachable!("the first operation is none of a manifest")
}

/// The same plan, where the name has the date in it.
fn dated_plan(server: &Memcached) -> DumpPlan {
    let mut plan = plan(server, 3600);
    plan.options.resume.as_mut().unwrap().is_any_name = true;
    plan
}

/// Changes what is stored in an object.
fn rewrite(store: &MemoryStore, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = bytes_of(store, name);
    change(&mut bytes);
    store.remove(name).unwrap();
    store.put_new(name, &bytes).unwrap();
}

fn bytes_of(store: &MemoryStore, name: &str) -> Vec<u8> {
    let reader = store.open(name).unwrap();
    let mut bytes = vec![0; usize::try_from(reader.size()).unwrap()];
    reader.read_at(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_damaged_dump_of_tonights_name_is_replaced() {
    let server = Memcached::start();
    let items = (0..100).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
    let store = unfinished(&server);
    let segment = store.list("a/segments").unwrap().remove(0).name;
    rewrite(&store, &segment, |bytes| bytes.truncate(bytes.len() / 2));
    let plan = dated_plan(&server);
    let kept = plan.preview(Arc::new(store.clone())).unwrap();
    assert_eq!(kept.records, 0);
    let run = |store: &MemoryStore| plan.run(Arc::new(store.clone()), &Cancel::new(), &NoProgress);
    let report = run(&store).unwrap();
    assert_eq!(report.manifest.name, "a");
    assert_eq!(
        (report.manifest.totals.records, report.kept.records),
        (100, 0)
    );
    assert!(store.open(&segment).is_err());

    // Which files are its own, only its journal tells.
    let store = unfinished(&server);
    rewrite(&store, "a/dump.json", |bytes| bytes.truncate(1));
    for error in [
        plan.preview(Arc::new(store.clone())).unwrap_err(),
        run(&store).unwrap_err(),
    ] {
        assert!(
            matches!(error.kind(), ErrorKind::AlreadyExists { .. }),
            "{error}"
        );
    }
}

#[test]
fn of_several_dumps_that_of_tonights_name_goes_on() {
    let server = Memcached::start();
    let items = (0..100).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
    let store = unfinished(&server);
    for object in store.list("a").unwrap() {
        let bytes = bytes_of(&store, &object.name);
        let file = object.name.strip_prefix("a/").unwrap();
        for name in ["0", "b"] {
            store.put_new(&format!("{name}/{file}"), &bytes).unwrap();
        }
    }
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let plan = dated_plan(&server).settle(&shared).unwrap();
    assert_eq!(plan.start, Some(Start::Resume { name: "a".into() }));
    let report = plan.run(shared, &Cancel::new(), &NoProgress).unwrap();
    assert!(report.kept.records > 0);
    assert!(store.open("0/dump.json").is_ok() && store.open("b/dump.json").is_ok());
}

/// Counts the walks that were told of.
#[derive(Default)]
struct Walks {
    begun: AtomicU32,
    ended: AtomicU32,
}

impl Progress for Walks {
    fn event(&self, event: Event) {
        let is_begin = matches!(event, Event::WalkStarted { .. });
        let is_end = matches!(event, Event::WalkEnded { .. });
        self.begun.fetch_add(is_begin.into(), Ordering::SeqCst);
        self.ended.fetch_add(is_end.into(), Ordering::SeqCst);
    }
}

/// Who stops a dump is told how long that may take while a walk is read.
#[test]
fn the_walk_that_compares_is_told_of_as_well() {
    let server = Memcached::start();
    let items = (0..100).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items);
    let store = unfinished(&server);
    let walks = Walks::default();
    let report = plan(&server, 3600).run(Arc::new(store), &Cancel::new(), &walks);
    assert!(report.unwrap().kept.records > 0);
    assert_eq!((walks.begun.into_inner(), walks.ended.into_inner()), (2, 2));
}

#[test]
fn what_is_said_of_an_old_dump_is_what_this_one_does() {
    let (server, workdir, count) = half_dumped(&[], &[]);
    let address = server.address();
    let copy = |name: &str| {
        let from = workdir.join("s/a");
        let to = workdir.join(format!("s/{name}"));
        fs::create_dir_all(to.join("segments")).unwrap();
        fs::copy(from.join("dump.json"), to.join("dump.json")).unwrap();
        for file in sealed(&workdir) {
            let file = format!("segments/{file}");
            fs::copy(from.join(&file), to.join(&file)).unwrap();
        }
    };
    copy("b");
    begin_at(&workdir, -7 * 3600);
    let output = workdir
        .mcsnap(&nameless(&address, &["--resume", "--dry-run"]))
        .succeeds();
    let (plan, message) = (report_of(&output), stderr_of(&output));
    assert_eq!(
        (&plan["name"], &plan["kept_segments"]),
        (&"b".into(), &count.into())
    );
    let place = place(&workdir);
    let other = place.replace("/s/a", "/s/b");
    let told = format!(
        "older than 6h is resumed; this dump goes on with {other}. Remove the directory {place}, or \
         make a snapshot of it by mcsnap salvage\n"
    );
    assert!(message.ends_with(&told), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

/// Copies the objects of a store.
fn copied(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    for object in store.list("").unwrap() {
        let bytes = bytes_of(store, &object.name);
        copy.put_new(&object.name, &bytes).unwrap();
    }
    copy
}

/// Wherever a run dies that drops what has changed, or begins anew in the place of
/// another, the next one gets to the same end.
#[test]
fn a_run_that_dies_while_it_removes_leaves_what_can_go_on() {
    let server = Memcached::start();
    let items = || (0..100).map(|at| Item::new(format!("key:{at}"), "value"));
    server.client().load(items());
    let left = unfinished(&server);
    server.client().load(items().take(30));
    server.client().command("delete key:99");
    for age_max in [3600, 0] {
        let start = |store: &MemoryStore, age_max| {
            let store: Arc<dyn Store> = Arc::new(store.clone());
            plan(&server, age_max)
                .settle(&store)
                .unwrap()
                .start
                .unwrap()
        };
        if age_max == 0 {
            // Older than nothing.
            std::thread::sleep(Duration::from_millis(1100));
            assert!(matches!(start(&left, 0), Start::Replace { .. }));
        }
        let run = |store: Arc<dyn Store>, age_max| {
            plan(&server, age_max).run(store, &Cancel::new(), &NoProgress)
        };
        let counting = FaultyStore::counting(copied(&left));
        let whole = run(Arc::new(counting.clone()), age_max).unwrap();
        let digest = whole.manifest.content_digest;
        assert_eq!(whole.manifest.totals.records, 99);
        let operation_count = counting.operation_count();
        for fail_at in 0..operation_count {
            let store = copied(&left);
            let faulty = FaultyStore::new(store.clone(), fail_at, Fault::Freeze);
            let died = run(Arc::new(faulty), age_max);
            if died.is_err() && store.open("a/manifest.json").is_err() {
                let again = run(Arc::new(store.clone()), 3600);
                let again =
                    again.unwrap_or_else(|error| panic!("at {fail_at}: {}", error.to_chain()));
                assert_eq!(again.manifest.content_digest, digest, "{fail_at}");
            }
            let options = VerifyOptions {
                depth: Depth::Deep,
                thread_count: 1,
            };
            let (store, cancel) = (Arc::new(store), Cancel::new());
            let verified = verify_snapshot(store, "a", &options, &cancel, &NoProgress).unwrap();
            assert_eq!(
                (verified.records, &verified.findings[..]),
                (99, &[][..]),
                "{fail_at}"
            );
        }
    }
}
