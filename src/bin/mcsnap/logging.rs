//! The log: for whoever looks after the program, apart from its reports.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::Result;
use indicatif::MultiProgress;
use serde_json::Value;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::exit::UsageError;

/// The target of what only a log's file takes: a terminal has had it as reports
/// and messages.
const RECORD: &str = "mcsnap::record";

/// Writes the report of a job to the log's file.
pub(crate) fn record(command: &'static str, report: &Value) {
    tracing::info!(target: RECORD, command, %report, "report");
}

/// Writes to the log's file how the program ended.
pub(crate) fn record_end(exit_code: u8, failure: Option<&str>) {
    match failure {
        Some(failure) => tracing::error!(target: RECORD, exit_code, "{failure}"),
        None if exit_code == 0 => tracing::info!(target: RECORD, exit_code, "done"),
        None => tracing::warn!(target: RECORD, exit_code, "done, not without a finding"),
    }
}

/// Whether all of the log came to its file.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogHealth(Arc<OnceLock<String>>);

impl LogHealth {
    /// Returns what to tell of a file that lacks something.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// A file that remembers the first line it did not take; who logs never looks.
struct LogFile {
    file: File,
    path: String,
    health: LogHealth,
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        if let Err(error) = &written
            && error.kind() != io::ErrorKind::Interrupted
        {
            let failure = || format!("{}: the log is not whole: {error}", self.path);
            self.health.0.get_or_init(failure);
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Sends the log to stderr, and to a file if one is given.
pub(crate) fn start(
    verbose: u8,
    file: Option<&str>,
    health: &LogHealth,
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
        .with_filter(level.and(filter_fn(|metadata| metadata.target() != RECORD)));
    let to_file = file
        .map(|path| {
            let opened = File::options().create(true).append(true).open(path);
            let refused = |error| UsageError(format!("{path}: cannot open the log: {error}"));
            opened.map_err(refused).map(|file| LogFile {
                file,
                path: path.to_owned(),
                health: health.clone(),
            })
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
