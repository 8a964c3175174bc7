//! What the prefixes without a row have in item bytes, counted from below.

use std::collections::BTreeMap;

/// Counts by prefix, in bounded memory: no count is above the truth, and none is further
/// below it than twice what was added, divided by [`UnlistedPrefixes::COUNT_MAX`]. Up to so
/// many prefixes all are exact.
///
/// These are the counters of Misra and Gries, of which half are made free at a time. Whoever
/// compares a bound with them accuses nobody wrongly.
#[derive(Clone, Debug, Default)]
pub(super) struct UnlistedPrefixes {
    counts: BTreeMap<Box<[u8]>, u64>,
}

impl UnlistedPrefixes {
    /// The most prefixes that are counted at a time.
    pub(super) const COUNT_MAX: usize = 4096;

    /// Adds item bytes to a prefix.
    pub(super) fn add(&mut self, prefix: &[u8], item_bytes: u64) {
        if let Some(count) = self.counts.get_mut(prefix) {
            *count = count.saturating_add(item_bytes);
            return;
        }
        self.counts.insert(prefix.into(), item_bytes);
        if self.counts.len() > Self::COUNT_MAX {
            self.make_room();
        }
    }

    /// Adds the counts of another part.
    pub(super) fn merge(&mut self, other: Self) {
        for (prefix, count) in other.counts {
            self.add(&prefix, count);
        }
    }

    /// Returns each prefix that has a count, in the order of their bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let counts = self.counts.iter();
        counts.map(|(prefix, count)| (&**prefix, *count))
    }

    /// Takes from each count what half of them have at most, and drops those.
    fn make_room(&mut self) {
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, &mut most, _) = counts.select_nth_unstable(Self::COUNT_MAX / 2);
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(most);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_count_is_above_the_truth_and_none_is_far_below() {
        let mut state = 3_u64;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 33
        };
        let mut truth = BTreeMap::<String, u64>::new();
        let mut parts = [UnlistedPrefixes::default(), UnlistedPrefixes::default()];
        for number in 0..60_000_usize {
            let name = match next() % 4 {
                0 => format!("heavy{}:", next() % 3),
                _ => format!("{}:", next() % 30_000),
            };
            let bytes = 60 + next() % 1000;
            *truth.entry(name.clone()).or_default() += bytes;
            parts[number / 30_000].add(name.as_bytes(), bytes);
        }
        let [mut whole, second] = parts;
        whole.merge(second);
        let sum: u64 = truth.values().sum();
        let error_max = 2 * sum / u64::try_from(UnlistedPrefixes::COUNT_MAX).unwrap();
        let counted: BTreeMap<&[u8], u64> = whole.iter().collect();
        assert!(counted.len() <= UnlistedPrefixes::COUNT_MAX);
        for (name, count) in &truth {
            let found = counted.get(name.as_bytes()).copied().unwrap_or(0);
            assert!((found..=found + error_max).contains(count), "{name}");
        }
    }

    #[test]
    fn few_prefixes_are_exact() {
        let mut counts = UnlistedPrefixes::default();
        for number in 0..3 * UnlistedPrefixes::COUNT_MAX {
            let name = format!("{}:", number % UnlistedPrefixes::COUNT_MAX);
            counts.add(name.as_bytes(), 100);
        }
        assert_eq!(counts.iter().count(), UnlistedPrefixes::COUNT_MAX);
        assert!(counts.iter().all(|(_, count)| count == 300));
    }
}
