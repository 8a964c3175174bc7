//! What one run of a child process takes: of the child, of the memcached servers and of the
//! object store.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::object_server::ObjectServer;
use crate::process::open_process;
use crate::server::Server;

/// Between two looks at the memory of a child.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// A child that runs for so long hangs, and is killed.
const RUN_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Whose work counts beside the child's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) memcached: Option<&'a Server>,
    pub(crate) store: Option<&'a ObjectServer>,
}

impl Asked<'_> {
    /// CPU seconds so far, of memcached and of the processes of the store.
    fn cpu_seconds(self) -> (f64, f64) {
        let of_memcached = self.memcached.map_or(0.0, Server::cpu_seconds);
        let of_store = self.store.map_or(0.0, ObjectServer::cpu_seconds);
        (of_memcached, of_store)
    }
}

/// What one run took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) wall_s: f64,
    /// User and system time of the child.
    pub(crate) cpu_s: f64,
    /// User and system time of memcached meanwhile.
    pub(crate) memcached_cpu_s: f64,
    /// User and system time of all processes of the object store meanwhile.
    pub(crate) store_cpu_s: f64,
    /// `VmHWM`: with pages of files that are mapped, which the system can take away.
    pub(crate) peak_resident_mib: f64,
    /// The highest `RssAnon` seen: memory of its own.
    pub(crate) peak_anonymous_mib: f64,
}

impl Cost {
    /// CPU seconds of all who worked.
    pub(crate) fn all_cpu_s(&self) -> f64 {
        self.cpu_s + self.memcached_cpu_s + self.store_cpu_s
    }
}

/// Runs a child to its end, which must be with this exit code, and tells what that took.
pub(crate) fn measure(command: &mut Command, asked: Asked<'_>, code: i32) -> Cost {
    let servers_before = asked.cpu_seconds();
    let cpu_before = cpu_of_ended_children();
    let clock = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if code != 0 {
        // What it will say is known.
        command.stderr(Stdio::null());
    }
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = child.id();
    let has_ended = AtomicBool::new(false);
    let (status, wall_s, peaks) = std::thread::scope(|scope| {
        let peaks = scope.spawn(|| watch(pid, clock, &has_ended));
        // Waited for rather than asked again and again, so that the time is exact.
        let status = child.wait().unwrap();
        let wall_s = clock.elapsed().as_secs_f64();
        has_ended.store(true, Ordering::Relaxed);
        (status, wall_s, peaks.join().unwrap())
    });
    assert!(status.code() == Some(code), "{command:?}: {status}");
    let servers_after = asked.cpu_seconds();
    Cost {
        wall_s,
        cpu_s: cpu_of_ended_children() - cpu_before,
        memcached_cpu_s: servers_after.0 - servers_before.0,
        store_cpu_s: servers_after.1 - servers_before.1,
        peak_resident_mib: peaks.0,
        peak_anonymous_mib: peaks.1,
    }
}

/// The highest resident set and the most anonymous memory, in MiB, of a child that is killed
/// when it takes too long.
fn watch(pid: u32, clock: Instant, has_ended: &AtomicBool) -> (f64, f64) {
    let (mut resident, mut anonymous) = (0, 0);
    while !has_ended.load(Ordering::Relaxed) {
        let status = open_process(pid).and_then(|process| process.status().ok());
        if let Some(status) = status {
            resident = resident.max(status.vmhwm.unwrap_or(0));
            anonymous = anonymous.max(status.rssanon.unwrap_or(0));
        }
        if clock.elapsed() > RUN_LIMIT {
            // It may have ended just now, and is waited for in any case.
            let pid = Pid::from_raw(pid as i32).unwrap();
            let _ = kill_process(pid, Signal::KILL);
        }
        sleep(LOOK_PAUSE);
    }
    (resident as f64 / 1024.0, anonymous as f64 / 1024.0)
}

/// CPU seconds of all children that have ended, to the microsecond.
fn cpu_of_ended_children() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
