//! Looks up single keys in a segment, with few and small reads.

use std::ops::Range;

use crate::codecs::format::block::{BlockHeader, StoredValue};
use crate::codecs::format::checksum::value_hash;
use crate::codecs::format::column::Columns;
use crate::codecs::format::compression::{SectionDescriptor, SectionReader};
use crate::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FRAME_HEADER_SIZE, KEY_INDEX_HEADER_SIZE, PAGE_SIZE,
};
use crate::codecs::format::value_part::PartedValue;
use crate::engines::snapshot::object_range::read_range;
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::ports::store::ObjectReader;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, Result};
use crate::words::item::ItemMeta;
use crate::words::location::Location;
use crate::words::units::to_u64;

/// A record found by a look-up, without its value.
#[derive(Clone, Debug)]
pub struct FoundRecord {
    /// Zero-based number of the block.
    pub block: usize,
    /// Zero-based number of the record in its block.
    pub record: usize,
    /// Everything but key and value.
    pub meta: ItemMeta,
    /// Length of the value.
    pub value_len: u32,
    /// XXH3-64 of the value.
    pub value_hash: u64,
    place: FoundPlace,
}

/// Where a found record's value is.
#[derive(Clone, Debug)]
enum FoundPlace {
    Inline {
        /// Its range in the raw value section.
        range: Range<usize>,
        values: SectionDescriptor,
        values_offset: u64,
    },
    Parts(PartedValue),
}

impl FoundRecord {
    /// Returns the value if it is stored in parts, for [`SegmentReader::open_parts`].
    pub fn parted_value(&self) -> Option<PartedValue> {
        match self.place {
            FoundPlace::Inline { .. } => None,
            FoundPlace::Parts(value) => Some(value),
        }
    }
}

impl SegmentReader {
    /// Looks a key up. This reads one page of the key index, and the key section of each
    /// block that the key's fingerprint matches, from the last on: where a key stands in
    /// several, that one's record counts.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: what had to be read is damaged, so it is unknown whether the key is
    ///   there; `Io`.
    pub fn find(&self, key: &[u8], sections: &mut SectionReader) -> Result<Option<FoundRecord>> {
        for number in self.candidate_blocks(key)?.into_iter().rev() {
            let block = usize::try_from(number).unwrap_or(usize::MAX);
            let (header, columns) = self.read_header_and_keys(block, sections)?;
            let Some(entry) = self.block_entry(block) else {
                continue;
            };
            let found = find_in_columns(&columns, &header, entry.offset, block, key);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Reads the value of a record that [`SegmentReader::find`] found in this segment.
    /// This reads only the value section of its block, or its parts.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the record's location; `Io`.
    ///
    /// # Memory
    ///
    /// The value. A value in parts has up to 1 GiB; [`SegmentReader::open_parts`] avoids
    /// holding it.
    pub fn read_value(&self, found: &FoundRecord, sections: &mut SectionReader) -> Result<Vec<u8>> {
        if let FoundPlace::Parts(parted) = &found.place {
            let value = StoredValue::Parts(*parted);
            let whole = self.whole_value(found.block, found.record, value)?;
            return Ok(whole.into_owned());
        }
        read_inline(&*self.object, found, sections)
            .map_err(|error| error.at(self.record_location(found.block, found.record)))
    }

    /// Returns the blocks that may contain a key, according to one page of the key index.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: the page is damaged; `Io`.
    pub fn candidate_blocks(&self, key: &[u8]) -> Result<Vec<u32>> {
        if self.key_index_entry().is_none() {
            // Without a key index, any block may contain it.
            return Ok((0..self.blocks.len())
                .filter_map(|block| u32::try_from(block).ok())
                .collect());
        }
        if self.toc.key_index.page_count == 0 {
            return Ok(Vec::new());
        }
        let block_count = to_u64(self.blocks.len());
        let table = self.toc.key_index.table(&self.ids, block_count);
        let (page_number, fingerprint) = table.place(key);
        let offset = self
            .toc
            .key_index_offset
            .saturating_add(to_u64(FRAME_HEADER_SIZE + KEY_INDEX_HEADER_SIZE))
            .saturating_add(u64::from(page_number).saturating_mul(to_u64(PAGE_SIZE)));
        let page = read_range(&*self.object, offset, to_u64(PAGE_SIZE))?;
        let page = table
            .decode_page(page_number, &page)
            .map_err(|defect| self.fault(defect).at(Location::offset(&self.place, offset)))?;
        Ok(page.candidates(fingerprint).collect())
    }
}

/// Finds a key among the columns of a block whose frame starts at `offset`.
pub(super) fn find_in_columns(
    columns: &Columns,
    header: &BlockHeader,
    offset: u64,
    block: usize,
    key: &[u8],
) -> Option<FoundRecord> {
    let record = columns.position(key)?;
    let found = columns.get(record)?;
    let place = match columns.parted_value(record) {
        Some(value) => FoundPlace::Parts(value),
        None => FoundPlace::Inline {
            range: columns.value_range(record)?,
            values: header.values,
            values_offset: offset
                .saturating_add(to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE))
                .saturating_add(header.keys.stored_len.into()),
        },
    };
    Some(FoundRecord {
        block,
        record,
        meta: found.meta,
        value_len: found.value_len,
        value_hash: found.value_hash,
        place,
    })
}

/// Reads a value that is stored in its block.
///
/// # Errors
///
/// - `Corrupt`, without a location; `Io`.
pub(super) fn read_inline(
    object: &dyn ObjectReader,
    found: &FoundRecord,
    sections: &mut SectionReader,
) -> Result<Vec<u8>> {
    let FoundPlace::Inline {
        range,
        values,
        values_offset,
    } = &found.place
    else {
        return Err(Error::internal("a value in parts is not read as a whole"));
    };
    // The length was checked against the limits when the block's header was decoded.
    let stored = read_range(object, *values_offset, values.stored_len.into())?;
    let mut raw = Vec::new();
    sections
        .read(values, &stored, Structure::ValueSection, &mut raw)
        .map_err(Error::corrupt)?;
    let value = raw.get(range.clone()).unwrap_or_default();
    let (stored, computed) = (found.value_hash, value_hash(value));
    if stored != computed {
        return Err(Error::corrupt(Defect::ValueHashMismatch {
            stored,
            computed,
        }));
    }
    Ok(value.to_vec())
}
