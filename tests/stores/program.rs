//! The program, with URLs where a directory can be. Which server the place is on is the
//! caller's choice.

use std::thread;
use std::time::{Duration, Instant};

use mcsnap::ports::store::Store as _;
use serde_json::Value;

use crate::client::Item;
use crate::memcached::Memcached;
use crate::place::Place;
use crate::workdir::{Run, Workdir};

pub(crate) fn filled() -> Memcached {
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

pub(crate) fn every_verb_takes_the_url_of_a_snapshot(place_of_all: &Place) {
    let (server, workdir) = (filled(), Workdir::new("verbs"));
    let run = |arguments: &[&str]| place_of_all.set_up(workdir.mcsnap(arguments));
    let url = |path: &str| place_of_all.url(path);
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

/// The least of it.
pub(crate) fn a_snapshot_goes_there_and_back(place_of_all: &Place) {
    let (server, workdir) = (filled(), Workdir::new("least"));
    let run = |arguments: &[&str]| place_of_all.set_up(workdir.mcsnap(arguments));
    let (to, place) = (place_of_all.url("least"), place_of_all.url("least/n"));
    let dump = ["dump", "--to", &to, "--name=n", &server.address()];
    run(&dump).succeeds();
    // The name is taken now, whether the store knows conditions or not.
    run(&dump).exits(2);
    run(&["verify", "--deep", &place]).succeeds();
    let target = Memcached::start_with(&["-m", "256"]);
    run(&["restore", "--to", &target.address(), &place]).succeeds();
    let found = run(&["get", &place, "key:7", "--raw"]).succeeds().stdout;
    assert_eq!(found, 7_u32.to_le_bytes().repeat(207));
    assert_eq!(target.client().stats("")["curr_items"], "3000");
}

/// Names that the client beneath refuses, with all that is on their page of a listing.
/// `put` puts an object of some bytes by its key.
pub(crate) fn strange_keys_hide_nothing(place_of_all: &Place, put: impl Fn(&str)) {
    let (server, workdir) = (filled(), Workdir::new("strange"));
    let run = |arguments: &[&str]| place_of_all.set_up(workdir.mcsnap(arguments));
    let to = place_of_all.url("shared");
    let keys = [
        "shared//a",
        "shared/z//b",
        "shared/n//c",
        "shared/n/segments//d",
    ];
    keys.iter().for_each(|key| put(key));
    run(&["dump", "--to", &to, "--name=n", &server.address()]).succeeds();
    run(&["verify", "--data", &format!("{to}/n")]).succeeds();
    run(&["get", &format!("{to}/latest"), "key:7", "--raw"]).succeeds();
    // What is there is still there, and no name is free that is not.
    run(&["dump", "--to", &to, "--name=n", &server.address()]).exits(2);
}

pub(crate) fn damage_in_a_bucket_is_found_and_the_rest_brought_out(place_of_all: &Place) {
    let (server, workdir) = (filled(), Workdir::new("damage"));
    let run = |arguments: &[&str]| place_of_all.set_up(workdir.mcsnap(arguments));
    let url = |path: &str| place_of_all.url(path);
    let to = url("damaged");
    run(&[
        "dump",
        "--to",
        &to,
        "--name=n",
        "--compression=none",
        &server.address(),
    ])
    .succeeds();
    let objects = place_of_all.store("damaged").list("n/segments").unwrap();
    place_of_all.flip_byte(&format!("damaged/{}", objects[0].name), 1_000_000);
    let place = url("damaged/n");
    run(&["verify", "--data", &place]).exits(3);
    let salvaged = url("salvaged");
    run(&["salvage", "--to", &salvaged, "--name=s", &place]).exits(3);
    run(&["verify", "--deep", &url("salvaged/s")]).succeeds();
}

/// For a place on a server that speaks S3.
pub(crate) fn what_cannot_work_is_told_in_a_line(place_of_all: &Place) {
    let workdir = Workdir::new("words");
    let server = Memcached::start();
    let address = server.address();
    let set_up = |arguments: &[&str]| place_of_all.set_up(workdir.mcsnap(arguments));
    let url = |path: &str| place_of_all.url(path);
    let told = |run: Run, code: i32| {
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

pub(crate) fn a_dump_that_was_killed_goes_on_in_its_bucket(place_of_all: &Place) {
    let (server, workdir) = (filled(), Workdir::new("resume"));
    let to = place_of_all.url("killed");
    let address = server.address();
    let dump = |more: &[&str]| {
        let run = place_of_all.set_up(workdir.mcsnap(&["dump", "--to", &to, "--name=n"]));
        let run = run.arg("--segment-size=1MiB").arg("--compression=none");
        more.iter()
            .fold(run, |run, word| run.arg(word))
            .arg(&address)
    };
    let mut child = dump(&["--items-per-second=500"]).spawn();
    let store = place_of_all.store("killed");
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
    // Who only asks what would be kept writes nothing, not even a lease.
    let before = place_of_all.versions("killed");
    assert!(before.iter().any(|(key, _)| key.ends_with(".n.lease")));
    dump(&["--resume", "--dry-run"]).succeeds();
    assert_eq!(place_of_all.versions("killed"), before);
    dump(&["--resume"]).succeeds();
    place_of_all
        .set_up(workdir.mcsnap(&["verify", "--deep"]))
        .arg(place_of_all.url("killed/n"))
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
