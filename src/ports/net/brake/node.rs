//! The brake of one node. Every batch of values passes it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::codecs::protocol::stats::CommandCounts;
use crate::codecs::throttle::{Latencies, Rate, RateBuckets, RateTicket};
use crate::ports::net::brake::gate::{Gate, Load, Mode, rate};
use crate::ports::net::brake::report::BrakeReport;
use crate::ports::net::brake::shared::Shared;
use crate::words::cancel::Cancel;
use crate::words::error::Result;

/// What a job does at its nodes, which their counters show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The job reads items.
    Gets,
    /// The job stores items.
    Sets,
}

/// The brake of one node; clones share it.
#[derive(Clone, Debug)]
pub struct NodeBrake {
    pub(super) shared: Arc<Shared>,
    pub(super) node: Arc<Node>,
}

/// What the clones share.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) asked: Asked,
    /// `None` for full speed.
    pub(super) bound: Option<Duration>,
    pub(super) gate: Mutex<Gate>,
    /// Signals that a batch has returned or the gate has changed, so there may be room.
    freed: Condvar,
    /// Signals the watcher that all batches are back while the gate is held, or that the
    /// job is done with this node.
    pub(super) settled: Condvar,
    limits: Mutex<NodeLimits>,
    /// Most items of a batch, for callers that gather one.
    batch_items: AtomicU64,
    batch_bytes: AtomicU64,
    is_waited_for: AtomicBool,
    pub(super) record: Mutex<Record>,
}

/// The rate limits of a node.
#[derive(Debug, Default)]
struct NodeLimits {
    /// The version of the job's limits that these follow.
    version: u64,
    buckets: RateBuckets,
    /// A rate of the node's own, which applies while there are no probes.
    own: Rate,
}

/// What is recorded for the report.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) commands_of_others: u64,
    pub(super) shared_time: Duration,
    pub(super) shared_items: u64,
    pub(super) rate_min: Option<u64>,
    pub(super) in_flight_min: Option<u64>,
    pub(super) quiet: Latencies,
    pub(super) busy: Latencies,
    pub(super) blind: Option<String>,
    /// Since when there have been no probes; `None` while there are.
    pub(super) blind_since: Option<Instant>,
    /// How long earlier times without probes lasted in total.
    pub(super) blind_time: Duration,
}

/// A batch that was let through. It counts as in flight until this is dropped.
#[derive(Debug)]
#[must_use = "the batch is on its way until this is dropped"]
pub struct Pass<'a> {
    brake: &'a NodeBrake,
    batch: Load,
    began: Instant,
    paid: u64,
    /// Commands of this batch that the server counts.
    commands: Cell<CommandCounts>,
}

impl NodeBrake {
    /// Items a second while a node accepts no connection for probes.
    pub const BLIND_ITEMS_PER_SECOND: u64 = 10_000;

    pub(super) fn new(
        name: &str,
        asked: Asked,
        bound: Option<Duration>,
        shared: &Arc<Shared>,
    ) -> Self {
        let mode = match bound {
            Some(_) => Mode::Careful,
            None => Mode::Free,
        };
        let gate = Gate::new(mode, bound.unwrap_or_default());
        let brake = Self {
            shared: Arc::clone(shared),
            node: Arc::new(Node {
                name: name.to_owned(),
                asked,
                bound,
                gate: Mutex::new(gate),
                freed: Condvar::new(),
                settled: Condvar::new(),
                limits: Mutex::default(),
                batch_items: AtomicU64::new(0),
                batch_bytes: AtomicU64::new(0),
                is_waited_for: AtomicBool::new(false),
                record: Mutex::default(),
            }),
        };
        brake.refresh();
        brake
    }

    /// Returns the most items and bytes of a batch at this moment, each at least 1. An
    /// item that is larger goes by itself.
    pub fn batch_max(&self) -> (u64, u64) {
        (
            self.node.batch_items.load(Ordering::Relaxed),
            self.node.batch_bytes.load(Ordering::Relaxed),
        )
    }

