//! The source keeps the floors: imports only go down, and codecs stay pure.
//!
//! The checker reads text, not syntax. It knows enough Rust for code that
//! `cargo fmt` has laid out, and the tests below show it failing.

use std::fs;
use std::path::Path;

use crate::documents::source_paths::{NamedPath, code_lines, named_paths};

/// The floors, from the ground up, each a folder of `src`.
const FLOORS: [&str; 5] = ["words", "codecs", "ports", "engines", "jobs"];

/// The highest floor without disk, network, clock, threads and logging.
const PURE_MAX: usize = 1;

/// The floor of all that reaches out of the process.
const PORTS: usize = 2;

/// What pure floors may not name. Addresses of `std::net` are words; sockets are not.
const IMPURE: [&str; 11] = [
    "crossbeam_channel",
    "rayon",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::process",
    "std::thread",
    "tracing",
];

/// What jobs and engines reach by ports only: disk, environment and clock.
const OUTSIDE: [&str; 4] = ["Instant::now", "SystemTime::now", "std::env", "std::fs"];

/// What starts threads: only `ports::threads` does, so that each has a name, and none is
/// waited for that has panicked.
const THREADS: [&str; 7] = [
    "rayon",
    "std::thread::Builder",
    "std::thread::scope",
    "std::thread::spawn",
    "thread::Builder",
    "thread::scope",
    "thread::spawn",
];

/// Who may start threads: the second one leaves a look-up of a name behind that the
/// system does not end in time.
const STARTS_THREADS: [&str; 2] = ["src/ports/threads.rs", "src/ports/net/address.rs"];

/// Crates of the program alone.
const PROGRAM_ONLY: [&str; 3] = ["anyhow", "clap", "indicatif"];

/// Names that say nothing about what is inside.
const VAGUE: [&str; 10] = [
    "base", "common", "core", "handler", "helpers", "manager", "misc", "prelude", "types", "util",
];

/// The scan went wrong if it saw fewer files than this.
const FILES_MIN: usize = 21;

#[test]
fn the_source_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = Vec::new();
    let seen = check_folder(root, "src", &mut complaints);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    assert!(seen >= FILES_MIN, "saw only {seen} files");
}

/// Checks all Rust files below and returns how many there were.
fn check_folder(root: &Path, folder: &str, complaints: &mut Vec<String>) -> usize {
    let mut entries: Vec<_> = fs::read_dir(root.join(folder))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut seen = 0;
    for entry in entries {
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            seen += check_folder(root, &path, complaints);
        } else if path.ends_with(".rs") {
            seen += 1;
            complaints.extend(check_file(
                &path,
                &fs::read_to_string(entry.path()).unwrap(),
            ));
        }
    }
    seen
}

/// What is wrong with one file, as `file:line: what`.
fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut complain = |line: usize, what: String| {
        complaints.push(format!("{path}:{line}: {what}"));
    };
    if !text.starts_with("//! ") {
        complain(1, "does not begin with a `//! ` line".to_owned());
    }
    for name in path.split('/').map(|part| part.trim_end_matches(".rs")) {
        if VAGUE.contains(&name) {
            complain(1, format!("`{name}` says nothing about what is inside"));
        }
    }
    for (number, line) in (1..).zip(text.lines()) {
        for mark in ["FIXME", "TODO"] {
            if line.contains(mark) {
                complain(number, format!("{mark} is for the working tree"));
            }
        }
    }
    // The program is above all floors, and `crate` in it is another crate.
    if path.starts_with("src/bin/") {
        return complaints;
    }
    for (number, line) in code_lines(text) {
        if line.contains("print!(") || line.contains("println!(") || line.contains("dbg!(") {
            complain(number, "only src/bin prints".to_owned());
        }
    }
    let floor = own_floor(path);
    if floor.is_none() && path != "src/lib.rs" {
        complain(1, "is on no floor; see FLOORS".to_owned());
    }
    let is_pure = floor.is_some_and(|floor| floor <= PURE_MAX);
    let is_inside = floor.is_some_and(|floor| floor > PORTS);
    let tests_begin = first_line_of_tests(text);
    for NamedPath {
        line: number,
        path: named,
        is_nested,
        ..
    } in named_paths(text)
    {
        let named = resolve_super(path, is_nested, named);
        if let Some(name) = PROGRAM_ONLY.iter().find(|name| is_within(&named, name)) {
            complain(number, format!("only src/bin uses {name}"));
        }
        if is_pure && let Some(name) = IMPURE.iter().find(|name| is_within(&named, name)) {
            complain(number, format!("{name} on a pure floor"));
        }
        if is_inside
            && number < tests_begin
            && let Some(name) = OUTSIDE.iter().find(|name| is_within(&named, name))
        {
            complain(number, format!("{name} above the ports; see ports::host"));
        }
        if number < tests_begin
            && !STARTS_THREADS.contains(&path)
            && let Some(name) = THREADS.iter().find(|name| is_within(&named, name))
        {
            complain(number, format!("{name} starts threads; see ports::threads"));
        }
        if let Some(what) = import_complaint(floor, &named) {
            complain(number, what);
        }
    }
    for (number, line) in code_lines(text) {
        // It says that a person stopped the job, and nothing else may say so.
        if line.contains("new(ErrorKind::Canceled") && path != "src/words/cancel.rs" {
            complain(
                number,
                "only src/words/cancel.rs makes `Canceled`".to_owned(),
            );
        }
        if is_pure && line.contains("::now()") {
            complain(number, "a clock on a pure floor".to_owned());
        }
    }
    complaints
}

