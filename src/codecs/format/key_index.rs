//! The key index, which maps a key to its block: a hash table in pages. FORMAT.md 5.8.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use byteorder::{ByteOrder as _, LittleEndian};

use crate::codecs::format::bytes::{ByteReader, check_count};
use crate::codecs::format::checksum::{check_crc, index_hash, seeded_crc32};
use crate::codecs::format::hash_page::{Entry, HashPage, HashTable};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::{KEY_INDEX_HEADER_SIZE, PAGE_SIZE};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind};
use crate::words::units::to_u64;

/// Bits of a fingerprint. A page has some 1,600 entries, so that one look-up in 80 reads a
/// block in vain.
const FINGERPRINT_BITS: u32 = 17;

/// The shape of a key index. The TOC repeats it, so that a look-up reads a single page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyIndexShape {
    /// Seed of the index hash.
    pub seed: u64,
    /// Number of pages; 0 only in a segment without records.
    pub page_count: u32,
}

impl KeyIndexShape {
    /// Returns the size of all pages in bytes.
    pub fn pages_len(self) -> u64 {
        u64::from(self.page_count).saturating_mul(to_u64(PAGE_SIZE))
    }

    /// Returns the table of a segment with this many blocks.
    pub fn table(self, ids: &SegmentIds, block_count: u64) -> HashTable {
        table_of(ids.segment.0, self, block_count)
    }
}

fn table_of(id: [u8; 16], shape: KeyIndexShape, block_count: u64) -> HashTable {
    HashTable {
        id,
        seed: shape.seed,
        page_count: shape.page_count,
        fingerprint_bits: FINGERPRINT_BITS,
        number_count: block_count,
        structure: Structure::KeyIndexPage,
    }
}

/// The header of a key index frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIndexHeader {
    /// Number of entries; one per record.
    pub entry_count: u64,
    /// The shape of the index.
    pub shape: KeyIndexShape,
    /// Number of blocks; those in entries are below it.
    pub block_count: u32,
}

impl KeyIndexHeader {
    fn encode(&self, ids: &SegmentIds) -> Vec<u8> {
        let mut header = Vec::with_capacity(KEY_INDEX_HEADER_SIZE);
        header.extend_from_slice(&self.entry_count.to_le_bytes());
        header.extend_from_slice(&self.shape.seed.to_le_bytes());
        header.extend_from_slice(&self.shape.page_count.to_le_bytes());
        header.extend_from_slice(&self.block_count.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        let crc = seeded_crc32(ids.segment, &[&header]);
        header.extend_from_slice(&crc.to_le_bytes());
        header
    }

    /// Parses and checks the header of a payload of `stored_len` bytes.
    ///
    /// # Errors
    ///
    /// - The defect for a broken rule X1 or X2.
    pub fn decode(payload: &[u8], stored_len: u64, ids: &SegmentIds) -> Result<Self, Defect> {
        const COVERED: usize = KEY_INDEX_HEADER_SIZE.saturating_sub(4);
        let structure = Structure::KeyIndex;
        let mut reader = ByteReader::new(payload, structure);
        let covered = ByteReader::new(payload, structure).bytes(COVERED)?;
        let header = Self {
            entry_count: reader.u64()?,
            shape: KeyIndexShape {
                seed: reader.u64()?,
                page_count: reader.u32()?,
            },
            block_count: reader.u32()?,
        };
        let reserved = reader.bytes(4)?;
        check_crc(
            structure,
            reader.u32()?,
            seeded_crc32(ids.segment, &[covered]),
        )?;
        if reserved.iter().any(|&byte| byte != 0) {
            return Err(Defect::ReservedNotZero {
                structure,
                field: "field at offset 24",
            });
        }
        let pages_len = header.shape.pages_len();
        let len = pages_len.saturating_add(to_u64(KEY_INDEX_HEADER_SIZE));
        check_count(structure, "payload length", len, stored_len)?;
        Ok(header)
    }

    fn table(&self, ids: &SegmentIds) -> HashTable {
        self.shape.table(ids, self.block_count.into())
    }
}

/// A whole key index, checked once for many look-ups.
#[derive(Debug)]
pub struct KeyIndex {
    header: KeyIndexHeader,
    table: HashTable,
    pages: Vec<HashPage>,
}

impl KeyIndex {
    /// Checks the payload of a frame page by page (X1 to X4). The error includes the
    /// offset in the payload.
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    ///
    /// # Memory
    ///
    /// 8 bytes for each record of the segment.
    pub fn decode(payload: &[u8], ids: &SegmentIds) -> Result<Self, (u64, Defect)> {
        let stored_len = to_u64(payload.len());
        let header = KeyIndexHeader::decode(payload, stored_len, ids).map_err(|d| (0, d))?;
        let table = header.table(ids);
        let mut pages = Vec::new();
        let mut entry_count: u64 = 0;
        let mut offset = to_u64(KEY_INDEX_HEADER_SIZE);
        let rest = payload.get(KEY_INDEX_HEADER_SIZE..).unwrap_or_default();
        for (number, page) in (0_u32..).zip(rest.chunks_exact(PAGE_SIZE)) {
            let page = table
                .decode_page(number, page)
                .map_err(|defect| (offset, defect))?;
            entry_count = entry_count.saturating_add(to_u64(page.len()));
            offset = offset.saturating_add(to_u64(PAGE_SIZE));
            pages.push(page);
        }
        let field = "sum of the pages' entries";
        check_count(Structure::KeyIndex, field, header.entry_count, entry_count)
            .map_err(|defect| (0, defect))?;
        Ok(Self {
            header,
            table,
            pages,
        })
    }

