//! Why a restart file is not read at all.

use crate::words::item::escape_bytes;
use crate::words::units::{counted, grouped};

/// What makes a whole file unreadable, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The `.meta` ends early, or is none.
    #[error("its .meta does not tell {field}, so it was cut short; take a whole copy")]
    MissingField {
        /// The name in the `.meta`.
        field: &'static str,
    },
    /// A value that no memcached writes.
    #[error("its .meta says {field} {found}, and wanted is {wanted}; take an unchanged copy")]
    WrongField {
        /// The name in the `.meta`.
        field: &'static str,
        /// What stands there, escaped.
        found: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A line that is neither a section nor a key with its value.
    #[error("its .meta has the line \"{line}\", which no memcached writes; take an unchanged copy")]
    UnknownLine {
        /// The line, escaped.
        line: String,
    },
    /// A part of the server that this build does not know had something to save.
    #[error(
        "its .meta has a section \"{section}\", which this mcsnap does not know; upgrade mcsnap, \
         or dump the server while it runs"
    )]
    UnknownSection {
        /// Its name, escaped.
        section: String,
    },
    /// Values lie outside the file.
    #[error(
        "its server kept values in extstore, where the file does not reach; dump such a server \
         while it runs"
    )]
    Extstore,
    /// The `.meta` is of another file, or this one was cut.
    #[error(
        "it has {}, but its .meta tells of {}; take a whole copy of the two files of one stop",
        counted(*.found, "byte"),
        grouped(*.wanted)
    )]
    FileSize {
        /// Bytes there are.
        found: u64,
        /// Bytes there should be.
        wanted: u64,
    },
    /// Pages that do not start where multiples of their size are.
    #[error(
        "its server ran with no_slab_reassign and slab_chunk_max of a whole page, which leaves \
         pages of unequal size; dump such a server while it runs"
    )]
    UnequalPages,
    /// Chunks too small for what memcached puts at their start.
    #[error(
        "its slab_sizes begin with {}, less than an item needs; dump the server while it runs",
        counted((*.size).into(), "byte")
    )]
    TinyChunks {
        /// The smallest size.
        size: u32,
    },
    /// A build for another kind of processor.
    #[error(
        "it comes from a machine of {kind}, and this mcsnap reads those of 64-bit little-endian \
         machines; dump the server while it runs"
    )]
    ForeignMachine {
        /// Which.
        kind: &'static str,
    },
    /// Nothing is where it should be.
    #[error(
        "its pages are not laid out as its .meta tells, {unknown} of {looked_at} looked at; take \
         the two files of one stop, or upgrade mcsnap if memcached is newer than 1.6.45"
    )]
    UnknownLayout {
        /// Pages that are of no class.
        unknown: usize,
        /// Pages that were looked at.
        looked_at: usize,
    },
}

/// Writes what stood in a file for people, cut where it is long.
pub(super) fn shown(bytes: &[u8]) -> String {
    const SHOWN_LEN_MAX: usize = 64;
    escape_bytes(bytes.get(..SHOWN_LEN_MAX).unwrap_or(bytes))
}