/// Tests may look at the disk, and at the clock.
fn first_line_of_tests(text: &str) -> usize {
    let before = text.lines().take_while(|line| *line != "#[cfg(test)]");
    before.count() + 1
}

/// Why a path like `crate::ports::store::Store` may not be named here. On one floor all
/// may import each other, as long as they do not go in circles.
fn import_complaint(floor: Option<usize>, named: &str) -> Option<String> {
    let floor = floor?;
    let other = named.strip_prefix("crate::")?.split("::").next()?;
    match floor_of(other) {
        None => Some(format!("crate::{other} is no floor; see FLOORS")),
        Some(other_floor) if other_floor > floor => Some(format!(
            "{} (floor {floor}) imports upward from {other} (floor {other_floor})",
            FLOORS[floor]
        )),
        Some(_) => None,
    }
}

/// The floor of `src/ports/store/local.rs` is that of `ports`.
fn own_floor(path: &str) -> Option<usize> {
    floor_of(path.strip_prefix("src/")?.split('/').next()?)
}

fn floor_of(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| *floor == folder)
}

/// Whether a path is the prefix or something in it.
fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// `crate::x` for a `super::x` that reaches the crate root; other paths as they are.
fn resolve_super(file: &str, is_nested: bool, path: String) -> String {
    let inside = file.strip_prefix("src/").unwrap_or(file);
    let parts = inside
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .split('/');
    // Indented is inside `mod tests`, which is one level further down.
    let depth = parts.count() + usize::from(is_nested);
    let mut rest = path.as_str();
    for _ in 0..depth {
        match rest.strip_prefix("super::") {
            Some(above) => rest = above,
            None => return path,
        }
    }
    format!("crate::{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The complaints about a file that has this code and is else in order.
    fn complaints(path: &str, code: &str) -> Vec<String> {
        check_file(path, &format!("//! A file.\n{code}\n"))
    }

    #[test]
    fn imports_that_go_down_or_stay_are_allowed() {
        let code = "use crate::words::error::{Error, Result};\n\
                    use crate::ports::store::local::{self, LocalStore};\n\
                    use super::Store;\n\
                    fn f() { crate::codecs::format::layout::x(); }\n\
                    mod tests {\n    use super::*;\n}";
        assert_eq!(complaints("src/ports/store/local.rs", code), [""; 0]);
        assert_eq!(complaints("src/ports/net/mod.rs", code), [""; 0]);
        assert_eq!(complaints("src/jobs/dump/run.rs", code), [""; 0]);
        let words = "use crate::words::units::to_u64;\nmod tests {\n    use super::*;\n}";
        assert_eq!(complaints("src/words/limits.rs", words), [""; 0]);
    }

    #[test]
    fn imports_that_go_up_are_found() {
        let cases = [
            (
                "src/codecs/format/block.rs",
                "use crate::ports::store::Store;",
                "codecs (floor 1) imports upward from ports (floor 2)",
            ),
            (
                "src/engines/source/run.rs",
                "pub(crate) use crate::{\n    words::error::Error,\n    jobs::restore::{Plan, run},\n};",
                "engines (floor 3) imports upward from jobs (floor 4)",
            ),
            (
                "src/words/item.rs",
                "use super::super::codecs::format::block;",
                "words (floor 0) imports upward from codecs (floor 1)",
            ),
            (
                "src/codecs/ring/hash.rs",
                "mod tests {\n    use super::super::super::super::ports::net::Connection;\n}",
                "codecs (floor 1) imports upward from ports (floor 2)",
            ),
            (
                "src/ports/net/mod.rs",
                "use crate::gossip::Peer;",
                "crate::gossip is no floor; see FLOORS",
            ),
            ("src/gossip/peer.rs", "", "is on no floor; see FLOORS"),
        ];
        for (path, code, what) in cases {
            let found = complaints(path, code);
            assert!(!found.is_empty(), "{path} passes with {code:?}");
            assert!(
                found.iter().all(|found| found.ends_with(what)),
                "{found:?} for {code:?}"
            );
        }
    }

    #[test]
    fn disk_clock_and_environment_above_the_ports_are_found() {
        for (code, what) in [
            ("use std::fs::File;", "std::fs"),
            ("let path = std::env::temp_dir();", "std::env"),
            ("let started = Instant::now();", "Instant::now"),
            ("let now = SystemTime::now();", "SystemTime::now"),
        ] {
            let expected =
                format!("src/jobs/dump/run.rs:2: {what} above the ports; see ports::host");
            assert_eq!(complaints("src/jobs/dump/run.rs", code), [expected]);
            assert_eq!(complaints("src/ports/net/connect.rs", code), [""; 0]);
            let test = format!("#[cfg(test)]\nmod tests {{\n    fn f() {{ {code} }}\n}}");
            assert_eq!(complaints("src/engines/source/spool.rs", &test), [""; 0]);
        }
    }

    #[test]
    fn threads_that_are_started_anywhere_else_are_found() {
        for (code, what) in [
            ("std::thread::scope(|scope| {", "std::thread::scope"),
            ("thread::Builder::new()", "thread::Builder"),
            ("use rayon::prelude::*;", "rayon"),
        ] {
            let expected =
                format!("src/jobs/dump/run.rs:2: {what} starts threads; see ports::threads");
            assert_eq!(complaints("src/jobs/dump/run.rs", code), [expected]);
            assert_eq!(complaints("src/ports/threads.rs", code), [""; 0]);
        }
        let sleeps = "std::thread::sleep(pause);";
        assert_eq!(complaints("src/engines/source/spool.rs", sleeps), [""; 0]);
    }

    #[test]
    fn impure_codecs_are_found() {
        let cases = [
            ("use std::fs;", "std::fs on a pure floor"),
            ("use std::{env, mem};", "std::env on a pure floor"),
            (
                "use std::net::{IpAddr, TcpStream};",
                "std::net::TcpStream on a pure floor",
            ),
            ("std::thread::sleep(x);", "std::thread on a pure floor"),
            ("tracing::warn!(x);", "tracing on a pure floor"),
            ("let x = Instant::now();", "a clock on a pure floor"),
        ];
        for (code, what) in cases {
            let expected = format!("src/codecs/ring/hash.rs:2: {what}");
            assert_eq!(complaints("src/codecs/ring/hash.rs", code), [expected]);
            assert_eq!(complaints("src/ports/store/local.rs", code), [""; 0]);
        }
        let address = "use std::net::IpAddr;";
        assert_eq!(complaints("src/words/node.rs", address), [""; 0]);
    }

    #[test]
    fn parts_of_the_program_in_the_library_are_found() {
        for (code, what) in [
            ("use clap::Parser;", "only src/bin uses clap"),
            ("fn f() -> anyhow::Result<()> {", "only src/bin uses anyhow"),
            ("    eprintln!(\"x\");", "only src/bin prints"),
        ] {
            let expected = format!("src/jobs/dump/run.rs:2: {what}");
            assert_eq!(complaints("src/jobs/dump/run.rs", code), [expected]);
            assert_eq!(complaints("src/bin/mcsnap/cli.rs", code), [""; 0]);
        }
    }

    #[test]
    fn a_cancellation_that_nobody_asked_for_is_found() {
        let code = "fn f() -> Error {\n    Error::new(ErrorKind::Canceled)\n}";
        let expected = "src/jobs/dump/run.rs:3: only src/words/cancel.rs makes `Canceled`";
        assert_eq!(complaints("src/jobs/dump/run.rs", code), [expected]);
        assert_eq!(complaints("src/words/cancel.rs", code), [""; 0]);
    }

    #[test]
    fn names_heads_and_marks_are_checked_everywhere() {
        let bare = "use std::mem;\n// TODO: more\n";
        assert_eq!(
            check_file("src/bin/mcsnap/util.rs", bare),
            [
                "src/bin/mcsnap/util.rs:1: does not begin with a `//! ` line",
                "src/bin/mcsnap/util.rs:1: `util` says nothing about what is inside",
                "src/bin/mcsnap/util.rs:2: TODO is for the working tree",
            ]
        );
        assert_eq!(complaints("src/ports/store/core/mod.rs", "").len(), 1);
    }

    #[test]
    fn comments_are_not_imports() {
        let code = "/// See crate::store::Store and std::fs.\n\
                    // use crate::net::Connection;\n\
                    let x = 1; // Instant::now() would be wrong.";
        assert_eq!(complaints("src/codecs/format/block.rs", code), [""; 0]);
    }
}
