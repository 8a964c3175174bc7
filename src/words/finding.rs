//! What was found to be wrong, and where.

use std::fmt;

use crate::words::defect::{Defect, Severity};
use crate::words::error::{Error, ErrorKind, Operation};
use crate::words::item::escape_controls;
use crate::words::location::Location;

/// One defect, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub location: Location,
    /// What.
    pub defect: Defect,
}

impl Finding {
    /// Puts a defect at its place.
    pub fn new(location: Location, defect: Defect) -> Self {
        Self { location, defect }
    }

    /// Takes the defect out of an error that is about bytes; `place` is where it
    /// is, if the error does not say.
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

    /// Takes whatever keeps one object from being read as a finding, so that a
    /// job can go on with the others: wrong bytes as [`Finding::from_error`]
    /// does; a store that fails, an object that is not there and one of an
    /// unsupported version as [`Defect::Unreadable`].
    ///
    /// # Errors
    ///
    /// - The error itself, if it is about anything else, such as `Canceled`.
    pub fn from_any_error(error: Error, place: &str) -> Result<Self, Error> {
        let is_unreadable = match error.kind() {
            ErrorKind::Io { operation } => matches!(
                operation,
                Operation::Open | Operation::Read | Operation::List | Operation::Map
            ),
            ErrorKind::Unsupported { .. } | ErrorKind::NotFound { .. } => true,
            ErrorKind::Corrupt(_)
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

    /// Returns how bad it is.
    pub fn severity(&self) -> Severity {
        self.defect.severity()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and reasons may hold what the file does.
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
