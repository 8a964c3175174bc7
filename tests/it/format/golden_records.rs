//! Golden files with the record of a verification, sound and not. FORMAT.md 5.17.

use std::collections::BTreeMap;

use mcsnap::codecs::format::features::Features;
use mcsnap::codecs::format::ids::SnapshotId;
use mcsnap::codecs::format::manifest::Version;
use mcsnap::codecs::format::sealed_text::checksum_of;
use mcsnap::codecs::format::verification::{FindingCount, VerificationRecord};

use crate::format::golden_corrupt::Case;
use crate::format::golden_valid::{Snapshot, of_one, resealed};

/// A record that says that a snapshot was sound.
pub(crate) fn record_of(snapshot: &Snapshot) -> VerificationRecord {
    VerificationRecord {
        format: VerificationRecord::format_name(),
        version: Version::default(),
        features: Features::default(),
        snapshot_id: snapshot.manifest.snapshot_id,
        manifest: checksum_of(&snapshot.manifest.encode()).unwrap(),
        tool: "mcsnap 0.1.0".to_owned(),
        started_at: "2026-11-20T03:00:00Z".to_owned(),
        finished_at: "2026-11-20T03:00:07Z".to_owned(),
        depth: "deep".to_owned(),
        result: "sound".to_owned(),
        findings: BTreeMap::from([("MCS019".to_owned(), FindingCount(2))]),
    }
}

/// A snapshot beside which a record lies that cannot be used.
fn case(name: &'static str, what: &'static str, change: impl FnOnce(String) -> String) -> Case {
    let snapshot = of_one();
    let (bytes, object) = record_of(&snapshot).encode();
    let text = change(String::from_utf8(bytes).unwrap());
    let mut files = snapshot.files();
    files.push((object, text.into_bytes()));
    Case::of_files(name, "MCS024", what, files)
}

pub(crate) fn cases() -> Vec<Case> {
    let swapped = |old: &'static str, new: &'static str| {
        move |text: String| {
            assert!(text.contains(old), "{old}");
            let bytes = resealed(&text.replace(old, new));
            String::from_utf8(bytes).unwrap()
        }
    };
    let foreign = |text: String| {
        let (own, other) = (SnapshotId([0xaa; 16]), SnapshotId([0xab; 16]));
        let text = text.replace(&own.to_string(), &other.to_string());
        String::from_utf8(resealed(&text)).unwrap()
    };
    vec![
        case(
            "record-checksum",
            "a record with a wrong checksum",
            |text| text.replace("deep", "data"),
        ),
        case("record-cut", "a record that is cut", |text| {
            text[..text.len() - 9].to_owned()
        }),
        case(
            "record-format",
            "a record of another format",
            swapped("mcsnap-verification", "mcsnap-part"),
        ),
        case(
            "record-word",
            "a record with an unknown result",
            swapped("\"result\": \"sound\"", "\"result\": \"splendid\""),
        ),
        case(
            "record-moment",
            "a record whose end is no moment",
            swapped("2026-11-20T03:00:07Z", "2026-11-20T03:00:07+00:00"),
        ),
        case("record-foreign", "a record of another snapshot", foreign),
        case(
            "record-newer",
            "a record that only a newer mcsnap can read",
            swapped("\"read\": []", "\"read\": [\"witnesses\"]"),
        ),
    ]
}
