//! The list of all keys of a node, by the walk that was chosen for it.

mod crawl;
mod hidden;
mod listing;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{ErrorKind, Location, Result};
use crate::net::{Connection, NetOptions, Received, ask_slab_item_counts};
use crate::node::NodeSpec;
use crate::protocol::reply::check_connection;
use crate::protocol::request::{CRAWLER_DISABLE, CRAWLER_ENABLE};
use crate::protocol::text::{Step, parse_line};
use crate::source::seen_keys::SeenKeys;
use crate::source::spool::Spool;
use crate::source::strategy::{ReadStrategy, WalkKind};
use crate::source::walk::hidden::Hidden;
use crate::units::to_u64;

/// What one walk needs.
#[derive(Debug)]
pub struct Walk<'a> {
    /// Whom to ask.
    pub node: &'a NodeSpec,
    /// Of the connections.
    pub net: &'a NetOptions,
    /// How to ask.
    pub strategy: ReadStrategy,
    /// Where the lines go.
    pub spool: &'a Spool,
    /// Tells what is new in a walk that is done again; needed for all but
    /// [`WalkKind::Hash`].
    pub seen: Option<&'a SeenKeys>,
    /// Stops it.
    pub cancel: &'a Cancel,
    /// How long to wait for the end of another crawl, or for a connection of a
    /// server that has none left.
    pub busy_timeout: Duration,
}

/// What a walk says it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkReport {
    /// What was really done: where the server's hash table was about to grow,
    /// another walk than the chosen one is safer.
    pub walk: WalkKind,
    /// How often the lists were walked.
    pub pass_count: u32,
    /// Keys that only the last pass found.
    pub last_pass_new: u64,
    /// Items that the server counts and did not list.
    pub unlisted: u64,
}

/// How often LRU lists are walked at most. A pass leaves out up to 15 percent of
/// a server in heavy use (measured), and not the same ones again.
const PASS_COUNT_MAX: u32 = 5;

/// How long items that a client is being sent are waited for, where passes over
/// the lists do not show all that the server counts.
const HELD_PAUSE: Duration = Duration::from_secs(1);

