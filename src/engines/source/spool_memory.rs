//! The memory limit that the spools of one job share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A limit in bytes for several spools; clones share it. The bytes are counted, not
/// reserved, and no thread waits in it for another.
#[derive(Clone, Debug)]
pub struct SpoolMemory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    len_max: usize,
    used: AtomicUsize,
}

impl SpoolMemory {
    /// Creates a limit of this many bytes.
    pub fn new(len_max: usize) -> Self {
        Self(Arc::new(Shared {
            len_max,
            used: AtomicUsize::new(0),
        }))
    }

    /// Takes this many bytes if they are available, and returns whether it did.
    ///
    /// If nothing is taken yet, any amount fits, so that a job makes progress with any
    /// limit.
    #[must_use]
    pub(super) fn take(&self, len: usize) -> bool {
        let taken = self
            .0
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                let after = used.saturating_add(len);
                (used == 0 || after <= self.0.len_max).then_some(after)
            });
        taken.is_ok()
    }

    /// Gives bytes back.
    pub(super) fn give(&self, len: usize) {
        let given = self
            .0
            .used
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                Some(used.saturating_sub(len))
            });
        debug_assert!(given.is_ok(), "the closure always returns a number");
    }

    /// Reports whether more than half is taken. The other half is for what walks list
    /// while a disk accepts no writes.
    pub(super) fn is_above_share(&self) -> bool {
        self.0.used.load(Ordering::Acquire) > self.0.len_max / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_bound_and_the_first_piece_always_fits() {
        let memory = SpoolMemory::new(100);
        let other = memory.clone();
        assert!(memory.take(40) && other.take(10));
        assert!(!memory.is_above_share());
        assert!(other.take(50) && memory.is_above_share());
        assert!(!memory.take(1) && !other.take(1));
        memory.give(60);
        assert!(!other.is_above_share() && !other.take(usize::MAX));
        other.give(usize::MAX);
        assert!(memory.take(1000) && !memory.take(1));
    }
}
