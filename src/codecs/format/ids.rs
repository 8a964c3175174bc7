//! The random ids that tie the parts of a snapshot together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codecs::format::bytes::ByteReader;
use crate::words::defect::{Defect, Structure};

/// The id of a segment. FORMAT.md 5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentId(pub [u8; 16]);

/// The id of a snapshot. FORMAT.md 5.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SnapshotId(pub [u8; 16]);

/// The id of a look-up object. FORMAT.md 5.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LookUpId(pub [u8; 16]);

/// Eight random bytes that every frame of one segment carries. FORMAT.md 5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SyncMarker(pub [u8; 8]);

/// The three ids that every part of a segment carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentIds {
    /// Id of the segment.
    pub segment: SegmentId,
    /// Id of its snapshot.
    pub snapshot: SnapshotId,
    /// The sync marker of its frames.
    pub sync: SyncMarker,
}

impl SegmentIds {
    /// Writes the ids, 40 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.segment.0);
        out.extend_from_slice(&self.snapshot.0);
        out.extend_from_slice(&self.sync.0);
    }

    /// Reads the ids.
    ///
    /// # Errors
    ///
    /// - `Truncated`: fewer than 40 bytes are left.
    pub fn decode(reader: &mut ByteReader<'_>) -> Result<Self, Defect> {
        Ok(Self {
            segment: SegmentId(reader.array()?),
            snapshot: SnapshotId(reader.array()?),
            sync: SyncMarker(reader.array()?),
        })
    }

    /// Compares the ids of a part with those of the file.
    ///
    /// # Errors
    ///
    /// - `Foreign`: they differ; names the first id that does.
    pub fn check(&self, stored: &Self, structure: Structure) -> Result<(), Defect> {
        let foreign = |field, stored: String, computed: String| Defect::Foreign {
            structure,
            field,
            stored,
            computed,
        };
        if stored.segment != self.segment {
            let (stored, computed) = (stored.segment.to_string(), self.segment.to_string());
            return Err(foreign("segment id", stored, computed));
        }
        if stored.snapshot != self.snapshot {
            let (stored, computed) = (stored.snapshot.to_string(), self.snapshot.to_string());
            return Err(foreign("snapshot id", stored, computed));
        }
        if stored.sync != self.sync {
            let (stored, computed) = (stored.sync.to_string(), self.sync.to_string());
            return Err(foreign("sync marker", stored, computed));
        }
        Ok(())
    }
}

/// Writes bytes as lower-case hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses exactly `N` bytes from hexadecimal digits.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        // `from_str_radix` would also accept a sign.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(bytes)
}

macro_rules! hex_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&to_hex(&self.0))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                parse_hex(&text)
                    .map(Self)
                    .ok_or_else(|| format!("\"{text}\" is not a hexadecimal id"))
            }
        }
    };
}

hex_text!(SegmentId);
hex_text!(SnapshotId);
hex_text!(LookUpId);
hex_text!(SyncMarker);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text_is_read_back_and_nonsense_refused() {
        let id = SyncMarker([0, 1, 0xab, 0xff, 9, 8, 7, 6]);
        assert_eq!(SyncMarker::try_from(id.to_string()), Ok(id));
        for text in [
            "",
            "00",
            "+1+1+1+1+1+1+1+1",
            "zz01abff09080706",
            "0001abff0908070600",
        ] {
            assert!(SyncMarker::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
