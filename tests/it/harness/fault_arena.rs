//! A job that writes a snapshot, among files that are not its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::harness::client::Item;
use crate::harness::fault::{Counted, Fault};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// Where snapshots are written, with other things.
const PLACE: &str = "s";

/// What the job of a test writes is called so, and nothing else is.
const PREFIX: &str = "new-";

/// Items of a server.
///
/// As few as make each shard's first segment take more than one write, of 1 MiB
/// each, and its second take one: so much must be written some hundred times.
const ITEM_COUNT: u32 = 780;
const VALUE_LEN: usize = 6000;

/// A command that writes a snapshot, and all that it needs.
#[derive(Debug)]
pub(crate) struct Arena {
    pub(crate) workdir: Workdir,
    verb: &'static str,
    arguments: Vec<String>,
    /// The exit code when nothing goes wrong.
    code: i32,
    /// What a whole snapshot of this job has in it.
    digest: Value,
    /// All that must stay as it is.
    others: BTreeMap<PathBuf, String>,
    _server: Memcached,
}

/// What a job left behind under the name of its snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// A whole snapshot.
    Whole,
    /// Files that are no snapshot.
    Pieces,
    /// Nothing.
    Nothing,
}

impl Arena {
    /// A dump of a small server by two writers.
    pub(crate) fn dump() -> Arena {
        let (workdir, server) = server_and_others();
        let arguments = vec![server.address()];
        Arena::new(workdir, server, "dump", arguments, 0)
    }

