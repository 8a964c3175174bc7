//! The values of listed keys, read without a trace where the server can do so.

mod batch;
mod dialect;
mod early_sink;
mod fetcher;
mod job;
mod lane;
mod meaning;
mod tally;

pub use fetcher::Fetcher;
pub use job::{FetchJob, FetcherOptions};
pub use lane::TOO_LONG;
pub use tally::{FetchTally, Witness};
