//! The manifest, the object that makes a snapshot exist. FORMAT.md 5.12.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use serde_json::Value;

use crate::codecs::format::bytes::{check_bound, check_count, check_text};
use crate::codecs::format::checksum::ContentDigests;
use crate::codecs::format::clock_offset::check_offset;
pub use crate::codecs::format::features::{Features, Need};
use crate::codecs::format::ids::{LookUpId, SegmentId, SnapshotId};
use crate::codecs::format::layout::{VERSION_MAJOR, VERSION_MINOR};
use crate::codecs::format::moment::check_moment;
use crate::codecs::format::sealed_text::{check_seal, seal};
use crate::codecs::format::segment_meta::{check_address, check_shard_bits};
use crate::codecs::format::segment_name::segment_object;
use crate::codecs::format::segment_order::{SegmentOrder, SegmentPlace};
use crate::codecs::format::version::{check_major, judge};
use crate::words::counters::Counters;
use crate::words::decimal;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::limits::Limits;
use crate::words::reasons::Reasons;
use crate::words::units::to_u64;

const STRUCTURE: Structure = Structure::Manifest;
const FORMAT_NAME: &str = "mcsnap";
/// The format of a manifest in which everything else is encrypted. FORMAT.md 7.1.
const ENCRYPTED_FORMAT_NAME: &str = "mcsnap-encrypted";

/// A snapshot: what it holds, where it came from, and how complete it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `mcsnap`.
    pub format: String,
    /// Version of the format.
    pub version: Version,
    /// Features that a reader must know, by job.
    #[serde(default)]
    pub features: Features,
    /// Id of the snapshot.
    pub snapshot_id: SnapshotId,
    /// Its name, which was also its directory's when it was made.
    pub name: String,
    /// Random, so that a writer recognises its own write.
    pub token: String,
    /// Name and version of the writer.
    pub tool: String,
    /// When the dump started. A moment, FORMAT.md 2.
    pub started_at: String,
    /// When the dump finished. A moment, FORMAT.md 2.
    pub finished_at: String,
    /// The ring of the source cluster, if given.
    pub ring: Option<String>,
    /// The selection expression of the dump; `None` if it took every item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<String>,
    /// How keys are distributed over shards.
    pub shard_hash: ShardHash,
    /// One entry per node, in the order given.
    pub nodes: Vec<ManifestNode>,
    /// One entry per segment. Those of parts are there once the parts have been read.
    pub segments: Vec<ManifestSegment>,
    /// The parts that list the segments, if there are too many for one object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartName>,
    /// Sums over all segments.
    pub totals: Totals,
    /// Digest of keys, client flags and values over all records.
    pub content_digest: Digest128,
    /// Digest of keys, client flags, values and exptimes over all records.
    pub content_digest_exptime: Digest128,
    /// How complete the snapshot is.
    pub verdict: Verdict,
}

/// What a manifest says of the look-up object of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUpName {
    /// Its id, which is its name, too.
    pub id: LookUpId,
    /// Number of its pages.
    pub pages: u32,
    /// Number of the shard's blocks.
    pub blocks: u32,
}

/// What a manifest says of one of its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartName {
    /// Its name, relative to the manifest's directory.
    pub object: String,
    /// Size in bytes.
    #[serde(with = "decimal")]
    pub size: u64,
    /// The checksum at its end: `sha256:` and 64 hexadecimal digits.
    pub checksum: String,
    /// Index of the first node that has segments in it.
    pub first_node: u32,
    /// Index of the last.
    pub last_node: u32,
}

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Another major version is not readable.
    pub major: u32,
    /// Any minor version is readable.
    pub minor: u32,
}

impl Default for Version {
    fn default() -> Self {
        Self {
            major: VERSION_MAJOR.into(),
            minor: VERSION_MINOR.into(),
        }
    }
}

/// The hash that distributes keys over shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardHash {
    /// Always `xxh3-64`.
    pub algorithm: String,
    /// The seed as a decimal number.
    pub seed: String,
}

impl Default for ShardHash {
    fn default() -> Self {
        let seed = crate::codecs::format::checksum::HASH_SEED.to_string();
        Self {
            algorithm: "xxh3-64".to_owned(),
            seed,
        }
    }
}

