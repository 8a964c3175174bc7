//! Parts of a manifest, which list the segments of a large snapshot. FORMAT.md 5.13.

use serde::{Deserialize, Serialize};

use crate::codecs::format::bytes::check_bound;
use crate::codecs::format::ids::SnapshotId;
use crate::codecs::format::manifest::{Manifest, ManifestSegment, PartName, Version};
use crate::codecs::format::sealed_text::{check_seal, seal};
use crate::codecs::format::version::check_major;
use crate::words::defect::{Defect, Structure};
use crate::words::limits::Limits;
use crate::words::units::to_u64;

const STRUCTURE: Structure = Structure::ManifestPart;
const FORMAT_NAME: &str = "mcsnap-part";

/// The folder of the parts, beside the manifest.
pub const FOLDER: &str = "parts";

/// A part: some of the segments, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPart {
    /// Always `mcsnap-part`.
    pub format: String,
    /// Version of the format.
    pub version: Version,
    /// Id of the snapshot.
    pub snapshot_id: SnapshotId,
    /// Segments of the nodes that the manifest says.
    pub segments: Vec<ManifestSegment>,
}

/// What must be known before the rest is read. What is no text is damaged, and the checksum
/// tells.
#[derive(Deserialize)]
struct Envelope {
    version: Option<Version>,
}

impl ManifestPart {
    /// Segments of a part, and the most that a manifest has without parts. Some 500 bytes
    /// each: a look-up reads half a megabyte of manifest at most.
    pub const SEGMENTS: usize = 1_000;

    /// Makes a part of a snapshot.
    pub fn new(snapshot_id: SnapshotId, segments: Vec<ManifestSegment>) -> Self {
        Self {
            format: FORMAT_NAME.to_owned(),
            version: Version::default(),
            snapshot_id,
            segments,
        }
    }

    /// Returns the bytes of the part with this number, and what the manifest says of it.
    pub fn encode(&self, number: usize) -> (Vec<u8>, PartName) {
        // Structs of text, numbers and lists can always be serialised.
        let body = serde_json::to_string_pretty(self).unwrap_or_default();
        let (bytes, checksum) = seal(&body);
        let node_of = |segment: Option<&ManifestSegment>| segment.map_or(0, |s| s.node_index);
        let digits = checksum.rsplit(':').next().unwrap_or_default();
        let start = digits.get(..8).unwrap_or_default();
        let name = PartName {
            object: format!("{FOLDER}/{number:05}-{start}.json"),
            size: to_u64(bytes.len()),
            checksum,
            first_node: node_of(self.segments.first()),
            last_node: node_of(self.segments.last()),
        };
        (bytes, name)
    }

    /// Parses and checks a part (N14 to N16).
    ///
    /// # Errors
    ///
    /// - `Newer`: another major version. The features are those of the manifest.
    /// - The defect for another broken rule.
    pub fn decode(
        bytes: &[u8],
        name: &PartName,
        manifest: &Manifest,
        limits: &Limits,
    ) -> Result<Self, Defect> {
        let len = to_u64(bytes.len());
        check_bound(STRUCTURE, "length", len, limits.manifest_part_len_max)?;
        let malformed = |reason: String| Defect::Malformed {
            structure: STRUCTURE,
            reason,
        };
        let envelope = serde_json::from_slice(bytes);
        if let Ok(Envelope {
            version: Some(Version { major, minor }),
        }) = envelope
        {
            check_major(STRUCTURE, major, minor)?;
        }
        let checksum = check_seal(STRUCTURE, bytes)?;
        if checksum != name.checksum {
            return Err(Defect::DigestMismatch {
                structure: STRUCTURE,
                field: "checksum in the manifest",
                stored: name.checksum.clone(),
                computed: checksum,
            });
        }
        let part: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if part.format != FORMAT_NAME {
            return Err(malformed(format!(
                "its format is \"{}\", not {FORMAT_NAME}",
                part.format.escape_debug()
            )));
        }
        if part.snapshot_id != manifest.snapshot_id {
            return Err(Defect::Foreign {
                structure: STRUCTURE,
                field: "snapshot_id",
                stored: part.snapshot_id.to_string(),
                computed: manifest.snapshot_id.to_string(),
            });
        }
        let nodes = name.first_node..=name.last_node;
        if let Some(other) = part
            .segments
            .iter()
            .find(|segment| !nodes.contains(&segment.node_index))
        {
            return Err(Defect::CountMismatch {
                structure: STRUCTURE,
                field: "node_index",
                stored: other.node_index.into(),
                computed: name.last_node.into(),
            });
        }
        for segment in &part.segments {
            manifest.check_segment(segment)?;
        }
        Ok(part)
    }
}
