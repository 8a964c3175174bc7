//! The wish to stop, as a value that every long loop looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// A flag that one side raises and the other side looks at.
///
/// Clones share the flag. It never goes down again.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Returns a flag that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Says whether the flag is up.
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns an error if the flag is up.
    ///
    /// # Errors
    ///
    /// - `Canceled` when the flag is up.
    pub fn check(&self) -> Result<()> {
        if self.is_canceled() {
            return Err(Error::canceled());
        }
        Ok(())
    }

    /// Returns the bare flag, for a signal handler to raise.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
