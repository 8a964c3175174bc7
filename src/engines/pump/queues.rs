//! The queues between readers and sinks, with one bound on the bytes of all.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engines::pump::batch::ItemBatch;
use crate::engines::pump::condition::Condition;
use crate::engines::pump::load::Load;
use crate::engines::pump::options::PumpOptions;
use crate::words::error::{Error, Result};
use crate::words::units::to_u64;

/// Queues to the sinks, and what is known of all of them.
#[derive(Debug)]
pub struct Queues {
    state: Mutex<State>,
    /// Something has arrived, or nothing will any more; one a queue.
    arrived: Vec<Condition>,
    /// Something has arrived in a queue, for those who serve all.
    arrived_anywhere: Condition,
    /// There is much room in a queue again, or nobody takes anything any more; one a queue.
    /// Who waits for a single batch to go would be woken for each.
    drained: Vec<Condition>,
    /// There is room in the whole again, or nobody takes anything any more.
    freed: Condition,
    limits: Limits,
}

/// How much may be on its way.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes that wait for all sinks, or are in their hands.
    all: u64,
    /// Bytes that wait for the sinks of one queue.
    queue: u64,
    /// Bytes of a batch that is on.
    batch: usize,
    /// Batches that are kept to be filled again.
    spare: usize,
}

#[derive(Debug, Default)]
struct State {
    queues: Vec<Queue>,
    /// Bytes that wait, or are in the hands of sinks.
    held: u64,
    is_closed: bool,
    /// A sink has failed, so that nobody needs what comes.
    has_failed: bool,
    spare: Vec<ItemBatch>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Load>,
    bytes: u64,
    /// Sinks that may serve it at a time.
    sinks: usize,
    /// Sinks that have had enough.
    left: usize,
    /// Those who serve all and are at this queue now.
    serving: usize,
}

/// Bytes of a batch at most: one round trip to a node.
const BATCH_LEN_MAX: usize = 256 << 10;
/// Items of a batch at most.
const BATCH_COUNT_MAX: usize = 2048;
/// Batches that wait for the sinks of one queue at most. Twice as many were no faster, and
/// 64 slower: they are no longer in the caches of the processor when they are taken.
const QUEUE_BATCH_COUNT: u64 = 8;

impl Queues {
    pub(super) fn new(options: &PumpOptions) -> Self {
        let queue_count = options.sinks.len().max(1);
        let half = options.memory_max / 2;
        // Half of it is for batches that are not full yet, of which each reader has
        // one a queue. So the other half is always there for those on their way, and
        // nobody waits for a thread that waits, too.
        let parts = to_u64(options.outlet_count.max(1)).saturating_mul(to_u64(queue_count));
        let batch = usize::try_from(half / parts).unwrap_or(usize::MAX);
        let batch = batch.clamp(1, BATCH_LEN_MAX);
        let queue = QUEUE_BATCH_COUNT.saturating_mul(to_u64(BATCH_LEN_MAX));
        let new = |&sinks: &usize| Queue {
            sinks,
            ..Queue::default()
        };
        let queues = options.sinks.iter().map(new).collect();
        Self {
            state: Mutex::new(State {
                queues,
                ..State::default()
            }),
            arrived: options.sinks.iter().map(|_| Condition::default()).collect(),
            drained: options.sinks.iter().map(|_| Condition::default()).collect(),
            arrived_anywhere: Condition::default(),
            freed: Condition::default(),
            limits: Limits {
                all: half,
                queue: queue.min(half),
                batch,
                spare: usize::try_from(half / 4).unwrap_or(usize::MAX) / BATCH_LEN_MAX,
            },
        }
    }

    /// Returns how many queues there are.
    pub fn count(&self) -> usize {
        self.arrived.len()
    }

    /// Says whether a batch is large enough to go.
    pub(super) fn is_full(&self, batch: &ItemBatch) -> bool {
        batch.held_len() >= self.limits.batch || batch.len() >= BATCH_COUNT_MAX
    }

