//! Faults of the real system: whatever a disk refuses, and whenever the program
//! is killed, there is a whole snapshot or none, the reason is told in one line
//! with its place, and nothing of anybody else's is touched.
//!
//! The same checks run over each command that writes snapshots. They write less
//! than 5 MiB a time, since there are some hundred times: as many as there are
//! calls.

use std::collections::BTreeMap;
use std::process::Output;

use rustix::io::Errno;

use crate::harness::fault::{Call, Counted, Fault, Harm, Strace, find_call, was_killed};
use crate::harness::fault_arena::{Arena, Left, text};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const NO_SPACE: &str = "No space left on device (os error 28)";
const IO_ERROR: &str = "Input/output error (os error 5)";

/// Runs the job with harm to its first call, then to its second, and so on,
/// until it has no more calls; returns what was left each time.
fn harm_each(
    arena: &Arena,
    calls: &[Call],
    fault: impl Fn(usize) -> Fault,
    check: impl Fn(&str, &Output, &Counted, &str) -> Left,
) -> Vec<Left> {
    let mut left = Vec::new();
    for number in 1.. {
        let name = format!("new-{}", uuid::Uuid::new_v4().simple());
        let fault = fault(number);
        let (output, counted) = arena.run(&name, &fault);
        // How many there are differs: two writers may both make a directory.
        let Some(harmed) = find_call(&counted, number) else {
            assert_eq!(arena.check(&name, &output, "unharmed"), Left::Whole);
            break;
        };
        let what = format!(
            "{:?} at call {number}, {} of {}",
            fault.harm, harmed.call, harmed.path
        );
        left.push(check(&name, &output, harmed, &what));
    }
    assert!(left.len() > 5, "{calls:?} are {} only", left.len());
    left
}

fn a_call_that_fails_fails_the_job(arena: &Arena, calls: &[Call], errno: Errno, cause: &str) {
    let fault = |number| Fault::at(calls, number, Harm::Error(errno));
    harm_each(arena, calls, fault, |name, output, harmed, what| {
        if arena.failed_afterwards(output, &harmed.call) {
            return arena.check(name, output, what);
        }
        let message = arena.check_failed(name, output, cause, what);
        assert!(message.contains(&harmed.path), "{what}: {message}");
        Left::Nothing
    });
}

/// From some call on nothing can be changed any more, nor taken back.
fn a_disk_that_dies_leaves_a_whole_snapshot_or_none(arena: &Arena) {
    let calls = &Call::CHANGING;
    let fault = |number| Fault::from(calls, number, Harm::Error(Errno::IO));
    let left = harm_each(arena, calls, fault, |name, output, harmed, what| {
        if !arena.failed_afterwards(output, &harmed.call) {
            assert_eq!(output.status.code(), Some(1), "{what}");
            let message = arena.message(output, what);
            assert!(message.ends_with(IO_ERROR), "{what}: {message}");
        }
        arena.check(name, output, what)
    });
    for state in [Left::Nothing, Left::Pieces, Left::Whole] {
        assert!(left.contains(&state), "never {state:?}");
    }
}

fn a_killed_job_leaves_a_whole_snapshot_or_none(arena: &Arena, calls: &[Call], harm: Harm) {
    let fault = |number| Fault::at(calls, number, harm);
    let left = harm_each(arena, calls, fault, |name, output, _, what| {
        assert!(was_killed(output), "{what}: {output:?}");
        arena.check(name, output, what)
    });
    // Before the manifest has its name, and after.
    for state in [Left::Pieces, Left::Whole] {
        assert!(left.contains(&state), "never {state:?}");
    }
}

fn calls_that_do_less_than_asked_are_repeated(arena: &Arena) {
    let calls = [&Call::CHANGING[..], &[Call::Open, Call::Read]].concat();
    let (_, unharmed) = arena.run("new-unharmed", &Fault::none(&calls));
    for (name, harm) in [("new-eintr", Harm::Interrupt), ("new-short", Harm::Short)] {
        let (output, counted) = arena.run(name, &Fault::from(&calls, 1, harm));
        let left = arena.check(name, &output, name);
        assert_eq!(left, Left::Whole, "{name}: {}", text(&output.stderr));
        assert!(counted.len() > unharmed.len(), "{name}: none was repeated");
    }
}

