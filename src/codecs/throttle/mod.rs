//! How much may be asked of servers: so much a second, and so much at a time.
//!
//! Pure: moments are arguments, counted from one that the caller chooses, and
//! whoever must wait is told for how long.

mod bucket;
mod governor;
mod latencies;
mod rates;

pub use bucket::{Ticket, TokenBucket};
pub use governor::{Governor, Pace};
pub use latencies::Latencies;
pub use rates::{Rate, Rates};
pub(crate) use rates::{RateBuckets, RateTicket};
