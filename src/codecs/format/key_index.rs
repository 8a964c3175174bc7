//! The key index, which maps a key to its block: a hash table in pages. FORMAT.md 5.8.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use byteorder::{ByteOrder as _, LittleEndian};

use crate::codecs::format::bytes::{ByteReader, check_bound, check_count};
use crate::codecs::format::checksum::{check_crc, index_hash, seeded_crc32};
use crate::codecs::format::ids::SegmentIds;
use crate::codecs::format::layout::{KEY_INDEX_HEADER_SIZE, PAGE_HEADER_SIZE, PAGE_SIZE};
use crate::words::defect::{Defect, Structure};
use crate::words::error::{Error, ErrorKind};
use crate::words::units::to_u64;

/// The shape of a key index. The TOC repeats it, so that a look-up reads a single page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyIndexShape {
    /// Seed of the index hash.
    pub seed: u64,
    /// Number of pages; 0 only in a segment without records.
    pub page_count: u32,
    /// Size of a page in bytes.
    pub page_size: u32,
    /// Width of a block number in bytes, 2 or 4.
    pub block_number_width: u8,
}

impl KeyIndexShape {
    /// Returns the page and the fingerprint of a key.
    pub fn place(&self, key: &[u8]) -> (u32, u16) {
        place(index_hash(key, self.seed), self.page_count)
    }

    /// Returns the total size of the pages in bytes.
    pub fn pages_len(&self) -> u64 {
        u64::from(self.page_count).saturating_mul(self.page_size.into())
    }

    /// Checks the fields that have few legal values.
    ///
    /// # Errors
    ///
    /// - `IllegalValue`: a field has another value.
    pub fn check(&self, structure: Structure) -> Result<(), Defect> {
        let illegal = |field, stored| {
            Err(Defect::IllegalValue {
                structure,
                field,
                stored,
            })
        };
        if to_u64(PAGE_SIZE) != u64::from(self.page_size) {
            return illegal("page_size", self.page_size.into());
        }
        if !matches!(self.block_number_width, 2 | 4) {
            return illegal("block_number_width", self.block_number_width.into());
        }
        Ok(())
    }

    fn entry_size(&self) -> usize {
        usize::from(self.block_number_width).saturating_add(2)
    }

    fn page_capacity(&self) -> usize {
        PAGE_SIZE
            .saturating_sub(PAGE_HEADER_SIZE)
            .checked_div(self.entry_size())
            .unwrap_or(0)
    }
}

/// Splits an index hash into a page below `page_count` and a fingerprint.
fn place(hash: u128, page_count: u32) -> (u32, u16) {
    let high = hash >> 64;
    // (2^64 - 1) * page_count / 2^64 is below page_count.
    let page = high.wrapping_mul(page_count.into()) >> 64;
    let [low, second, ..] = hash.to_le_bytes();
    (
        u32::try_from(page).unwrap_or(0),
        u16::from_le_bytes([low, second]),
    )
}

/// The header of a key index frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIndexHeader {
    /// Number of entries; one per record.
    pub entry_count: u64,
    /// The shape of the index.
    pub shape: KeyIndexShape,
}

impl KeyIndexHeader {
    fn encode(&self, ids: &SegmentIds) -> Vec<u8> {
        let mut header = Vec::with_capacity(KEY_INDEX_HEADER_SIZE);
        header.extend_from_slice(&self.entry_count.to_le_bytes());
        header.extend_from_slice(&self.shape.seed.to_le_bytes());
        header.extend_from_slice(&self.shape.page_count.to_le_bytes());
        header.extend_from_slice(&self.shape.page_size.to_le_bytes());
        header.push(self.shape.block_number_width);
        header.extend_from_slice(&[0; 3]);
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
        let entry_count = reader.u64()?;
        let shape = KeyIndexShape {
            seed: reader.u64()?,
            page_count: reader.u32()?,
            page_size: reader.u32()?,
            block_number_width: reader.u8()?,
        };
        let reserved = reader.bytes(3)?;
        check_crc(
            structure,
            reader.u32()?,
            seeded_crc32(ids.segment, &[covered]),
        )?;
        if reserved.iter().any(|&byte| byte != 0) {
            return Err(Defect::ReservedNotZero {
                structure,
                field: "field at offset 25",
            });
        }
        shape.check(structure)?;
        let len = shape
            .pages_len()
            .saturating_add(to_u64(KEY_INDEX_HEADER_SIZE));
        check_count(structure, "payload length", len, stored_len)?;
        Ok(Self { entry_count, shape })
    }
}