impl Walk<'_> {
    /// Lists every item into the spool, and closes it, also on error.
    ///
    /// # Errors
    ///
    /// - `Busy`: another crawl did not end in time.
    /// - `Server`: it refuses the walk; `Timeout`, `Closed`, `Io`, `Canceled`.
    pub fn run(&self) -> Result<WalkReport> {
        let walked = if self.strategy.turns_crawler_on {
            self.run_with_crawler_on()
        } else {
            self.run_as_it_is()
        };
        self.spool.close();
        walked
    }

    fn run_with_crawler_on(&self) -> Result<WalkReport> {
        let enabled = self.retry_when_full(|| {
            let mut connection = self.connect()?;
            switch_crawler(&mut connection, CRAWLER_ENABLE)
        })?;
        if let Some(words) = enabled {
            // Somebody else has turned it on since; else the walk tells.
            tracing::info!(node = self.node.address(), "lru_crawler enable: {words}");
            return self.run_as_it_is();
        }
        let walked = self.run_as_it_is();
        // As it was, also when the job is stopped; what goes wrong here has cost
        // no item.
        let disabled = Connection::connect(self.node, self.net, &Cancel::new())
            .and_then(|mut connection| switch_crawler(&mut connection, CRAWLER_DISABLE));
        let trouble = match disabled {
            Ok(words) => words,
            Err(error) => Some(error.to_chain()),
        };
        if let Some(trouble) = trouble {
            tracing::warn!("the LRU crawler was turned on and stays so: {trouble}");
        }
        walked
    }

    fn run_as_it_is(&self) -> Result<WalkReport> {
        let report = |walk| WalkReport {
            walk,
            pass_count: 1,
            last_pass_new: 0,
            unlisted: 0,
        };
        match self.strategy.walk {
            WalkKind::Hash => {
                self.crawl_hash()?;
                Ok(report(WalkKind::Hash))
            }
            WalkKind::Slabs | WalkKind::SlabsSerial | WalkKind::Cachedump => {
                self.repeat(report(self.strategy.walk))
            }
        }
    }

    /// Walks the LRU lists until a pass finds nothing that was not known: items
    /// move between the lists while they are walked, those in use are passed
    /// over, and a new value may put one into a class that was walked before.
    fn repeat(&self, mut report: WalkReport) -> Result<WalkReport> {
        let stats = self.general_statistics()?;
        let has_gap = self.strategy.known_gap(stats.version).is_some();
        let passes_over = self.strategy.walk != WalkKind::Cachedump && !has_gap;
        let before = if has_gap || passes_over {
            self.slab_item_counts()?
        } else {
            BTreeMap::new()
        };
        let mut known = 0;
        let mut has_paused = false;
        for pass in 1..=PASS_COUNT_MAX {
            report.pass_count = pass;
            let listed = match self.strategy.walk {
                WalkKind::SlabsSerial | WalkKind::Slabs | WalkKind::Hash => {
                    self.crawl_lists()?;
                    None
                }
                WalkKind::Cachedump => Some(self.list_all_classes()?),
            };
            let Some(seen) = self.seen else {
                report.unlisted = listed.map_or(0, |listed| listed.unlisted(u64::MAX));
                break;
            };
            self.spool.wait_until_done(self.cancel)?;
            let count = seen.count();
            report.unlisted = listed.map_or(0, |listed| listed.unlisted(count));
            report.last_pass_new = count.saturating_sub(known);
            known = count;
            if report.last_pass_new > 0 {
                continue;
            }
            // A crawl passes over an item that a client is just being sent, and
            // passes that follow on each other pass over the same ones.
            let may_show_more = passes_over && !has_paused && self.not_shown(&before, known)? > 0;
            if !may_show_more {
                break;
            }
            has_paused = true;
            self.pause(HELD_PAUSE)?;
        }
        if passes_over && let Some(seen) = self.seen {
            let found = self.find_hidden(&before, stats.stored, known, || {
                self.crawl_lists()?;
                self.spool.wait_until_done(self.cancel)?;
                report.pass_count = report.pass_count.saturating_add(1);
                let count = seen.count();
                report.last_pass_new = count.saturating_sub(known);
                known = count;
                Ok(count)
            });
            let hidden = match found {
                Err(error) if !error.is_canceled() => {
                    let (node, error) = (self.node.address(), error.to_chain());
                    tracing::warn!(node, "what the lists did not show is not known: {error}");
                    Hidden::default()
                }
                found => found?,
            };
            report.unlisted = hidden.sure;
            if hidden.unsure > 0 {
                tracing::warn!(
                    node = self.node.address(),
                    "the server counts {} items more than its lists have shown: they have \
                     expired or were just set, or a client was being sent them all the time; \
                     only the walk hash shows such items",
                    hidden.unsure
                );
            }
        }
        if has_gap {
            report.unlisted = self.left_out(&before, known)?;
        }
        // The first pass finds everything for the first time.
        if report.pass_count == 1 {
            report.last_pass_new = 0;
        }
        Ok(report)
    }

    /// Walks the LRU lists once.
    fn crawl_lists(&self) -> Result<()> {
        if self.strategy.walk == WalkKind::SlabsSerial {
            self.crawl_class_by_class()
        } else {
            self.crawl_all()
        }
    }

    /// Returns how many items were there all the time and are not known.
    fn not_shown(&self, before: &BTreeMap<u8, u64>, known: u64) -> Result<u64> {
        let alive = alive_all_the_time(before, &self.slab_item_counts()?);
        Ok(alive.saturating_sub(known))
    }

    /// Returns how many items a server that leaves out one of each list has left
    /// out, where it had so many before the walk.
    fn left_out(&self, before: &BTreeMap<u8, u64>, known: u64) -> Result<u64> {
        /// HOT, WARM and COLD of a slab class.
        const LIST_COUNT: u64 = 3;
        // Expired items are counted, too, and are rightly not listed.
        let most = to_u64(before.len()).saturating_mul(LIST_COUNT);
        Ok(self.not_shown(before, known)?.min(most))
    }

    fn connect(&self) -> Result<Connection> {
        Connection::connect(self.node, self.net, self.cancel)
    }

    /// Does it again while the server has no connection left.
    fn retry_when_full<T>(&self, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        const INTERVAL: Duration = Duration::from_millis(250);
        let started = Instant::now();
        loop {
            match ask() {
                Err(error)
                    if *error.kind() == ErrorKind::TooManyConnections
                        && started.elapsed() < self.busy_timeout =>
                {
                    self.pause(INTERVAL)?;
                }
                asked => return asked,
            }
        }
    }

    /// Returns the items of each slab class, as the server counts them.
    fn slab_item_counts(&self) -> Result<BTreeMap<u8, u64>> {
        self.retry_when_full(|| ask_slab_item_counts(&mut self.connect()?))
    }

    fn location(&self) -> Location {
        Location::node(self.node.address())
    }

    /// Waits, but not longer than the cancel flag is down.
    fn pause(&self, length: Duration) -> Result<()> {
        std::thread::sleep(length);
        self.cancel.check()
    }
}

/// Returns how many items were there before and after, by slab class: what was
/// deleted meanwhile is not missing, what was added is not promised.
fn alive_all_the_time(before: &BTreeMap<u8, u64>, after: &BTreeMap<u8, u64>) -> u64 {
    before
        .iter()
        .map(|(class, &count)| count.min(after.get(class).copied().unwrap_or(0)))
        .fold(0, u64::saturating_add)
}

/// Turns the crawler on or off; returns the server's words if it does not.
fn switch_crawler(connection: &mut Connection, request: &[u8]) -> Result<Option<String>> {
    let mut refusal = None;
    connection.exchange_short("crawler", request, |bytes| {
        let Step::Done(line, len) = parse_line(bytes, "OK")? else {
            return Ok(Received::More(0));
        };
        check_connection(line)?;
        refusal = (line != b"OK").then(|| String::from_utf8_lossy(line).into_owned());
        Ok(Received::Done(len))
    })?;
    Ok(refusal)
}
