//! The most memory that a running program takes.

use std::fs;
use std::process::Child;
use std::time::Duration;

/// Looks at a number of the process's status file until it ends; returns the highest, in
/// KiB. `VmHWM` is itself a peak; `RssAnon` is what the process has now, without the pages
/// of files.
pub(crate) fn peak_kib(child: &mut Child, field: &str) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let line = line.and_then(|line| line.strip_prefix(':'));
        let found = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(found.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}
