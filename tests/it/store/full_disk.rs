//! File systems that are full, read-only or closed to the user, in truth.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Output;

use rustix::io::Errno;

use crate::harness::client::{Item, noisy_key};
use crate::harness::fault::{Call, Fault, Harm};
use crate::harness::fault_arena::text;
use crate::harness::memcached::Memcached;
use crate::harness::mounted::{Done, Mounted};
use crate::harness::workdir::Workdir;

/// Runs the program without the powers of root over the files of others.
const AS_ANYBODY: [&str; 3] = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
];

/// A server with 3 MiB of items, which do not compress.
fn server() -> Memcached {
    let server = Memcached::start();
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    server.client().load((0..500).map(|at| {
        let value: Vec<u8> = (0..6000).map(|_| u8::try_from(noise()).unwrap()).collect();
        Item::new(format!("key:{at}"), value)
    }));
    server
}

/// Checks that a failure is told in one line, with its place and its cause; a dump has
/// warned of it perhaps.
fn check_told(done: &Done, path: &str, cause: &str) {
    let Done { code, stderr, .. } = done;
    assert_eq!(*code, 1, "{stderr}");
    // How full memory is when the disk fails is chance.
    let is_warning = |line: &&str| {
        line.contains(" WARN ")
            && (line.ends_with("may not fit") || line.contains("the walk of all keys was given up"))
    };
    let lines: Vec<&str> = stderr.lines().filter(|line| !is_warning(line)).collect();
    let [line] = lines[..] else {
        panic!("{stderr}");
    };
    assert!(
        line.starts_with("mcsnap: ") && line.ends_with(cause),
        "{line}"
    );
    assert!(line.contains(path), "no {path} in {line}");
}

