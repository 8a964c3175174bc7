//! What keeps the other threads of a job from waiting for one that has panicked.

use crate::words::cancel::Cancel;

/// Stops the others of a job when the thread that holds it panics. The panic
/// itself goes on in the caller, which joins the thread.
#[derive(Debug)]
pub(crate) struct StopOnPanic<'a>(pub(crate) &'a Cancel);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_panic_stops_the_others() {
        let stop = Cancel::new();
        drop(StopOnPanic(&stop));
        assert!(!stop.is_canceled());
        let joined = std::thread::scope(|scope| {
            let panics = || {
                let _guard = StopOnPanic(&stop);
                std::panic::resume_unwind(Box::new("told to"));
            };
            scope.spawn(panics).join()
        });
        assert!(joined.is_err() && stop.is_canceled());
    }
}
