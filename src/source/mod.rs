//! Items out of live nodes: a walk lists the keys, a fetch reads the values.
//!
//! The two are apart because the walk must never wait: a server whose walk is
//! not read holds a lock that can stop all its clients. So a thread of its own
//! drains it at full speed into a [`Spool`], and the fetchers follow at theirs.

mod compare;
mod fetch;
mod kept_items;
mod sample;
mod seen_keys;
mod spool;
mod strategy;
mod survey;
mod walk;

pub use compare::compare_listing;
pub use fetch::{FetchJob, FetchTally, Fetcher, FetcherOptions, ItemSink, TOO_LONG, Witness};
pub use kept_items::{ItemVersion, KeptItems};
pub use sample::sample_keys;
pub use seen_keys::{Seen, SeenKeys};
pub use spool::{LineForm, Spool, WalkChunk};
pub use strategy::{Carrier, Crawler, ReadStrategy, WalkKind, probe_crawler};
pub use survey::{SourceNode, survey};
pub use walk::{Walk, WalkReport};
