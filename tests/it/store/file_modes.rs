//! Snapshots are for their owner alone, whatever the umask allows.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::harness::memcached::Memcached;
use crate::harness::workdir::{PROGRAM, Workdir};

/// Runs the program with a umask.
fn run_with(workdir: &Workdir, umask: &str, arguments: &[&str]) {
    let script = format!("umask {umask}; exec \"$0\" \"$@\"");
    let mut run = workdir.run_of("sh").arg("-c").arg(script).arg(PROGRAM);
    for argument in arguments {
        run = run.arg(argument);
    }
    run.succeeds();
}

/// The modes of all files, and of all directories, below a place, itself included.
fn modes(place: &Path) -> [BTreeSet<String>; 2] {
    let mut modes = [BTreeSet::new(), BTreeSet::new()];
    let mut pending = vec![place.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = format!("{:o}", metadata.mode() & 0o7777);
        modes[usize::from(metadata.is_dir())].insert(mode);
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            pending.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    modes
}

fn check(workdir: &Workdir, place: &str, [file, directory]: [&str; 2]) {
    let set = |mode: &str| BTreeSet::from([mode.to_owned()]);
    let found = modes(&workdir.join(place));
    assert_eq!(found, [set(file), set(directory)], "{place}");
}

#[test]
fn what_a_dump_and_a_salvage_make_is_private_unless_it_is_asked_for() {
    let server = Memcached::start();
    server.client().set("session:1", 0, 0, b"token");
    let address = server.address();
    let workdir = Workdir::new("modes");
    for umask in ["000", "077"] {
        let place = |name: &str| format!("{name}-{umask}");
        let private = format!("private-{umask}/below");
        let log = place("log");
        let dump = ["dump", "--to", &private, "--name=a", &address];
        run_with(
            &workdir,
            umask,
            &[&dump[..], &["--log-file", &log]].concat(),
        );
        check(&workdir, &private, ["600", "700"]);
        assert_eq!(
            modes(&workdir.join(&log))[0],
            BTreeSet::from(["600".to_owned()])
        );
        let snapshot = format!("{private}/a");
        for (mode, wanted) in [("640", ["640", "750"]), ("666", ["666", "777"])] {
            let to = place(mode);
            let flag = format!("--file-mode={mode}");
            let dump = ["dump", "--to", &to, &flag, "--name=a", &address];
            run_with(&workdir, umask, &dump);
            check(&workdir, &to, wanted);
            let to = place(&format!("salvaged-{mode}"));
            run_with(&workdir, umask, &["salvage", &snapshot, "--to", &to, &flag]);
            check(&workdir, &to, wanted);
        }
        let to = place("salvaged");
        run_with(&workdir, umask, &["salvage", &snapshot, "--to", &to]);
        check(&workdir, &to, ["600", "700"]);
        assert_eq!(modes(&workdir.join(place("private")))[1].len(), 1);
    }
    for mode in ["755", "400", "6", "rw-r-----"] {
        let flag = format!("--file-mode={mode}");
        let output = workdir
            .mcsnap(&["dump", "--to", "s", &flag, &address])
            .exits(2);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let wanted = format!(
            "mcsnap: file-mode \"{mode}\": wanted 6 and two of 0, 4 and 6, for group and others, \
             such as 640\n"
        );
        assert_eq!(said, wanted);
    }
    assert!(!workdir.join("s").exists());
}
