//! What every command is given.

use std::collections::BTreeMap;

use anyhow::Result;
use indicatif::MultiProgress;
use mcsnap::cancel::Cancel;

use crate::cli::GlobalArgs;
use crate::config::{ConfigFile, Resolved, Section, resolve, unknown_variables};
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
        let global = resolve(flags, &environment, &file)?.settings;
        let format = global.format.as_deref().unwrap_or("text");
        let format = parse_choice(
            "format",
            format,
            &[("text", Format::Text), ("json", Format::Json)],
        )?;
        let kind = global.progress.as_deref().unwrap_or("auto");
        let kind = parse_choice("progress", kind, &ProgressKind::CHOICES)?;
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

    /// Makes the progress that the user wants to see.
    pub(crate) fn progress(&self) -> Renderer {
        Renderer::new(self.progress, &self.bars)
    }
}
