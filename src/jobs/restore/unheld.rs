//! What the nodes of a restore cannot hold of its records.

use std::fmt;

use crate::engines::sink::Unheld;
use crate::words::units::{counted, grouped, plural};

/// Records of one node by what it cannot hold of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnheldCounts {
    /// They get a CAS of the node's own.
    pub cas: u64,
    /// They are stale, and refused.
    pub stale: u64,
    /// They have client flags above 32 bits, and are refused.
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

/// What some nodes cannot hold, all for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnheldGroup {
    /// What.
    pub what: Unheld,
    /// Why, for people.
    pub why: &'static str,
    /// Records of these nodes that have it.
    pub records: u64,
    /// Addresses of the nodes.
    pub nodes: Vec<String>,
}

impl fmt::Display for UnheldGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Nodes that are named.
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