/// The renames, which only strace reaches: those of segments by their number,
/// that of the manifest by its path, since another thread makes it.
fn harm_renames(arena: &Arena, harm: &str, check: impl Fn(&str, &Output, &str)) {
    let mut is_more = true;
    for number in 0.. {
        let name = format!("new-{}", uuid::Uuid::new_v4().simple());
        let strace = Strace::of(&arena.workdir, "renameat2");
        let strace = if number == 0 {
            let manifest = arena.snapshot(&name).join("manifest.json");
            strace
                .path(&manifest)
                .inject(&format!("renameat2:{harm}:when=1"))
        } else {
            strace.inject(&format!("renameat2:{harm}:when={number}"))
        };
        let output = strace.mcsnap(&arena.workdir, &arena.command(&name)).run();
        let what = format!("{harm} at rename {number}, 0 the manifest's");
        is_more = strace.log().contains("(INJECTED)");
        if !is_more {
            assert!(number > 2, "{what}: {}", strace.log());
            assert_eq!(arena.check(&name, &output, &what), Left::Whole);
            break;
        }
        check(&name, &output, &what);
    }
    assert!(!is_more);
}

fn a_rename_that_fails_fails_the_job(arena: &Arena) {
    for (errno, cause) in [("EIO", IO_ERROR), ("ENOSPC", NO_SPACE)] {
        let harm = format!("error={errno}");
        harm_renames(arena, &harm, |name, output, what| {
            arena.check_failed(name, output, cause, what);
        });
    }
}

/// EINVAL is said by file systems that cannot rename without replacing.
fn a_rename_that_is_refused_is_done_otherwise(arena: &Arena) {
    for errno in ["EINTR", "EINVAL"] {
        harm_renames(arena, &format!("error={errno}"), |name, output, what| {
            let left = arena.check(name, output, what);
            assert_eq!(left, Left::Whole, "{what}: {}", text(&output.stderr));
        });
    }
}

/// A test of a dump and one of a salvage for each check.
macro_rules! each_job {
    ($($dump:ident, $salvage:ident: $check:expr;)*) => {$(
        #[test]
        fn $dump() {
            let check: fn(&Arena) = $check;
            let arena = Arena::dump();
            check(&arena);
            arena.finish();
        }

        #[test]
        fn $salvage() {
            let check: fn(&Arena) = $check;
            let arena = Arena::salvage();
            check(&arena);
            arena.finish();
        }
    )*};
}

each_job! {
    a_dump_tells_of_a_failing_disk, a_salvage_tells_of_a_failing_disk: |arena| {
        a_call_that_fails_fails_the_job(arena, &Call::CHANGING, Errno::IO, IO_ERROR);
    };
    a_dump_tells_of_a_full_disk, a_salvage_tells_of_a_full_disk: |arena| {
        // Some file systems tell of it at the sync only.
        let calls = [Call::Create, Call::Mkdir, Call::Write, Call::Sync];
        a_call_that_fails_fails_the_job(arena, &calls, Errno::NOSPC, NO_SPACE);
    };
    a_dump_onto_a_dying_disk_is_whole_or_none, a_salvage_onto_a_dying_disk_is_whole_or_none:
        a_disk_that_dies_leaves_a_whole_snapshot_or_none;
    a_dump_killed_before_a_call_is_whole_or_none, a_salvage_killed_before_a_call_is_whole_or_none: |arena| {
        a_killed_job_leaves_a_whole_snapshot_or_none(arena, &Call::CHANGING, Harm::KillBefore);
    };
    a_dump_killed_after_a_sync_is_whole_or_none, a_salvage_killed_after_a_sync_is_whole_or_none: |arena| {
        // And so before each rename, which follows one, and after it.
        a_killed_job_leaves_a_whole_snapshot_or_none(arena, &[Call::Sync], Harm::KillAfter);
    };
    a_dump_repeats_what_was_interrupted_or_short, a_salvage_repeats_what_was_interrupted_or_short:
        calls_that_do_less_than_asked_are_repeated;
}

#[test]
fn a_job_whose_rename_fails_says_so() {
    for arena in [Arena::dump(), Arena::salvage()] {
        let arena = arena.in_one_thread();
        a_rename_that_fails_fails_the_job(&arena);
        arena.finish();
    }
}

#[test]
fn a_job_whose_rename_is_refused_makes_a_whole_snapshot() {
    for arena in [Arena::dump(), Arena::salvage()] {
        let arena = arena.in_one_thread();
        a_rename_that_is_refused_is_done_otherwise(&arena);
        arena.finish();
    }
}

