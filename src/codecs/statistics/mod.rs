//! What records are counted by, in parts that can be merged.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod key_prefix;
mod largest;
mod tally;

pub use key_prefix::{KEY_DELIMITERS, delimiter_of, prefix_end, push_without_numbers};
pub use largest::{LargeValue, Largest};
pub use tally::{RecordFacts, Tally};
