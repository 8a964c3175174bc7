//! What a copy did.

use std::time::Duration;

use crate::codecs::format::manifest::{Digest128, Verdict};
use crate::jobs::transfer::original::{LeftOut, Original};
use crate::words::finding::Finding;

/// What a copy did.
#[derive(Clone, Debug)]
pub struct TransferReport {
    /// Where the snapshot is, for messages.
    pub from: String,
    /// Where the copy is, or was to be.
    pub place: String,
    /// Whether the same snapshot was at the destination before.
    pub was_there: bool,
    /// What is wrong: of the original, and then nothing was published; or of a copy that
    /// was there before. Not all that is wrong is looked for.
    pub damage: Vec<Finding>,
    /// Other snapshots of this name: the store keeps no writers apart, and another run wrote
    /// at the same time. Or why it is not known whether there are any.
    pub rivals: Vec<String>,
    /// Objects that were copied, the manifest included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that an earlier run had copied, and that were read back.
    pub objects_kept: u64,
    /// Their bytes.
    pub bytes_kept: u64,
    /// Objects that had come out wrong and were copied once more.
    pub objects_again: u64,
    /// Records of verifications that are there now.
    pub verifications: u64,
    /// What was not copied.
    pub left_out: Vec<LeftOut>,
    /// What the snapshot says of its dump.
    pub verdict: Verdict,
    /// Records of the snapshot.
    pub records: u64,
    /// Its digest.
    pub content_digest: Digest128,
    /// How long it took.
    pub elapsed: Duration,
}

impl TransferReport {
    pub(super) fn begin(original: &Original, place: String) -> Self {
        let manifest = original.snapshot.manifest();
        Self {
            from: original.describe(),
            place,
            was_there: false,
            damage: Vec::new(),
            rivals: Vec::new(),
            objects: 0,
            bytes: 0,
            objects_kept: 0,
            bytes_kept: 0,
            objects_again: 0,
            verifications: 0,
            left_out: original.left_out.clone(),
            verdict: manifest.verdict,
            records: manifest.totals.records,
            content_digest: manifest.content_digest,
            elapsed: Duration::ZERO,
        }
    }

    /// Returns whether the copy is there, as far as was looked.
    pub fn is_published(&self) -> bool {
        self.was_there || self.damage.is_empty()
    }
}
