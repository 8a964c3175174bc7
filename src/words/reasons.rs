//! Why items were lost, with how many each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts by reason; a server whose words differ for each item cannot fill the
/// memory with them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    /// Most reasons kept apart.
    const COUNT_MAX: usize = 50;
    /// Stands for all further ones.
    const OTHER: &'static str = "other";

    /// Counts one item.
    pub fn add(&mut self, reason: &str) {
        self.add_many(reason, 1);
    }

    /// Counts some items with one reason.
    pub fn add_many(&mut self, reason: &str, count: u64) {
        let is_full = self.0.len() >= Self::COUNT_MAX && !self.0.contains_key(reason);
        let reason = if is_full { Self::OTHER } else { reason };
        let sum = self.0.entry(reason.to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds the counts of another part.
    pub fn merge(&mut self, other: &Self) {
        for (reason, count) in &other.0 {
            self.add_many(reason, *count);
        }
    }

    /// Visits the reasons, in the order of their words.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0
            .iter()
            .map(|(reason, count)| (reason.as_str(), *count))
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
