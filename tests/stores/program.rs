//! The program, with URLs where a directory can be.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mcsnap::ports::store::{CloudStore, MapChoice, ObjectInfo, Store, open_snapshot_place};
use serde_json::Value;

use crate::client::Item;
use crate::memcached::Memcached;
use crate::moto::{BUCKET, Moto};
use crate::workdir::Workdir;

fn filled() -> Memcached {
    let server = Memcached::start_with(&["-m", "256"]);
    let items = (0..3000_u32).map(|number| {
        let value = number
            .to_le_bytes()
            .repeat(200 + usize::try_from(number % 97).unwrap());
        Item::new(format!("key:{number}"), value).flags(number)
    });
    server.client().load(items);
    server
}

fn url(path: &str) -> String {
    format!("s3://{BUCKET}/{path}")
}

#[test]
fn every_verb_takes_the_url_of_a_snapshot() {
    let (moto, server, workdir) = (Moto::start(), filled(), Workdir::new("verbs"));
    let run = |arguments: &[&str]| moto.set_up(workdir.mcsnap(arguments));
    let to = url("backups");
    let dump = [
        "dump",
        "--to",
        &to,
        "--name=n",
        "--segment-size=1MiB",
        &server.address(),
    ];
    run(&dump).succeeds();
    // The name is taken now.
    run(&dump).exits(2);
    let place = url("backups/n");
    run(&["verify", "--deep", &place]).succeeds();
    let latest = url("backups/latest");
    let found = run(&["get", &latest, "key:7", "--raw"]).succeeds();
    assert_eq!(found.stdout, 7_u32.to_le_bytes().repeat(207));
    run(&["get", &place, "nowhere"]).exits(4);
    let keys = run(&["ls", &place, "--keys"]).succeeds().stdout;
    assert_eq!(String::from_utf8(keys).unwrap().lines().count(), 3000);
    let inspected = run(&["inspect", &place, "--format=json"]).succeeds();
    let inspected: Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(inspected["totals"]["records"], 3000);
    run(&["repack", &place, "--look-ups"]).succeeds();
    run(&["verify", "--deep", "--record", &place]).succeeds();

    let target = Memcached::start_with(&["-m", "256"]);
    run(&["restore", "--to", &target.address(), &place]).succeeds();
    let again = ["dump", "--to", &to, "--name=again", &target.address()];
    run(&again).succeeds();
    let digest = |place: &str| {
        let found = run(&["inspect", place, "--format=json"]).succeeds();
        let found: Value = serde_json::from_slice(&found.stdout).unwrap();
        found["snapshot"]["content_digest"].clone()
    };
    assert_eq!(digest(&place), digest(&url("backups/again")));
}

#[test]
fn damage_in_a_bucket_is_found_and_the_rest_brought_out() {
    let (moto, server, workdir) = (Moto::start(), filled(), Workdir::new("damage"));
    let run = |arguments: &[&str]| moto.set_up(workdir.mcsnap(arguments));
    let to = url("backups");
    run(&[
        "dump",
        "--to",
        &to,
        "--name=n",
        "--compression=none",
        &server.address(),
    ])
    .succeeds();
    let store = CloudStore::with_client(moto.client(), &to).unwrap();
    let objects = store.list("n/segments").unwrap();
    moto.flip_byte(&format!("backups/{}", objects[0].name), 1_000_000);
    let place = url("backups/n");
    run(&["verify", "--data", &place]).exits(3);
    let salvaged = url("salvaged");
    run(&["salvage", "--to", &salvaged, "--name=s", &place]).exits(3);
    run(&["verify", "--deep", &url("salvaged/s")]).succeeds();
}

