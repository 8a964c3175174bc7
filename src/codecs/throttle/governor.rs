//! Decides how much to request at a time from how long a server's other clients wait.

use std::time::Duration;

use crate::words::units::to_f64;

/// How much to request from a server at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Most items in flight, 4 or more.
    pub items: u64,
    /// Rest after each batch, as a multiple of the batch's duration.
    pub rest: f64,
}

/// Finds the pace at which one in a hundred probes is slow.
///
/// A server works on a batch until it is done, and a client that comes meanwhile waits.
/// So what a client feels is the size of what is in flight. The governor lets the size
/// grow a little with each quick probe and cuts it at each slow one. The proportion is
/// such that the size settles where one probe in a hundred is slow, which is the 99th
/// percentile. If even the smallest batches are too much, there is a rest between them.
#[derive(Clone, Debug)]
pub struct Governor {
    /// How far the 99th percentile may rise.
    bound: Duration,
    /// The 99th percentile without our load; `None` while unknown.
    baseline: Option<Duration>,
    /// Items in flight; below [`Governor::ITEMS_MIN`], a share of the time with that
    /// many.
    level: f64,
}

impl Governor {
    /// Items in flight at first; a server needs some 0.1 ms for them.
    pub const ITEMS_START: u64 = 32;

    /// Fewest items in flight. Half as many would take as long, because the round itself
    /// dominates.
    pub const ITEMS_MIN: u64 = 4;

    /// Most items in flight.
    pub const ITEMS_MAX: u64 = 4096;

    /// Least share of the time that a server works for us.
    const SHARE_MIN: f64 = 1.0 / 16.0;

    /// Factor of the level after a slow probe.
    const CUT: f64 = 0.85;

    /// Factor of the level after a quick probe: 99 of them make up for one cut.
    const GROWTH: f64 = 1.001_643;

    /// The part of the bound to aim at; the rest is for delays that a client feels and a
    /// probe does not.
    const AIM: f64 = 0.5;

    /// Makes a governor that starts carefully.
    pub fn new(bound: Duration) -> Self {
        Self {
            bound,
            baseline: None,
            level: to_f64(Self::ITEMS_START),
        }
    }

    /// Sets the baseline from the times of probes while nothing was requested; no probes
    /// change nothing.
    pub fn rebase(&mut self, quiet: &mut [Duration]) {
        if let Some(baseline) = p99(quiet) {
            self.baseline = Some(baseline);
        }
    }

    /// Returns the 99th percentile of probes without our load, if it is known.
    pub fn baseline(&self) -> Option<Duration> {
        self.baseline
    }

    /// Returns how long a probe may take before it counts as slow; `None` without a
    /// baseline.
    pub fn slow(&self) -> Option<Duration> {
        let baseline = self.baseline?;
        Some(baseline.saturating_add(self.bound.mul_f64(Self::AIM)))
    }

    /// Changes the bound.
    pub fn set_bound(&mut self, bound: Duration) {
        self.bound = bound;
    }

    /// Records the time of a probe under our load.
    pub fn note(&mut self, probe: Duration) {
        let Some(slow) = self.slow() else {
            return;
        };
        let factor = if probe > slow {
            Self::CUT
        } else {
            Self::GROWTH
        };
        let least = to_f64(Self::ITEMS_MIN) * Self::SHARE_MIN;
        self.level = (self.level * factor).clamp(least, to_f64(Self::ITEMS_MAX));
    }

    /// Returns the current pace.
    pub fn pace(&self) -> Pace {
        let least = to_f64(Self::ITEMS_MIN);
        if self.level < least {
            return Pace {
                items: Self::ITEMS_MIN,
                rest: least / self.level - 1.0,
            };
        }
        Pace {
            items: whole(self.level),
            rest: 0.0,
        }
    }
}

/// Returns the 99th percentile of some times, and sorts them; `None` if there are none.
/// With two or more times, it is never the greatest: a single outlier may have a cause
/// that does not recur.
fn p99(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    let at = times.len().saturating_mul(99) / 100;
    let greatest = times.len().checked_sub(1)?;
    times.get(at.min(greatest.saturating_sub(1))).copied()
}