    /// Waits until a batch may go. `bytes` is the size of its keys and values as far as
    /// it is known; [`Pass::finish`] corrects it. A batch of no items pays nothing, and
    /// waits only for room.
    ///
    /// # Errors
    ///
    /// - `Canceled`.
    pub fn enter(&self, items: u64, bytes: u64, cancel: &Cancel) -> Result<Pass<'_>> {
        let mut paid = 0;
        if self.shared.is_limited() && items > 0 {
            // If the batch has more bytes than may pass at once, the rest is paid for as it
            // moves.
            paid = bytes.min(self.batch_max().1);
            self.pay(items, paid, cancel)?;
        }
        let batch = Load { items, bytes };
        let mut gate = self.lock();
        gate.waiting = gate.waiting.saturating_add(1);
        let let_through = loop {
            if let Err(canceled) = cancel.check() {
                break Err(canceled);
            }
            let wait = gate.wait(batch, Instant::now());
            if wait == Some(Duration::ZERO) {
                break Ok(());
            }
            let wait = wait.unwrap_or(Shared::LOOK_INTERVAL);
            let wait = wait.min(Shared::LOOK_INTERVAL);
            let waited = self.node.freed.wait_timeout(gate, wait);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        gate.waiting = gate.waiting.saturating_sub(1);
        let_through?;
        gate.enter(batch);
        let mut commands = CommandCounts::default();
        match self.node.asked {
            Asked::Gets => commands.gets = items,
            Asked::Sets => commands.sets = items,
        }
        gate.sent = gate.sent.plus(commands);
        Ok(Pass {
            brake: self,
            batch,
            began: Instant::now(),
            paid,
            commands: Cell::new(commands),
        })
    }

    /// Waits until the limits let this many items and bytes through.
    pub(super) fn pay(&self, items: u64, bytes: u64, cancel: &Cancel) -> Result<()> {
        let now = self.shared.now();
        let of_total = self.shared.lock().total.take(items, bytes, now);
        let of_node = self.limits().buckets.take(items, bytes, now);
        loop {
            cancel.check()?;
            let wait = self.left(of_total, of_node);
            if wait.is_zero() {
                return Ok(());
            }
            self.shared.wait(wait);
        }
    }

    fn left(&self, of_total: RateTicket, of_node: RateTicket) -> Duration {
        let now = self.shared.now();
        let total = self.shared.lock().total.wait(of_total, now);
        total.max(self.limits().buckets.wait(of_node, now))
    }

    /// Corrects what was paid for to what has moved.
    fn correct(&self, paid: u64, moved: u64) {
        self.shared.lock().total.correct_bytes(paid, moved);
        self.limits().buckets.correct_bytes(paid, moved);
    }

    /// Returns whether bytes have to be paid for.
    pub(super) fn is_limited(&self) -> bool {
        self.shared.is_limited()
    }

