//! The record that somebody has verified a snapshot. FORMAT.md 5.17.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codecs::format::bytes::{check_bound, check_word};
use crate::codecs::format::features::{Features, Need};
use crate::codecs::format::ids::SnapshotId;
use crate::codecs::format::manifest::Version;
use crate::codecs::format::moment::check_moment;
use crate::codecs::format::sealed_text::{check_seal, seal};
use crate::codecs::format::version::{check_major, judge};
use crate::words::decimal;
use crate::words::defect::{Defect, Structure};
use crate::words::limits::Limits;
use crate::words::units::to_u64;

const STRUCTURE: Structure = Structure::Verification;
const FORMAT_NAME: &str = "mcsnap-verification";

/// The folder of the records, beside the manifest.
pub const FOLDER: &str = "verifications";

/// The words for how much was read.
pub const DEPTHS: [&str; 3] = ["quick", "data", "deep"];

/// The words for the result.
pub const RESULTS: [&str; 3] = ["sound", "damaged", "unsure"];

/// A record: who has checked what, when, and with what result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationRecord {
    /// Always `mcsnap-verification`.
    pub format: String,
    /// Version of the format.
    pub version: Version,
    /// Features that a reader must know.
    #[serde(default)]
    pub features: Features,
    /// Id of the snapshot.
    pub snapshot_id: SnapshotId,
    /// Checksum of the manifest that was read.
    pub manifest: String,
    /// Name and version of the verifier.
    pub tool: String,
    /// When the verification started. A moment, FORMAT.md 2.
    pub started_at: String,
    /// When it finished.
    pub finished_at: String,
    /// How much was read: one of [`DEPTHS`].
    pub depth: String,
    /// The result: one of [`RESULTS`].
    pub result: String,
    /// How many findings there were of each code.
    pub findings: BTreeMap<String, FindingCount>,
}

/// A number of findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FindingCount(#[serde(with = "decimal")] pub u64);

/// What must be known before the rest is read.
#[derive(Deserialize)]
struct Envelope {
    #[serde(default)]
    format: String,
    version: Option<Version>,
}

impl VerificationRecord {
    /// Returns the format's name, for the member `format`.
    pub fn format_name() -> String {
        FORMAT_NAME.to_owned()
    }

    /// Returns the bytes, and the name of the object relative to the manifest's directory.
    pub fn encode(&self) -> (Vec<u8>, String) {
        // Structs of text, numbers and lists can always be serialised.
        let body = serde_json::to_string_pretty(self).unwrap_or_default();
        let (bytes, checksum) = seal(&body);
        let moment = self.finished_at.replace(['-', ':', 'Z'], "");
        let digits = checksum.rsplit(':').next().unwrap_or_default();
        let start = digits.get(..8).unwrap_or_default();
        (bytes, format!("{FOLDER}/{moment}-{start}.json"))
    }

    /// Parses and checks a record of this snapshot (Y1, Y2).
    ///
    /// # Errors
    ///
    /// - `Newer`: a newer build made it.
    /// - The defect for another broken rule.
    pub fn decode(bytes: &[u8], snapshot: SnapshotId, limits: &Limits) -> Result<Self, Defect> {
        let len = to_u64(bytes.len());
        check_bound(STRUCTURE, "length", len, limits.manifest_part_len_max)?;
        let malformed = |reason: String| Defect::Malformed {
            structure: STRUCTURE,
            reason,
        };
        let envelope: Envelope =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if envelope.format != FORMAT_NAME {
            let format = envelope.format.escape_debug();
            return Err(malformed(format!(
                "its format is \"{format}\", not {FORMAT_NAME}"
            )));
        }
        let Version { major, minor } = envelope.version.unwrap_or_default();
        check_major(STRUCTURE, major, minor)?;
        check_seal(STRUCTURE, bytes)?;
        Features::check_in(bytes, Need::Read)?;
        let record: Self =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        record
            .check(snapshot)
            .map_err(|defect| judge(defect, minor))?;
        Ok(record)
    }

    fn check(&self, snapshot: SnapshotId) -> Result<(), Defect> {
        check_word(STRUCTURE, "depth", &self.depth, &DEPTHS)?;
        check_word(STRUCTURE, "result", &self.result, &RESULTS)?;
        check_moment(STRUCTURE, "started_at", &self.started_at)?;
        check_moment(STRUCTURE, "finished_at", &self.finished_at)?;
        if self.snapshot_id == snapshot {
            return Ok(());
        }
        Err(Defect::Foreign {
            structure: STRUCTURE,
            field: "snapshot_id",
            stored: self.snapshot_id.to_string(),
            computed: snapshot.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: SnapshotId = SnapshotId([0xaa; 16]);

    fn record() -> VerificationRecord {
        VerificationRecord {
            format: VerificationRecord::format_name(),
            version: Version::default(),
            features: Features::default(),
            snapshot_id: SNAPSHOT,
            manifest: format!("sha256:{}", "0".repeat(64)),
            tool: "mcsnap 0.1.0".to_owned(),
            started_at: "2026-11-20T03:00:00Z".to_owned(),
            finished_at: "2026-11-20T03:00:09Z".to_owned(),
            depth: "deep".to_owned(),
            result: "damaged".to_owned(),
            findings: BTreeMap::from([("MCS003".to_owned(), FindingCount(2))]),
        }
    }

    fn decode(bytes: &[u8]) -> Result<VerificationRecord, Defect> {
        VerificationRecord::decode(bytes, SNAPSHOT, &Limits::default())
    }

    #[test]
    fn what_is_written_is_read_and_every_flipped_bit_and_prefix_is_found() {
        let (bytes, name) = record().encode();
        assert!(name.starts_with("verifications/20261120T030009-"), "{name}");
        assert_eq!(decode(&bytes), Ok(record()));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).is_err(), "{bit}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_from_what_is_newer_and_foreign() {
        let code = |change: &dyn Fn(&mut VerificationRecord)| {
            let mut record = record();
            change(&mut record);
            decode(&record.encode().0).unwrap_err().code()
        };
        assert_eq!(code(&|record| record.version.major = 2), "MCS022");
        assert_eq!(
            code(&|record| record.features.read = vec!["x".to_owned()]),
            "MCS022"
        );
        assert_eq!(code(&|record| record.result = "fine".to_owned()), "MCS015");
        assert_eq!(
            code(&|record| {
                record.depth = "deeper".to_owned();
                record.version.minor = 1;
            }),
            "MCS022"
        );
        assert_eq!(
            code(&|record| record.format = "mcsnap".to_owned()),
            "MCS015"
        );
        assert_eq!(
            code(&|record| record.finished_at = "later".to_owned()),
            "MCS015"
        );
        assert_eq!(
            code(&|record| record.snapshot_id = SnapshotId([1; 16])),
            "MCS005"
        );
    }
}
