//! The host we run on: its clocks, its environment, and small files that a setting names.

use std::env;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::words::budget::{Budget, MemoryLimit};
use crate::words::error::{Error, Operation, Result};
use crate::words::limits::check_limit;
use crate::words::units::{UnixSecs, to_u64};

/// Returns the name of this host for display.
pub fn name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Returns the current time by the host's clock, which somebody may set at any time.
pub fn now() -> UnixSecs {
    UnixSecs::from_system_time(SystemTime::now())
}

/// A stopwatch that is independent of changes to the host's clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns how many files and sockets this process may have open at the same time.
pub fn open_files_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = limit.current.unwrap_or(u64::MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Returns what a job may use that keeps to this limit on memory.
pub fn budget(memory: MemoryLimit) -> Budget {
    Budget {
        memory,
        files: to_u64(open_files_max()),
    }
}

/// Raises the number of files and sockets that this process may have open to the most
/// that the system allows. Many systems start a process with 1,024, for the sake of old
/// programs. This is for programs: a library should not change its process.
pub fn raise_open_files_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // If this fails the limit stays as it is, and jobs look at it anyway.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
}

/// Returns the system's directory for temporary files.
pub fn temporary_directory() -> PathBuf {
    env::temp_dir()
}

/// Returns the name of the time zone that the environment sets; empty if it sets none.
pub fn time_zone_name() -> String {
    env::var("TZ").unwrap_or_default()
}

/// Reads a file that a setting names, as text. Reads at most one byte beyond the limit,
/// so that an endless file does no harm.
///
/// # Errors
///
/// - `InvalidInput`, with the name of the setting: the file cannot be opened or read, or
///   is not UTF-8.
/// - `LimitExceeded`: the file is longer than `len_max` bytes.
pub fn read_named_file(setting: &'static str, path: &Path, len_max: u64) -> Result<String> {
    let failed = |operation, error| Error::unusable_file(setting, path, operation, error);
    let file = File::open(path).map_err(|error| failed(Operation::Open, error))?;
    let mut text = String::new();
    file.take(len_max.saturating_add(1))
        .read_to_string(&mut text)
        .map_err(|error| failed(Operation::Read, error))?;
    check_limit(setting, to_u64(text.len()), len_max)?;
    Ok(text)
}
