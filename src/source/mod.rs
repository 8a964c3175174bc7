//! Items out of live nodes: a walk lists the keys, a fetch reads the values.
//!
//! The two are apart because the walk must never wait: a server whose walk is
//! not read holds a lock that can stop all its clients. So a thread of its own
//! drains it at full speed into a [`Spool`], and the fetchers follow at theirs.

mod fetch;
mod spool;
mod walk;

pub use fetch::{FetchTally, Fetcher, FetcherOptions, TOO_LONG};
pub use spool::Spool;
pub use walk::{check_server, walk};
