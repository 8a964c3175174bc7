//! Where numbers come from: they say nothing without it.

use std::process::Command;

use procfs::Current;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processors: usize,
    kernel: String,
    memcached: String,
    /// The load average of the minute before the first run: others that work meanwhile
    /// make a spread wider.
    load_before: f32,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let kernel = rustix::system::uname();
        Self {
            processors: std::thread::available_parallelism().unwrap().get(),
            kernel: kernel.release().to_string_lossy().into_owned(),
            memcached: first_line("memcached", "--version"),
            load_before: procfs::LoadAverage::current().map_or(0.0, |load| load.one),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            processors,
            kernel,
            memcached,
            load_before,
        } = self;
        write!(
            formatter,
            "{processors} processors, Linux {kernel}, {memcached}, load average before {load_before}"
        )
    }
}

/// The first line that a program says.
pub(crate) fn first_line(program: &str, argument: &str) -> String {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; run tools/setup"));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or_default().to_owned()
}
