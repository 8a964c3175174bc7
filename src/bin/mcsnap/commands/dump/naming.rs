//! How a dump gets its name.

use std::time::SystemTime;

use anyhow::Result;
use mcsnap::engines::snapshot::{NameClock, expand_name, generate_name};
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::units::UnixSecs;

use crate::exit::{HintedError, UsageError};

/// What `--name` and `--name-local` say, at one moment.
#[derive(Debug)]
pub(super) struct Naming<'a> {
    pattern: Option<&'a str>,
    now: UnixSecs,
    clock: NameClock,
    is_local: bool,
}

impl<'a> Naming<'a> {
    /// Takes the moment: a dump is named by its start, on this host's clock. With
    /// `is_local_meant` a name without date and time is refused.
    pub(super) fn new(
        pattern: Option<&'a str>,
        is_local: bool,
        is_local_meant: bool,
    ) -> Result<Self> {
        if is_local_meant && !pattern.is_some_and(|pattern| pattern.contains('%')) {
            let text = "--name-local is for a --name with the date or the time in it, such as \
                        night-%F";
            return Err(UsageError(text.to_owned()).into());
        }
        let now = UnixSecs::from_system_time(SystemTime::now());
        let clock = if is_local {
            NameClock::local(now)?
        } else {
            NameClock::utc(now)
        };
        Ok(Self {
            pattern,
            now,
            clock,
            is_local,
        })
    }

    /// Returns the name.
    pub(super) fn fill(&self) -> Result<String> {
        match self.pattern {
            Some(pattern) => Ok(expand_name(pattern, &self.clock)?),
            None => Ok(generate_name(self.now)),
        }
    }

    /// Says whether another run of the same job would have another name, so that
    /// the name keeps nobody from running beside it, nor finds an unfinished dump.
    pub(super) fn is_sole(&self) -> bool {
        self.pattern.is_none_or(|pattern| pattern.contains('%'))
    }

    /// Says what to do where the name is taken.
    pub(super) fn with_hint(&self, error: Error) -> anyhow::Error {
        if !matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
            return error.into();
        }
        let has_date = self.pattern.is_some_and(|pattern| pattern.contains('%'));
        let hint = if self.is_local && self.clock.is_hour_doubled() {
            "this hour comes twice today, since clocks are put back: put %z in the --name, or leave \
             out --name-local"
        } else if has_date {
            "for more than one in that time, put %H%M in the --name"
        } else {
            "pass another --name; it may have the date: night-%F"
        };
        let hint = hint.into();
        HintedError { error, hint }.into()
    }
}
