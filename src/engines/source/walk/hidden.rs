//! Finds what a walk did not list: items that the server counts beyond the listed keys.
//! Expired items are excluded, and items that the server's counts leave undecided are
//! counted separately.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codecs::protocol::reply::check_connection;
use crate::codecs::protocol::request::crawl_classes;
use crate::codecs::protocol::stats::ServerStats;
use crate::codecs::protocol::text::{Step, parse_line};
use crate::engines::source::seen_keys::SeenKeys;
use crate::engines::source::strategy::WalkKind;
use crate::engines::source::walk::job::Walk;
use crate::ports::host::Stopwatch;
use crate::ports::net::{Connection, Received, ask_server, ask_slab_item_counts};
use crate::words::error::{Error, ErrorKind, Result};

/// A crawl skips an item that is locked at that moment, so one crawl may leave an expired
/// item behind. Two crawls with the same result are enough.
const RECLAIM_COUNT_MAX: u32 = 5;

/// How often the lists are walked again while items are set all the time. What one walk
/// skips, the next one mostly lists.
const LOOK_COUNT_MAX: u32 = 3;

const RUNNING_INTERVAL: Duration = Duration::from_millis(100);

/// A server's counts at one moment.
#[derive(Clone, Debug)]
pub(super) struct Census {
    /// The general statistics.
    pub(super) stats: ServerStats,
    /// The number of items of each slab class, for a walk of lists.
    classes: Option<BTreeMap<u8, u64>>,
}

impl Census {
    /// Returns the least number of items that existed from this census to the later one.
    /// It is computed per slab class, since an item that was deleted from one class and
    /// another added to another class are not the same. Any of them may be one that was
    /// stored in between.
    fn alive_since(&self, later: &Self) -> u64 {
        let (before, after) = (self.stats.curr_items, later.stats.curr_items);
        let in_both = match (&self.classes, &later.classes) {
            (Some(before), Some(after)) => before
                .iter()
                .map(|(class, &count)| count.min(after.get(class).copied().unwrap_or(0)))
                .fold(0, u64::saturating_add),
            _ => before.min(after),
        };
        // A counter that fell was reset, and says nothing.
        let came = later.stats.stored.checked_sub(self.stats.stored);
        in_both.saturating_sub(came.unwrap_or(u64::MAX))
    }

    /// Returns the most items that can exist without having been listed: some of the
    /// items listed since this census may have gone.
    fn unlisted_most(&self, later: &Self, listed: u64) -> u64 {
        let gone = self.stats.deaths.until(&later.stats.deaths);
        let still_there = listed.saturating_sub(gone);
        later.stats.curr_items.saturating_sub(still_there)
    }
}

/// What the server's counts say about items that a walk did not list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    /// Items that certainly existed all the time.
    pub(super) sure: u64,
    /// The most further items there may be.
    pub(super) unsure: u64,
}

impl Hidden {
    fn all(self) -> u64 {
        self.sure.saturating_add(self.unsure)
    }
}