/// How complete a snapshot is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every item is stored or is gone for a known reason, and the servers' own counts
    /// agree.
    Complete,
    /// No item is known to be lost, but the servers' counts do not rule it out.
    Unsure,
    /// Some items were lost.
    Lossy,
    /// At least one node is missing, entirely or in part.
    Partial,
}

impl Verdict {
    /// Derives the verdict from the nodes: the worst that one of them gives.
    pub fn of(nodes: &[ManifestNode]) -> Self {
        if nodes.iter().any(|node| node.failure.is_some()) {
            Self::Partial
        } else if nodes.iter().any(|node| node.losses() > 0) {
            Self::Lossy
        } else if nodes.iter().any(|node| node.unsure > 0) {
            Self::Unsure
        } else {
            Self::Complete
        }
    }

    const ALL: [Self; 4] = [Self::Complete, Self::Unsure, Self::Lossy, Self::Partial];

    /// Returns the verdict for a word of a manifest, if this build knows it.
    fn of_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|verdict| verdict.as_str() == word)
    }

    /// Returns the word used in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Unsure => "unsure",
            Self::Lossy => "lossy",
            Self::Partial => "partial",
        }
    }
}

/// One node of the source cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestNode {
    /// As the user wrote it.
    pub address: String,
    /// memcached's version; empty if unknown.
    pub server_version: String,
    /// Process id of the server.
    #[serde(with = "decimal")]
    pub pid: u64,
    /// When the server started, in Unix seconds on the dumping host's clock.
    #[serde(with = "decimal")]
    pub server_started_at: u64,
    /// Seconds to add to a server time to get the dumping host's time; empty if unknown.
    /// Counts where a segment does not tell its own.
    pub clock_offset: String,
    /// How the keys were listed, as text for people. FORMAT.md 5.12.
    pub walk: String,
    /// The node has 2^bits shards.
    pub shard_bits: u8,
    /// `curr_items` before the walk.
    #[serde(with = "decimal")]
    pub items_start: u64,
    /// `curr_items` after the last value was read.
    #[serde(with = "decimal")]
    pub items_end: u64,
    /// Loss: items that the server counts but does not list. FORMAT.md 5.12.
    #[serde(with = "decimal", default, skip_serializing_if = "decimal::is_zero")]
    pub unlisted: u64,
    /// Neither outcome nor loss: an upper bound of further items that may have existed
    /// and were not listed, which the server's counts do not decide. FORMAT.md 5.12.
    #[serde(with = "decimal", default, skip_serializing_if = "decimal::is_zero")]
    pub unsure: u64,
    /// The outcome of each line of the walk.
    pub counters: Counters,
    /// The reasons for refused and failed items, with the number of each.
    #[serde(default)]
    pub reasons: Reasons,
    /// Why the node was not read completely; `None` if it was.
    pub failure: Option<String>,
    /// The look-up object of each shard, from shard 0 on; empty if the node has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub look_ups: Vec<LookUpName>,
}

impl ManifestNode {
    /// Returns how many items were lost, listed or not.
    pub fn losses(&self) -> u64 {
        self.counters.losses().saturating_add(self.unlisted)
    }
}

/// One segment of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestSegment {
    /// Its name, relative to the manifest's directory.
    pub object: String,
    /// Id of the segment.
    pub segment_id: SegmentId,
    /// Size in bytes.
    #[serde(with = "decimal")]
    pub size: u64,
    /// `sha256:` and 64 hexadecimal digits. FORMAT.md 6.
    pub digest: String,
    /// Index of its node in the manifest's list.
    pub node_index: u32,
    /// Number of the shard within the node, from 0.
    #[serde(with = "decimal")]
    pub shard_index: u64,
    /// Zero-based number within the shard.
    pub sequence: u32,
    /// Number of records.
    #[serde(with = "decimal")]
    pub records: u64,
    /// Number of blocks.
    #[serde(with = "decimal")]
    pub blocks: u64,
    /// Total length of all keys in bytes.
    #[serde(with = "decimal")]
    pub key_bytes: u64,
    /// Total length of all values in bytes.
    #[serde(with = "decimal")]
    pub value_bytes: u64,
    /// Digest of keys, client flags and values.
    pub content_digest: Digest128,
    /// Digest of keys, client flags, values and exptimes.
    pub content_digest_exptime: Digest128,
}

