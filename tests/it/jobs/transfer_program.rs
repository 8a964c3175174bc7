//! Push and pull as a user has them: places, words, exit codes, and kills.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fault::{Call, Fault, Harm, was_killed};
use crate::harness::memcached::Memcached;
use crate::harness::running_job::wait_until;
use crate::harness::signals::signal;
use crate::harness::sound_segments;
use crate::harness::workdir::Workdir;

/// A snapshot `s/n` with several segments and the record of a verification.
fn dumped() -> Workdir {
    let server = Memcached::start();
    let items = (0..900).map(|number| Item::new(format!("key:{number}"), "v".repeat(100)));
    server.client().load(items);
    let workdir = Workdir::new("transfer");
    let arguments = ["dump", "--to=s", "--name=n", "--segment-records=100"];
    let run = workdir.mcsnap(&arguments).arg(server.address());
    run.succeeds();
    workdir.mcsnap(&["verify", "--record", "s/n"]).succeeds();
    workdir
}

/// All files below a directory with their bytes, hidden ones too.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).unwrap();
            found.insert(name.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn last_line(output: &Output) -> String {
    let told = text(&output.stderr);
    told.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_snapshot_goes_there_and_back_and_is_told_both_times() {
    let workdir = dumped();
    let wanted = files(&workdir.join("s/n"));
    let plan = workdir
        .mcsnap(&["push", "s/latest", "--to=t", "--dry-run", "--format=json"])
        .succeeds();
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let bytes: usize = wanted.values().map(Vec::len).sum();
    assert_eq!(plan["schema"], "mcsnap.push-plan/1");
    assert_eq!(
        (&plan["objects"], &plan["bytes"]),
        (&wanted.len().into(), &bytes.into())
    );
    assert!(!workdir.join("t").exists());

    let pushed = workdir
        .mcsnap(&["push", "s/latest", "--to=t", "--format=json"])
        .succeeds();
    let pushed: Value = serde_json::from_slice(&pushed.stdout).unwrap();
    assert_eq!(pushed["verdict"], "copied");
    assert_eq!(pushed["verifications"], 1);
    assert_eq!(files(&workdir.join("t")).len(), wanted.len());
    let pulled = workdir
        .mcsnap(&[
            "pull",
            "t/n",
            "--to=back/deep",
            "--name=again",
            "--file-mode=640",
        ])
        .succeeds();
    assert!(text(&pulled.stdout).contains("back/deep/again (complete)"));
    assert_eq!(files(&workdir.join("back/deep/again")), wanted);
    workdir
        .mcsnap(&["verify", "--deep", "back/deep/again"])
        .succeeds();

    let again = workdir.mcsnap(&["push", "s/n", "--to=t"]).succeeds();
    assert!(text(&again.stdout).contains("there already"));
    let segment = files(&workdir.join("t/n/segments"));
    let segment = segment.keys().next().unwrap();
    fs::remove_file(workdir.join("t/n/segments").join(segment)).unwrap();
    let hurt = workdir.mcsnap(&["push", "s/n", "--to=t"]).exits(3);
    assert!(text(&hurt.stdout).contains(segment.as_str()));
}

#[test]
fn a_snapshot_is_never_copied_onto_itself_however_the_places_are_spelled() {
    let workdir = dumped();
    let before = files(workdir.path());
    symlink("s", workdir.join("link")).unwrap();
    symlink("n", workdir.join("s/alias")).unwrap();
    let root = workdir.path().display();
    let here = format!("{root}/s");
    let (by_scheme, by_root) = (format!("file://{root}/link/"), format!("{root}/link/../s/"));
    for (snapshot, to, name) in [
        ("s/n", "s", "n"),
        ("s/n/", "./s/", "n"),
        ("s/n", &*here, "n"),
        ("s/n", &*by_scheme, "n"),
        ("link/n", &*by_root, "n"),
        ("s/n/manifest.json", "link", "n"),
        ("s/alias", "s", "n"),
        ("s/n", "s", "alias"),
        ("s/latest", "s", "n"),
        // Into itself.
        ("s/n", "s/n", "n"),
        ("s/n", "link/n/deep", "other"),
    ] {
        for more in [&[][..], &["--dry-run"]] {
            for verb in ["push", "pull"] {
                let name = format!("--name={name}");
                let words = [&[verb, snapshot, "--to", to, &*name][..], more].concat();
                let output = workdir.mcsnap(&words).exits(2);
                let told = last_line(&output);
                assert!(told.contains("itself, or lie in it"), "{words:?}: {told}");
            }
        }
    }
    fs::remove_file(workdir.join("link")).unwrap();
    fs::remove_file(workdir.join("s/alias")).unwrap();
    assert_eq!(files(workdir.path()), before);
    // Beside itself is another matter.
    workdir
        .mcsnap(&["push", "s/n", "--to=s", "--name=m"])
        .succeeds();
}

#[test]
fn what_cannot_be_copied_is_refused_with_words_and_a_code() {
    let workdir = dumped();
    let told = |words: &[&str], code: i32, wanted: &str| {
        let output = workdir.mcsnap(words).exits(code);
        let line = last_line(&output);
        assert!(
            line.starts_with("mcsnap: ") && line.contains(wanted),
            "{line}"
        );
    };
    told(&["push"], 2, "where should the copy go? pass --to DIR");
    told(&["pull", "--to=t"], 2, "which snapshot?");
    told(
        &["push", "s/n", "--to=t/latest"],
        2,
        "stands for the newest",
    );
    told(&["push", "s/n", "--to=t", "--name=a/b"], 2, "name \"a/b\"");
    told(
        &["push", "s/n", "--to=t", "--connections=0"],
        2,
        "connections \"0\"",
    );
    let rate = "--bytes-per-second=9";
    told(
        &["push", "s/n", "--to=t", rate],
        2,
        "bytes-per-second \"9\"",
    );
    told(&["push", "s/gone", "--to=t"], 1, "does not exist");
    fs::write(workdir.join("s.mcs"), sound_segments::plain()).unwrap();
    told(
        &["push", "s.mcs", "--to=t"],
        2,
        "a segment by itself is no snapshot",
    );

    fs::create_dir_all(workdir.join("s/part/segments")).unwrap();
    fs::write(workdir.join("s/part/segments/a.mcs"), "a").unwrap();
    told(&["push", "s/part", "--to=t"], 2, "it has no manifest.json");
    fs::write(workdir.join("s/part/dump.json"), "{}").unwrap();
    told(
        &["push", "s/part", "--to=t"],
        2,
        "with --resume --name part",
    );
    assert!(!workdir.join("t").exists());
    // The same at the destination.
    let into = ["push", "s/n", "--to=s", "--name=part"];
    told(
        &into,
        2,
        "a dump that has not finished, already exists; pass another --name",
    );
    fs::remove_file(workdir.join("s/part/dump.json")).unwrap();
    told(&into, 2, "with 1 file that are no part of");
    fs::remove_dir_all(workdir.join("s/part")).unwrap();
}

#[test]
fn a_damaged_snapshot_is_not_copied_and_the_report_names_the_file() {
    let workdir = dumped();
    let folder = workdir.join("s/n/segments");
    let name = files(&folder).into_keys().next().unwrap();
    let mut bytes = fs::read(folder.join(&name)).unwrap();
    bytes[800] ^= 1;
    fs::write(folder.join(&name), bytes).unwrap();
    let output = workdir.mcsnap(&["push", "s/n", "--to=t"]).exits(3);
    let told = text(&output.stdout);
    assert!(
        told.contains(&name) && told.contains("none was made"),
        "{told}"
    );
    assert!(!workdir.join("t/n/manifest.json").exists());

    let mut root = fs::read(workdir.join("s/n/manifest.json")).unwrap();
    root[100] ^= 1;
    fs::write(workdir.join("s/n/manifest.json"), root).unwrap();
    let run = workdir.mcsnap(&["push", "s/n", "--to=u", "--format=json"]);
    let report: Value = serde_json::from_slice(&run.exits(3).stdout).unwrap();
    assert_eq!(report["verdict"], "damaged");
    assert!(report["snapshot"].is_null() && report["findings"][0]["code"].is_string());
    assert!(!workdir.join("u").exists());
}

#[test]
fn a_copy_that_is_killed_anywhere_goes_on_with_the_same_command() {
    let workdir = dumped();
    let wanted = files(&workdir.join("s/n"));
    fs::create_dir(workdir.join("t")).unwrap();
    let arguments = ["push", "s/n", "--to=t", "--connections=2", "-q"];
    let under = workdir.join("t");
    let calls = [
        Call::Create,
        Call::Mkdir,
        Call::Write,
        Call::Sync,
        Call::Remove,
    ];
    let (output, counted) = Fault::none(&calls).run(workdir.mcsnap(&arguments), &under);
    assert!(output.status.success(), "{output:?}");
    fs::remove_dir_all(workdir.join("t/n")).unwrap();
    let mut killed = 0;
    for number in (1..=counted.len()).step_by(7) {
        for harm in [Harm::KillBefore, Harm::KillAfter] {
            let fault = Fault::at(&calls, number, harm);
            let (output, _) = fault.run(workdir.mcsnap(&arguments), &under);
            killed += usize::from(was_killed(&output));
            let left = files(&workdir.join("t/n"));
            if let Some(root) = left.get("manifest.json") {
                assert_eq!(*root, wanted["manifest.json"]);
                let verify = workdir.mcsnap(&["verify", "--deep", "t/n"]);
                verify.succeeds();
            }
            workdir.mcsnap(&arguments).succeeds();
            // No lock and nothing unfinished is left either.
            let made = files(&workdir.join("t/n"));
            assert_eq!(made, wanted, "{number} {harm:?}");
            assert_eq!(files(&under).len(), wanted.len(), "{number} {harm:?}");
            fs::remove_dir_all(workdir.join("t/n")).unwrap();
        }
    }
    assert!(killed > 10, "{killed} of {}", counted.len());
}

#[test]
fn a_copy_that_is_stopped_says_so_and_goes_on_with_the_same_command() {
    let workdir = dumped();
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let run = workdir.mcsnap_by(
            &["env", "--default-signal=HUP,INT,TERM"],
            ["push", "s/n", "--to=t", "--bytes-per-second=1KiB"],
        );
        let child = run.spawn();
        // It takes minutes for the first file.
        wait_until("a file is begun", || {
            let files = files(&workdir.join("t/n/segments"));
            files.keys().any(|name| name.ends_with(".partial"))
        });
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let told = text(&output.stderr);
        for words in [
            &*format!("stopping (SIG{name}): leaving what was copied"),
            &*format!("stopped by SIG{name}; what was copied stays, and the same command goes on"),
        ] {
            assert!(told.contains(words), "{told}");
        }
    }
    workdir.mcsnap(&["push", "s/n", "--to=t"]).succeeds();
    assert_eq!(files(&workdir.join("t/n")), files(&workdir.join("s/n")));
}

#[test]
fn settings_come_from_the_file_and_the_environment() {
    let workdir = dumped();
    fs::write(
        workdir.join("c.yaml"),
        "push:\n  to: t\n  name: x\n  bytes-per-second: 100MiB\npull:\n  to: u\n",
    )
    .unwrap();
    let run = |words: &[&str]| workdir.mcsnap(words).env("MCSNAP_CONFIG", "c.yaml");
    run(&["push", "s/n"]).succeeds();
    run(&["pull", "t/x"])
        .env("MCSNAP_PULL_CONNECTIONS", "1")
        .succeeds();
    assert_eq!(files(&workdir.join("u/x")), files(&workdir.join("s/n")));
}
