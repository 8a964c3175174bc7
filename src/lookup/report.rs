//! What a look-up found.

use crate::defect::Finding;
use crate::error::Location;
use crate::item::ItemMeta;

/// The key as one node had it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    pub value: Option<Vec<u8>>,
}

/// A finished look-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupReport {
    /// One for each node that had the key, in the order of the manifest.
    pub copies: Vec<Copy>,
    /// What is damaged or cannot be read of that which had to be. With findings and no
    /// copies nobody can tell whether the key is there.
    pub findings: Vec<Finding>,
    /// Segments that were asked.
    pub segment_count: u64,
}
