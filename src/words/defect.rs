//! Everything that can be wrong with a snapshot, as values.
//!
//! The same defect is an error when a job cannot continue ([`crate::words::error`]) and a
//! finding when it can (`verify`). FORMAT.md section 11 lists the codes.

use std::fmt;

use crate::words::units::{counted, grouped};

/// The part of a snapshot that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Structure {
    /// The first 64 bytes of a segment.
    FileHeader,
    /// The header of a frame.
    FrameHeader,
    /// The description of the segment.
    Meta,
    /// The header of a block.
    BlockHeader,
    /// Keys and metadata of a block.
    KeySection,
    /// Values of a block.
    ValueSection,
    /// One part of a value that is stored outside its block.
    ValuePart,
    /// Part of the table of contents, written along the way.
    Checkpoint,
    /// The index from keys to blocks.
    KeyIndex,
    /// One page of the key index.
    KeyIndexPage,
    /// The statistics of a segment's records.
    Stat,
    /// The table of contents, which locates every frame.
    Toc,
    /// The fixed end of a segment.
    Tail,
    /// The payload of a frame, not specified further.
    FramePayload,
    /// A segment as a whole.
    Segment,
    /// The manifest.
    Manifest,
    /// A part of the manifest.
    ManifestPart,
    /// A look-up object.
    LookUp,
    /// One page of a look-up object.
    LookUpPage,
    /// The record of a verification.
    Verification,
    /// The journal of an unfinished dump.
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
            Self::Stat => "statistics",
            Self::Toc => "table of contents",
            Self::Tail => "tail",
            Self::FramePayload => "frame payload",
            Self::Segment => "segment",
            Self::Manifest => "manifest",
            Self::ManifestPart => "part of the manifest",
            Self::LookUp => "look-up object",
            Self::LookUpPage => "page of a look-up object",
            Self::Verification => "record of a verification",
            Self::Journal => "journal",
        })
    }
}

