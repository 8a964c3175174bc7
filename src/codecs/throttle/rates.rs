//! Limits on items and bytes per second, as a user sets them.

use std::time::Duration;

use crate::codecs::throttle::bucket::{Ticket, TokenBucket};
use crate::words::error::{Error, Result};
use crate::words::limits::check_range;
use crate::words::units::to_f64;

/// Most items and most bytes per second; `None` means unlimited.
///
/// An item is one that is requested from a server, or sent to it. Its bytes are those of
/// its key and value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub items: Option<u64>,
    /// At least [`Rate::BYTES_MIN`].
    pub bytes: Option<u64>,
}

impl Rate {
    /// Least bytes per second: with fewer, an item of 1 MiB would take half an hour.
    pub const BYTES_MIN: u64 = 1024;

    /// Greatest limit on either: beyond it, no clock can distinguish two of them.
    pub const MAX: u64 = 1_000_000_000_000;

    /// Number of batches into which a second's worth is cut. A batch has half of what a
    /// bucket keeps, so that a late batch loses nothing.
    const BATCHES_PER_SECOND: u64 = 20;

    /// Returns whether neither is limited.
    pub fn is_unlimited(&self) -> bool {
        self.items.is_none() && self.bytes.is_none()
    }

    /// Returns the most items and bytes to request at once, so that the rate is even over
    /// any time that a person notices.
    pub fn batch_max(&self) -> (u64, u64) {
        let share = |rate: Option<u64>| {
            rate.map_or(u64::MAX, |rate| (rate / Self::BATCHES_PER_SECOND).max(1))
        };
        (share(self.items), share(self.bytes))
    }
}

/// Limits of a job: over all nodes together, and per node. Each covers all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Over all nodes together.
    pub total: Rate,
    /// For each node.
    pub node: Rate,
}

impl Rates {
    /// Checks that each limit is in its range, and that a node's limit does not exceed
    /// the total, where it would have no effect.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`, with the name of the limit.
    pub fn validate(&self) -> Result<()> {
        let Self { total, node } = self;
        for (name, rate, least) in [
            ("items_per_second", total.items, 1),
            ("bytes_per_second", total.bytes, Rate::BYTES_MIN),
            ("node_items_per_second", node.items, 1),
            ("node_bytes_per_second", node.bytes, Rate::BYTES_MIN),
        ] {
            if let Some(rate) = rate {
                check_range(name, rate, least..=Rate::MAX)?;
            }
        }
        for (name, node, total_name, total) in [
            (
                "node_items_per_second",
                node.items,
                "items_per_second",
                total.items,
            ),
            (
                "node_bytes_per_second",
                node.bytes,
                "bytes_per_second",
                total.bytes,
            ),
        ] {
            if let (Some(node), Some(total)) = (node, total)
                && node > total
            {
                let allowed = format!("is above {total_name}, {total}, for all nodes together");
                return Err(Error::invalid_input(name, node.to_string(), allowed));
            }
        }
        Ok(())
    }
}

/// The two buckets of a rate.
#[derive(Clone, Debug, Default)]
pub(crate) struct RateBuckets {
    items: TokenBucket,
    bytes: TokenBucket,
}

/// A place in the queue of each bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateTicket {
    items: Ticket,
    bytes: Ticket,
}

impl RateBuckets {
    /// Sets the rate from now on.
    pub(crate) fn set(&mut self, rate: Rate, now: Duration) {
        self.items.set_rate(rate.items.map(to_f64), now);
        self.bytes.set_rate(rate.bytes.map(to_f64), now);
    }

    /// Takes items and bytes.
    pub(crate) fn take(&mut self, items: u64, bytes: u64, now: Duration) -> RateTicket {
        RateTicket {
            items: self.items.take(to_f64(items), now),
            bytes: self.bytes.take(to_f64(bytes), now),
        }
    }

    /// Corrects the bytes taken to the bytes that have moved.
    pub(crate) fn correct_bytes(&mut self, taken: u64, moved: u64) {
        self.bytes.correct(to_f64(moved) - to_f64(taken));
    }

    /// Returns how long the holder of a ticket still has to wait.
    pub(crate) fn wait(&self, ticket: RateTicket, now: Duration) -> Duration {
        let of_items = self.items.wait(ticket.items, now);
        of_items.max(self.bytes.wait(ticket.bytes, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        let rates = |total: (u64, u64), node: (u64, u64)| {
            let some = |number| (number > 0).then_some(number);
            let rate = |(items, bytes)| Rate {
                items: some(items),
                bytes: some(bytes),
            };
            Rates {
                total: rate(total),
                node: rate(node),
            }
        };
        for sound in [
            rates((0, 0), (0, 0)),
            rates((10, 4096), (10, 4096)),
            rates((1, 1024), (0, 0)),
            rates((0, 0), (1, Rate::MAX)),
        ] {
            sound.validate().unwrap();
        }
        let message = |rates: Rates| rates.validate().unwrap_err().to_string();
        assert_eq!(
            message(rates((10, 0), (11, 0))),
            "node_items_per_second \"11\": is above items_per_second, 10, for all nodes together"
        );
        assert_eq!(
            message(rates((0, 2048), (0, 4096))),
            "node_bytes_per_second \"4096\": is above bytes_per_second, 2048, for all nodes together"
        );
        assert!(message(rates((0, 1023), (0, 0))).starts_with("bytes_per_second \"1023\": wanted"));
        let mut none = Rates::default();
        none.node.items = Some(0);
        assert!(message(none).starts_with("node_items_per_second \"0\": wanted a number from 1"));
    }

    #[test]
    fn a_batch_is_a_twentieth_of_a_second_and_never_nothing() {
        let batch = |items, bytes| Rate { items, bytes }.batch_max();
        assert_eq!(batch(None, None), (u64::MAX, u64::MAX));
        assert_eq!(batch(Some(10), Some(1024)), (1, 51));
        assert_eq!(batch(Some(2000), Some(1 << 20)), (100, (1 << 20) / 20));
    }

    #[test]
    fn both_lines_are_waited_for() {
        let second = Duration::from_secs(1);
        let mut buckets = RateBuckets::default();
        let free = buckets.take(1000, 1000, second);
        assert_eq!(buckets.wait(free, second), Duration::ZERO);
        let rate = Rate {
            items: Some(10),
            bytes: Some(1000),
        };
        buckets.set(rate, second);
        buckets.take(10, 500, second);
        let ticket = buckets.take(0, 1, second);
        assert_eq!(buckets.wait(ticket, second), second);
        buckets.correct_bytes(501, 3001);
        let ticket = buckets.take(1, 1, second);
        assert_eq!(buckets.wait(ticket, second), 3 * second + second / 1000);
    }
}
