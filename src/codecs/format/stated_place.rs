//! What a segment's description says of the segment's place in the snapshot. FORMAT.md 5.4.

use serde::Deserialize;

use crate::codecs::format::bytes::check_count;
use crate::codecs::format::segment_order::SegmentPlace;
use crate::words::decimal;
use crate::words::defect::{Defect, Structure};

/// A number that is written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Decimal(#[serde(with = "decimal")] u64);

/// The place of a segment by its description; `None` for what that does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct StatedPlace {
    node_index: Option<u32>,
    shard_index: Option<Decimal>,
    shard_bits: Option<u8>,
    sequence: Option<u32>,
}

impl StatedPlace {
    /// Reads the place from the text of a description that has been understood.
    pub fn of_text(payload: &[u8]) -> Self {
        serde_json::from_slice(payload).unwrap_or_default()
    }

    /// Compares what is said with the manifest (N8).
    ///
    /// # Errors
    ///
    /// - `CountMismatch`: the segment says another place.
    pub fn check(&self, place: SegmentPlace, shard_bits: u8) -> Result<(), Defect> {
        let (node_index, shard_index, sequence) = place;
        let members = [
            (
                "node_index",
                self.node_index.map(u64::from),
                node_index.into(),
            ),
            (
                "shard_index",
                self.shard_index.map(|shard| shard.0),
                shard_index,
            ),
            (
                "shard_bits",
                self.shard_bits.map(u64::from),
                shard_bits.into(),
            ),
            ("sequence", self.sequence.map(u64::from), sequence.into()),
        ];
        for (field, stored, named) in members {
            check_count(Structure::Meta, field, stored.unwrap_or(named), named)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_description_says_is_compared_and_what_it_does_not_say_is_not() {
        let check = |text: &str| StatedPlace::of_text(text.as_bytes()).check((1, 2, 3), 4);
        let whole = r#"{"node_index":1,"shard_index":"2","shard_bits":4,"sequence":3}"#;
        for text in ["{}", r#"{"sequence":3,"later":[]}"#, whole] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        for (said, lie) in [
            ("\"node_index\":1", "\"node_index\":0"),
            ("\"shard_index\":\"2\"", "\"shard_index\":\"0\""),
            ("\"shard_bits\":4", "\"shard_bits\":0"),
            ("\"sequence\":3", "\"sequence\":0"),
        ] {
            let refused = check(&whole.replace(said, lie)).unwrap_err();
            assert_eq!(refused.code(), "MCS010", "{lie}");
        }
    }
}
