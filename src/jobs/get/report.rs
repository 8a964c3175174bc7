//! The result of a look-up.

use std::borrow::Cow;

use crate::engines::snapshot::SegmentValue;
use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::item::ItemMeta;
use crate::words::location::Location;
use crate::words::pieces::LargeValue as _;

/// A key as one node had it.
#[derive(Debug)]
pub struct Copy {
    /// Address of the node.
    pub node: String,
    /// Segment, block and record.
    pub location: Location,
    /// Everything but key and value.
    pub meta: ItemMeta,
    /// Length of the value.
    pub value_len: u32,
    /// XXH3-64 of the value.
    pub value_hash: u64,
    /// The value, if it was requested and could be read.
    pub value: Option<CopyValue>,
}

/// The sound value of a copy.
#[derive(Debug)]
pub enum CopyValue {
    /// Its bytes.
    Whole(Vec<u8>),
    /// A value too large to be held in memory. It is read and checked again when it is
    /// needed.
    Large(SegmentValue),
}

impl CopyValue {
    /// Returns the whole value.
    ///
    /// # Errors
    ///
    /// - The error that keeps a large value from being read now.
    ///
    /// # Memory
    ///
    /// The value.
    pub fn whole(&self) -> Result<Cow<'_, [u8]>> {
        let value = match self {
            Self::Whole(value) => return Ok(Cow::Borrowed(value)),
            Self::Large(value) => value,
        };
        let mut whole = Vec::new();
        let mut pieces = value.open();
        while let Some(piece) = pieces.next_piece()? {
            whole.extend_from_slice(piece);
        }
        Ok(Cow::Owned(whole))
    }
}

/// A finished look-up.
#[derive(Debug, Default)]
pub struct LookupReport {
    /// One copy for each node that had the key, in the order of the manifest. Of a key that
    /// stands twice in its shard it is the one that counts (FORMAT.md, K9), or another if
    /// that one cannot be read.
    pub copies: Vec<Copy>,
    /// What is damaged or unreadable among what had to be read. If there are findings and
    /// no copies, it is unknown whether the key is there.
    pub findings: Vec<Finding>,
    /// Number of segments searched.
    pub segment_count: u64,
    /// The node that was asked alone, since the recorded ring places the key there, and it
    /// was there. Another node may have a copy that has strayed.
    pub alone: Option<String>,
}

impl LookupReport {
    /// Adds what other nodes said.
    pub(super) fn merge(&mut self, other: Self) {
        self.copies.extend(other.copies);
        self.findings.extend(other.findings);
        self.segment_count = self.segment_count.saturating_add(other.segment_count);
    }
}
