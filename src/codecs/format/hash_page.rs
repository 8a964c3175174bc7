//! Pages of a hash table that maps keys to numbers: each has a checksum of its own, so
//! that a look-up reads one page and nothing else. FORMAT.md 5.8.

use crate::codecs::format::bits::{BitReader, BitWriter, low_bits};
use crate::codecs::format::bytes::{ByteReader, check_bound, check_count};
use crate::codecs::format::checksum::{check_crc, index_hash, seeded_crc32_of};
use crate::codecs::format::layout::PAGE_SIZE;
use crate::words::defect::{Defect, Structure};
use crate::words::units::to_u64;

/// A table: what its pages have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashTable {
    /// What each page's checksum starts with: the id of the file it stands in.
    pub id: [u8; 16],
    /// Seed of the hash.
    pub seed: u64,
    /// Number of pages; 0 only without keys.
    pub page_count: u32,
    /// Bits of the hash that an entry has, at most 32.
    pub fingerprint_bits: u32,
    /// The numbers are below this.
    pub number_count: u64,
    /// What a page is called in defects.
    pub structure: Structure,
}

/// An entry of a page: the fingerprint of a key, and its number.
pub type Entry = (u32, u32);

impl HashTable {
    /// Bits of a page that entries can take.
    const PAGE_BITS: u64 = 8 * (4096 - 8);

    /// Returns the page and the fingerprint of a key.
    pub fn place(&self, key: &[u8]) -> (u32, u32) {
        self.place_of(index_hash(key, self.seed))
    }

    /// Returns the page and the fingerprint of a key with this hash.
    pub fn place_of(&self, hash: u128) -> (u32, u32) {
        let high = hash >> 64;
        // (2^64 - 1) * page_count / 2^64 is below page_count.
        let page = high.wrapping_mul(self.page_count.into()) >> 64;
        let [a, b, c, d, ..] = hash.to_le_bytes();
        let low = u32::from_le_bytes([a, b, c, d]);
        let bits = self.fingerprint_bits.min(32);
        let mask = u32::MAX
            .checked_shr(32_u32.saturating_sub(bits))
            .unwrap_or(0);
        (u32::try_from(page).unwrap_or(0), low & mask)
    }

    /// Returns how many bits a number takes: enough for the greatest.
    pub fn number_bits(&self) -> u32 {
        let greatest = self.number_count.saturating_sub(1);
        u64::BITS.saturating_sub(greatest.leading_zeros()).min(32)
    }

    /// Returns how many pages to try first for this many keys, and, after each time that
    /// a page was too full, the next count.
    pub fn page_counts(&self, key_count: u64) -> impl Iterator<Item = u32> + use<> {
        let capacity = self.page_capacity();
        let mut pages = key_count.div_ceil(capacity);
        if pages > 1 {
            // Keys spread as by chance: with this margin, hardly a page of all is too full.
            let spread = u64::from(8_u32.saturating_add(pages.ilog2()));
            let margin = capacity.isqrt().saturating_mul(spread) / 4;
            pages = key_count.div_ceil(capacity.saturating_sub(margin).max(1));
        }
        std::iter::successors(Some(pages), |pages| {
            Some(pages.saturating_add((pages / 64).max(1)))
        })
        .map(|pages| u32::try_from(pages).unwrap_or(u32::MAX))
    }

    /// Returns how many entries a page takes, however their fingerprints lie.
    pub fn page_capacity(&self) -> u64 {
        // Between two powers of two the gaps have as many bits, so that each entry takes
        // the same.
        let fit = |power: u32| {
            let least = 1_u64 << power;
            let gap_bits = self.gap_bits(least);
            let left = Self::PAGE_BITS.checked_sub(self.ones_max(gap_bits))?;
            let count = left.checked_div(self.entry_bits(gap_bits))?;
            (count >= least).then(|| count.min(least.saturating_mul(2).saturating_sub(1)))
        };
        (0..15).rev().find_map(fit).unwrap_or(1)
    }

    /// Returns the bits below the run of ones that make the entries shortest, give or
    /// take one.
    fn gap_bits(&self, count: u64) -> u32 {
        let bits = self.fingerprint_bits;
        bits.saturating_sub(count.max(1).ilog2()).saturating_sub(1)
    }

    /// Returns the bits of an entry, apart from its run of ones.
    fn entry_bits(&self, gap_bits: u32) -> u64 {
        u64::from(gap_bits)
            .saturating_add(self.number_bits().into())
            .saturating_add(1)
    }

