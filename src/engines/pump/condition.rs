//! A condition variable that asks the system for nothing if nobody waits.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, MutexGuard, PoisonError};

/// A condition variable that knows how many wait for it. That of the standard library
/// makes a system call for each notification, which at a few for each batch was half of
/// the system time of a dump.
///
/// What is waited for must be changed while the lock of the waiting threads is held.
#[derive(Debug, Default)]
pub(super) struct Condition {
    condvar: Condvar,
    /// Changed only with the lock held.
    waiting: AtomicUsize,
}

impl Condition {
    /// Releases the lock, waits until somebody notifies, and locks again.
    pub(super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waited = self.condvar.wait(guard);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one of those who wait.
    pub(super) fn notify_one(&self) {
        if self.is_waited_for() {
            self.condvar.notify_one();
        }
    }

    /// Wakes all who wait.
    pub(super) fn notify_all(&self) {
        if self.is_waited_for() {
            self.condvar.notify_all();
        }
    }

    /// Who has locked before the change has been counted by then, and who locks after it
    /// does not wait.
    fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}
