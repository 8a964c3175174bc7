//! What a verification leaves beside the snapshot: that it was, and its result.

use std::collections::BTreeMap;

use crate::codecs::format::features::Features;
use crate::codecs::format::manifest::Version;
use crate::codecs::format::moment::moment_text;
use crate::codecs::format::verification::{FindingCount, VerificationRecord};
use crate::engines::snapshot::SnapshotReader;
use crate::jobs::verify::depth::Depth;
use crate::words::units::UnixSecs;

/// Codes of findings that say that something could not be judged.
const UNSURE: [&str; 2] = ["MCS021", "MCS022"];
/// Codes of findings that are no damage.
const WARNINGS: [&str; 3] = ["MCS019", "MCS020", "MCS024"];

/// Makes the record of a verification, given when it began and ended and how many findings
/// there were of each code. A lone segment has none.
pub(super) fn record_of(
    snapshot: &SnapshotReader,
    depth: Depth,
    [started_at, finished_at]: [UnixSecs; 2],
    counts: &BTreeMap<&'static str, u64>,
) -> Option<VerificationRecord> {
    let manifest = snapshot.manifest_checksum()?.to_owned();
    let findings = counts
        .iter()
        .map(|(code, count)| ((*code).to_owned(), FindingCount(*count)));
    Some(VerificationRecord {
        format: VerificationRecord::format_name(),
        version: Version::default(),
        features: Features::default(),
        snapshot_id: snapshot.manifest().snapshot_id,
        manifest,
        tool: concat!("mcsnap ", env!("CARGO_PKG_VERSION")).to_owned(),
        started_at: moment_text(started_at),
        finished_at: moment_text(finished_at),
        depth: depth.as_str().to_owned(),
        result: result_of(counts).to_owned(),
        findings: findings.collect(),
    })
}

fn result_of(counts: &BTreeMap<&'static str, u64>) -> &'static str {
    let is_damage = |code: &str| !UNSURE.contains(&code) && !WARNINGS.contains(&code);
    if counts.keys().any(|code| is_damage(code)) {
        "damaged"
    } else if counts.keys().any(|code| UNSURE.contains(code)) {
        "unsure"
    } else {
        "sound"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_judged_is_unsure_and_damage_comes_first() {
        let result =
            |codes: &[&'static str]| result_of(&codes.iter().map(|code| (*code, 1)).collect());
        assert_eq!(result(&[]), "sound");
        assert_eq!(result(&["MCS019", "MCS020", "MCS024"]), "sound");
        assert_eq!(result(&["MCS020", "MCS021"]), "unsure");
        assert_eq!(result(&["MCS022"]), "unsure");
        assert_eq!(result(&["MCS003", "MCS022"]), "damaged");
    }
}
