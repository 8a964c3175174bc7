//! What a look-up found.

use std::borrow::Cow;

use crate::engines::snapshot::SegmentValue;
use crate::words::error::Result;
use crate::words::finding::Finding;
use crate::words::item::ItemMeta;
use crate::words::location::Location;
use crate::words::pieces::LargeValue as _;

/// The key as one node had it.
#[derive(Debug)]
pub struct Copy {
    /// Address of the node.
    pub node: String,
    /// Segment, block and record.
    pub location: Location,
    /// Everything but key and value.
    pub meta: ItemMeta,
    /// Bytes of the value.
    pub value_len: u32,
    /// XXH3-64 of the value.
    pub value_hash: u64,
    /// The value, if it was asked for and could be read.
    pub value: Option<CopyValue>,
}

/// The value of a copy, which is sound.
#[derive(Debug)]
pub enum CopyValue {
    /// Its bytes.
    Whole(Vec<u8>),
    /// Too large to be held: it is read, and found sound, again when it is
    /// needed.
    Large(SegmentValue),
}

impl CopyValue {
    /// Returns all bytes.
    ///
    /// # Errors
    ///
    /// - Whatever keeps a large value from being read now.
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
    /// One for each node that had the key, in the order of the manifest.
    pub copies: Vec<Copy>,
    /// What is damaged or cannot be read of that which had to be. With findings and no
    /// copies nobody can tell whether the key is there.
    pub findings: Vec<Finding>,
    /// Segments that were asked.
    pub segment_count: u64,
}
