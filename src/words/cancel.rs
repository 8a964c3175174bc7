//! The wish to stop, as a value that every long loop looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::words::error::{Error, ErrorKind, Result};

/// A flag that one side raises and the other side looks at.
///
/// Clones share the flag. It never goes down again. A child is up when its
/// parent is, but not the other way round: a job can stop its own threads
/// without stopping its caller.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    parents: Vec<Arc<AtomicBool>>,
}

impl Cancel {
    /// Returns a flag that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a flag of its own that is also up when this one is.
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

    /// Says whether the flag is up.
    pub fn is_canceled(&self) -> bool {
        let is_up = |flag: &Arc<AtomicBool>| flag.load(Ordering::Relaxed);
        is_up(&self.flag) || self.parents.iter().any(is_up)
    }

    /// Returns an error if the flag is up.
    ///
    /// # Errors
    ///
    /// - `Canceled` when the flag is up.
    pub fn check(&self) -> Result<()> {
        if self.is_canceled() {
            // Nothing else makes this error: it stands for a person's wish alone.
            return Err(Error::new(ErrorKind::Canceled));
        }
        Ok(())
    }

    /// Returns the bare flag, for a signal handler to raise.
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