/// A defect in the bytes of a snapshot.
///
/// `stored` is the value in the file, `computed` the one that the reader determined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// The bytes end before the structure does.
    #[error("{structure} is cut short: needs {}, has {}", counted(*.needed, "byte"), grouped(*.found))]
    Truncated {
        /// The damaged part.
        structure: Structure,
        /// How many bytes the structure needs.
        needed: u64,
        /// How many bytes there are.
        found: u64,
    },
    /// A value in parts ends before its last part.
    #[error("value is cut short: needs {}, has {}, and then {next}", counted(*.needed, "byte"), grouped(*.found))]
    ValueCutShort {
        /// Bytes of the value.
        needed: u64,
        /// Bytes of the parts that are there.
        found: u64,
        /// What stands where the next part should.
        next: String,
    },
    /// The structure does not start with its magic number.
    #[error("{structure} does not start with its magic number")]
    BadMagic {
        /// The damaged part.
        structure: Structure,
    },
    /// The bytes are not the ones that were written.
    #[error("{structure} checksum mismatch: stored {stored:08x}, computed {computed:08x}")]
    ChecksumMismatch {
        /// The damaged part.
        structure: Structure,
        /// The checksum in the file.
        stored: u32,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// A bit that must be zero is set.
    #[error("{structure}: reserved {field} is not zero")]
    ReservedNotZero {
        /// The damaged part.
        structure: Structure,
        /// The field with the bit.
        field: &'static str,
    },
    /// The structure belongs to another segment or snapshot.
    #[error("{structure}: {field} is {stored}, not {computed}: it belongs elsewhere")]
    Foreign {
        /// The damaged part.
        structure: Structure,
        /// The id that differs.
        field: &'static str,
        /// The id in the structure.
        stored: String,
        /// The id of the enclosing file.
        computed: String,
    },
    /// The structure says that it belongs in another place.
    #[error("{structure}: {field} is {stored}, but it stands at {computed}")]
    WrongPlace {
        /// The damaged part.
        structure: Structure,
        /// Offset or sequence number.
        field: &'static str,
        /// The place according to the structure.
        stored: u64,
        /// The place where it was found.
        computed: u64,
    },
    /// A field has none of the few values that this version of the format lists for it.
    #[error("{structure}: {field} has the unknown value {stored}")]
    UnknownValue {
        /// The damaged part.
        structure: Structure,
        /// The field.
        field: &'static str,
        /// The value.
        stored: u64,
    },
    /// A text has a word that this version of the format does not list.
    #[error("{structure}: {field} is the unknown word \"{}\"", stored.escape_debug())]
    UnknownWord {
        /// The damaged part.
        structure: Structure,
        /// The member of the text.
        field: &'static str,
        /// The word.
        stored: String,
    },
    /// A field has a value that no version of the format allows.
    #[error("{structure}: {field} has the illegal value {stored}")]
    IllegalValue {
        /// The damaged part.
        structure: Structure,
        /// The field.
        field: &'static str,
        /// The value.
        stored: u64,
    },
    /// A length or count exceeds what a reader accepts.
    #[error("{structure}: {field} is {stored}, above the limit of {bound}")]
    AboveLimit {
        /// The damaged part.
        structure: Structure,
        /// The field.
        field: &'static str,
        /// The value.
        stored: u64,
        /// The limit.
        bound: u64,
    },
    /// A part that must be understood is unknown to this build.
    #[error("{structure}: unknown critical {what} {stored}")]
    UnknownCritical {
        /// The part that contains it.
        structure: Structure,
        /// Frame type or column.
        what: &'static str,
        /// Its number or name.
        stored: String,
    },
    /// Two numbers that must be equal are not.
    #[error("{structure}: {field} is {stored}, but {computed} was found")]
    CountMismatch {
        /// The damaged part.
        structure: Structure,
        /// The field with the number.
        field: &'static str,
        /// The number in the file.
        stored: u64,
        /// The actual number.
        computed: u64,
    },
    /// A figure of the statistics, or of another table, is not that of what it is about.
    #[error("{structure}: {figure} is {stored}, but {computed} was found")]
    FigureMismatch {
        /// The damaged part.
        structure: Structure,
        /// Which figure.
        figure: String,
        /// What the file has.
        stored: String,
        /// What it should have.
        computed: String,
    },
    /// Two texts that must be equal are not.
    #[error("{structure}: {field} is \"{}\", not \"{}\"", stored.escape_debug(), computed.escape_debug())]
    TextMismatch {
        /// The damaged part.
        structure: Structure,
        /// The field with the text.
        field: &'static str,
        /// The text in the file.
        stored: String,
        /// What it must be by the rest.
        computed: String,
    },
    /// The compressed bytes do not decompress to the announced length.
    #[error("{structure} does not decompress to {}: {reason}", counted(*.raw_len, "byte"))]
    Decompression {
        /// The damaged part.
        structure: Structure,
        /// The announced length in bytes.
        raw_len: u64,
        /// What keeps it from that.
        reason: String,
    },
    /// A value does not match its record.
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
    /// A key is in a segment of the wrong shard.
    #[error("key \"{key}\" belongs to shard {computed}, not {stored}")]
    WrongShard {
        /// The key, escaped.
        key: String,
        /// The shard of the segment.
        stored: u64,
        /// The shard of the key.
        computed: u64,
    },
    /// The text of a manifest or description is malformed.
    #[error("{structure} cannot be understood: {reason}")]
    Malformed {
        /// The damaged part.
        structure: Structure,
        /// The parser's message.
        reason: String,
    },
    /// A digest does not match what it covers.
    #[error("{structure}: {field} mismatch: stored {stored}, computed {computed}")]
    DigestMismatch {
        /// The damaged part.
        structure: Structure,
        /// The name of the digest.
        field: &'static str,
        /// The digest in the file.
        stored: String,
        /// The digest of the bytes.
        computed: String,
    },
    /// A segment that the manifest names is missing.
    #[error("the manifest names this segment, but it is missing")]
    SegmentMissing,
    /// A part that the manifest names is missing.
    #[error("the manifest names this part of itself, but it is missing")]
    PartMissing,
    /// A look-up object that the manifest names is missing.
    #[error("the manifest names this look-up object, but it is missing")]
    LookUpMissing,
    /// A look-up object does not lead to a block that has the key.
    #[error("the look-up object does not lead to key \"{key}\"")]
    KeyNotFound {
        /// The key, escaped.
        key: String,
    },
    /// A key has two records in its shard.
    #[error("key \"{key}\" stands twice in its shard")]
    KeyTwice {
        /// The key, escaped.
        key: String,
    },
    /// There are segments, but there is no manifest.
    #[error("the manifest is missing")]
    ManifestMissing,
    /// The segment's size differs from the manifest's.
    #[error("segment has {}, but the manifest says {}", counted(*.computed, "byte"), grouped(*.stored))]
    SegmentSize {
        /// The size in the manifest, in bytes.
        stored: u64,
        /// The size of the object, in bytes.
        computed: u64,
    },
    /// The record of a verification cannot be used.
    #[error("the record of a verification cannot be used: {reason}")]
    BadRecord {
        /// Why.
        reason: String,
    },
    /// The manifest does not name this file of the snapshot.
    #[error("the manifest does not name this object; nothing reads it")]
    Stray,
    /// The dump lost items, or may have, and the manifest says so.
    #[error("the dump itself {}: the snapshot is {verdict}", known_loss(*losses, *unsure))]
    KnownLoss {
        /// Number of losses in the manifest.
        losses: u64,
        /// Number of further items that may be missing, in the manifest.
        unsure: u64,
        /// The manifest's verdict.
        verdict: String,
    },
    /// The bytes cannot be judged, because the store fails.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What failed and why.
        reason: String,
    },
    /// The bytes need a newer build; they may well be sound. FORMAT.md 7.
    #[error("{what}: {}", Defect::MADE_BY_NEWER)]
    Newer {
        /// What this build does not know.
        what: String,
    },
}

