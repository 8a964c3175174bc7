//! The source keeps the floors: imports only go down, and codecs stay pure.
//!
//! The checker reads text, not syntax. It knows enough Rust for code that
//! `cargo fmt` has laid out, and the tests below show it failing.

use std::fs;
use std::path::Path;

/// Every module of the crate root and its floor. README's table says the same.
const FLOORS: [&[&str]; 5] = [
    &[
        "access", "batch", "cancel", "defect", "error", "item", "limits", "node", "pieces",
        "progress", "reasons", "units",
    ],
    &[
        "format",
        "protocol",
        "ring",
        "select",
        "throttle",
        "warm_file",
    ],
    &["net", "store"],
    &["discovery", "snapshot", "source", "target"],
    &[
        "compare",
        "copy",
        "detection",
        "dump",
        "endpoint",
        "inspect",
        "interop",
        "listing",
        "lookup",
        "mirror",
        "resharding",
        "restore",
        "retention",
        "salvage",
        "top",
        "transfer",
        "verify",
    ],
];

/// The highest floor without disk, network, clock, threads and logging.
const PURE_MAX: usize = 1;

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
        complain(
            1,
            format!("`{}` is on no floor; see FLOORS", root_module(path)),
        );
    }
    let is_pure = floor.is_some_and(|floor| floor <= PURE_MAX);
    for (number, named) in named_paths(path, text) {
        if let Some(name) = PROGRAM_ONLY.iter().find(|name| is_within(&named, name)) {
            complain(number, format!("only src/bin uses {name}"));
        }
        if is_pure && let Some(name) = IMPURE.iter().find(|name| is_within(&named, name)) {
            complain(number, format!("{name} on a pure floor"));
        }
        if let Some(what) = import_complaint(path, floor, &named) {
            complain(number, what);
        }
    }
    for (number, line) in code_lines(text) {
        // It says that a person stopped the job, and nothing else may say so.
        if line.contains("new(ErrorKind::Canceled") && path != "src/cancel.rs" {
            complain(number, "only src/cancel.rs makes `Canceled`".to_owned());
        }
        if is_pure && line.contains("::now()") {
            complain(number, "a clock on a pure floor".to_owned());
        }
    }
    complaints
}

/// Why a path like `crate::store::Store` may not be named here.
fn import_complaint(path: &str, floor: Option<usize>, named: &str) -> Option<String> {
    let floor = floor?;
    let other = named.strip_prefix("crate::")?.split("::").next()?;
    let own = root_module(path);
    let Some(other_floor) = floor_of(other) else {
        return Some(format!("crate::{other} is on no floor; see FLOORS"));
    };
    // The words of the lowest floor are small files of one folder.
    if other == own || other_floor < floor || (floor == 0 && other_floor == 0) {
        return None;
    }
    let direction = if other_floor == floor {
        "sideways"
    } else {
        "upward"
    };
    Some(format!(
        "{own} (floor {floor}) imports {direction} from {other} (floor {other_floor})"
    ))
}

fn own_floor(path: &str) -> Option<usize> {
    floor_of(root_module(path))
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// `store` for `src/store/local.rs` and for `src/store.rs`.
fn root_module(path: &str) -> &str {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap().trim_end_matches(".rs")
}

/// Whether a path is the prefix or something in it.
fn is_within(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The lines with their numbers, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let is_comment = line.trim_start().starts_with("//");
        let code = line.split(" // ").next()?;
        (!is_comment).then_some((number, code))
    })
}

/// Every path the code names, with `use` lists taken apart and `super` resolved
/// where it means the crate root.
fn named_paths(file: &str, text: &str) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    let mut lines = code_lines(text);
    while let Some((number, line)) = lines.next() {
        let Some(tree) = use_tree(line) else {
            paths.extend(inline_paths(line).map(|path| (number, path)));
            continue;
        };
        let is_nested = line.starts_with(' ');
        let mut tree = tree.to_owned();
        while !tree.contains(';') {
            let Some((_, more)) = lines.next() else {
                break;
            };
            tree.push_str(more.trim());
        }
        let tree: String = tree
            .split(';')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let mut flat = Vec::new();
        flatten("", &tree, &mut flat);
        paths.extend(
            flat.into_iter()
                .map(|path| (number, resolve_super(file, is_nested, path))),
        );
    }
    paths
}

/// What follows `use` when the line begins such an item.
fn use_tree(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let item = match line.strip_prefix("pub") {
        Some(public) => match public.strip_prefix('(') {
            Some(scope) => scope.split_once(')')?.1,
            None => public,
        },
        None => line,
    };
    item.trim_start().strip_prefix("use ")
}

