//! The library's only error type: what failed, where, and why.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::words::access::AccessProblem;
use crate::words::defect::Defect;
use crate::words::item::escape_bytes;
use crate::words::location::Location;

/// A result with the library's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a job, or a step of it, cannot continue.
///
/// It is one word wide, so that a `Result` stays cheap.
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    location: Option<Location>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// Another thread has ended, and that thread's error is the cause.
    is_of_partner: bool,
    /// How long the operation was retried, if it was.
    tried_for: Option<Duration>,
}

/// What went wrong, at one level only; the cause is in [`StdError::source`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The operating system refused an operation.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: Operation,
    },
    /// The bytes of a snapshot are wrong.
    #[error("{0}")]
    Corrupt(Defect),
    /// The bytes of a snapshot need a newer build; they may well be sound. FORMAT.md 7.
    #[error("{what}: {}", Defect::MADE_BY_NEWER)]
    Newer {
        /// What this build does not know.
        what: String,
    },
    /// The server is of a kind that this build does not support.
    #[error("{field} {found} is not supported: {supported}")]
    Unsupported {
        /// The unsupported property.
        field: &'static str,
        /// Its value.
        found: String,
        /// What is supported, and what to do.
        supported: String,
    },
    /// Outside input exceeds a limit.
    #[error("{limit} would be {needed}; the limit is {bound}")]
    LimitExceeded {
        /// The name of the limit.
        limit: &'static str,
        /// The requested value.
        needed: u64,
        /// The limit.
        bound: u64,
    },
    /// The other side does not speak the protocol.
    #[error("wanted {wanted}, got \"{got}\"")]
    Protocol {
        /// The expected reply.
        wanted: &'static str,
        /// The first 64 bytes of the actual reply, escaped.
        got: String,
    },
    /// The server refused, in its own words.
    #[error("server answered: {words}")]
    Server {
        /// Its line, without the line end.
        words: String,
    },
    /// The server is up, but does not let us in.
    #[error("{0}")]
    Access(AccessProblem),
    /// The server is busy with something that excludes this.
    #[error("server is already running an LRU crawl; retry later")]
    Busy,
    /// The server has reached its connection limit.
    #[error("server takes no more connections (its option -c)")]
    TooManyConnections,
    /// Nothing arrived in time.
    #[error("{operation}: no reply within {}", in_seconds(*.limit_ms))]
    Timeout {
        /// The operation that was waited for.
        operation: &'static str,
        /// The time limit in milliseconds.
        limit_ms: u64,
    },
    /// Bytes moved, but too slowly.
    #[error(
        "{operation}: {moved} bytes in {window:?}, which is slower than {bytes_per_sec} bytes/s"
    )]
    Slow {
        /// The operation to which they belong.
        operation: &'static str,
        /// How many bytes moved, in both directions.
        moved: u64,
        /// How long they were waited for.
        window: Duration,
        /// The required rate.
        bytes_per_sec: u64,
    },
    /// The other side closed the connection.
    #[error("server closed the connection")]
    Closed,
    /// The server is no longer the one that it was.
    #[error("{what}")]
    NodeChanged {
        /// What has happened to it.
        what: &'static str,
    },
    /// A snapshot or object does not exist.
    #[error("{what} does not exist")]
    NotFound {
        /// Its name.
        what: String,
    },
    /// A snapshot or object already exists.
    #[error("{what} already exists")]
    AlreadyExists {
        /// Its name.
        what: String,
    },
    /// Another process is writing the object.
    #[error("{what} is being written by another process")]
    Locked {
        /// Its name.
        what: String,
    },
    /// Another run has taken over what this one was writing.
    #[error("{what} is not this run's any more: {why}; nothing of it was removed")]
    Superseded {
        /// The object that was being written.
        what: String,
        /// Who took it over, or what else shows this.
        why: String,
    },
    /// What a job reads was removed or replaced while it read it.
    #[error("{what} was {how} while it was read; nothing was made of it")]
    Changed {
        /// What was read.
        what: String,
        /// What has happened to it: "removed" or "replaced".
        how: &'static str,
    },
    /// A state that cannot occur without a bug.
    #[error("this is a bug in mcsnap; please report it: {what}")]
    Internal {
        /// The state.
        what: String,
    },
    /// The caller's input is invalid.
    #[error("{field} \"{value}\": {allowed}")]
    InvalidInput {
        /// The name of the input.
        field: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        allowed: String,
    },
    /// The caller raised the cancel flag.
    #[error("canceled")]
    Canceled,
}

