//! The table of contents: where every frame of a segment is. FORMAT.md 5.10.

use crate::codecs::format::block::{BlockHeader, TimeRanges};
use crate::codecs::format::bytes::{ByteReader, check_bound, check_count};
use crate::codecs::format::checksum::ContentDigests;
use crate::codecs::format::frame::{FrameFlags, FrameHeader, FrameType};
use crate::codecs::format::key_index::KeyIndexShape;
use crate::codecs::format::layout::{
    FILE_HEADER_SIZE, FRAME_HEADER_SIZE, TOC_ENTRY_SIZE, TOC_HEADER_SIZE,
};
use crate::codecs::format::value_part::ValuePartHeader;
use crate::words::defect::{Defect, Structure};
use crate::words::limits::Limits;
use crate::words::units::to_u64;

/// The entry of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TocEntry {
    /// The type of the frame.
    pub frame_type: FrameType,
    /// Its flag bits, as stored.
    pub flags: u8,
    /// 0 if unknown; higher is hotter.
    pub temperature: u8,
    /// Number of records; 0 unless the frame is a block.
    pub record_count: u32,
    /// Offset of the frame header from the start of the file, in bytes.
    pub offset: u64,
    /// Length of the payload in bytes.
    pub stored_len: u64,
    /// Length of the stored key section in bytes. This field and all below are 0 unless
    /// the frame is a block; value lengths are also set for a value part.
    pub key_stored_len: u32,
    /// Length of the stored value section, or of the stored part of a value, in bytes.
    pub value_stored_len: u32,
    /// Length of the raw key section in bytes.
    pub key_raw_len: u32,
    /// Length of the raw value section, or of the raw part of a value, in bytes.
    pub value_raw_len: u32,
    /// The ranges of the records' times.
    pub times: TimeRanges,
}

impl TocEntry {
    /// Makes the entry of a frame that is neither a block nor a value part.
    pub fn of_frame(header: &FrameHeader) -> Self {
        let (flags, len) = (header.flags.to_raw(), header.stored_len);
        Self::of_place(header.frame_type, flags, header.offset, len)
    }

    /// Makes an entry of nothing but type, flags and place.
    pub fn of_place(frame_type: FrameType, flags: u8, offset: u64, stored_len: u64) -> Self {
        Self {
            frame_type,
            flags,
            temperature: 0,
            record_count: 0,
            offset,
            stored_len,
            key_stored_len: 0,
            value_stored_len: 0,
            key_raw_len: 0,
            value_raw_len: 0,
            times: TimeRanges {
                never_count: 0,
                exptime_min: 0,
                exptime_max: 0,
                last_access_min: 0,
                last_access_max: 0,
            },
        }
    }

    /// Makes the entry of a block.
    pub fn of_block(header: &FrameHeader, block: &BlockHeader, times: TimeRanges) -> Self {
        Self {
            record_count: block.record_count,
            key_stored_len: block.keys.stored_len,
            value_stored_len: block.values.stored_len,
            key_raw_len: block.keys.raw_len,
            value_raw_len: block.values.raw_len,
            times,
            ..Self::of_frame(header)
        }
    }

    /// Makes the entry of a value part.
    pub fn of_part(header: &FrameHeader, part: &ValuePartHeader) -> Self {
        Self {
            value_stored_len: part.section.stored_len,
            value_raw_len: part.section.raw_len,
            ..Self::of_frame(header)
        }
    }

    /// Returns the offset at which the frame ends.
    pub fn end(&self) -> u64 {
        self.offset
            .saturating_add(to_u64(FRAME_HEADER_SIZE))
            .saturating_add(self.stored_len)
    }

    /// Refuses an unknown frame that must be understood (F5). A reader that reads only
    /// the blocks would otherwise skip it.
    fn check_known(&self, structure: Structure) -> Result<(), Defect> {
        let flags = FrameFlags::from_raw(self.flags);
        if flags.is_critical() && !self.frame_type.is_known() {
            return Err(Defect::UnknownCritical {
                structure,
                what: "frame type",
                stored: self.frame_type.to_raw().to_string(),
            });
        }
        Ok(())
    }

    /// Returns whether the frame is part of a value.
    pub fn is_part(&self) -> bool {
        self.frame_type == FrameType::ValuePart
    }

    /// Returns whether the frame holds records.
    pub fn is_block(&self) -> bool {
        self.frame_type == FrameType::Block
    }

