//! Why items were lost, with a count for each reason.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::words::decimal;

/// Counts by reason. Their number is bounded, so that a server whose messages differ for
/// each item cannot fill the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reasons(BTreeMap<String, Decimal>);

/// A count, written as decimal text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Decimal(#[serde(with = "decimal")] u64);

impl Reasons {
    /// Most reasons that are kept apart.
    const COUNT_MAX: usize = 50;
    /// Collects all further reasons.
    const OTHER: &'static str = "other";

    /// Counts one item.
    pub fn add(&mut self, reason: &str) {
        self.add_many(reason, 1);
    }

    /// Counts several items with one reason.
    pub fn add_many(&mut self, reason: &str, count: u64) {
        let is_full = self.0.len() >= Self::COUNT_MAX && !self.0.contains_key(reason);
        let reason = if is_full { Self::OTHER } else { reason };
        let Decimal(sum) = self.0.entry(reason.to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds the counts of another part.
    pub fn merge(&mut self, other: &Self) {
        for (reason, count) in other.iter() {
            self.add_many(reason, count);
        }
    }

    /// Returns the counts by reason, as numbers.
    pub fn counts(&self) -> BTreeMap<&str, u64> {
        self.iter().collect()
    }

    /// Visits the reasons in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0
            .iter()
            .map(|(reason, count)| (reason.as_str(), count.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_ever_new_words_cannot_fill_the_memory() {
        let mut reasons = Reasons::default();
        for number in 0..1000 {
            reasons.add(&format!("SERVER_ERROR {number}"));
        }
        assert!(reasons.iter().count() <= 51);
        assert_eq!(reasons.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        let mut sum = reasons.clone();
        sum.merge(&reasons);
        assert_eq!(sum.iter().map(|(_, count)| count).sum::<u64>(), 2000);
    }
}
