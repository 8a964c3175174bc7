//! Reads and writes snapshots: combines the format and the store.
//!
//! # Invariants
//!
//! - The manifest is written last, and only if there is none. Until then the snapshot
//!   does not exist. Nothing of it changes later but which look-up objects it names.
//! - The manifest names only durable, complete segments.

mod assemble;
mod copied_root;
mod coverage;
mod damaged_segment;
mod draft;
mod files;
mod home;
mod key_walk;
mod keys_ahead;
mod known_look_up;
mod latest;
mod look_up_builder;
mod look_up_checks;
mod look_up_reader;
mod look_ups;
mod lossy_reader;
mod name;
mod newest_shard;
mod object_pass;
mod object_range;
mod parts_reader;
mod reader;
mod recorded_ring;
mod remake;
mod repeated_keys;
mod resume;
mod salvage_parts;
mod salvage_walk;
mod salvaged;
mod segment_checks;
mod segment_differences;
mod segment_digest;
mod segment_identity;
mod segment_lookup;
mod segment_opening;
mod segment_parts;
mod segment_pass;
mod segment_pool;
mod segment_reader;
mod segment_value;
mod shard_sink;
mod shard_writer;
mod snapshot_writer;
mod sorted_runs;
mod verifications;
mod writer_memory;
mod writer_options;

pub use copied_root::publish_copy;
pub use damaged_segment::DamagedSegment;
pub use draft::{SnapshotDraft, check_name_is_free, check_not_finished};
pub use files::{JOURNAL, LOOK_UPS, MANIFEST, PARTS, SEGMENTS};
pub use home::{can_resume, home_of_copy, rivals_of};
pub use key_walk::{KeyDamage, KeyWalk};
pub use latest::{LATEST, Latest, find_latest, resolve_latest};
pub use look_up_checks::{CheckedShard, TakeDefect};
pub use look_up_reader::LookedUp;
pub use name::{NameClock, expand_name, generate_name, parse_name};
pub use object_pass::SnapshotObject;
pub use parts_reader::PartsReader;
pub use reader::SnapshotReader;
pub use recorded_ring::recorded_placement;
pub use remake::{RemadeLookUps, remake_look_ups};
pub use resume::{
    Leftover, Sealed, Unfinished, count_sealed, find_journal, find_manifest, find_sealed_nodes,
    list_unfinished_dumps, read_segment_meta, replace_unfinished, visit_records,
};
pub use salvaged::{SalvagedRecord, SalvagedValue, SegmentSalvage};
pub use segment_identity::{Identity, stated_identity};
pub use segment_lookup::FoundRecord;
pub use segment_opening::Opening;
pub use segment_pass::TakeBytes;
pub use segment_pool::SegmentPool;
pub use segment_reader::{BlockFrame, FramePayload, SegmentReader};
pub use segment_value::SegmentValue;
pub use shard_sink::{ShardResult, ShardSink};
pub use shard_writer::{ShardOptions, ShardWriter};
pub use snapshot_writer::{SnapshotWriter, WrittenSnapshot};
pub use verifications::write_verification;
pub use writer_memory::writer_memory;
pub use writer_options::WriterOptions;
