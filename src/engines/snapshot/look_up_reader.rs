//! Finds a key by the look-up object of its shard, with few and small reads.

use std::ops::Range;
use std::sync::Arc;

use crate::codecs::format::block::BlockHeader;
use crate::codecs::format::bytes::{check_count, slice};
use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::file_header::FileHeader;
use crate::codecs::format::frame::FrameHeader;
use crate::codecs::format::ids::{SegmentIds, SyncMarker};
use crate::codecs::format::layout::{
    BLOCK_HEADER_SIZE, FILE_HEADER_SIZE, FRAME_HEADER_SIZE, LOOK_UP_BLOCK_SIZE, PAGE_SIZE,
};
use crate::codecs::format::look_up::LookUpBlock;
use crate::codecs::format::manifest::{LookUpName, ManifestNode};
use crate::codecs::format::segment_name::segment_object;
use crate::codecs::format::version::judge;
use crate::engines::snapshot::object_range::read_range;
use crate::engines::snapshot::reader::SnapshotReader;
use crate::engines::snapshot::segment_lookup::{FoundRecord, find_in_columns, read_inline};
use crate::engines::snapshot::segment_reader::SegmentReader;
use crate::ports::store::ObjectReader;
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::units::to_u64;

/// A record that a look-up object led to, and where it was read.
#[derive(Debug)]
pub struct LookedUp {
    /// The record, without its value.
    pub record: FoundRecord,
    object: Box<dyn ObjectReader>,
    place: String,
    offset: u64,
}

impl LookedUp {
    /// Returns the location of the record for messages.
    pub fn location(&self) -> Location {
        Location::Object {
            object: self.place.clone(),
            block: Some(to_u64(self.record.block)),
            record: Some(to_u64(self.record.record)),
            offset: Some(self.offset),
        }
    }

    /// Reads the value, in one read.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, with the record's location; `Io`.
    pub fn read_inline(&self, sections: &mut SectionReader) -> Result<Vec<u8>> {
        read_inline(&*self.object, &self.record, sections)
            .map_err(|error| error.at(self.location()))
    }

    /// Opens the whole segment, for a value in parts.
    ///
    /// # Errors
    ///
    /// - `Corrupt`, `Unsupported`, `Io`.
    pub fn open_segment(self, snapshot: &SnapshotReader) -> Result<Arc<SegmentReader>> {
        let limits = snapshot.limits();
        SegmentReader::open_object(self.object, self.place, limits).map(Arc::new)
    }
}

/// Bytes of entries that are read at once, also for those of them that are not needed:
/// another read would take longer.
const ENTRIES_LEN_MAX: usize = 1 << 20;

