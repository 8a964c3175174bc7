//! No two files of the source import each other, be it by a long way round, and no two
//! rooms of a floor do.
//!
//! A name that a `mod.rs` hands on counts as an import of the file that defines it. What
//! tests in a file import does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::documents::source_paths::named_paths;

/// The files of one crate, each with its text, by their module path: `words::error`, or
/// nothing for the root.
struct Crate {
    files: BTreeMap<String, SourceFile>,
}

struct SourceFile {
    path: String,
    text: String,
    /// Where a name that this file hands on comes from.
    handed_on: BTreeMap<String, String>,
}

/// From one file to another: the names that the first takes from the second.
type Imports = BTreeMap<(String, String), BTreeSet<String>>;

impl Crate {
    /// Takes files with their paths below the folder of the root file.
    fn new(root: &str, files: impl IntoIterator<Item = (String, String)>) -> Self {
        let files = files.into_iter().map(|(path, text)| {
            let module = path
                .trim_end_matches(".rs")
                .trim_end_matches("/mod")
                .replace('/', "::");
            let module = if module == root {
                String::new()
            } else {
                module
            };
            let text = without_tests(&text).to_owned();
            let file = SourceFile {
                path,
                text,
                handed_on: BTreeMap::new(),
            };
            (module, file)
        });
        let mut all = Self {
            files: files.collect(),
        };
        let modules: Vec<String> = all.files.keys().cloned().collect();
        for module in modules {
            let handed_on: BTreeMap<String, String> = named_paths(&all.files[&module].text)
                .into_iter()
                .filter(|found| found.is_handed_on)
                .filter_map(|found| {
                    let name = found.path.rsplit("::").next()?.to_owned();
                    Some((name, all.absolute(&module, &found.path)?))
                })
                .collect();
            all.files.get_mut(&module).unwrap().handed_on = handed_on;
        }
        all
    }

    /// Reads all files below a folder.
    fn read(folder: &Path, root: &str, skipped: &[&str]) -> Self {
        let mut files = Vec::new();
        collect(folder, "", skipped, &mut files);
        Self::new(root, files)
    }

    /// Returns the path from the root of the crate; none for what is of another crate,
    /// and for names of the file itself.
    fn absolute(&self, module: &str, path: &str) -> Option<String> {
        let (first, rest) = path.split_once("::").unwrap_or((path, ""));
        let below = |module: &str, rest: &str| match (module, rest) {
            ("", rest) => rest.to_owned(),
            (module, "") => module.to_owned(),
            (module, rest) => format!("{module}::{rest}"),
        };
        match first {
            "crate" => Some(rest.to_owned()),
            "self" => Some(below(module, rest)),
            "super" => {
                let above = module.rsplit_once("::").map_or("", |(above, _)| above);
                if rest.starts_with("super") {
                    return self.absolute(above, rest);
                }
                Some(below(above, rest))
            }
            child if self.files.contains_key(&below(module, child)) => Some(below(module, path)),
            _ => None,
        }
    }

    /// Returns the module that defines what a path from the root names.
    fn definer(&self, path: &str) -> Option<&str> {
        let mut path = path.to_owned();
        // A name is handed on a few times at most.
        for _ in 0..10 {
            let mut module = "";
            for (end, _) in path.match_indices("::").chain([(path.len(), "")]) {
                match self.files.get_key_value(&path[..end]) {
                    Some((deeper, _)) => module = deeper,
                    None => break,
                }
            }
            let rest = path[module.len()..].trim_start_matches("::");
            let name = rest.split("::").next().unwrap_or_default();
            match self.files[module].handed_on.get(name) {
                Some(from) => path = format!("{from}{}", &rest[name.len()..]),
                None => return Some(self.files.get_key_value(module)?.0),
            }
        }
        None
    }

    /// Returns who imports what from whom, by the paths of the files.
    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        for (module, file) in &self.files {
            let is_face = file.path.ends_with("mod.rs") || module.is_empty();
            for found in named_paths(&file.text) {
                if found.is_handed_on && is_face {
                    continue;
                }
                let Some(path) = self.absolute(module, &found.path) else {
                    continue;
                };
                let Some(definer) = self.definer(&path) else {
                    continue;
                };
                if definer != module {
                    let arrow = (file.path.clone(), self.files[definer].path.clone());
                    let name = found
                        .path
                        .rsplit("::")
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    imports.entry(arrow).or_default().insert(name);
                }
            }
        }
        imports
    }
}

/// Cuts off the tests at the end of a file.
fn without_tests(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod ")
        .map_or(text, |(before, _)| before)
}

