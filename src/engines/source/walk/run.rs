//! Lists all keys of a node by the chosen walk.

use crate::engines::source::strategy::{ReadStrategy, WalkKind};
use crate::engines::source::walk::crawler_switch::CrawlerSwitch;
use crate::engines::source::walk::hidden::Census;
use crate::engines::source::walk::job::{Walk, WalkReport};
use crate::words::error::{Error, Result};
use std::cell::Cell;
use std::sync::Mutex;
use std::time::Duration;

/// The most passes over LRU lists. A pass over a server in heavy use leaves out up to 15
/// percent of the items (measured), and different ones each time.
const PASS_COUNT_MAX: u32 = 5;

/// How long to wait for items that are being sent to clients, if passes over the lists do
/// not show everything that the server counts.
const HELD_PAUSE: Duration = Duration::from_secs(1);

impl Walk<'_> {
    /// Lists every item into the spool and closes it, also on error.
    ///
    /// # Errors
    ///
    /// - `Busy`: another crawl did not end in time.
    /// - `Server`: the server refuses the walk; `Timeout`, `Closed`, `Io`, `Canceled`.
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

    /// Lists all keys class by class after a walk of the hash table was given up. The
    /// keys that it listed are fetched, and recognized when they are listed again.
    fn replace_hash(
        &self,
        crawler: &CrawlerSwitch<'_>,
        before: &Census,
        mut report: WalkReport,
    ) -> Result<WalkReport> {
        self.tell_given_up();
        match self.seen {
            Some(seen) => seen.expect_again(),
            None => return Err(Error::internal("the keys of a walk were not recorded")),
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

    /// Walks the LRU lists until a pass finds no new key. One pass is not enough: items
    /// move between the lists during a walk, items in use are skipped, and a new value
    /// may move an item into a class that was already walked.
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
            // Without the set, neither repeated nor missing keys can be detected.
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
            // A crawl skips an item that is being sent to a client, and passes in quick
            // succession skip the same ones.
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
        // In the first pass every key is new.
        if report.pass_count == 1 {
            report.last_pass_new = 0;
        }
        Ok(report)
    }
}
