//! A defect and its location.

use std::fmt;

use crate::words::defect::{Defect, Severity};
use crate::words::error::{Error, ErrorKind, Operation};
use crate::words::item::escape_controls;
use crate::words::location::Location;

/// A defect and its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it is.
    pub location: Location,
    /// What is wrong.
    pub defect: Defect,
}

impl Finding {
    /// Makes a finding from a location and a defect.
    pub fn new(location: Location, defect: Defect) -> Self {
        Self { location, defect }
    }

    /// Extracts the defect from an error about bytes; `place` is its location if the
    /// error has none.
    ///
    /// # Errors
    ///
    /// - The error itself, if it is about anything else.
    pub fn from_error(error: Error, place: &str) -> Result<Self, Error> {
        let ErrorKind::Corrupt(defect) = error.kind() else {
            return Err(error);
        };
        let location = error.location().cloned();
        let location = location.unwrap_or_else(|| Location::object(place));
        Ok(Self::new(location, defect.clone()))
    }

    /// Converts any error that prevents one object from being read to a finding, so that
    /// a job can continue with the others. Wrong bytes are converted as by
    /// [`Finding::from_error`]; a failing store and a missing object become
    /// [`Defect::Unreadable`].
    ///
    /// # Errors
    ///
    /// - The error itself, if it is about anything else, such as `Canceled`. What a newer
    ///   build made ends a job: its result would lack what that build would have read.
    pub fn from_any_error(error: Error, place: &str) -> Result<Self, Error> {
        let is_unreadable = match error.kind() {
            ErrorKind::Io { operation } => matches!(
                operation,
                Operation::Open | Operation::Read | Operation::List | Operation::Map
            ),
            ErrorKind::NotFound { .. } => true,
            ErrorKind::Corrupt(_)
            | ErrorKind::Newer { .. }
            | ErrorKind::Unsupported { .. }
            | ErrorKind::LimitExceeded { .. }
            | ErrorKind::Protocol { .. }
            | ErrorKind::Server { .. }
            | ErrorKind::Access(_)
            | ErrorKind::Busy
            | ErrorKind::TooManyConnections
            | ErrorKind::Timeout { .. }
            | ErrorKind::Slow { .. }
            | ErrorKind::Closed
            | ErrorKind::NodeChanged { .. }
            | ErrorKind::AlreadyExists { .. }
            | ErrorKind::Locked { .. }
            | ErrorKind::Superseded { .. }
            | ErrorKind::Changed { .. }
            | ErrorKind::Internal { .. }
            | ErrorKind::InvalidInput { .. }
            | ErrorKind::Canceled => false,
        };
        if !is_unreadable {
            return Self::from_error(error, place);
        }
        let location = error.location().cloned();
        let location = location.unwrap_or_else(|| Location::object(place));
        let reason = error.to_reason();
        Ok(Self::new(location, Defect::Unreadable { reason }))
    }

    /// Converts an error as [`Finding::from_any_error`] does, and what a newer build made
    /// as well: for a job whose result is what it finds.
    ///
    /// # Errors
    ///
    /// - The error itself, if it is about anything else.
    pub fn from_any_version(error: Error, place: &str) -> Result<Self, Error> {
        let ErrorKind::Newer { what } = error.kind() else {
            return Self::from_any_error(error, place);
        };
        let location = error.location().cloned();
        let location = location.unwrap_or_else(|| Location::object(place));
        let what = what.clone();
        Ok(Self::new(location, Defect::Newer { what }))
    }

    /// Returns the severity.
    pub fn severity(&self) -> Severity {
        self.defect.severity()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and reasons may contain any bytes of the file.
        let text = format!("{}: {}", self.location, self.defect);
        let text = escape_controls(&text);
        write!(f, "{} {}: {text}", self.defect.code(), self.severity())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_a_newer_build_made_is_a_finding_of_one_job_and_ends_the_others() {
        let newer = || {
            let what = "format version 2.0".to_owned();
            Error::corrupt(Defect::Newer { what })
        };
        let error = Finding::from_any_error(newer(), "b.mcs").unwrap_err();
        assert!(error.is_newer(), "{error}");
        let finding = Finding::from_any_version(newer(), "b.mcs").unwrap();
        assert_eq!(
            finding.to_string(),
            "MCS022 error: b.mcs: format version 2.0: made by a newer mcsnap; upgrade"
        );
    }

    #[test]
    fn what_keeps_one_object_from_being_read_is_a_finding_and_nothing_else_is() {
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let unreadable = [
            (
                Error::io(Operation::Open, "a.mcs", denied()),
                "MCS021 error: a.mcs: it cannot be read: cannot open: permission denied",
            ),
            (
                Error::new(ErrorKind::NotFound {
                    what: "segment".to_owned(),
                }),
                "MCS021 error: b.mcs: it cannot be read: segment does not exist",
            ),
            (
                Error::corrupt(Defect::SegmentMissing),
                "MCS017 error: b.mcs: the manifest names this segment, but it is missing",
            ),
        ];
        for (error, text) in unreadable {
            let finding = Finding::from_any_error(error, "b.mcs").unwrap();
            assert_eq!(finding.to_string(), text);
        }
        for error in [
            Error::new(ErrorKind::Busy),
            Error::invalid_input("node", "", "wanted one"),
            Error::io(Operation::Write, "stdout", denied()),
        ] {
            let kind = error.kind().clone();
            let kept = Finding::from_any_error(error, "b.mcs").unwrap_err();
            assert_eq!(*kept.kind(), kind);
        }
    }
}
