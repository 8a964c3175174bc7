//! What all nodes of a job share: the limits and a clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::codecs::throttle::{RateBuckets, Rates};

/// The limits of a job, which may change while it runs.
#[derive(Debug)]
pub(super) struct Shared {
    began: Instant,
    /// Whether anything is or ever was limited; while false, callers skip the limits.
    is_limited: AtomicBool,
    limits: Mutex<Limits>,
    changed: Condvar,
}

/// The current limits.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) rates: Rates,
    /// Incremented by every change, so that each node notices it.
    pub(super) version: u64,
    pub(super) total: RateBuckets,
}

impl Shared {
    /// How often a waiting thread checks the cancel flag.
    pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

    pub(super) fn new(rates: Rates) -> Self {
        let shared = Self {
            began: Instant::now(),
            is_limited: AtomicBool::new(false),
            limits: Mutex::default(),
            changed: Condvar::new(),
        };
        shared.set(rates);
        shared
    }

    /// Sets the limits from now on.
    pub(super) fn set(&self, rates: Rates) {
        let mut limits = self.lock();
        let now = self.now();
        limits.rates = rates;
        limits.version = limits.version.saturating_add(1);
        limits.total.set(rates.total, now);
        let is_limited = !rates.total.is_unlimited() || !rates.node.is_unlimited();
        self.is_limited.fetch_or(is_limited, Ordering::Relaxed);
        drop(limits);
        self.changed.notify_all();
    }

    pub(super) fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    /// Makes every batch check the limits, because a node has limits of its own.
    pub(super) fn limit(&self) {
        self.is_limited.store(true, Ordering::Relaxed);
    }

    /// Returns the time since the job began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for this long or until the limits change, but never longer than the interval
    /// at which the cancel flag must be checked.
    pub(super) fn wait(&self, wait: Duration) {
        let limits = self.lock();
        let waited = self
            .changed
            .wait_timeout(limits, wait.min(Self::LOOK_INTERVAL));
        drop(waited);
    }
}
