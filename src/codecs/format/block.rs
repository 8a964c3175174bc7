//! Blocks of whole records: a header, a key section and a value section. FORMAT.md 5.5.

use crate::codecs::format::bytes::{ByteReader, check_bound, check_count, slice};
use crate::codecs::format::checksum::{check_crc, seeded_crc32, value_hash};
use crate::codecs::format::column::{Columns, KeyRecord};
use crate::codecs::format::compression::{SectionDescriptor, SectionReader};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::BLOCK_HEADER_SIZE;
use crate::codecs::format::value_part::PartedValue;
use crate::words::defect::{Defect, Structure};
use crate::words::item::{Exptime, ItemMeta, Record};
use crate::words::limits::Limits;
use crate::words::units::{UnixSecs, to_u64};

/// The ranges of the times in a block's records, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRanges {
    /// Number of records that never expire.
    pub never_count: u32,
    /// Smallest finite exptime; `u64::MAX` if there is none.
    pub exptime_min: u64,
    /// Greatest finite exptime; 0 if there is none.
    pub exptime_max: u64,
    /// Earliest last access; `u64::MAX` if unknown.
    pub last_access_min: u64,
    /// Latest last access; 0 if unknown.
    pub last_access_max: u64,
}

impl Default for TimeRanges {
    fn default() -> Self {
        Self {
            never_count: 0,
            exptime_min: u64::MAX,
            exptime_max: 0,
            last_access_min: u64::MAX,
            last_access_max: 0,
        }
    }
}

impl TimeRanges {
    /// Extends the ranges by a record.
    pub fn add(&mut self, meta: &ItemMeta) {
        match meta.exptime {
            Some(Exptime::Never) => self.never_count = self.never_count.saturating_add(1),
            Some(Exptime::At(UnixSecs(at))) => {
                self.exptime_min = self.exptime_min.min(at);
                self.exptime_max = self.exptime_max.max(at);
            }
            None => {}
        }
        if let Some(UnixSecs(at)) = meta.last_access {
            self.last_access_min = self.last_access_min.min(at);
            self.last_access_max = self.last_access_max.max(at);
        }
    }
}

/// The fixed start of a block's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Records in the block; at least one.
    pub record_count: u32,
    /// The section of keys and metadata.
    pub keys: SectionDescriptor,
    /// The section of values.
    pub values: SectionDescriptor,
}

impl BlockHeader {
    /// Returns the header's bytes, for the frame with this sequence number.
    pub fn encode(&self, ids: &SegmentIds, sequence: u64) -> Vec<u8> {
        let mut header = Vec::with_capacity(BLOCK_HEADER_SIZE);
        header.extend_from_slice(&self.record_count.to_le_bytes());
        self.keys.encode(&mut header);
        self.values.encode(&mut header);
        let crc = seeded_crc32(ids.segment, &[&sequence.to_le_bytes(), &header]);
        header.extend_from_slice(&crc.to_le_bytes());
        header
    }

