//! A token bucket whose callers wait in line.

use std::time::Duration;

/// Lets through a number of tokens per second.
///
/// Time is an argument, counted from any moment; a time before the previous one is taken
/// for that. A caller that takes tokens gets a ticket, and waits until everything taken
/// before it has been let through. So callers go in the order in which they come, each
/// paying for what those before it took, and none is passed over. After a pause, at most
/// [`TokenBucket::BURST`] worth of tokens is available at once.
#[derive(Clone, Debug, Default)]
pub struct TokenBucket {
    /// Tokens per second; `None` lets everything through.
    rate: Option<f64>,
    /// When `let_through` was computed.
    at: Duration,
    /// Tokens that the rate has let through since the beginning.
    let_through: f64,
    /// Tokens that were taken, or that were forfeited because nobody took them.
    taken: f64,
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ticket(f64);

impl TokenBucket {
    /// How long tokens are kept that nobody takes.
    pub const BURST: Duration = Duration::from_millis(100);

    /// The longest wait returned at once; after it, the caller asks again.
    const WAIT_MAX: Duration = Duration::from_secs(60 * 60);

    /// Makes a bucket with this rate in tokens per second; `None` lets everything
    /// through.
    pub fn new(rate: Option<f64>, now: Duration) -> Self {
        let mut bucket = Self::default();
        bucket.set_rate(rate, now);
        bucket
    }

    /// Changes the rate from now on; tickets keep their place.
    pub fn set_rate(&mut self, rate: Option<f64>, now: Duration) {
        self.let_through = match self.rate {
            Some(_) => self.let_through_until(now),
            // What was free need not be paid back.
            None => self.taken,
        };
        self.at = self.at.max(now);
        self.rate = rate;
    }

    /// Takes tokens, and returns the place in the queue. The caller may use them once
    /// [`TokenBucket::wait`] returns zero.
    pub fn take(&mut self, tokens: f64, now: Duration) -> Ticket {
        let Some(rate) = self.rate else {
            return Ticket::default();
        };
        let kept = rate * Self::BURST.as_secs_f64();
        self.taken = self.taken.max(self.let_through_until(now) - kept);
        let ticket = Ticket(self.taken);
        self.taken += tokens;
        ticket
    }

    /// Corrects the number of tokens taken; `tokens` is negative if fewer were used.
    pub fn correct(&mut self, tokens: f64) {
        if self.rate.is_some() {
            self.taken += tokens;
        }
    }

    /// Returns how long the holder of a ticket still has to wait; at most an hour.
    pub fn wait(&self, ticket: Ticket, now: Duration) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let left = (ticket.0 - self.let_through_until(now)) / rate;
        if left <= 0.0 {
            return Duration::ZERO;
        }
        let wait = Duration::try_from_secs_f64(left).unwrap_or(Self::WAIT_MAX);
        // A wait below the resolution of the clock would have to be repeated again and again.
        wait.clamp(Duration::from_nanos(1), Self::WAIT_MAX)
    }

