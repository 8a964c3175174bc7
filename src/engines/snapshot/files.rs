//! Names of the files of a snapshot.

use crate::codecs::format::{look_up, manifest_part, segment_name};

/// Name of the manifest object, below the snapshot's name.
pub const MANIFEST: &str = "manifest.json";
/// Name of the object from which an interrupted dump is resumed, below the snapshot's
/// name.
pub const JOURNAL: &str = "dump.json";
/// The directory of the look-up objects, below the snapshot's name.
pub const LOOK_UPS: &str = look_up::FOLDER;
/// The directory of the manifest's parts, below the snapshot's name.
pub const PARTS: &str = manifest_part::FOLDER;
/// The directory of the segments, below the snapshot's name.
pub const SEGMENTS: &str = segment_name::FOLDER;