    /// Writes the entry, 80 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.frame_type.to_raw());
        out.push(self.flags);
        out.push(self.temperature);
        out.push(0);
        out.extend_from_slice(&self.record_count.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.stored_len.to_le_bytes());
        out.extend_from_slice(&self.key_stored_len.to_le_bytes());
        out.extend_from_slice(&self.value_stored_len.to_le_bytes());
        out.extend_from_slice(&self.key_raw_len.to_le_bytes());
        out.extend_from_slice(&self.value_raw_len.to_le_bytes());
        out.extend_from_slice(&self.times.exptime_min.to_le_bytes());
        out.extend_from_slice(&self.times.exptime_max.to_le_bytes());
        out.extend_from_slice(&self.times.last_access_min.to_le_bytes());
        out.extend_from_slice(&self.times.last_access_max.to_le_bytes());
        out.extend_from_slice(&self.times.never_count.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// - `Truncated`, `ReservedNotZero`: the entry is incomplete, or a reserved byte is
    ///   set.
    pub fn decode(reader: &mut ByteReader<'_>) -> Result<Self, Defect> {
        let frame_type = FrameType::from_raw(reader.u8()?);
        let flags = reader.u8()?;
        let temperature = reader.u8()?;
        reader.reserved(1, "entry field at offset 3")?;
        let record_count = reader.u32()?;
        let offset = reader.u64()?;
        let stored_len = reader.u64()?;
        let key_stored_len = reader.u32()?;
        let value_stored_len = reader.u32()?;
        let key_raw_len = reader.u32()?;
        let value_raw_len = reader.u32()?;
        let mut times = TimeRanges {
            exptime_min: reader.u64()?,
            exptime_max: reader.u64()?,
            last_access_min: reader.u64()?,
            last_access_max: reader.u64()?,
            never_count: 0,
        };
        times.never_count = reader.u32()?;
        reader.bytes(4)?;
        Ok(Self {
            frame_type,
            flags,
            temperature,
            record_count,
            offset,
            stored_len,
            key_stored_len,
            value_stored_len,
            key_raw_len,
            value_raw_len,
            times,
        })
    }
}

/// The table of contents of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toc {
    /// Every frame but the TOC frame itself, in file order.
    pub entries: Vec<TocEntry>,
    /// Number of records in the segment.
    pub record_count: u64,
    /// Total length of all keys in bytes.
    pub key_bytes: u64,
    /// Total length of all values in bytes.
    pub value_bytes: u64,
    /// Digests of the records' content.
    pub digests: ContentDigests,
    /// Offset of the KEY_INDEX frame; 0 if there is none.
    pub key_index_offset: u64,
    /// The shape of the key index.
    pub key_index: KeyIndexShape,
}

impl Toc {
    /// Returns the payload of the frame.
    pub fn encode(&self) -> Vec<u8> {
        let len = self.entries.len().saturating_mul(TOC_ENTRY_SIZE);
        let mut payload = Vec::with_capacity(len.saturating_add(TOC_HEADER_SIZE));
        let entry_count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        payload.extend_from_slice(&entry_count.to_le_bytes());
        let entry_size = u16::try_from(TOC_ENTRY_SIZE).unwrap_or(u16::MAX);
        payload.extend_from_slice(&entry_size.to_le_bytes());
        payload.extend_from_slice(&[0; 2]);
        payload.extend_from_slice(&self.record_count.to_le_bytes());
        payload.extend_from_slice(&self.key_bytes.to_le_bytes());
        payload.extend_from_slice(&self.value_bytes.to_le_bytes());
        payload.extend_from_slice(&self.digests.content.to_le_bytes());
        payload.extend_from_slice(&self.digests.content_exptime.to_le_bytes());
        payload.extend_from_slice(&self.key_index_offset.to_le_bytes());
        payload.extend_from_slice(&self.key_index.seed.to_le_bytes());
        payload.extend_from_slice(&self.key_index.page_count.to_le_bytes());
        payload.extend_from_slice(&[0; 12]);
        for entry in &self.entries {
            entry.encode(&mut payload);
        }
        payload
    }

    /// Parses and checks a payload whose frame starts at `toc_offset` (T1 to T4, and F5
    /// for the entries).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    ///
    /// # Memory
    ///
    /// Proportional to the payload.
    pub fn decode(payload: &[u8], toc_offset: u64, limits: &Limits) -> Result<Self, Defect> {
        let structure = Structure::Toc;
        let mut reader = ByteReader::new(payload, structure);
        let entry_count = reader.u32()?;
        let entry_size = usize::from(reader.u16()?);
        reader.reserved(2, "field at offset 6")?;
        let mut toc = Self {
            record_count: reader.u64()?,
            key_bytes: reader.u64()?,
            value_bytes: reader.u64()?,
            digests: ContentDigests {
                content: reader.u128()?,
                content_exptime: reader.u128()?,
            },
            key_index_offset: reader.u64()?,
            key_index: KeyIndexShape {
                seed: reader.u64()?,
                page_count: reader.u32()?,
            },
            entries: Vec::new(),
        };
        reader.reserved(12, "field at offset 84")?;
        if entry_size < TOC_ENTRY_SIZE {
            let stored = to_u64(entry_size);
            return Err(Defect::IllegalValue {
                structure,
                field: "entry_size",
                stored,
            });
        }
        check_bound(
            structure,
            "entry_count",
            entry_count.into(),
            limits.toc_entry_count_max,
        )?;
        check_bound(
            structure,
            "record_count",
            toc.record_count,
            limits.segment_record_count_max,
        )?;
        let entries_len = u64::from(entry_count).saturating_mul(to_u64(entry_size));
        check_count(
            structure,
            "length of entries",
            entries_len,
            to_u64(reader.rest().len()),
        )?;
        for entry in reader.rest().chunks_exact(entry_size) {
            let entry = TocEntry::decode(&mut ByteReader::new(entry, structure))?;
            entry.check_known(structure)?;
            toc.entries.push(entry);
        }
        toc.check_places(toc_offset)?;
        toc.check_sums()?;
        Ok(toc)
    }