/// Turns `a::{b, c::{d, e}}` into `a::b`, `a::c::d`, `a::c::e`.
fn flatten(prefix: &str, tree: &str, paths: &mut Vec<String>) {
    let Some((head, list)) = tree.split_once('{') else {
        paths.push(format!("{prefix}{tree}"));
        return;
    };
    let prefix = format!("{prefix}{head}");
    let list = list.strip_suffix('}').unwrap_or(list);
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, letter) in list.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                flatten(&prefix, &list[start..at], paths);
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < list.len() {
        flatten(&prefix, &list[start..], paths);
    }
}

/// Paths of two or more names in a line that is not a `use`.
fn inline_paths(line: &str) -> impl Iterator<Item = String> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    line.split(move |letter| !is_name(letter))
        .filter(|word| word.contains("::"))
        .map(|word| word.trim_matches(':').to_owned())
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
    fn imports_that_go_down_are_allowed() {
        let code = "use crate::error::{Error, Result};\n\
                    use crate::store::local::{self, LocalStore};\n\
                    use super::Store;\n\
                    fn f() { crate::format::layout::x(); }\n\
                    mod tests {\n    use super::*;\n}";
        assert_eq!(complaints("src/store/local.rs", code), [""; 0]);
        assert_eq!(
            complaints("src/store/mod.rs", code),
            ["src/store/mod.rs:4: crate::Store is on no floor; see FLOORS"]
        );
        assert_eq!(complaints("src/dump/run.rs", code), [""; 0]);
        let words = "use crate::units::to_u64;\nmod tests {\n    use super::*;\n}";
        assert_eq!(complaints("src/limits.rs", words), [""; 0]);
    }

    #[test]
    fn imports_that_go_up_or_sideways_are_found() {
        let cases = [
            (
                "src/format/block.rs",
                "use crate::store::Store;",
                "format (floor 1) imports upward from store (floor 2)",
            ),
            (
                "src/format/block.rs",
                "fn f() -> crate::protocol::Key {",
                "format (floor 1) imports sideways from protocol (floor 1)",
            ),
            (
                "src/dump/run.rs",
                "pub(crate) use crate::{\n    error::Error,\n    restore::{Plan, run},\n};",
                "dump (floor 4) imports sideways from restore (floor 4)",
            ),
            (
                "src/item.rs",
                "use super::format::block;",
                "item (floor 0) imports upward from format (floor 1)",
            ),
            (
                "src/ring/hash.rs",
                "mod tests {\n    use super::super::super::net::Connection;\n}",
                "ring (floor 1) imports upward from net (floor 2)",
            ),
            (
                "src/net/mod.rs",
                "use crate::gossip::Peer;",
                "crate::gossip is on no floor; see FLOORS",
            ),
            (
                "src/gossip/peer.rs",
                "",
                "`gossip` is on no floor; see FLOORS",
            ),
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
            let expected = format!("src/ring/hash.rs:2: {what}");
            assert_eq!(complaints("src/ring/hash.rs", code), [expected]);
            assert_eq!(complaints("src/store/local.rs", code), [""; 0]);
        }
        let address = "use std::net::IpAddr;";
        assert_eq!(complaints("src/node.rs", address), [""; 0]);
    }

    #[test]
    fn parts_of_the_program_in_the_library_are_found() {
        for (code, what) in [
            ("use clap::Parser;", "only src/bin uses clap"),
            ("fn f() -> anyhow::Result<()> {", "only src/bin uses anyhow"),
            ("    eprintln!(\"x\");", "only src/bin prints"),
        ] {
            let expected = format!("src/dump/run.rs:2: {what}");
            assert_eq!(complaints("src/dump/run.rs", code), [expected]);
            assert_eq!(complaints("src/bin/mcsnap/cli.rs", code), [""; 0]);
        }
    }

    #[test]
    fn a_cancellation_that_nobody_asked_for_is_found() {
        let code = "fn f() -> Error {\n    Error::new(ErrorKind::Canceled)\n}";
        let expected = "src/dump/run.rs:3: only src/cancel.rs makes `Canceled`";
        assert_eq!(complaints("src/dump/run.rs", code), [expected]);
        assert_eq!(complaints("src/cancel.rs", code), [""; 0]);
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
        assert_eq!(complaints("src/store/core/mod.rs", "").len(), 1);
    }

    #[test]
    fn comments_are_not_imports() {
        let code = "/// See crate::store::Store and std::fs.\n\
                    // use crate::net::Connection;\n\
                    let x = 1; // Instant::now() would be wrong.";
        assert_eq!(complaints("src/format/block.rs", code), [""; 0]);
    }
}
