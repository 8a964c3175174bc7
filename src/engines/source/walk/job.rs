//! What one walk needs, and what it says it did.

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
    pub(super) fn note_walk(&mut self, walk: WalkKind) {
        self.is_given_up |= self.walk != walk;
        self.walk = walk;
    }
}

impl Walk<'_> {
    /// Makes a connection, which is the only one of the walk: the one that was kept
    /// for the next question goes first.
    pub(super) fn connect(&self) -> Result<Connection> {
        drop(self.take_idle());
        Connection::connect(self.node, self.net, self.cancel)
    }

    pub(super) fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.take()
    }

    /// Keeps a connection for the next question: a server at its limit may have none
    /// left by then.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        *idle = Some(connection);
    }

    /// Asks something over the connection that was kept, or a new one, and keeps it.
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

    /// Returns the items of each slab class, as the server counts them.
    pub(super) fn slab_item_counts(&self) -> Result<BTreeMap<u8, u64>> {
        self.with_connection(ask_slab_item_counts)
    }

    pub(super) fn location(&self) -> Location {
        Location::node(self.node.address())
    }

    /// Waits, but not longer than the cancel flag is down.
    pub(super) fn pause(&self, length: Duration) -> Result<()> {
        std::thread::sleep(length);
        self.cancel.check()
    }
}
