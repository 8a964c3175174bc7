//! Tracks which bytes of a file are accounted for.

use std::collections::BTreeMap;

/// A set of byte ranges. Each byte counts once, however often it is added.
#[derive(Debug, Default)]
pub(super) struct Coverage {
    /// Starts and ends of ranges that do not overlap or touch.
    ranges: BTreeMap<u64, u64>,
}

impl Coverage {
    /// Adds the bytes from `start` up to `end`.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        if start >= end {
            return;
        }
        while let Some((&other_start, &other_end)) = self.ranges.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.ranges.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.ranges.insert(start, end);
    }

    /// Returns the number of bytes in all ranges.
    pub(super) fn len(&self) -> u64 {
        let lens = self.ranges.iter();
        lens.fold(0, |sum: u64, (start, end)| {
            sum.saturating_add(end.saturating_sub(*start))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_counted_once() {
        let mut coverage = Coverage::default();
        for (start, end, len) in [
            (10, 20, 10),
            (30, 40, 20),
            (10, 20, 20),
            (12, 15, 20),
            (20, 25, 25),
            (5, 11, 30),
            (50, 50, 30),
            (0, 100, 100),
            (99, 101, 101),
        ] {
            coverage.add(start, end);
            assert_eq!(coverage.len(), len, "{start}..{end}");
        }
        assert_eq!(coverage.ranges.len(), 1);
    }
}