/// Divides numbers of blocks that ascend into groups whose entries are read at once.
fn near_each_other(numbers: &[u32]) -> Vec<&[u32]> {
    let span_max = u32::try_from(ENTRIES_LEN_MAX / LOOK_UP_BLOCK_SIZE).unwrap_or(u32::MAX);
    let mut groups = Vec::new();
    let mut rest = numbers;
    while let Some(&first) = rest.first() {
        let count = rest.partition_point(|number| number.saturating_sub(first) < span_max);
        let (group, others) = rest.split_at(count.max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

impl SnapshotReader {
    /// Returns the blocks that may have a key which a node had, by one page of the look-up
    /// object of its shard and an entry for each block: two reads, or one if no block has
    /// it; more only for several blocks whose entries are more than a mebibyte apart.
    /// Returns `None` if the node has no look-up objects.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: the object is missing, damaged, newer, or not what the manifest says: its
    ///   version is not read for a single page. `Io`.
    pub fn likely_blocks(
        &self,
        node: &ManifestNode,
        key: &[u8],
    ) -> Result<Option<Vec<LookUpBlock>>> {
        let shard = shard_of(key, node.shard_bits);
        let shard = usize::try_from(shard).unwrap_or(usize::MAX);
        let Some(name) = node.look_ups.get(shard) else {
            return Ok(None);
        };
        if name.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let table = name.table();
        let (page, fingerprint) = table.place(key);
        let offset = name.page_offset(page);
        let first = offset..offset.saturating_add(to_u64(PAGE_SIZE));
        let (object, place) = self.open_look_up(name, first)?;
        check_look_up_len(&*object, &place, name)?;
        let bytes = read_range(&*object, offset, to_u64(PAGE_SIZE))?;
        let at = |offset| {
            let place = Location::offset(&place, offset);
            |defect| Error::corrupt(defect).at(place)
        };
        let page = table.decode_page(page, &bytes).map_err(at(offset))?;
        let numbers: Vec<u32> = page.candidates(fingerprint).collect();
        let mut blocks = Vec::new();
        for numbers in near_each_other(&numbers) {
            let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else {
                continue;
            };
            let start = name.block_offset(first);
            let end = name.block_offset(last.saturating_add(1));
            let bytes = read_range(&*object, start, end.saturating_sub(start))?;
            for &number in numbers {
                let offset = name.block_offset(number);
                let from = usize::try_from(offset.saturating_sub(start)).unwrap_or(usize::MAX);
                let entry = bytes.get(from..).unwrap_or_default();
                blocks.push(LookUpBlock::decode(name.id, number, entry).map_err(at(offset))?);
            }
        }
        Ok(Some(blocks))
    }

    /// Opens a look-up object, whatever its length, of which this range is read first.
    pub(super) fn open_look_up(
        &self,
        name: &LookUpName,
        first: Range<u64>,
    ) -> Result<(Box<dyn ObjectReader>, String)> {
        let path = self.path_of(&name.object());
        let place = self.store().describe(&path);
        let at = |defect| Error::corrupt(defect).at(Location::object(place.clone()));
        let object = match self.store().open_at(&path, first) {
            Ok(object) => object,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                return Err(at(Defect::LookUpMissing));
            }
            Err(error) => return Err(error),
        };
        Ok((object, place))
    }

    /// Looks for a key in a block that the look-up object of its shard names: one read.
    ///
    /// # Errors
    ///
    /// - `Corrupt`: the block is damaged, or there is another one; `Io`.
    /// - `Unsupported`: the segment is of another major version.
    pub fn find_in_block(
        &self,
        node_index: u32,
        shard_index: u64,
        block: &LookUpBlock,
        key: &[u8],
        sections: &mut SectionReader,
    ) -> Result<Option<LookedUp>> {
        let path = self.path_of(&segment_object(
            node_index,
            shard_index,
            block.sequence,
            block.segment,
        ));
        let place = self.store().describe(&path);
        let heads = to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE);
        let len = u64::from(block.key_stored_len).min(self.limits().key_section_len_max);
        let end = block.offset.saturating_add(heads).saturating_add(len);
        let object = match self.store().open_at(&path, block.offset..end) {
            Ok(object) => object,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                let error = Error::corrupt(Defect::SegmentMissing);
                return Err(error.at(Location::object(place)));
            }
            Err(error) => return Err(error),
        };
        let found = self.find_in_object(&*object, block, key, sections);
        let found = found.map_err(|error| {
            // What a newer version made would look damaged.
            judged(error, &*object).at(Location::Object {
                object: place.clone(),
                block: Some(block.block.into()),
                record: None,
                offset: Some(block.offset),
            })
        });
        Ok(found?.map(|record| LookedUp {
            record,
            object,
            place,
            offset: block.offset,
        }))
    }

    fn find_in_object(
        &self,
        object: &dyn ObjectReader,
        block: &LookUpBlock,
        key: &[u8],
        sections: &mut SectionReader,
    ) -> Result<Option<FoundRecord>> {
        let limits = self.limits();
        let heads = to_u64(FRAME_HEADER_SIZE + BLOCK_HEADER_SIZE);
        let len = u64::from(block.key_stored_len).min(limits.key_section_len_max);
        let bytes = read_range(object, block.offset, heads.saturating_add(len))?;
        let mut parse = || {
            // The frame's own marker: its checksum is seeded with the segment's id, so that
            // this is a frame of the segment.
            let marker = slice(&bytes, 4, 8, Structure::FrameHeader)?;
            let sync = marker.first_chunk::<8>().copied().unwrap_or_default();
            let ids = SegmentIds {
                segment: block.segment,
                snapshot: self.manifest().snapshot_id,
                sync: SyncMarker(sync),
            };
            let frame = FrameHeader::decode(&bytes, &ids, block.offset)?;
            let payload = bytes.get(FRAME_HEADER_SIZE..).unwrap_or_default();
            let (len, sequence) = (frame.stored_len, frame.sequence);
            let header = BlockHeader::decode(payload, len, &ids, sequence, limits)?;
            let stored = header.key_section(payload)?;
            let columns = header.decode_keys(stored, sections)?;
            let number = usize::try_from(block.block).unwrap_or(usize::MAX);
            Ok(find_in_columns(
                &columns,
                &header,
                block.offset,
                number,
                key,
            ))
        };
        parse().map_err(Error::corrupt)
    }
}

/// Refuses a look-up object of another length than the manifest says (U1).
pub(super) fn check_look_up_len(
    object: &dyn ObjectReader,
    place: &str,
    name: &LookUpName,
) -> Result<()> {
    check_count(Structure::LookUp, "length", object.size(), name.len())
        .map_err(|defect| Error::corrupt(defect).at(Location::object(place)))
}

/// Judges an error by the version in the file header, which is read for that alone.
fn judged(error: Error, object: &dyn ObjectReader) -> Error {
    let ErrorKind::Corrupt(defect) = error.kind() else {
        return error;
    };
    let Ok(header) = read_range(object, 0, to_u64(FILE_HEADER_SIZE)) else {
        return error;
    };
    match FileHeader::decode(&header) {
        Ok(header) => Error::corrupt(judge(defect.clone(), header.minor.into())),
        Err(newer @ Defect::Newer { .. }) => Error::corrupt(newer),
        Err(_) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_near_each_other_are_read_at_once() {
        let span = u32::try_from(ENTRIES_LEN_MAX / LOOK_UP_BLOCK_SIZE).unwrap();
        assert!(near_each_other(&[]).is_empty());
        assert_eq!(near_each_other(&[7]), [[7]]);
        assert_eq!(near_each_other(&[0, 9, span - 1]), [[0, 9, span - 1]]);
        let far = [3, 4, span + 3, u32::MAX];
        let wanted: [&[u32]; 3] = [&[3, 4], &[span + 3], &[u32::MAX]];
        assert_eq!(near_each_other(&far), wanted);
    }
}
