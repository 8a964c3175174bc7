//! Format and store joined: snapshots written and read.
//!
//! # Invariants
//!
//! - The manifest goes last, and only if none is there; until then the snapshot
//!   does not exist.
//! - It names durable, complete segments only.

mod damaged_segment;
mod lossy_reader;
mod name;
mod reader;
mod segment_reader;
mod shard_writer;
mod writer;

pub use damaged_segment::{DamagedSegment, Expected, SegmentSalvage};
pub use name::{generate_name, parse_name};
pub use reader::SnapshotReader;
pub use segment_reader::{BlockFrame, FoundRecord, Opening, SegmentReader};
pub use shard_writer::{ShardOptions, ShardWriter};
pub use writer::SnapshotWriter;

/// The manifest's object name, below the snapshot's.
pub const MANIFEST: &str = "manifest.json";
/// Where segments are, below the snapshot's name.
pub const SEGMENTS: &str = "segments";
