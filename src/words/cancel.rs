//! A request to stop, as a value that every long loop checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::words::error::{Error, ErrorKind, Result};

/// A flag that one side raises and the other side checks.
///
/// Clones share the flag. Once raised, it stays raised. A child is raised whenever its
/// parent is, but not vice versa: a job can stop its own threads without stopping its
/// caller.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    parents: Vec<Arc<AtomicBool>>,
}

impl Cancel {
    /// Returns a flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a child flag, which is also raised when this one is.
    #[must_use]
    pub fn child(&self) -> Self {
        let mut parents = self.parents.clone();
        parents.push(Arc::clone(&self.flag));
        Self {
            flag: Arc::default(),
            parents,
        }
    }

    /// Raises the flag.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Returns whether the flag is raised.
    pub fn is_canceled(&self) -> bool {
        let is_up = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        is_up(&self.flag) || self.parents.iter().any(is_up)
    }

    /// Returns an error if the flag is raised.
    ///
    /// # Errors
    ///
    /// - `Canceled`: the flag is raised.
    pub fn check(&self) -> Result<()> {
        if self.is_canceled() {
            // Nothing else makes this error: it always means that a person wants to stop.
            return Err(Error::new(ErrorKind::Canceled));
        }
        Ok(())
    }

    /// Returns the underlying flag, for a signal handler to raise.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_with_its_parent_but_not_the_other_way_round() {
        let parent = Cancel::new();
        let (first, second) = (parent.child(), parent.child());
        first.cancel();
        assert!(first.is_canceled() && !parent.is_canceled() && !second.is_canceled());
        parent.cancel();
        assert!(second.child().check().is_err());
    }
}
