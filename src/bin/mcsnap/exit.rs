//! How the program ends: the only table of exit codes.
//!
//! | code | what a scheduler should do |
//! | --- | --- |
//! | 0 | nothing: done, everything accounted for |
//! | 1 | run it again, as it is: nothing was done, or a part of it |
//! | 2 | call somebody, and run nothing again: it would fail the same way |
//! | 3 | keep the result, and have somebody look at the report |
//! | 4 | nothing: what was looked for is not there |
//! | 130 | nothing: stopped by SIGINT |
//! | 143 | nothing: stopped by SIGTERM or SIGHUP |

use std::borrow::Cow;

use mcsnap::words::access::AccessProblem;
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::item::escape_controls;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, everything accounted for.
    Clean,
    /// Done, with losses or findings.
    Degraded,
    /// Done as far as this build can: a newer one is needed.
    Newer,
    /// Done; what was looked for is not there.
    NotFound,
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
    pub(crate) hint: Cow<'static, str>,
}

pub(crate) const FAILED: u8 = 1;
/// clap's own code, too.
pub(crate) const USAGE: u8 = 2;
const DEGRADED: u8 = 3;
const NOT_FOUND: u8 = 4;
/// What a shell reports for a program that a signal ended: 128 and its number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// A signal that stops a job in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Hup,
    Int,
    Term,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Hup, Self::Int, Self::Term];

    pub(crate) fn of(number: i32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|signal| signal.number() == number)
    }

    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Hup => SIGHUP,
            Self::Int => SIGINT,
            Self::Term => SIGTERM,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hup => "SIGHUP",
            Self::Int => "SIGINT",
            Self::Term => "SIGTERM",
        }
    }

    /// A terminal that is closed asks for the same as who sends SIGTERM.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Int => INTERRUPTED,
            Self::Hup | Self::Term => TERMINATED,
        }
    }
}

/// Returns the code of a command that did its work.
pub(crate) fn code_of(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Clean => 0,
        Outcome::Degraded => DEGRADED,
        Outcome::Newer => USAGE,
        Outcome::NotFound => NOT_FOUND,
    }
}

/// Returns the code of a command that failed; `signal` is the one that came, if
/// one did.
pub(crate) fn code_of_error(error: &anyhow::Error, signal: Option<Signal>) -> u8 {
    if error.is::<UsageError>() {
        return USAGE;
    }
    match kind_of(error) {
        Some(ErrorKind::Canceled) => signal.map_or(FAILED, Signal::code),
        // No retry makes another server, or another file, of it, nor is a name that
        // is taken free the next time.
        Some(
            ErrorKind::InvalidInput { .. }
            | ErrorKind::Newer { .. }
            | ErrorKind::Unsupported { .. }
            | ErrorKind::AlreadyExists { .. },
        ) => USAGE,
        Some(ErrorKind::Access(problem)) if problem.is_of_settings() => USAGE,
        Some(_) | None => FAILED,
    }
}

/// Returns what a user is told of a command that failed.
pub(crate) fn message_of(error: &anyhow::Error, signal: Option<Signal>) -> String {
    let name = signal.map(Signal::name);
    match (kind_of(error), name) {
        // Where the job stood when it was stopped is no news to who stopped it.
        (Some(ErrorKind::Canceled), Some(name)) => match error.downcast_ref::<HintedError>() {
            Some(hinted) => format!("stopped by {name}; {}", hinted.hint),
            None => format!("stopped by {name}"),
        },
        // It may name what stands in a file.
        (kind, _) => {
            let hint = kind.and_then(access_hint);
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            escape_controls(&format!("{error:#}{hint}")).into_owned()
        }
    }
}

/// Returns the flag that opens the door, where one does.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most problems are no flag's to solve, and there may be more"
)]
pub(crate) fn access_hint(kind: &ErrorKind) -> Option<&'static str> {
    let ErrorKind::Access(problem) = kind else {
        return None;
    };
    match problem {
        AccessProblem::TlsWanted => Some("pass --tls"),
        AccessProblem::TlsNotSpoken => Some("leave out --tls"),
        AccessProblem::UnknownIssuer => Some("pass --tls-ca FILE with the issuer's certificate"),
        AccessProblem::WrongName { .. } => {
            Some("pass --tls-server-name NAME if it is the right server")
        }
        AccessProblem::ClientCertificateWanted => Some("pass --tls-cert FILE and --tls-key FILE"),
        AccessProblem::AuthenticationWanted => Some("pass --auth-file FILE"),
        _ => None,
    }
}

/// Returns what kind of the library's errors it is, if it is one.
pub(crate) fn kind_of(error: &anyhow::Error) -> Option<&ErrorKind> {
    library_error(error).map(Error::kind)
}

/// Returns the library's error, if it is one.
pub(crate) fn library_error(error: &anyhow::Error) -> Option<&Error> {
    let hinted = error
        .downcast_ref::<HintedError>()
        .map(|hinted| &hinted.error);
    hinted.or_else(|| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    use mcsnap::words::cancel::Cancel;

    fn canceled() -> Error {
        let cancel = Cancel::new();
        cancel.cancel();
        cancel.check().unwrap_err()
    }

    #[test]
    fn each_way_to_end_has_its_code() {
        let invalid = || Error::invalid_input("node", "", "wanted one");
        let hinted = |error| HintedError {
            error,
            hint: "h".into(),
        };
        let taken = Error::new(ErrorKind::AlreadyExists {
            what: "a".to_owned(),
        });
        let newer = Error::new(ErrorKind::Newer {
            what: "a".to_owned(),
        });
        let table: [(anyhow::Error, Option<Signal>, u8); 12] = [
            (anyhow::anyhow!("any"), None, 1),
            (Error::new(ErrorKind::Busy).into(), None, 1),
            // A failure stays one, though a signal came as well.
            (Error::new(ErrorKind::Busy).into(), Some(Signal::Term), 1),
            (UsageError("u".to_owned()).into(), None, 2),
            (anyhow::Error::from(invalid()).context("read"), None, 2),
            (hinted(invalid()).into(), None, 2),
            (hinted(taken).into(), None, 2),
            (newer.into(), None, 2),
            (canceled().into(), Some(Signal::Int), 130),
            (hinted(canceled()).into(), Some(Signal::Term), 143),
            (canceled().into(), Some(Signal::Hup), 143),
            (Error::internal("no node 3").into(), None, 1),
        ];
        for (error, signal, code) in table {
            let made = code_of_error(&error, signal);
            assert_eq!(made, code, "{error:#}");
        }
        assert_eq!(code_of(Outcome::Clean), 0);
        assert_eq!(code_of(Outcome::Degraded), 3);
        assert_eq!(code_of(Outcome::Newer), 2);
        assert_eq!(code_of(Outcome::NotFound), 4);
    }

    #[test]
    fn a_stopped_job_tells_the_signal_by_name() {
        let stopped = anyhow::Error::from(canceled());
        assert_eq!(message_of(&stopped, Some(Signal::Int)), "stopped by SIGINT");
        assert_eq!(
            message_of(&stopped, Some(Signal::Term)),
            "stopped by SIGTERM"
        );
        assert_eq!(message_of(&stopped, Some(Signal::Hup)), "stopped by SIGHUP");
        let hint = "go on".into();
        let error = canceled();
        let hinted = anyhow::Error::from(HintedError { error, hint });
        assert_eq!(
            message_of(&hinted, Some(Signal::Term)),
            "stopped by SIGTERM; go on"
        );
        let failed = anyhow::anyhow!("cause").context("step");
        assert_eq!(message_of(&failed, Some(Signal::Int)), "step: cause");
    }
}