    /// Puts something into a queue; waits while there is no room, also where the job is
    /// stopped: what was read is for the sinks to count.
    ///
    /// # Errors
    ///
    /// - `Internal`: a sink has failed, which tells why; or there is no such queue.
    pub(super) fn send(&self, queue: usize, load: Load) -> Result<()> {
        let bytes = load.held_bytes();
        let mut state = self.lock();
        loop {
            if state.has_failed {
                return Err(Error::partner_ended("a sink"));
            }
            let queues = state.queues.get(queue).zip(self.drained.get(queue));
            let Some((queue, drained)) = queues else {
                return Err(no_such_queue(queue));
            };
            let fits = |held: u64, most| held == 0 || held.saturating_add(bytes) <= most;
            if !fits(queue.bytes, self.limits.queue) {
                state = drained.wait(state);
            } else if !fits(state.held, self.limits.all) {
                state = self.freed.wait(state);
            } else {
                break;
            }
        }
        state.held = state.held.saturating_add(bytes);
        if let Some(queue) = state.queues.get_mut(queue) {
            queue.bytes = queue.bytes.saturating_add(bytes);
            queue.waiting.push_back(load);
        }
        drop(state);
        if let Some(arrived) = self.arrived.get(queue) {
            arrived.notify_one();
        }
        self.arrived_anywhere.notify_one();
        Ok(())
    }

    /// Returns what comes next in a queue; nothing once all was taken.
    pub(super) fn receive(&self, number: usize) -> Option<Taking<'_>> {
        let arrived = self.arrived.get(number)?;
        let mut state = self.lock();
        loop {
            let queue = state.queues.get_mut(number)?;
            if let Some(load) = queue.waiting.pop_front() {
                let bytes = load.held_bytes();
                queue.bytes = queue.bytes.saturating_sub(bytes);
                let is_drained = self.is_drained(queue);
                drop(state);
                return Some(self.taking(number, is_drained, load, bytes));
            }
            if state.is_closed {
                return None;
            }
            state = arrived.wait(state);
        }
    }

    /// Returns what comes next in any queue that has fewer sinks than it may have, with
    /// the number of the queue, and whether a sink of it has had enough; nothing once all
    /// was taken. `current` is the queue that is left with this, or stayed at.
    pub(super) fn receive_any(&self, current: Option<usize>) -> Option<(usize, bool, Taking<'_>)> {
        let mut state = self.lock();
        if let Some(queue) = current.and_then(|queue| state.queues.get_mut(queue)) {
            queue.serving = queue.serving.saturating_sub(1);
        }
        loop {
            let count = state.queues.len();
            let first = current.unwrap_or(0);
            let order = (0..count).map(|at| first.saturating_add(at).checked_rem(count));
            let may_serve = |queue: &usize| {
                let queue = state.queues.get(*queue);
                queue.is_some_and(|queue| !queue.waiting.is_empty() && queue.serving < queue.sinks)
            };
            let found = order.flatten().find(may_serve);
            if let Some(number) = found
                && let Some(queue) = state.queues.get_mut(number)
                && let Some(load) = queue.waiting.pop_front()
            {
                let bytes = load.held_bytes();
                queue.bytes = queue.bytes.saturating_sub(bytes);
                queue.serving = queue.serving.saturating_add(1);
                let has_enough = queue.left > 0;
                let is_drained = self.is_drained(queue);
                drop(state);
                let taking = self.taking(number, is_drained, load, bytes);
                return Some((number, has_enough, taking));
            }
            // What waits in a queue that has all its sinks is theirs.
            if state.is_closed {
                return None;
            }
            state = self.arrived_anywhere.wait(state);
        }
    }

    /// Notes that a sink has had enough of a queue. Returns whether it was the last one,
    /// and so has to take what comes.
    pub(super) fn leave(&self, queue: usize) -> bool {
        let mut state = self.lock();
        let Some(queue) = state.queues.get_mut(queue) else {
            return false;
        };
        queue.left = queue.left.saturating_add(1);
        queue.left >= queue.sinks
    }

    /// Says whether who waits for room in a queue is to be woken.
    fn is_drained(&self, queue: &Queue) -> bool {
        queue.bytes <= self.limits.queue / 2
    }

    fn taking(&self, queue: usize, is_drained: bool, load: Load, bytes: u64) -> Taking<'_> {
        if is_drained && let Some(drained) = self.drained.get(queue) {
            drained.notify_all();
        }
        Taking {
            queues: self,
            load: Some(load),
            bytes,
        }
    }

    /// Returns an empty batch, which may have had other items.
    pub(super) fn spare_batch(&self) -> ItemBatch {
        self.lock().spare.pop().unwrap_or_default()
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.wake_all();
    }

    /// Nobody needs what comes any more, nor what waits: somebody who still sends the
    /// pieces of a value would wait for a sink.
    pub(super) fn fail(&self) {
        let mut state = self.lock();
        state.has_failed = true;
        let queues = state.queues.iter_mut();
        let dropped: Vec<Load> = queues.flat_map(|queue| queue.waiting.drain(..)).collect();
        drop(state);
        drop(dropped);
        self.wake_all();
    }

    fn wake_all(&self) {
        self.freed.notify_all();
        self.arrived_anywhere.notify_all();
        for condition in self.arrived.iter().chain(&self.drained) {
            condition.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something in the hands of a sink; its bytes are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Taking<'a> {
    queues: &'a Queues,
    load: Option<Load>,
    bytes: u64,
}

impl Taking<'_> {
    pub(super) fn load(&self) -> Option<&Load> {
        self.load.as_ref()
    }
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        let mut state = self.queues.lock();
        state.held = state.held.saturating_sub(self.bytes);
        if let Some(Load::Batch(mut batch)) = self.load.take()
            && state.spare.len() < self.queues.limits.spare
            && batch.capacity() <= 2 * BATCH_LEN_MAX
        {
            batch.clear();
            state.spare.push(batch);
        }
        drop(state);
        self.queues.freed.notify_all();
    }
}