#[test]
fn what_cannot_work_is_told_in_a_line() {
    let (moto, workdir) = (Moto::start(), Workdir::new("words"));
    let server = Memcached::start();
    let address = server.address();
    let set_up = |arguments: &[&str]| moto.set_up(workdir.mcsnap(arguments));
    let told = |run: crate::workdir::Run, code: i32| {
        let output = run.exits(code);
        String::from_utf8(output.stderr).unwrap()
    };
    let dump = |to: &str| set_up(&["dump", "--to", to, "--name=n", &address]);
    let text = told(dump("s3://key:SECRET@bucket/a"), 2);
    assert!(
        text.contains("user name or password") && !text.contains("SECRET"),
        "{text}"
    );
    let text = told(dump("ftp://bucket/a"), 2);
    assert!(text.contains("wanted a directory, or a URL"), "{text}");
    let text = told(dump(&url("a")).env("AWS_ENDPOINT", "http://127.0.0.1:1"), 2);
    assert!(text.contains("it contradicts"), "{text}");
    let text = told(dump(&url("a")).env("AWS_SECRET_ACCESS_KEY", ""), 2);
    assert!(text.contains("AWS_SECRET_ACCESS_KEY"), "{text}");
    let run = set_up(&["ls"]).arg(url("nothing/here"));
    let text = told(run, 1);
    assert!(text.contains(&url("nothing/here")), "{text}");
    let text = told(set_up(&["ls"]).arg("s3://no-such-bucket/n"), 1);
    assert!(text.contains("there is no such bucket"), "{text}");
    let text = told(set_up(&["ls"]).arg(url("nothing/latest")), 1);
    assert!(text.contains(&url("nothing/latest")), "{text}");
}

#[test]
fn a_dump_that_was_killed_goes_on_in_its_bucket() {
    let (moto, server, workdir) = (Moto::start(), filled(), Workdir::new("resume"));
    let to = url("backups");
    let address = server.address();
    let dump = |more: &[&str]| {
        let run = moto.set_up(workdir.mcsnap(&["dump", "--to", &to, "--name=n"]));
        let run = run.arg("--segment-size=1MiB").arg("--compression=none");
        more.iter()
            .fold(run, |run, word| run.arg(word))
            .arg(&address)
    };
    let mut child = dump(&["--items-per-second=500"]).spawn();
    let store = CloudStore::with_client(moto.client(), &to).unwrap();
    // Until something is sealed.
    let limit = Instant::now() + Duration::from_secs(60);
    while store.list("n/segments").unwrap().is_empty() {
        assert!(Instant::now() < limit, "nothing is sealed");
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(store.open("n/manifest.json").is_err());
    let sealed = store.list("n/segments").unwrap();
    dump(&["--resume"]).succeeds();
    moto.set_up(workdir.mcsnap(&["verify", "--deep"]))
        .arg(url("backups/n"))
        .succeeds();
    // What was sealed is kept.
    let names: Vec<String> = store
        .list("n/segments")
        .unwrap()
        .into_iter()
        .map(|o| o.name)
        .collect();
    assert!(
        sealed.iter().all(|object| names.contains(&object.name)),
        "{names:?}"
    );
    assert_eq!(store.list_unfinished("").unwrap(), []);
}

/// All files of a local snapshot, with their bytes.
fn local_files(place: &Path) -> BTreeMap<String, Vec<u8>> {
    let (store, name) = open_snapshot_place(place.to_str().unwrap(), MapChoice::Never).unwrap();
    files_of(&*store, &name)
}

fn files_of(store: &dyn Store, name: &str) -> BTreeMap<String, Vec<u8>> {
    let read = |info: ObjectInfo| {
        let mut bytes = vec![0; usize::try_from(info.size).unwrap()];
        if !bytes.is_empty() {
            let object = store.open(&info.name).unwrap();
            object.read_at(0, &mut bytes).unwrap();
        }
        (info.name, bytes)
    };
    store.list(name).unwrap().into_iter().map(read).collect()
}

#[test]
fn a_snapshot_goes_to_a_bucket_and_to_another_and_comes_back_byte_for_byte() {
    let (moto, server, workdir) = (Moto::start(), filled(), Workdir::new("push"));
    let run = |arguments: &[&str]| moto.set_up(workdir.mcsnap(arguments));
    let large =
        (0..12_u8).map(|number| Item::new(format!("large:{number}"), vec![number; 900_000]));
    server.client().load(large);
    // One segment that goes up in parts, and a small one.
    run(&[
        "dump",
        "--to=s",
        "--name=n",
        "--compression=none",
        "--shards=1",
        "--segment-records=2990",
        &server.address(),
    ])
    .succeeds();
    run(&["verify", "--record", "s/n"]).succeeds();
    let wanted = local_files(&workdir.join("s/n"));
    let longest = wanted.values().map(Vec::len).max().unwrap();
    assert!(longest > 9 << 20, "{longest}");
    let (first, second) = (url("first"), url("second"));
    run(&["push", "s/latest", "--to", &first]).succeeds();
    run(&["verify", "--deep", &url("first/n")]).succeeds();
    run(&["push", &url("first/latest"), "--to", &second]).succeeds();
    run(&["pull", &url("second/n"), "--to=back"]).succeeds();
    assert_eq!(local_files(&workdir.join("back/n")), wanted);
    let told = run(&["push", "s/n", "--to", &first]).succeeds();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("there already"), "{told}");
    for (place, to) in [
        (url("first/n"), first.clone()),
        (
            url("first/n/manifest.json"),
            format!("s3a://{BUCKET}//first/"),
        ),
        (url("first/n"), url("first/n")),
    ] {
        let refused = run(&["push", &place, "--to", &to, "--dry-run"]).exits(2);
        let refused = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.contains("itself, or lie in it"), "{refused}");
    }
    let refused = run(&["push", "s/n", "--to", "s3://no-such-bucket/a"]).exits(1);
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.contains("there is no such bucket"), "{refused}");

    // Damage in the bucket is found on the way back.
    let store = CloudStore::with_client(moto.client(), &first).unwrap();
    let objects = store.list("n/segments").unwrap();
    moto.flip_byte(&format!("first/{}", objects[0].name), 1_000_000);
    let told = run(&["pull", &url("first/n"), "--to=hurt"]).exits(3);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(&objects[0].name), "{told}");
    assert!(!workdir.join("hurt/n/manifest.json").exists());
}

