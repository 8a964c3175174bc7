//! How much time there is, and what is left of it.

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};

/// A length of time that runs from when this was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Countdown {
    started: Instant,
    limit: Duration,
}

impl Countdown {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            started: Instant::now(),
            limit,
        }
    }

    /// Returns the rest, zero at the end.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    /// Makes the error of its end.
    pub(super) fn timeout(&self, operation: &'static str) -> Error {
        timeout(operation, self.limit)
    }
}

/// Makes the error of an operation that was not done within its time.
pub(super) fn timeout(operation: &'static str, limit: Duration) -> Error {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    Error::new(ErrorKind::Timeout {
        operation,
        limit_ms,
    })
}
