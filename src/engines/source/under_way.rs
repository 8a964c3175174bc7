//! Counts the walks of servers' keys that this process is reading.
//!
//! A server whose walk is not read can stop all its clients. A caller that wants to stop
//! this process for a while therefore does so between walks.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::words::cancel::Cancel;
use crate::words::error::Result;

static WALKS: Walks = Walks::new();

#[derive(Debug)]
struct Walks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Walks that were requested and not read to their end.
    count: usize,
    /// Callers that wait until there is no walk. No walk begins before they are served.
    waiting_count: usize,
}

/// One walk, which is over when this is dropped.
#[derive(Debug)]
pub(super) struct WalkUnderWay<'a>(&'a Walks);

impl WalkUnderWay<'_> {
    /// Registers a walk before it is requested.
    ///
    /// # Errors
    ///
    /// - `Canceled`, while it waits for a caller that wants to stop this process.
    pub(super) fn begin(cancel: &Cancel) -> Result<Self> {
        WALKS.begin(cancel)
    }
}

impl Drop for WalkUnderWay<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.count = state.count.saturating_sub(1);
        drop(state);
        self.0.changed.notify_all();
    }
}

/// Returns how many walks this process is reading.
pub fn walks_under_way() -> usize {
    WALKS.lock().count
}

/// Waits until this process reads no walk, then calls `act` before the next walk begins.
/// `act` may stop the process, for example.
pub fn between_walks<T>(act: impl FnOnce() -> T) -> T {
    WALKS.between(act)
}

impl Walks {
    const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

    const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                count: 0,
                waiting_count: 0,
            }),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, cancel: &Cancel) -> Result<WalkUnderWay<'_>> {
        let mut state = self.lock();
        while state.waiting_count > 0 {
            cancel.check()?;
            let waited = self.changed.wait_timeout(state, Self::CANCEL_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.count = state.count.saturating_add(1);
        Ok(WalkUnderWay(self))
    }

    fn between<T>(&self, act: impl FnOnce() -> T) -> T {
        /// Lets walks begin again, even if the act panics.
        struct Served<'a>(&'a Walks);

        impl Drop for Served<'_> {
            fn drop(&mut self) {
                let mut state = self.0.lock();
                state.waiting_count = state.waiting_count.saturating_sub(1);
                drop(state);
                self.0.changed.notify_all();
            }
        }

        let mut state = self.lock();
        state.waiting_count = state.waiting_count.saturating_add(1);
        let _served = Served(self);
        while state.count > 0 {
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        // A walk that begins meanwhile waits for its turn, not for the lock.
        drop(state);
        act()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn who_stops_the_process_waits_for_walks_that_run_and_goes_before_others() {
        let walks = Walks::new();
        let cancel = Cancel::new();
        let first = walks.begin(&cancel).unwrap();
        let (tell, told) = channel();
        std::thread::scope(|scope| {
            let (walks, cancel) = (&walks, &cancel);
            let stopper = tell.clone();
            scope.spawn(move || walks.between(|| stopper.send("stopped").unwrap()));
            while walks.lock().waiting_count == 0 {
                std::thread::yield_now();
            }
            scope.spawn(move || {
                let _second = walks.begin(cancel).unwrap();
                tell.send("walked").unwrap();
            });
            assert!(told.try_recv().is_err());
            drop(first);
            assert_eq!(told.recv().unwrap(), "stopped");
            assert_eq!(told.recv().unwrap(), "walked");
        });
        assert_eq!(walks.lock().count, 0);
    }

    #[test]
    fn a_walk_that_waits_for_its_turn_can_be_canceled() {
        let walks = Walks::new();
        let cancel = Cancel::new();
        cancel.cancel();
        let canceled = walks.between(|| walks.begin(&cancel).map(drop));
        assert!(canceled.unwrap_err().is_canceled());
        assert!(walks.begin(&cancel).is_ok());
    }
}
