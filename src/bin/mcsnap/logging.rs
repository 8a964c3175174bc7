//! The log: what happens, for who looks after the program. On stderr as text, and
//! in a file as one JSON object a line.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Result;
use indicatif::MultiProgress;
use mcsnap::words::defect::Severity;
use mcsnap::words::finding::Finding;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, fmt as text};

use crate::exit::UsageError;
use crate::render::finding_json;
use crate::stderr::{self, Priority};
use crate::this_run::ThisRun;

/// The log's file, once it is open; without one every event is dropped.
#[derive(Clone, Debug)]
pub(crate) struct EventLog {
    run: Arc<ThisRun>,
    file: Arc<OnceLock<LogFile>>,
}

#[derive(Debug)]
struct LogFile {
    file: Mutex<File>,
    path: String,
    /// What became of the first line that the file did not take.
    failure: OnceLock<String>,
}

impl EventLog {
    /// Makes a log that has no file yet.
    pub(crate) fn new(run: &Arc<ThisRun>) -> Self {
        Self {
            run: Arc::clone(run),
            file: Arc::default(),
        }
    }

    /// Opens a file, to which everything is appended from now on. A new one is for
    /// its owner alone, as snapshots are: it names keys.
    fn open(&self, path: &str) -> Result<(), UsageError> {
        let mut options = File::options();
        let opened = options.create(true).append(true).mode(0o600).open(path);
        let file = opened.map_err(|e| UsageError(format!("{path}: cannot open the log: {e}")))?;
        let file = LogFile {
            file: Mutex::new(file),
            path: path.to_owned(),
            failure: OnceLock::new(),
        };
        // It is opened once.
        let _ = self.file.set(file);
        Ok(())
    }

    /// Returns what to tell of a file that lacks something.
    pub(crate) fn failure(&self) -> Option<&str> {
        let failure = &self.file.get()?.failure;
        failure.get().map(String::as_str)
    }

    /// Writes an event with what belongs to it.
    pub(crate) fn write(&self, level: Level, event: &str, members: impl FnOnce() -> Value) {
        let Some(log) = self.file.get() else {
            return;
        };
        let level = level.as_str().to_lowercase();
        let mut line = self.run.log_head(&level, event);
        if let Value::Object(members) = members() {
            line.extend(members);
        }
        let line = format!("{}\n", Value::Object(line));
        let mut file = log.file.lock().unwrap_or_else(PoisonError::into_inner);
        // In one call, so that the lines of two runs do not tear each other.
        if let Err(error) = file.write_all(line.as_bytes()) {
            let failure = || format!("{}: the log is not whole: {error}", log.path);
            log.failure.get_or_init(failure);
        }
    }

    /// Writes what was found to be damaged, an event each.
    pub(crate) fn write_findings<'a>(&self, findings: impl IntoIterator<Item = &'a Finding>) {
        for finding in findings {
            let level = match finding.severity() {
                Severity::Error => Level::ERROR,
                _ => Level::WARN,
            };
            self.write(level, "finding", || finding_json(finding));
        }
    }

    /// Writes the report of a job.
    pub(crate) fn write_report(&self, report: &Value) {
        self.write(Level::INFO, "report", || json!({"report": report}));
    }

    /// Writes what could not be done beside the job.
    pub(crate) fn write_error(&self, message: &str) {
        self.write(Level::ERROR, "message", || json!({"message": message}));
    }

    /// Writes how the program ended.
    pub(crate) fn write_end(&self, exit_code: u8, failure: Option<&str>) {
        let level = match exit_code {
            0 => Level::INFO,
            3 | 4 => Level::WARN,
            _ => Level::ERROR,
        };
        self.write(
            level,
            "end",
            || json!({"exit_code": exit_code, "error": failure}),
        );
    }
}

/// Takes what the library and the program tell on the way.
struct FileLayer(EventLog);

impl<S: Subscriber> Layer<S> for FileLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut members = Members::default();
        event.record(&mut members);
        let level = *event.metadata().level();
        self.0.write(level, "message", || Value::Object(members.0));
    }
}

/// The fields of an event, each as what it is.
#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, json!(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, json!(format!("{value:?}")));
    }
}

/// Sends the log to stderr, and to a file if one is given.
pub(crate) fn start(
    verbose: u8,
    is_quiet: bool,
    file: Option<&str>,
    log: &EventLog,
    environment: &BTreeMap<String, String>,
    bars: &MultiProgress,
) -> Result<()> {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    if let Some(path) = file {
        log.open(path)?;
    }
    let to_stderr = text::layer()
        .with_writer(BesideBars(bars.clone()))
        // Colours are for eyes; in a pipe or a file they are rubbish.
        .with_ansi(is_colour_wanted(environment))
        .with_target(false);
    // The journal has a clock and levels of its own.
    let to_stderr = match stderr::is_journal() {
        true => to_stderr.without_time().with_level(false).boxed(),
        false => to_stderr.boxed(),
    };
    let to_stderr =
        to_stderr
            .with_filter(level)
            .with_filter(tracing_subscriber::filter::filter_fn(move |metadata| {
                !(is_quiet && metadata.target() == NOTE)
            }));
    // A file is read later, so it takes more than a terminal.
    let to_file = file.map(|_| FileLayer(log.clone()).with_filter(level.max(LevelFilter::INFO)));
    tracing_subscriber::registry()
        .with(to_stderr)
        .with(to_file)
        .try_init()?;
    Ok(())
}

/// The target of warnings that are in the report as well, and that `--quiet` keeps
/// from stderr.
const NOTE: &str = "mcsnap::note";

fn is_colour_wanted(environment: &BTreeMap<String, String>) -> bool {
    let is_refused = environment
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !is_refused
}

/// Writes to stderr above the progress bars, so that lines do not tear.
struct BesideBars(MultiProgress);

/// One line of it.
struct Line<'a> {
    bars: &'a MultiProgress,
    prefix: &'static str,
}

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            bars: &self.0,
            prefix: "",
        }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line<'a> {
        let priority = match *metadata.level() {
            Level::ERROR => Priority::Error,
            Level::WARN => Priority::Warning,
            Level::INFO => Priority::Info,
            Level::DEBUG | Level::TRACE => Priority::Debug,
        };
        Line {
            bars: &self.0,
            prefix: stderr::prefix(priority),
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = [self.prefix.as_bytes(), bytes].concat();
        self.bars
            .suspend(|| io::stderr().write_all(&line))
            .map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
