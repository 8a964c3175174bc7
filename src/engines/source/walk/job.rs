//! What one walk needs, and what it reports.

use crate::engines::source::seen_keys::SeenKeys;
use crate::engines::source::spool::Spool;
use crate::engines::source::strategy::{ReadStrategy, WalkKind};
use crate::ports::host::Stopwatch;
use crate::ports::net::{Connection, NetOptions, ask_slab_item_counts};
use crate::words::cancel::Cancel;
use crate::words::error::{ErrorKind, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What one walk needs.
#[derive(Debug)]
pub struct Walk<'a> {
    /// The node to list.
    pub node: &'a NodeSpec,
    /// Connection options.
    pub net: &'a NetOptions,
    /// The commands to use.
    pub strategy: ReadStrategy,
    /// Receives the lines.
    pub spool: &'a Spool,
    /// The keys listed so far, to tell what is new in a repeated walk. Needed if all keys
    /// are wanted. For [`WalkKind::Hash`] it may be a set made by
    /// [`SeenKeys::for_later`].
    pub seen: Option<&'a SeenKeys>,
    /// Whether all keys are wanted, so that the server's counts are compared with what it
    /// listed.
    pub is_for_all: bool,
    /// Stops the walk.
    pub cancel: &'a Cancel,
    /// How long to wait for the end of another crawl, or for a connection to a server
    /// that has none left.
    pub busy_timeout: Duration,
    /// An open connection for the next question; `None` at first.
    pub idle: Mutex<Option<Connection>>,
}

/// What a walk reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkReport {
    /// The walk that was done.
    pub walk: WalkKind,
    /// How often the lists were walked.
    pub pass_count: u32,
    /// Keys that only the last pass found.
    pub last_pass_new: u64,
    /// Items that the server counts and certainly did not list.
    pub unlisted: u64,
    /// The most further ones there may be, which its counts leave undecided.
    pub unsure: u64,
    /// Whether the chosen walk was given up: what it listed had no room in memory, and
    /// the disk did not take it. If all keys are wanted, `walk` was done in its place.
    pub is_given_up: bool,
}

impl WalkReport {
    /// Records how the lists were walked in the end.
    pub(super) fn note_walk(&mut self, walk: WalkKind) {
        self.is_given_up |= self.walk != walk;
        self.walk = walk;
    }
}

impl Walk<'_> {
    /// Opens the walk's only connection. The one that was kept for the next question is
    /// closed first.
    pub(super) fn connect(&self) -> Result<Connection> {
        drop(self.take_idle());
        Connection::connect(self.node, self.net, self.cancel)
    }

    pub(super) fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.take()
    }

    /// Keeps a connection for the next question, since a server at its limit may have
    /// none left by then.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        *idle = Some(connection);
    }

    /// Asks over the kept connection or a new one, and keeps it afterwards.
    pub(super) fn with_connection<T>(
        &self,
        ask: impl Fn(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        if let Some(mut connection) = self.take_idle() {
            match ask(&mut connection) {
                Ok(answer) => {
                    self.keep(connection);
                    return Ok(answer);
                }
                // The server may have closed the kept connection.
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

    /// Repeats a request while the server has no connection left.
    pub(super) fn retry_when_full<T>(&self, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        const INTERVAL: Duration = Duration::from_millis(250);
        let started = Stopwatch::start();
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

    /// Returns the number of items of each slab class, as the server counts them.
    pub(super) fn slab_item_counts(&self) -> Result<BTreeMap<u8, u64>> {
        self.with_connection(ask_slab_item_counts)
    }

    pub(super) fn location(&self) -> Location {
        Location::node(self.node.address())
    }

    /// Waits for this long, or until the job is canceled.
    pub(super) fn pause(&self, length: Duration) -> Result<()> {
        std::thread::sleep(length);
        self.cancel.check()
    }
}
