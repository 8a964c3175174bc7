//! What the thread that reads a walk asks the system for while the walk runs.

use std::collections::BTreeSet;

use crate::harness::client::{Item, noisy_key};
use crate::harness::fault::Strace;
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// The socket, memory, and other threads of the program that are woken.
const ALLOWED: [&str; 14] = [
    "brk",
    "clock_gettime",
    "futex",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "poll",
    "ppoll",
    "recvfrom",
    "restart_syscall",
    "sched_yield",
    "sendto",
];

/// The name of a call in a line such as `17 recvfrom(5<TCP:[...]>, ...`.
fn call_of(line: &str) -> Option<&str> {
    let call = line.split_once(' ')?.1.trim_start();
    let call = call.strip_prefix("<... ").unwrap_or(call);
    let end = call.find(|byte: char| !byte.is_ascii_alphanumeric() && byte != '_')?;
    Some(&call[..end]).filter(|name| !name.is_empty())
}

/// What glibc reads once, when it first gives memory of a thread back: it is no file of a
/// disk, and nobody waits for it.
const ASKED_BY_ALLOCATOR: &str = "/proc/sys/vm/overcommit_memory";

#[test]
fn a_walking_thread_touches_its_socket_and_memory_and_nothing_else() {
    let server = Memcached::start();
    let items = (0..30_000).map(|_| Item::new(noisy_key(), ""));
    server.client().load(items);
    let address = server.address();
    for walk in ["--walk=hash", "--walk=slabs"] {
        let workdir = Workdir::new("walk-calls");
        let strace = Strace::of(&workdir, "all").shows(40);
        // The log and the spool are on a disk, and so are the keys that were seen.
        let dump = [
            "dump",
            &address,
            "--to=s",
            "-q",
            walk,
            "--spool-memory=1MiB",
            "-vvv",
            "--log-file=log",
        ];
        strace.mcsnap(&workdir, &dump).succeeds();
        let log = strace.log();
        let asks = |line: &&str| line.contains("sendto(") && line.contains("lru_crawler metadump ");
        let is_walk = |line: &&str| asks(line) && !line.contains("metadump 0");
        let walks: Vec<(usize, &str)> = log
            .lines()
            .enumerate()
            .filter(|(_, l)| is_walk(l))
            .collect();
        assert!(!walks.is_empty(), "no walk in {log}");
        for (start, request) in walks {
            let thread = request.split(' ').next().unwrap();
            let own: Vec<&str> = log
                .lines()
                .skip(start)
                .filter(|line| line.split(' ').next() == Some(thread))
                .collect();
            // The last bytes are there when the walk is over, so all calls before the
            // last receipt are of the walk; what the thread asks after it comes by
            // another request.
            let next = own.iter().skip(1).position(|line| line.contains("sendto("));
            let of_walk = &own[..next.map_or(own.len(), |next| next + 1)];
            let last = of_walk.iter().rposition(|line| line.contains("recvfrom"));
            let of_walk = &of_walk[..=last.unwrap()];
            assert!(of_walk.len() > 10, "{of_walk:?}");
            // A call that another thread interrupted has two lines.
            let begun = of_walk.iter().filter(|line| !line.contains("<... "));
            let begun = begun.filter(|line| !line.contains(ASKED_BY_ALLOCATOR));
            let found: BTreeSet<&str> = begun.filter_map(|line| call_of(line)).collect();
            let other: Vec<_> = found
                .iter()
                .filter(|call| !ALLOWED.contains(call))
                .collect();
            assert!(other.is_empty(), "{walk}: {other:?} in {of_walk:#?}");
            let is_of_file = |line: &&&str| line.contains("mmap(") && line.contains('<');
            let mapped: Vec<_> = of_walk.iter().filter(is_of_file).collect();
            assert!(mapped.is_empty(), "{mapped:?}");
        }
    }
}
