//! Reads the values of listed keys, without leaving a trace where the server allows that.

mod batch;
mod buffering_sink;
mod connection_batch;
mod dialect;
mod fetcher;
mod job;
mod reply_context;
mod reply_reader;
mod tally;
mod win_tokens;

pub use fetcher::Fetcher;
pub use job::{FetchJob, FetcherOptions};
pub use reply_reader::TOO_LONG;
pub use tally::{FetchTally, Witness};
