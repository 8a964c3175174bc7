//! What the program takes to read a snapshot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use procfs::process::Process;
use regex::Regex;

use crate::made::{address, key};
use crate::memcached::Memcached;

/// Between two looks at the memory of a child.
const LOOK_PAUSE: Duration = Duration::from_millis(2);

/// The program, and where the snapshots are.
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) directory: PathBuf,
}

impl Program {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.directory).args(words).arg("-q");
        command
    }

    /// Runs a job to its end, and tells what it took.
    fn measure(&self, words: &[&str]) {
        let clock = Instant::now();
        let mut child = self
            .command(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut resident, mut anonymous) = (0, 0);
        let status = loop {
            let process = Process::new(i32::try_from(child.id()).unwrap());
            if let Some(status) = process.ok().and_then(|process| process.status().ok()) {
                resident = resident.max(status.vmhwm.unwrap_or(0));
                anonymous = anonymous.max(status.rssanon.unwrap_or(0));
            }
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            std::thread::sleep(LOOK_PAUSE);
        };
        let seconds = clock.elapsed().as_secs_f64();
        let code = status.code().unwrap();
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (manifest, parts) = self.manifest_bytes(words);
        println!(
            "{code:>2} {seconds:>8.2} {:>9.1} {:>9.1} {:>9.2} {:>9.2}  {}",
            mib(resident),
            mib(anonymous),
            mib(manifest / 1024),
            mib(parts / 1024),
            words.join(" "),
        );
    }

    /// Does the job once more under strace; returns the bytes read of the manifest and of
    /// its parts.
    fn manifest_bytes(&self, words: &[&str]) -> (u64, u64) {
        let folder = tempfile::tempdir().unwrap();
        let traced = self.command(words);
        let status = Command::new("strace")
            .current_dir(&self.directory)
            .args(["-ff", "-y", "-s", "0", "--seccomp-bpf", "-o"])
            .arg(folder.path().join("thread"))
            .args(["-e", "signal=none", "-e", "trace=read,pread64,mmap", "--"])
            .arg(traced.get_program())
            .args(traced.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("strace: {error}; run tools/setup"));
        assert!(status.code().is_some());
        (
            bytes_read(folder.path(), r"/manifest\.json"),
            bytes_read(folder.path(), r"/parts/[^>/]*"),
        )
    }
}

/// Adds up what was read of files whose paths end so, or mapped of them.
fn bytes_read(folder: &Path, ending: &str) -> u64 {
    let read = Regex::new(&format!(r"^p?read(?:64)?\(\d+<[^>]*{ending}>.*= (\d+)$")).unwrap();
    let mapped = Regex::new(&format!(r"^mmap\(\w+, (\d+), .*<[^>]*{ending}>")).unwrap();
    let mut sum = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let found = text.lines();
        let found = found.filter_map(|line| read.captures(line).or_else(|| mapped.captures(line)));
        sum += found
            .map(|found| found.get(1).unwrap().as_str().parse::<u64>().unwrap())
            .sum::<u64>();
    }
    sum
}

/// The highest resident set of this process so far.
pub(crate) fn own_peak_mib() -> f64 {
    let status = Process::myself().unwrap().status().unwrap();
    status.vmhwm.unwrap_or(0) as f64 / 1024.0
}

fn heading() {
    println!(
        "{:>2} {:>8} {:>9} {:>9} {:>9} {:>9}  job",
        "->", "seconds", "peak MiB", "of own", "root MiB", "parts MiB"
    );
}

/// Measures what goes through the manifest of a snapshot of many segments.
pub(crate) fn of_segments(program: &Program, nodes: u32) {
    let middle = nodes / 2;
    let (node, key) = (address(middle), key(middle, 1));
    let key = key.as_str();
    let manifest = program.directory.join("segments/manifest.json");
    println!(
        "manifest.json has {} bytes",
        fs::metadata(manifest).unwrap().len()
    );
    heading();
    program.measure(&["get", "segments", key, "--nodes", &node]);
    program.measure(&["get", "segments", key]);
    program.measure(&["get", "segments", "absent", "--nodes", &node]);
    program.measure(&["inspect", "segments"]);
    program.measure(&["inspect", "segments", "--nodes", &node]);
    program.measure(&["inspect", "segments", "--exact"]);
    program.measure(&["verify", "segments"]);
    program.measure(&["ls", "segments", "--keys", "--nodes", &node]);
    program.measure(&["ls", "segments", "--keys"]);
    let servers = tempfile::tempdir().unwrap();
    let servers: Vec<_> = (0..2)
        .map(|_| Memcached::start(servers.path(), &["memcached"]))
        .collect();
    let [one, other] = [0, 1].map(|number: usize| servers.get(number).unwrap().address());
    let both = format!("{one},{other}");
    let restore = ["restore", "segments", "--dry-run", "--yes", "--ring=ketama"];
    let to = ["--to", &both, "--only-for", &one];
    program.measure(&[&restore[..], &to].concat());
    program.measure(&[&restore[..], &to, &["--nodes", &node]].concat());
}

/// Measures what reads all keys of a snapshot of many keys.
pub(crate) fn of_keys(program: &Program) {
    heading();
    program.measure(&["inspect", "keys"]);
    program.measure(&["inspect", "keys", "--exact"]);
    program.measure(&["inspect", "keys", "--exact", "--threads=1"]);
    program.measure(&["inspect", "keys", "--exact", "--threads=16"]);
    program.measure(&["verify", "keys", "--deep"]);
    program.measure(&["ls", "keys", "--keys"]);
}
