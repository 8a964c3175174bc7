//! The way in: what a reading thread pushes its items into.

use std::fmt;

use crossbeam_channel::{Sender, bounded};

use crate::engines::pump::batch::{ItemBatch, LargeItem};
use crate::engines::pump::load::Load;
use crate::engines::pump::queues::Queues;
use crate::engines::pump::streamed::StreamedValue;
use crate::words::error::{Error, Result};
use crate::words::item::{ItemMeta, Record};

/// Pieces of a value on their way to a sink.
const PIECE_COUNT_MAX: usize = 4;

/// Takes items as they come off the wire. An error ends the reading.
pub trait ItemSink {
    /// Takes a whole item.
    ///
    /// # Errors
    ///
    /// - Whatever keeps the sink from taking it.
    fn item(&mut self, record: &Record<'_>) -> Result<()>;

    /// Starts an item whose value comes in pieces.
    ///
    /// # Errors
    ///
    /// - As [`ItemSink::item`].
    fn begin_large(&mut self, key: &[u8], meta: &ItemMeta, value_len: u64) -> Result<()>;

    /// Takes the next piece of it.
    ///
    /// # Errors
    ///
    /// - As [`ItemSink::item`].
    fn piece(&mut self, bytes: &[u8]) -> Result<()>;

    /// Ends it: all pieces were there.
    ///
    /// # Errors
    ///
    /// - As [`ItemSink::item`].
    fn end_large(&mut self) -> Result<()>;

    /// Gives it up: the connection broke in its middle.
    fn abandon_large(&mut self);
}

/// Gathers items for each queue, and hands them on in batches.
pub struct Outlet<'a> {
    queues: &'a Queues,
    route: &'a (dyn Fn(&[u8]) -> usize + Sync),
    batches: Vec<ItemBatch>,
    large: Option<LargeOnItsWay>,
}

impl fmt::Debug for Outlet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

/// A value in the middle of its way.
struct LargeOnItsWay {
    sender: Sender<Vec<u8>>,
    /// Held back until the end is known: a value that lacks it is not the value.
    last_piece: Vec<u8>,
}

impl<'a> Outlet<'a> {
    /// Makes a way into the queues, for one thread. `route` returns the queue of a key, for
    /// items that come by [`ItemSink`].
    pub fn new(queues: &'a Queues, route: &'a (dyn Fn(&[u8]) -> usize + Sync)) -> Self {
        Self {
            queues,
            route,
            batches: (0..queues.count()).map(|_| ItemBatch::default()).collect(),
            large: None,
        }
    }

    /// Adds a record to a queue.
    ///
    /// # Errors
    ///
    /// - `Internal`: a sink has failed, which tells why; or there is no such queue.
    pub fn push(&mut self, record: &Record<'_>, queue: usize) -> Result<()> {
        let Some(batch) = self.batches.get_mut(queue) else {
            let what = format!("a key belongs to queue {queue}, which is not there");
            return Err(Error::internal(what));
        };
        batch.push(record);
        if self.queues.is_full(batch) {
            return self.send(queue);
        }
        Ok(())
    }

    /// Hands on an item whose value is not to be held, by itself.
    ///
    /// # Errors
    ///
    /// - As [`Outlet::push`].
    pub fn push_large(&mut self, item: LargeItem, queue: usize) -> Result<()> {
        self.queues.send(queue, Load::Large(item))
    }

    /// Hands on what is left. What is not is lost, and that is for its owner to count.
    ///
    /// # Errors
    ///
    /// - As [`Outlet::push`].
    pub fn flush(&mut self) -> Result<()> {
        (0..self.batches.len()).try_for_each(|queue| self.send(queue))
    }

    fn send(&mut self, queue: usize) -> Result<()> {
        let Some(batch) = self
            .batches
            .get_mut(queue)
            .filter(|batch| !batch.is_empty())
        else {
            return Ok(());
        };
        let full = std::mem::replace(batch, self.queues.spare_batch());
        self.queues.send(queue, Load::Batch(full))
    }
}

impl ItemSink for Outlet<'_> {
    fn item(&mut self, record: &Record<'_>) -> Result<()> {
        let queue = (self.route)(record.key);
        self.push(record, queue)
    }

    fn begin_large(&mut self, key: &[u8], meta: &ItemMeta, value_len: u64) -> Result<()> {
        let (sender, pieces) = bounded(PIECE_COUNT_MAX);
        self.large = Some(LargeOnItsWay {
            sender,
            last_piece: Vec::new(),
        });
        let item = LargeItem {
            key: key.to_vec(),
            meta: *meta,
            value: Box::new(StreamedValue::new(value_len, pieces)),
        };
        let queue = (self.route)(key);
        self.push_large(item, queue)
    }

    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        let large = self.large.as_mut().ok_or_else(no_large_value)?;
        let before = std::mem::replace(&mut large.last_piece, bytes.to_vec());
        if before.is_empty() {
            return Ok(());
        }
        large.sender.send(before).map_err(|_| sink_ended())
    }

    fn end_large(&mut self) -> Result<()> {
        let large = self.large.take().ok_or_else(no_large_value)?;
        let sent = large.sender.send(large.last_piece);
        sent.map_err(|_| sink_ended())
    }

    fn abandon_large(&mut self) {
        self.large = None;
    }
}

fn no_large_value() -> Error {
    Error::internal("a piece of a value that was not begun")
}

fn sink_ended() -> Error {
    Error::partner_ended("a sink")
}
