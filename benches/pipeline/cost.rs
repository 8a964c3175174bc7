//! What one run of a child process takes, of the child and of the servers that it asks.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::Serialize;

use crate::process::open_process;
use crate::server::Server;

/// Between two looks at the memory of a child. Its highest resident set is the system's own
/// count and needs only one late look; that of anonymous memory is the highest one seen.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// What one run took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) wall_s: f64,
    /// User and system time of the child.
    pub(crate) cpu_s: f64,
    /// User and system time of the servers meanwhile.
    pub(crate) servers_cpu_s: f64,
    /// `VmHWM`: with pages of files that are mapped, which the system can take away.
    pub(crate) peak_resident_mib: f64,
    /// The highest `RssAnon` seen: memory of its own.
    pub(crate) peak_anonymous_mib: f64,
}

/// Runs a child to its end and tells what that took.
pub(crate) fn measure(command: &mut Command, servers: &[&Server]) -> Cost {
    let servers_cpu = || servers.iter().map(|server| server.cpu_seconds());
    let servers_before: f64 = servers_cpu().sum();
    let cpu_before = cpu_of_ended_children();
    let clock = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = child.id();
    let has_ended = AtomicBool::new(false);
    let (status, wall_s, peaks) = std::thread::scope(|scope| {
        let peaks = scope.spawn(|| watch_memory(pid, &has_ended));
        // Waited for rather than asked again and again, so that the time is exact.
        let status = child.wait().unwrap();
        let wall_s = clock.elapsed().as_secs_f64();
        has_ended.store(true, Ordering::Relaxed);
        (status, wall_s, peaks.join().unwrap())
    });
    assert!(status.success(), "{command:?}: {status}");
    Cost {
        wall_s,
        cpu_s: cpu_of_ended_children() - cpu_before,
        servers_cpu_s: servers_cpu().sum::<f64>() - servers_before,
        peak_resident_mib: peaks.0,
        peak_anonymous_mib: peaks.1,
    }
}

/// The highest resident set and the most anonymous memory, in MiB.
fn watch_memory(pid: u32, has_ended: &AtomicBool) -> (f64, f64) {
    let (mut resident, mut anonymous) = (0, 0);
    while !has_ended.load(Ordering::Relaxed) {
        let status = open_process(pid).and_then(|process| process.status().ok());
        if let Some(status) = status {
            resident = resident.max(status.vmhwm.unwrap_or(0));
            anonymous = anonymous.max(status.rssanon.unwrap_or(0));
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
