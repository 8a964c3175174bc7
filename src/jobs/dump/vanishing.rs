//! Checks whether items that vanished during a dump can have gone one by one.

use crate::codecs::protocol::classic::{
    GetsHead, end_gets, parse_gets, start_gets, write_gets_key,
};
use crate::codecs::protocol::text::Step;
use crate::engines::source::Witness;
use crate::ports::net::{Connection, Received, ServerReport};
use crate::words::error::Result;
use crate::words::units::to_u64;

/// Outcomes of reading listed items whose TTL had not run out.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadOutcome<'a> {
    pub(super) read: u64,
    pub(super) vanished: u64,
    /// Some of the first items that were read.
    pub(super) witnesses: &'a [Witness],
}

/// Returns a message if most items are gone, and the server's counters cannot explain it
/// item by item. It is normal that some items are deleted, evicted or changed during a
/// dump; a mass loss is what a flush leaves behind that the server does not report.
///
/// Called for a server that shows no restart and no flush. Returns `None` if the server
/// reports for certain that there was no flush.
pub(super) fn find_mass_loss(
    before: &ServerReport,
    after: &ServerReport,
    outcome: ReadOutcome<'_>,
) -> Option<&'static str> {
    let (start, end) = (before.stats.curr_items, after.stats.curr_items);
    // If every item was gone, none was read that a flush could have removed since:
    // servers still list and count what was flushed before.
    if outcome.vanished <= outcome.read || outcome.read == 0 || end >= start / 2 {
        return None;
    }
    // Items can go without any counter showing it, for example by `md key I T1`.
    if before.flush_marks().excludes_flush(&after.flush_marks()) {
        return None;
    }
    // Counters that fell were reset.
    let explained = before.stats.losses.until(&after.stats.losses);
    let explained = explained.unwrap_or_else(|| after.stats.losses.sum());
    (outcome.vanished > explained).then_some(
        "most of its items vanished meanwhile, more than it deleted, evicted or changed, as by a \
         flush",
    )
}

/// Reports whether any item that was read is still there unchanged, which shows that
/// there has been no flush since.
pub(super) fn has_witness(connection: &mut Connection, witnesses: &[Witness]) -> Result<bool> {
    for witness in witnesses {
        let mut request = Vec::new();
        start_gets(witness.cas.is_some(), &mut request);
        write_gets_key(&witness.key, &mut request);
        end_gets(&mut request);
        let mut is_there = false;
        let mut value_left: u64 = 0;
        connection.exchange("get", &request, |bytes| {
            if value_left > 0 {
                let len = value_left.min(to_u64(bytes.len()));
                value_left = value_left.saturating_sub(len);
                return Ok(Received::More(usize::try_from(len).unwrap_or(usize::MAX)));
            }
            let (head, len) = match parse_gets(bytes)? {
                Step::Need => return Ok(Received::More(0)),
                Step::Done(head, len) => (head, len),
            };
            Ok(match head {
                GetsHead::Value { value_len, cas, .. } => {
                    is_there = cas == witness.cas.map(|cas| cas.0);
                    // Plus its line end.
                    value_left = value_len.saturating_add(2);
                    Received::More(len)
                }
                GetsHead::End | GetsHead::Refused(_) => Received::Done(len),
            })
        })?;
        if is_there {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::stats::{LossCounters, ServerStats, StatTable, parse_stats};

    fn report(items: u64, deleted: u64, flushed_until: Option<u64>) -> ServerReport {
        let mut table = StatTable::default();
        let text = format!("STAT curr_items {items}\r\nSTAT delete_hits {deleted}\r\nEND\r\n");
        parse_stats(text.as_bytes(), &mut table).unwrap();
        let mut report = ServerReport {
            stats: ServerStats::of(&table),
            ..ServerReport::default()
        };
        report.settings.flushed_until = flushed_until;
        assert_eq!(report.stats.losses == LossCounters::default(), deleted == 0);
        report
    }

    #[test]
    fn a_loss_of_most_items_must_be_explained_by_what_the_server_counts() {
        let find = |after: ServerReport, read, vanished| {
            let before = report(1000, 50, after.settings.flushed_until);
            let outcome = ReadOutcome {
                read,
                vanished,
                witnesses: &[],
            };
            find_mass_loss(&before, &after, outcome).is_some()
        };
        assert!(find(report(0, 50, None), 100, 900));
        assert!(find(report(0, 949, None), 100, 900));
        // All items had gone before the first was read.
        assert!(!find(report(0, 50, None), 0, 1000));
        assert!(!find(report(0, 50, Some(0)), 100, 900));
        // All were deleted; only the smaller part has gone; they are back.
        assert!(!find(report(0, 950, None), 100, 900));
        assert!(!find(report(550, 50, None), 550, 450));
        assert!(!find(report(1000, 50, None), 100, 900));
        // The counters were reset. If the server would report a flush, there was none;
        // otherwise only what was counted since can be the reason.
        assert!(!find(report(0, 0, Some(0)), 100, 900));
        assert!(find(report(0, 0, None), 100, 900));
    }
}
