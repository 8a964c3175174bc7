//! Stores the times of many probes in little memory.

use std::time::Duration;

use crate::words::units::to_u64;

/// Counts of times by size, each known to one sixteenth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    counts: Vec<u64>,
    count: u64,
}

impl Latencies {
    /// Steps between a time and its double.
    const STEPS: u64 = 16;

    /// Adds a time.
    pub fn add(&mut self, time: Duration) {
        let place = Self::place(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= place {
            self.counts.resize(place.saturating_add(1), 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
    }

    /// Returns the number of times.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the time that `percent` percent of the times do not exceed; `None` if
    /// there are none.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let wanted = self.count.saturating_mul(percent).div_ceil(100).max(1);
        let mut seen: u64 = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= wanted {
                return Some(Duration::from_nanos(Self::least(to_u64(place))));
            }
        }
        None
    }

    fn place(nanos: u64) -> usize {
        let place = if nanos < Self::STEPS {
            nanos
        } else {
            let octave = u64::from(nanos.ilog2()).saturating_sub(u64::from(Self::STEPS.ilog2()));
            let step = nanos >> octave;
            octave.saturating_mul(Self::STEPS).saturating_add(step)
        };
        usize::try_from(place).unwrap_or(usize::MAX)
    }

    /// Returns the least time, in nanoseconds, that is counted at a place.
    fn least(place: u64) -> u64 {
        if place < 2 * Self::STEPS {
            return place;
        }
        let octave = (place / Self::STEPS).saturating_sub(1);
        let step = (place % Self::STEPS).saturating_add(Self::STEPS);
        u32::try_from(octave)
            .ok()
            .and_then(|octave| step.checked_shl(octave))
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_known_to_a_sixteenth() {
        for nanos in (0..70_u64).chain((6..63).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + power / 3]
        })) {
            let mut latencies = Latencies::default();
            latencies.add(Duration::from_nanos(nanos));
            let told = latencies.percentile(99).unwrap();
            let told = u64::try_from(told.as_nanos()).unwrap();
            assert!(
                told <= nanos && nanos - told <= nanos / 16,
                "{nanos}: {told}"
            );
        }
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile(50), None);
        for micros in 1..=1000 {
            latencies.add(Duration::from_micros(micros));
        }
        for percent in [1_u64, 50, 99, 100] {
            let told = latencies.percentile(percent).unwrap().as_nanos();
            let exact = u128::from(percent) * 10_000;
            assert!(
                told <= exact && exact - told <= exact / 16,
                "{percent}: {told}"
            );
        }
        assert_eq!(latencies.count(), 1000);
    }
}
