//! Where the time of a dump goes that is spent on files: into the page cache, or to the
//! disk.
//!
//! `strace` tells how long each call took. It makes all calls slower, so these runs count
//! for nothing else, and their seconds are compared with each other only. Threads wait
//! side by side: the sum of their calls can be longer than the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use regex::Regex;
use serde::Serialize;

use crate::job::{Job, Who};
use crate::scene::Scene;

const WRITES: [&str; 5] = ["write", "writev", "pwrite64", "pwritev", "pwritev2"];
const SYNCS: [&str; 4] = ["fsync", "fdatasync", "sync_file_range", "syncfs"];

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Calls {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    pub(crate) seconds: f64,
}

/// What one run spent on files.
#[derive(Debug, Serialize)]
pub(crate) struct FileCalls {
    pub(crate) job: Job,
    pub(crate) who: Who,
    /// Into the page cache.
    pub(crate) writes: Calls,
    /// To the disk.
    pub(crate) syncs: Calls,
}

/// Has every dump done once under `strace`.
pub(crate) fn trace(scene: &Scene, jobs: &[Job]) -> Vec<FileCalls> {
    let dumps = jobs.iter().filter(|job| job.is_dump());
    dumps
        .flat_map(|job| {
            let contenders = scene.contenders(*job).into_iter();
            contenders.map(|who| trace_job(scene, *job, who))
        })
        .collect()
}

fn trace_job(scene: &Scene, job: Job, who: Who) -> FileCalls {
    let folder = tempfile::tempdir().unwrap();
    let traced = scene.command(job, who);
    let mut command = Command::new("strace");
    // One file a thread: no call is then broken in two by that of another thread.
    command.args(["-ff", "-y", "-T", "-s", "0", "--seccomp-bpf", "-o"]);
    command.arg(folder.path().join("thread"));
    let names = [&WRITES[..], &SYNCS[..]].concat().join(",");
    command.args(["-e", "signal=none", "-e", &format!("trace={names}"), "--"]);
    command.arg(traced.get_program()).args(traced.get_args());
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("strace: {error}; run tools/setup"));
    assert!(status.success(), "{command:?}: {status}");
    scene.clean_up(job, who);
    let calls = read_traces(folder.path());
    let sum = |names: &[&str]| {
        let mut sum = Calls::default();
        for of_name in names.iter().filter_map(|name| calls.get(*name)) {
            sum.count += of_name.count;
            sum.bytes += of_name.bytes;
            sum.seconds += of_name.seconds;
        }
        sum
    };
    FileCalls {
        job,
        who,
        writes: sum(&WRITES),
        syncs: Calls {
            // What they return is no length.
            bytes: 0,
            ..sum(&SYNCS)
        },
    }
}

/// Sums the calls of all threads that were about a file, by their names.
fn read_traces(folder: &Path) -> BTreeMap<String, Calls> {
    // write(5</a/file>, ""..., 4096) = 4096 <0.000021>
    let line = Regex::new(r"^(\w+)\(\d+</([^>]*)>.*= (\d+) <([\d.]+)>$").unwrap();
    let mut calls: BTreeMap<String, Calls> = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for found in text.lines().filter_map(|text| line.captures(text)) {
            let [name, path, bytes, seconds] = found.extract().1;
            if path.starts_with("dev/") || path.starts_with("proc/") {
                continue;
            }
            let of_name = calls.entry(name.to_owned()).or_default();
            of_name.count += 1;
            of_name.bytes += bytes.parse::<u64>().unwrap();
            of_name.seconds += seconds.parse::<f64>().unwrap();
        }
    }
    calls
}
