//! What can be wrong with a snapshot, as values.
//!
//! The same defect is an error where a job cannot go on ([`crate::words::error`]) and
//! a finding where it can (`verify`). FORMAT.md section 11 lists the codes.

use std::fmt;

use crate::words::units::{counted, grouped};

/// The part of a snapshot in which something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Structure {
    /// The first 64 bytes of a segment.
    FileHeader,
    /// The envelope of a frame.
    FrameHeader,
    /// The text that describes the segment.
    Meta,
    /// The fixed start of a block's payload.
    BlockHeader,
    /// Keys and metadata of a block.
    KeySection,
    /// Values of a block.
    ValueSection,
    /// One part of a value that stands outside its block.
    ValuePart,
    /// Part of the table of contents written on the way.
    Checkpoint,
    /// Which block holds a key.
    KeyIndex,
    /// One page of the key index.
    KeyIndexPage,
    /// Where every frame is.
    Toc,
    /// The fixed end of a segment.
    Tail,
    /// The payload of a frame with no finer structure.
    FramePayload,
    /// A segment as a whole.
    Segment,
    /// The manifest.
    Manifest,
    /// The journal of a dump that has not finished.
    Journal,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileHeader => "file header",
            Self::FrameHeader => "frame header",
            Self::Meta => "segment description",
            Self::BlockHeader => "block header",
            Self::KeySection => "key section",
            Self::ValueSection => "value section",
            Self::ValuePart => "value part",
            Self::Checkpoint => "checkpoint",
            Self::KeyIndex => "key index",
            Self::KeyIndexPage => "key index page",
            Self::Toc => "table of contents",
            Self::Tail => "tail",
            Self::FramePayload => "frame payload",
            Self::Segment => "segment",
            Self::Manifest => "manifest",
            Self::Journal => "journal",
        })
    }
}

/// One thing wrong with the bytes of a snapshot.
///
/// `stored` is what the bytes say, `computed` what the reader found instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The bytes end before the structure does.
    #[error("{structure} is cut short: needs {}, has {}", counted(*.needed, "byte"), grouped(*.found))]
    Truncated {
        /// Which part.
        structure: Structure,
        /// Bytes the structure needs.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The structure does not start with its magic number.
    #[error("{structure} does not start with its magic number")]
    BadMagic {
        /// Which part.
        structure: Structure,
    },
    /// The bytes are not those that were written.
    #[error("{structure} checksum mismatch: stored {stored:08x}, computed {computed:08x}")]
    ChecksumMismatch {
        /// Which part.
        structure: Structure,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A bit that must be zero is not.
    #[error("{structure}: reserved {field} is not zero")]
    ReservedNotZero {
        /// Which part.
        structure: Structure,
        /// Which field.
        field: &'static str,
    },
    /// The structure belongs to another segment or snapshot.
    #[error("{structure}: {field} is {stored}, not {computed}: it belongs elsewhere")]
    Foreign {
        /// Which part.
        structure: Structure,
        /// Which id.
        field: &'static str,
        /// The id in the structure.
        stored: String,
        /// The id of the file around it.
        computed: String,
    },
    /// The structure says it stands in another place.
    #[error("{structure}: {field} is {stored}, but it stands at {computed}")]
    WrongPlace {
        /// Which part.
        structure: Structure,
        /// Offset or sequence number.
        field: &'static str,
        /// The place in the structure.
        stored: u64,
        /// The place where it was found.
        computed: u64,
    },
    /// A field has a value that the format does not allow.
    #[error("{structure}: {field} has the illegal value {stored}")]
    IllegalValue {
        /// Which part.
        structure: Structure,
        /// Which field.
        field: &'static str,
        /// The value.
        stored: u64,
    },
    /// A length or count is above what a reader accepts.
    #[error("{structure}: {field} is {stored}, above the limit of {bound}")]
    AboveLimit {
        /// Which part.
        structure: Structure,
        /// Which field.
        field: &'static str,
        /// The value.
        stored: u64,
        /// The limit.
        bound: u64,
    },
    /// A part that must be understood is not known to this build.
    #[error("{structure}: unknown critical {what} {stored}; a newer mcsnap may read it")]
    UnknownCritical {
        /// Which part.
        structure: Structure,
        /// Frame type, column or feature.
        what: &'static str,
        /// Its number or name.
        stored: String,
    },
    /// Two numbers that must be equal are not.
    #[error("{structure}: {field} is {stored}, but {computed} was found")]
    CountMismatch {
        /// Which part.
        structure: Structure,
        /// Which number.
        field: &'static str,
        /// The number in the file.
        stored: u64,
        /// The number that was found.
        computed: u64,
    },
    /// The compressed bytes do not decompress to what was promised.
    #[error("{structure} does not decompress to {}", counted(*.raw_len, "byte"))]
    Decompression {
        /// Which part.
        structure: Structure,
        /// The promised length.
        raw_len: u64,
    },
    /// A value is not the one its record describes.
    #[error("value hash mismatch: stored {stored:016x}, computed {computed:016x}")]
    ValueHashMismatch {
        /// The hash in the record.
        stored: u64,
        /// The hash of the value.
        computed: u64,
    },
    /// A key is in a block, but the key index does not lead to it.
    #[error("the key index does not lead to key \"{key}\"")]
    KeyNotIndexed {
        /// The key, escaped.
        key: String,
    },
    /// A key is in a segment of another shard.
    #[error("key \"{key}\" belongs to shard {computed}, not {stored}")]
    WrongShard {
        /// The key, escaped.
        key: String,
        /// The shard of the segment.
        stored: u64,
        /// The shard of the key.
        computed: u64,
    },
    /// The text of a manifest or description cannot be understood.
    #[error("{structure} cannot be understood: {reason}")]
    Malformed {
        /// Which part.
        structure: Structure,
        /// The parser's words.
        reason: String,
    },
    /// A digest does not match what it covers.
    #[error("{structure}: {field} mismatch: stored {stored}, computed {computed}")]
    DigestMismatch {
        /// Which part.
        structure: Structure,
        /// Which digest.
        field: &'static str,
        /// The digest in the file.
        stored: String,
        /// The digest of the bytes.
        computed: String,
    },
    /// A segment that the manifest names is not there.
    #[error("the manifest names this segment, but it is missing")]
    SegmentMissing,
    /// There are segments, but no manifest to name them.
    #[error("the manifest is missing")]
    ManifestMissing,
    /// The segment is not as long as the manifest says.
    #[error("segment has {}, but the manifest says {}", counted(*.computed, "byte"), grouped(*.stored))]
    SegmentSize {
        /// The size in the manifest.
        stored: u64,
        /// The size of the object.
        computed: u64,
    },
    /// A file in the snapshot that the manifest does not name.
    #[error("the manifest does not name this object; nothing reads it")]
    Stray,
    /// The snapshot was made with a known loss, or may have been.
    #[error("the dump itself {}: the snapshot is {verdict}", known_loss(*losses, *unsure))]
    KnownLoss {
        /// Losses in the manifest.
        losses: u64,
        /// Items in the manifest that may be missing beside those.
        unsure: u64,
        /// The manifest's verdict.
        verdict: String,
    },
    /// The bytes are not there to judge: the store fails, or they are of a
    /// version that this build does not read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What failed, and why.
        reason: String,
    },
}