    /// Parses and checks the header at the start of a payload (B1 to B5).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode(
        payload: &[u8],
        stored_len: u64,
        ids: &SegmentIds,
        sequence: u64,
        limits: &Limits,
    ) -> Result<Self, Defect> {
        const COVERED: usize = BLOCK_HEADER_SIZE.saturating_sub(4);
        let structure = Structure::BlockHeader;
        let covered = ByteReader::new(payload, structure).bytes(COVERED)?;
        let stored_crc =
            ByteReader::new(payload.get(COVERED..).unwrap_or_default(), structure).u32()?;
        let computed = seeded_crc32(ids.segment, &[&sequence.to_le_bytes(), covered]);
        check_crc(structure, stored_crc, computed)?;
        let mut reader = ByteReader::new(covered, structure);
        let header = Self {
            record_count: reader.u32()?,
            keys: SectionDescriptor::decode(
                &mut reader,
                Structure::KeySection,
                limits.key_section_len_max,
            )?,
            values: SectionDescriptor::decode(
                &mut reader,
                Structure::ValueSection,
                limits.value_section_len_max,
            )?,
        };
        if header.record_count == 0 {
            return Err(Defect::IllegalValue {
                structure,
                field: "record_count",
                stored: 0,
            });
        }
        let record_count = header.record_count.into();
        check_bound(
            structure,
            "record_count",
            record_count,
            limits.block_record_count_max,
        )?;
        check_count(
            structure,
            "payload length",
            header.payload_len(),
            stored_len,
        )?;
        Ok(header)
    }

    /// Returns the length of the payload in bytes that its header claims, unchecked. For
    /// a payload whose frame header is lost.
    pub fn claimed_payload_len(payload: &[u8]) -> Option<u64> {
        let mut reader = ByteReader::new(payload, Structure::BlockHeader);
        // Skip to the stored lengths of the two sections.
        reader.bytes(8).ok()?;
        let keys = reader.u32().ok()?;
        reader.bytes(16).ok()?;
        let values = reader.u32().ok()?;
        Some(
            to_u64(BLOCK_HEADER_SIZE)
                .saturating_add(keys.into())
                .saturating_add(values.into()),
        )
    }

    /// Returns the length of the header and both sections in bytes.
    pub fn payload_len(&self) -> u64 {
        to_u64(BLOCK_HEADER_SIZE)
            .saturating_add(self.keys.stored_len.into())
            .saturating_add(self.values.stored_len.into())
    }

    /// Returns the stored key section of a payload.
    ///
    /// # Errors
    ///
    /// - `Truncated`: the payload ends before the section does.
    pub fn key_section<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Defect> {
        let start = to_u64(BLOCK_HEADER_SIZE);
        slice(
            payload,
            start,
            self.keys.stored_len.into(),
            Structure::KeySection,
        )
    }

    /// Returns the stored value section of a payload.
    ///
    /// # Errors
    ///
    /// - `Truncated`: the payload ends before the section does.
    pub fn value_section<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], Defect> {
        let start = to_u64(BLOCK_HEADER_SIZE).saturating_add(self.keys.stored_len.into());
        slice(
            payload,
            start,
            self.values.stored_len.into(),
            Structure::ValueSection,
        )
    }

    /// Decompresses and checks the keys and metadata (B6, B7, K1 to K8, K10).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode_keys(
        &self,
        stored: &[u8],
        sections: &mut SectionReader,
    ) -> Result<Columns, Defect> {
        let mut raw = Vec::new();
        sections.read(&self.keys, stored, Structure::KeySection, &mut raw)?;
        let columns = Columns::decode(raw, self.record_count)?;
        let (field, raw_len) = ("sum of VALUE_LEN in the block", self.values.raw_len.into());
        check_count(Structure::KeySection, field, columns.value_bytes(), raw_len)?;
        Ok(columns)
    }
}

/// A record of a block. Its value may be stored outside the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRecord<'a> {
    /// 1 to 250 bytes, any bytes.
    pub key: &'a [u8],
    /// The value, or its place.
    pub value: StoredValue<'a>,
    /// Everything else.
    pub meta: ItemMeta,
}

/// The value of a record, as its block stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredValue<'a> {
    /// In the block. The value matches its hash.
    Inline(&'a [u8]),
    /// In value parts, of which nothing is known yet.
    Parts(PartedValue),
}

impl<'a> StoredRecord<'a> {
    /// Returns the record with its value, if the value is in the block.
    pub fn inline(&self) -> Option<Record<'a>> {
        match self.value {
            StoredValue::Inline(value) => Some(Record {
                key: self.key,
                value,
                meta: self.meta,
            }),
            StoredValue::Parts(_) => None,
        }
    }
}

/// A block in memory, decompressed and checked except for the value hashes.
#[derive(Debug)]
pub struct Block {
    columns: Columns,
    values: Vec<u8>,
}

impl Block {
    /// Decompresses both sections of a payload.
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    ///
    /// # Memory
    ///
    /// Both raw lengths, which decoding the header has bounded, and 12 bytes per record.
    /// Value parts are not read.
    pub fn decode(
        header: &BlockHeader,
        payload: &[u8],
        sections: &mut SectionReader,
    ) -> Result<Self, Defect> {
        let columns = header.decode_keys(header.key_section(payload)?, sections)?;
        Self::with_keys(columns, header, payload, sections)
    }