    /// Returns how many ones the runs of all entries have at most.
    fn ones_max(&self, gap_bits: u32) -> u64 {
        let bits = self.fingerprint_bits.saturating_sub(gap_bits);
        1_u64.checked_shl(bits).unwrap_or(u64::MAX)
    }

    /// Appends a page of these entries, which are sorted. Returns false and appends
    /// nothing if they are too many.
    pub fn encode_page(&self, number: u32, entries: &[Entry], out: &mut Vec<u8>) -> bool {
        let (Ok(count), Ok(gap_bits)) = (
            u16::try_from(entries.len()),
            u8::try_from(self.gap_bits(to_u64(entries.len()))),
        ) else {
            return false;
        };
        let number_bits = self.number_bits();
        let mut bits = BitWriter::default();
        let mut last = 0;
        for &(fingerprint, target) in entries {
            let gap = u64::from(fingerprint.saturating_sub(last));
            last = fingerprint;
            bits.unary(gap >> gap_bits);
            bits.number(gap & low_bits(gap_bits.into()), gap_bits.into());
            bits.number(target.into(), number_bits);
        }
        let mut page = Vec::with_capacity(PAGE_SIZE);
        page.extend_from_slice(&count.to_le_bytes());
        page.extend_from_slice(&[gap_bits, 0]);
        page.extend_from_slice(&bits.finish());
        let len = PAGE_SIZE.saturating_sub(4);
        if page.len() > len {
            return false;
        }
        page.resize(len, 0);
        let crc = seeded_crc32_of(self.id, &[&number.to_le_bytes(), &page]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&page);
        true
    }

    /// Checks a page (X1, X3).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode_page(&self, number: u32, page: &[u8]) -> Result<HashPage, Defect> {
        let structure = self.structure;
        let mut reader = ByteReader::new(page, structure);
        let stored = reader.u32()?;
        let computed = seeded_crc32_of(self.id, &[&number.to_le_bytes(), reader.rest()]);
        check_crc(structure, stored, computed)?;
        let entry_count = u64::from(reader.u16()?);
        let gap_bits = u32::from(reader.u8()?);
        reader.reserved(1, "field at offset 7")?;
        if self.number_count == 0 {
            check_count(structure, "entry_count", entry_count, 0)?;
        }
        let illegal = |field, stored| {
            Err(Defect::IllegalValue {
                structure,
                field,
                stored,
            })
        };
        if gap_bits > self.fingerprint_bits {
            return illegal("gap_bits", gap_bits.into());
        }
        let number_bits = self.number_bits();
        let mut bits = BitReader::new(reader.rest());
        // Each entry has one bit at least, so that no more is set aside than there can be.
        let len = usize::try_from(entry_count).unwrap_or(0).min(bits.left());
        let mut entries: Vec<Entry> = Vec::with_capacity(len);
        let mut fingerprint: u64 = 0;
        for _ in 0..entry_count {
            let next = bits
                .unary()
                .zip(bits.number(gap_bits))
                .zip(bits.number(number_bits));
            let Some(((high, low), target)) = next else {
                return Err(Defect::Truncated {
                    structure,
                    needed: entry_count,
                    found: to_u64(entries.len()),
                });
            };
            // There are fewer ones than bits in a page, far below 2^31.
            let gap = high.checked_shl(gap_bits).unwrap_or(u64::MAX) | low;
            fingerprint = fingerprint.saturating_add(gap);
            if fingerprint >> self.fingerprint_bits != 0 {
                return illegal("fingerprint", fingerprint);
            }
            // The greatest legal number is one less than the count.
            let bound = self.number_count.saturating_sub(1);
            check_bound(structure, "block number", target, bound)?;
            // Both fit, as has been checked.
            let entry = (
                u32::try_from(fingerprint).unwrap_or(u32::MAX),
                u32::try_from(target).unwrap_or(u32::MAX),
            );
            if entries.last().is_some_and(|last| *last > entry) {
                return illegal("block number out of order", target);
            }
            entries.push(entry);
        }
        if !bits.is_rest_zero() {
            return Err(Defect::ReservedNotZero {
                structure,
                field: "padding",
            });
        }
        Ok(HashPage { entries })
    }
}

/// A checked page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPage {
    entries: Vec<Entry>,
}

