//! Counts records by a value that may have too many different values to keep.

use crate::codecs::statistics::Tally;

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// Counts by value. The lowest values are kept, as many as fit.
///
/// Which values are kept does not depend on the order in which they come: when a value is
/// dropped, as many lower ones as fit have been seen, so it stays dropped. Each count is
/// therefore either complete or missing, and parts can be merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CappedTable<K> {
    value_count_max: usize,
    kept: BTreeMap<K, Tally>,
    others: Tally,
}

impl<K: Ord> CappedTable<K> {
    /// Creates an empty table.
    pub fn new(value_count_max: usize) -> Self {
        Self {
            value_count_max,
            kept: BTreeMap::new(),
            others: Tally::default(),
        }
    }

    /// Adds records with this value.
    pub fn add<Q>(&mut self, value: &Q, tally: &Tally)
    where
        K: Borrow<Q>,
        Q: Ord + ToOwned<Owned = K> + ?Sized,
    {
        // Above all that are kept, where most values are once there are too many: not kept.
        if self.kept.len() >= self.value_count_max
            && self
                .kept
                .last_key_value()
                .is_none_or(|(last, _)| last.borrow() < value)
        {
            self.others.merge(tally);
            return;
        }
        if let Some(sum) = self.kept.get_mut(value) {
            sum.merge(tally);
            return;
        }
        self.kept.insert(value.to_owned(), *tally);
        if self.kept.len() > self.value_count_max
            && let Some((_, dropped)) = self.kept.pop_last()
        {
            self.others.merge(&dropped);
        }
    }

    /// Adds the counts of another part with the same capacity.
    pub fn merge(&mut self, other: Self)
    where
        K: Clone,
    {
        self.others.merge(&other.others);
        if self.kept.is_empty() {
            self.kept = other.kept;
            return;
        }
        // What is merged is freed as it goes.
        for (value, tally) in other.kept {
            self.add(&value, &tally);
        }
    }

    /// Moves all counts into another table with the same capacity.
    pub fn move_into(&mut self, sum: &mut Self)
    where
        K: Clone,
    {
        let empty = Self::new(self.value_count_max);
        sum.merge(std::mem::replace(self, empty));
    }

    /// Returns how many values are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Reports whether no value is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns the count of the values that did not fit.
    pub fn others(&self) -> &Tally {
        &self.others
    }

    /// Returns the highest of the values kept.
    pub fn last(&self) -> Option<&K> {
        self.kept.last_key_value().map(|(value, _)| value)
    }

    /// Returns the values kept, those with the most memory first. `whole` decides how
    /// memory is computed; see [`Tally::memory_bytes`].
    pub fn heaviest(&self, whole: &Tally) -> Vec<(&K, &Tally)> {
        let mut rows: Vec<_> = self.kept.iter().collect();
        // The sort is stable, so equal values keep their order.
        rows.sort_by_key(|(_, tally)| {
            std::cmp::Reverse((tally.memory_bytes(whole), tally.records))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(records: u64) -> Tally {
        Tally {
            records,
            key_bytes: 0,
            value_bytes: records,
            item_bytes: records,
            ..Tally::default()
        }
    }

    #[test]
    fn what_is_kept_does_not_depend_on_order_or_parts() {
        // Each value comes eleven times, and dropped ones come again.
        let values: Vec<u64> = (0..1100).map(|at| at * 37 % 100).collect();
        let count = |values: &[u64]| {
            let mut table = CappedTable::new(10);
            for value in values {
                table.add(value, &tally(1));
            }
            table
        };
        let whole = count(&values);
        for cut in [1, 10, 549, 1099] {
            let (first, second) = values.split_at(cut);
            let mut merged = count(second);
            merged.merge(count(first));
            assert_eq!(merged, whole, "cut at {cut}");
        }
        assert_eq!(whole.others().records, 90 * 11);
        let kept: Vec<_> = whole
            .heaviest(&Tally::default())
            .into_iter()
            .map(|(value, _)| *value)
            .collect();
        assert_eq!(kept, (0..10).collect::<Vec<_>>());
        assert!(
            whole
                .heaviest(&Tally::default())
                .iter()
                .all(|(_, tally)| tally.records == 11)
        );
    }

    #[test]
    fn the_most_memory_comes_first() {
        let mut table = CappedTable::new(3);
        for (value, records) in [(1, 5), (2, 9), (3, 5)] {
            table.add(&value, &tally(records));
        }
        let order: Vec<_> = table
            .heaviest(&Tally::default())
            .iter()
            .map(|(value, _)| **value)
            .collect();
        assert_eq!(order, [2, 1, 3]);
    }
}
