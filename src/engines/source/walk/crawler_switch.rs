//! The LRU crawler, which is off by default up to 1.4.39: turned on for a walk, and
//! off again after it.

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

/// How often the crawler is turned on again for one walk: others that walk the same
/// server turn it off when they have done.
const ENABLE_COUNT_MAX: u32 = 20;

/// How long after a walk the crawler is waited for to be idle before it is turned off:
/// the server does that in the thread that is asked, with all that thread's clients,
/// and when the crawl that runs is over. One that is not idle so long stays on.
const IDLE_WAIT: Duration = Duration::from_secs(5);
const IDLE_INTERVAL: Duration = Duration::from_millis(50);
/// How often it must have been found idle, with no crawl in between.
const IDLE_COUNT: u32 = 3;

/// How often another walk is looked after.
const TURN_INTERVAL: Duration = Duration::from_millis(100);

/// The note of a walk that has found the crawler off.
const WAS_OFF: &str = "off";

/// Turns the crawler on where a walk needs it and it is off.
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

    /// Walks, and leaves the crawler as it was, also when the job is stopped.
    ///
    /// A server that turns its crawler on or off while somebody else walks it may stop
    /// answering, or have no crawler any more (seen on 1.5.22, 1.6.5 and 1.6.18 with
    /// two walks at a time). So where it is off, walks of one host go one by one.
    pub(super) fn run<T>(&self, walk: impl FnOnce() -> Result<T>) -> Result<T> {
        if !self.walk.strategy.walk.needs_crawler() {
            return walk();
        }
        let lease = self.take_turn()?;
        // It may be on just since a walk that was killed has left it so.
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
                // What goes wrong here has cost no item.
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

    /// Turns it on again where somebody has turned it off since; says whether that
    /// was done, which it is not for ever.
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
            // Somebody else has turned it on since; else the walk tells.
            let node = self.walk.node.address();
            tracing::info!(node, "lru_crawler enable: {words}");
        }
        Ok(())
    }

    fn disable(&self) -> Result<()> {
        // Not that of the job, which may be stopped.
        let cancel = Cancel::new();
        let connect = || Connection::connect(self.walk.node, self.walk.net, &cancel);
        let mut connection = connect()?;
        let started = Stopwatch::start();
        // Others may crawl from another host, one time after the other.
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
