//! Reads the values of listed keys, without leaving a trace where the server allows that.

mod batch;
mod buffering_sink;
mod connection_batch;
mod dialect;
mod fetcher;
mod job;
mod reply_context;
mod tally;

pub use connection_batch::TOO_LONG;
pub use fetcher::Fetcher;
pub use job::{FetchJob, FetcherOptions};
pub use tally::{FetchTally, Witness};
