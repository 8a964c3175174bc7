//! Reports what a snapshot contains: which keys take the memory, when they expire, and
//! which are not read any more.
//!
//! What a segment says of itself is read, its statistics: a few kibibytes each. Where
//! they do not answer what is asked, or more exact figures are wanted, keys and metadata
//! are read. These are stored before the values of each block, and are a few percent of a
//! snapshot whose values are not small.
//!
//! # Not here
//!
//! Whether a snapshot is sound: an inspection finds only what keeps it from reading keys,
//! while `verify` reads every byte.

mod capped_table;
mod histogram;
mod key_prefix;
mod report;
mod run;
mod statistics;

pub use capped_table::CappedTable;
pub use histogram::{Bucket, Histogram};
pub use key_prefix::{KeyPrefixTable, PrefixDepth, PrefixRow};
pub use report::{InspectReport, LastVerification, NodeShare, Sources, Storage, WhyKeys};
pub use run::{InspectOptions, inspect};
pub use statistics::{
    ClientFlagsTable, IdleHistogram, LengthRange, MarkTally, SlabClassTable, Statistics,
    TtlHistogram,
};
