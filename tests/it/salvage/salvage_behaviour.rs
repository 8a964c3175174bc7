//! What a user gets who salvages: a snapshot that restores, and the truth about
//! the rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::{Workdir, clear_settings};

const COUNT: usize = 3000;

/// Dumps a server with some segments into `s/n`.
fn dumped(workdir: &Workdir) {
    let server = Memcached::start();
    let value = |number: usize| {
        let mut value = vec![b'v'; 900];
        value.extend_from_slice(number.to_string().as_bytes());
        value
    };
    server
        .client()
        .load((0..COUNT).map(|number| Item::new(format!("key:{number}"), value(number)).flags(3)));
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "n", "--compression", "none"])
        .arg("--segment-size=1MiB")
        .arg(server.address())
        .succeeds();
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("segments")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn contents(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths = segments(directory);
    paths.extend(
        [directory.join("manifest.json")]
            .into_iter()
            .filter(|path| path.exists()),
    );
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn a_damaged_snapshot_restores_all_but_the_records_it_names_as_lost() {
    let workdir = Workdir::new("salvage");
    dumped(&workdir);
    let snapshot = workdir.join("s/n");
    let victim = segments(&snapshot).remove(1);
    let mut bytes = fs::read(&victim).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 2000].fill(0xaa);
    fs::write(&victim, bytes).unwrap();
    let before = contents(&snapshot);

    let output = workdir
        .mcsnap(&["salvage", "s/n", "--to", "s", "--format", "json"])
        .exits(3);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(contents(&snapshot), before, "the input was changed");
    let lost: BTreeSet<String> = report["segments"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|segment| segment["lost_keys"].as_array().unwrap())
        .map(|key| key.as_str().unwrap().to_owned())
        .collect();
    // Two thousand bytes of plain values touch two to four of them.
    assert!((2..=4).contains(&lost.len()), "{lost:?}");
    assert_eq!(report["records_lost"], lost.len());
    assert_eq!(report["records"], COUNT - lost.len());
    assert_eq!(report["verdict"], "lossy");
    workdir
        .mcsnap(&["verify", "--deep", "s/n-salvaged"])
        .succeeds();

    let target = Memcached::start();
    workdir
        .mcsnap(&["restore", "s/n-salvaged", "--to", &target.address()])
        .succeeds();
    let found: BTreeSet<Vec<u8>> = target.client().keys().into_keys().collect();
    let wanted: BTreeSet<Vec<u8>> = (0..COUNT)
        .map(|number| format!("key:{number}"))
        .filter(|key| !lost.contains(key))
        .map(String::into_bytes)
        .collect();
    assert_eq!(found, wanted);

    // Once more under the same name: nothing is overwritten.
    let output = workdir.mcsnap(&["salvage", "s/n", "--to", "s"]).exits(2);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.ends_with("/s/n-salvaged already exists\n"),
        "{message}"
    );
}