fn done(output: &Output) -> Done {
    Done {
        code: output.status.code().unwrap(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Writes onto file systems of one size after the other, until it fits.
fn fill(workdir: &Workdir, options: &dyn Fn(u64) -> String, command: &[&str], code: i32) -> u64 {
    for size in 1.. {
        let mut mounted = Mounted::new(workdir, &options(size));
        mounted.run("mkdir m/s; echo notes >m/s/notes.txt");
        let run = mounted.mcsnap(command);
        let found = mounted.run("cd m && find . -type f");
        if run.code == code {
            let verify = mounted.mcsnap(&["verify", "--deep", "-q", "m/s/new"]);
            assert_eq!(verify.code, 0, "{}", verify.stdout);
            fs::remove_dir(workdir.join("m")).unwrap();
            return size;
        }
        check_told(&run, "/m/s/new", "No space left on device (os error 28)");
        assert_eq!(found.stdout, "./s/notes.txt\n", "left behind");
        let verify = mounted.mcsnap(&["verify", "m/s/new"]);
        assert_eq!(verify.code, 1, "{}", verify.stdout);
        assert!(
            verify.stderr.contains("does not exist"),
            "{}",
            verify.stderr
        );
        // With room again, all is as before.
        mounted.run("mount -o remount,size=16m,nr_inodes=1000 m");
        assert_eq!(mounted.mcsnap(command).code, code);
        let verify = mounted.mcsnap(&["verify", "--deep", "-q", "m/s/new"]);
        assert_eq!(verify.code, 0, "{}", verify.stdout);
        drop(mounted);
        fs::remove_dir(workdir.join("m")).unwrap();
    }
    unreachable!("a disk large enough was never tried")
}

/// From nothing to enough, in steps of a tenth of what is written: the end comes
/// in the first segment, in a later one, and in a table at its end.
fn size_option(size: u64) -> String {
    format!("size={}k", (size - 1) * 320 + 4)
}

#[test]
fn a_dump_onto_a_full_disk_says_so_and_leaves_nothing() {
    let server = server();
    let workdir = Workdir::new("full");
    let address = server.address();
    let dump = ["dump", &address, "--to", "m/s", "--name", "new"];
    let command = [&dump[..], &["--segment-size=1MiB", "-q"]].concat();
    let tries = fill(&workdir, &size_option, &command, 0);
    assert!(tries > 8, "only {tries}");
    // Room for bytes, and for few files.
    let tries = fill(
        &workdir,
        &|files| format!("nr_inodes={}", files + 3),
        &command,
        0,
    );
    assert!(tries > 4, "only {tries}");
}

#[test]
fn a_salvage_onto_a_full_disk_says_so_and_leaves_nothing() {
    let server = server();
    let workdir = Workdir::new("full");
    let address = server.address();
    let dump = ["dump", &address, "--to", "input", "--name", "a", "-q"];
    workdir.mcsnap(&dump).succeeds();
    fs::remove_file(workdir.join("input/a/manifest.json")).unwrap();
    let salvage = ["salvage", "input/a", "--to", "m/s", "--name", "new"];
    let command = [&salvage[..], &["--segment-size=1MiB", "-q"]].concat();
    let tries = fill(&workdir, &size_option, &command, 3);
    assert!(tries > 8, "only {tries}");
}

#[test]
fn a_read_only_disk_takes_no_snapshot_and_its_snapshots_can_be_read() {
    let server = server();
    let workdir = Workdir::new("read-only");
    let address = server.address();
    let mut mounted = Mounted::new(&workdir, "size=16m");
    let dump = ["dump", &address, "--to", "m/s", "-q", "--name"];
    let into = |name| [&dump[..], &[name]].concat();
    assert_eq!(mounted.mcsnap(&into("a")).code, 0);
    mounted.run("mount -o remount,ro m");
    let cause = "Read-only file system (os error 30)";
    check_told(&mounted.mcsnap(&into("b")), "/m/s", cause);
    let salvage = ["salvage", "m/s/a", "--to", "m/s", "--name", "b", "-q"];
    check_told(&mounted.mcsnap(&salvage), "/m/s/.b.lock", cause);
    let elsewhere = ["dump", &address, "--to", "m/t", "-q"];
    check_told(&mounted.mcsnap(&elsewhere), "/m/t", cause);
    for command in [
        &["verify", "--deep", "-q", "m/s/a"][..],
        &["salvage", "m/s/a", "--to", "elsewhere", "-q"],
    ] {
        let done = mounted.mcsnap(command);
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }
    mounted.run("mount -o remount,rw m");
    assert_eq!(mounted.mcsnap(&into("b")).code, 0);
}

#[test]
fn a_directory_that_is_closed_to_the_user_is_told_by_its_path() {
    let server = server();
    let workdir = Workdir::new("closed");
    let address = server.address();
    let run = |arguments: &[&str]| {
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let output = if is_root {
            workdir.mcsnap_by(&AS_ANYBODY, arguments).run()
        } else {
            workdir.mcsnap(arguments).run()
        };
        done(&output)
    };
    let open = |path: &str, mode| {
        fs::set_permissions(workdir.join(path), Permissions::from_mode(mode)).unwrap();
    };
    let dump = ["dump", &address, "--to", "s", "-q", "--name"];
    let into = |name| [&dump[..], &[name]].concat();
    assert_eq!(run(&into("a")).code, 0);
    let cause = "Permission denied (os error 13)";

    open("s", 0o555);
    check_told(&run(&into("b")), "/s", cause);
    check_told(
        &run(&["salvage", "s/a", "--to", "s", "-q"]),
        "/s/.a-salvaged.lock",
        cause,
    );
    open("s", 0o000);
    check_told(&run(&into("b")), "/s", cause);
    check_told(&run(&["verify", "-q", "s/a"]), "/s/a", cause);
    open("s", 0o755);

    open("s/a/segments", 0o000);
    // A segment that cannot be read is a finding beside the others.
    let verify = run(&["verify", "-q", "s/a"]);
    assert_eq!(verify.code, 3, "{}", verify.stderr);
    let line = verify.stdout.lines().next().unwrap();
    assert!(line.contains("/s/a/segments/n0000-"), "{line}");
    assert!(line.ends_with(cause), "{line}");
    open("s/a/segments", 0o755);
    open("s/a/manifest.json", 0o000);
    check_told(&run(&["verify", "-q", "s/a"]), "/s/a/manifest.json", cause);
    open("s/a/manifest.json", 0o644);

    assert_eq!(run(&into("b")).code, 0);
    for name in ["s/a", "s/b"] {
        assert_eq!(run(&["verify", "--deep", "-q", name]).code, 0);
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_signal() {
    let server = server();
    let workdir = Workdir::new("limit");
    let address = server.address();
    // In units of 512 bytes: the first segment does not fit.
    let limited = ["sh", "-c", "ulimit -f 1000; exec \"$@\"", "sh"];
    let dump = ["dump", &address, "--to", "s", "--name", "a", "-q"];
    let run = done(&workdir.mcsnap_by(&limited, dump).run());
    check_told(&run, "/s/a/segments/", "File too large (os error 27)");
    assert_eq!(fs::read_dir(workdir.join("s")).unwrap().count(), 0);
    workdir.mcsnap(&dump).succeeds();
}

/// What a server lists and no memory is left for goes into a file without a
/// name, perhaps on another disk.
#[test]
fn a_full_or_failing_disk_for_the_list_of_keys_is_told_as_such() {
    let server = Memcached::start();
    server
        .client()
        .load((0..40_000).map(|_| Item::new(noisy_key(), "")));
    let workdir = Workdir::new("spool");
    fs::create_dir(workdir.join("p")).unwrap();
    let address = server.address();
    // One connection reads far more slowly than the server lists.
    let dump = ["dump", &address, "--to", "s", "--connections=1", "-q"];
    let spool = workdir.join("p").canonicalize().unwrap();
    let spool = spool.display().to_string();
    let place = format!("temporary file in {spool}: ");
    let spool = ["--spool-memory=1MiB", "--spool-dir", &spool, "--name"];
    let into = |name| [&dump[..], &spool, &[name]].concat();
    for (call, errno, cause) in [
        (
            Call::Create,
            Errno::NOSPC,
            "cannot create: No space left on device (os error 28)",
        ),
        (
            Call::Write,
            Errno::NOSPC,
            "cannot write: No space left on device (os error 28)",
        ),
        (
            Call::Write,
            Errno::IO,
            "cannot write: Input/output error (os error 5)",
        ),
        (
            Call::Read,
            Errno::IO,
            "cannot read: Input/output error (os error 5)",
        ),
    ] {
        for number in [1, 2] {
            if (call, number) == (Call::Create, 2) {
                continue;
            }
            let fault = Fault::at(&[call], number, Harm::Error(errno));
            let run = || {
                // Keys are listed at full speed all the same; those in memory come first.
                let slow = workdir.mcsnap(&into("a")).arg("--items-per-second=10000");
                fault.run(slow, &workdir.join("p"))
            };
            let (mut output, mut counted) = run();
            // A server on a loaded machine may list even more slowly: then all is well.
            for _ in 0..20 {
                if counted.len() >= number {
                    break;
                }
                assert_eq!(done(&output).code, 0, "{call:?}: {output:?}");
                fs::remove_dir_all(workdir.join("s/a")).unwrap();
                (output, counted) = run();
            }
            assert!(counted.len() >= number, "{call:?}: {counted:?}");
            check_told(&done(&output), &place, cause);
            // Told before the directory of the snapshot is made, where that can be.
            let left = fs::read_dir(workdir.join("s")).map_or(0, Iterator::count);
            assert_eq!(left, 0);
            assert_eq!(fs::read_dir(workdir.join("p")).unwrap().count(), 0);
        }
    }
    for (name, harm) in [("eintr", Harm::Interrupt), ("short", Harm::Short)] {
        let fault = Fault::from(&[Call::Create, Call::Write, Call::Read], 1, harm);
        let (output, _) = fault.run(workdir.mcsnap(&into(name)), &workdir.join("p"));
        assert_eq!(done(&output).code, 0, "{name}: {output:?}");
        let snapshot = format!("s/{name}");
        let verify = ["verify", "--deep", "-q", "--format=json", &snapshot];
        let report = workdir.mcsnap(&verify).succeeds();
        let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(report["records"], 40_000);
    }
}
