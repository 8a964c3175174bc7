//! Look-up objects: which block of which segment of a shard has a key. FORMAT.md 5.15.

use crate::codecs::format::bytes::ByteReader;
use crate::codecs::format::checksum::{check_crc, crc32, seeded_crc32_of};
use crate::codecs::format::hash_page::HashTable;
use crate::codecs::format::ids::{LookUpId, SegmentId, SnapshotId};
use crate::codecs::format::layout::{
    LOOK_UP_BLOCK_SIZE, LOOK_UP_HEADER_SIZE, LOOK_UP_MAGIC, PAGE_SIZE, VERSION_MAJOR,
};
use crate::codecs::format::manifest::LookUpName;
use crate::codecs::format::version::{check_major, judge};
use crate::words::defect::{Defect, Structure};
use crate::words::units::to_u64;

/// Bits of a fingerprint. A page has some 1,500 entries, so that one look-up in 350 reads
/// a block in vain.
const FINGERPRINT_BITS: u32 = 19;

/// The folder of the look-up objects, beside the manifest.
pub const FOLDER: &str = "look-ups";

impl LookUpId {
    /// Returns the seed of the hash.
    pub fn seed(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl LookUpName {
    /// Returns the name of the object, relative to the manifest's directory.
    pub fn object(&self) -> String {
        format!("{FOLDER}/{}.mcl", self.id)
    }

    /// Returns the table that its pages are of.
    pub fn table(&self) -> HashTable {
        HashTable {
            id: self.id.0,
            seed: self.id.seed(),
            page_count: self.pages,
            fingerprint_bits: FINGERPRINT_BITS,
            number_count: self.blocks.into(),
            structure: Structure::LookUpPage,
        }
    }

    /// Returns where a page stands.
    pub fn page_offset(&self, page: u32) -> u64 {
        let pages = u64::from(page).saturating_mul(to_u64(PAGE_SIZE));
        to_u64(LOOK_UP_HEADER_SIZE).saturating_add(pages)
    }

    /// Returns where the entry of a block stands.
    pub fn block_offset(&self, block: u32) -> u64 {
        let blocks = u64::from(block).saturating_mul(to_u64(LOOK_UP_BLOCK_SIZE));
        self.page_offset(self.pages).saturating_add(blocks)
    }

    /// Returns the length of the object in bytes.
    pub fn len(&self) -> u64 {
        self.block_offset(self.blocks)
    }

    /// Returns whether the shard has no keys.
    pub fn is_empty(&self) -> bool {
        self.blocks == 0
    }
}

/// The first bytes of a look-up object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookUpHeader {
    /// Minor version of the writer.
    pub minor: u16,
    /// Id of this object.
    pub id: LookUpId,
    /// Id of the snapshot.
    pub snapshot: SnapshotId,
    /// Index of the node in the manifest.
    pub node_index: u32,
    /// Number of the shard within the node.
    pub shard_index: u64,
    /// Keys of the shard.
    pub entry_count: u64,
    /// Number of pages.
    pub page_count: u32,
    /// Number of blocks.
    pub block_count: u32,
}

impl LookUpHeader {
    /// Returns the header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut header = Vec::with_capacity(LOOK_UP_HEADER_SIZE);
        header.extend_from_slice(&LOOK_UP_MAGIC);
        header.extend_from_slice(&VERSION_MAJOR.to_le_bytes());
        header.extend_from_slice(&self.minor.to_le_bytes());
        header.extend_from_slice(&self.node_index.to_le_bytes());
        header.extend_from_slice(&self.id.0);
        header.extend_from_slice(&self.snapshot.0);
        header.extend_from_slice(&self.shard_index.to_le_bytes());
        header.extend_from_slice(&self.entry_count.to_le_bytes());
        header.extend_from_slice(&self.page_count.to_le_bytes());
        header.extend_from_slice(&self.block_count.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        let crc = crc32(&header);
        header.extend_from_slice(&crc.to_le_bytes());
        header
    }

    /// Parses and checks a header (U1, U2).
    ///
    /// # Errors
    ///
    /// - `Newer`: another major version, or a reserved field in a later minor version.
    /// - The defect for another broken rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, Defect> {
        const COVERED: usize = LOOK_UP_HEADER_SIZE.saturating_sub(4);
        let structure = Structure::LookUp;
        let mut reader = ByteReader::new(bytes, structure);
        let covered = ByteReader::new(bytes, structure).bytes(COVERED)?;
        reader.magic(&LOOK_UP_MAGIC)?;
        let major = reader.u16()?;
        let minor = reader.u16()?;
        let node_index = reader.u32()?;
        let header = Self {
            minor,
            id: LookUpId(reader.array()?),
            snapshot: SnapshotId(reader.array()?),
            node_index,
            shard_index: reader.u64()?,
            entry_count: reader.u64()?,
            page_count: reader.u32()?,
            block_count: reader.u32()?,
        };
        let reserved = reader.u32()?;
        check_crc(structure, reader.u32()?, crc32(covered))?;
        check_major(structure, major.into(), minor.into())?;
        if reserved != 0 {
            let field = "field at offset 72";
            let defect = Defect::ReservedNotZero { structure, field };
            return Err(judge(defect, minor.into()));
        }
        Ok(header)
    }

