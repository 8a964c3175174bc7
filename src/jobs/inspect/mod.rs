//! What is in a snapshot: who fills it, what expires when, what lies idle.
//!
//! Keys and metadata alone are read, which lie before the values of each block:
//! a few percent of a snapshot with values of some size.
//!
//! # Not here
//!
//! Whether a snapshot is sound: an inspection finds what keeps it from reading
//! keys, and nothing else; `verify` looks at every byte.

mod capped_table;
mod histogram;
mod key_prefix;
mod largest;
mod report;
mod run;
mod statistics;
mod tally;

pub use capped_table::CappedTable;
pub use histogram::{Bucket, Histogram};
pub use key_prefix::{KeyPrefixTable, PrefixDepth, PrefixRow};
pub use largest::{LargeValue, Largest};
pub use report::{InspectReport, NodeShare, Storage};
pub use run::{InspectOptions, inspect};
pub use statistics::{
    ClientFlagsTable, IdleHistogram, LengthRange, MarkTally, SlabClassTable, Statistics,
    TtlHistogram,
};
pub use tally::Tally;
