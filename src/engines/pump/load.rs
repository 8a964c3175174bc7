//! What a sink gets at once.

use crate::engines::pump::batch::{ItemBatch, LargeItem};
use crate::words::units::to_u64;

/// What a sink gets at once.
#[derive(Debug)]
pub enum Load {
    /// Items with their values.
    Batch(ItemBatch),
    /// One item whose value is read as it is taken.
    Large(LargeItem),
}

impl Load {
    /// Returns how many items it has.
    pub fn items(&self) -> u64 {
        match self {
            Self::Batch(batch) => to_u64(batch.len()),
            Self::Large(_) => 1,
        }
    }

    /// Returns the bytes of their keys and values.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Batch(batch) => to_u64(batch.byte_len()),
            Self::Large(item) => to_u64(item.key.len()).saturating_add(item.value.len()),
        }
    }

    /// Returns the bytes that it takes in memory: the value of a large item may stay where
    /// it is.
    pub(super) fn held_bytes(&self) -> u64 {
        match self {
            Self::Batch(batch) => to_u64(batch.held_len()),
            Self::Large(item) => to_u64(item.key.len()).saturating_add(item.value.held_len()),
        }
    }
}
