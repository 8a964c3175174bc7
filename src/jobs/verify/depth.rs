//! How much a verification reads.

/// How much of a snapshot is read; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Manifest, sizes, headers, tails and tables of contents: some kilobytes for each
    /// segment.
    Quick,
    /// Every byte, checked against the checksums of the stored data; nothing is
    /// decompressed.
    Data,
    /// Every record: it is decompressed, hashed, counted, looked up in the key index, and
    /// checked against its shard.
    Deep,
}

impl Depth {
    /// Returns the name for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Data => "data",
            Self::Deep => "deep",
        }
    }
}
