//! Counts records and their bytes.

use std::sync::LazyLock;

use crate::codecs::warm_file::{ItemLengths, SlabClasses};
use crate::words::item::{ItemMeta, SlabClass};
use crate::words::units::to_u64;

/// What is counted of one record.
#[derive(Clone, Copy, Debug)]
pub struct RecordFacts<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Length of the value in bytes.
    pub value_len: u32,
    /// The other metadata.
    pub meta: &'a ItemMeta,
}

/// How many records of a kind there are, and their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Length of their keys.
    pub key_bytes: u64,
    /// Length of their values, not compressed.
    pub value_bytes: u64,
    /// Size of the items in a server: a header of 48 bytes, CAS of 8 bytes, key, zero
    /// byte, client flags, value, line end.
    pub item_bytes: u64,
    /// The same, but for [`Tally::chunk_records`] it is the size of their chunks, which
    /// includes what slab classes round up.
    pub chunk_bytes: u64,
    /// Records whose slab class is known.
    pub class_records: u64,
    /// Records among them whose class is the one that they have in a server with default
    /// slab sizes.
    pub chunk_records: u64,
}

impl Tally {
    /// Counts one record.
    pub fn of(record: &RecordFacts<'_>) -> Self {
        static CLASSES: LazyLock<SlabClasses> = LazyLock::new(SlabClasses::of_defaults);
        let lengths = ItemLengths {
            key: to_u64(record.key.len()),
            value: record.value_len.into(),
            client_flags: record.meta.client_flags,
        };
        let item_bytes = lengths.item_size();
        let class = record.meta.slab_class;
        let chunks = class.and_then(|SlabClass(class)| lengths.chunks_in(class, &CLASSES));
        Self {
            records: 1,
            key_bytes: lengths.key,
            value_bytes: lengths.value,
            item_bytes,
            chunk_bytes: chunks.unwrap_or(item_bytes),
            class_records: u64::from(class.is_some()),
            chunk_records: u64::from(chunks.is_some()),
        }
    }

    /// Reports whether the slab classes of the records are those of a server with default
    /// slab sizes. A snapshot does not record how large the chunks of a class were, but
    /// other sizes lead to other classes. One in a hundred may differ, since an item can
    /// be older than its place, or partly on a disk.
    pub fn has_default_classes(&self) -> bool {
        let others = self.class_records.saturating_sub(self.chunk_records);
        self.class_records > 0 && others <= self.class_records.div_euclid(100)
    }

    /// Returns the bytes that the records take in a server's memory. If the records of
    /// `whole` have default classes, this includes what slab classes round up; otherwise
    /// it is the size of the items alone.
    pub fn memory_bytes(&self, whole: &Self) -> u64 {
        if whole.has_default_classes() {
            self.chunk_bytes
        } else {
            self.item_bytes
        }
    }

    /// Returns the total length of keys and values.
    pub fn bytes(&self) -> u64 {
        self.key_bytes.saturating_add(self.value_bytes)
    }

    /// Adds the counts of other records.
    pub fn merge(&mut self, other: &Self) {
        self.records = self.records.saturating_add(other.records);
        self.key_bytes = self.key_bytes.saturating_add(other.key_bytes);
        self.value_bytes = self.value_bytes.saturating_add(other.value_bytes);
        self.item_bytes = self.item_bytes.saturating_add(other.item_bytes);
        self.chunk_bytes = self.chunk_bytes.saturating_add(other.chunk_bytes);
        self.class_records = self.class_records.saturating_add(other.class_records);
        self.chunk_records = self.chunk_records.saturating_add(other.chunk_records);
    }

