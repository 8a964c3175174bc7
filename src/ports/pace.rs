//! Bytes a second, kept to by threads that wait.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::codecs::throttle::TokenBucket;
use crate::ports::host::Stopwatch;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::units::to_f64;

/// How often a waiting thread checks the cancel flag.
const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// A bound on bytes a second, over all threads that share it.
#[derive(Debug)]
pub struct BytePace {
    bucket: Option<Mutex<TokenBucket>>,
    clock: Stopwatch,
}

impl BytePace {
    /// Starts with this many bytes a second; `None` lets everything through.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let bucket = bytes_per_second.map(|rate| {
            let rate = Some(to_f64(rate));
            Mutex::new(TokenBucket::new(rate, Duration::ZERO))
        });
        Self {
            bucket,
            clock: Stopwatch::start(),
        }
    }

    /// Waits until so many more bytes may be moved.
    ///
    /// # Errors
    ///
    /// - `Canceled`, soon after the flag is raised.
    pub fn wait_for(&self, bytes: u64, cancel: &Cancel) -> Result<()> {
        cancel.check()?;
        let Some(bucket) = &self.bucket else {
            return Ok(());
        };
        let lock = || -> MutexGuard<'_, TokenBucket> {
            // Every change is a single one.
            bucket.lock().unwrap_or_else(PoisonError::into_inner)
        };
        let ticket = lock().take(to_f64(bytes), self.clock.elapsed());
        loop {
            let left = lock().wait(ticket, self.clock.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(CANCEL_INTERVAL));
            cancel.check()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_more_than_the_rate_waits_and_can_be_stopped() {
        let cancel = Cancel::new();
        BytePace::new(None).wait_for(u64::MAX, &cancel).unwrap();
        let pace = BytePace::new(Some(1 << 20));
        let clock = Stopwatch::start();
        // The first goes at once, and the second waits for it.
        pace.wait_for(200 << 10, &cancel).unwrap();
        pace.wait_for(1 << 40, &cancel).unwrap();
        assert!(clock.elapsed() >= Duration::from_millis(90));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| pace.wait_for(1, &cancel));
            cancel.cancel();
            assert!(waits.join().unwrap().unwrap_err().is_canceled());
        });
    }
}
