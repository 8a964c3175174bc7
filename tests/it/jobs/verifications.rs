//! The records that `verify --record` leaves, and what `inspect` says of them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// A snapshot `s/n` of a few items.
fn dumped() -> Workdir {
    let server = Memcached::start();
    let items = (0..50).map(|number| Item::new(format!("k{number}"), "value"));
    server.client().load(items);
    let workdir = Workdir::new("verifications");
    workdir
        .mcsnap(&["dump", "--to=s", "--name=n", &server.address()])
        .succeeds();
    workdir
}

fn records(workdir: &Workdir) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(workdir.join("s/n/verifications")) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names
}

fn inspected(workdir: &Workdir) -> (Value, String) {
    let json = workdir
        .mcsnap(&["inspect", "s/n", "--format=json"])
        .succeeds();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let text = workdir.mcsnap(&["inspect", "s/n"]).succeeds();
    (
        json["verification"].clone(),
        String::from_utf8(text.stdout).unwrap(),
    )
}

fn segment(workdir: &Workdir) -> PathBuf {
    let mut entries = fs::read_dir(workdir.join("s/n/segments")).unwrap();
    entries.next().unwrap().unwrap().path()
}

fn flip_byte(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_verification_is_kept_where_it_is_asked_for_and_inspect_shows_the_last() {
    let workdir = dumped();
    workdir.mcsnap(&["verify", "s/n", "--deep"]).succeeds();
    assert_eq!(records(&workdir), Vec::<PathBuf>::new());
    let (none, text) = inspected(&workdir);
    assert!(none.is_null() && !text.contains("verified"), "{text}");

    let run = workdir.mcsnap(&["verify", "s/n", "--deep", "--record", "--format=json"]);
    let json: Value = serde_json::from_slice(&run.succeeds().stdout).unwrap();
    let names = records(&workdir);
    let [name] = names.as_slice() else {
        panic!("{names:?}");
    };
    assert!(name.ends_with(json["record"].as_str().unwrap()), "{json}");
    let (last, text) = inspected(&workdir);
    assert_eq!(last["result"], "sound");
    assert_eq!(last["depth"], "deep");
    assert_eq!(last["is_of_this_manifest"], true);
    assert!(
        text.contains("verified  sound (deep check) at 20"),
        "{text}"
    );

    // Whoever reads the snapshot is not held up by it, and it is no stray.
    let json = workdir
        .mcsnap(&["verify", "s/n", "--format=json"])
        .succeeds();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["findings"], serde_json::json!([]));

    // Look-up objects of other names make another manifest.
    workdir.mcsnap(&["repack", "s/n", "--look-ups"]).succeeds();
    let (last, text) = inspected(&workdir);
    assert_eq!(last["is_of_this_manifest"], false);
    assert!(text.contains("look-up objects made anew since"), "{text}");
}

#[test]
fn damage_is_recorded_too_and_a_record_that_is_damaged_is_a_warning() {
    let workdir = dumped();
    let segment = segment(&workdir);
    let middle = fs::read(&segment).unwrap().len() / 2;
    flip_byte(&segment, middle);
    workdir
        .mcsnap(&["verify", "s/n", "--data", "--record"])
        .exits(3);
    let json = workdir.mcsnap(&["inspect", "s/n", "--format=json"]).run();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["verification"]["result"], "damaged");
    let count = json["verification"]["findings"]["MCS003"].as_u64().unwrap();
    assert!(count > 0, "{json}");

    flip_byte(&segment, middle);
    let names = records(&workdir);
    flip_byte(&names[0], 20);
    let run = workdir
        .mcsnap(&["verify", "s/n", "--format=json"])
        .succeeds();
    let json: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["findings"][0]["code"], "MCS024", "{json}");
    assert_eq!(json["is_sound"], true);
    let run = workdir
        .mcsnap(&["inspect", "s/n", "--format=json"])
        .succeeds();
    let errors = String::from_utf8(run.stderr).unwrap();
    assert!(
        errors.contains("what was verified is not known"),
        "{errors}"
    );
}

#[test]
fn what_has_no_manifest_gets_no_record() {
    let workdir = dumped();
    let segment = segment(&workdir);
    let run = workdir.mcsnap(&["verify", "--record"]).arg(&segment);
    let errors = String::from_utf8(run.succeeds().stderr).unwrap();
    assert!(errors.contains("no record is kept"), "{errors}");
    flip_byte(&workdir.join("s/n/manifest.json"), 30);
    let run = workdir.mcsnap(&["verify", "s/n", "--record"]).exits(3);
    let errors = String::from_utf8(run.stderr).unwrap();
    assert!(errors.contains("no record is kept"), "{errors}");
    assert_eq!(records(&workdir), Vec::<PathBuf>::new());
}