    /// Returns the header, to be compared with the TOC.
    pub fn header(&self) -> KeyIndexHeader {
        self.header
    }

    /// Returns the number of entries in all pages.
    pub fn len(&self) -> usize {
        self.pages
            .iter()
            .map(HashPage::len)
            .fold(0, usize::saturating_add)
    }

    /// Returns whether the index has no entries.
    pub fn is_empty(&self) -> bool {
        self.pages.iter().all(HashPage::is_empty)
    }

    /// Returns whether a look-up of the key leads to this block.
    pub fn leads_to(&self, key: &[u8], block: u32) -> bool {
        let (page, fingerprint) = self.table.place(key);
        let page = usize::try_from(page)
            .ok()
            .and_then(|page| self.pages.get(page));
        page.is_some_and(|page| page.candidates(fingerprint).any(|found| found == block))
    }
}

/// A hasher that returns its input, which is a hash already.
#[derive(Debug, Default)]
struct IsHashed(u64);

impl Hasher for IsHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.0 = self.0.rotate_left(32) ^ u64::from(word);
    }
}

/// The 128 bits of an index hash as 32-bit words, so that a table entry takes 20 bytes
/// instead of 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HashWords([u32; 4]);

impl std::hash::Hash for HashWords {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [_, _, low, high] = self.0;
        state.write_u32(low);
        state.write_u32(high);
    }
}

impl HashWords {
    fn new(hash: u128) -> Self {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hash.to_le_bytes().chunks_exact(4)) {
            *word = LittleEndian::read_u32(bytes);
        }
        Self(words)
    }

    fn get(self) -> u128 {
        self.0
            .iter()
            .rev()
            .fold(0, |hash, &word| hash << 32 | u128::from(word))
    }
}

/// Collects the keys of a segment, and detects repeated ones.
///
/// # Memory
///
/// 21 bytes per record in a table that doubles, so at most 48 bytes per record.
#[derive(Debug)]
pub struct KeyIndexBuilder {
    seed: u64,
    blocks: HashMap<HashWords, u32, BuildHasherDefault<IsHashed>>,
}

impl KeyIndexBuilder {
    /// How many page counts to try, each some pages greater, before giving up.
    const TRY_COUNT_MAX: usize = 8;

