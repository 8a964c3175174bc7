//! What the kernel tells of a process that runs.

use procfs::process::Process;

pub(crate) fn open_process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

/// CPU seconds of a process that runs, by its threads that run, to the nanosecond.
pub(crate) fn cpu_of_threads(pid: u32) -> f64 {
    let threads = open_process(pid).unwrap().tasks().unwrap();
    let nanoseconds: u64 = threads
        .map(|thread| thread.unwrap().schedstat().unwrap().sum_exec_runtime)
        .sum();
    nanoseconds as f64 / 1e9
}
