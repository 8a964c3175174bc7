//! An object that is being made visible.

use std::fmt;

use crate::words::error::Result;

/// What makes an object durable and visible, and may still be at it. Dropping it waits, too.
#[derive(Debug)]
pub struct Finishing(State);

#[cfg_attr(
    not(feature = "cloud"),
    expect(dead_code, reason = "only a store that is far away does it later")
)]
enum State {
    Done(Result<()>),
    Waiting(Box<dyn FnOnce() -> Result<()> + Send>),
}

impl Finishing {
    /// Takes what has come of it.
    pub(super) fn done(finished: Result<()>) -> Self {
        Self(State::Done(finished))
    }

    /// Takes what waits for the end.
    #[cfg_attr(
        not(feature = "cloud"),
        expect(dead_code, reason = "only a store that is far away does it later")
    )]
    pub(super) fn until(wait: impl FnOnce() -> Result<()> + Send + 'static) -> Self {
        Self(State::Waiting(Box::new(wait)))
    }

    /// Reports whether there is nothing to wait for.
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done(_))
    }

    /// Waits until it is done.
    ///
    /// # Errors
    ///
    /// - As [`ObjectWriter::finish`].
    ///
    /// [`ObjectWriter::finish`]: crate::ports::store::ObjectWriter::finish
    pub fn wait(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.0, State::Done(Ok(()))) {
            State::Done(finished) => finished,
            State::Waiting(wait) => wait(),
        }
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        // A caller that drops this does not need the result.
        let _ = self.end();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(finished) => f.debug_tuple("Done").field(finished).finish(),
            Self::Waiting(_) => f.debug_tuple("Waiting").finish_non_exhaustive(),
        }
    }
}