#[test]
fn a_killed_dump_or_a_single_file_is_salvaged_as_far_as_it_got() {
    let workdir = Workdir::new("salvage-parts");
    dumped(&workdir);
    let snapshot = workdir.join("s/n");
    // As a killed dump leaves it: no manifest, and the last segment unfinished.
    fs::remove_file(snapshot.join("manifest.json")).unwrap();
    let last = segments(&snapshot).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let unfinished = last.with_extension("mcs.partial");
    fs::write(&unfinished, &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(&last).unwrap();
    let before = contents(&snapshot);

    let output = workdir.mcsnap(&["salvage", "s/n", "--to", "out"]).exits(3);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("manifest.json: the manifest is missing\n"),
        "{text}"
    );
    assert!(
        text.contains(", and nothing tells how many more\n"),
        "{text}"
    );
    assert_eq!(contents(&snapshot), before, "the input was changed");
    let listed = workdir
        .mcsnap(&["ls", "out/n-salvaged", "--keys"])
        .succeeds();
    let count = listed.stdout.split(|byte| *byte == b'\n').count() - 1;
    assert!(
        (COUNT * 7 / 10..COUNT).contains(&count),
        "{count} of {COUNT}"
    );

    // Whoever looks first is told of it.
    let output = workdir.mcsnap(&["ls", "s/n"]).exits(2);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("mcsnap salvage")
    );
    fs::write(snapshot.join("manifest.json"), "{\"format\":\"mcsnap\"}").unwrap();
    let output = workdir.mcsnap(&["get", "s/n", "key:1"]).exits(1);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.ends_with("; mcsnap salvage recovers what is sound\n"),
        "{message}"
    );
    fs::remove_file(snapshot.join("manifest.json")).unwrap();

    // A whole file by itself loses nothing, an unfinished one its end.
    let whole = segments(&snapshot).remove(0);
    let whole = whole.to_str().unwrap();
    workdir
        .mcsnap(&["salvage", whole, "--to", "out", "--name", "one"])
        .succeeds();
    let file = workdir
        .mcsnap(&["ls", whole, "--format", "json"])
        .succeeds();
    let salvaged = workdir
        .mcsnap(&["ls", "out/one", "--format", "json"])
        .succeeds();
    assert_eq!(file.stdout, salvaged.stdout);
    let unfinished = unfinished.to_str().unwrap();
    workdir
        .mcsnap(&["salvage", unfinished, "--to", "out", "--name", "two"])
        .exits(3);
    workdir.mcsnap(&["verify", "--deep", "out/two"]).succeeds();
}

#[test]
fn what_is_no_segment_is_refused_and_leaves_nothing() {
    let workdir = Workdir::new("salvage-nothing");
    fs::write(workdir.join("noise"), vec![0xf7; 5000]).unwrap();
    fs::write(workdir.join("empty"), "").unwrap();
    fs::create_dir(workdir.join("dir")).unwrap();
    let place = workdir.path().canonicalize().unwrap();
    let place = place.display();
    for (input, code, wanted) in [
        (
            "noise",
            2,
            format!("damaged \"{place}/noise\": no record in it can be proved to be sound"),
        ),
        (
            "empty",
            2,
            format!("damaged \"{place}/empty\": no record in it can be proved to be sound"),
        ),
        (
            "dir",
            1,
            format!("a segment in {place}/dir/segments does not exist"),
        ),
        ("absent", 1, format!("{place}/absent does not exist")),
    ] {
        let output = workdir
            .mcsnap(&["salvage", input, "--to", "out", "-q"])
            .exits(code);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(message, format!("mcsnap: {wanted}\n"));
        let left = fs::read_dir(workdir.join("out")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{input}");
    }
    let output = workdir.mcsnap(&["salvage", "noise"]).exits(2);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "mcsnap: where should the new snapshot go? pass --to DIR\n"
    );
}

#[test]
fn more_segments_than_open_files_are_no_hindrance() {
    let workdir = Workdir::new("salvage-many");
    let server = Memcached::start();
    server
        .client()
        .load((0..3000).map(|number| Item::new(format!("key:{number}"), "v")));
    workdir
        .mcsnap(&[
            "dump",
            "--to",
            "s",
            "--name",
            "n",
            "--segment-records",
            "50",
        ])
        .arg(server.address())
        .succeeds();
    assert!(segments(&workdir.join("s/n")).len() >= 60);
    for input in ["manifest", "no manifest"] {
        let name = input.replace(' ', "-");
        let program = env!("CARGO_BIN_EXE_mcsnap");
        let line = format!("ulimit -n 40; exec {program} salvage s/n --to out --name {name} -q");
        let output = clear_settings(&mut Command::new("sh"))
            .args(["-c", &line])
            .current_dir(workdir.path())
            .output()
            .unwrap();
        let wanted = if input == "manifest" { 0 } else { 3 };
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(wanted), "{input}: {stderr}");
        let listed = workdir
            .mcsnap(&["ls", "--keys"])
            .arg(format!("out/{name}"))
            .succeeds();
        assert_eq!(listed.stdout.split(|byte| *byte == b'\n').count() - 1, 3000);
        let _ = fs::remove_file(workdir.join("s/n/manifest.json"));
    }
}
