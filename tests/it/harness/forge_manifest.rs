//! Manifests that lie: text changed at will, and the checksum made right again.

use std::collections::BTreeMap;

use mcsnap::codecs::format::ids::{SegmentId, SnapshotId, to_hex};
use mcsnap::codecs::format::manifest::{
    Digest128, Features, Manifest, ManifestNode, ManifestSegment, ShardHash, Totals, Verdict,
    Version,
};
use mcsnap::codecs::format::manifest_part::ManifestPart;
use mcsnap::codecs::format::verification::{FindingCount, VerificationRecord};
use mcsnap::words::counters::Counters;
use mcsnap::words::reasons::Reasons;
use sha2::{Digest as _, Sha256};

/// What follows the checksum, FORMAT.md 5.12.
const END: &[u8] = b"\"\n}\n";
const CHECKSUM_LEN: usize = 64;

/// A manifest of one node and two segments, the same on every run.
pub(crate) fn sound() -> Vec<u8> {
    manifest().encode()
}

/// The other texts of a snapshot of this manifest: a part with the same segments, and the
/// record of a verification.
pub(crate) fn others() -> [Vec<u8>; 2] {
    let manifest = manifest();
    let part = ManifestPart::new(manifest.snapshot_id, manifest.segments.clone());
    let record = VerificationRecord {
        format: VerificationRecord::format_name(),
        version: Version::default(),
        features: Features::default(),
        snapshot_id: manifest.snapshot_id,
        manifest: format!("sha256:{}", "0".repeat(CHECKSUM_LEN)),
        tool: "test".to_owned(),
        started_at: manifest.started_at,
        finished_at: manifest.finished_at,
        depth: "deep".to_owned(),
        result: "unsure".to_owned(),
        findings: BTreeMap::from([("MCS021".to_owned(), FindingCount(3))]),
    };
    [part.encode(0).0, record.encode().0]
}

/// The same, not encoded yet.
pub(crate) fn manifest() -> Manifest {
    let segment = |sequence: u32| ManifestSegment {
        object: format!(
            "segments/n0000-s000-{sequence:05}-{0}{0}{0}{0}.mcs",
            11 + sequence
        ),
        segment_id: SegmentId([0x11 + u8::try_from(sequence).unwrap(); 16]),
        size: 5_715,
        digest: format!("sha256:{}", "0".repeat(CHECKSUM_LEN)),
        node_index: 0,
        shard_index: 0,
        sequence,
        records: 3,
        blocks: 2,
        key_bytes: 16,
        value_bytes: 8,
        content_digest: Digest128(u128::MAX),
        content_digest_exptime: Digest128(2),
    };
    let segments = vec![segment(0), segment(1)];
    let digests = Manifest::digests(&segments);
    let mut reasons = Reasons::default();
    reasons.add("SERVER_ERROR out of memory");
    let node = ManifestNode {
        address: "a:1".to_owned(),
        server_version: "1.6.18".to_owned(),
        pid: 1,
        server_started_at: 1_700_000_000,
        clock_offset: "0".to_owned(),
        walk: "metadump-hash".to_owned(),
        shard_bits: 1,
        items_start: 7,
        items_end: 7,
        unlisted: 0,
        look_ups: Vec::new(),
        unsure: 0,
        counters: Counters {
            taken: 7,
            stored: 6,
            failed: 1,
            ..Counters::default()
        },
        reasons,
        failure: None,
    };
    Manifest {
        format: "mcsnap".to_owned(),
        version: Version::default(),
        features: Features::default(),
        snapshot_id: SnapshotId([0x22; 16]),
        name: "night".to_owned(),
        token: "00".to_owned(),
        tool: "test".to_owned(),
        started_at: "2026-11-20T02:00:00Z".to_owned(),
        finished_at: "2026-11-20T02:00:01Z".to_owned(),
        ring: Some("ketama".to_owned()),
        select: None,
        shard_hash: ShardHash::default(),
        nodes: vec![node],
        totals: Totals::of(&segments),
        content_digest: Digest128(digests.content),
        content_digest_exptime: Digest128(digests.content_exptime),
        segments,
        parts: Vec::new(),
        verdict: Verdict::Lossy,
    }
}

/// Makes the checksum of a changed manifest right; bytes that do not end as one
/// are returned as they are.
pub(crate) fn reseal(bytes: &[u8]) -> Vec<u8> {
    let body = bytes
        .strip_suffix(END)
        .and_then(|rest| rest.split_last_chunk::<CHECKSUM_LEN>());
    let Some((body, _)) = body else {
        return bytes.to_vec();
    };
    let blank = [body, &[b'0'; CHECKSUM_LEN], END].concat();
    let checksum = to_hex(&Sha256::digest(&blank));
    [body, checksum.as_bytes(), END].concat()
}
