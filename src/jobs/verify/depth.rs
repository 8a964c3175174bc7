//! How closely to look.

/// How much of a snapshot is read; each level includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Manifest, sizes, headers, tails and tables of contents: some kilobytes a
    /// segment.
    Quick,
    /// Every byte, against the checksums of what is stored; nothing is
    /// decompressed.
    Data,
    /// Every record: decompressed, hashed, counted, looked up in the key index
    /// and checked against its shard.
    Deep,
}

impl Depth {
    /// Returns the word for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Data => "data",
            Self::Deep => "deep",
        }
    }
}
