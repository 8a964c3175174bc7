//! How the program ends: the only table of exit codes.

use std::borrow::Cow;

use mcsnap::access::AccessProblem;
use mcsnap::error::{Error, ErrorKind};
use mcsnap::item::escape_controls;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done, everything accounted for.
    Clean,
    /// Done, with losses or findings.
    Degraded,
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
pub(crate) const SIGNAL_BASE: u8 = 128;

/// The signals that stop a job in good order.
pub(crate) const SIGNALS: [(i32, &str); 3] =
    [(SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")];

/// Returns the code of a command that did its work.
pub(crate) fn code_of(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Clean => 0,
        Outcome::Degraded => DEGRADED,
        Outcome::NotFound => NOT_FOUND,
    }
}

/// Returns the code of a command that failed; `signal` is the one that came, 0
/// for none.
pub(crate) fn code_of_error(error: &anyhow::Error, signal: usize) -> u8 {
    if error.is::<UsageError>() {
        return USAGE;
    }
    match kind_of(error) {
        Some(ErrorKind::Canceled) => code_of_signal(signal),
        // No retry makes another server, or another file, of it.
        Some(
            ErrorKind::InvalidInput { .. }
            | ErrorKind::Unsupported { .. }
            | ErrorKind::AlreadyExists { .. },
        ) => USAGE,
        Some(ErrorKind::Access(problem)) if problem.is_of_settings() => USAGE,
        Some(_) | None => FAILED,
    }
}

/// Returns what a user is told of a command that failed.
pub(crate) fn message_of(error: &anyhow::Error, signal: usize) -> String {
    let name = SIGNALS
        .iter()
        .find(|(number, _)| usize::try_from(*number) == Ok(signal))
        .map(|(_, name)| name);
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
    let hinted = error
        .downcast_ref::<HintedError>()
        .map(|hinted| &hinted.error);
    hinted.or_else(|| error.downcast_ref()).map(Error::kind)
}

fn code_of_signal(signal: usize) -> u8 {
    match u8::try_from(signal) {
        Ok(number) if number > 0 => SIGNAL_BASE.saturating_add(number),
        Ok(_) | Err(_) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use mcsnap::cancel::Cancel;

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
        let table: [(anyhow::Error, usize, u8); 10] = [
            (anyhow::anyhow!("any"), 0, 1),
            (Error::new(ErrorKind::Busy).into(), 0, 1),
            // A failure stays one, though a signal came as well.
            (Error::new(ErrorKind::Busy).into(), 15, 1),
            (UsageError("u".to_owned()).into(), 0, 2),
            (anyhow::Error::from(invalid()).context("read"), 0, 2),
            (hinted(invalid()).into(), 0, 2),
            (canceled().into(), 2, 130),
            (hinted(canceled()).into(), 15, 143),
            (canceled().into(), 1, 129),
            (Error::internal("no node 3").into(), 0, 1),
        ];
        for (error, signal, code) in table {
            let made = code_of_error(&error, signal);
            assert_eq!(made, code, "{error:#}");
        }
        assert_eq!(code_of(Outcome::Clean), 0);
        assert_eq!(code_of(Outcome::Degraded), 3);
        assert_eq!(code_of(Outcome::NotFound), 4);
    }

    #[test]
    fn a_stopped_job_tells_the_signal_by_name() {
        let stopped = anyhow::Error::from(canceled());
        assert_eq!(message_of(&stopped, 2), "stopped by SIGINT");
        assert_eq!(message_of(&stopped, 15), "stopped by SIGTERM");
        assert_eq!(message_of(&stopped, 1), "stopped by SIGHUP");
        let hint = "go on".into();
        let error = canceled();
        let hinted = anyhow::Error::from(HintedError { error, hint });
        assert_eq!(message_of(&hinted, 15), "stopped by SIGTERM; go on");
        let failed = anyhow::anyhow!("cause").context("step");
        assert_eq!(message_of(&failed, 2), "step: cause");
    }
}
