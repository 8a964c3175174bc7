//! How much to request from servers: per second, and at a time.
//!
//! This code is pure: times are arguments, counted from a moment that the caller chooses,
//! and waits are returned as durations.

mod bucket;
mod governor;
mod latencies;
mod rates;

pub use bucket::{Ticket, TokenBucket};
pub use governor::{Governor, Pace};
pub use latencies::Latencies;
pub use rates::{Rate, Rates};
pub(crate) use rates::{RateBuckets, RateTicket};
