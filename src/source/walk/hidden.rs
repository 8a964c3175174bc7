//! What the LRU lists hide: items that the server counts and passes over, told
//! apart from those that have expired.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::net::{Connection, Received, ask_server};
use crate::protocol::reply::check_connection;
use crate::protocol::request::crawl_classes;
use crate::protocol::stats::ServerStats;
use crate::protocol::text::{Step, parse_line};
use crate::source::walk::Walk;

/// A crawl passes over an item of which the lock is held at that moment, so one
/// may leave an expired one; two that find the same are enough.
const RECLAIM_COUNT_MAX: u32 = 5;

/// How often the lists are walked again while items are set all the time: what
/// one walk passes over the next one mostly shows.
const LOOK_COUNT_MAX: u32 = 3;

const RUNNING_INTERVAL: Duration = Duration::from_millis(100);

/// What the server's counts say that its lists did not show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hidden {
    /// Items that were there all the time, for sure.
    pub(super) sure: u64,
    /// Further ones, which may as well have expired, or been set since.
    pub(super) unsure: u64,
}

impl Walk<'_> {
    /// Returns what the server counts beyond the keys that are known, after it was
    /// asked to reclaim what has expired. `look` walks the lists once more, and
    /// returns how many keys are known then.
    pub(super) fn find_hidden(
        &self,
        before: &BTreeMap<u8, u64>,
        stored_before: u64,
        known: u64,
        mut look: impl FnMut() -> Result<u64>,
    ) -> Result<Hidden> {
        let hidden = self.not_shown(before, known)?;
        if hidden == 0 {
            return Ok(Hidden::default());
        }
        if !self.reclaim_all(before, known, hidden)? {
            return Ok(Hidden {
                sure: 0,
                unsure: hidden,
            });
        }
        let mut found = Hidden::default();
        for _ in 0..LOOK_COUNT_MAX {
            let known = look()?;
            let hidden = self.not_shown(before, known)?;
            let stored_after = self.general_statistics()?.stored;
            // What was set since the first count may be in the place of what has
            // expired since, and not shown. A count that fell was reset.
            let came = stored_after.checked_sub(stored_before).unwrap_or(u64::MAX);
            found = Hidden {
                sure: hidden.saturating_sub(came),
                unsure: hidden.min(came),
            };
            if found.unsure == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Has the server reclaim what has expired; says whether it can have
    /// reclaimed all.
    fn reclaim_all(&self, before: &BTreeMap<u8, u64>, known: u64, hidden: u64) -> Result<bool> {
        let mut hidden = hidden;
        for _ in 0..RECLAIM_COUNT_MAX {
            if !self.reclaim(before)? {
                return Ok(false);
            }
            let left = self.not_shown(before, known)?;
            if left == 0 || left == hidden {
                return Ok(true);
            }
            hidden = left;
        }
        Ok(true)
    }

    /// Has the server look for expired items once, and waits until it has; says
    /// whether it did.
    fn reclaim(&self, classes: &BTreeMap<u8, u64>) -> Result<bool> {
        let request = crawl_classes(classes.keys().copied());
        let started = self.until_not_busy(|| {
            let mut connection = self.connect()?;
            let report = ask_server(&mut connection)?;
            if report.stats.is_crawler_running {
                return Err(Error::new(ErrorKind::Busy).at(self.location()));
            }
            Ok(report.settings.crawl_count_max == 0 && start_crawl(&mut connection, &request)?)
        });
        match started {
            Ok(true) => self.wait_for_crawler(),
            Ok(false) => Ok(false),
            Err(error) if *error.kind() == ErrorKind::Busy => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until no crawl runs; says whether that came in time.
    fn wait_for_crawler(&self) -> Result<bool> {
        let started = Instant::now();
        while self.general_statistics()?.is_crawler_running {
            if started.elapsed() >= self.busy_timeout {
                return Ok(false);
            }
            self.pause(RUNNING_INTERVAL)?;
        }
        Ok(true)
    }

    pub(super) fn general_statistics(&self) -> Result<ServerStats> {
        self.retry_when_full(|| Ok(ask_server(&mut self.connect()?)?.stats))
    }
}

/// Asks for a crawl; says whether it was started.
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