    /// Returns the limits of the node, after applying all changes.
    fn limits(&self) -> MutexGuard<'_, NodeLimits> {
        let (version, rate) = {
            let limits = self.shared.lock();
            (limits.version, limits.rates.node)
        };
        let limits = self.node.limits.lock();
        let mut limits = limits.unwrap_or_else(PoisonError::into_inner);
        if limits.version != version {
            limits.version = version;
            let rate = least(rate, limits.own);
            limits.buckets.set(rate, self.shared.now());
        }
        limits
    }

    /// Gives the node a limit of its own, besides those of the job.
    pub(super) fn limit(&self, own: Rate) {
        let mut limits = self.limits();
        limits.own = own;
        // Forces the limits to be applied again.
        limits.version = 0;
        drop(limits);
        self.shared.limit();
    }

    /// Publishes the size of a batch, and wakes all waiting threads because something has
    /// changed.
    pub(super) fn refresh(&self) {
        self.publish();
        self.node.freed.notify_all();
    }

    /// Publishes the size of a batch, and wakes one waiting thread because there may be
    /// room.
    pub(super) fn adjust(&self) {
        self.publish();
        self.node.freed.notify_one();
    }

    fn publish(&self) {
        let rates = self.shared.lock().rates;
        let own = self.limits().own;
        let (most, is_waited_for) = {
            let gate = self.lock();
            (gate.batch_max(), gate.is_waited_for())
        };
        let of = |rate: Rate| rate.batch_max();
        let mut batch = most;
        for (items, bytes) in [of(rates.total), of(rates.node), of(own)] {
            batch.items = batch.items.min(items);
            batch.bytes = batch.bytes.min(bytes);
        }
        let node = &self.node;
        node.batch_items
            .store(batch.items.max(1), Ordering::Relaxed);
        node.batch_bytes
            .store(batch.bytes.max(1), Ordering::Relaxed);
        node.is_waited_for.store(is_waited_for, Ordering::Relaxed);
    }

    /// Returns whether others wait for each batch to return, so that the holder of one
    /// should do nothing else in the meantime.
    pub fn is_waited_for(&self) -> bool {
        self.node.is_waited_for.load(Ordering::Relaxed)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Gate> {
        self.node
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        let record = self.node.record.lock();
        record.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many commands that a server counts have been sent so far.
    #[cfg(test)]
    pub(crate) fn sent(&self) -> CommandCounts {
        self.lock().sent
    }

    /// Returns a guard that ends [`NodeBrake::watch`] when it is dropped. By then the job
    /// is done with this node and needs no answer that is still awaited.
    pub fn watched<'a>(&'a self, stop: &'a Cancel) -> Watched<'a> {
        Watched { brake: self, stop }
    }

    /// Returns what was done so far.
    pub fn report(&self) -> BrakeReport {
        let record = self.record();
        let mean = rate(record.shared_items, record.shared_time);
        let blind_now = record.blind_since.map_or(Duration::ZERO, |at| at.elapsed());
        let pair = |times: &Latencies| times.percentile(50).zip(times.percentile(99));
        BrakeReport {
            node: self.node.name.clone(),
            commands_of_others: record.commands_of_others,
            shared_time: record.shared_time,
            rate: mean,
            rate_min: record.rate_min.unwrap_or(mean).min(mean),
            in_flight_min: record.in_flight_min.unwrap_or(0),
            quiet: pair(&record.quiet),
            busy: pair(&record.busy),
            blind: record.blind.clone(),
            blind_time: record.blind_time.saturating_add(blind_now),
        }
    }
}

impl Pass<'_> {
    /// Returns how many bytes are paid for.
    pub fn paid(&self) -> u64 {
        self.paid
    }

    /// Counts what is about to be sent in this batch besides one command per item, so
    /// that it is not mistaken for another client's.
    pub fn count_sent(&self, gets: u64, sets: u64) {
        let commands = CommandCounts {
            gets,
            sets,
            others: 0,
        };
        self.commands.set(self.commands.get().plus(commands));
        let mut gate = self.brake.lock();
        gate.sent = gate.sent.plus(commands);
    }

    /// Ends a batch that was answered. `moved` bytes of keys and values have moved, and
    /// `paid` bytes were paid for.
    pub fn finish(self, paid: u64, moved: u64) {
        if self.brake.is_limited() {
            self.brake.correct(paid, moved);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.began);
        let mut gate = self.brake.lock();
        gate.leave(self.batch, took, now);
        gate.answered = gate.answered.plus(self.commands.get());
        let is_waited_for = gate.is_held && gate.batches() == 0;
        drop(gate);
        // There is room for one more batch. If there were room for two, the second would not be
        // waiting.
        self.brake.node.freed.notify_one();
        if is_waited_for {
            self.brake.node.settled.notify_all();
        }
    }
}

/// A node that is watched until this is dropped.
#[derive(Debug)]
#[must_use = "the node is watched until this is dropped"]
pub struct Watched<'a> {
    brake: &'a NodeBrake,
    /// The stop flag of [`NodeBrake::watch`].
    stop: &'a Cancel,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.brake.lock().is_closed = true;
        self.brake.node.settled.notify_all();
        self.stop.cancel();
    }
}

/// The stricter of two rates.
fn least(one: Rate, other: Rate) -> Rate {
    let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
    Rate {
        items: least(one.items, other.items),
        bytes: least(one.bytes, other.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::net::brake::Brake;

    #[test]
    fn commands_are_sent_with_their_batch_and_answered_when_it_is_back() {
        let brake = Brake::full_speed().node("a:1", Asked::Sets);
        let commands = |gets, sets| CommandCounts {
            gets,
            sets,
            others: 0,
        };
        let pass = brake.enter(10, 1, &Cancel::new()).unwrap();
        pass.count_sent(2, 10);
        let _other = brake.enter(5, 1, &Cancel::new()).unwrap();
        assert_eq!(brake.sent(), commands(2, 25));
        assert_eq!(brake.lock().answered, commands(0, 0));
        drop(pass);
        assert_eq!(brake.sent(), commands(2, 25));
        assert_eq!(brake.lock().answered, commands(2, 20));
    }
}