impl ErrorKind {
    /// Returns the word that identifies the kind to programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Corrupt(_) => "corrupt",
            Self::Newer { .. } | Self::Unsupported { .. } => "unsupported",
            Self::LimitExceeded { .. } => "limit-exceeded",
            Self::Protocol { .. } => "protocol",
            Self::Server { .. } => "server",
            Self::Access(_) => "access",
            Self::Busy => "busy",
            Self::TooManyConnections => "too-many-connections",
            Self::Timeout { .. } => "timeout",
            Self::Slow { .. } => "slow",
            Self::Closed => "closed",
            Self::NodeChanged { .. } => "node-changed",
            Self::NotFound { .. } => "not-found",
            Self::AlreadyExists { .. } => "already-exists",
            Self::Locked { .. } => "locked",
            Self::Superseded { .. } => "superseded",
            Self::Changed { .. } => "changed",
            Self::Internal { .. } => "internal",
            Self::InvalidInput { .. } => "invalid-input",
            Self::Canceled => "canceled",
        }
    }
}

/// Formats a length of time: in seconds if they are whole, otherwise in milliseconds.
fn in_seconds(millis: u64) -> String {
    match millis % 1000 {
        0 if millis > 0 => format!("{} s", millis / 1000),
        _ => format!("{millis} ms"),
    }
}

/// An operating system operation that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Create a file or directory.
    Create,
    /// Open a file.
    Open,
    /// Read from a file or socket.
    Read,
    /// Write to a file or socket.
    Write,
    /// Make a file or directory durable.
    Sync,
    /// Give a file its final name.
    Publish,
    /// Lock a file.
    Lock,
    /// Remove a file or directory.
    Remove,
    /// List a directory.
    List,
    /// Map a file into memory.
    Map,
    /// Resolve the name of a host.
    Resolve,
    /// Connect to a node.
    Connect,
    /// Start a thread.
    Spawn,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "cannot create",
            Self::Open => "cannot open",
            Self::Read => "cannot read",
            Self::Write => "cannot write",
            Self::Sync => "cannot make durable",
            Self::Publish => "cannot publish",
            Self::Lock => "cannot lock",
            Self::Remove => "cannot remove",
            Self::List => "cannot list",
            Self::Map => "cannot map into memory",
            Self::Resolve => "cannot resolve",
            Self::Connect => "cannot connect",
            Self::Spawn => "cannot start a thread",
        })
    }
}