/// Rounds down to a whole number; levels are within bounds that fit.
fn whole(level: f64) -> u64 {
    let seconds = Duration::try_from_secs_f64(level).unwrap_or_default();
    seconds.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(1);

    fn micros(count: f64) -> Duration {
        Duration::from_secs_f64(count / 1e6)
    }

    fn numbers() -> impl FnMut() -> f64 {
        let mut state = 7_u64;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(state >> 33).unwrap()) / f64::from(1_u32 << 31)
        }
    }

    /// Runs a governor for a server that takes `cost` microseconds per item and has noise
    /// of its own; returns the share of slow probes and the pace.
    fn run(cost: f64, noise: f64, is_ours: bool) -> (f64, Pace) {
        let mut number = numbers();
        let mut governor = Governor::new(BOUND);
        let own = |number: &mut dyn FnMut() -> f64| {
            let late = number() > 0.98;
            30.0 + noise * number() * if late { 10.0 } else { 1.0 }
        };
        let mut quiet: Vec<Duration> = (0..200).map(|_| micros(own(&mut number))).collect();
        governor.rebase(&mut quiet);
        let slow_at = governor.slow().unwrap();
        let mut slow = 0;
        for probe in 0..20_000 {
            let pace = governor.pace();
            // A probe meets the rest of a batch in flight, or the rest period after it.
            let batch = cost * to_f64(pace.items);
            let meets = number() < 1.0 / (1.0 + pace.rest);
            let ours = if is_ours && meets {
                batch * number()
            } else {
                0.0
            };
            let latency = micros(own(&mut number) + ours);
            if probe >= 10_000 && latency > slow_at {
                slow += 1;
            }
            governor.note(latency);
        }
        (f64::from(slow) / 10_000.0, governor.pace())
    }

    #[test]
    fn one_in_a_hundred_probes_is_slow_whatever_an_item_costs() {
        for cost in [2.0, 10.0, 40.0] {
            let (share, pace) = run(cost, 20.0, true);
            assert!((0.004..0.02).contains(&share), "{cost}: {share}");
            let batch = cost * to_f64(pace.items);
            assert!((300.0..1200.0).contains(&batch), "{cost}: {batch}");
            assert_eq!(pace.rest, 0.0);
        }
    }

    #[test]
    fn where_the_smallest_batch_is_too_much_there_is_a_rest() {
        let (share, pace) = run(3000.0, 20.0, true);
        assert_eq!(pace.items, Governor::ITEMS_MIN);
        assert!(pace.rest > 5.0, "{pace:?}");
        assert!(share < 0.2, "{share}");
    }

    #[test]
    fn what_is_not_ours_does_not_hold_us_up() {
        let (_, pace) = run(0.0, 200.0, true);
        assert_eq!((pace.items, pace.rest), (Governor::ITEMS_MAX, 0.0));
        let (_, pace) = run(10.0, 200.0, false);
        assert_eq!((pace.items, pace.rest), (Governor::ITEMS_MAX, 0.0));
    }

    #[test]
    fn the_pace_stays_between_its_bounds_and_comes_back() {
        let mut governor = Governor::new(BOUND);
        // Without a baseline, nothing counts as slow.
        governor.note(Duration::from_secs(9));
        let start = Pace {
            items: Governor::ITEMS_START,
            rest: 0.0,
        };
        assert_eq!(governor.pace(), start);
        governor.rebase(&mut []);
        assert_eq!(governor.baseline(), None);
        governor.rebase(&mut [micros(50.0), micros(30.0)]);
        assert_eq!(governor.slow(), Some(micros(530.0)));
        for _ in 0..1000 {
            governor.note(Duration::from_secs(1));
        }
        let pace = governor.pace();
        assert_eq!(pace.items, Governor::ITEMS_MIN);
        assert!((pace.rest - 15.0).abs() < 1e-9);
        for _ in 0..10_000 {
            governor.note(micros(40.0));
        }
        assert_eq!(governor.pace().items, Governor::ITEMS_MAX);
        governor.set_bound(Duration::from_micros(20));
        assert_eq!(governor.slow(), Some(micros(40.0)));
    }

    #[test]
    fn one_answer_that_is_far_off_does_not_set_the_baseline() {
        for count in [10, 50, 100, 200] {
            let mut quiet = vec![micros(30.0); count];
            quiet[count / 2] = micros(20_000.0);
            let mut governor = Governor::new(BOUND);
            governor.rebase(&mut quiet);
            assert_eq!(governor.baseline(), Some(micros(30.0)), "{count}");
        }
    }
}