#[test]
fn a_disk_that_cannot_be_read_is_told_with_the_place() {
    let arena = Arena::dump();
    let snapshot = arena.snapshot("new-first");
    let path = snapshot.display().to_string();
    let verify = [
        "verify",
        "--deep",
        "--mmap=never",
        "--threads=1",
        "-q",
        &path,
    ];
    let calls = [Call::Open, Call::Read];
    for number in 1.. {
        let fault = Fault::at(&calls, number, Harm::Error(Errno::IO));
        let (output, counted) = fault.run(arena.workdir.mcsnap(&verify), &arena.place());
        let what = format!("read {number}: {output:?}");
        let Some(harmed) = find_call(&counted, number) else {
            assert_eq!(output.status.code(), Some(0), "{what}");
            assert!(number > 20, "{number} calls are too few to mean anything");
            break;
        };
        // Without a manifest there is nothing to check; another file that
        // cannot be read is a finding beside the others.
        let told = if harmed.path.ends_with("manifest.json") {
            assert_eq!(output.status.code(), Some(1), "{what}");
            arena.message(&output, &what)
        } else {
            assert_eq!(output.status.code(), Some(3), "{what}");
            text(&output.stdout)
        };
        let is_told = told
            .lines()
            .any(|line| line.contains(&harmed.path) && line.ends_with(IO_ERROR));
        assert!(is_told, "{what}");
    }
    for harm in [Harm::Interrupt, Harm::Short] {
        let fault = Fault::from(&calls, 1, harm);
        let (output, _) = fault.run(arena.workdir.mcsnap(&verify), &arena.place());
        assert_eq!(output.status.code(), Some(0), "{harm:?}: {output:?}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_and_the_snapshot_is_whole() {
    for (arena, verdict) in [(Arena::dump(), "complete"), (Arena::salvage(), "lossy")] {
        let command = arena.command("new-untold");
        let full = ["sh", "-c", "exec \"$@\" >/dev/full", "sh"];
        let output = arena.workdir.mcsnap_by(&full, &command).run();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = text(&output.stderr);
        let place = arena.place().join("new-untold");
        let told = format!(
            "mcsnap: snapshot {} is there ({verdict}), but its report could not be written: cannot \
             write to stdout: {NO_SPACE}\n",
            place.display()
        );
        assert_eq!(stderr, told);
        assert_eq!(arena.left("new-untold", "untold"), Left::Whole);
        arena.finish();
    }
}

/// What the other tests count is what the kernel is asked for.
#[test]
fn no_call_on_a_snapshot_is_missed_by_the_counting() {
    for arena in [Arena::dump(), Arena::salvage()] {
        let mut counted = BTreeMap::new();
        let (_, calls) = arena.run("new-counted", &Fault::none(&Call::CHANGING));
        for call in calls {
            *counted.entry(call.call).or_insert(0) += 1;
        }
        let names = "open,openat,openat2,creat,mkdir,mkdirat,write,writev,pwrite64,pwritev,\
                     pwritev2,fsync,fdatasync,sync_file_range,fallocate,ftruncate,copy_file_range,\
                     sendfile,splice,unlink,unlinkat,rmdir,io_uring_setup";
        let strace = Strace::of(&arena.workdir, names);
        let command = arena.command("new-traced");
        let output = strace.mcsnap(&arena.workdir, &command).run();
        arena.check("new-traced", &output, "traced");
        let place = arena.place().display().to_string();
        let mut seen = BTreeMap::new();
        for line in strace.log().lines().filter(|line| line.contains(&place)) {
            // The other half of a call that another thread's came in between of.
            if line.contains(" resumed>") {
                continue;
            }
            let is_creation = line.contains("O_CREAT") || line.contains("O_TMPFILE");
            let call = line.split('(').next().unwrap_or_default();
            let call = match call.split_whitespace().last().unwrap_or_default() {
                "open" | "openat" | "creat" if is_creation => "create",
                "open" | "openat" => continue,
                "mkdir" | "mkdirat" => "mkdir",
                "write" | "writev" | "pwrite64" => "write",
                "fsync" | "fdatasync" => "sync",
                "unlink" | "unlinkat" | "rmdir" => "remove",
                _ => panic!("not counted: {line}"),
            };
            *seen.entry(call.to_owned()).or_insert(0) += 1;
        }
        // Two writers may both make a directory, or one of them.
        for calls in [&mut counted, &mut seen] {
            assert!(calls.remove("mkdir").is_some_and(|count| count >= 2));
        }
        assert_eq!(counted, seen);
        arena.finish();
    }
}

#[test]
fn a_file_system_without_locks_is_told_of_once() {
    let server = Memcached::start();
    server.client().set("key", 0, 0, b"value");
    let workdir = Workdir::new("no-locks");
    let address = server.address();
    for (name, error) in [("a", "ENOLCK"), ("b", "EOPNOTSUPP")] {
        let command = ["dump", "--to=s", "--resume", "-q", "--name", name, &address];
        let strace = Strace::of(&workdir, "flock").inject(&format!("flock:error={error}"));
        let output = strace.mcsnap(&workdir, &command).succeeds();
        let stderr = text(&output.stderr);
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let place = workdir
            .join(format!("s/.{name}.lock"))
            .display()
            .to_string();
        let told = format!(" WARN {place}: this file system has no locks; ");
        assert!(stderr.contains(&told), "{stderr}");
        workdir
            .mcsnap(&["verify", "--deep", &format!("s/{name}")])
            .succeeds();
    }
}
