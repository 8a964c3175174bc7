//! Reads items from live nodes: a walk lists the keys, a fetch reads the values.
//!
//! The two are separate because the walk must never wait: while its client does not read,
//! a server in a walk holds a lock that can stop all its clients. One thread therefore
//! drains the walk at full speed into the memory of a [`Spool`], another writes that to
//! disk, and the fetchers follow at their own speed. While a walk runs, its thread
//! touches only its socket and memory: no file, no mapped file, no log, and no lock that
//! another thread holds while it waits for a disk.

mod compare;
mod fetch;
mod kept_items;
mod key_log;
mod packed_walk;
mod sample;
mod seen_keys;
mod spool;
mod spool_memory;
mod strategy;
mod survey;
mod under_way;
mod walk;

pub use compare::compare_listing;
pub use fetch::{FetchJob, FetchTally, Fetcher, FetcherOptions, TOO_LONG, Witness};
pub use kept_items::{ItemVersion, KeptItems};
pub use packed_walk::{PackedWalk, WalkPacker, Walked};
pub use sample::sample_keys;
pub use seen_keys::{Seen, SeenKeys};
pub use spool::{LineForm, Pushed, Spool, WalkChunk};
pub use spool_memory::SpoolMemory;
pub use strategy::{Crawler, KeyProtocol, ReadStrategy, WalkKind, probe_crawler};
pub use survey::{SourceNode, survey};
pub use under_way::{between_walks, walks_under_way};
pub use walk::{Walk, WalkReport};
