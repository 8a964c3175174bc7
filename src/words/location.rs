//! Where something happened: in a stored object or at a node.

use std::fmt;

/// Where something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// A place in a stored object.
    Object {
        /// The object's name in its store, or its path.
        object: String,
        /// Zero-based block number.
        block: Option<u64>,
        /// Zero-based record number in the block.
        record: Option<u64>,
        /// Offset from the start of the object in bytes.
        offset: Option<u64>,
    },
    /// A node, or a key at a node.
    Node {
        /// The node as the user wrote it.
        node: String,
        /// The key, escaped.
        key: Option<String>,
    },
}

impl Location {
    /// Returns the location of an object as a whole.
    pub fn object(object: impl Into<String>) -> Self {
        Self::Object {
            object: object.into(),
            block: None,
            record: None,
            offset: None,
        }
    }

    /// Returns the location of a place in an object.
    pub fn offset(object: impl Into<String>, offset: u64) -> Self {
        Self::Object {
            object: object.into(),
            block: None,
            record: None,
            offset: Some(offset),
        }
    }

    /// Returns the location of a node.
    pub fn node(node: impl Into<String>) -> Self {
        Self::Node {
            node: node.into(),
            key: None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object {
                object,
                block,
                record,
                offset,
            } => {
                f.write_str(object)?;
                let mut separator = ": ";
                if let Some(block) = block {
                    write!(f, "{separator}block {block}")?;
                    separator = " ";
                }
                if let Some(record) = record {
                    write!(f, "{separator}record {record}")?;
                    separator = " ";
                }
                if let Some(offset) = offset {
                    write!(f, "{separator}at offset {offset}")?;
                }
                Ok(())
            }
            Self::Node { node, key } => {
                f.write_str(node)?;
                if let Some(key) = key {
                    write!(f, ": key \"{key}\"")?;
                }
                Ok(())
            }
        }
    }
}