/// One checked page.
#[derive(Clone, Copy, Debug)]
pub struct KeyIndexPage<'a> {
    entries: &'a [u8],
    entry_size: usize,
}

impl<'a> KeyIndexPage<'a> {
    /// Checks a page (X1, X3).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode(
        page: &'a [u8],
        number: u32,
        shape: &KeyIndexShape,
        ids: &SegmentIds,
        block_count: u64,
    ) -> Result<Self, Defect> {
        let structure = Structure::KeyIndexPage;
        let mut reader = ByteReader::new(page, structure);
        let stored = reader.u32()?;
        let computed = seeded_crc32(ids.segment, &[&number.to_le_bytes(), reader.rest()]);
        check_crc(structure, stored, computed)?;
        let entry_count = usize::from(reader.u16()?);
        reader.reserved(2, "field at offset 6")?;
        let entry_size = shape.entry_size();
        let entries = reader.bytes(entry_count.saturating_mul(entry_size))?;
        reader.reserved(reader.rest().len(), "padding")?;
        let decoded = Self {
            entries,
            entry_size,
        };
        if block_count == 0 {
            let entry_count = to_u64(decoded.len());
            check_count(structure, "entry_count", entry_count, 0)?;
        }
        let mut last = None;
        for (fingerprint, block) in decoded.entries() {
            // The binary search of a look-up would miss entries that are out of order.
            if last > Some((fingerprint, block)) {
                return Err(Defect::IllegalValue {
                    structure,
                    field: "fingerprint out of order",
                    stored: fingerprint.into(),
                });
            }
            last = Some((fingerprint, block));
            // The greatest legal number is one less than the count.
            let bound = block_count.saturating_sub(1);
            check_bound(structure, "block number", block.into(), bound)?;
        }
        Ok(decoded)
    }

    /// Returns the number of entries in this page.
    pub fn len(&self) -> usize {
        self.entries.len().checked_div(self.entry_size).unwrap_or(0)
    }

    /// Returns whether this page has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Visits the fingerprints with their block numbers.
    pub fn entries(&self) -> impl Iterator<Item = (u16, u32)> + use<'a> {
        self.entries
            .chunks_exact(self.entry_size)
            .filter_map(decode_entry)
    }

    /// Visits the blocks that may hold a key with this fingerprint, each once.
    pub fn candidates(&self, fingerprint: u16) -> impl Iterator<Item = u32> + use<'a> {
        let mut last = None;
        // Entries are sorted, so a binary search locates the first.
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.entry(middle) {
                Some((stored, _)) if stored < fingerprint => low = middle.saturating_add(1),
                Some(_) | None => high = middle,
            }
        }
        let page = *self;
        (low..self.len())
            .map_while(move |index| page.entry(index))
            .take_while(move |&(stored, _)| stored == fingerprint)
            .filter_map(move |(_, block)| {
                let is_new = last != Some(block);
                last = Some(block);
                is_new.then_some(block)
            })
    }

    fn entry(&self, index: usize) -> Option<(u16, u32)> {
        let start = index.checked_mul(self.entry_size)?;
        decode_entry(
            self.entries
                .get(start..start.checked_add(self.entry_size)?)?,
        )
    }
}

fn decode_entry(entry: &[u8]) -> Option<(u16, u32)> {
    let (fingerprint, block) = entry.split_first_chunk::<2>()?;
    let block = match *block {
        [a, b] => u32::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => return None,
    };
    Some((u16::from_le_bytes(*fingerprint), block))
}

/// A whole key index, checked once for many look-ups.
#[derive(Debug)]
pub struct KeyIndex<'a> {
    shape: KeyIndexShape,
    pages: Vec<KeyIndexPage<'a>>,
}

impl<'a> KeyIndex<'a> {
    /// Checks the payload of a frame page by page (X1 to X4). The error includes the
    /// offset in the payload.
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode(
        payload: &'a [u8],
        ids: &SegmentIds,
        block_count: u64,
    ) -> Result<Self, (u64, Defect)> {
        let stored_len = to_u64(payload.len());
        let header = KeyIndexHeader::decode(payload, stored_len, ids).map_err(|d| (0, d))?;
        let mut pages = Vec::new();
        let mut entry_count: u64 = 0;
        let mut offset = to_u64(KEY_INDEX_HEADER_SIZE);
        let rest = payload.get(KEY_INDEX_HEADER_SIZE..).unwrap_or_default();
        for (number, page) in (0_u32..).zip(rest.chunks_exact(PAGE_SIZE)) {
            let page = KeyIndexPage::decode(page, number, &header.shape, ids, block_count);
            let page = page.map_err(|defect| (offset, defect))?;
            entry_count = entry_count.saturating_add(to_u64(page.len()));
            offset = offset.saturating_add(to_u64(PAGE_SIZE));
            pages.push(page);
        }
        let field = "sum of the pages' entries";
        check_count(Structure::KeyIndex, field, header.entry_count, entry_count)
            .map_err(|defect| (0, defect))?;
        Ok(Self {
            shape: header.shape,
            pages,
        })
    }

