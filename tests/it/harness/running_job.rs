//! What a test waits for while a program runs, and does to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::fault::Gate;
use crate::harness::signals::signal;
use crate::harness::workdir::Workdir;

/// Waits until something is so, and fails where it does not become so.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The files of segments, sealed or not, that a dump into `s` has begun.
pub(crate) fn segment_files(workdir: &Workdir, name: &str) -> Vec<String> {
    let place = workdir.join(format!("s/{name}/segments"));
    let entries = place.read_dir().into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.collect()
}

/// Tells a job to stop by a signal, and opens the gate at which it halts when it has said
/// that it stops; returns its output, which has that line too.
pub(crate) fn stop_at_gate(mut child: Child, gate: &Gate, name: &str) -> Output {
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = Vec::new();
    signal(&child, name);
    stderr.read_until(b'\n', &mut told).unwrap();
    gate.open();
    stderr.read_to_end(&mut told).unwrap();
    let mut output = child.wait_with_output().unwrap();
    output.stderr = told;
    output
}

/// A restore of many items that takes far longer than any test, until it is let go on.
#[derive(Debug)]
pub(crate) struct SlowRestore<'a> {
    pub(crate) child: Child,
    workdir: &'a Workdir,
}

impl SlowRestore<'_> {
    const LIMIT: &'static str = "restore:\n  items-per-second: 100\n";
    const NO_LIMIT: &'static str = "restore:\n  items-per-second: 1M\n";

    pub(crate) fn start<'a>(workdir: &'a Workdir, arguments: &[&str]) -> SlowRestore<'a> {
        fs::write(workdir.join("slow.yaml"), SlowRestore::LIMIT).unwrap();
        let run = workdir.mcsnap(&["restore", "--config=slow.yaml"]);
        let run = arguments
            .iter()
            .fold(run, |run, argument| run.arg(argument));
        let child = run.spawn();
        SlowRestore { child, workdir }
    }

    /// Lets it go on at full speed, and waits for its end.
    pub(crate) fn finish(self) -> Output {
        fs::write(self.workdir.join("slow.yaml"), SlowRestore::NO_LIMIT).unwrap();
        signal(&self.child, "USR1");
        self.child.wait_with_output().unwrap()
    }
}

/// Raises a flag when it goes out of scope, also by a failure.
#[derive(Debug)]
pub(crate) struct RaiseOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for RaiseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
