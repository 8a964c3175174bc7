//! Records counted, with their bytes.

use crate::format::column::KeyRecord;
use crate::units::to_u64;

/// How many records there are of a kind, and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// Bytes of their values, not compressed.
    pub value_bytes: u64,
}

impl Tally {
    /// Counts one record.
    pub fn of(record: &KeyRecord<'_>) -> Self {
        Self {
            records: 1,
            key_bytes: to_u64(record.key.len()),
            value_bytes: record.value_len.into(),
        }
    }

    /// Returns the bytes of keys and values. A server takes more: some 50 bytes
    /// of header an item, and what its slab class rounds up.
    pub fn bytes(&self) -> u64 {
        self.key_bytes.saturating_add(self.value_bytes)
    }

    /// Adds the counts of other records.
    pub fn merge(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        self.key_bytes = self.key_bytes.saturating_add(other.key_bytes);
        self.value_bytes = self.value_bytes.saturating_add(other.value_bytes);
    }
}
