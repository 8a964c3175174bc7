//! Counts records by a size or a time, in buckets with fixed bounds.

use crate::codecs::statistics::Tally;

/// Counts by a quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The ends of the buckets, ascending; each is the start of the next bucket.
    bounds: &'static [u64],
    /// One more tally than there are bounds.
    tallies: Vec<Tally>,
}

/// The records whose quantity is in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The lowest quantity.
    pub at_least: u64,
    /// The first quantity above the range; `None` for the last bucket.
    pub below: Option<u64>,
    /// The records.
    pub tally: Tally,
}

impl Histogram {
    /// One minute, ten minutes, one hour, six hours, one day, a week, thirty days; in
    /// seconds.
    pub const TIMES: &'static [u64] = &[60, 600, 3600, 21_600, 86_400, 604_800, 2_592_000];
    /// 0, and powers of four from 4 bytes to 64 MiB.
    pub const SIZES: &'static [u64] = &[
        1,
        1 << 2,
        1 << 4,
        1 << 6,
        1 << 8,
        1 << 10,
        1 << 12,
        1 << 14,
        1 << 16,
        1 << 18,
        1 << 20,
        1 << 22,
        1 << 24,
        1 << 26,
    ];

    /// Creates an empty histogram; `bounds` must be ascending.
    pub fn new(bounds: &'static [u64]) -> Self {
        debug_assert!(bounds.is_sorted_by(|before, after| before < after));
        Self {
            bounds,
            tallies: vec![Tally::default(); bounds.len().saturating_add(1)],
        }
    }

    /// Adds records with this quantity.
    pub fn add(&mut self, quantity: u64, tally: &Tally) {
        let at = self.bounds.partition_point(|&bound| bound <= quantity);
        if let Some(sum) = self.tallies.get_mut(at) {
            sum.merge(tally);
        }
    }

    /// Adds the counts of another part with the same bounds.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds);
        for (sum, tally) in self.tallies.iter_mut().zip(&other.tallies) {
            sum.merge(tally);
        }
    }

    /// Returns the buckets, the lowest quantities first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        let starts = std::iter::once(0).chain(self.bounds.iter().copied());
        let ends = self.bounds.iter().copied().map(Some).chain([None]);
        let ranges = starts.zip(ends).zip(&self.tallies);
        ranges.map(|((at_least, below), tally)| Bucket {
            at_least,
            below,
            tally: *tally,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Tally = Tally {
        records: 1,
        key_bytes: 2,
        value_bytes: 3,
        item_bytes: 0,
        chunk_bytes: 0,
        class_records: 0,
        chunk_records: 0,
    };

    #[test]
    fn a_bound_belongs_to_the_bucket_that_it_starts() {
        let mut histogram = Histogram::new(Histogram::TIMES);
        for quantity in [0, 59, 60, 2_591_999, 2_592_000, u64::MAX] {
            histogram.add(quantity, &ONE);
        }
        let found: Vec<_> = histogram
            .buckets()
            .filter(|bucket| bucket.tally.records > 0)
            .map(|bucket| (bucket.at_least, bucket.below, bucket.tally.records))
            .collect();
        let wanted = [
            (0, Some(60), 2),
            (60, Some(600), 1),
            (604_800, Some(2_592_000), 1),
            (2_592_000, None, 2),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn parts_add_up() {
        let mut first = Histogram::new(Histogram::SIZES);
        first.add(5, &ONE);
        let mut second = Histogram::new(Histogram::SIZES);
        second.add(15, &ONE);
        second.add(0, &ONE);
        first.merge(&second);
        let counts: Vec<u64> = first.buckets().map(|bucket| bucket.tally.bytes()).collect();
        assert_eq!(counts.get(..4), Some(&[5, 0, 10, 0][..]));
        assert_eq!(counts.len(), Histogram::SIZES.len() + 1);
    }
}
