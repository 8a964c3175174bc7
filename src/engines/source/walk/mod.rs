//! The list of all keys of a node, by the walk that was chosen for it.

mod chunk_packer;
mod crawl;
mod crawler_switch;
mod hidden;
mod listing;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engines::source::seen_keys::SeenKeys;
use crate::engines::source::spool::Spool;
use crate::engines::source::strategy::{ReadStrategy, WalkKind};
use crate::engines::source::walk::crawler_switch::CrawlerSwitch;
use crate::engines::source::walk::hidden::Census;
use crate::ports::net::{Connection, NetOptions, ask_slab_item_counts};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

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
    /// Tells what is new in a walk that is done again; needed for all keys. For
    /// [`WalkKind::Hash`] it may be one that was made for later.
    pub seen: Option<&'a SeenKeys>,
    /// Whether all keys are wanted, so that the server's counts are compared with
    /// what it listed.
    pub is_for_all: bool,
    /// Stops it.
    pub cancel: &'a Cancel,
    /// How long to wait for the end of another crawl, or for a connection of a
    /// server that has none left.
    pub busy_timeout: Duration,
    /// A connection that waits for the next question; none at first.
    pub idle: Mutex<Option<Connection>>,
}

/// What a walk says it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkReport {
    /// What was done.
    pub walk: WalkKind,
    /// How often the lists were walked.
    pub pass_count: u32,
    /// Keys that only the last pass found.
    pub last_pass_new: u64,
    /// Items that the server counts and did not list, for sure.
    pub unlisted: u64,
    /// At most so many further ones: its counts do not decide it.
    pub unsure: u64,
    /// Whether the walk that was chosen was given up: what was listed had no room in
    /// memory, and the disk did not take it. Where all keys are wanted, this one was
    /// done in its place.
    pub is_given_up: bool,
}

