//! The parts of values that were found in a damaged segment, wherever they are now.

use std::collections::BTreeMap;

use crate::codecs::format::column::Columns;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::ids::SegmentId;
use crate::codecs::format::layout::{FRAME_HEADER_SIZE, VALUE_PART_HEADER_SIZE};
use crate::codecs::format::value_part::{PartChain, PartedValue, ValuePartHeader};
use crate::engines::snapshot::lossy_reader::LossyReader;
use crate::engines::snapshot::segment_identity::ids_of;
use crate::words::cancel::Cancel;
use crate::words::defect::Defect;
use crate::words::error::{Error, Result};
use crate::words::item::ItemMeta;
use crate::words::limits::Limits;
use crate::words::pieces::Pieces;
use crate::words::units::to_u64;

/// A part whose stored bytes are sound.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundPart {
    /// Position of its payload in the file.
    pub(super) payload_offset: u64,
    /// Length of the payload.
    pub(super) stored_len: u64,
    pub(super) sequence: u64,
}

/// A record whose value is stored in parts. The parts are looked up once the whole file
/// has been scanned.
#[derive(Clone, Debug)]
pub(super) struct PartedRecord {
    pub(super) key: Vec<u8>,
    pub(super) meta: ItemMeta,
    pub(super) value: PartedValue,
    /// The sequence number of the record's block, if everything else in the block is
    /// sound.
    pub(super) whole_block: Option<u64>,
}

/// The parts and records of values in parts found so far.
#[derive(Debug)]
pub(super) struct SalvageParts {
    /// By the offset in the header of the frame, or the one it should have.
    parts: BTreeMap<u64, FoundPart>,
    part_count_max: u64,
    /// By their VALUE_PLACE.
    records: BTreeMap<u64, PartedRecord>,
    record_count_max: u64,
}

impl SalvageParts {
    /// Creates an empty collection; `size` is the size of the file.
    pub(super) fn new(size: u64, limits: &Limits) -> Self {
        const PART_SIZE_MIN: u64 = 97;
        debug_assert!(to_u64(FRAME_HEADER_SIZE + VALUE_PART_HEADER_SIZE) < PART_SIZE_MIN);
        Self {
            parts: BTreeMap::new(),
            part_count_max: limits.toc_entry_count_max,
            records: BTreeMap::new(),
            // Without this limit, keys that compress well could outnumber the parts in
            // the file.
            record_count_max: size / PART_SIZE_MIN,
        }
    }

    /// Adds a part under the offset where its frame was written. If several have the same
    /// offset, the first is kept.
    pub(super) fn add_part(&mut self, offset: u64, part: FoundPart) {
        if to_u64(self.parts.len()) < self.part_count_max {
            self.parts.entry(offset).or_insert(part);
        }
    }

    /// Reports whether the part written at an offset has been found.
    pub(super) fn has_part(&self, offset: u64) -> bool {
        self.parts.contains_key(&offset)
    }

    /// Adds a record, or returns it if its value cannot be in the file.
    pub(super) fn add_record(&mut self, record: PartedRecord) -> Option<PartedRecord> {
        let place = record.value.place;
        let is_full = to_u64(self.records.len()) >= self.record_count_max;
        if is_full || self.records.contains_key(&place) {
            return Some(record);
        }
        self.records.insert(place, record);
        None
    }

    /// Returns the records, in the order of their parts.
    pub(super) fn take_records(&mut self) -> Vec<PartedRecord> {
        std::mem::take(&mut self.records).into_values().collect()
    }

    /// Returns where the first part of a value is now, if it was found.
    pub(super) fn first_offset(&self, value: PartedValue) -> Option<u64> {
        let part = self.parts.get(&value.place)?;
        part.payload_offset.checked_sub(to_u64(FRAME_HEADER_SIZE))
    }
}

/// Returns a record of a block if its value is stored in parts.
pub(super) fn parted_record(
    columns: &Columns,
    index: usize,
    whole_block: Option<u64>,
) -> Option<PartedRecord> {
    let value = columns.parted_value(index)?;
    let record = columns.get(index)?;
    Some(PartedRecord {
        key: record.key.to_vec(),
        meta: record.meta,
        value,
        whole_block,
    })
}

/// Reads a value from the parts that were found.
#[derive(Debug)]
pub(super) struct SalvagedPieces<'w, 'a> {
    parts: &'w SalvageParts,
    reader: &'w mut LossyReader<'a>,
    sections: &'w mut SectionReader,
    limits: &'w Limits,
    cancel: &'w Cancel,
    id: SegmentId,
    chain: PartChain,
    /// The offset where the frame of the next part was written.
    next_offset: u64,
    raw: Vec<u8>,
    defect: Option<Defect>,
}

impl<'w, 'a> SalvagedPieces<'w, 'a> {
    pub(super) fn new(
        parts: &'w SalvageParts,
        reader: &'w mut LossyReader<'a>,
        sections: &'w mut SectionReader,
        limits: &'w Limits,
        cancel: &'w Cancel,
        id: SegmentId,
        value: PartedValue,
    ) -> Self {
        Self {
            parts,
            reader,
            sections,
            limits,
            cancel,
            id,
            chain: PartChain::new(value),
            next_offset: value.place,
            raw: Vec::new(),
            defect: None,
        }
    }

    /// Reads the pieces that were not taken, and returns the defect of the value, if any.
    pub(super) fn finish(mut self) -> Result<Option<Defect>> {
        loop {
            match self.next_piece().map(|piece| piece.is_some()) {
                Ok(true) => {}
                Ok(false) => return Ok(self.defect),
                Err(error) if self.defect.is_none() => return Err(error),
                Err(_) => return Ok(self.defect),
            }
        }
    }

    fn read_next(&mut self) -> std::result::Result<(), Defect> {
        let Some(part) = self.parts.parts.get(&self.next_offset) else {
            return Err(self.chain.cut_short("no further part".to_owned()));
        };
        let payload = self.reader.bytes(part.payload_offset, part.stored_len);
        let ids = ids_of(self.id);
        let header =
            ValuePartHeader::decode(payload, part.stored_len, &ids, part.sequence, self.limits)?;
        header.read(payload, self.sections, &mut self.raw)?;
        self.chain.take(&header, &self.raw)?;
        self.next_offset = self
            .next_offset
            .saturating_add(to_u64(FRAME_HEADER_SIZE))
            .saturating_add(part.stored_len);
        Ok(())
    }
}

impl Pieces for SalvagedPieces<'_, '_> {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        self.cancel.check()?;
        if self.defect.is_some() || self.chain.is_complete() {
            return Ok(None);
        }
        if let Err(defect) = self.read_next() {
            self.defect = Some(defect.clone());
            return Err(Error::corrupt(defect));
        }
        Ok(Some(&self.raw))
    }
}