impl ManifestSegment {
    /// Returns where it stands among the segments of the snapshot.
    pub fn place(&self) -> SegmentPlace {
        (self.node_index, self.shard_index, self.sequence)
    }

    /// Returns the name by which a look-up object leads to it.
    pub fn look_up_object(&self) -> String {
        segment_object(
            self.node_index,
            self.shard_index,
            self.sequence,
            self.segment_id,
        )
    }
}

/// The sums over all segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Number of segments.
    #[serde(with = "decimal")]
    pub segments: u64,
    /// Total size of all segments in bytes.
    #[serde(with = "decimal")]
    pub size: u64,
    /// Number of records.
    #[serde(with = "decimal")]
    pub records: u64,
    /// Total length of all keys in bytes.
    #[serde(with = "decimal")]
    pub key_bytes: u64,
    /// Total length of all values in bytes.
    #[serde(with = "decimal")]
    pub value_bytes: u64,
}

impl Totals {
    /// Adds up the segments.
    pub fn of(segments: &[ManifestSegment]) -> Self {
        SegmentSums::of(segments).totals
    }

    fn add(&mut self, segment: &ManifestSegment) {
        self.segments = self.segments.saturating_add(1);
        self.size = self.size.saturating_add(segment.size);
        self.records = self.records.saturating_add(segment.records);
        self.key_bytes = self.key_bytes.saturating_add(segment.key_bytes);
        self.value_bytes = self.value_bytes.saturating_add(segment.value_bytes);
    }
}

/// Everything that a manifest has the sum of, added up segment by segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentSums {
    totals: Totals,
    digests: ContentDigests,
    /// The blocks of each shard, by node and shard.
    blocks: BTreeMap<(u32, u64), u64>,
}

impl SegmentSums {
    fn of(segments: &[ManifestSegment]) -> Self {
        let mut sums = Self::default();
        segments.iter().for_each(|segment| sums.add(segment));
        sums
    }

    /// Adds a segment.
    pub fn add(&mut self, segment: &ManifestSegment) {
        self.totals.add(segment);
        let shard = (segment.node_index, segment.shard_index);
        let blocks = self.blocks.entry(shard).or_default();
        *blocks = blocks.saturating_add(segment.blocks);
        self.digests.merge(&ContentDigests {
            content: segment.content_digest.0,
            content_exptime: segment.content_digest_exptime.0,
        });
    }
}

/// A content digest, written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest128(pub u128);

impl std::fmt::Display for Digest128 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<Digest128> for String {
    fn from(digest: Digest128) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest128 {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        crate::codecs::format::ids::parse_hex(&text)
            .map(|bytes| Self(u128::from_be_bytes(bytes)))
            .ok_or_else(|| format!("\"{text}\" is not a content digest"))
    }
}

/// What a reader must know of a manifest before it reads the rest.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    format: String,
    version: Option<Version>,
    #[serde(default)]
    features: Value,
    #[serde(default)]
    verdict: Value,
}

impl Envelope {
    /// Refuses what this build does not know. What cannot be understood passes; reading
    /// the rest says why.
    fn check_known(self, need: Need) -> std::result::Result<(), Defect> {
        if let Ok(features) = serde_json::from_value::<Features>(self.features) {
            features.check(need)?;
        }
        let minor = self.version.map_or(0, |version| version.minor);
        let Some(word) = self.verdict.as_str() else {
            return Ok(());
        };
        if Verdict::of_word(word).is_some() {
            return Ok(());
        }
        let unknown = Defect::UnknownWord {
            structure: STRUCTURE,
            field: "verdict",
            stored: word.to_owned(),
        };
        Err(judge(unknown, minor))
    }
}

impl Manifest {
    /// Returns the combined content digests of all segments.
    pub fn digests(segments: &[ManifestSegment]) -> ContentDigests {
        SegmentSums::of(segments).digests
    }

