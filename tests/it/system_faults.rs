//! Faults in the real system, at each call in turn: what fails or dies leaves a
//! whole snapshot or none, and says what, where and why.
//!
//! A library in front of libc's makes calls of the running program fail, do a
//! part only, or cut a file behind its back; it counts them over all threads.
//! strace does the same to calls that do not come from libc, and kills; it
//! counts for each thread by itself. Full and read-only file systems are
//! mounted in a namespace of their own. Every run is bounded in time.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::io::Errno;

use crate::client::Item;
use crate::memcached::Memcached;
use crate::workdir::{Run, Workdir, clear_settings};

/// More calls of one kind than a job makes here.
const CALL_COUNT_MAX: u32 = 100;

/// Bounds a run and all that it starts: they are one group of processes, and
/// die together.
const BOUND: [&str; 3] = ["timeout", "--kill-after=5", "100"];

/// The library: its settings are in the environment.
const FAULTS: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Says whether this is the call that was chosen, and leaves a mark. */
static int is_chosen(const char *call) {
    static int count;
    const char *chosen = getenv("FAULT_CALL");
    if (!chosen || strcmp(chosen, call) != 0) return 0;
    if (__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) != atoi(getenv("FAULT_WHEN"))) return 0;
    close(open(getenv("FAULT_MARK"), O_WRONLY | O_CREAT, 0600));
    return 1;
}

static int fail(void) {
    errno = atoi(getenv("FAULT_ERRNO"));
    return -1;
}

/* Calls on streams are left alone: stderr is to say what failed. */
ssize_t write(int fd, const void *bytes, size_t len) {
    struct stat found;
    if (fstat(fd, &found) == 0 && S_ISREG(found.st_mode)) {
        if (is_chosen("write")) return fail();
        if (getenv("FAULT_SHORT") && len > 1) len = len / 3 + 1;
    }
    return syscall(SYS_write, fd, bytes, len);
}

/* Waiting for a real disk, some thousand times, would be most of the test. */
int fsync(int fd) {
    (void)fd;
    return is_chosen("fsync") ? fail() : 0;
}

/* Cuts a file after a look at its length. */
int statx(int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict found) {
    int done = (int)syscall(SYS_statx, fd, path, flags, mask, found);
    const char *victim = getenv("FAULT_VICTIM");
    struct stat known;
    if (done == 0 && victim && stat(victim, &known) == 0 && known.st_ino == found->stx_ino
        && is_chosen("statx") && truncate(victim, 100) != 0) abort();
    return done;
}
"#;

/// A job that writes a snapshot, and what it reads.
struct Bench {
    workdir: Workdir,
    server: Memcached,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Dump,
    Salvage,
}

const JOBS: [Job; 2] = [Job::Dump, Job::Salvage];

