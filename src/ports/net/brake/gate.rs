//! What a node lets through: how much may be in flight at a time.

use std::time::{Duration, Instant};

use crate::codecs::protocol::stats::CommandCounts;
use crate::codecs::throttle::{Governor, Pace};
use crate::words::units::to_f64;

/// How much may be in flight to a node, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// No bound, because the user wants full speed.
    Free,
    /// Little, because it is not known yet whether the node has other clients.
    #[default]
    Careful,
    /// No bound, but batches end soon, because nobody else uses the node.
    Alone,
    /// What the governor decides, because the node has other clients.
    Shared,
    /// Little, because the node accepts no connection for probes.
    Blind,
}

/// Items and bytes of a batch, or of everything in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) items: u64,
    pub(super) bytes: u64,
}

/// What is in flight to a node, and what may be.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) mode: Mode,
    pub(super) governor: Governor,
    /// Whether nothing is let through at the moment.
    pub(super) is_held: bool,
    /// Whether the job is done with this node.
    pub(super) is_closed: bool,
    batches: u64,
    pub(super) load: Load,
    rest_until: Option<Instant>,
    /// Items that were requested or sent and then answered, or lost with a connection.
    pub(super) done: u64,
    /// Number of batches that wait to be let through.
    pub(super) waiting: u64,
    /// The value of `done` at the last probe.
    done_at_probe: u64,
    /// Commands sent by us that a server counts: an upper bound on ours in its counters.
    pub(super) sent: CommandCounts,
    /// The same for batches that are back: a lower bound.
    pub(super) answered: CommandCounts,
}

impl Gate {
    /// Items of a batch when nobody else uses the node. It ends within a few
    /// milliseconds, so that a look at the server's counters does not hold the job up.
    const ALONE_ITEMS: u64 = 256;

    /// Most items of a batch while others use the node, however much may be in flight.
    const SHARED_ITEMS: u64 = 256;

    /// Bytes that may be in flight for each item that may be.
    const ITEM_BYTES: u64 = 2048;

    /// Most bytes of a batch, however many items it has.
    const BATCH_BYTES: u64 = 1 << 20;

    pub(super) fn new(mode: Mode, bound: Duration) -> Self {
        Self {
            mode,
            governor: Governor::new(bound),
            is_held: false,
            is_closed: false,
            batches: 0,
            load: Load::default(),
            rest_until: None,
            done: 0,
            waiting: 0,
            done_at_probe: 0,
            sent: CommandCounts::default(),
            answered: CommandCounts::default(),
        }
    }

    /// Records how long a probe took, if the job has requested anything since the last
    /// probe or is waiting to; otherwise the time says nothing about the pace. Returns
    /// whether it was recorded.
    pub(super) fn note_probe(&mut self, latency: Duration) -> bool {
        let has_moved = std::mem::replace(&mut self.done_at_probe, self.done) != self.done;
        // There is no load while batches rest, but the pace requires the rest.
        let is_beside_load = has_moved || self.batches > 0 || self.waiting > 0;
        if is_beside_load {
            self.governor.note(latency);
        }
        is_beside_load
    }

    /// Returns how much may be in flight; `None` means any amount.
    fn pace(&self) -> Option<Pace> {
        let careful = Pace {
            items: Governor::ITEMS_START,
            rest: 0.0,
        };
        match self.mode {
            Mode::Free | Mode::Alone => None,
            Mode::Careful => Some(careful),
            Mode::Blind => Some(Pace {
                items: Governor::ITEMS_START / 2,
                rest: 1.0,
            }),
            Mode::Shared => Some(self.governor.pace()),
        }
    }

    /// Returns the largest batch; a single item may be larger.
    pub(super) fn batch_max(&self) -> Load {
        let most = match self.mode {
            Mode::Free => u64::MAX,
            Mode::Alone => Self::ALONE_ITEMS,
            Mode::Careful | Mode::Blind | Mode::Shared => Self::SHARED_ITEMS,
        };
        match self.pace() {
            None => Load {
                items: most,
                bytes: u64::MAX,
            },
            Some(pace) => Load {
                items: pace.items.min(most),
                bytes: Self::bytes_of(pace).min(Self::BATCH_BYTES),
            },
        }
    }

    fn bytes_of(pace: Pace) -> u64 {
        pace.items.saturating_mul(Self::ITEM_BYTES)
    }