    /// Returns the shape, to be compared with the TOC's.
    pub fn shape(&self) -> KeyIndexShape {
        self.shape
    }

    /// Returns the number of entries in all pages.
    pub fn len(&self) -> usize {
        self.pages
            .iter()
            .map(KeyIndexPage::len)
            .fold(0, usize::saturating_add)
    }

    /// Returns whether the index has no entries.
    pub fn is_empty(&self) -> bool {
        self.pages.iter().all(KeyIndexPage::is_empty)
    }

    /// Returns whether a look-up of the key leads to this block.
    pub fn leads_to(&self, key: &[u8], block: u32) -> bool {
        let (page, fingerprint) = self.shape.place(key);
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
    /// Average fill of a page in percent. With this margin, the spread of a random hash
    /// does not overfill any of millions of pages.
    const FILL_PERCENT: usize = 80;
    /// How many page counts to try, each some pages greater, before giving up.
    const TRY_COUNT_MAX: u32 = 32;

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

    /// Returns an upper bound of the payload's length in bytes with `extra` more keys.
    pub fn payload_len_max(&self, extra: usize) -> u64 {
        // Assume the widest entries, and a tenth more pages for another try.
        const CAPACITY: usize = (PAGE_SIZE.saturating_sub(PAGE_HEADER_SIZE)) / 6;
        let fill = CAPACITY.saturating_mul(Self::FILL_PERCENT) / 100;
        let pages = self.len().saturating_add(extra).div_ceil(fill);
        let pages = pages.saturating_add(pages / 10).saturating_add(1);
        to_u64(
            pages
                .saturating_mul(PAGE_SIZE)
                .saturating_add(KEY_INDEX_HEADER_SIZE),
        )
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
    /// - `LimitExceeded`: a page overflows whatever the page count is, which a random
    ///   seed rules out.
    pub fn finish(
        &self,
        ids: &SegmentIds,
        block_count: u32,
    ) -> Result<(KeyIndexHeader, Vec<u8>), Error> {
        let block_number_width = if u16::try_from(block_count).is_ok() {
            2
        } else {
            4
        };
        let mut shape = KeyIndexShape {
            seed: self.seed,
            page_count: 0,
            page_size: u32::try_from(PAGE_SIZE).unwrap_or(u32::MAX),
            block_number_width,
        };
        let fill = shape.page_capacity().saturating_mul(Self::FILL_PERCENT) / 100;
        let page_count = self.len().div_ceil(fill.max(1));
        shape.page_count = u32::try_from(page_count).unwrap_or(u32::MAX);
        for _ in 0..Self::TRY_COUNT_MAX {
            if let Some(payload) = self.encode(shape, ids) {
                let header = KeyIndexHeader {
                    entry_count: to_u64(self.len()),
                    shape,
                };
                return Ok((header, payload));
            }
            let more = (shape.page_count / 32).max(1);
            shape.page_count = shape.page_count.saturating_add(more);
        }
        Err(Error::new(ErrorKind::LimitExceeded {
            limit: "keys in one page of the key index",
            needed: to_u64(shape.page_capacity()).saturating_add(1),
            bound: to_u64(shape.page_capacity()),
        }))
    }

    /// Writes header and pages; returns `None` if a page overflows.
    fn encode(&self, shape: KeyIndexShape, ids: &SegmentIds) -> Option<Vec<u8>> {
        let mut entries: Vec<(u32, u16, u32)> = self
            .blocks
            .iter()
            .map(|(hash, &block)| {
                let (page, fingerprint) = place(hash.get(), shape.page_count);
                (page, fingerprint, block)
            })
            .collect();
        entries.sort_unstable();
        let header = KeyIndexHeader {
            entry_count: to_u64(self.len()),
            shape,
        };
        let mut payload = header.encode(ids);
        let mut rest = entries.as_slice();
        for number in 0..shape.page_count {
            let count = rest.iter().take_while(|(page, ..)| *page == number).count();
            if count > shape.page_capacity() {
                return None;
            }
            let (page, after) = rest.split_at_checked(count)?;
            encode_page(page, number, shape, ids, &mut payload);
            rest = after;
        }
        Some(payload)
    }
}

fn encode_page(
    entries: &[(u32, u16, u32)],
    number: u32,
    shape: KeyIndexShape,
    ids: &SegmentIds,
    payload: &mut Vec<u8>,
) {
    let mut page = Vec::with_capacity(PAGE_SIZE);
    let count = u16::try_from(entries.len()).unwrap_or(u16::MAX);
    page.extend_from_slice(&count.to_le_bytes());
    page.extend_from_slice(&[0; 2]);
    for (_, fingerprint, block) in entries {
        page.extend_from_slice(&fingerprint.to_le_bytes());
        let block = block.to_le_bytes();
        let width = usize::from(shape.block_number_width);
        page.extend_from_slice(block.get(..width).unwrap_or(&block));
    }
    page.resize(PAGE_SIZE.saturating_sub(4), 0);
    let crc = seeded_crc32(ids.segment, &[&number.to_le_bytes(), &page]);
    payload.extend_from_slice(&crc.to_le_bytes());
    payload.extend_from_slice(&page);
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

    fn page_of<'a>(header: &KeyIndexHeader, payload: &'a [u8], page: u32) -> KeyIndexPage<'a> {
        let start = KEY_INDEX_HEADER_SIZE + usize::try_from(page).unwrap() * PAGE_SIZE;
        let bytes = &payload[start..start + PAGE_SIZE];
        KeyIndexPage::decode(bytes, page, &header.shape, &IDS, 100_000).unwrap()
    }

