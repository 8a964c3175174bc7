//! Finds the records with the largest values.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::codecs::statistics::tally::RecordFacts;
use crate::words::item::ItemMeta;

/// A record with a large value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LargeValue<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Length of the value.
    pub value_len: u32,
    /// The node that it came from, by its index in the manifest.
    pub node_index: usize,
    /// The other metadata.
    pub meta: &'a ItemMeta,
}

/// A list of the largest values; among equal ones, those with the lowest keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Largest {
    count_max: usize,
    /// The length of the shortest one.
    least: u32,
    /// How its key starts.
    least_start: u64,
    kept: BTreeMap<(Reverse<u32>, Vec<u8>, usize), ItemMeta>,
}

impl Largest {
    /// Creates an empty list.
    pub fn new(count_max: usize) -> Self {
        Self {
            count_max,
            least: 0,
            least_start: 0,
            kept: BTreeMap::new(),
        }
    }

    /// Adds a record if it is among the largest.
    pub fn add(&mut self, record: &RecordFacts<'_>, node_index: usize) {
        let is_full = self.kept.len() >= self.count_max;
        if is_full
            && (record.value_len < self.least
                || record.value_len == self.least && start_of(record.key) > self.least_start)
        {
            return;
        }
        // Nearly every other record returns here, without a copy of its key.
        if is_full
            && self.kept.last_key_value().is_none_or(|(last, _)| {
                (last.0, last.1.as_slice(), last.2)
                    <= (Reverse(record.value_len), record.key, node_index)
            })
        {
            return;
        }
        let place = (Reverse(record.value_len), record.key.to_vec(), node_index);
        self.kept.insert(place, *record.meta);
        self.shrink();
    }

    /// Adds the list of another part, with the same length.
    pub fn merge(&mut self, other: Self) {
        self.kept.extend(other.kept);
        self.shrink();
    }

    /// Returns the records, the largest first.
    pub fn iter(&self) -> impl Iterator<Item = LargeValue<'_>> {
        self.kept
            .iter()
            .map(|((Reverse(value_len), key, node_index), meta)| LargeValue {
                key,
                value_len: *value_len,
                node_index: *node_index,
                meta,
            })
    }

    fn shrink(&mut self) {
        while self.kept.len() > self.count_max {
            self.kept.pop_last();
        }
        let last = self.kept.last_key_value();
        self.least = last.map_or(0, |((Reverse(len), ..), _)| *len);
        self.least_start = last.map_or(0, |((_, key, _), _)| start_of(key));
    }
}

/// Returns the first eight bytes of a key as a number; of two keys, the one with the higher
/// number is the higher key.
fn start_of(key: &[u8]) -> u64 {
    if let Some(start) = key.first_chunk() {
        return u64::from_be_bytes(*start);
    }
    let mut start = [0; 8];
    start.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(largest: &mut Largest, key: &[u8], value_len: u32) {
        let record = RecordFacts {
            key,
            value_len,
            meta: &ItemMeta::default(),
        };
        largest.add(&record, 0);
    }

    #[test]
    fn the_largest_stay_whatever_the_order_and_the_parts() {
        let keys: Vec<[u8; 1]> = (0..200).map(|at: u8| [at.wrapping_mul(77)]).collect();
        let list = |keys: &[[u8; 1]]| {
            let mut largest = Largest::new(5);
            for key in keys {
                add(&mut largest, key, u32::from(key[0] / 8));
            }
            largest
        };
        let whole = list(&keys);
        let found: Vec<_> = whole
            .iter()
            .map(|large| (large.value_len, large.key[0]))
            .collect();
        assert_eq!(found.len(), 5);
        assert!(
            found.is_sorted_by_key(|(len, key)| (Reverse(*len), *key)),
            "{found:?}"
        );
        for cut in [1, 5, 100, 199] {
            let (first, second) = keys.split_at(cut);
            let mut merged = list(second);
            merged.merge(list(first));
            assert_eq!(merged, whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_list_of_no_length_stays_empty() {
        let mut largest = Largest::new(0);
        add(&mut largest, b"k", 1);
        assert_eq!(largest.iter().count(), 0);
    }
}