/// Describes what the dump of a snapshot lost, or may have lost.
fn known_loss(losses: u64, unsure: u64) -> String {
    let lost = match losses {
        1 => "lost 1 item or node".to_owned(),
        losses => format!("lost {} items or nodes", grouped(losses)),
    };
    let missed = format!("may have missed {}", counted(unsure, "item"));
    match (losses, unsure) {
        // A verdict that nothing in the manifest bears out.
        (0, 0) => "counted no loss, and yet".to_owned(),
        (_, 0) => lost,
        (0, _) => missed,
        _ => format!("{lost}, and {missed}"),
    }
}

impl Defect {
    /// What a user is told about everything that needs a newer build.
    pub const MADE_BY_NEWER: &'static str = "made by a newer mcsnap; upgrade";

    /// Every code, in the order of FORMAT.md section 11.
    pub const CODES: [&'static str; 24] = [
        "MCS001", "MCS002", "MCS003", "MCS004", "MCS005", "MCS006", "MCS007", "MCS008", "MCS009",
        "MCS010", "MCS011", "MCS012", "MCS013", "MCS014", "MCS015", "MCS016", "MCS017", "MCS018",
        "MCS019", "MCS020", "MCS021", "MCS022", "MCS023", "MCS024",
    ];

    /// Returns the stable code of this kind of defect.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } | Self::ValueCutShort { .. } => "MCS001",
            Self::BadMagic { .. } => "MCS002",
            Self::ChecksumMismatch { .. } => "MCS003",
            Self::ReservedNotZero { .. } => "MCS004",
            Self::Foreign { .. } => "MCS005",
            Self::WrongPlace { .. } => "MCS006",
            Self::IllegalValue { .. } | Self::UnknownValue { .. } => "MCS007",
            Self::AboveLimit { .. } => "MCS008",
            Self::UnknownCritical { .. } => "MCS009",
            Self::CountMismatch { .. }
            | Self::FigureMismatch { .. }
            | Self::TextMismatch { .. } => "MCS010",
            Self::Decompression { .. } => "MCS011",
            Self::ValueHashMismatch { .. } => "MCS012",
            Self::KeyNotIndexed { .. } | Self::KeyNotFound { .. } => "MCS013",
            Self::WrongShard { .. } => "MCS014",
            Self::Malformed { .. } | Self::UnknownWord { .. } => "MCS015",
            Self::DigestMismatch { .. } => "MCS016",
            Self::SegmentMissing
            | Self::PartMissing
            | Self::LookUpMissing
            | Self::ManifestMissing => "MCS017",
            Self::SegmentSize { .. } => "MCS018",
            Self::Stray => "MCS019",
            Self::KnownLoss { .. } => "MCS020",
            Self::Unreadable { .. } => "MCS021",
            Self::Newer { .. } => "MCS022",
            Self::KeyTwice { .. } => "MCS023",
            Self::BadRecord { .. } => "MCS024",
        }
    }

    /// Returns whether a later minor version of the format may have a meaning for what is
    /// a defect in this one: a reserved bit, a value that is not listed, an unknown part.
    pub fn may_be_newer(&self) -> bool {
        matches!(
            self,
            Self::ReservedNotZero { .. }
                | Self::UnknownCritical { .. }
                | Self::UnknownValue { .. }
                | Self::UnknownWord { .. }
                | Self::Newer { .. }
        )
    }

    /// Returns the severity of this kind of defect.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Stray | Self::KnownLoss { .. } | Self::BadRecord { .. } => Severity::Warning,
            Self::Truncated { .. }
            | Self::ValueCutShort { .. }
            | Self::BadMagic { .. }
            | Self::ChecksumMismatch { .. }
            | Self::ReservedNotZero { .. }
            | Self::Foreign { .. }
            | Self::WrongPlace { .. }
            | Self::UnknownValue { .. }
            | Self::UnknownWord { .. }
            | Self::IllegalValue { .. }
            | Self::AboveLimit { .. }
            | Self::UnknownCritical { .. }
            | Self::CountMismatch { .. }
            | Self::FigureMismatch { .. }
            | Self::TextMismatch { .. }
            | Self::Decompression { .. }
            | Self::ValueHashMismatch { .. }
            | Self::KeyNotIndexed { .. }
            | Self::WrongShard { .. }
            | Self::Malformed { .. }
            | Self::DigestMismatch { .. }
            | Self::SegmentMissing
            | Self::PartMissing
            | Self::LookUpMissing
            | Self::KeyNotFound { .. }
            | Self::KeyTwice { .. }
            | Self::ManifestMissing
            | Self::SegmentSize { .. }
            | Self::Unreadable { .. }
            | Self::Newer { .. } => Severity::Error,
        }
    }
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Legal but unusual; nothing is lost.
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
