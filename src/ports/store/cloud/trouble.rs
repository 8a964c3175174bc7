//! Tells what goes wrong while calls are tried again, so that a job that waits for a store
//! says why.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What has gone wrong for shorter is not worth a line.
const TOLD_AFTER: Duration = Duration::from_secs(3);
/// Between two lines about one object.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// Objects in trouble at a time; of more, no line is written.
const OBJECTS_MAX: usize = 256;

/// The objects that no call has succeeded for since one failed.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    objects: Mutex<HashMap<String, Trouble>>,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    since: Instant,
    told: Option<Instant>,
    /// Tries that got no answer, one after the other.
    silences: u32,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Trouble>> {
        // Every change is a single one.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many tries in a row got no answer for an object.
    pub(super) fn silences(&self, object: &str) -> u32 {
        self.lock()
            .get(object)
            .map_or(0, |trouble| trouble.silences)
    }

    /// Notes that a try failed, and says so if it is time to.
    pub(super) fn failed(&self, object: &str, cause: &str, is_silence: bool) {
        if self.note(object, is_silence, Instant::now()) {
            tracing::warn!("still trying: {object}: {cause}");
        }
    }

    /// Notes a failure, and returns whether it is to be told.
    fn note(&self, object: &str, is_silence: bool, now: Instant) -> bool {
        let mut objects = self.lock();
        if !objects.contains_key(object) && objects.len() >= OBJECTS_MAX {
            return false;
        }
        let trouble = objects.entry(object.to_owned()).or_insert(Trouble {
            since: now,
            told: None,
            silences: 0,
        });
        if is_silence {
            trouble.silences = trouble.silences.saturating_add(1);
        }
        let is_due = match trouble.told {
            None => is_silence || now.duration_since(trouble.since) >= TOLD_AFTER,
            Some(told) => now.duration_since(told) >= TOLD_EVERY,
        };
        if is_due {
            trouble.told = Some(now);
        }
        is_due
    }

    /// Notes that an object is in no trouble any more, and says so if the trouble was told.
    pub(super) fn over(&self, object: &str) {
        let ended = self.lock().remove(object);
        if ended.is_some_and(|trouble| trouble.told.is_some()) {
            tracing::info!("{object}: reached again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_told_once_in_a_while() {
        let troubles = Troubles::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!troubles.note("a", false, at(0)));
        assert!(!troubles.note("a", false, at(2)));
        assert!(troubles.note("a", false, at(4)));
        assert!(!troubles.note("a", false, at(20)));
        assert!(troubles.note("a", false, at(34)));
        // A silence has lasted already.
        assert!(troubles.note("b", true, at(0)));
        assert_eq!(troubles.silences("b"), 1);
        troubles.over("b");
        assert_eq!(troubles.silences("b"), 0);
        assert!(!troubles.note("b", false, at(50)));
    }

    #[test]
    fn the_list_has_a_bound() {
        let troubles = Troubles::default();
        for number in 0..2 * OBJECTS_MAX {
            troubles.note(&number.to_string(), true, Instant::now());
        }
        assert_eq!(troubles.lock().len(), OBJECTS_MAX);
    }
}
