//! Bytes of a range of an object, without a copy where that can be.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes that were read.
pub enum RangeBytes<'a> {
    /// In a map of the object.
    Mapped(&'a [u8]),
    /// Read for the caller alone.
    Own(Vec<u8>),
    /// Part of a longer range that was read, and is kept while this is.
    Shared(SharedBytes),
}

/// A part of bytes that several readers hold.
pub struct SharedBytes {
    all: Arc<dyn AsRef<[u8]> + Send + Sync>,
    part: Range<usize>,
}

impl SharedBytes {
    /// Takes a part of the bytes; the rest of them, if it ends beyond.
    #[cfg(feature = "cloud")]
    pub(super) fn new(all: Arc<dyn AsRef<[u8]> + Send + Sync>, part: Range<usize>) -> Self {
        Self { all, part }
    }
}

impl RangeBytes<'_> {
    /// Returns the bytes; copies them unless the caller has them alone.
    pub fn into_own(self) -> Vec<u8> {
        match self {
            Self::Own(bytes) => bytes,
            Self::Mapped(_) | Self::Shared(_) => self.to_vec(),
        }
    }
}

impl Default for RangeBytes<'_> {
    fn default() -> Self {
        Self::Mapped(&[])
    }
}

impl Deref for RangeBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(bytes) => bytes,
            Self::Own(bytes) => bytes,
            Self::Shared(SharedBytes { all, part }) => {
                (**all).as_ref().get(part.clone()).unwrap_or_default()
            }
        }
    }
}

impl fmt::Debug for RangeBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RangeBytes")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBytes")
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}
