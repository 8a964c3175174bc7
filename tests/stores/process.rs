//! Processes of servers: started, waited for within bounds, and killed at the end.

use std::env;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Generous, because other tests may keep every core busy.
const START_LIMIT: Duration = Duration::from_secs(120);

const POLL_PAUSE: Duration = Duration::from_millis(50);

/// More of a log helps nobody.
const SHOWN_MAX: usize = 4_000;

/// A running server; killed on drop.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    log_file: PathBuf,
}

impl Process {
    /// Starts a program; what it says goes to a file of this name in the folder.
    pub(crate) fn start(mut command: Command, folder: &Path, name: &str) -> Self {
        let log_file = folder.join(format!("{name}.log"));
        let log = File::create(&log_file).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("start {command:?}: {error}; tools/setup --stores installs it")
        });
        Self {
            child,
            name: name.to_owned(),
            log_file,
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log_file).unwrap_or_default()
    }

    /// Waits until the server is ready, as the function finds out.
    pub(crate) fn wait_for<T>(&mut self, mut ready: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(found) = ready(self) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            let is_late = Instant::now() >= deadline;
            assert!(
                ended.is_none() && !is_late,
                "{} is not ready: {ended:?}\n{}",
                self.name,
                last_of(&self.log())
            );
            thread::sleep(POLL_PAUSE);
        }
    }

    /// Waits until it listens at `HOST:PORT`.
    pub(crate) fn wait_for_port(&mut self, address: &str) {
        self.wait_for(|_| TcpStream::connect(address).ok());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end, and returns what it said on standard output.
pub(crate) fn run(command: &mut Command) -> String {
    let output = try_run(command);
    output.unwrap_or_else(|why| panic!("{command:?}: {why}"))
}

/// Does the same with a command that may fail. What it says must fit into a pipe.
pub(crate) fn try_run(command: &mut Command) -> Result<String, String> {
    let command = command.stdin(Stdio::null());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| format!("{error}; tools/setup --stores installs it"))?;
    let deadline = Instant::now() + START_LIMIT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            child.kill().unwrap();
        }
        thread::sleep(POLL_PAUSE);
    }
    let output = child.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!("{}: {}", output.status, last_of(&text)))
        }
    }
}

fn last_of(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(SHOWN_MAX))..]
}

/// Where tools/setup puts packages.
pub(crate) fn clients_folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
    target.join("clients")
}

/// Finds ports that are free on a host, all different. The host is the caller's own, see
/// [`crate::memcached::own_host`], so that nobody takes them before the server does.
pub(crate) fn free_ports<const COUNT: usize>(host: &str) -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind((host, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