    #[test]
    fn every_key_leads_to_its_block() {
        for (key_count, block_count) in [(0, 0), (1, 1), (20_000, 300), (20_000, 70_000)] {
            let mut builder = KeyIndexBuilder::new(42);
            for key in 0..key_count {
                let block = key * block_count.max(1) / key_count.max(1);
                assert!(builder.insert(format!("key:{key}").as_bytes(), block));
                assert!(!builder.insert(format!("key:{key}").as_bytes(), block));
            }
            let bound = builder.payload_len_max(0);
            let (header, payload) = builder.finish(&IDS, block_count).unwrap();
            assert!(to_u64(payload.len()) <= bound);
            assert_eq!(
                KeyIndexHeader::decode(&payload, to_u64(payload.len()), &IDS).unwrap(),
                header
            );
            let mut probes = 0;
            for key in 0..key_count {
                let (page, fingerprint) = header.shape.place(format!("key:{key}").as_bytes());
                let block = key * block_count.max(1) / key_count.max(1);
                let candidates: Vec<u32> = page_of(&header, &payload, page)
                    .candidates(fingerprint)
                    .collect();
                assert!(candidates.contains(&block), "key:{key}");
                probes += candidates.len();
            }
            // Few of some hundred entries share a 16-bit fingerprint.
            assert!(probes <= usize::try_from(key_count + key_count / 20).unwrap());
        }
    }

    #[test]
    fn a_page_whose_entries_are_not_in_order_is_refused() {
        let shape = KeyIndexShape {
            seed: 0,
            page_count: 1,
            page_size: 4096,
            block_number_width: 2,
        };
        let decode = |entries: &[(u32, u16, u32)]| {
            let mut page = Vec::new();
            encode_page(entries, 0, shape, &IDS, &mut page);
            KeyIndexPage::decode(&page, 0, &shape, &IDS, 9).map(|page| page.len())
        };
        // Two keys of one block may have the same fingerprint.
        assert_eq!(decode(&[(0, 1, 3), (0, 1, 3), (0, 2, 0)]), Ok(3));
        for unordered in [[(0, 2, 0), (0, 1, 3)], [(0, 1, 3), (0, 1, 2)]] {
            assert_eq!(decode(&unordered).unwrap_err().code(), "MCS007");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_page_is_found_and_a_page_stays_in_its_place() {
        let mut builder = KeyIndexBuilder::new(1);
        builder.insert(b"key", 0);
        let (header, payload) = builder.finish(&IDS, 1).unwrap();
        let page = &payload[KEY_INDEX_HEADER_SIZE..];
        let decode = |page: &[u8], number| {
            KeyIndexPage::decode(page, number, &header.shape, &IDS, 1).map(|page| page.len())
        };
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
