//! The log: for whoever looks after the program, apart from its reports.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Mutex;

use anyhow::Result;
use indicatif::MultiProgress;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::exit::UsageError;

/// Sends the log to stderr, and to a file if one is given.
pub(crate) fn start(
    verbose: u8,
    file: Option<&str>,
    environment: &BTreeMap<String, String>,
    bars: &MultiProgress,
) -> Result<()> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let bars = bars.clone();
    let to_stderr = fmt::layer()
        .with_writer(move || BesideBars(bars.clone()))
        // Colours are for eyes; in a pipe or a file they are rubbish.
        .with_ansi(is_colour_wanted(environment))
        .with_target(false)
        .with_filter(level);
    let to_file = file
        .map(|path| {
            let opened = File::options().create(true).append(true).open(path);
            opened.map_err(|error| UsageError(format!("{path}: cannot open the log: {error}")))
        })
        .transpose()?
        .map(|file| {
            // A file is read later, so it takes more than a terminal.
            let level = level.max(LevelFilter::INFO);
            fmt::layer()
                .json()
                .with_writer(Mutex::new(file))
                .with_filter(level)
        });
    tracing_subscriber::registry()
        .with(to_stderr)
        .with(to_file)
        .try_init()?;
    Ok(())
}

fn is_colour_wanted(environment: &BTreeMap<String, String>) -> bool {
    let is_refused = environment
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}

/// Writes to stderr above the progress bars, so that lines do not tear.
struct BesideBars(MultiProgress);

impl Write for BesideBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
