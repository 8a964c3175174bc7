//! What became of the items that a job took.

use serde::{Deserialize, Serialize};

use crate::words::decimal;

/// How many items came to which end: outcomes, which are as they should be, and losses.
///
/// A manifest records those that an item of a dump can have. FORMAT.md 5.12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Items taken, such as the lines of a walk or the records for a node; the sum of all
    /// fields below.
    #[serde(rename = "listed", with = "decimal")]
    pub taken: u64,
    /// Outcome: in the snapshot, or stored by the node.
    #[serde(with = "decimal")]
    pub stored: u64,
    /// Outcome: deleted or evicted before its value was read.
    #[serde(with = "decimal")]
    pub vanished: u64,
    /// Outcome: expired before its value was read, or since the dump.
    #[serde(with = "decimal")]
    pub expired: u64,
    /// Outcome: taken more than once.
    #[serde(with = "decimal")]
    pub duplicate: u64,
    /// Outcome: not selected. Omitted from a manifest if 0, for readers that do not know
    /// it.
    #[serde(with = "decimal", skip_serializing_if = "decimal::is_zero")]
    pub filtered: u64,
    /// Outcome: in mode *add*, the node already has the key. Not in a manifest.
    #[serde(skip)]
    pub existing: u64,
    /// Neither outcome nor loss: sent to a node that went away before it answered. The
    /// node may have it. Not in a manifest.
    #[serde(skip)]
    pub unsure: u64,
    /// Loss: no command can carry the key or value.
    #[serde(with = "decimal")]
    pub refused: u64,
    /// Loss: the server answered with an error, or an item of a restart file is
    /// inconsistent.
    #[serde(with = "decimal")]
    pub failed: u64,
    /// Loss: the node went away before its value was read.
    #[serde(with = "decimal")]
    pub missing: u64,
    /// Loss: larger than the node's largest item. Not in a manifest.
    #[serde(skip)]
    pub too_large: u64,
    /// Loss: not sent, because the node went away or the job was stopped. Not in a
    /// manifest.
    #[serde(skip)]
    pub unsent: u64,
    /// Loss: the node reported it as stored, but by its own count of stored items it did
    /// not store it. Not in a manifest.
    #[serde(skip)]
    pub not_kept: u64,
}

impl Counters {
    /// Returns how many items were lost.
    pub fn losses(&self) -> u64 {
        let losses = [
            self.refused,
            self.failed,
            self.missing,
            self.too_large,
            self.unsent,
            self.not_kept,
        ];
        losses.into_iter().fold(0, u64::saturating_add)
    }

    /// Returns how many items have an outcome or are lost. This equals `taken` if every
    /// item is accounted for.
    pub fn accounted(&self) -> u64 {
        let others = [
            self.stored,
            self.vanished,
            self.expired,
            self.duplicate,
            self.filtered,
            self.existing,
            self.unsure,
        ];
        others.into_iter().fold(self.losses(), u64::saturating_add)
    }

    /// Adds the counts of another part.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.taken, other.taken),
            (&mut self.stored, other.stored),
            (&mut self.vanished, other.vanished),
            (&mut self.expired, other.expired),
            (&mut self.duplicate, other.duplicate),
            (&mut self.filtered, other.filtered),
            (&mut self.existing, other.existing),
            (&mut self.unsure, other.unsure),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.missing, other.missing),
            (&mut self.too_large, other.too_large),
            (&mut self.unsent, other.unsent),
            (&mut self.not_kept, other.not_kept),
        ];
        for (sum, count) in pairs {
            *sum = sum.saturating_add(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_is_an_outcome_or_a_loss_and_a_manifest_has_those_of_a_dump() {
        let of_dump = Counters {
            taken: 9,
            stored: 1,
            vanished: 1,
            expired: 1,
            duplicate: 1,
            filtered: 1,
            refused: 2,
            failed: 1,
            missing: 1,
            ..Counters::default()
        };
        assert_eq!((of_dump.accounted(), of_dump.losses()), (9, 4));
        let mut all = Counters {
            existing: 1,
            unsure: 1,
            too_large: 1,
            unsent: 1,
            not_kept: 1,
            ..of_dump
        };
        assert_eq!((all.accounted(), all.losses()), (14, 7));
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Counters>(&text).unwrap(), of_dump);
        assert_eq!(
            text,
            r#"{"listed":"9","stored":"1","vanished":"1","expired":"1","duplicate":"1","filtered":"1","refused":"2","failed":"1","missing":"1"}"#
        );
        let none = serde_json::to_string(&Counters::default()).unwrap();
        assert!(!none.contains("filtered"), "{none}");
        all.merge(&all.clone());
        assert_eq!((all.taken, all.accounted(), all.losses()), (18, 28, 14));
    }
}
