//! What records are counted by, in parts that can be merged.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod counter;
mod key_prefix;
mod largest;
mod prefix_tree;
mod recent_prefixes;
mod recount;
mod segment;
mod span;
mod tally;
mod unlisted_prefixes;
mod value_table;

pub use counter::StatCounter;
pub use key_prefix::{KEY_DELIMITERS, delimiter_of, prefix_end, prefix_of, push_without_numbers};
pub use largest::{LargeValue, Largest};
pub use prefix_tree::{PrefixRows, PrefixTree};
pub use recount::{Difference, Recount};
pub use segment::{LargestRecord, SegmentStatistics, sum};
pub use span::{Span, SpanCounter, SpanScale};
pub use tally::{RecordFacts, Tally};
pub use value_table::ValueTable;
