//! Which process of which machine wrote something, and whether it still runs.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::ports::host;

/// A process, as other processes can look it up. What is not known is empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineProcess {
    /// The name of the host, for messages.
    pub host: String,
    /// The number of the process.
    pub pid: u32,
    /// Random since the start of the system.
    boot: String,
    /// Which of the system's sets of process numbers the number is from.
    pid_space: String,
    /// When the process started, in ticks since the start of the system: numbers are used
    /// again.
    started: u64,
}

impl MachineProcess {
    /// Returns this process.
    pub fn this() -> Self {
        let pid = std::process::id();
        Self {
            host: host::name(),
            pid,
            boot: boot_id(),
            pid_space: pid_space(),
            started: start_of(pid).unwrap_or_default(),
        }
    }

    /// Reports whether the process runs, or `None` if that cannot be told from here: it is
    /// of another machine, or another container.
    pub fn is_alive_here(&self) -> Option<bool> {
        let is_here = !self.boot.is_empty()
            && !self.pid_space.is_empty()
            && self.boot == boot_id()
            && self.pid_space == pid_space();
        is_here.then(|| start_of(self.pid) == Some(self.started))
    }
}

impl fmt::Display for MachineProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("an unknown process");
        }
        write!(f, "process {} of host \"{}\"", self.pid, self.host)
    }
}

fn boot_id() -> String {
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

fn pid_space() -> String {
    let read = fs::read_link("/proc/self/ns/pid");
    read.map_or_else(
        |_| String::new(),
        |target| target.to_string_lossy().into_owned(),
    )
}

/// Returns when a process started; `None` if there is no such process, or if it has ended
/// and is only waited for.
fn start_of(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may have blanks and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // The 22nd of all.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_ended_is_not() {
        let this = MachineProcess::this();
        assert_eq!(this.is_alive_here(), Some(true));
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let pid = child.id();
        let other = MachineProcess {
            pid,
            started: start_of(pid).unwrap(),
            ..this.clone()
        };
        assert_eq!(other.is_alive_here(), Some(true));
        // One that got the same number later.
        let reused = MachineProcess {
            started: other.started + 1,
            ..other.clone()
        };
        assert_eq!(reused.is_alive_here(), Some(false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(other.is_alive_here(), Some(false));
        let elsewhere = MachineProcess {
            boot: "another".to_owned(),
            ..this
        };
        assert_eq!(elsewhere.is_alive_here(), None);
        assert_eq!(MachineProcess::default().is_alive_here(), None);
    }
}