    /// Returns what the manifest says of the object.
    pub fn name(&self) -> LookUpName {
        LookUpName {
            id: self.id,
            pages: self.page_count,
            blocks: self.block_count,
        }
    }
}

/// Where a block of the shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookUpBlock {
    /// Id of its segment.
    pub segment: SegmentId,
    /// Number of the segment in its shard.
    pub sequence: u32,
    /// Number of the block in its segment.
    pub block: u32,
    /// Offset of its frame.
    pub offset: u64,
    /// Stored length of its key section in bytes.
    pub key_stored_len: u32,
}

impl LookUpBlock {
    /// Appends the entry of the block with this number.
    pub fn encode(&self, id: LookUpId, number: u32, out: &mut Vec<u8>) {
        let mut entry = Vec::with_capacity(LOOK_UP_BLOCK_SIZE);
        entry.extend_from_slice(&self.segment.0);
        entry.extend_from_slice(&self.sequence.to_le_bytes());
        entry.extend_from_slice(&self.block.to_le_bytes());
        entry.extend_from_slice(&self.offset.to_le_bytes());
        entry.extend_from_slice(&self.key_stored_len.to_le_bytes());
        entry.extend_from_slice(&[0; 4]);
        let crc = seeded_crc32_of(id.0, &[&number.to_le_bytes(), &entry]);
        entry.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&entry);
    }

    /// Parses and checks the entry of the block with this number (U3).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode(id: LookUpId, number: u32, bytes: &[u8]) -> Result<Self, Defect> {
        const COVERED: usize = LOOK_UP_BLOCK_SIZE.saturating_sub(4);
        let structure = Structure::LookUp;
        let covered = ByteReader::new(bytes, structure).bytes(COVERED)?;
        let mut reader = ByteReader::new(bytes, structure);
        let block = Self {
            segment: SegmentId(reader.array()?),
            sequence: reader.u32()?,
            block: reader.u32()?,
            offset: reader.u64()?,
            key_stored_len: reader.u32()?,
        };
        let reserved = reader.u32()?;
        let computed = seeded_crc32_of(id.0, &[&number.to_le_bytes(), covered]);
        check_crc(structure, reader.u32()?, computed)?;
        if reserved != 0 {
            let field = "field at offset 36";
            return Err(Defect::ReservedNotZero { structure, field });
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::layout::VERSION_MINOR;

    #[test]
    fn what_is_written_is_read_and_every_flipped_bit_is_found() {
        let header = LookUpHeader {
            minor: VERSION_MINOR,
            id: LookUpId([1; 16]),
            snapshot: SnapshotId([2; 16]),
            node_index: 3,
            shard_index: 4,
            entry_count: 5,
            page_count: 6,
            block_count: 7,
        };
        let bytes = header.encode();
        assert_eq!(bytes.len(), LOOK_UP_HEADER_SIZE);
        assert_eq!(LookUpHeader::decode(&bytes).unwrap(), header);
        let block = LookUpBlock {
            segment: SegmentId([8; 16]),
            sequence: 9,
            block: 10,
            offset: 11,
            key_stored_len: 12,
        };
        let mut entry = Vec::new();
        block.encode(header.id, 6, &mut entry);
        assert_eq!(entry.len(), LOOK_UP_BLOCK_SIZE);
        assert_eq!(LookUpBlock::decode(header.id, 6, &entry), Ok(block));
        assert!(LookUpBlock::decode(header.id, 5, &entry).is_err());
        assert!(LookUpBlock::decode(LookUpId([0; 16]), 6, &entry).is_err());
        let flip = |bytes: &[u8], bit: usize| {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        };
        for bit in 0..bytes.len() * 8 {
            assert!(LookUpHeader::decode(&flip(&bytes, bit)).is_err(), "{bit}");
        }
        for bit in 0..entry.len() * 8 {
            let decoded = LookUpBlock::decode(header.id, 6, &flip(&entry, bit));
            assert!(decoded.is_err(), "{bit}");
        }
        let name = header.name();
        assert_eq!(
            name.len(),
            to_u64(LOOK_UP_HEADER_SIZE + 6 * 4096 + 7 * LOOK_UP_BLOCK_SIZE)
        );
    }
}
