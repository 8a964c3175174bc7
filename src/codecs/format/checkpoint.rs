//! Checkpoints: parts of the table of contents, written along the way. FORMAT.md 5.9.

use crate::codecs::format::bytes::{ByteReader, check_count};
use crate::codecs::format::frame::FrameType;
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::{CHECKPOINT_ENTRY_SIZE, FILE_HEADER_SIZE};
use crate::codecs::format::toc::TocEntry;
use crate::words::defect::{Defect, Structure};
use crate::words::units::to_u64;

/// The frames since the last checkpoint, by which a truncated file can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The ids of the segment.
    pub ids: SegmentIds,
    /// Offset of the previous CHECKPOINT frame; 0 if there is none.
    pub previous_offset: u64,
    /// Number of records before this checkpoint.
    pub record_count: u64,
    /// The frames since the previous checkpoint, including that checkpoint. In one that
    /// was read, fields that a checkpoint does not have are 0.
    pub entries: Vec<TocEntry>,
}

impl Checkpoint {
    /// Returns the payload of the frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        self.ids.encode(&mut payload);
        payload.extend_from_slice(&self.previous_offset.to_le_bytes());
        let entry_count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        payload.extend_from_slice(&entry_count.to_le_bytes());
        payload.extend_from_slice(&[0; 4]);
        payload.extend_from_slice(&self.record_count.to_le_bytes());
        for entry in &self.entries {
            payload.extend_from_slice(&[entry.frame_type.to_raw(), entry.flags, 0, 0]);
            payload.extend_from_slice(&entry.record_count.to_le_bytes());
            payload.extend_from_slice(&entry.stored_len.to_le_bytes());
        }
        payload
    }

    /// Parses and checks the payload of a frame that starts at `offset` (C1 to C3).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode(payload: &[u8], ids: &SegmentIds, offset: u64) -> Result<Self, Defect> {
        let structure = Structure::Checkpoint;
        let mut reader = ByteReader::new(payload, structure);
        let stored = SegmentIds::decode(&mut reader)?;
        ids.check(&stored, structure)?;
        let previous_offset = reader.u64()?;
        let entry_count = reader.u32()?;
        reader.reserved(4, "field at offset 52")?;
        let record_count = reader.u64()?;
        if previous_offset >= offset {
            let stored = previous_offset;
            return Err(Defect::IllegalValue {
                structure,
                field: "previous_offset",
                stored,
            });
        }
        let len = u64::from(entry_count).saturating_mul(to_u64(CHECKPOINT_ENTRY_SIZE));
        check_count(
            structure,
            "length of entries",
            len,
            to_u64(reader.rest().len()),
        )?;
        // The frames stand end to end, and the first is that checkpoint or META.
        let mut offset = previous_offset.max(to_u64(FILE_HEADER_SIZE));
        let mut entries = Vec::new();
        for entry in reader.rest().chunks_exact(CHECKPOINT_ENTRY_SIZE) {
            let mut reader = ByteReader::new(entry, structure);
            let frame_type = FrameType::from_raw(reader.u8()?);
            let flags = reader.u8()?;
            reader.reserved(2, "entry field at offset 2")?;
            let record_count = reader.u32()?;
            let entry = TocEntry {
                record_count,
                ..TocEntry::of_place(frame_type, flags, offset, reader.u64()?)
            };
            offset = entry.end();
            entries.push(entry);
        }
        Ok(Self {
            ids: stored,
            previous_offset,
            record_count,
            entries,
        })
    }
}
