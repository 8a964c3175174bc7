//! A segment that becomes shorter while it is mapped: told in one line, or as any
//! segment of the wrong size.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::client::Item;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// More looks at a file's length than a job takes here.
const LOOK_COUNT_MAX: u32 = 100;

/// A library in front of libc's, which cuts a file after the n-th look at its
/// length and leaves a mark.
const CUTTER: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int statx(int fd, const char *restrict path, int flags, unsigned mask, struct statx *restrict found) {
    static int count;
    int done = (int)syscall(SYS_statx, fd, path, flags, mask, found);
    const char *victim = getenv("CUT_FILE");
    struct stat known;
    if (done != 0 || !victim || stat(victim, &known) != 0 || known.st_ino != found->stx_ino) return done;
    if (__atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST) != atoi(getenv("CUT_WHEN"))) return done;
    close(open(getenv("CUT_MARK"), O_WRONLY | O_CREAT, 0600));
    if (truncate(victim, 100) != 0) abort();
    return done;
}
"#;

/// Verifies a snapshot whose segment is cut at the n-th look; says whether that
/// look was taken.
fn verify_cut(workdir: &Workdir, segment: &Path, when: u32) -> (Output, bool) {
    let mark = workdir.join("mark");
    let output = workdir
        .mcsnap(&["verify", "--deep", "--threads=1", "-q", "s/n"])
        .env("LD_PRELOAD", workdir.join("cutter.so"))
        .env("CUT_FILE", segment)
        .env("CUT_WHEN", when.to_string())
        .env("CUT_MARK", &mark)
        .run();
    // It is there if and only if it can be removed.
    (output, fs::remove_file(&mark).is_ok())
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
fn a_segment_cut_while_it_is_mapped_is_told_in_one_line() {
    let workdir = Workdir::new("cut-segment");
    let server = Memcached::start();
    let value = vec![b'v'; 1000];
    server
        .client()
        .load((0..3000).map(|number| Item::new(format!("key:{number}"), value.clone())));
    workdir
        .mcsnap(&["dump", "--to", "s", "--name", "n", "--compression=none"])
        .arg(server.address())
        .succeeds();
    fs::write(workdir.join("cutter.c"), CUTTER).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([workdir.join("cutter.so"), workdir.join("cutter.c")])
        .status()
        .expect("a C compiler is missing; tools/setup installs it");
    assert!(compiled.success());
    let entries = fs::read_dir(workdir.join("s/n/segments")).unwrap();
    let segment = entries.map(|entry| entry.unwrap().path()).min().unwrap();
    let segment = segment.canonicalize().unwrap();
    let whole = fs::read(&segment).unwrap();
    let (mut findings, mut signals, mut unread) = (0, 0, true);
    for when in 1..LOOK_COUNT_MAX {
        let what = format!("cut after look {when}");
        let (output, is_done) = verify_cut(&workdir, &segment, when);
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
