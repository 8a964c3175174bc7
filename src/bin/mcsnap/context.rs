//! What every command is given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use indicatif::MultiProgress;
#[cfg(feature = "cloud")]
use mcsnap::ports::store::set_patience;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::ErrorKind;
use mcsnap::words::progress::{Event, Progress};
use serde_json::{Value, json};
use tracing::Level;

use crate::exit::{Signal, UsageError, kind_of};
use crate::failure::Unfinished;
use crate::job_watch::JobWatch;
use crate::logging::{self, EventLog};
use crate::metrics::Metrics;
use crate::progress::{ProgressKind, Renderer};
use crate::render::{given_json, print_json, print_text};
use crate::screen::make_bars;
use crate::settings::{
    ConfigFile, Format, GlobalArgs, Origin, Resolved, Section, SectionRule, check_variables,
    parse_choice, parse_patience, place_of, resolve,
};
use crate::stderr::{self, Priority};
use crate::this_run::ThisRun;

/// What is there before any setting is known, and outlives a command that fails.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) run: Arc<ThisRun>,
    pub(crate) cancel: Cancel,
    pub(crate) log: EventLog,
    pub(crate) watch: Arc<JobWatch>,
    pub(crate) bars: MultiProgress,
    pub(crate) metrics: Metrics,
    unfinished: Arc<Mutex<Option<Unfinished>>>,
}

impl World {
    pub(crate) fn new(command: &str, metrics: Metrics) -> Self {
        let run = Arc::new(ThisRun::begin(command));
        Self {
            log: EventLog::new(&run),
            run,
            cancel: Cancel::new(),
            watch: Arc::default(),
            bars: make_bars(),
            metrics,
            unfinished: Arc::default(),
        }
    }

    /// Tells who has sent a signal what comes of it.
    pub(crate) fn tell_stop(&self, signal: Signal) {
        let notice = self.watch.stop_notice(signal);
        self.bars
            .suspend(|| stderr::tell(Priority::Warning, &notice));
        self.log.write(
            Level::WARN,
            "signal",
            || json!({"signal": signal.name(), "message": notice}),
        );
    }

    /// Takes what a job left that did not come to its end.
    pub(crate) fn take_unfinished(&self) -> Option<Unfinished> {
        let mut unfinished = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unfinished.take()
    }
}

/// The resolved settings of every command, and the world around.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) format: Format,
    pub(crate) cancel: Cancel,
    world: World,
    progress: ProgressKind,
    environment: BTreeMap<String, String>,
    sections: Vec<SectionRule>,
    file: ConfigFile,
    /// Settings of every command that were given, for the log.
    given: Value,
    has_logged_start: AtomicBool,
}

impl Context {
    pub(crate) fn new(
        flags: &GlobalArgs,
        environment: BTreeMap<String, String>,
        sections: Vec<SectionRule>,
        world: &World,
    ) -> Result<Self> {
        let path = flags.config.as_ref().or_else(|| {
            environment
                .get("MCSNAP_CONFIG")
                .filter(|path| !path.is_empty())
        });
        let none = ConfigFile::default();
        let file = match path {
            Some(path) => ConfigFile::read(path, &sections),
            None => Ok(none.clone()),
        };
        let resolved = resolve(flags, &environment, file.as_ref().unwrap_or(&none))?;
        // Before all that can fail, and be told by it.
        open_metrics_file(&resolved, world)?;
        let file = file?;
        let place = |error| with_place(&resolved, &file, error);
        let global = &resolved.settings;
        let format = global.format.as_deref().unwrap_or("text");
        let format = parse_choice("format", format, &Format::CHOICES).map_err(place)?;
        let kind = global.progress.as_deref().unwrap_or("auto");
        let kind = parse_choice("progress", kind, &ProgressKind::CHOICES).map_err(place)?;
        let is_quiet = global.quiet == Some(true);
        let progress = if is_quiet {
            ProgressKind::None
        } else {
            kind.resolve()
        };
        logging::start(
            global.verbose,
            is_quiet,
            global.log_file.as_deref(),
            &world.log,
            &environment,
            &world.bars,
        )?;
        check_variables(&environment, &sections)?;
        if let Some(patience) = &global.store_patience {
            let patience = parse_patience("store-patience", patience).map_err(place)?;
            #[cfg(feature = "cloud")]
            set_patience(patience);
            #[cfg(not(feature = "cloud"))]
            let _ = patience;
        }
        if let Some(address) = global
            .metrics_addr
            .as_deref()
            .filter(|_| world.metrics.are_offered)
        {
            let served = world.metrics.serve(address, &world.run, &world.watch);
            let address = served.map_err(place)?;
            tracing::info!("metrics of this run are at http://{address}/metrics");
        }
        Ok(Self {
            format,
            cancel: world.cancel.clone(),
            world: world.clone(),
            progress,
            environment,
            sections,
            file,
            given: given_json(&resolved.given),
            has_logged_start: AtomicBool::new(false),
        })
    }

    /// Puts a command's flags together with environment and file.
    pub(crate) fn resolve<T: Section>(&self, flags: &T) -> Result<Resolved<T>> {
        let resolved = resolve(flags, &self.environment, &self.file)?;
        if !self.has_logged_start.swap(true, Ordering::Relaxed) {
            let log = &self.world.log;
            // What is given is in it; what is secret says of itself only that it is.
            log.write(
                Level::INFO,
                "start",
                || json!({"settings": given_json(&resolved.given), "global_settings": self.given}),
            );
        }
        Ok(resolved)
    }

