//! Turns the LRU crawler, which is off by default up to 1.4.39, on for a walk and off
//! again afterwards.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::codecs::protocol::reply::check_connection;
use crate::codecs::protocol::request::{CRAWLER_DISABLE, CRAWLER_ENABLE};
use crate::codecs::protocol::text::{Step, parse_line};
use crate::engines::source::walk::job::Walk;
use crate::ports::host::Stopwatch;
use crate::ports::net::{Connection, Received, ask_server};
use crate::ports::store::HostLease;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};

/// How often the crawler is turned on again during one walk: other walks of the same
/// server turn it off when they end.
const ENABLE_COUNT_MAX: u32 = 20;

/// How long to wait after a walk for the crawler to be idle before turning it off. The
/// server turns it off in the thread of the asking client, blocking all clients of that
/// thread, and only after the running crawl is over. A crawler that does not become idle
/// in this time stays on.
const IDLE_WAIT: Duration = Duration::from_secs(5);
const IDLE_INTERVAL: Duration = Duration::from_millis(50);
/// How often in a row it must have been found idle, with no crawl in between.
const IDLE_COUNT: u32 = 3;

/// How often to check whether another walk has ended.
const TURN_INTERVAL: Duration = Duration::from_millis(100);

/// The note left by a walk that found the crawler off.
const WAS_OFF: &str = "off";

/// Turns the crawler on if a walk needs it and it is off.
pub(super) struct CrawlerSwitch<'a> {
    walk: &'a Walk<'a>,
    enabled_count: AtomicU32,
}

impl<'a> CrawlerSwitch<'a> {
    pub(super) fn new(walk: &'a Walk<'a>) -> Self {
        Self {
            walk,
            enabled_count: AtomicU32::new(0),
        }
    }

    /// Walks, and restores the crawler's state afterwards, even if the job is stopped.
    ///
    /// A server that turns its crawler on or off during another client's walk may stop
    /// answering, or lose its crawler (seen on 1.5.22, 1.6.5 and 1.6.18 with two walks at
    /// a time). So if the crawler is off, the walks of one host run one at a time.
    pub(super) fn run<T>(&self, walk: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.walk.strategy.walk.needs_crawler() {
            return walk();
        }
        let lease = self.take_turn()?;
        // The crawler may be on only because a killed walk left it on.
        let was_off = self.walk.strategy.turns_crawler_on || lease.has_note(WAS_OFF);
        let walked = if was_off {
            lease.leave_note(WAS_OFF);
            self.enable().and_then(|()| walk())
        } else {
            walk()
        };
        if was_off || self.enabled_count.load(Ordering::Relaxed) > 0 {
            match self.disable() {
                Ok(()) => lease.leave_note(""),
                // A failure here has cost no item.
                Err(error) => {
                    let error = error.to_chain();
                    tracing::warn!("the LRU crawler was turned on and may stay so: {error}");
                }
            }
        }
        walked
    }

    /// Waits until no other walk on this host has the crawler turned on.
    fn take_turn(&self) -> Result<HostLease> {
        let name = format!("crawler of {}", self.walk.node.address());
        let started = Stopwatch::start();
        loop {
            let lease = HostLease::take(&name, self.walk.strategy.turns_crawler_on);
            if let Some(lease) = lease {
                return Ok(lease);
            }
            if started.elapsed() >= self.walk.busy_timeout {
                return Err(Error::new(ErrorKind::Busy).at(self.walk.location()));
            }
            self.walk.pause(TURN_INTERVAL)?;
        }
    }

    /// Turns the crawler on again if it has been turned off since; returns whether it
    /// did. The number of attempts is limited.
    pub(super) fn enable_again(&self) -> Result<bool> {
        if self.enabled_count.load(Ordering::Relaxed) >= ENABLE_COUNT_MAX {
            return Ok(false);
        }
        self.enable().map(|()| true)
    }

    fn enable(&self) -> Result<()> {
        let refusal = self.walk.retry_when_full(|| {
            let mut connection = self.walk.connect()?;
            switch_crawler(&mut connection, CRAWLER_ENABLE)
        })?;
        self.enabled_count.fetch_add(1, Ordering::Relaxed);
        if let Some(words) = refusal {
            // Either another client has turned it on since, or the walk will report the
            // problem.
            let node = self.walk.node.address();
            tracing::info!(node, "lru_crawler enable: {words}");
        }
        Ok(())
    }

    fn disable(&self) -> Result<()> {
        // The job's own flag may be raised already.
        let cancel = Cancel::new();
        let connect = || Connection::connect(self.walk.node, self.walk.net, &cancel);
        let mut connection = connect()?;
        let started = Stopwatch::start();
        // Walks from other hosts may crawl one after the other.
        let mut idle_count = 0;
        let mut progress = None;
        while idle_count < IDLE_COUNT {
            if started.elapsed() >= IDLE_WAIT {
                return Err(Error::new(ErrorKind::Busy).at(self.walk.location()));
            }
            let stats = ask_server(&mut connection)?.stats;
            let is_idle = !stats.is_crawler_running
                && progress.replace(stats.crawl_progress) == Some(stats.crawl_progress);
            idle_count = if is_idle { idle_count + 1 } else { 0 };
            if idle_count < IDLE_COUNT {
                std::thread::sleep(IDLE_INTERVAL);
            }
        }
        let Some(words) = switch_crawler(&mut connection, CRAWLER_DISABLE)? else {
            return Ok(());
        };
        // Another walk of this server may have turned it off.
        if ask_server(&mut connection)?.settings.is_crawler_on == Some(false) {
            return Ok(());
        }
        Err(Error::protocol("OK", words.as_bytes()).at(self.walk.location()))
    }
}

/// Turns the crawler on or off; returns the server's words if it refuses.
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