    /// Returns how long a batch has to wait: zero if it may go, `None` if another batch
    /// must return first.
    pub(super) fn wait(&self, batch: Load, now: Instant) -> Option<Duration> {
        if self.is_held {
            return None;
        }
        let Some(pace) = self.pace() else {
            return Some(Duration::ZERO);
        };
        let items = self.load.items.saturating_add(batch.items);
        let bytes = self.load.bytes.saturating_add(batch.bytes);
        let has_room = items <= pace.items && bytes <= Self::bytes_of(pace);
        if self.batches > 0 && !has_room {
            return None;
        }
        let rest = self.rest_until;
        Some(rest.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)))
    }

    /// Lets a batch through.
    pub(super) fn enter(&mut self, batch: Load) {
        self.batches = self.batches.saturating_add(1);
        self.load.items = self.load.items.saturating_add(batch.items);
        self.load.bytes = self.load.bytes.saturating_add(batch.bytes);
    }

    /// Takes a batch back, and records how long it took.
    pub(super) fn leave(&mut self, batch: Load, took: Duration, now: Instant) {
        self.batches = self.batches.saturating_sub(1);
        self.load.items = self.load.items.saturating_sub(batch.items);
        self.load.bytes = self.load.bytes.saturating_sub(batch.bytes);
        self.done = self.done.saturating_add(batch.items);
        let rest = self.pace().map_or(0.0, |pace| pace.rest);
        self.rest_until = (rest > 0.0)
            .then(|| took.min(Self::REST_MAX).mul_f64(rest))
            .and_then(|rest| now.checked_add(rest));
    }

    /// Longest time that counts towards a rest: a batch that took longer had to wait for
    /// something else.
    const REST_MAX: Duration = Duration::from_millis(20);

    /// Returns whether somebody waits for batches to return.
    pub(super) fn is_waited_for(&self) -> bool {
        self.is_held || self.pace().is_some()
    }

    /// Returns how many batches are in flight.
    pub(super) fn batches(&self) -> u64 {
        self.batches
    }
}

/// Returns items per second over a time.
pub(super) fn rate(items: u64, time: Duration) -> u64 {
    if time.is_zero() {
        return 0;
    }
    let rate = to_f64(items) / time.as_secs_f64();
    Duration::try_from_secs_f64(rate).map_or(u64::MAX, |whole| whole.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(items: u64, bytes: u64) -> Load {
        Load { items, bytes }
    }

    fn gate(mode: Mode) -> Gate {
        Gate::new(mode, Duration::from_millis(1))
    }

    #[test]
    fn beside_others_one_batch_is_on_its_way_and_alone_any_number() {
        let now = Instant::now();
        for (mode, is_limited) in [
            (Mode::Free, false),
            (Mode::Alone, false),
            (Mode::Careful, true),
            (Mode::Shared, true),
            (Mode::Blind, true),
        ] {
            let mut gate = gate(mode);
            let most = gate.batch_max();
            let batch = load(most.items.min(1024), most.bytes.min(1 << 20));
            assert_eq!(gate.wait(batch, now), Some(Duration::ZERO));
            gate.enter(batch);
            assert_eq!(gate.wait(batch, now).is_none(), is_limited, "{mode:?}");
            gate.leave(batch, Duration::ZERO, now);
            assert_eq!(gate.wait(batch, now), Some(Duration::ZERO));
            gate.is_held = true;
            assert_eq!(gate.wait(batch, now), None);
        }
        assert_eq!(gate(Mode::Free).batch_max(), load(u64::MAX, u64::MAX));
        assert_eq!(gate(Mode::Alone).batch_max().items, 256);
    }

    #[test]
    fn a_large_item_goes_alone() {
        let now = Instant::now();
        let mut gate = gate(Mode::Careful);
        let large = load(1, 8 << 20);
        assert_eq!(gate.wait(large, now), Some(Duration::ZERO));
        gate.enter(large);
        assert_eq!(gate.wait(load(1, 1), now), None);
        gate.leave(large, Duration::from_secs(1), now);
        assert_eq!(gate.done, 1);
    }

    #[test]
    fn a_rest_follows_where_the_pace_wants_one() {
        let now = Instant::now();
        let mut gate = gate(Mode::Blind);
        let batch = load(1, 1);
        gate.enter(batch);
        gate.leave(batch, Duration::from_millis(2), now);
        assert_eq!(gate.wait(batch, now), Some(Duration::from_millis(2)));
        let later = now + Duration::from_millis(5);
        assert_eq!(gate.wait(batch, later), Some(Duration::ZERO));
        // A server that was silent for long was not busy with our batch.
        gate.enter(batch);
        gate.leave(batch, Duration::from_secs(9), now);
        assert_eq!(gate.wait(batch, now), Some(Gate::REST_MAX));
    }

    #[test]
    fn a_job_that_wants_nothing_does_not_change_the_pace() {
        let now = Instant::now();
        let mut gate = gate(Mode::Shared);
        let quick = Duration::from_micros(50);
        gate.governor.rebase(&mut [quick]);
        let before = gate.governor.pace();
        let items_after = |gate: &mut Gate, latency| {
            for _ in 0..500 {
                gate.note_probe(latency);
            }
            gate.governor.pace().items
        };
        assert_eq!(items_after(&mut gate, quick), before.items);
        assert_eq!(items_after(&mut gate, Duration::from_secs(1)), before.items);
        // Items in flight count, and so do waiting ones and those finished since the last
        // probe.
        let batch = load(1, 1);
        gate.enter(batch);
        let under_way = items_after(&mut gate, quick);
        assert!(under_way > before.items);
        gate.leave(batch, Duration::ZERO, now);
        assert!(gate.note_probe(quick));
        assert!(!gate.note_probe(quick));
        gate.waiting = 1;
        assert!(items_after(&mut gate, quick) > under_way);
    }
}