    /// Puts them together once more, with the configuration file as it is now.
    pub(crate) fn reread<T: Section>(&self, flags: &T) -> Result<Resolved<T>> {
        resolve(flags, &self.environment, &self.file.reread(&self.sections)?)
    }

    /// Adds to the error of a wrong value where it was written, if that was not on
    /// the command line that the user sees.
    pub(crate) fn with_place<T: Section>(&self, flags: &T, error: anyhow::Error) -> anyhow::Error {
        match resolve(flags, &self.environment, &self.file) {
            Ok(resolved) => with_place(&resolved, &self.file, error),
            Err(_) => error,
        }
    }

    /// Makes the progress that the user wants to see.
    pub(crate) fn progress(&self) -> SeenJob<'_> {
        SeenJob {
            renderer: Renderer::new(self.progress, &self.world.bars),
            world: &self.world,
        }
    }

    /// Returns what is known of the job so far.
    pub(crate) fn watch(&self) -> &JobWatch {
        &self.world.watch
    }

    /// Returns the log.
    pub(crate) fn log(&self) -> &EventLog {
        &self.world.log
    }

    /// Returns the metrics, which every job tells what it does.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.world.metrics
    }

    /// Returns which run this is.
    pub(crate) fn run(&self) -> &ThisRun {
        &self.world.run
    }

    /// Keeps what a job had done that ends early, for the report of its failure.
    pub(crate) fn leave(&self, unfinished: Unfinished) {
        let mut left = self
            .world
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *left = Some(unfinished);
    }

    /// Prints the report of a job in the form that is wanted, and logs it. Both get
    /// which run it is of.
    pub(crate) fn print_report(
        &self,
        mut document: Value,
        rows: impl FnOnce() -> Vec<(&'static str, String)>,
    ) -> Result<()> {
        self.stamp_and_log(&mut document);
        match self.format {
            Format::Json => print_json(&document),
            Format::Text => {
                let mut rows = rows();
                rows.extend(self.run().rows());
                print_text(&rows)
            }
        }
    }

    /// Prints what would be done, for programs.
    pub(crate) fn print_plan(&self, mut document: Value) -> Result<()> {
        self.stamp_and_log(&mut document);
        print_json(&document)
    }

    /// Adds to a report which run it is of, and logs it.
    pub(crate) fn stamp_and_log(&self, document: &mut Value) {
        self.run().stamp(document);
        self.log().write_report(document);
    }
}

/// Shows what a job tells of itself, counts it, and logs it.
#[derive(Debug)]
pub(crate) struct SeenJob<'a> {
    renderer: Renderer,
    world: &'a World,
}

impl Progress for SeenJob<'_> {
    fn event(&self, event: Event) {
        self.world.watch.note(&event);
        self.log(&event);
        self.renderer.event(event);
    }
}

impl SeenJob<'_> {
    /// Tells that the limits have changed.
    pub(crate) fn tell_limits(&self, text: &str, limits: Value) {
        let log = &self.world.log;
        log.write(Level::INFO, "limits", || json!({"limits": limits}));
        self.renderer.tell_limits(text, limits.clone());
    }

    fn log(&self, event: &Event) {
        let log = &self.world.log;
        match event {
            Event::NodeStarted {
                node, items_total, ..
            } => log.write(
                Level::INFO,
                "node_started",
                || json!({"node": node, "items_total": items_total}),
            ),
            Event::NodeFinished {
                node,
                items,
                failure,
                ..
            } => {
                let level = match failure {
                    None => Level::INFO,
                    Some(_) => Level::ERROR,
                };
                log.write(
                    level,
                    "node_finished",
                    || json!({"node": node, "items": items, "failure": failure}),
                );
            }
            Event::Started {
                job,
                items_total,
                bytes_total,
            } => log.write(
                Level::INFO,
                "job_started",
                || json!({"job": job, "items_total": items_total, "bytes_total": bytes_total}),
            ),
            Event::Finished => log.write(Level::INFO, "job_finished", || {
                let (items, bytes) = self.world.watch.totals();
                json!({"items": items, "bytes": bytes})
            }),
            // They come in thousands, or are of a newer library.
            Event::Lost { .. }
            | Event::Retried { .. }
            | Event::WalkStarted { .. }
            | Event::WalkEnded { .. }
            | Event::Advanced { .. }
            | _ => {}
        }
    }
}

/// Prepares the file of metrics, if there is to be one. Settings of all commands may name
/// one, though some commands have none.
fn open_metrics_file(resolved: &Resolved<GlobalArgs>, world: &World) -> Result<(), UsageError> {
    let command = &world.run.command;
    if world.metrics.are_offered {
        let path = resolved.settings.metrics_file.as_deref();
        return path.map_or(Ok(()), |path| world.metrics.open_file(path, command));
    }
    for name in ["metrics-addr", "metrics-file"] {
        let given = resolved.given.get(name);
        if given.is_some_and(|given| given.origin == Origin::Flag) {
            let text = format!(
                "--{name}: {command} has no metrics; jobs such as dump, restore and verify have"
            );
            return Err(UsageError(text));
        }
    }
    Ok(())
}

fn with_place<T: Section>(
    resolved: &Resolved<T>,
    file: &ConfigFile,
    error: anyhow::Error,
) -> anyhow::Error {
    let Some(ErrorKind::InvalidInput { field, value, .. }) = kind_of(&error) else {
        return error;
    };
    match place_of(resolved, file, field, value) {
        Some(place) => error.context(place),
        None => error,
    }
}