impl Walk<'_> {
    /// Asks the server for the counts that the walk needs.
    pub(super) fn census(&self) -> Result<Census> {
        self.with_connection(|connection| {
            let stats = ask_server(connection)?.stats;
            let has_classes = self.strategy.walk != WalkKind::Hash;
            let classes = has_classes.then(|| ask_slab_item_counts(connection));
            Ok(Census {
                stats,
                classes: classes.transpose()?,
            })
        })
    }

    /// Also asks for the counts of slab classes, if the server reports them: a walk of
    /// lists may follow.
    pub(super) fn census_by_class(&self) -> Result<Census> {
        if self.strategy.walk != WalkKind::Hash {
            return self.census();
        }
        let stats = self.general_statistics()?;
        let classes = match self.slab_item_counts() {
            Ok(classes) => Some(classes),
            Err(error) if is_not_told(&error) => None,
            Err(error) => return Err(error),
        };
        Ok(Census { stats, classes })
    }

    /// Reports whether at least as many keys were listed as existed all the time.
    pub(super) fn shows_all(&self, before: &Census, seen: &SeenKeys) -> Result<bool> {
        let now = self.census()?;
        Ok(before.unlisted_most(&now, seen.listed()) == 0)
    }

    /// Returns what the server counts beyond the keys listed from its hash table, after
    /// asking it to reclaim expired items. Such a walk skips nothing, so if items are
    /// missing, the walk ended too early.
    pub(super) fn find_unwalked(&self, before: &Census, listed: u64) -> Result<Hidden> {
        let hidden = || {
            let alive = before.alive_since(&self.census()?);
            Ok(alive.saturating_sub(listed))
        };
        let first = hidden()?;
        if first == 0 {
            return Ok(Hidden::default());
        }
        Ok(match self.reclaim_all(first, &hidden)? {
            Some(sure) => Hidden { sure, unsure: 0 },
            None => Hidden {
                sure: 0,
                unsure: first,
            },
        })
    }

    /// Returns what the server counts beyond the keys listed from its LRU lists, after
    /// asking it to reclaim expired items. `look` walks the lists once more.
    pub(super) fn find_hidden(
        &self,
        before: &Census,
        seen: &SeenKeys,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<Hidden> {
        let found = self.hidden_by_lists(before, before, seen)?;
        if found.all() == 0 || !self.strategy.walk.needs_crawler() {
            return Ok(found);
        }
        let all = || Ok(self.hidden_by_lists(before, before, seen)?.all());
        if self.reclaim_all(found.all(), &all)?.is_none() {
            return Ok(Hidden {
                sure: 0,
                unsure: found.all(),
            });
        }
        let mut found = Hidden::default();
        // Counted anew from here on: some of the keys listed before may have been among
        // the items just reclaimed, and their number is unknown.
        let since = self.census()?;
        seen.begin_round();
        for _ in 0..LOOK_COUNT_MAX {
            look()?;
            found = self.hidden_by_lists(before, &since, seen)?;
            if found.unsure == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Compares the current counts with the keys listed since the walk began, and since a
    /// later moment at which a round began.
    fn hidden_by_lists(&self, before: &Census, since: &Census, seen: &SeenKeys) -> Result<Hidden> {
        let (listed, listed_since) = (seen.listed(), seen.listed_in_round());
        let now = self.census()?;
        let sure = before.alive_since(&now).saturating_sub(listed);
        let most = before
            .unlisted_most(&now, listed)
            .min(since.unlisted_most(&now, listed_since))
            .max(sure);
        Ok(Hidden {
            sure,
            unsure: most.saturating_sub(sure),
        })
    }

    /// Asks the server to reclaim expired items; returns how many items are hidden
    /// afterwards, or `None` if it cannot have reclaimed all of them.
    fn reclaim_all(&self, hidden: u64, find: &dyn Fn() -> Result<u64>) -> Result<Option<u64>> {
        let mut hidden = hidden;
        for _ in 0..RECLAIM_COUNT_MAX {
            if !self.reclaim()? {
                return Ok(None);
            }
            let left = find()?;
            if left == 0 || left == hidden {
                return Ok(Some(left));
            }
            hidden = left;
        }
        Ok(Some(hidden))
    }

    /// Has the server look for expired items once and waits until it is done; returns
    /// whether it was.
    fn reclaim(&self) -> Result<bool> {
        let classes = self.slab_item_counts()?;
        let request = crawl_classes(classes.into_keys());
        let started = self.until_not_busy(|| {
            self.with_connection(|connection| {
                let report = ask_server(connection)?;
                if report.stats.is_crawler_running {
                    return Err(Error::new(ErrorKind::Busy).at(self.location()));
                }
                Ok(report.settings.crawl_count_max == 0 && start_crawl(connection, &request)?)
            })
        });
        match started {
            Ok(true) => self.wait_for_crawler(),
            Ok(false) => Ok(false),
            Err(error) if *error.kind() == ErrorKind::Busy => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until no crawl runs; returns whether that happened in time.
    fn wait_for_crawler(&self) -> Result<bool> {
        let started = Stopwatch::start();
        while self.general_statistics()?.is_crawler_running {
            if started.elapsed() >= self.busy_timeout {
                return Ok(false);
            }
            self.pause(RUNNING_INTERVAL)?;
        }
        Ok(true)
    }

    /// Returns the sure and the unsure number. If a walk reported its own end, but the
    /// server could not be asked afterwards, all items are unsure.
    pub(super) fn or_unknown(
        &self,
        hidden: Result<Hidden>,
        before: &Census,
        what: &str,
    ) -> Result<(u64, u64)> {
        match hidden {
            Ok(hidden) => Ok((hidden.sure, hidden.unsure)),
            Err(error) if error.is_canceled() => Err(error),
            Err(error) => {
                let (node, error) = (self.node.address(), error.to_chain());
                tracing::warn!(node, "what the {what} did not show is not known: {error}");
                Ok((0, before.stats.curr_items))
            }
        }
    }

    pub(super) fn general_statistics(&self) -> Result<ServerStats> {
        self.with_connection(|connection| Ok(ask_server(connection)?.stats))
    }
}

/// Reports whether a server refuses to report its slab classes, or has none.
fn is_not_told(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unsupported { .. } | ErrorKind::Server { .. }
    )
}

/// Requests a crawl; returns whether it was started.
fn start_crawl(connection: &mut Connection, request: &[u8]) -> Result<bool> {
    let mut is_started = false;
    connection.exchange_short("crawl", request, |bytes| {
        let Step::Done(line, len) = parse_line(bytes, "OK")? else {
            return Ok(Received::More(0));
        };
        check_connection(line)?;
        if line.starts_with(b"BUSY") {
            return Err(Error::new(ErrorKind::Busy));
        }
        is_started = line == b"OK";
        Ok(Received::Done(len))
    })?;
    Ok(is_started)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::stats::{StatTable, parse_stats};

    fn census(items: u64, stored: u64, deleted: u64) -> Census {
        let mut table = StatTable::default();
        let text = format!(
            "STAT curr_items {items}\r\nSTAT total_items {stored}\r\nSTAT delete_hits {deleted}\r\nEND\r\n"
        );
        parse_stats(text.as_bytes(), &mut table).unwrap();
        Census {
            stats: ServerStats::of(&table),
            classes: Some(BTreeMap::from([(3, items)])),
        }
    }

    #[test]
    fn what_was_stored_meanwhile_is_not_promised_and_what_went_hides_nothing() {
        let before = census(1000, 5000, 70);
        let sure = |later: Census, listed: u64| before.alive_since(&later).saturating_sub(listed);
        let most = |later: Census, listed: u64| before.unlisted_most(&later, listed);
        // Nothing changes: both are exact.
        assert_eq!(
            (
                sure(census(1000, 5000, 70), 997),
                most(census(1000, 5000, 70), 997)
            ),
            (3, 3)
        );
        // Existing items are set again: the count stays, and any of them may be set.
        assert_eq!(
            (
                sure(census(1000, 5040, 70), 997),
                most(census(1000, 5040, 70), 997)
            ),
            (0, 3)
        );
        // Ten were deleted and ten others set: each of those may be a hidden one.
        assert_eq!(
            (
                sure(census(1000, 5010, 80), 997),
                most(census(1000, 5010, 80), 997)
            ),
            (0, 13)
        );
        // Five were deleted, either listed or hidden ones.
        assert_eq!(
            (
                sure(census(995, 5000, 75), 997),
                most(census(995, 5000, 75), 997)
            ),
            (0, 3)
        );
        // The counters were reset.
        assert_eq!(
            (sure(census(1000, 0, 0), 997), most(census(1000, 0, 0), 997)),
            (0, 3)
        );
    }
}