    /// Returns the combined counters of all nodes.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        for node in &self.nodes {
            counters.merge(&node.counters);
        }
        counters
    }

    /// Returns how many items of all nodes were counted but not listed.
    pub fn unlisted(&self) -> u64 {
        let unlisted = self.nodes.iter().map(|node| node.unlisted);
        unlisted.fold(0, u64::saturating_add)
    }

    /// Returns how many items of all nodes may be missing in addition to those that were
    /// lost.
    pub fn unsure(&self) -> u64 {
        let unsure = self.nodes.iter().map(|node| node.unsure);
        unsure.fold(0, u64::saturating_add)
    }

    /// Returns how many nodes were not read completely.
    pub fn failed_nodes(&self) -> usize {
        let failed = self.nodes.iter().filter(|node| node.failure.is_some());
        failed.count()
    }

    /// Returns how many items of all nodes were lost.
    pub fn losses(&self) -> u64 {
        let losses = self.nodes.iter().map(ManifestNode::losses);
        losses.fold(0, u64::saturating_add)
    }

    /// Returns the manifest's bytes, including the checksum.
    pub fn encode(&self) -> Vec<u8> {
        // Structs of text, numbers and lists can always be serialised.
        let body = serde_json::to_string_pretty(self).unwrap_or_default();
        seal(&body).0
    }

    /// Parses and checks a manifest (N1 to N7, N12, N13, N17 to N20).
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: this is not the manifest of a snapshot.
    /// - `Newer`: another major version, an unknown feature, or in a later minor version an
    ///   unknown verdict.
    /// - `Corrupt`: any other rule is broken.
    pub fn decode(bytes: &[u8], need: Need, limits: &Limits) -> Result<Self> {
        let len = to_u64(bytes.len());
        check_bound(STRUCTURE, "length", len, limits.manifest_len_max).map_err(Error::corrupt)?;
        let envelope: Envelope = serde_json::from_slice(bytes).map_err(malformed)?;
        if envelope.format == ENCRYPTED_FORMAT_NAME {
            let what = "an encrypted manifest".to_owned();
            return Err(Error::corrupt(Defect::Newer { what }));
        }
        if envelope.format != FORMAT_NAME {
            return Err(Error::new(ErrorKind::InvalidInput {
                field: "manifest",
                value: envelope.format,
                allowed: "its format is not mcsnap: this is not a snapshot".to_owned(),
            }));
        }
        if let Some(Version { major, minor }) = envelope.version {
            check_major(STRUCTURE, major, minor).map_err(Error::corrupt)?;
        }
        check_seal(STRUCTURE, bytes).map_err(Error::corrupt)?;
        envelope.check_known(need).map_err(Error::corrupt)?;
        let manifest: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        manifest.check(limits).map_err(Error::corrupt)?;
        Ok(manifest)
    }

    /// Checks everything that features and the checksum do not cover. Every reader does
    /// this, and so does a writer. What needs the segments waits for the parts.
    ///
    /// # Errors
    ///
    /// - The defect for the first broken rule (N4 to N7, N12, N13, N17 to N20).
    pub fn check(&self, limits: &Limits) -> std::result::Result<(), Defect> {
        check_moment(STRUCTURE, "started_at", &self.started_at)?;
        check_moment(STRUCTURE, "finished_at", &self.finished_at)?;
        self.check_part_names()?;
        for node in &self.nodes {
            check_address(STRUCTURE, "address", &node.address, limits)?;
            check_shard_bits(STRUCTURE, node.shard_bits)?;
            check_offset(STRUCTURE, "clock_offset", &node.clock_offset)?;
            check_look_ups(node)?;
        }
        let (stored, records) = (self.counters().stored, self.totals.records);
        check_count(STRUCTURE, "counters.stored", stored, records)?;
        for node in &self.nodes {
            let counters = &node.counters;
            check_count(
                STRUCTURE,
                "counters.listed",
                counters.taken,
                counters.accounted(),
            )?;
        }
        let of_nodes = Verdict::of(&self.nodes);
        if self.verdict < of_nodes {
            let (stored, computed) = (self.verdict.as_str(), of_nodes.as_str());
            check_text(STRUCTURE, "verdict", stored, computed)?;
        }
        if self.parts.is_empty() {
            self.check_segments()?;
        }
        Ok(())
    }

    /// Checks the segments when all are there (N6, N7, N17 to N19).
    ///
    /// # Errors
    ///
    /// - The defect for the first broken rule.
    pub fn check_segments(&self) -> std::result::Result<(), Defect> {
        let mut order = SegmentOrder::new(STRUCTURE, true);
        for segment in &self.segments {
            self.check_segment(segment)?;
            order.add(segment.place(), segment.segment_id)?;
        }
        let sums = SegmentSums::of(&self.segments);
        self.check_look_up_blocks(&sums, |_| true)?;
        self.check_sums(&sums)
    }

    /// Checks one segment by itself (N6, N18, N19).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn check_segment(&self, segment: &ManifestSegment) -> std::result::Result<(), Defect> {
        check_object(&segment.object)?;
        let node = usize::try_from(segment.node_index).unwrap_or(usize::MAX);
        let Some(node) = self.nodes.get(node) else {
            return Err(Defect::CountMismatch {
                structure: STRUCTURE,
                field: "node_index",
                stored: segment.node_index.into(),
                computed: to_u64(self.nodes.len()),
            });
        };
        if !is_sha256(&segment.digest) {
            return Err(Defect::Malformed {
                structure: STRUCTURE,
                reason: format!(
                    "digest \"{}\" is not sha256: and 64 lower-case hexadecimal digits",
                    segment.digest.escape_debug()
                ),
            });
        }
        let beyond = segment.shard_index.checked_shr(node.shard_bits.into());
        if beyond.is_some_and(|beyond| beyond > 0) {
            let shard = segment.shard_index;
            return Err(Defect::Malformed {
                structure: STRUCTURE,
                reason: format!("its node has no shard {shard}"),
            });
        }
        if node.look_ups.is_empty() {
            return Ok(());
        }
        // A reader that starts at the look-up object makes the name from the ids; there is no other.
        let computed = segment.look_up_object();
        check_text(STRUCTURE, "object", &segment.object, &computed)
    }

    /// Checks that each look-up object has the blocks of its shard, of the nodes of which
    /// all segments are in the sums (N17).
    ///
    /// # Errors
    ///
    /// - The defect for the first wrong number.
    pub fn check_look_up_blocks(
        &self,
        sums: &SegmentSums,
        is_known: impl Fn(u32) -> bool,
    ) -> std::result::Result<(), Defect> {
        for (node_index, node) in (0_u32..).zip(&self.nodes) {
            if !is_known(node_index) {
                continue;
            }
            for (shard_index, name) in (0_u64..).zip(&node.look_ups) {
                let found = sums.blocks.get(&(node_index, shard_index)).copied();
                let (stored, computed) = (name.blocks.into(), found.unwrap_or(0));
                check_count(STRUCTURE, "blocks of a look-up object", stored, computed)?;
            }
        }
        Ok(())
    }

    /// Checks the sums over all segments (N7).
    ///
    /// # Errors
    ///
    /// - The defect for the first wrong sum.
    pub fn check_sums(&self, sums: &SegmentSums) -> std::result::Result<(), Defect> {
        let SegmentSums {
            totals, digests, ..
        } = sums;
        let sums = [
            ("totals.segments", self.totals.segments, totals.segments),
            ("totals.size", self.totals.size, totals.size),
            ("totals.records", self.totals.records, totals.records),
            ("totals.key_bytes", self.totals.key_bytes, totals.key_bytes),
            (
                "totals.value_bytes",
                self.totals.value_bytes,
                totals.value_bytes,
            ),
        ];
        for (field, stored, computed) in sums {
            check_count(STRUCTURE, field, stored, computed)?;
        }
        let pairs = [
            ("content_digest", self.content_digest, digests.content),
            (
                "content_digest_exptime",
                self.content_digest_exptime,
                digests.content_exptime,
            ),
        ];
        for (field, stored, computed) in pairs {
            if stored.0 != computed {
                return Err(Defect::DigestMismatch {
                    structure: STRUCTURE,
                    field,
                    stored: stored.to_string(),
                    computed: Digest128(computed).to_string(),
                });
            }
        }
        Ok(())
    }

    fn check_part_names(&self) -> std::result::Result<(), Defect> {
        let malformed = |reason: String| {
            Err(Defect::Malformed {
                structure: STRUCTURE,
                reason,
            })
        };
        if !self.parts.is_empty() && !self.segments.is_empty() {
            return malformed("it has both segments and parts".to_owned());
        }
        let mut names = BTreeSet::new();
        let mut last_node = 0;
        for part in &self.parts {
            check_object(&part.object)?;
            if !names.insert(&part.object) {
                let name = part.object.escape_debug();
                return malformed(format!("the part \"{name}\" stands twice"));
            }
            let node_count = to_u64(self.nodes.len());
            let is_in_order = last_node <= part.first_node && part.first_node <= part.last_node;
            if !is_in_order || u64::from(part.last_node) >= node_count {
                let name = part.object.escape_debug();
                return malformed(format!("the nodes of the part \"{name}\" are not in order"));
            }
            last_node = part.last_node;
        }
        Ok(())
    }
}

