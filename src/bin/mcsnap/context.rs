//! What every command is given.

use std::collections::BTreeMap;

use anyhow::Result;
use indicatif::MultiProgress;
use mcsnap::cancel::Cancel;
use mcsnap::error::ErrorKind;

use crate::cli::GlobalArgs;
use crate::config::{ConfigFile, Resolved, Section, place_of, resolve, unknown_variables};
use crate::exit::kind_of;
use crate::logging::{self, LogHealth};
use crate::progress::{ProgressKind, Renderer};
use crate::settings::parse_choice;

/// Form of the report on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Section for GlobalArgs {
    const NAME: Option<&'static str> = None;
}

/// The resolved settings of every command, and the world around.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) format: Format,
    pub(crate) cancel: Cancel,
    progress: ProgressKind,
    bars: MultiProgress,
    environment: BTreeMap<String, String>,
    file: ConfigFile,
}

impl Context {
    pub(crate) fn new(
        flags: &GlobalArgs,
        environment: BTreeMap<String, String>,
        cancel: Cancel,
        log: &LogHealth,
    ) -> Result<Self> {
        let path = flags.config.as_ref().or_else(|| {
            environment
                .get("MCSNAP_CONFIG")
                .filter(|path| !path.is_empty())
        });
        let file = path
            .map(|path| ConfigFile::read(path))
            .transpose()?
            .unwrap_or_default();
        let resolved = resolve(flags, &environment, &file)?;
        let place = |error| with_place(&resolved, &file, error);
        let global = &resolved.settings;
        let format = global.format.as_deref().unwrap_or("text");
        let forms = [("text", Format::Text), ("json", Format::Json)];
        let format = parse_choice("format", format, &forms).map_err(place)?;
        let kind = global.progress.as_deref().unwrap_or("auto");
        let kind = parse_choice("progress", kind, &ProgressKind::CHOICES).map_err(place)?;
        let progress = if global.quiet == Some(true) {
            ProgressKind::None
        } else {
            kind.resolve()
        };
        let bars = MultiProgress::new();
        logging::start(
            global.verbose,
            global.log_file.as_deref(),
            log,
            &environment,
            &bars,
        )?;
        for name in unknown_variables(&environment)? {
            tracing::warn!("{name} names no setting, and is ignored");
        }
        Ok(Self {
            format,
            cancel,
            progress,
            bars,
            environment,
            file,
        })
    }

    /// Puts a command's flags together with environment and file.
    pub(crate) fn resolve<T: Section>(&self, flags: &T) -> Result<Resolved<T>> {
        resolve(flags, &self.environment, &self.file)
    }

    /// Adds to the error of a wrong value where it was written, if that was not on
    /// the command line that the user sees.
    pub(crate) fn with_place<T: Section>(&self, flags: &T, error: anyhow::Error) -> anyhow::Error {
        match self.resolve(flags) {
            Ok(resolved) => with_place(&resolved, &self.file, error),
            Err(_) => error,
        }
    }

    /// Makes the progress that the user wants to see.
    pub(crate) fn progress(&self) -> Renderer {
        Renderer::new(self.progress, &self.bars)
    }
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
