//! Counts what became of the records that loaders took.

use crate::engines::sink::presence::KeySample;
use crate::words::item::escape_key;
use crate::words::reasons::Reasons;
use crate::words::units::to_u64;

/// What became of the records that a loader took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadTally {
    /// Records taken: the sum of all outcomes and losses.
    pub taken: u64,
    /// Outcome: stored by the node.
    pub stored: u64,
    /// Length of the keys and values that the node reported as stored.
    pub stored_bytes: u64,
    /// Outcome: in mode *add*, the node already has the key.
    pub existing: u64,
    /// Outcome: expired since the dump.
    pub expired: u64,
    /// Loss: larger than the node's largest item.
    pub too_large: u64,
    /// Loss: no set can carry it, for example because an odd key is too long.
    pub refused: u64,
    /// Loss: the node answered with an error.
    pub failed: u64,
    /// Loss: not sent, because the node went away or the restore was stopped.
    pub unsent: u64,
    /// Neither outcome nor loss: sent to a node that went away before it answered. The
    /// node may have them.
    pub unsure: u64,
    /// Loss: the node reported them as stored, but by its own count of stored items it
    /// did not store them.
    pub not_kept: u64,
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

    /// Returns how many records were lost.
    pub fn losses(&self) -> u64 {
        self.too_large
            .saturating_add(self.refused)
            .saturating_add(self.failed)
            .saturating_add(self.unsent)
            .saturating_add(self.not_kept)
    }

    /// Returns how many records have an outcome or are lost; equals `taken` if every
    /// record is accounted for.
    pub fn accounted(&self) -> u64 {
        self.stored
            .saturating_add(self.existing)
            .saturating_add(self.expired)
            .saturating_add(self.unsure)
            .saturating_add(self.losses())
    }

    /// Adds another loader's counts.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.taken, other.taken),
            (&mut self.stored, other.stored),
            (&mut self.stored_bytes, other.stored_bytes),
            (&mut self.existing, other.existing),
            (&mut self.expired, other.expired),
            (&mut self.too_large, other.too_large),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.unsent, other.unsent),
            (&mut self.unsure, other.unsure),
            (&mut self.not_kept, other.not_kept),
            (&mut self.clamped, other.clamped),
            (&mut self.without_cas, other.without_cas),
        ];
        for (sum, count) in pairs {
            *sum = sum.saturating_add(count);
        }
        self.reasons.merge(&other.reasons);
        for key in &other.too_large_keys {
            self.note_too_large(|| key.clone());
        }
        self.sample.merge(&other.sample);
    }

    /// Counts records that are not sent.
    pub fn leave_out(&mut self, count: u64) {
        self.taken = self.taken.saturating_add(count);
        self.unsent = self.unsent.saturating_add(count);
    }

    /// Moves records that the node reported as stored, but did not keep, to the losses.
    pub fn retract_stored(&mut self, count: u64) {
        let count = count.min(self.stored);
        self.stored = self.stored.saturating_sub(count);
        self.not_kept = self.not_kept.saturating_add(count);
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
                self.stored = self.stored.saturating_add(1);
                let len = to_u64(key.len()).saturating_add(value_len);
                self.stored_bytes = self.stored_bytes.saturating_add(len);
                if is_clamped {
                    self.clamped = self.clamped.saturating_add(1);
                }
            }
            SetOutcome::Existing => self.existing = self.existing.saturating_add(1),
            SetOutcome::Expired => self.expired = self.expired.saturating_add(1),
            SetOutcome::TooLarge => {
                self.too_large = self.too_large.saturating_add(1);
                self.note_too_large(|| escape_key(key));
            }
            SetOutcome::Refused(reason) => {
                self.refused = self.refused.saturating_add(1);
                self.reasons.add(reason);
            }
            SetOutcome::Failed(words) => {
                tracing::debug!(key = escape_key(key), words, "set failed");
                self.failed = self.failed.saturating_add(1);
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