    /// Decompresses the values of a payload whose keys are already decoded.
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    ///
    /// # Memory
    ///
    /// As for [`Block::decode`].
    pub fn with_keys(
        columns: Columns,
        header: &BlockHeader,
        payload: &[u8],
        sections: &mut SectionReader,
    ) -> Result<Self, Defect> {
        // The keys may have been read earlier, and the file replaced since.
        let counts = [
            (
                "record_count",
                to_u64(columns.len()),
                header.record_count.into(),
            ),
            (
                "sum of VALUE_LEN",
                columns.value_bytes(),
                header.values.raw_len.into(),
            ),
        ];
        for (field, stored, computed) in counts {
            check_count(Structure::KeySection, field, stored, computed)?;
        }
        let mut values = Vec::new();
        let stored = header.value_section(payload)?;
        sections.read(&header.values, stored, Structure::ValueSection, &mut values)?;
        Ok(Self { columns, values })
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Returns false for every decoded block.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// Returns a record by number, or `None` beyond the end. A value in the block is
    /// checked against its hash.
    ///
    /// # Errors
    ///
    /// - `ValueHashMismatch`: the value does not match its hash (V1).
    pub fn record(&self, index: usize) -> Option<Result<StoredRecord<'_>, Defect>> {
        let record = self.unhashed_record(index)?;
        if let StoredValue::Inline(value) = record.value {
            let stored = self.columns.get(index)?.value_hash;
            let computed = value_hash(value);
            if stored != computed {
                return Some(Err(Defect::ValueHashMismatch { stored, computed }));
            }
        }
        Some(Ok(record))
    }

    /// Returns a record by number without checking its value against its hash, for a
    /// caller that has already done so with [`Self::record`].
    pub fn unhashed_record(&self, index: usize) -> Option<StoredRecord<'_>> {
        let KeyRecord { key, meta, .. } = self.columns.get(index)?;
        let value = match self.columns.parted_value(index) {
            Some(value) => StoredValue::Parts(value),
            None => StoredValue::Inline(self.values.get(self.columns.value_range(index)?)?),
        };
        Some(StoredRecord { key, value, meta })
    }

    /// Returns the keys and metadata.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::column::ColumnsBuilder;
    use crate::codecs::format::compression::{Compression, SectionWriter};
    use crate::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};

    const IDS: SegmentIds = SegmentIds {
        segment: SegmentId([1; 16]),
        snapshot: SnapshotId([2; 16]),
        sync: SyncMarker([3; 8]),
    };

    fn payload() -> Vec<u8> {
        let mut builder = ColumnsBuilder::default();
        builder.push(b"k", 3, value_hash(b"abc"), &ItemMeta::default());
        let (mut raw, mut sections) = (Vec::new(), Vec::new());
        builder.finish(&mut raw);
        let mut writer = SectionWriter::new(Compression::None).unwrap();
        let keys = writer.write(&raw, &mut sections);
        let values = writer.write(b"abc", &mut sections);
        let header = BlockHeader {
            record_count: 1,
            keys,
            values,
        };
        let mut payload = header.encode(&IDS, 7);
        assert_eq!(payload.len(), BLOCK_HEADER_SIZE);
        payload.extend_from_slice(&sections);
        payload
    }

    fn decode(payload: &[u8], sequence: u64) -> Result<Block, Defect> {
        let limits = Limits::default();
        let header = BlockHeader::decode(payload, to_u64(payload.len()), &IDS, sequence, &limits)?;
        let block = Block::decode(&header, payload, &mut SectionReader::default())?;
        block.record(0).unwrap()?;
        Ok(block)
    }

    #[test]
    fn a_block_is_read_back() {
        let block = decode(&payload(), 7).unwrap();
        let record = block.record(0).unwrap().unwrap().inline().unwrap();
        assert_eq!((record.key, record.value), (&b"k"[..], &b"abc"[..]));
        assert!(block.record(1).is_none());
    }

    #[test]
    fn a_header_tells_its_payload_s_length_by_itself() {
        let bytes = payload();
        assert_eq!(
            BlockHeader::claimed_payload_len(&bytes),
            Some(to_u64(bytes.len()))
        );
        assert_eq!(BlockHeader::claimed_payload_len(&bytes[..31]), None);
    }

    #[test]
    fn every_flipped_bit_every_prefix_and_every_other_place_is_refused() {
        let bytes = payload();
        assert_eq!(decode(&bytes, 8).unwrap_err().code(), "MCS003");
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len], 7).is_err(), "prefix of {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, 7).is_err(), "bit {bit}");
        }
    }
}