/// Checks that a node has a look-up object for each of its shards, or none (N17).
fn check_look_ups(node: &ManifestNode) -> std::result::Result<(), Defect> {
    let count = to_u64(node.look_ups.len());
    let shards = 1_u64
        .checked_shl(node.shard_bits.into())
        .unwrap_or(u64::MAX);
    if count > 0 {
        check_count(STRUCTURE, "number of look_ups", count, shards)?;
    }
    let odd = |name: &&LookUpName| (name.pages == 0) != (name.blocks == 0);
    match node.look_ups.iter().find(odd) {
        Some(name) => Err(Defect::CountMismatch {
            structure: STRUCTURE,
            field: "pages of a look-up object",
            stored: name.pages.into(),
            computed: name.blocks.into(),
        }),
        None => Ok(()),
    }
}

/// Refuses the name of an object that no store could have below the snapshot (N6).
fn check_object(object: &str) -> std::result::Result<(), Defect> {
    if object.split('/').all(is_plain) {
        return Ok(());
    }
    Err(Defect::Malformed {
        structure: STRUCTURE,
        reason: format!("\"{}\" is not a relative path", object.escape_debug()),
    })
}

/// Returns whether a text has the form of a digest of a segment.
fn is_sha256(text: &str) -> bool {
    const DIGIT_COUNT: usize = 64;
    let digits = text.strip_prefix("sha256:").map(str::as_bytes);
    digits.is_some_and(|digits| {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.len() == DIGIT_COUNT && digits.iter().all(is_digit)
    })
}

