//! Some items on their way from one thread to another.

use crate::words::item::{ItemMeta, Record};
use crate::words::pieces::LargeValue;

/// An item whose value stays where it is until it is sent.
#[derive(Debug)]
pub struct LargeItem {
    /// 1 to 250 bytes, any bytes.
    pub key: Vec<u8>,
    /// Everything but key and value.
    pub meta: ItemMeta,
    /// The value.
    pub value: Box<dyn LargeValue>,
}

/// Items with their bytes end to end, so that a batch is two allocations.
#[derive(Debug, Default)]
pub struct ItemBatch {
    bytes: Vec<u8>,
    items: Vec<BatchItem>,
}

/// One item of a batch, its bytes apart.
#[derive(Clone, Copy, Debug)]
struct BatchItem {
    start: usize,
    key_len: usize,
    value_len: usize,
    meta: ItemMeta,
}

impl ItemBatch {
    /// Items of this length make room for themselves and for nothing more.
    const LARGE_LEN: usize = 64 << 10;

    /// Adds an item.
    pub fn push(&mut self, record: &Record<'_>) {
        let len = record.key.len().saturating_add(record.value.len());
        if len > Self::LARGE_LEN {
            // Doubling would take as much again for nothing: such a batch goes soon.
            self.bytes.reserve_exact(len);
        }
        self.items.push(BatchItem {
            start: self.bytes.len(),
            key_len: record.key.len(),
            value_len: record.value.len(),
            meta: record.meta,
        });
        self.bytes.extend_from_slice(record.key);
        self.bytes.extend_from_slice(record.value);
    }

    /// Empties it, and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }

    /// Bytes that it can hold without more memory.
    pub(super) fn capacity(&self) -> usize {
        let items = self.items.capacity().saturating_mul(size_of::<BatchItem>());
        self.bytes.capacity().saturating_add(items)
    }

    /// Bytes that it takes in memory.
    pub(super) fn held_len(&self) -> usize {
        let items = self.items.len().saturating_mul(size_of::<BatchItem>());
        self.bytes.len().saturating_add(items)
    }

    /// Bytes of all keys and values.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns an item by its number.
    pub fn get(&self, index: usize) -> Option<Record<'_>> {
        let item = self.items.get(index)?;
        let rest = self.bytes.get(item.start..)?;
        let (key, rest) = rest.split_at_checked(item.key_len)?;
        Some(Record {
            key,
            value: rest.get(..item.value_len)?,
            meta: item.meta,
        })
    }

    /// Visits the items.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.items.len()).filter_map(|index| self.get(index))
    }
}
