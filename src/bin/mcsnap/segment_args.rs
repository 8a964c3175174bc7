//! How snapshots are divided into segment files: the same settings for every command
//! that writes some.

use anyhow::Result;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::words::limits::SEGMENT_RECORD_COUNTS;
use serde::{Deserialize, Serialize};

use crate::settings::{parse_count, parse_size, text};

/// Flags of every command that writes segments.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct SegmentArgs {
    /// Most bytes of a segment file [default: 256MiB]
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) segment_size: Option<String>,
    /// Most records of a segment file [default: 500000]
    ///
    /// Bounds the memory of a writer: up to 48 bytes a record.
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) segment_records: Option<String>,
    /// Compression: none, or zstd:LEVEL with 1 to 22 [default: zstd:1]
    #[arg(long, value_name = "KIND")]
    #[serde(deserialize_with = "text")]
    pub(crate) compression: Option<String>,
}

impl SegmentArgs {
    pub(crate) fn size_max(&self) -> Result<u64> {
        let size = self.segment_size.as_deref().unwrap_or("256MiB");
        parse_size("segment-size", size, 1 << 20)
    }

    pub(crate) fn record_count_max(&self) -> Result<u64> {
        let count = self.segment_records.as_deref().unwrap_or("500000");
        let (least, most) = SEGMENT_RECORD_COUNTS.into_inner();
        parse_count("segment-records", count, least, most)
    }

    pub(crate) fn compression(&self) -> Result<Compression> {
        Ok(self.compression.as_deref().unwrap_or("zstd:1").parse()?)
    }
}