impl WalkReport {
    /// Notes how lists were walked in the end.
    fn note_walk(&mut self, walk: WalkKind) {
        self.is_given_up |= self.walk != walk;
        self.walk = walk;
    }
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
        let _closer = self.spool.closer();
        let crawler = CrawlerSwitch::new(self);
        crawler.run(|| self.run_as_it_is(&crawler))
    }

    fn run_as_it_is(&self, crawler: &CrawlerSwitch<'_>) -> Result<WalkReport> {
        let mut report = WalkReport {
            walk: self.strategy.walk,
            pass_count: 1,
            last_pass_new: 0,
            unlisted: 0,
            unsure: 0,
            is_given_up: false,
        };
        if !self.is_for_all {
            match self.strategy.walk {
                WalkKind::Hash => report.is_given_up = self.crawl_hash(crawler)?.is_given_up,
                WalkKind::Slabs => report.is_given_up = self.crawl_all(crawler)?.is_given_up,
                WalkKind::SlabsSerial => self.crawl_class_by_class(crawler)?,
                WalkKind::Cachedump => self.list_all_classes()?,
            }
            return Ok(report);
        }
        let before = self.census_by_class()?;
        if self.strategy.walk != WalkKind::Hash {
            return self.repeat(crawler, &before, report);
        }
        let crawl = self.crawl_hash(crawler)?;
        if crawl.is_given_up {
            return self.replace_hash(crawler, &before, report);
        }
        if let Some(seen) = self.seen {
            seen.expect_no_more();
        }
        let hidden = self.find_unwalked(&before, crawl.listed);
        (report.unlisted, report.unsure) = self.or_unknown(hidden, &before, "hash table")?;
        Ok(report)
    }

    /// Lists all keys class by class, after a walk of the hash table that was given up.
    /// What that has listed is fetched, and known when it is listed again.
    fn replace_hash(
        &self,
        crawler: &CrawlerSwitch<'_>,
        before: &Census,
        mut report: WalkReport,
    ) -> Result<WalkReport> {
        self.tell_given_up();
        match self.seen {
            Some(seen) => seen.expect_again(),
            None => return Err(Error::internal("nobody noted which keys a walk has listed")),
        }
        let walk = WalkKind::SlabsSerial;
        (report.walk, report.is_given_up) = (walk, true);
        let lists = Walk {
            strategy: ReadStrategy {
                walk,
                ..self.strategy
            },
            idle: Mutex::new(self.take_idle()),
            ..*self
        };
        lists.repeat(crawler, before, report)
    }

    fn tell_given_up(&self) {
        tracing::warn!(
            node = self.node.address(),
            "the walk of all keys was given up: the disk of the spool did not take what was \
             listed, and its memory is full. The rest was read and thrown away, so that the \
             server did not have to wait; the keys are listed once more, by slab classes, each \
             when there is room"
        );
    }

    /// Walks the LRU lists until a pass finds nothing that was not known: items
    /// move between the lists while they are walked, those in use are passed
    /// over, and a new value may put one into a class that was walked before.
    fn repeat(
        &self,
        crawler: &CrawlerSwitch<'_>,
        before: &Census,
        mut report: WalkReport,
    ) -> Result<WalkReport> {
        let is_crawl = self.strategy.walk.needs_crawler();
        let walk = Cell::new(report.walk);
        let show_lists = || {
            match walk.get() {
                WalkKind::Cachedump => return self.list_all_classes(),
                WalkKind::Slabs if !self.crawl_all(crawler)?.is_given_up => {}
                WalkKind::Slabs => {
                    self.tell_given_up();
                    walk.set(WalkKind::SlabsSerial);
                    self.crawl_class_by_class(crawler)?;
                }
                WalkKind::Hash | WalkKind::SlabsSerial => self.crawl_class_by_class(crawler)?,
            }
            if self.strategy.known_gap().is_some() {
                self.list_newest()?;
            }
            Ok(())
        };
        let Some(seen) = self.seen else {
            // Which keys came again cannot be told, nor what is missing.
            show_lists()?;
            report.unsure = before.stats.curr_items;
            report.note_walk(walk.get());
            return Ok(report);
        };
        let mut known = seen.count();
        let mut walk_lists = || {
            show_lists()?;
            self.spool.wait_until_done(self.cancel)?;
            let count = seen.count();
            let new = count.saturating_sub(known);
            known = count;
            Ok(new)
        };
        let mut has_paused = false;
        for pass in 1..=PASS_COUNT_MAX {
            report.pass_count = pass;
            report.last_pass_new = walk_lists()?;
            if report.last_pass_new > 0 {
                continue;
            }
            // A crawl passes over an item that a client is just being sent, and
            // passes that follow on each other pass over the same ones.
            let may_show_more = is_crawl && !has_paused && !self.shows_all(before, seen)?;
            if !may_show_more {
                break;
            }
            has_paused = true;
            self.pause(HELD_PAUSE)?;
        }
        let look = || {
            report.pass_count = report.pass_count.saturating_add(1);
            report.last_pass_new = walk_lists()?;
            Ok(())
        };
        let hidden = self.find_hidden(before, seen, look);
        (report.unlisted, report.unsure) = self.or_unknown(hidden, before, "lists")?;
        report.note_walk(walk.get());
        // The first pass finds everything for the first time.
        if report.pass_count == 1 {
            report.last_pass_new = 0;
        }
        Ok(report)
    }

    /// Makes a connection, which is the only one of the walk: the one that was kept
    /// for the next question goes first.
    fn connect(&self) -> Result<Connection> {
        drop(self.take_idle());
        Connection::connect(self.node, self.net, self.cancel)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.take()
    }

    /// Keeps a connection for the next question: a server at its limit may have none
    /// left by then.
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        *idle = Some(connection);
    }

    /// Asks something over the connection that was kept, or a new one, and keeps it.
    fn with_connection<T>(&self, ask: impl Fn(&mut Connection) -> Result<T>) -> Result<T> {
        if let Some(mut connection) = self.take_idle() {
            match ask(&mut connection) {
                Ok(answer) => {
                    self.keep(connection);
                    return Ok(answer);
                }
                // The server may have hung up since.
                Err(error) if error.is_retryable() && *error.kind() != ErrorKind::Busy => {}
                Err(error) => return Err(error),
            }
        }
        self.retry_when_full(|| {
            let mut connection = self.connect()?;
            let answer = ask(&mut connection)?;
            self.keep(connection);
            Ok(answer)
        })
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
        self.with_connection(ask_slab_item_counts)
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