    fn let_through_until(&self, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.let_through + self.rate.unwrap_or(0.0) * since
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The state of one of many callers.
    #[derive(Clone, Copy, Debug, Default)]
    struct Caller {
        /// When it comes again, or may use what it has taken.
        at: Duration,
        holds: Option<(Ticket, f64)>,
        got: f64,
    }

    /// Makes callers take, wait and work in turn; returns what each got, and the time and
    /// amount of each grant.
    fn simulate(
        mut bucket: TokenBucket,
        caller_count: usize,
        seconds: u64,
        mut draw: impl FnMut(usize) -> (f64, Duration),
    ) -> (Vec<f64>, Vec<(Duration, f64)>) {
        let mut callers = vec![Caller::default(); caller_count];
        let mut grants = Vec::new();
        let end = Duration::from_secs(seconds);
        loop {
            let next = (0..caller_count).min_by_key(|index| callers[*index].at);
            let index = next.unwrap();
            let now = callers[index].at;
            if now >= end {
                return (callers.iter().map(|caller| caller.got).collect(), grants);
            }
            let (tokens, work) = draw(index);
            let caller = &mut callers[index];
            let (ticket, tokens) = *caller
                .holds
                .get_or_insert_with(|| (bucket.take(tokens, now), tokens));
            let wait = bucket.wait(ticket, now);
            if wait > Duration::ZERO {
                caller.at = now + wait;
                continue;
            }
            caller.holds = None;
            caller.got += tokens;
            // Work takes some time, or time would not advance.
            caller.at = now + work.max(Duration::from_nanos(100));
            grants.push((now, tokens));
        }
    }

    fn numbers(mut state: u64) -> impl FnMut() -> f64 {
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(state >> 33).unwrap()) / f64::from(1_u32 << 31)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_rate_is_kept_within_five_percent_and_shared_evenly(
            seed in any::<u64>(),
            rate_exponent in 1_u32..7,
            fullness in 0.02_f64..1.0,
        ) {
            let rate = 10_f64.powi(i32::try_from(rate_exponent).unwrap());
            let batch = (rate * TokenBucket::BURST.as_secs_f64()).max(1.0);
            for caller_count in [1, 4, 64] {
                let bucket = TokenBucket::new(Some(rate), Duration::ZERO);
                let mut number = numbers(seed);
                let seconds = 40;
                let (got, grants) = simulate(bucket, caller_count, seconds, |_| {
                    let tokens = (batch * fullness * (0.5 + number())).ceil().min(batch.ceil());
                    // At most as long as a single caller can work and still keep the rate.
                    (tokens, Duration::from_secs_f64(number() * 0.2 * tokens / rate))
                });
                let sum: f64 = got.iter().sum();
                let wanted = rate * f64::from(u32::try_from(seconds).unwrap());
                prop_assert!((sum / wanted - 1.0).abs() < 0.05, "{caller_count}: {sum} {wanted}");
                // At 10 per second, some callers come once more than others.
                let mean = sum / got.len() as f64;
                let slack = 0.3 * mean + 2.0 * batch;
                for one in &got {
                    prop_assert!((one - mean).abs() <= slack, "{one} of {mean}");
                }
                let burst_max = rate * TokenBucket::BURST.as_secs_f64() + batch.ceil();
                for (first, (from, _)) in grants.iter().enumerate().step_by(97) {
                    let mut sum = 0.0;
                    for (until, tokens) in grants.iter().skip(first).take(200) {
                        sum += tokens;
                        let allowed = rate * (*until - *from).as_secs_f64() + burst_max;
                        prop_assert!(sum <= allowed * 1.000_001, "{sum} of {allowed}");
                    }
                }
            }
        }

        #[test]
        fn tickets_are_due_in_the_order_they_were_taken(
            steps in prop::collection::vec((0.0_f64..500.0, 0_u64..50, 0_u8..6), 1..60),
        ) {
            let mut bucket = TokenBucket::new(Some(1000.0), Duration::ZERO);
            let mut now = Duration::ZERO;
            let mut last = Ticket::default();
            for (tokens, pause, change) in steps {
                now += Duration::from_millis(pause);
                if change == 0 {
                    bucket.set_rate(Some(tokens + 1.0), now);
                }
                let ticket = bucket.take(tokens, now);
                prop_assert!(bucket.wait(ticket, now) >= bucket.wait(last, now));
                last = ticket;
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_waits_is_told_the_new_time_when_the_rate_changes() {
        let mut bucket = TokenBucket::new(Some(10.0), Duration::ZERO);
        bucket.take(100.0, Duration::ZERO);
        let ticket = bucket.take(1.0, Duration::ZERO);
        let wait = |bucket: &TokenBucket, now| bucket.wait(ticket, now).as_millis();
        assert_eq!(wait(&bucket, Duration::ZERO), 10_000);
        // After one second ten are let through; the rest comes ten times as fast.
        bucket.set_rate(Some(100.0), SECOND);
        assert_eq!(wait(&bucket, SECOND), 900);
        bucket.set_rate(None, SECOND);
        assert_eq!(wait(&bucket, SECOND), 0);
        // What was free need not be paid back.
        assert_eq!(bucket.take(1e9, SECOND), Ticket::default());
        bucket.set_rate(Some(10.0), 2 * SECOND);
        let next = bucket.take(1.0, 2 * SECOND);
        assert_eq!(bucket.wait(next, 2 * SECOND), Duration::ZERO);
    }

    #[test]
    fn what_was_taken_for_more_than_it_was_is_given_back() {
        let mut bucket = TokenBucket::new(Some(100.0), Duration::ZERO);
        bucket.take(50.0, Duration::ZERO);
        bucket.correct(-40.0);
        let ticket = bucket.take(1.0, Duration::ZERO);
        assert_eq!(bucket.wait(ticket, Duration::ZERO).as_millis(), 100);
        bucket.correct(100.0);
        let ticket = bucket.take(1.0, Duration::ZERO);
        assert_eq!(bucket.wait(ticket, Duration::ZERO).as_millis(), 1110);
    }

    #[test]
    fn a_clock_that_goes_back_stands_still() {
        let mut bucket = TokenBucket::new(Some(10.0), SECOND);
        let ticket = bucket.take(1.0, Duration::ZERO);
        assert_eq!(bucket.wait(ticket, Duration::ZERO), Duration::ZERO);
        bucket.set_rate(Some(20.0), Duration::ZERO);
        let ticket = bucket.take(1.0, SECOND);
        assert!(bucket.wait(ticket, SECOND) < SECOND);
    }
}
