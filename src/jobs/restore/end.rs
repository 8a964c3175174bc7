//! Asks a node after the restore whether it has what it reported as stored.

use crate::engines::sink::{LoadTally, Presence, look_for};
use crate::jobs::restore::eviction_watch::risen;
use crate::jobs::restore::plan::RestorePlan;
use crate::jobs::restore::targets::TargetNode;
use crate::ports::host;
use crate::ports::net::{Connection, ServerReport, ask_server};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

/// A node at the end of a restore.
#[derive(Debug, Default)]
pub(super) struct NodeEnd {
    /// Items that it evicted meanwhile; `None` if it does not answer.
    pub(super) evicted: Option<u64>,
    /// Items that it has; `None` if it does not answer.
    pub(super) items: Option<u64>,
    /// What was found of a sample of the stored keys.
    pub(super) presence: Option<Presence>,
    /// The error that makes the restore of this node worthless, or that kept it from
    /// answering.
    pub(super) failure: Option<Error>,
}

impl RestorePlan {
    /// Asks a node, and subtracts from the tally what it did not keep.
    pub(super) fn look_at_end(
        &self,
        node: &NodeSpec,
        target: &TargetNode,
        tally: &mut LoadTally,
        cancel: &Cancel,
    ) -> NodeEnd {
        let mut end = NodeEnd::default();
        let asked = self.ask_at_end(node, target, tally, &mut end, cancel);
        end.failure = asked.err();
        end
    }

    fn ask_at_end(
        &self,
        node: &NodeSpec,
        target: &TargetNode,
        tally: &mut LoadTally,
        end: &mut NodeEnd,
        cancel: &Cancel,
    ) -> Result<()> {
        let TargetNode {
            server, strategy, ..
        } = target;
        let mut connection = Connection::connect(node, &self.options.net, cancel)?;
        let report = ask_server(&mut connection)?;
        let (before, after) = (&server.stats, &report.stats);
        let evicted = risen(before.evictions, after.evictions);
        end.evicted = Some(evicted);
        end.items = Some(after.curr_items);
        let change = server.find_change(&report);
        if change.is_none() {
            tally.retract_stored(count_not_kept(server, &report, tally));
        }
        // Items that clients deleted are not lost.
        let deleted = after.deletes.saturating_sub(before.deletes);
        let explained = after.curr_items.saturating_add(deleted);
        let may_be_gone = change.is_some() || evicted > 0 || explained < tally.counters.stored;
        if may_be_gone && !tally.sample.is_empty() {
            let now = host::now();
            end.presence = look_for(&tally.sample, strategy, &mut connection, now)?;
        }
        let Some(what) = change else {
            return Ok(());
        };
        let error = Error::new(ErrorKind::NodeChanged { what });
        Err(error.at(Location::node(node.address())))
    }
}

/// Returns how many of the stored items are missing from the node's own count of items
/// ever stored, although the node reported them as stored. 0 if its count cannot show
/// this.
fn count_not_kept(before: &ServerReport, after: &ServerReport, tally: &LoadTally) -> u64 {
    // A proxy counts items of its own, and some servers do not count.
    if before.is_proxy || after.stats.stored == 0 {
        return 0;
    }
    let Some(risen) = after.stats.stored.checked_sub(before.stats.stored) else {
        return 0;
    };
    // If its counters were not reset meanwhile, it has read everything that was sent.
    let read_least = before.stats.bytes_read.saturating_add(tally.stored_bytes);
    if after.stats.bytes_read < read_least {
        return 0;
    }
    tally.counters.stored.saturating_sub(risen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::counters::Counters;

    #[test]
    fn what_a_node_does_not_count_is_not_kept() {
        let report = |stored, bytes_read| {
            let mut report = ServerReport::default();
            report.stats.stored = stored;
            report.stats.bytes_read = bytes_read;
            report
        };
        let tally = LoadTally {
            counters: Counters {
                stored: 100,
                ..Counters::default()
            },
            stored_bytes: 5000,
            ..LoadTally::default()
        };
        let count =
            |before: &ServerReport, after: &ServerReport| count_not_kept(before, after, &tally);
        let before = report(1000, 70_000);
        assert_eq!(count(&before, &report(1100, 76_000)), 0);
        assert_eq!(count(&before, &report(1500, 90_000)), 0);
        assert_eq!(count(&before, &report(1099, 76_000)), 1);
        assert_eq!(count(&before, &report(1000, 76_000)), 100);
        // The counter was reset: it fell, or it has risen again since.
        assert_eq!(count(&before, &report(50, 3000)), 0);
        assert_eq!(count(&before, &report(1050, 50_000)), 0);
        // The server does not count.
        assert_eq!(count(&report(0, 0), &report(0, 0)), 0);
        let proxy = ServerReport {
            is_proxy: true,
            ..before
        };
        assert_eq!(count(&proxy, &report(1000, 76_000)), 0);
    }
}
