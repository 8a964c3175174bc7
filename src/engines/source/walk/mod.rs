//! Lists all keys of a node.

mod chunk_packer;
mod crawl;
mod crawler_switch;
mod hidden;
mod job;
mod listing;
mod run;

pub use job::{Walk, WalkReport};