#[test]
fn a_push_and_a_pull_that_were_killed_go_on() {
    let (moto, server, workdir) = (Moto::start(), filled(), Workdir::new("killed"));
    let run = |arguments: &[&str]| moto.set_up(workdir.mcsnap(arguments));
    run(&[
        "dump",
        "--to=s",
        "--name=n",
        "--segment-size=1MiB",
        "--compression=none",
        &server.address(),
    ])
    .succeeds();
    let wanted = local_files(&workdir.join("s/n"));
    let to = url("backups");
    let store = CloudStore::with_client(moto.client(), &to).unwrap();
    let kill_when = |words: &[&str], has_some: &dyn Fn() -> bool| {
        let mut child = run(words).arg("--bytes-per-second=4MiB").spawn();
        let limit = Instant::now() + Duration::from_secs(60);
        while !has_some() {
            assert!(Instant::now() < limit, "nothing is copied");
            thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    };
    let push = ["push", "s/n", "--to", &to];
    kill_when(&push, &|| !store.list("n/segments").unwrap().is_empty());
    assert!(store.open("n/manifest.json").is_err());
    let pushed = run(&push).arg("--format=json").succeeds();
    let pushed: Value = serde_json::from_slice(&pushed.stdout).unwrap();
    assert!(pushed["objects_kept"].as_u64().unwrap() > 0, "{pushed}");
    assert_eq!(files_of(&store, "n"), wanted);

    let place = url("backups/n");
    let pull = ["pull", &*place, "--to=back"];
    let sealed = || {
        let entries = std::fs::read_dir(workdir.join("back/n/segments"));
        let mut names = entries
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().path());
        names.any(|path| path.extension().is_some_and(|end| end == "mcs"))
    };
    kill_when(&pull, &sealed);
    assert!(!workdir.join("back/n/manifest.json").exists());
    let pulled = run(&pull).arg("--format=json").succeeds();
    let pulled: Value = serde_json::from_slice(&pulled.stdout).unwrap();
    assert!(pulled["objects_kept"].as_u64().unwrap() > 0, "{pulled}");
    assert_eq!(local_files(&workdir.join("back/n")), wanted);
    run(&["verify", "--deep", "back/n"]).succeeds();
}