    /// A salvage of a snapshot of which a block is damaged.
    pub(crate) fn salvage() -> Arena {
        let (workdir, server) = server_and_others();
        let address = server.address();
        let dump = [
            "dump",
            &address,
            "--to",
            "input",
            "--name",
            "damaged",
            "--segment-size",
            "2MiB",
            "--compression",
            "none",
        ];
        workdir.mcsnap(&dump).succeeds();
        let segments = fs::read_dir(workdir.join("input/damaged/segments")).unwrap();
        let segment = segments.flatten().map(|entry| entry.path()).min().unwrap();
        let mut bytes = fs::read(&segment).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&segment, bytes).unwrap();
        let arguments = vec!["input/damaged".to_owned()];
        Arena::new(workdir, server, "salvage", arguments, 3)
    }

    fn new(
        workdir: Workdir,
        server: Memcached,
        verb: &'static str,
        mut arguments: Vec<String>,
        code: i32,
    ) -> Arena {
        let more = ["--segment-size", "2MiB", "--compression", "none", "-q"];
        arguments.extend(more.map(str::to_owned));
        let mut arena = Arena {
            workdir,
            verb,
            arguments,
            code,
            digest: Value::Null,
            others: BTreeMap::new(),
            _server: server,
        };
        arena.others = arena.list_others();
        let output = arena.workdir.mcsnap(&arena.command("new-first")).run();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        arena.digest = arena.manifest("new-first").unwrap()["content_digest"].clone();
        assert_eq!(
            arena.check("new-first", &output, "undisturbed"),
            Left::Whole
        );
        arena
    }

    /// Lets one thread write all segments, one after the other.
    pub(crate) fn in_one_thread(mut self) -> Arena {
        let option = if self.verb == "dump" {
            "--shards=1"
        } else {
            "--threads=1"
        };
        self.arguments.push(option.to_owned());
        self
    }

    /// The directory in which the snapshots get theirs, as the program names it.
    pub(crate) fn place(&self) -> PathBuf {
        self.workdir.join(PLACE).canonicalize().unwrap()
    }

    /// The directory of a snapshot.
    pub(crate) fn snapshot(&self, name: &str) -> PathBuf {
        self.place().join(name)
    }

    /// The command line that writes a snapshot of this name.
    pub(crate) fn command(&self, name: &str) -> Vec<String> {
        assert!(name.starts_with(PREFIX), "{name}");
        let mut command = vec![self.verb.to_owned()];
        command.extend(self.arguments.iter().cloned());
        command.extend(["--to", PLACE, "--name", name].map(str::to_owned));
        command
    }

    /// Runs the job to its end with some harm to the calls on its files.
    pub(crate) fn run(&self, name: &str, fault: &Fault) -> (Output, Vec<Counted>) {
        let run = self.workdir.mcsnap(&self.command(name));
        fault.run(run, &self.place())
    }

    /// Checks all that must hold whatever happened: there is a whole snapshot
    /// or none, a success is one, a failure says so in one line, and nothing
    /// else has changed.
    pub(crate) fn check(&self, name: &str, output: &Output, what: &str) -> Left {
        let left = self.left(name, what);
        match output.status.code() {
            Some(code) if code == self.code => {
                assert_eq!(left, Left::Whole, "{what}: a success without a snapshot");
                let stderr = text(&output.stderr);
                assert!(
                    stderr.is_empty() || is_leftover(&stderr),
                    "{what}: {stderr}"
                );
            }
            Some(1) => {
                self.message(output, what);
            }
            Some(code) => panic!("{what}: exit code {code}: {}", text(&output.stderr)),
            // Killed by the test.
            None => {}
        }
        let others = self.list_others();
        for (path, state) in &self.others {
            assert_eq!(others.get(path), Some(state), "{what}: {}", path.display());
        }
        assert_eq!(others.len(), self.others.len(), "{what}");
        left
    }

    /// Checks a failure of one call: it is told with its cause, in one line that
    /// is returned, and what was written is taken back.
    pub(crate) fn check_failed(
        &self,
        name: &str,
        output: &Output,
        cause: &str,
        what: &str,
    ) -> String {
        let left = self.check(name, output, what);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
        let message = self.message(output, what);
        assert!(message.ends_with(cause), "{what}: {message}");
        assert_eq!(left, Left::Nothing, "{what}: {message}");
        message
    }

    /// Says whether the job has made its snapshot, and only what came after that
    /// failed: the removal of the journal, which nobody reads beside a snapshot, and
    /// of its directory, which is not empty.
    pub(crate) fn failed_afterwards(&self, output: &Output, call: &str) -> bool {
        let is_done = output.status.code() == Some(self.code);
        is_done && (is_leftover(&text(&output.stderr)) || call == "remove")
    }

    /// The line that a failure is told by, which is the last one.
    pub(crate) fn message(&self, output: &Output, what: &str) -> String {
        let stderr = text(&output.stderr);
        let line = stderr.lines().last().unwrap_or_default();
        assert!(line.starts_with("mcsnap: "), "{what}: {stderr}");
        let place = self.place().display().to_string();
        assert!(line.contains(&place), "{what}: no path in {stderr}");
        line.to_owned()
    }

    /// Finds out what is there, by looking and by `verify`, which must agree.
    pub(crate) fn left(&self, name: &str, what: &str) -> Left {
        let place = format!("{PLACE}/{name}");
        let verify = self
            .workdir
            .mcsnap(&["verify", "--deep", "-q", &place])
            .run();
        let Some(manifest) = self.manifest(name) else {
            assert_ne!(verify.status.code(), Some(0), "{what}");
            let stderr = text(&verify.stderr);
            assert_eq!(stderr.lines().count(), 1, "{what}: {stderr}");
            return if self.snapshot(name).exists() {
                Left::Pieces
            } else {
                Left::Nothing
            };
        };
        assert!(verify.status.success(), "{what}: {}", text(&verify.stdout));
        assert_eq!(manifest["content_digest"], self.digest, "{what}");
        Left::Whole
    }

    fn manifest(&self, name: &str) -> Option<Value> {
        let path = self.snapshot(name).join("manifest.json");
        let bytes = fs::read(path).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// Ends the test: with all that was left lying about, the job works again
    /// under another name, and every other file has the bytes it had.
    pub(crate) fn finish(self) {
        let output = self.workdir.mcsnap(&self.command("new-last")).run();
        let left = self.check("new-last", &output, "afterwards");
        assert_eq!(left, Left::Whole, "{}", text(&output.stderr));
        assert_eq!(
            fs::read(self.workdir.join("s/notes.txt")).unwrap(),
            b"notes"
        );
        self.workdir
            .mcsnap(&["verify", "--deep", "s/older"])
            .succeeds();
    }

    /// Everything but what this job writes, with what changes when it changes.
    fn list_others(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for top in [PLACE, "input"] {
            let mut pending = vec![self.workdir.join(top)];
            while let Some(directory) = pending.pop() {
                let Ok(entries) = fs::read_dir(&directory) else {
                    continue;
                };
                for entry in entries.flatten() {
                    // With the lock that a killed job leaves.
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if name.trim_start_matches('.').starts_with(PREFIX) {
                        continue;
                    }
                    let metadata = entry.metadata().unwrap();
                    let state = format!(
                        "inode {}, {} bytes, mode {:o}, changed at {}.{:09}",
                        metadata.ino(),
                        metadata.len(),
                        metadata.mode(),
                        metadata.ctime(),
                        metadata.ctime_nsec()
                    );
                    if metadata.is_dir() {
                        pending.push(entry.path());
                    }
                    found.insert(entry.path(), state);
                }
            }
        }
        found
    }
}

/// A server with items, and a place in which others have left things.
fn server_and_others() -> (Workdir, Memcached) {
    let server = Memcached::start();
    let value = |at: u32| at.to_le_bytes().repeat(VALUE_LEN / 4);
    server
        .client()
        .load((0..ITEM_COUNT).map(|at| Item::new(format!("key:{at}"), value(at))));
    let workdir = Workdir::new("faults");
    let place = workdir.join(PLACE);
    fs::create_dir_all(place.join("empty")).unwrap();
    for (file, text) in [
        ("notes.txt", "notes"),
        (".hidden", ""),
        ("foreign.partial", "not ours"),
    ] {
        fs::write(place.join(file), text).unwrap();
    }
    let address = server.address();
    workdir
        .mcsnap(&["dump", &address, "--to", PLACE, "--name", "older", "-q"])
        .succeeds();
    (workdir, server)
}

/// What a program wrote.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_leftover(stderr: &str) -> bool {
    stderr.lines().count() == 1 && stderr.contains(" WARN leftover of a dump: ")
}
