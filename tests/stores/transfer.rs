//! Pushes and pulls between places.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mcsnap::ports::store::{MapChoice, ObjectInfo, Store, open_snapshot_place};
use serde_json::Value;

use crate::client::Item;
use crate::place::{BUCKET, Place};
use crate::program::filled;
use crate::workdir::Workdir;

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

pub(crate) fn a_snapshot_goes_to_a_bucket_and_to_another_and_comes_back_byte_for_byte(
    place_of_all: &Place,
) {
    let (server, workdir) = (filled(), Workdir::new("push"));
    let run = |arguments: &[&str]| place_of_all.set_up(workdir.mcsnap(arguments));
    let url = |path: &str| place_of_all.url(path);
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
        // Another way to write it.
        (
            url("first/n/manifest.json"),
            url("/first/").replace("s3://", "s3a://"),
        ),
        (url("first/n"), url("first/n")),
    ] {
        let refused = run(&["push", &place, "--to", &to, "--dry-run"]).exits(2);
        let refused = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.contains("itself, or lie in it"), "{refused}");
    }
    let elsewhere = url("a").replace(BUCKET, "no-such-bucket");
    let refused = run(&["push", "s/n", "--to", &elsewhere]).exits(1);
    let refused = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.contains("there is no such bucket"), "{refused}");

    // Damage in the bucket is found on the way back.
    let objects = place_of_all.store("first").list("n/segments").unwrap();
    place_of_all.flip_byte(&format!("first/{}", objects[0].name), 1_000_000);
    let told = run(&["pull", &url("first/n"), "--to=hurt"]).exits(3);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(&objects[0].name), "{told}");
    assert!(!workdir.join("hurt/n/manifest.json").exists());
}

pub(crate) fn a_push_and_a_pull_that_were_killed_go_on(place_of_all: &Place) {
    let (server, workdir) = (filled(), Workdir::new("killed"));
    let run = |arguments: &[&str]| place_of_all.set_up(workdir.mcsnap(arguments));
    let url = |path: &str| place_of_all.url(path);
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
    let to = url("pushed");
    let store = place_of_all.store("pushed");
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

    let place = url("pushed/n");
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