impl Bench {
    /// A server with 3 MB, and a damaged dump of it to salvage: two shards of
    /// two segments each, so that every kind of call comes several times.
    fn new(name: &str) -> Self {
        let workdir = Workdir::new(name);
        let server = Memcached::start();
        let value = |number: usize| vec![number.to_le_bytes()[0]; 1000];
        server
            .client()
            .load((0..3000).map(|number| Item::new(format!("key:{number}"), value(number))));
        let bench = Self { workdir, server };
        bench
            .workdir
            .mcsnap(&bench.arguments(Job::Dump, "in", "damaged"))
            .succeeds();
        let victim = bench.segments("in/damaged").remove(0);
        let mut bytes = fs::read(&victim).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&victim, bytes).unwrap();
        bench
    }

    fn segments(&self, snapshot: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.workdir.join(snapshot).join("segments")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    fn arguments(&self, job: Job, to: &str, name: &str) -> Vec<String> {
        let address = self.server.address();
        let input = self.workdir.join("in/damaged").display().to_string();
        let words: &[&str] = match job {
            Job::Dump => &["dump", &address],
            Job::Salvage => &["salvage", &input],
        };
        let more = [
            "--segment-size=1MiB",
            "--compression=none",
            "-q",
            "--to",
            to,
        ];
        let name = ["--name", name];
        [words, &more, &name]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    /// The code of a run that nothing disturbs: a salvage has a loss to tell.
    fn done(job: Job) -> i32 {
        match job {
            Job::Dump => 0,
            Job::Salvage => 3,
        }
    }

    /// Runs the program with the library; says whether the chosen call came.
    fn run_with_faults(&self, arguments: &[String], faults: &[(&str, &str)]) -> (Output, bool) {
        let library = self.workdir.join("faults.so");
        if !library.exists() {
            let source = self.workdir.join("faults.c");
            fs::write(&source, FAULTS).unwrap();
            let compiled = Command::new("cc")
                .args(["-shared", "-fPIC", "-o"])
                .args([&library, &source])
                .status()
                .expect("a C compiler is missing; tools/setup installs it");
            assert!(compiled.success());
        }
        let mark = self.workdir.join("mark");
        let mut run = self
            .workdir
            .mcsnap(arguments)
            .env("LD_PRELOAD", &library)
            .env("FAULT_MARK", &mark);
        for (name, value) in faults {
            run = run.env(name, value);
        }
        let output = run.run();
        // It is there if and only if it can be removed.
        (output, fs::remove_file(&mark).is_ok())
    }

    /// Runs a job whose n-th call fails; says whether that call came.
    fn run_with_error(
        &self,
        job: Job,
        to: &str,
        (call, when): (&str, u32),
        error: Errno,
    ) -> (Output, bool) {
        let (number, when) = (error.raw_os_error().to_string(), when.to_string());
        if call == "renameat2" {
            let (output, log) = self.strace(job, to, call, &format!("error={number}:when={when}"));
            return (output, log.contains("(INJECTED)"));
        }
        self.run_with_faults(
            &self.arguments(job, to, "n"),
            &[
                ("FAULT_CALL", call),
                ("FAULT_WHEN", &when),
                ("FAULT_ERRNO", &number),
            ],
        )
    }

    /// Runs a job under strace with an injection; returns strace's log, too.
    fn strace(&self, job: Job, to: &str, call: &str, injection: &str) -> (Output, String) {
        let log = self.workdir.join("strace.log");
        let mut run = self.bounded("strace").arg("-o").arg(&log);
        for word in ["-f", "-qq", "-e", "signal=none", "-e"] {
            run = run.arg(word);
        }
        run = run
            .arg(format!("trace={call}"))
            .arg("-e")
            .arg(format!("inject={call}:{injection}"))
            .arg(env!("CARGO_BIN_EXE_mcsnap"));
        for word in self.arguments(job, to, "n") {
            run = run.arg(word);
        }
        let output = run.run();
        assert_ne!(
            output.status.code(),
            Some(127),
            "strace is missing; tools/setup installs it"
        );
        let log = fs::read(&log).unwrap();
        (output, text(&log))
    }

    fn bounded(&self, program: &str) -> Run {
        let [timeout, kill, limit] = BOUND;
        self.workdir
            .run_of(timeout)
            .arg(kill)
            .arg(limit)
            .arg(program)
    }

    /// A whole snapshot, or none: says which.
    fn is_whole(&self, place: &str, what: &str) -> bool {
        let is_there = self.workdir.join(place).join("manifest.json").exists();
        let output = self
            .workdir
            .mcsnap(&["verify", "--deep", "-q", place])
            .run();
        let code = output.status.code();
        if is_there {
            assert_eq!(code, Some(0), "{what}: {}", text(&output.stdout));
        } else {
            assert!(matches!(code, Some(1 | 2)), "{what}: {code:?}");
        }
        is_there
    }

    /// All bytes of the input of a salvage.
    fn input(&self) -> Vec<Vec<u8>> {
        let mut paths = self.segments("in/damaged");
        paths.push(self.workdir.join("in/damaged/manifest.json"));
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one line that a failed run says.
fn message(output: &Output, what: &str) -> String {
    let message = text(&output.stderr);
    assert!(
        message.starts_with("mcsnap: ") && message.lines().count() == 1,
        "{what}: {message:?}"
    );
    message
}

#[test]
fn each_write_sync_and_rename_that_fails_is_told_and_leaves_no_snapshot() {
    let bench = Bench::new("failing-calls");
    let before = bench.input();
    let (full, broken) = (
        (Errno::NOSPC, "No space left on device"),
        (Errno::IO, "Input/output error"),
    );
    for job in JOBS {
        for (call, (error, words)) in [
            ("write", full),
            ("write", broken),
            ("fsync", full),
            ("fsync", broken),
            ("renameat2", full),
            ("renameat2", broken),
        ] {
            let mut failed = 0;
            for when in 1..CALL_COUNT_MAX {
                let what = format!("{job:?}: {call} {when} fails: {words}");
                let to = format!("{job:?}-{call}-{error:?}-{when}");
                let (output, is_done) = bench.run_with_error(job, &to, (call, when), error);
                let place = format!("{to}/n");
                if !is_done {
                    assert_eq!(output.status.code(), Some(Bench::done(job)), "{what}");
                    assert!(bench.is_whole(&place, &what), "{what}");
                    break;
                }
                assert_eq!(output.status.code(), Some(1), "{what}");
                let message = message(&output, &what);
                let root = bench.workdir.path().display().to_string();
                assert!(
                    message.contains(words) && message.contains(&root),
                    "{what}: {message}"
                );
                assert!(!bench.workdir.join(&place).exists(), "{what}");
                failed += 1;
            }
            assert!(failed > 0, "{job:?}: {call} never failed");
        }
    }
    assert_eq!(bench.input(), before, "the input was changed");
}

#[test]
fn interrupted_calls_are_made_again() {
    let bench = Bench::new("interrupted-calls");
    for job in JOBS {
        for call in ["write", "fsync", "renameat2"] {
            for when in 1..CALL_COUNT_MAX {
                let what = format!("{job:?}: {call} {when} is interrupted");
                let to = format!("{job:?}-{call}-{when}");
                let (output, is_done) = bench.run_with_error(job, &to, (call, when), Errno::INTR);
                assert_eq!(
                    output.status.code(),
                    Some(Bench::done(job)),
                    "{what}: {}",
                    text(&output.stderr)
                );
                if !is_done {
                    assert!(when > 1, "{what}: never");
                    assert!(bench.is_whole(&format!("{to}/n"), &what), "{what}");
                    break;
                }
                assert!(bench.is_whole(&format!("{to}/n"), &what), "{what}");
            }
        }
    }
}

/// A shell, and timeout, have a code for it.
fn is_killed(output: &Output) -> bool {
    output.status.code().is_none_or(|code| code == 137)
}

#[test]
fn killed_at_each_sync_and_rename_there_is_a_whole_snapshot_or_none() {
    let bench = Bench::new("killed-at-call");
    let before = bench.input();
    for job in JOBS {
        let (mut whole, mut none) = (0, 0);
        // Closing follows a rename, so that it is killed after it as well.
        for call in ["fsync", "renameat2", "close"] {
            for when in 1..CALL_COUNT_MAX {
                let what = format!("{job:?}: killed at {call} {when}");
                let to = format!("{job:?}-{call}-{when}");
                let injection = format!("signal=SIGKILL:when={when}");
                let (output, _) = bench.strace(job, &to, call, &injection);
                if bench.is_whole(&format!("{to}/n"), &what) {
                    whole += 1;
                } else {
                    none += 1;
                }
                if !is_killed(&output) {
                    assert_eq!(output.status.code(), Some(Bench::done(job)), "{what}");
                    break;
                }
            }
        }
        assert!(
            none > 5 && whole > 0,
            "{job:?}: {none} times none, {whole} whole"
        );
    }
    assert_eq!(bench.input(), before, "the input was changed");
}

#[test]
fn short_writes_are_completed() {
    let bench = Bench::new("short-writes");
    for job in JOBS {
        let name = format!("{job:?}");
        let arguments = bench.arguments(job, &name, "n");
        let (output, _) = bench.run_with_faults(&arguments, &[("FAULT_SHORT", "1")]);
        assert_eq!(output.status.code(), Some(Bench::done(job)), "{name}");
        assert!(bench.is_whole(&format!("{name}/n"), &name));
    }
}

/// Runs a line of shell with a file system of its own at `mnt`, which goes with
/// it. A user without privileges gets them in a namespace, where the system
/// allows that.
fn with_mount(bench: &Bench, options: &str, line: &str) -> Output {
    fs::create_dir_all(bench.workdir.join("mnt")).unwrap();
    let mount = format!("mount -t tmpfs -o {options} none mnt && {line}");
    let mut run = bench.bounded("unshare");
    for word in ["--map-root-user", "--mount", "sh", "-c", &mount] {
        run = run.arg(word);
    }
    let output = run.run();
    let stderr = text(&output.stderr);
    assert!(
        !stderr.contains("unshare:") && !stderr.contains("mount:"),
        "this test needs root or user namespaces: {stderr}"
    );
    output
}

#[test]
fn a_full_file_system_is_told_and_holds_a_whole_snapshot_or_none() {
    let bench = Bench::new("full");
    let program = env!("CARGO_BIN_EXE_mcsnap");
    for job in JOBS {
        let words = bench.arguments(job, "mnt/out", "n").join(" ");
        let mut refused = 0;
        for kib in [16, 64, 512, 1000, 1200, 2100, 3000, 3200, 8000] {
            let what = format!("{job:?} into {kib} KiB");
            let line = format!(
                "{program} {words}; code=$?; ls mnt/out; \
                 [ ! -e mnt/out/n/manifest.json ] || {program} verify --deep -q mnt/out/n; \
                 echo verified $?; exit $code"
            );
            let output = with_mount(&bench, &format!("size={kib}k"), &line);
            let stdout = text(&output.stdout);
            assert!(stdout.ends_with("verified 0\n"), "{what}: {stdout}");
            if output.status.code() == Some(1) {
                let message = message(&output, &what);
                assert!(
                    message.contains("No space left on device"),
                    "{what}: {message}"
                );
                assert!(message.contains("mnt/out"), "{what}: {message}");
                // What it had written is gone, and so is the name.
                assert_eq!(stdout, "verified 0\n", "{what}");
                refused += 1;
            } else {
                assert_eq!(output.status.code(), Some(Bench::done(job)), "{what}");
            }
        }
        assert!(
            (3..9).contains(&refused),
            "{job:?}: {refused} of 9 were full"
        );
    }
}

#[test]
fn a_place_that_cannot_be_written_is_told() {
    let bench = Bench::new("read-only");
    let program = env!("CARGO_BIN_EXE_mcsnap");
    for job in JOBS {
        let words = bench.arguments(job, "mnt/out", "n").join(" ");
        let line = format!("mkdir mnt/out && mount -o remount,ro mnt && {program} {words}");
        let output = with_mount(&bench, "size=8m", &line);
        let what = format!("{job:?} to a read-only place");
        assert_eq!(output.status.code(), Some(1), "{what}");
        let message = message(&output, &what);
        assert!(
            message.contains("Read-only file system"),
            "{what}: {message}"
        );
        assert!(message.contains("mnt/out/n"), "{what}: {message}");

        // Root may write anywhere, unless it gives that up.
        let line = format!(
            "mkdir mnt/out && chmod 555 mnt/out && \
             exec setpriv --bounding-set -all --inh-caps -all {program} {words}"
        );
        let output = with_mount(&bench, "size=8m", &line);
        let what = format!("{job:?} to a forbidden place");
        assert_eq!(output.status.code(), Some(1), "{what}");
        let message = self::message(&output, &what);
        assert!(message.contains("Permission denied"), "{what}: {message}");
    }
}

#[test]
fn a_report_that_cannot_be_written_is_told_and_the_snapshot_is_whole() {
    let bench = Bench::new("full-stdout");
    for job in JOBS {
        let what = format!("{job:?} with a full stdout");
        let to = format!("{job:?}");
        let [timeout, kill, limit] = BOUND;
        let output = clear_settings(&mut Command::new(timeout))
            .args([kill, limit, env!("CARGO_BIN_EXE_mcsnap")])
            .args(bench.arguments(job, &to, "n"))
            .current_dir(bench.workdir.path())
            .stdout(fs::File::create("/dev/full").unwrap())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{what}");
        let message = message(&output, &what);
        assert!(
            message.contains("cannot write to stdout: No space left on device"),
            "{what}: {message}"
        );
        assert!(bench.is_whole(&format!("{to}/n"), &what), "{what}");
    }
}

#[test]
fn a_segment_cut_while_it_is_mapped_is_told_in_one_line() {
    let bench = Bench::new("cut-while-mapped");
    bench
        .workdir
        .mcsnap(&bench.arguments(Job::Dump, "in", "whole"))
        .succeeds();
    let segment = bench.segments("in/whole").remove(0);
    let whole = fs::read(&segment).unwrap();
    let verify = ["verify", "--deep", "--threads=1", "-q", "in/whole"].map(str::to_owned);
    let (mut findings, mut signals, mut unread) = (0, 0, true);
    for when in 1..CALL_COUNT_MAX {
        let what = format!("cut after look {when}");
        let (output, is_done) = bench.run_with_faults(
            &verify,
            &[
                ("FAULT_CALL", "statx"),
                ("FAULT_WHEN", &when.to_string()),
                ("FAULT_VICTIM", segment.to_str().unwrap()),
            ],
        );
        fs::write(&segment, &whole).unwrap();
        if !is_done {
            assert_eq!(output.status.code(), Some(0), "{what}");
            break;
        }
        let outcome = text(&output.stdout) + &text(&output.stderr);
        match output.status.code() {
            // Seen in time: as any segment of the wrong size.
            Some(3) => {
                let name = segment.file_name().unwrap().to_str().unwrap();
                assert!(outcome.contains(name), "{what}: {outcome}");
                findings += 1;
            }
            Some(1) => {
                let message = message(&output, &what);
                if message.contains("(SIGBUS); with --mmap never it is named") {
                    signals += 1;
                } else {
                    // Seen by a call that reads.
                    assert!(
                        message.contains(segment.to_str().unwrap())
                            && message.contains("the file has become shorter"),
                        "{what}: {message}"
                    );
                    findings += 1;
                }
            }
            // All was read that is needed; so it is at the looks that follow.
            Some(0) => {
                unread = false;
                continue;
            }
            code => panic!("{what}: {code:?}: {outcome}"),
        }
        assert!(unread, "{what}: it was read again");
    }
    assert!(
        findings >= 2 && signals >= 1,
        "{findings} findings, {signals} signals"
    );
}