/// Returns whether an object in a store could have this component in its name.
fn is_plain(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('.')
        && !component.ends_with(".partial")
        && !component.contains(char::is_control)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn malformed(error: serde_json::Error) -> Error {
    Error::corrupt(Defect::Malformed {
        structure: STRUCTURE,
        reason: error.to_string(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::codecs::format::sealed_text::CHECKSUM_START;

    pub(crate) fn manifest() -> Manifest {
        Manifest {
            format: FORMAT_NAME.to_owned(),
            version: Version::default(),
            features: Features::default(),
            snapshot_id: SnapshotId([7; 16]),
            name: "night".to_owned(),
            token: "00".to_owned(),
            tool: "mcsnap test".to_owned(),
            started_at: "2026-11-20T02:00:00Z".to_owned(),
            finished_at: "2026-11-20T02:00:01Z".to_owned(),
            ring: None,
            select: None,
            shard_hash: ShardHash::default(),
            nodes: Vec::new(),
            segments: Vec::new(),
            parts: Vec::new(),
            totals: Totals::default(),
            content_digest: Digest128(0),
            content_digest_exptime: Digest128(0),
            verdict: Verdict::Complete,
        }
    }

    fn decode(bytes: &[u8]) -> Result<Manifest> {
        Manifest::decode(bytes, Need::Read, &Limits::default())
    }

    /// Corrects the checksum of a changed manifest.
    fn resealed(text: &str) -> Vec<u8> {
        let (body, _) = text.split_once(CHECKSUM_START).unwrap();
        seal(&format!("{body}\n}}")).0
    }

    #[test]
    fn every_flipped_bit_and_every_prefix_is_refused() {
        let bytes = manifest().encode();
        assert_eq!(decode(&bytes).unwrap(), manifest());
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "prefix of {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_and_an_unknown_feature_are_refused_and_unknown_members_are_not() {
        let text = String::from_utf8(manifest().encode()).unwrap();
        let newer = text.replace("\"major\": 1", "\"major\": 2");
        assert_eq!(
            decode(newer.as_bytes()).unwrap_err().to_string(),
            "format version 2.0: made by a newer mcsnap; upgrade"
        );
        let sealed = text.replace("\"read\": []", "\"read\": [\"sealed\"]");
        assert_eq!(
            decode(&resealed(&sealed)).unwrap_err().to_string(),
            "feature \"sealed\": made by a newer mcsnap; upgrade"
        );
        // A word is unknown to this build, or wrong.
        let word = text.replace("\"complete\"", "\"mirrored\"");
        let error = decode(&resealed(&word)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{error}");
        let word = word.replace("\"minor\": 0", "\"minor\": 7");
        assert_eq!(
            decode(&resealed(&word)).unwrap_err().to_string(),
            "manifest: verdict is the unknown word \"mirrored\", in format version 1.7: made by a \
             newer mcsnap; upgrade"
        );
        let more = text.replace("\"token\"", "\"later\": [1], \"token\"");
        assert_eq!(decode(&resealed(&more)).unwrap(), manifest());
        let other = text.replace("\"format\": \"mcsnap\"", "\"format\": \"other\"");
        assert!(matches!(
            decode(other.as_bytes()).unwrap_err().kind(),
            ErrorKind::InvalidInput { .. }
        ));
    }

    #[test]
    fn segments_whose_names_no_store_takes_are_refused() {
        let mut manifest = manifest();
        manifest.segments.push(ManifestSegment {
            object: String::new(),
            segment_id: SegmentId([1; 16]),
            size: 0,
            digest: String::new(),
            node_index: 0,
            shard_index: 0,
            sequence: 0,
            records: 0,
            blocks: 0,
            key_bytes: 0,
            value_bytes: 0,
            content_digest: Digest128(0),
            content_digest_exptime: Digest128(0),
        });
        for object in [
            "",
            "/a",
            "a//b",
            "a/",
            ".",
            "a/../b",
            ".a",
            "a.partial",
            "a\nb",
        ] {
            manifest.segments[0].object = object.to_owned();
            let error = decode(&manifest.encode()).unwrap_err().to_string();
            let wanted = "manifest cannot be understood: \"";
            assert!(error.starts_with(wanted), "{object:?}: {error}");
        }
    }

    #[test]
    fn what_a_dump_left_out_is_told_and_counted() {
        let mut manifest = manifest();
        let plain = String::from_utf8(manifest.encode()).unwrap();
        assert!(!plain.contains("select") && !plain.contains("filtered"));
        let counters = Counters {
            taken: 9,
            filtered: 9,
            ..Counters::default()
        };
        let node = ManifestNode {
            address: "a:1".to_owned(),
            server_version: String::new(),
            pid: 0,
            server_started_at: 0,
            clock_offset: "0".to_owned(),
            walk: "metadump-hash".to_owned(),
            shard_bits: 0,
            items_start: 9,
            unlisted: 0,
            look_ups: Vec::new(),
            unsure: 0,
            items_end: 9,
            counters,
            reasons: Reasons::default(),
            failure: None,
        };
        manifest.nodes = vec![node.clone(), node];
        manifest.select = Some("prefix=user: and ttl>1h".to_owned());
        assert_eq!(decode(&manifest.encode()).unwrap(), manifest);
        let sum = manifest.counters();
        assert_eq!((sum.filtered, sum.accounted(), sum.losses()), (18, 18, 0));
        assert_eq!(Verdict::of(&manifest.nodes), Verdict::Complete);
        manifest.nodes[1].counters.filtered = 8;
        assert_eq!(
            decode(&manifest.encode()).unwrap_err().to_string(),
            "manifest: counters.listed is 9, but 8 was found"
        );
    }

    #[test]
    fn sums_that_do_not_add_up_are_refused() {
        let text = String::from_utf8(manifest().encode()).unwrap();
        for (member, told) in [
            ("records", "manifest: counters.stored is 0, but 1 was found"),
            ("size", "manifest: totals.size is 1, but 0 was found"),
        ] {
            let (zero, one) = (
                format!("\"{member}\": \"0\""),
                format!("\"{member}\": \"1\""),
            );
            let error = decode(&resealed(&text.replace(&zero, &one))).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }
}