impl Error {
    /// Makes an error without a location and a cause.
    pub fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Repr {
            kind,
            location: None,
            source: None,
            is_of_partner: false,
            tried_for: None,
        }))
    }

    /// Makes the error of a failed system call on an object.
    pub fn io(operation: Operation, object: impl Into<String>, source: io::Error) -> Self {
        Self::new(ErrorKind::Io { operation })
            .at(Location::object(object))
            .caused_by(source)
    }

    /// Makes the error of a failed system call on a connection.
    pub fn net(operation: Operation, node: impl Into<String>, source: io::Error) -> Self {
        Self::new(ErrorKind::Io { operation })
            .at(Location::node(node))
            .caused_by(source)
    }

    /// Makes the error of wrong bytes, or of bytes that need a newer build.
    pub fn corrupt(defect: Defect) -> Self {
        if let Defect::Newer { what } = defect {
            return Self::new(ErrorKind::Newer { what });
        }
        Self::new(ErrorKind::Corrupt(defect))
    }

    /// Makes the error of a peer that does not speak the protocol.
    pub fn protocol(wanted: &'static str, got: &[u8]) -> Self {
        const SHOWN_LEN_MAX: usize = 64;
        let shown = escape_bytes(got.get(..SHOWN_LEN_MAX).unwrap_or(got));
        Self::new(ErrorKind::Protocol { wanted, got: shown })
    }

    /// Makes the error of a server that does not let us in.
    pub fn access(problem: AccessProblem) -> Self {
        Self::new(ErrorKind::Access(problem))
    }

    /// Makes the error of an invalid input.
    pub fn invalid_input(
        field: &'static str,
        value: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::InvalidInput {
            field,
            value: value.into(),
            allowed: allowed.into(),
        })
    }

    /// Makes the error of an unusable file that a setting names. It counts as an invalid
    /// setting.
    pub fn unusable_file(
        field: &'static str,
        path: &Path,
        operation: Operation,
        source: io::Error,
    ) -> Self {
        Self::invalid_input(field, path.to_string_lossy(), operation.to_string()).caused_by(source)
    }

    /// Returns the root cause among several errors, if any: cancellation and threads
    /// whose partner has ended are consequences of the other errors.
    pub fn first_cause(errors: impl IntoIterator<Item = Self>) -> Option<Self> {
        let errors = errors.into_iter();
        errors.min_by_key(|error| (error.is_canceled(), error.is_of_partner()))
    }

    /// Makes the error of a state that only a bug in mcsnap can cause.
    pub fn internal(what: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal { what: what.into() })
    }

    /// Makes the error of a thread whose partner ended too early. The partner's own error
    /// is the one to report. This one is only reported if the partner has none, which
    /// cannot happen.
    pub(crate) fn partner_ended(partner: &'static str) -> Self {
        let mut error = Self::internal(format!("{partner} has ended too early, without an error"));
        error.0.is_of_partner = true;
        error
    }

    /// Adds the location, unless the error already has one.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.0.location.get_or_insert(location);
        self
    }

    /// Replaces the location by a more specific one.
    #[must_use]
    pub(crate) fn moved_to(mut self, location: Location) -> Self {
        self.0.location = Some(location);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds how long the operation was retried.
    #[must_use]
    pub(crate) fn tried_for(mut self, time: Duration) -> Self {
        self.0.tried_for = Some(time);
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Returns the location, if known.
    pub fn location(&self) -> Option<&Location> {
        self.0.location.as_ref()
    }

    /// Returns whether the same call may succeed later without any change by the caller:
    /// the server is busy, silent or gone.
    pub fn is_retryable(&self) -> bool {
        match self.kind() {
            ErrorKind::Busy
            | ErrorKind::TooManyConnections
            | ErrorKind::Timeout { .. }
            | ErrorKind::Slow { .. }
            | ErrorKind::Closed => true,
            ErrorKind::Io { operation } => matches!(
                operation,
                Operation::Connect | Operation::Read | Operation::Write | Operation::Resolve
            ),
            ErrorKind::Corrupt(_)
            | ErrorKind::Newer { .. }
            | ErrorKind::Unsupported { .. }
            | ErrorKind::LimitExceeded { .. }
            | ErrorKind::Protocol { .. }
            | ErrorKind::Server { .. }
            | ErrorKind::Access(_)
            | ErrorKind::NodeChanged { .. }
            | ErrorKind::NotFound { .. }
            | ErrorKind::AlreadyExists { .. }
            | ErrorKind::Locked { .. }
            | ErrorKind::Superseded { .. }
            | ErrorKind::Changed { .. }
            | ErrorKind::Internal { .. }
            | ErrorKind::InvalidInput { .. }
            | ErrorKind::Canceled => false,
        }
    }

    /// Returns whether the bytes of a snapshot need a newer build.
    pub fn is_newer(&self) -> bool {
        matches!(self.kind(), ErrorKind::Newer { .. })
    }

    /// Returns whether the caller stopped the job.
    pub fn is_canceled(&self) -> bool {
        *self.kind() == ErrorKind::Canceled
    }

    /// Returns whether another thread's error says more.
    pub(crate) fn is_of_partner(&self) -> bool {
        self.0.is_of_partner
    }

    /// Returns whether the cause is a bug in mcsnap.
    pub fn is_internal(&self) -> bool {
        matches!(self.kind(), ErrorKind::Internal { .. })
    }

    /// Formats the error and its causes as one line.
    pub fn to_chain(&self) -> String {
        self.with_causes(self.to_string())
    }

    /// Formats the error and its causes as one line, without the location.
    pub fn to_reason(&self) -> String {
        self.with_causes(self.kind_text())
    }

    fn kind_text(&self) -> String {
        match self.0.tried_for {
            Some(time) => format!("{} (tried for {time:?})", self.0.kind),
            None => self.0.kind.to_string(),
        }
    }

    fn with_causes(&self, mut text: String) -> String {
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(location) = &self.0.location {
            write!(f, "{location}: ")?;
        }
        f.write_str(&self.kind_text())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("location", &self.0.location)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| -> &(dyn StdError + 'static) { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_place_wins_and_the_cause_is_printed_once() {
        let cause = io::Error::new(io::ErrorKind::StorageFull, "disk full");
        let error = Error::io(Operation::Write, "a.mcs", cause).at(Location::object("b"));
        assert_eq!(error.to_string(), "a.mcs: cannot write");
        assert_eq!(error.to_chain(), "a.mcs: cannot write: disk full");
    }

    #[test]
    fn a_place_in_an_object_reads_like_a_sentence() {
        let location = Location::Object {
            object: "s.mcs".into(),
            block: Some(17),
            record: None,
            offset: Some(4096),
        };
        assert_eq!(location.to_string(), "s.mcs: block 17 at offset 4096");
    }

    #[test]
    fn the_cause_is_what_follows_from_nothing_else() {
        let partner = || Error::partner_ended("the disk of the spool");
        let cancel = crate::words::cancel::Cancel::new();
        cancel.cancel();
        let canceled = || cancel.check().unwrap_err();
        let closed = Error::new(ErrorKind::Closed);
        let cause = Error::first_cause([canceled(), partner(), closed]);
        assert_eq!(*cause.unwrap().kind(), ErrorKind::Closed);
        let cause = Error::first_cause([canceled(), partner()]);
        assert!(cause.unwrap().is_of_partner());
        assert!(Error::first_cause([canceled()]).unwrap().is_canceled());
        assert!(Error::first_cause([]).is_none());
    }
}