fn no_such_queue(queue: usize) -> Error {
    Error::internal(format!(
        "an item belongs to queue {queue}, which is not there"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues(queue_count: usize, outlet_count: usize, memory_max: u64) -> Queues {
        Queues::new(&PumpOptions {
            name: "test",
            sinks: vec![1; queue_count],
            open_max: usize::MAX,
            outlet_count,
            memory_max,
        })
    }

    #[test]
    fn all_batches_and_all_that_waits_stay_below_the_bound() {
        for (queue_count, outlet_count) in [(1, 1), (16, 2), (1000, 16), (64, 64), (10_000, 1)] {
            for memory_max in [1_u64 << 20, 64 << 20, 1 << 30] {
                let Limits {
                    all,
                    queue,
                    batch,
                    spare,
                } = queues(queue_count, outlet_count, memory_max).limits;
                let filling = to_u64(batch * queue_count * outlet_count);
                assert!(filling + all <= memory_max, "{queue_count} {outlet_count}");
                assert!(queue <= all && batch <= BATCH_LEN_MAX);
                assert!(to_u64(spare * BATCH_LEN_MAX) <= all);
            }
        }
    }

    #[test]
    fn who_sends_waits_for_room_and_for_nothing_else() {
        let queues = queues(2, 1, 2000);
        let large = |len: usize| {
            let mut batch = ItemBatch::default();
            batch.push(&crate::words::item::Record {
                key: b"k",
                value: &vec![0; len],
                meta: crate::words::item::ItemMeta::default(),
            });
            Load::Batch(batch)
        };
        // More than the bound goes where nothing else waits.
        queues.send(0, large(5000)).unwrap();
        std::thread::scope(|scope| {
            let sends = scope.spawn(|| queues.send(1, large(1)));
            // Its room is free when the sink has done with it, and not before.
            let taking = queues.receive(0).unwrap();
            assert_eq!(taking.load().map(Load::bytes), Some(5001));
            assert!(!sends.is_finished());
            drop(taking);
            sends.join().unwrap().unwrap();
        });
        queues.close();
        assert!(queues.receive(1).is_some() && queues.receive(1).is_none());
        queues.fail();
        assert!(queues.send(0, large(1)).unwrap_err().is_of_partner());
        assert!(!queues.send(7, large(1)).unwrap_err().is_canceled());
    }
}
