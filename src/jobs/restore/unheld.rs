//! Counts what the nodes of a restore cannot hold of its records.

use std::fmt;

use crate::engines::sink::Unheld;
use crate::words::units::{counted, grouped, plural};

/// Counts of one node's records by the property that the node cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnheldCounts {
    /// Records that get a CAS assigned by the node.
    pub cas: u64,
    /// Stale records, which are refused.
    pub stale: u64,
    /// Records with client flags above 32 bits, which are refused.
    pub wide_flags: u64,
}

impl UnheldCounts {
    pub(super) fn of(&mut self, what: Unheld) -> &mut u64 {
        match what {
            Unheld::Cas => &mut self.cas,
            Unheld::StaleMark => &mut self.stale,
            Unheld::WideFlags => &mut self.wide_flags,
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (what, count) in other.all() {
            let sum = self.of(what);
            *sum = sum.saturating_add(count);
        }
    }

    pub(super) fn all(&self) -> [(Unheld, u64); 3] {
        [
            (Unheld::Cas, self.cas),
            (Unheld::StaleMark, self.stale),
            (Unheld::WideFlags, self.wide_flags),
        ]
    }
}

/// A property that some nodes cannot hold for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnheldGroup {
    /// The property.
    pub what: Unheld,
    /// The reason, for display.
    pub why: &'static str,
    /// Records of these nodes with the property.
    pub records: u64,
    /// Addresses of the nodes.
    pub nodes: Vec<String>,
}

impl fmt::Display for UnheldGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The most nodes that are named.
        const NAMED_MAX: usize = 3;
        let records = counted(self.records, "record");
        match self.what {
            Unheld::Cas => write!(f, "the CAS of {records} is not restored on ")?,
            Unheld::StaleMark => write!(
                f,
                "{} stale {} will be refused by ",
                grouped(self.records),
                plural(self.records, "record")
            )?,
            Unheld::WideFlags => write!(
                f,
                "{records} with client flags above 32 bits will be refused by "
            )?,
        }
        let named = self.nodes.get(..NAMED_MAX).unwrap_or(&self.nodes);
        f.write_str(&named.join(", "))?;
        match self.nodes.len().saturating_sub(NAMED_MAX) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        write!(f, ": {}", self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_in_one_line() {
        let group = |what, records, count: usize| {
            let group = UnheldGroup {
                what,
                why: "why",
                records,
                nodes: (1..=count).map(|number| format!("n{number}:1")).collect(),
            };
            group.to_string()
        };
        assert_eq!(
            group(Unheld::Cas, 1, 1),
            "the CAS of 1 record is not restored on n1:1: why"
        );
        assert_eq!(
            group(Unheld::StaleMark, 1200, 3),
            "1,200 stale records will be refused by n1:1, n2:1, n3:1: why"
        );
        assert_eq!(
            group(Unheld::WideFlags, 2, 5),
            "2 records with client flags above 32 bits will be refused by n1:1, n2:1, n3:1 and 2 \
             more: why"
        );
    }
}
