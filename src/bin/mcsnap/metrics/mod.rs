//! What Prometheus sees of a run: a file that it leaves, and pages that it serves.

mod address;
mod endpoint;
mod exposition;
mod families;
mod last_run;
mod numbers;
mod progress_page;
mod textfile;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Result;
use jiff::Timestamp;
use mcsnap::words::error::Error;

use crate::exit::UsageError;
use crate::job_watch::JobWatch;
use crate::metrics::address::parse_address;
use crate::metrics::last_run::LastRun;
use crate::metrics::numbers::SnapshotTime;
use crate::metrics::textfile::Textfile;
use crate::this_run::ThisRun;

pub(crate) use self::numbers::{JobNumbers, NodeNumbers};

/// The metrics of this run. Where none are asked for, all of it does nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    /// The command has metrics, if they are asked for.
    pub(crate) are_offered: bool,
    file: Arc<OnceLock<Textfile>>,
    facts: Arc<Mutex<Facts>>,
}

/// What the command tells of itself.
#[derive(Debug, Default)]
struct Facts {
    /// The directory of snapshots, by its one name.
    directory: Option<String>,
    is_dry_run: bool,
    snapshot: Option<SnapshotTime>,
    numbers: Option<JobNumbers>,
}

impl Metrics {
    /// Returns those of a command that has some.
    pub(crate) fn of_job() -> Self {
        Self {
            are_offered: true,
            ..Self::default()
        }
    }

    /// Has a file written at the end of the run, and checks that this can be done.
    pub(crate) fn open_file(&self, path: &str, command: &str) -> Result<(), UsageError> {
        let file = Textfile::open(path, command)?;
        // It is opened once.
        let _ = self.file.set(file);
        Ok(())
    }

    /// Serves the metrics of the run until its end; returns where.
    pub(crate) fn serve(
        &self,
        address: &str,
        run: &Arc<ThisRun>,
        watch: &Arc<JobWatch>,
    ) -> Result<SocketAddr> {
        let addresses = parse_address(address)?;
        let refuse = |error| {
            UsageError(format!(
                "--metrics-addr {address}: cannot listen there: {error}"
            ))
        };
        let listener = TcpListener::bind(addresses.as_slice()).map_err(refuse)?;
        let address = listener.local_addr()?;
        let (metrics, run, watch) = (self.clone(), Arc::clone(run), Arc::clone(watch));
        endpoint::serve(listener, move || {
            let directory = metrics.facts().directory.clone().unwrap_or_default();
            progress_page::render_page(&run, &watch, &directory)
        })?;
        Ok(address)
    }

    /// Says what the run is about. The directory is that in which the snapshot is or will
    /// be; what is wrong with it is told by who opens it. A dry run leaves no file.
    pub(crate) fn describe(&self, directory: Result<String, Error>, is_dry_run: Option<bool>) {
        let mut facts = self.facts();
        facts.directory = directory.ok();
        facts.is_dry_run = is_dry_run == Some(true);
    }

    /// Says when the dump ended of which the snapshot is that is read: `finished_at` of
    /// its manifest.
    pub(crate) fn set_snapshot_read(&self, finished_at: &str) {
        self.facts().snapshot = finished_at.parse().ok().map(SnapshotTime::Read);
    }

    /// The same of a snapshot that is written.
    pub(crate) fn set_snapshot_written(&self, finished_at: &str) {
        self.facts().snapshot = finished_at.parse().ok().map(SnapshotTime::Written);
    }

    /// Takes the numbers of the job's report.
    pub(crate) fn set_numbers(&self, numbers: JobNumbers) {
        self.facts().numbers = Some(numbers);
    }

    /// Writes the file; returns what to tell where it cannot be written.
    pub(crate) fn write_end(
        &self,
        run: &ThisRun,
        watch: &JobWatch,
        exit_code: u8,
    ) -> Result<(), String> {
        let Some(file) = self.file.get() else {
            return Ok(());
        };
        let facts = self.facts();
        if facts.is_dry_run {
            return Ok(());
        }
        // A run that was refused before it knew is one of the same job all the same.
        let directory = facts.directory.clone();
        let directory = directory.or_else(|| file.earlier_directory());
        let last_run = LastRun {
            command: &run.command,
            directory: &directory.unwrap_or_default(),
            file: &file.label,
            exit_code,
            started_at: run.started_at(),
            ended_at: Timestamp::now(),
            elapsed: run.elapsed(),
            read_bytes: watch.job().map(|_| watch.totals().1),
            snapshot: facts.snapshot,
            numbers: facts.numbers.as_ref(),
        };
        let text = last_run.render(|series| file.earlier_value(series));
        let text =
            text.map_err(|error| format!("the metrics of this run are not right: {error}"))?;
        file.write(&text)
    }

    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