/// Says what the dump of a snapshot lost, or may have.
fn known_loss(losses: u64, unsure: u64) -> String {
    let lost = match losses {
        1 => "lost 1 item or node".to_owned(),
        losses => format!("lost {} items or nodes", grouped(losses)),
    };
    let missed = format!("may have missed {}", counted(unsure, "item"));
    match (losses, unsure) {
        (_, 0) => lost,
        (0, _) => missed,
        _ => format!("{lost}, and {missed}"),
    }
}

impl Defect {
    /// Every code, in the order of FORMAT.md section 11.
    pub const CODES: [&'static str; 21] = [
        "MCS001", "MCS002", "MCS003", "MCS004", "MCS005", "MCS006", "MCS007", "MCS008", "MCS009",
        "MCS010", "MCS011", "MCS012", "MCS013", "MCS014", "MCS015", "MCS016", "MCS017", "MCS018",
        "MCS019", "MCS020", "MCS021",
    ];

    /// Returns the stable code of this kind of defect.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "MCS001",
            Self::BadMagic { .. } => "MCS002",
            Self::ChecksumMismatch { .. } => "MCS003",
            Self::ReservedNotZero { .. } => "MCS004",
            Self::Foreign { .. } => "MCS005",
            Self::WrongPlace { .. } => "MCS006",
            Self::IllegalValue { .. } => "MCS007",
            Self::AboveLimit { .. } => "MCS008",
            Self::UnknownCritical { .. } => "MCS009",
            Self::CountMismatch { .. } => "MCS010",
            Self::Decompression { .. } => "MCS011",
            Self::ValueHashMismatch { .. } => "MCS012",
            Self::KeyNotIndexed { .. } => "MCS013",
            Self::WrongShard { .. } => "MCS014",
            Self::Malformed { .. } => "MCS015",
            Self::DigestMismatch { .. } => "MCS016",
            Self::SegmentMissing | Self::ManifestMissing => "MCS017",
            Self::SegmentSize { .. } => "MCS018",
            Self::Stray => "MCS019",
            Self::KnownLoss { .. } => "MCS020",
            Self::Unreadable { .. } => "MCS021",
        }
    }

    /// Returns how bad a defect of this kind is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Stray | Self::KnownLoss { .. } => Severity::Warning,
            Self::Truncated { .. }
            | Self::BadMagic { .. }
            | Self::ChecksumMismatch { .. }
            | Self::ReservedNotZero { .. }
            | Self::Foreign { .. }
            | Self::WrongPlace { .. }
            | Self::IllegalValue { .. }
            | Self::AboveLimit { .. }
            | Self::UnknownCritical { .. }
            | Self::CountMismatch { .. }
            | Self::Decompression { .. }
            | Self::ValueHashMismatch { .. }
            | Self::KeyNotIndexed { .. }
            | Self::WrongShard { .. }
            | Self::Malformed { .. }
            | Self::DigestMismatch { .. }
            | Self::SegmentMissing
            | Self::ManifestMissing
            | Self::SegmentSize { .. }
            | Self::Unreadable { .. } => Severity::Error,
        }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Legal, but odd; nothing is lost by it.
    Warning,
    /// Data is lost or wrong.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}
