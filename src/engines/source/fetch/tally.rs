//! Counts what became of the lines that a fetcher took.

use crate::codecs::protocol::key::KeyForm;
use crate::words::counters::Counters;
use crate::words::item::Cas;
use crate::words::reasons::Reasons;

/// What became of the lines that a fetcher took. Only the writer knows `stored` and
/// `duplicate`, so `delivered` stands for both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchTally {
    /// All counters except `stored` and the writer's part of `duplicate`.
    pub counters: Counters,
    /// Items passed on.
    pub delivered: u64,
    /// Total length of their keys and values.
    pub delivered_bytes: u64,
    /// Stale items whose win token was given back.
    pub win_tokens_returned: u64,
    /// Stale items whose win token could not be given back. No client is asked to recache
    /// them before they expire.
    pub win_tokens_kept: u64,
    /// Items passed on although the server's answer does not decide whether they are
    /// selected.
    pub unknown_kept: u64,
    /// How often a broken connection was replaced by a new one.
    pub reconnects: u64,
    /// Why items were refused or failed, with a count for each reason.
    pub reasons: Reasons,
    /// Some of the first items passed on. If any is still there later, there has been no
    /// flush since.
    pub witnesses: Vec<Witness>,
}

/// An item as it was read: its key, which the text protocol can carry, and its CAS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The key.
    pub key: Vec<u8>,
    /// The CAS, if the server has one.
    pub cas: Option<Cas>,
}

impl FetchTally {
    /// The most witnesses that each fetcher remembers.
    const WITNESS_COUNT_MAX: usize = 16;

    /// Remembers a delivered item if it is one of the first.
    pub(super) fn witness(&mut self, key: &[u8], cas: Option<Cas>) {
        if self.witnesses.len() < Self::WITNESS_COUNT_MAX && KeyForm::of(key) == Some(KeyForm::Text)
        {
            let key = key.to_vec();
            self.witnesses.push(Witness { key, cas });
        }
    }

    pub(super) fn filter(&mut self) {
        self.counters.filtered = self.counters.filtered.saturating_add(1);
    }

    pub(super) fn refuse(&mut self, reason: &str) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        self.reasons.add(reason);
    }

    /// Adds another fetcher's counts.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.delivered = self.delivered.saturating_add(other.delivered);
        self.delivered_bytes = self.delivered_bytes.saturating_add(other.delivered_bytes);
        self.win_tokens_returned = self
            .win_tokens_returned
            .saturating_add(other.win_tokens_returned);
        self.win_tokens_kept = self.win_tokens_kept.saturating_add(other.win_tokens_kept);
        self.unknown_kept = self.unknown_kept.saturating_add(other.unknown_kept);
        self.reconnects = self.reconnects.saturating_add(other.reconnects);
        self.reasons.merge(&other.reasons);
        self.witnesses.extend_from_slice(&other.witnesses);
    }
}
