//! Compares the frames of a segment with its table of contents and with each other.

use crate::codecs::format::block::BlockHeader;
use crate::codecs::format::bytes::check_count;
use crate::codecs::format::checkpoint::Checkpoint;
use crate::codecs::format::frame::{FrameHeader, FrameType};
use crate::codecs::format::key_index::KeyIndex;
use crate::codecs::format::layout::FRAME_HEADER_SIZE;
use crate::codecs::format::stat::decode_stat;
use crate::codecs::format::toc::TocEntry;
use crate::codecs::format::value_part::ValuePartHeader;
use crate::engines::snapshot::parts_reader::PartSource as _;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::words::defect::{Defect, Structure};
use crate::words::error::Result;
use crate::words::location::Location;
use crate::words::units::to_u64;

impl SegmentReader {
    /// Reads and checks a frame that is neither a block nor the key index. For a part of
    /// a value, the stored bytes are checked.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Io`.
    pub fn read_other_frame(&self, number: usize) -> Result<()> {
        let (frame, payload) = self.read_frame(number)?;
        self.check_other_frame(number, &frame, &payload)
    }

    /// Checks a frame that has been read, and is neither a block nor the key index.
    pub(super) fn check_other_frame(
        &self,
        number: usize,
        frame: &FrameHeader,
        payload: &[u8],
    ) -> Result<()> {
        if frame.frame_type == FrameType::ValuePart {
            return self
                .decode_part(number, frame, payload)
                .and_then(|header| header.check_stored(payload))
                .map_err(|defect| self.fault(defect).at(self.frame_location(number, None)));
        }
        if frame.frame_type == FrameType::Stat && self.stat_entry() == Some(number) {
            decode_stat(payload, &self.limits)
                .map_err(|defect| self.fault(defect).at(self.frame_location(number, None)))?;
        }
        if frame.frame_type == FrameType::Checkpoint {
            Checkpoint::decode(payload, &self.ids, frame.offset)
                .and_then(|checkpoint| self.check_checkpoint(number, &checkpoint))
                .map_err(|defect| {
                    self.fault(defect)
                        .at(Location::offset(&self.place, frame.offset))
                })?;
        }
        Ok(())
    }

    /// Compares a checkpoint with the table of contents (C4). Salvage of a truncated file
    /// depends on checkpoints.
    fn check_checkpoint(
        &self,
        number: usize,
        stored: &Checkpoint,
    ) -> std::result::Result<(), Defect> {
        let before = self.toc.entries.get(..number).unwrap_or_default();
        let previous = before
            .iter()
            .rposition(|entry| entry.frame_type == FrameType::Checkpoint);
        let offset = previous
            .and_then(|previous| before.get(previous))
            .map_or(0, |entry| entry.offset);
        let records = before.iter().fold(0, |sum: u64, entry| {
            sum.saturating_add(entry.record_count.into())
        });
        let since = before.get(previous.unwrap_or(0)..).unwrap_or_default();
        let pairs = [
            ("previous_offset", stored.previous_offset, offset),
            ("record_count", stored.record_count, records),
            (
                "entry_count",
                to_u64(stored.entries.len()),
                to_u64(since.len()),
            ),
        ];
        for (field, stored, computed) in pairs {
            check_count(Structure::Checkpoint, field, stored, computed)?;
        }
        match stored.entries.iter().zip(since).find(|(stored, entry)| {
            let place = |entry: &TocEntry| {
                (
                    entry.frame_type,
                    entry.flags,
                    entry.offset,
                    entry.stored_len,
                )
            };
            place(stored) != place(entry) || stored.record_count != entry.record_count
        }) {
            Some((stored, entry)) => Err(Defect::CountMismatch {
                structure: Structure::Checkpoint,
                field: "entry of the frame at",
                stored: stored.offset,
                computed: entry.offset,
            }),
            None => Ok(()),
        }
    }

    /// Checks the whole key index (X1 to X4).
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the location of the page.
    pub fn decode_key_index(&self, payload: &[u8]) -> Result<KeyIndex> {
        let start = self
            .toc
            .key_index_offset
            .saturating_add(to_u64(FRAME_HEADER_SIZE));
        let at = |(offset, defect): (u64, Defect)| {
            let location = Location::offset(&self.place, start.saturating_add(offset));
            self.fault(defect).at(location)
        };
        let index = KeyIndex::decode(payload, &self.ids).map_err(at)?;
        let header = index.header();
        if header.shape != self.toc.key_index {
            return Err(at((
                0,
                Defect::CountMismatch {
                    structure: Structure::KeyIndex,
                    field: "shape in the TOC",
                    stored: self.toc.key_index.page_count.into(),
                    computed: header.shape.page_count.into(),
                },
            )));
        }
        let (stored, blocks) = (header.block_count.into(), to_u64(self.blocks.len()));
        check_count(Structure::KeyIndex, "block_count", stored, blocks)
            .map_err(|defect| at((0, defect)))?;
        let (entries, records) = (to_u64(index.len()), self.toc.record_count);
        check_count(Structure::KeyIndex, "entry_count", entries, records)
            .map_err(|defect| at((0, defect)))?;
        Ok(index)
    }

    /// Compares a frame with its entry (T5, F3).
    pub(super) fn check_entry(
        &self,
        number: usize,
        frame: &FrameHeader,
    ) -> std::result::Result<(), Defect> {
        let structure = Structure::FrameHeader;
        let Some(entry) = self.toc.entries.get(number) else {
            return Ok(());
        };
        if frame.sequence != to_u64(number) {
            let (stored, computed) = (frame.sequence, to_u64(number));
            return Err(Defect::WrongPlace {
                structure,
                field: "sequence",
                stored,
                computed,
            });
        }
        let types = (
            entry.frame_type.to_raw().into(),
            frame.frame_type.to_raw().into(),
        );
        check_count(Structure::Toc, "frame type", types.0, types.1)?;
        check_count(
            Structure::Toc,
            "frame flags",
            entry.flags.into(),
            frame.flags.to_raw().into(),
        )?;
        check_count(
            Structure::Toc,
            "stored_len",
            entry.stored_len,
            frame.stored_len,
        )
    }

    /// Compares a part of a value with its entry (T5).
    pub(super) fn check_part_entry(
        &self,
        number: usize,
        frame: &FrameHeader,
        part: &ValuePartHeader,
    ) -> std::result::Result<(), Defect> {
        let Some(entry) = self.toc.entries.get(number) else {
            return Ok(());
        };
        let found = TocEntry::of_part(frame, part);
        let pairs = [
            (
                "value_stored_len",
                entry.value_stored_len,
                found.value_stored_len,
            ),
            ("value_raw_len", entry.value_raw_len, found.value_raw_len),
        ];
        for (field, stored, computed) in pairs {
            check_count(Structure::Toc, field, stored.into(), computed.into())?;
        }
        Ok(())
    }

    /// Compares a block with its entry (T5).
    pub(super) fn check_block_entry(
        &self,
        number: usize,
        frame: &FrameHeader,
        block: &BlockHeader,
    ) -> std::result::Result<(), Defect> {
        let Some(entry) = self.toc.entries.get(number) else {
            return Ok(());
        };
        let found = TocEntry {
            temperature: entry.temperature,
            ..TocEntry::of_block(frame, block, entry.times)
        };
        if *entry != found {
            return Err(Defect::CountMismatch {
                structure: Structure::Toc,
                field: "record_count or a section length of a block",
                stored: entry.record_count.into(),
                computed: block.record_count.into(),
            });
        }
        Ok(())
    }
}
