//! How the program ends: the only table of exit codes.

use std::process::ExitCode;

use mcsnap::error::{Error, ErrorKind};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, everything accounted for.
    Clean,
    /// Done, with losses or findings.
    Degraded,
}

/// The command line, the environment or the configuration file is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// An error of the library, and what the user can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{}; {hint}", error.to_chain())]
pub(crate) struct HintedError {
    pub(crate) error: Error,
    pub(crate) hint: &'static str,
}

const FAILED: u8 = 1;
/// clap's own code, too.
pub(crate) const USAGE: u8 = 2;
const DEGRADED: u8 = 3;
/// What a shell reports for a program that a signal ended: 128 and its number.
const SIGNAL_BASE: u8 = 128;

/// Returns the code of a command that did its work.
pub(crate) fn code_of(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Clean => ExitCode::SUCCESS,
        Outcome::Degraded => ExitCode::from(DEGRADED),
    }
}

/// Returns the code of a command that failed; `signal` is the one that came, 0
/// for none.
pub(crate) fn code_of_error(error: &anyhow::Error, signal: usize) -> ExitCode {
    if error.is::<UsageError>() {
        return ExitCode::from(USAGE);
    }
    let hinted = error
        .downcast_ref::<HintedError>()
        .map(|hinted| &hinted.error);
    match hinted.or_else(|| error.downcast_ref()).map(Error::kind) {
        Some(ErrorKind::Canceled) => code_of_signal(signal),
        Some(ErrorKind::InvalidInput { .. }) => ExitCode::from(USAGE),
        Some(_) | None => ExitCode::from(FAILED),
    }
}

fn code_of_signal(signal: usize) -> ExitCode {
    let number = u8::try_from(signal).unwrap_or(0);
    ExitCode::from(SIGNAL_BASE.saturating_add(number))
}
