//! Counts what became of the records that loaders took.

use crate::engines::sink::presence::KeySample;
use crate::words::counters::Counters;
use crate::words::item::escape_key;
use crate::words::reasons::Reasons;
use crate::words::units::to_u64;

/// What became of the records that a loader took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadTally {
    /// Records taken, by what became of them.
    pub counters: Counters,
    /// Length of the keys and values that the node reported as stored.
    pub stored_bytes: u64,
    /// Stored records that expire in 2038 or 2106, earlier than they should.
    pub clamped: u64,
    /// Stored records with a CAS assigned by the node instead of the snapshot's.
    pub without_cas: u64,
    /// Why records were refused or failed, with a count for each reason.
    pub reasons: Reasons,
    /// Keys of some records that were too large, as [`escape_key`] writes them; at most
    /// [`LoadTally::TOO_LARGE_KEY_COUNT_MAX`].
    pub too_large_keys: Vec<String>,
    /// A sample of the stored keys, to look for at the end.
    pub sample: KeySample,
}

impl LoadTally {
    /// The most keys of too large records that are kept.
    pub const TOO_LARGE_KEY_COUNT_MAX: usize = 5;

    /// Adds another loader's counts.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.stored_bytes = self.stored_bytes.saturating_add(other.stored_bytes);
        self.clamped = self.clamped.saturating_add(other.clamped);
        self.without_cas = self.without_cas.saturating_add(other.without_cas);
        self.reasons.merge(&other.reasons);
        for key in &other.too_large_keys {
            self.note_too_large(|| key.clone());
        }
        self.sample.merge(&other.sample);
    }

    /// Counts records that are not sent.
    pub fn leave_out(&mut self, count: u64) {
        self.counters.taken = self.counters.taken.saturating_add(count);
        self.counters.unsent = self.counters.unsent.saturating_add(count);
    }

    /// Moves records that the node reported as stored, but did not keep, to the losses.
    pub fn retract_stored(&mut self, count: u64) {
        let count = count.min(self.counters.stored);
        self.counters.stored = self.counters.stored.saturating_sub(count);
        self.counters.not_kept = self.counters.not_kept.saturating_add(count);
    }

    pub(super) fn count(
        &mut self,
        outcome: &SetOutcome,
        key: &[u8],
        value_len: u64,
        is_clamped: bool,
    ) {
        match outcome {
            SetOutcome::Stored => {
                self.counters.stored = self.counters.stored.saturating_add(1);
                let len = to_u64(key.len()).saturating_add(value_len);
                self.stored_bytes = self.stored_bytes.saturating_add(len);
                if is_clamped {
                    self.clamped = self.clamped.saturating_add(1);
                }
            }
            SetOutcome::Existing => {
                self.counters.existing = self.counters.existing.saturating_add(1)
            }
            SetOutcome::Expired => self.counters.expired = self.counters.expired.saturating_add(1),
            SetOutcome::TooLarge => {
                self.counters.too_large = self.counters.too_large.saturating_add(1);
                self.note_too_large(|| escape_key(key));
            }
            SetOutcome::Refused(reason) => {
                self.counters.refused = self.counters.refused.saturating_add(1);
                self.reasons.add(reason);
            }
            SetOutcome::Failed(words) => {
                tracing::debug!(key = escape_key(key), words, "set failed");
                self.counters.failed = self.counters.failed.saturating_add(1);
                self.reasons.add(words);
            }
        }
    }

    fn note_too_large(&mut self, key: impl FnOnce() -> String) {
        if self.too_large_keys.len() < Self::TOO_LARGE_KEY_COUNT_MAX {
            self.too_large_keys.push(key());
        }
    }
}

/// The outcome of sending one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SetOutcome {
    Stored,
    Existing,
    Expired,
    TooLarge,
    Refused(&'static str),
    Failed(String),
}

impl SetOutcome {
    /// Maps an error that a server returns for a set of the text protocol.
    pub(super) fn of_refusal(words: &[u8]) -> Self {
        if words.starts_with(b"SERVER_ERROR object too large") {
            Self::TooLarge
        } else {
            Self::Failed(String::from_utf8_lossy(words).into_owned())
        }
    }
}