fn collect(folder: &Path, below: &str, skipped: &[&str], files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{below}{name}");
        if skipped.contains(&path.as_str()) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), skipped, files);
        } else if name.ends_with(".rs") {
            files.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

/// Finds the groups of files, or of rooms, of which each can be reached from each other.
fn circles(arrows: &BTreeSet<(String, String)>) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in arrows {
        next.entry(from).or_default().insert(to);
    }
    let reached = |start: &str| {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(node) = waiting.pop() {
            for &to in next.get(node).into_iter().flatten() {
                if seen.insert(to.to_owned()) {
                    waiting.push(to);
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> =
        next.keys().map(|&node| (node, reached(node))).collect();
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    for (&node, all) in &reached {
        if !all.contains(node) || !taken.insert(node.to_owned()) {
            continue;
        }
        let comes_back = |other: &&String| {
            reached
                .get(other.as_str())
                .is_some_and(|all| all.contains(node))
        };
        let circle: BTreeSet<String> = all.iter().filter(comes_back).cloned().collect();
        taken.extend(circle.iter().cloned());
        found.push(circle);
    }
    found
}

/// Writes each circle with what ties it.
fn complaints(imports: &Imports) -> Vec<String> {
    let arrows = imports.keys().cloned().collect();
    let mut complaints = Vec::new();
    for circle in circles(&arrows) {
        complaints.push(format!("{} files import each other:", circle.len()));
        for ((from, to), names) in imports {
            if circle.contains(from) && circle.contains(to) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                complaints.push(format!("  {from} -> {to}: {}", names.join(", ")));
            }
        }
    }
    complaints
}

/// `engines/source` for `engines/source/walk/mod.rs`.
fn room(path: &str) -> String {
    let mut parts = path.trim_end_matches(".rs").split('/');
    let floor = parts.next().unwrap_or_default();
    let room = parts.next().unwrap_or_default();
    format!("{floor}/{room}")
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

#[test]
fn no_files_of_the_library_import_each_other() {
    let library = Crate::read(source(), "lib", &["bin"]);
    assert!(library.files.len() > 200);
    let imports = library.imports();
    assert!(imports.len() > 500, "{} imports", imports.len());
    let found = complaints(&imports);
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    let rooms = imports
        .keys()
        .map(|(from, to)| (room(from), room(to)))
        .filter(|(from, to)| from != to);
    let found = circles(&rooms.collect());
    assert!(found.is_empty(), "rooms import each other: {found:?}");
}

#[test]
fn no_files_of_the_program_import_each_other() {
    let program = Crate::read(&source().join("bin/mcsnap"), "main", &[]);
    assert!(program.files.len() > 30);
    let found = complaints(&program.imports());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_files_of_a_bench_import_each_other() {
    let support = ["support/memcached.rs", "support/order.rs"];
    check_bench("pipeline", &support);
    let of_others = [
        "pipeline/floors.rs",
        "pipeline/items.rs",
        "pipeline/machine.rs",
        "pipeline/server.rs",
        "pipeline/statistics.rs",
        "support/order.rs",
        "../tests/it/harness/workdir.rs",
        "../tests/stores/garage.rs",
        "../tests/stores/moto.rs",
        "../tests/stores/place.rs",
        // The whole of it is one.
        "../tests/stores/proxy/mod.rs",
        "../tests/stores/rgw.rs",
    ];
    check_bench("stores", &of_others);
}

/// Checks the files of a bench, and those from elsewhere that it includes.
fn check_bench(name: &str, included: &[&str]) {
    let benches = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches"));
    let mut files = Vec::new();
    collect(&benches.join(name), "", &[], &mut files);
    for path in included {
        let name = path.strip_suffix("/mod.rs").unwrap_or(path);
        let stem = Path::new(name).file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(benches.join(path)).unwrap();
        files.push((format!("{stem}.rs"), text));
    }
    let bench = Crate::new("main", files);
    assert!(bench.files.len() > 10);
    let found = complaints(&bench.imports());
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_circle_is_found_by_whatever_way_it_goes() {
    let check = |files: &[(&str, &str)]| {
        let files = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        complaints(&Crate::new("lib", files).imports())
    };
    let straight = [
        ("lib.rs", "pub mod a;\npub mod b;\n"),
        ("a.rs", "use crate::b::B;\n"),
        ("b.rs", "fn f() {\n    crate::a::f();\n}\n"),
    ];
    assert_eq!(
        check(&straight),
        [
            "2 files import each other:",
            "  a.rs -> b.rs: B",
            "  b.rs -> a.rs: f"
        ]
    );
    // By the face of a folder, and by a relative path.
    let through_a_face = [
        ("lib.rs", "pub mod room;\n"),
        (
            "room/mod.rs",
            "mod a;\nmod b;\npub use a::A;\npub use self::b::B;\n",
        ),
        ("room/a.rs", "use super::B;\n"),
        ("room/b.rs", "use crate::room::A;\n"),
    ];
    assert_eq!(check(&through_a_face).len(), 3);
    // A face that uses what it hands on, and is used by it.
    let by_the_face = [
        ("lib.rs", "pub mod room;\n"),
        ("room/mod.rs", "mod a;\nuse a::A;\npub struct Room(A);\n"),
        ("room/a.rs", "use crate::room::Room;\n"),
    ];
    assert_eq!(check(&by_the_face).len(), 3);
    let one_way = [
        ("lib.rs", "pub mod room;\npub mod low;\n"),
        ("room/mod.rs", "mod a;\nmod b;\npub use a::A;\n"),
        ("room/a.rs", "use super::b::B;\nuse crate::low::Low;\n"),
        (
            "room/b.rs",
            "use crate::low::Low;\n\n#[cfg(test)]\nmod tests {\n    use crate::room::A;\n}\n",
        ),
        ("low.rs", "use std::fmt;\n"),
    ];
    assert_eq!(check(&one_way), [""; 0]);
}