    /// Adds the counts of records of the same segment, as [`Tally::merge`] does in four times
    /// as many instructions. No sum can overflow: a segment has at most 2^32 records, of
    /// less than 2^31 bytes each.
    pub(super) fn count(&mut self, records: &Self) {
        self.records = self.records.wrapping_add(records.records);
        self.key_bytes = self.key_bytes.wrapping_add(records.key_bytes);
        self.value_bytes = self.value_bytes.wrapping_add(records.value_bytes);
        self.item_bytes = self.item_bytes.wrapping_add(records.item_bytes);
        self.chunk_bytes = self.chunk_bytes.wrapping_add(records.chunk_bytes);
        self.class_records = self.class_records.wrapping_add(records.class_records);
        self.chunk_records = self.chunk_records.wrapping_add(records.chunk_records);
    }

    /// Returns `numerator` of every `denominator` records; all if that is 0. Fractions are
    /// dropped.
    #[must_use]
    pub fn part(&self, numerator: u64, denominator: u64) -> Self {
        let part = |number: u64| {
            let whole = u128::from(number).saturating_mul(numerator.into());
            let part = whole.checked_div(denominator.into());
            part.map_or(number, |part| u64::try_from(part).unwrap_or(u64::MAX))
        };
        Self {
            records: part(self.records),
            key_bytes: part(self.key_bytes),
            value_bytes: part(self.value_bytes),
            item_bytes: part(self.item_bytes),
            chunk_bytes: part(self.chunk_bytes),
            class_records: part(self.class_records),
            chunk_records: part(self.chunk_records),
        }
    }

    /// Returns the counts without those of some of the records; `None` if these are not
    /// among them.
    pub fn checked_without(&self, some: &Self) -> Option<Self> {
        Some(Self {
            records: self.records.checked_sub(some.records)?,
            key_bytes: self.key_bytes.checked_sub(some.key_bytes)?,
            value_bytes: self.value_bytes.checked_sub(some.value_bytes)?,
            item_bytes: self.item_bytes.checked_sub(some.item_bytes)?,
            chunk_bytes: self.chunk_bytes.checked_sub(some.chunk_bytes)?,
            class_records: self.class_records.checked_sub(some.class_records)?,
            chunk_records: self.chunk_records.checked_sub(some.chunk_records)?,
        })
    }

    /// Returns the counts without those of some of the records.
    pub fn without(&self, some: &Self) -> Self {
        Self {
            records: self.records.saturating_sub(some.records),
            key_bytes: self.key_bytes.saturating_sub(some.key_bytes),
            value_bytes: self.value_bytes.saturating_sub(some.value_bytes),
            item_bytes: self.item_bytes.saturating_sub(some.item_bytes),
            chunk_bytes: self.chunk_bytes.saturating_sub(some.chunk_bytes),
            class_records: self.class_records.saturating_sub(some.class_records),
            chunk_records: self.chunk_records.saturating_sub(some.chunk_records),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(class: Option<u8>) -> Tally {
        let meta = ItemMeta {
            slab_class: class.map(SlabClass),
            ..ItemMeta::default()
        };
        Tally::of(&RecordFacts {
            key: b"count:1",
            value_len: 1,
            meta: &meta,
        })
    }

    #[test]
    fn memory_is_by_chunks_where_the_classes_are_those_of_default_sizes() {
        const ITEM_SIZE: u64 = 48 + 8 + 7 + 1 + 1 + 2;
        for (class, memory) in [(Some(1), 96), (Some(2), ITEM_SIZE), (None, ITEM_SIZE)] {
            let one = tally(class);
            assert_eq!(one.memory_bytes(&one), memory, "{class:?}");
        }
        // One in a hundred has another class, and some have an unknown one.
        let mut whole = Tally::default();
        for number in 0..100 {
            whole.merge(&tally(Some(if number == 0 { 2 } else { 1 })));
            whole.merge(&tally(None));
        }
        assert_eq!(whole.memory_bytes(&whole), 99 * 96 + 101 * ITEM_SIZE);
        whole.merge(&tally(Some(2)));
        assert_eq!(whole.memory_bytes(&whole), 201 * ITEM_SIZE);
    }
}
