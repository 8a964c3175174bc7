//! The statistics of one segment: what its STAT frame holds. FORMAT.md 5.16.

use crate::codecs::statistics::prefix_tree::PrefixRows;
use crate::codecs::statistics::span::Span;
use crate::codecs::statistics::tally::Tally;
use crate::words::item::{Attribute, ItemMeta};

/// Counts of all records of a segment, by several properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentStatistics {
    /// All records.
    pub total: Tally,
    /// The shortest and the longest key in bytes; 0 if there are no records.
    pub key_len: (u8, u8),
    /// Records by the length of the value in bytes.
    pub value_lens: Vec<Span>,
    /// Records that never expire.
    pub never: Tally,
    /// Records by the moment at which they expire; of any others it is not known.
    pub exptimes: Vec<Span>,
    /// Records by the moment of the last access; of any others it is not known.
    pub last_accesses: Vec<Span>,
    /// Records by slab class, ascending; of any others it is not known.
    pub slab_classes: Vec<(u8, Tally)>,
    /// Records for which the server did not report client flags.
    pub flags_unknown: Tally,
    /// Records by client flags, ascending; any others have other flags.
    pub client_flags: Vec<(u64, Tally)>,
    /// For each mark, in the order of [`Attribute::ALL`], the records with it and those
    /// without it; of any others it is not known.
    pub marks: [(Tally, Tally); Attribute::ALL.len()],
    /// Records by the start of the key.
    pub prefixes: PrefixRows,
    /// The largest values; see [`SegmentStatistics::LARGEST_COUNT_MAX`].
    pub largest: Vec<LargestRecord>,
}

/// A record with a large value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargestRecord {
    /// The key.
    pub key: Vec<u8>,
    /// Length of the value in bytes.
    pub value_len: u32,
    /// Client flags, times and slab class; the rest is not known.
    pub meta: ItemMeta,
}

impl SegmentStatistics {
    /// How many of the largest values a writer lists; fewer only if there are fewer
    /// records. Of equal ones, those with the lowest keys.
    pub const LARGEST_COUNT_MAX: usize = 10;
    /// The most values of client flags that a writer lists.
    pub const FLAGS_COUNT_MAX: usize = 32;

    /// Returns the records of which the exptime is not known.
    pub fn exptime_unknown(&self) -> Tally {
        self.total
            .without(&self.never)
            .without(&sum_of_spans(&self.exptimes))
    }

    /// Returns the records of which the last access is not known.
    pub fn last_access_unknown(&self) -> Tally {
        self.total.without(&sum_of_spans(&self.last_accesses))
    }

    /// Returns the records of which the slab class is not known.
    pub fn slab_class_unknown(&self) -> Tally {
        self.total
            .without(&sum(self.slab_classes.iter().map(|(_, tally)| tally)))
    }

    /// Returns the records whose client flags are not listed.
    pub fn flags_unlisted(&self) -> Tally {
        let listed = sum(self.client_flags.iter().map(|(_, tally)| tally));
        self.total.without(&self.flags_unknown).without(&listed)
    }

    /// Returns the records whose prefix is not listed.
    pub fn prefix_unlisted(&self) -> Tally {
        let listed = sum(self.prefixes.rows.iter().map(|(_, tally)| tally));
        self.total.without(&self.prefixes.none).without(&listed)
    }
}

/// Adds tallies.
pub fn sum<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    let mut sum = Tally::default();
    for tally in tallies {
        sum.merge(tally);
    }
    sum
}

fn sum_of_spans(spans: &[Span]) -> Tally {
    sum(spans.iter().map(|span| &span.tally))
}