impl HashPage {
    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the entries, sorted.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Visits the numbers that a key with this fingerprint may have, each once.
    pub fn candidates(&self, fingerprint: u32) -> impl Iterator<Item = u32> + '_ {
        let start = self.entries.partition_point(|entry| entry.0 < fingerprint);
        let mut last = None;
        let entries = self.entries.get(start..).unwrap_or_default().iter();
        entries
            .take_while(move |entry| entry.0 == fingerprint)
            .filter_map(move |&(_, number)| {
                let is_new = last != Some(number);
                last = Some(number);
                is_new.then_some(number)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fingerprint_bits: u32, number_count: u64) -> HashTable {
        HashTable {
            id: [7; 16],
            seed: 1,
            page_count: 1,
            fingerprint_bits,
            number_count,
            structure: Structure::KeyIndexPage,
        }
    }

    fn page(table: &HashTable, entries: &[Entry]) -> Option<Vec<u8>> {
        let mut page = Vec::new();
        table.encode_page(3, entries, &mut page).then_some(page)
    }

    #[test]
    fn a_page_takes_its_capacity_wherever_the_entries_lie() {
        for (bits, numbers) in [(17, 1), (17, 1000), (19, 1 << 20), (17, 1 << 32), (8, 9)] {
            let table = table(bits, numbers);
            let count = u32::try_from(table.page_capacity()).unwrap();
            let (space, last) = (1_u32 << bits, u32::try_from(numbers - 1).unwrap());
            let spread = |index: u32| {
                let place = u64::from(index) * u64::from(space) / u64::from(count);
                u32::try_from(place).unwrap()
            };
            let places: [&dyn Fn(u32) -> u32; 3] = [&spread, &|_| 0, &|_| space - 1];
            for place in places {
                let entries: Vec<Entry> = (0..count).map(|index| (place(index), last)).collect();
                let page = page(&table, &entries).unwrap();
                assert_eq!(page.len(), PAGE_SIZE);
                let decoded = table.decode_page(3, &page).unwrap();
                assert_eq!(decoded.entries(), entries);
                assert!(table.decode_page(2, &page).is_err());
            }
        }
        let (narrow, wide) = (table(17, 1000), table(17, 1 << 32));
        assert!(
            (1700..1900).contains(&narrow.page_capacity()),
            "{}",
            narrow.page_capacity()
        );
        assert!(
            (700..900).contains(&wide.page_capacity()),
            "{}",
            wide.page_capacity()
        );
    }

    #[test]
    fn an_unsorted_page_and_one_that_is_cut_are_refused() {
        let table = table(17, 9);
        let decode = |entries: &[Entry]| table.decode_page(3, &page(&table, entries).unwrap());
        // Two keys of one block may have the same fingerprint.
        let equal = decode(&[(1, 3), (1, 3), (2, 0)]).unwrap();
        assert_eq!(equal.candidates(1).collect::<Vec<_>>(), [3]);
        assert_eq!(equal.candidates(2).collect::<Vec<_>>(), [0]);
        assert_eq!(equal.candidates(3).count(), 0);
        assert_eq!(decode(&[(1, 3), (1, 2)]).unwrap_err().code(), "MCS007");
        assert_eq!(decode(&[(1, 9)]).unwrap_err().code(), "MCS008");
        let sealed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = page(&table, &[(5, 1), (9, 2)]).unwrap();
            change(&mut bytes);
            let crc = seeded_crc32_of(table.id, &[&3_u32.to_le_bytes(), &bytes[4..]]);
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
            table.decode_page(3, &bytes).map(|page| page.len())
        };
        assert_eq!(sealed(&|_| {}), Ok(2));
        for (offset, value, code) in [
            (6, 18, "MCS007"),
            (7, 1, "MCS004"),
            (4095, 0x80, "MCS004"),
            // What is left of the page is 0: entries of the first block.
            (5, 0xff, "MCS007"),
        ] {
            let changed = sealed(&|bytes| bytes[offset] = value);
            assert_eq!(changed.unwrap_err().code(), code, "{offset}");
        }
        let without_end = sealed(&|bytes| bytes[8..].fill(0xff));
        assert_eq!(without_end.unwrap_err().code(), "MCS001");
    }

    #[test]
    fn page_counts_leave_room_and_grow() {
        let table = table(17, 1000);
        let counts = |keys| table.page_counts(keys).take(3).collect::<Vec<_>>();
        assert_eq!(counts(0), [0, 1, 2]);
        assert_eq!(counts(1), [1, 2, 3]);
        assert_eq!(counts(table.page_capacity())[0], 1);
        let [first, second, third] = counts(10_000_000)[..] else {
            panic!();
        };
        let fill = 10_000_000 * 100 / u64::from(first) / table.page_capacity();
        assert!((80..95).contains(&fill), "{fill} %");
        assert!(first < second && second < third);
    }
}
