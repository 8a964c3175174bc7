//! Reasons to refuse a restart file entirely.

use crate::words::item::escape_bytes;
use crate::words::units::{counted, grouped};

/// Why a whole file is unreadable, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The `.meta` ends early, or is not a `.meta` at all.
    #[error("its .meta does not tell {field}, so it was cut short; take a whole copy")]
    MissingField {
        /// The name of the field in the `.meta`.
        field: &'static str,
    },
    /// The `.meta` has a value that no memcached writes.
    #[error("its .meta says {field} {found}, and wanted is {wanted}; take an unchanged copy")]
    WrongField {
        /// The name of the field in the `.meta`.
        field: &'static str,
        /// The value found, escaped.
        found: String,
        /// The accepted values.
        wanted: &'static str,
    },
    /// The `.meta` has a line that is neither a section nor a key with a value.
    #[error("its .meta has the line \"{line}\", which no memcached writes; take an unchanged copy")]
    UnknownLine {
        /// The line, escaped.
        line: String,
    },
    /// A part of the server that this build does not know has saved something.
    #[error(
        "its .meta has a section \"{section}\", which this mcsnap does not know; upgrade mcsnap, \
         or dump the server while it runs"
    )]
    UnknownSection {
        /// Its name, escaped.
        section: String,
    },
    /// Some values are stored outside the file.
    #[error(
        "its server kept values in extstore, where the file does not reach; dump such a server \
         while it runs"
    )]
    Extstore,
    /// The `.meta` belongs to another file, or this file was truncated.
    #[error(
        "it has {}, but its .meta tells of {}; take a whole copy of the two files of one stop",
        counted(*.found, "byte"),
        grouped(*.wanted)
    )]
    FileSize {
        /// Actual size in bytes.
        found: u64,
        /// Expected size in bytes.
        wanted: u64,
    },
    /// Pages do not start at multiples of their size.
    #[error(
        "its server ran with no_slab_reassign and slab_chunk_max of a whole page, which leaves \
         pages of unequal size; dump such a server while it runs"
    )]
    UnequalPages,
    /// Chunks are too small for the header that memcached puts at their start.
    #[error(
        "its slab_sizes begin with {}, less than an item needs; dump the server while it runs",
        counted((*.size).into(), "byte")
    )]
    TinyChunks {
        /// The smallest size in bytes.
        size: u32,
    },
    /// The server was built for another kind of processor.
    #[error(
        "it comes from a machine of {kind}, and this mcsnap reads those of 64-bit little-endian \
         machines; dump the server while it runs"
    )]
    ForeignMachine {
        /// The kind of processor.
        kind: &'static str,
    },
    /// The chunks are not where they should be.
    #[error(
        "its pages are not laid out as its .meta tells, {unknown} of {looked_at} looked at; take \
         the two files of one stop, or upgrade mcsnap if memcached is newer than 1.6.45"
    )]
    UnknownLayout {
        /// Number of pages without a recognisable class.
        unknown: usize,
        /// Number of pages that were examined.
        looked_at: usize,
    },
}

/// Formats bytes of a file for people, shortened if they are long.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_LEN_MAX: usize = 64;
    escape_bytes(bytes.get(..SHOWN_LEN_MAX).unwrap_or(bytes))
}
