//! Time limits, and how much of them is left.

use std::time::{Duration, Instant};

use crate::ports::net::options::Pace;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

/// A length of time that starts when this is made.
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

    /// Returns the remaining time; zero when it is over.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    /// Makes the error for its end.
    pub(super) fn timeout(&self, operation: &'static str) -> Error {
        timeout(operation, self.limit)
    }
}

/// Makes the error of an operation that did not finish in time.
pub(super) fn timeout(operation: &'static str, limit: Duration) -> Error {
    let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
    Error::new(ErrorKind::Timeout {
        operation,
        limit_ms,
    })
}

/// Limits of an exchange besides silence, and what it has used of them.
#[derive(Debug)]
pub(super) struct Watch {
    operation: &'static str,
    /// The limit for the whole exchange.
    whole: Option<Countdown>,
    rate: Option<Rate>,
}

/// How much moves in each of a series of windows.
#[derive(Debug)]
struct Rate {
    window: Duration,
    bytes_per_sec: u64,
    /// How long this window has waited for the socket. The time the caller spends on the
    /// bytes is not the server's fault.
    waited: Duration,
    /// Bytes moved in this window, both ways.
    moved: u64,
}

impl Watch {
    /// Sets no limit besides silence, which the caller bounds.
    pub(super) fn none(operation: &'static str) -> Self {
        Self {
            operation,
            whole: None,
            rate: None,
        }
    }

    /// Bounds the whole exchange by the time of a short answer, from now on.
    pub(super) fn whole(operation: &'static str, pace: Pace) -> Self {
        Self {
            whole: Some(Countdown::new(pace.short_answer)),
            ..Self::none(operation)
        }
    }

    /// Requires the least rate, for any length of time.
    pub(super) fn rate(operation: &'static str, pace: Pace) -> Self {
        let rate = Rate {
            window: pace.window,
            bytes_per_sec: pace.bytes_per_sec,
            waited: Duration::ZERO,
            moved: 0,
        };
        Self {
            rate: Some(rate),
            ..Self::none(operation)
        }
    }

    pub(super) fn operation(&self) -> &'static str {
        self.operation
    }

    pub(super) fn note_moved(&mut self, len: usize) {
        if let Some(rate) = &mut self.rate {
            rate.moved = rate.moved.saturating_add(to_u64(len));
        }
    }

    pub(super) fn note_waited(&mut self, time: Duration) {
        if let Some(rate) = &mut self.rate {
            rate.waited = rate.waited.saturating_add(time);
        }
    }

    /// Returns how long to wait at most before [`Watch::check`] may fail.
    pub(super) fn left(&self) -> Duration {
        let of_whole = self.whole.as_ref().map(Countdown::left);
        let of_rate = self.rate.as_ref().map(Rate::left);
        let left = of_whole.into_iter().chain(of_rate).min();
        left.unwrap_or(Duration::MAX)
    }

    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// - `Timeout`: the time for the whole exchange is over.
    /// - `Slow`: fewer bytes moved in the last window than required.
    pub(super) fn check(&mut self) -> Result<()> {
        let operation = self.operation;
        if let Some(whole) = &self.whole
            && whole.left().is_zero()
        {
            return Err(whole.timeout(operation));
        }
        match &mut self.rate {
            Some(rate) if rate.left().is_zero() => rate.end_window(operation),
            Some(_) | None => Ok(()),
        }
    }
}

impl Rate {
    fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    fn end_window(&mut self, operation: &'static str) -> Result<()> {
        let window_ms = self.window.as_millis();
        let wanted = u128::from(self.bytes_per_sec).saturating_mul(window_ms) / 1000;
        if u128::from(self.moved) < wanted {
            return Err(Error::new(ErrorKind::Slow {
                operation,
                moved: self.moved,
                window: self.window,
                bytes_per_sec: self.bytes_per_sec,
            }));
        }
        (self.waited, self.moved) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_byte_now_and_then_is_too_slow() {
        let mut watch = Watch::rate("get", Pace::of_timeout(Duration::from_secs(10)));
        assert_eq!(watch.left(), MINUTE);
        for _ in 0..6 {
            watch.check().unwrap();
            watch.note_waited(Duration::from_secs(9));
            watch.note_moved(1);
        }
        assert_eq!(watch.left(), Duration::from_secs(6));
        watch.check().unwrap();
        watch.note_waited(Duration::from_secs(9));
        let words = "get: 6 bytes in 60s, which is slower than 1024 bytes/s";
        let error = watch.check().unwrap_err();
        assert_eq!(error.to_chain(), words);
        assert!(error.is_retryable());
    }

    #[test]
    fn each_window_is_judged_by_itself() {
        let mut watch = Watch::rate("get", Pace::of_timeout(Duration::from_secs(1)));
        // Regardless of how much moved before.
        watch.note_moved(1 << 30);
        watch.note_waited(MINUTE);
        watch.check().unwrap();
        watch.note_moved(60 << 10);
        watch.note_waited(MINUTE);
        watch.check().unwrap();
        watch.note_moved((60 << 10) - 1);
        watch.note_waited(MINUTE);
        assert!(watch.check().is_err());
    }

    #[test]
    fn a_long_silence_makes_a_long_window() {
        let mut watch = Watch::rate("get", Pace::of_timeout(Duration::from_secs(3600)));
        watch.note_waited(Duration::from_secs(5 * 3600));
        watch.check().unwrap();
        assert_eq!(watch.left(), Duration::from_secs(3600));
    }

    #[test]
    fn what_is_not_bounded_has_all_the_time() {
        let mut watch = Watch::none("walk");
        watch.note_waited(Duration::MAX);
        watch.note_waited(Duration::MAX);
        watch.check().unwrap();
        assert_eq!(watch.left(), Duration::MAX);
        let pace = Pace {
            short_answer: Duration::ZERO,
            ..Pace::of_timeout(MINUTE)
        };
        let error = Watch::whole("stats", pace).check().unwrap_err();
        assert_eq!(error.to_chain(), "stats: no reply within 0 ms");
    }
}
