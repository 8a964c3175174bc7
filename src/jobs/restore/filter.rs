//! Drops records that are not selected, by their keys and metadata.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::codecs::format::column::{Columns, KeyRecord};
use crate::codecs::select::{Candidate, Judgement, Selection};
use crate::words::units::{UnixSecs, to_u64};

/// The selection, and how many records it dropped; shared by many threads.
#[derive(Debug)]
pub(super) struct RecordFilter<'a> {
    selection: &'a Selection,
    /// The moment that the selection's times are relative to.
    at: UnixSecs,
    filtered: AtomicU64,
    unknown_kept: AtomicU64,
}

/// The judged records of a block.
#[derive(Debug)]
pub(super) struct Kept {
    /// For each record, in order, whether it is kept.
    pub(super) is_kept: Vec<bool>,
    /// Number of dropped records.
    pub(super) dropped: u64,
    /// Length of their keys and values.
    pub(super) dropped_bytes: u64,
}

impl Kept {
    /// Reports whether no value of the block is needed.
    pub(super) fn is_none(&self) -> bool {
        self.dropped == to_u64(self.is_kept.len())
    }
}

impl<'a> RecordFilter<'a> {
    pub(super) fn new(selection: &'a Selection, at: UnixSecs) -> Self {
        Self {
            selection,
            at,
            filtered: AtomicU64::new(0),
            unknown_kept: AtomicU64::new(0),
        }
    }

    /// Reports whether every record is kept, so that none need be judged.
    pub(super) fn is_idle(&self) -> bool {
        self.selection.is_everything()
    }

    /// Judges and counts a record.
    pub(super) fn keeps(&self, record: &KeyRecord<'_>) -> bool {
        let value_len = Some(record.value_len.into());
        let candidate = Candidate::new(record.key, value_len, &record.meta, self.at);
        let judgement = self.selection.judge(&candidate);
        match judgement {
            Judgement::Keep => {}
            Judgement::Drop => {
                self.filtered.fetch_add(1, Ordering::Relaxed);
            }
            Judgement::Unknown => {
                self.unknown_kept.fetch_add(1, Ordering::Relaxed);
            }
        }
        judgement.keeps()
    }

    /// Judges the records of a block and counts those that are dropped. Those that are
    /// kept are counted when they are taken.
    pub(super) fn judge_block(&self, columns: &Columns) -> Kept {
        let mut kept = Kept {
            is_kept: Vec::with_capacity(columns.len()),
            dropped: 0,
            dropped_bytes: 0,
        };
        for record in columns.iter() {
            let is_kept = self.keeps(&record);
            kept.is_kept.push(is_kept);
            if !is_kept {
                let len = to_u64(record.key.len()).saturating_add(record.value_len.into());
                kept.dropped = kept.dropped.saturating_add(1);
                kept.dropped_bytes = kept.dropped_bytes.saturating_add(len);
            }
        }
        kept
    }

    /// Returns how many records were dropped so far.
    pub(super) fn filtered(&self) -> u64 {
        self.filtered.load(Ordering::Relaxed)
    }

    /// Returns how many undecided records were kept so far.
    pub(super) fn unknown_kept(&self) -> u64 {
        self.unknown_kept.load(Ordering::Relaxed)
    }
}