    fn check_places(&self, toc_offset: u64) -> Result<(), Defect> {
        let structure = Structure::Toc;
        let mut end = to_u64(FILE_HEADER_SIZE);
        for entry in &self.entries {
            if entry.offset != end {
                return Err(Defect::WrongPlace {
                    structure,
                    field: "frame offset",
                    stored: entry.offset,
                    computed: end,
                });
            }
            end = entry.end();
        }
        if end != toc_offset {
            let (stored, computed) = (toc_offset, end);
            return Err(Defect::WrongPlace {
                structure,
                field: "TOC offset",
                stored,
                computed,
            });
        }
        Ok(())
    }

    fn check_sums(&self) -> Result<(), Defect> {
        let structure = Structure::Toc;
        let records = self.entries.iter().fold(0, |sum: u64, entry| {
            sum.saturating_add(entry.record_count.into())
        });
        check_count(structure, "record_count", self.record_count, records)?;
        if self.key_index_offset != 0 {
            if self.key_index.page_count == 0 && self.record_count > 0 {
                return Err(Defect::IllegalValue {
                    structure,
                    field: "key_index_page_count",
                    stored: 0,
                });
            }
            let is_there = self.entries.iter().any(|entry| {
                entry.offset == self.key_index_offset && entry.frame_type == FrameType::KeyIndex
            });
            if !is_there {
                let stored = self.key_index_offset;
                return Err(Defect::IllegalValue {
                    structure,
                    field: "key_index_offset",
                    stored,
                });
            }
        }
        Ok(())
    }

    /// Visits the blocks in order; the first has number 0.
    pub fn blocks(&self) -> impl Iterator<Item = &TocEntry> {
        self.entries.iter().filter(|entry| entry.is_block())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toc() -> Toc {
        let entry = TocEntry {
            frame_type: FrameType::Block,
            flags: 1,
            temperature: 0,
            record_count: 2,
            offset: 64,
            stored_len: 100,
            key_stored_len: 9,
            value_stored_len: 7,
            key_raw_len: 10,
            value_raw_len: 8,
            times: TimeRanges::default(),
        };
        Toc {
            entries: vec![entry],
            record_count: 2,
            key_bytes: 2,
            value_bytes: 8,
            ..Toc::default()
        }
    }

    const TOC_OFFSET: u64 = 64 + 48 + 100;

    #[test]
    fn a_table_is_read_back_and_longer_entries_are_skipped_over() {
        let limits = Limits::default();
        let payload = toc().encode();
        assert_eq!(payload.len(), TOC_HEADER_SIZE + TOC_ENTRY_SIZE);
        assert_eq!(Toc::decode(&payload, TOC_OFFSET, &limits).unwrap(), toc());
        let mut longer = payload.clone();
        longer[4] = 88;
        longer.extend_from_slice(&[0xee; 8]);
        assert_eq!(Toc::decode(&longer, TOC_OFFSET, &limits).unwrap(), toc());
    }

    #[test]
    fn gaps_wrong_sums_and_hostile_counts_are_refused() {
        let limits = Limits::default();
        let code = |payload: &[u8], offset| {
            Toc::decode(payload, offset, &limits)
                .map(|_| "fine")
                .map_err(|defect| defect.code())
        };
        let payload = toc().encode();
        assert_eq!(code(&payload, TOC_OFFSET + 1), Err("MCS006"));
        let wrong_sum = Toc {
            record_count: 3,
            ..toc()
        }
        .encode();
        assert_eq!(code(&wrong_sum, TOC_OFFSET), Err("MCS010"));
        let mut hostile = payload.clone();
        hostile[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(code(&hostile, TOC_OFFSET), Err("MCS008"));
        let unindexed = Toc {
            entries: vec![
                toc().entries[0],
                TocEntry {
                    frame_type: FrameType::KeyIndex,
                    offset: TOC_OFFSET,
                    record_count: 0,
                    ..toc().entries[0]
                },
            ],
            key_index_offset: TOC_OFFSET,
            key_index: KeyIndexShape {
                seed: 0,
                page_count: 0,
            },
            ..toc()
        };
        assert_eq!(
            code(&unindexed.encode(), TOC_OFFSET + 148),
            Err("MCS007"),
            "records, but no page"
        );
        let mut unknown = payload.clone();
        unknown[TOC_HEADER_SIZE] = 8;
        assert_eq!(code(&unknown, TOC_OFFSET), Err("MCS009"));
        unknown[TOC_HEADER_SIZE + 1] = 0;
        assert_eq!(code(&unknown, TOC_OFFSET), Ok("fine"));
        for len in 0..payload.len() {
            assert!(
                code(&payload[..len], TOC_OFFSET).is_err(),
                "prefix of {len}"
            );
        }
    }
}
