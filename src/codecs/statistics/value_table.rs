//! Counts records by a value, of which a writer meets few.

use std::cmp::Reverse;

use crate::codecs::statistics::tally::Tally;

/// Counts by value: the first ones that come, as many as fit. What is kept is counted
/// completely.
#[derive(Clone, Debug)]
pub struct ValueTable {
    value_count_max: usize,
    kept: Vec<(u64, Tally)>,
    /// Where the last value was found; most often it comes again.
    last: usize,
}

impl ValueTable {
    /// Creates an empty table.
    pub fn new(value_count_max: usize) -> Self {
        Self {
            value_count_max,
            kept: Vec::new(),
            last: 0,
        }
    }

    /// Adds records with this value.
    pub fn add(&mut self, value: u64, tally: &Tally) {
        if let Some((last, sum)) = self.kept.get_mut(self.last)
            && *last == value
        {
            sum.count(tally);
            return;
        }
        let found = self.kept.iter().position(|(kept, _)| *kept == value);
        if let Some(at) = found {
            self.last = at;
            if let Some((_, sum)) = self.kept.get_mut(at) {
                sum.count(tally);
            }
        } else if self.kept.len() < self.value_count_max {
            self.kept.push((value, *tally));
        }
    }

    /// Returns the values with the most records, `count` at most, the lowest first.
    pub fn finish(self, count: usize) -> Vec<(u64, Tally)> {
        let mut kept = self.kept;
        kept.sort_by_key(|(value, tally)| (Reverse(tally.records), *value));
        kept.truncate(count);
        kept.sort_by_key(|(value, _)| *value);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_complete_and_the_most_frequent_are_told() {
        let one = Tally {
            records: 1,
            ..Tally::default()
        };
        let mut table = ValueTable::new(3);
        for value in [7, 7, 9, 8, 1, 9, 9, 1, 7, 7] {
            table.add(value, &one);
        }
        let told = table.finish(2);
        let told: Vec<_> = told
            .iter()
            .map(|(value, sum)| (*value, sum.records))
            .collect();
        assert_eq!(told, [(7, 4), (9, 3)]);
    }
}
