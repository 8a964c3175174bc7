//! How much memory the writer of a shard takes.

use crate::codecs::format::compression::{Compression, SectionWriter};
use crate::codecs::format::encoder::EncoderOptions;
use crate::words::budget::{MemoryLimit, Need};
use crate::words::error::Result;

/// Memory beside the key index and the compressor: the thread, the open block in columns
/// and compressed, a part of a value, and what waits to be written.
const WRITER: u64 = (8 << 20) + Need::THREAD_MEMORY;

/// Memory of the key index for each record of an open segment, while it grows and while
/// it is written; about 60 bytes were measured.
const INDEX_ENTRY: u64 = 80;

/// Returns how many bytes the writer of a shard takes with this many records in a segment
/// at most; 0 without a limit, since finding it out means to compress a long section.
///
/// # Errors
///
/// - `InvalidInput`: zstd does not support the level.
pub fn writer_memory(limit: MemoryLimit, compression: Compression, records: u64) -> Result<u64> {
    if limit.bytes().is_none() {
        return Ok(0);
    }
    let compressor = SectionWriter::memory(compression, EncoderOptions::PART_RAW_LEN)?;
    let index = records.saturating_mul(INDEX_ENTRY);
    Ok(WRITER.saturating_add(compressor).saturating_add(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stronger_compressor_needs_more() {
        let of = |compression| writer_memory(MemoryLimit::OfHost(0), compression, 1000).unwrap();
        let [none, fast, strong] = [
            Compression::None,
            Compression::Zstd(1),
            Compression::Zstd(19),
        ]
        .map(of);
        assert!(none < fast && fast < strong, "{none} {fast} {strong}");
        assert!(strong < 64 << 20, "{strong}");
    }
}