    /// Starts without keys.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            blocks: HashMap::default(),
        }
    }

    /// Adds a key of a block. Returns false and changes nothing if the segment already
    /// has the key.
    pub fn insert(&mut self, key: &[u8], block: u32) -> bool {
        let hash = HashWords::new(index_hash(key, self.seed));
        match self.blocks.entry(hash) {
            std::collections::hash_map::Entry::Occupied(_) => false,
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(block);
                true
            }
        }
    }

    /// Returns whether the segment has a key.
    pub fn contains(&self, key: &[u8]) -> bool {
        let hash = HashWords::new(index_hash(key, self.seed));
        self.blocks.contains_key(&hash)
    }

    /// Returns the number of keys so far.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Returns whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Visits the hashes of the keys with their blocks, in any order.
    pub fn hashes(&self) -> impl Iterator<Item = (u128, u32)> + '_ {
        self.blocks.iter().map(|(hash, block)| (hash.get(), *block))
    }

    /// Returns an upper bound of the payload's length in bytes with `extra` more keys, in
    /// `block_count` blocks.
    pub fn payload_len_max(&self, extra: usize, block_count: u32) -> u64 {
        let table = table_of([0; 16], KeyIndexShape::default(), block_count.into());
        let keys = to_u64(self.len().saturating_add(extra));
        let pages = table.page_counts(keys).next().unwrap_or(0);
        // A tenth more pages for other tries.
        let pages = pages.saturating_add(pages / 10).saturating_add(1);
        u64::from(pages)
            .saturating_mul(to_u64(PAGE_SIZE))
            .saturating_add(to_u64(KEY_INDEX_HEADER_SIZE))
    }

    /// Forgets all keys but keeps their memory for the next segment: a table that is
    /// allocated anew each time leaves holes of its size in the heap.
    pub fn recycle(&mut self, seed: u64) {
        self.blocks.clear();
        self.seed = seed;
    }

    /// Builds the payload of the frame.
    ///
    /// # Errors
    ///
    /// - `LimitExceeded`: a page is too full whatever the page count is, which a random
    ///   seed rules out.
    pub fn finish(
        &self,
        ids: &SegmentIds,
        block_count: u32,
    ) -> Result<(KeyIndexHeader, Vec<u8>), Error> {
        let mut header = KeyIndexHeader {
            entry_count: to_u64(self.len()),
            shape: KeyIndexShape {
                seed: self.seed,
                page_count: 0,
            },
            block_count,
        };
        let page_counts = header.table(ids).page_counts(header.entry_count);
        for page_count in page_counts.take(Self::TRY_COUNT_MAX) {
            header.shape.page_count = page_count;
            if let Some(payload) = self.encode(&header, ids) {
                return Ok((header, payload));
            }
        }
        let bound = header.table(ids).page_capacity();
        Err(Error::new(ErrorKind::LimitExceeded {
            limit: "keys in one page of the key index",
            needed: bound.saturating_add(1),
            bound,
        }))
    }

    /// Writes header and pages; returns `None` if a page is too full.
    fn encode(&self, header: &KeyIndexHeader, ids: &SegmentIds) -> Option<Vec<u8>> {
        let table = header.table(ids);
        let mut placed: Vec<(u32, Entry)> = self
            .blocks
            .iter()
            .map(|(hash, &block)| {
                let (page, fingerprint) = table.place_of(hash.get());
                (page, (fingerprint, block))
            })
            .collect();
        placed.sort_unstable();
        let mut payload = header.encode(ids);
        let mut rest = placed.as_slice();
        let mut entries = Vec::new();
        for number in 0..header.shape.page_count {
            let count = rest.partition_point(|(page, _)| *page <= number);
            let (page, after) = rest.split_at_checked(count)?;
            entries.clear();
            entries.extend(page.iter().map(|(_, entry)| *entry));
            if !table.encode_page(number, &entries, &mut payload) {
                return None;
            }
            rest = after;
        }
        Some(payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::format::ids::{SegmentId, SnapshotId, SyncMarker};

    const IDS: SegmentIds = SegmentIds {
        segment: SegmentId([1; 16]),
        snapshot: SnapshotId([2; 16]),
        sync: SyncMarker([3; 8]),
    };

    #[test]
    fn every_key_leads_to_its_block() {
        for (key_count, block_count) in [(0, 0), (1, 1), (20_000, 300), (20_000, 70_000)] {
            let mut builder = KeyIndexBuilder::new(42);
            for key in 0..key_count {
                let block = key * block_count.max(1) / key_count.max(1);
                assert!(builder.insert(format!("key:{key}").as_bytes(), block));
                assert!(!builder.insert(format!("key:{key}").as_bytes(), block));
            }
            let bound = builder.payload_len_max(0, block_count);
            let (header, payload) = builder.finish(&IDS, block_count).unwrap();
            assert!(to_u64(payload.len()) <= bound);
            assert_eq!(
                KeyIndexHeader::decode(&payload, to_u64(payload.len()), &IDS).unwrap(),
                header
            );
            let index = KeyIndex::decode(&payload, &IDS).unwrap();
            let mut probes = 0;
            for key in 0..key_count {
                let block = key * block_count.max(1) / key_count.max(1);
                let key = format!("key:{key}");
                assert!(index.leads_to(key.as_bytes(), block), "{key}");
                let (page, fingerprint) = index.table.place(key.as_bytes());
                let page = &index.pages[usize::try_from(page).unwrap()];
                probes += page.candidates(fingerprint).count();
            }
            // Few of some hundred entries share a fingerprint.
            assert!(probes <= usize::try_from(key_count + key_count / 50).unwrap());
        }
    }

    #[test]
    fn an_entry_takes_little_more_than_its_block_number() {
        let (keys, blocks) = (200_000, 1 << 10);
        let mut builder = KeyIndexBuilder::new(7);
        for key in 0..keys {
            builder.insert(format!("key:{key}").as_bytes(), key % blocks);
        }
        let (_, payload) = builder.finish(&IDS, blocks).unwrap();
        let bits = to_u64(payload.len()) * 80 / u64::from(keys);
        // 10 bits of the number, and 8 to 10 more.
        assert!((180..=210).contains(&bits), "{bits} tenths of a bit");
    }

    #[test]
    fn every_flipped_bit_of_a_page_is_found_and_a_page_stays_in_its_place() {
        let mut builder = KeyIndexBuilder::new(1);
        builder.insert(b"key", 0);
        let (header, payload) = builder.finish(&IDS, 1).unwrap();
        let page = &payload[KEY_INDEX_HEADER_SIZE..];
        let table = header.table(&IDS);
        let decode = |page: &[u8], number| table.decode_page(number, page).map(|page| page.len());
        assert_eq!(decode(page, 0), Ok(1));
        assert!(decode(page, 1).is_err());
        for bit in 0..PAGE_SIZE * 8 {
            let mut flipped = page.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, 0).is_err(), "bit {bit}");
        }
        let decode_header =
            |bytes: &[u8]| KeyIndexHeader::decode(bytes, to_u64(payload.len()), &IDS);
        for bit in 0..KEY_INDEX_HEADER_SIZE * 8 {
            let mut flipped = payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_header(&flipped).is_err(), "header bit {bit}");
        }
    }
}
