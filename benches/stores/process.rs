//! Processes of the bench: those of the store tests, and what the kernel tells of them.

use std::collections::BTreeSet;

use procfs::process::all_processes;
use procfs::ticks_per_second;

#[path = "../pipeline/process.rs"]
mod of_benches;
#[path = "../../tests/stores/process.rs"]
mod of_tests;

pub(crate) use of_benches::{cpu_of_threads, open_process};
pub(crate) use of_tests::{Process, clients_folder, free_ports, run, try_run};

/// All processes that this one started, and those that they started.
pub(crate) fn descendants() -> BTreeSet<u32> {
    // A process that ends meanwhile is left out.
    let stats = all_processes()
        .unwrap()
        .filter_map(|it| it.ok()?.stat().ok());
    let parents: Vec<(i32, i32)> = stats.map(|stat| (stat.pid, stat.ppid)).collect();
    let mut known = BTreeSet::from([std::process::id() as i32]);
    loop {
        let count = known.len();
        let children = parents.iter().filter(|(_, parent)| known.contains(parent));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        known.extend(children);
        if known.len() == count {
            break;
        }
    }
    known.remove(&(std::process::id() as i32));
    known.into_iter().map(|pid| pid as u32).collect()
}

/// CPU seconds of a process that runs, with those of its threads that have ended: to the
/// tick, which is a hundredth of a second.
pub(crate) fn cpu_of_process(pid: u32) -> f64 {
    let stat = open_process(pid).unwrap().stat().unwrap();
    (stat.utime + stat.stime) as f64 / ticks_per_second() as f64
}
