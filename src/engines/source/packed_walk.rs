//! A compact form of a listing's items, so that many fit into memory.
//!
//! A walk line is some 80 bytes, mostly names of fields and digits that the lines before
//! had too. Here each field has a column of its own, numbers that change little from item
//! to item are stored as differences, and the columns are compressed together. That takes
//! 9 bytes for a key of 12 (1.6.18, walked by hash).

use zstd::bulk::{Compressor, decompress};

use crate::codecs::protocol::metadump::WalkItem;
use crate::words::error::{Error, Result};
use crate::words::item::Exptime;
use crate::words::units::UnixSecs;

/// What one line of a listing holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walked<'a> {
    /// An item. The meaning of its exptime depends on the form of the listing.
    Item {
        /// The key as the server has it.
        key: &'a [u8],
        /// The other fields.
        item: WalkItem,
    },
    /// A line that cannot be parsed, without its line end.
    Broken(&'a [u8]),
}

/// Some items of a listing in compact form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedWalk {
    bytes: Vec<u8>,
    raw_len: usize,
}

/// The columns; each has one number or text for an item.
#[derive(Debug)]
enum Column {
    /// Which fields an item has.
    Marks,
    /// Lengths of keys and of lines that could not be parsed.
    Lens,
    /// The keys and those lines.
    Texts,
    Exptimes,
    Accesses,
    Cas,
    Classes,
    Sizes,
    Flags,
    ValueLens,
}

const COLUMN_COUNT: usize = 10;

const HAS_EXPTIME: u64 = 1;
const IS_NEVER: u64 = 1 << 1;
const HAS_ACCESS: u64 = 1 << 2;
const HAS_CAS: u64 = 1 << 3;
const TELLS_FETCHED: u64 = 1 << 4;
const IS_FETCHED: u64 = 1 << 5;
const HAS_CLASS: u64 = 1 << 6;
const HAS_SIZE: u64 = 1 << 7;
const HAS_FLAGS: u64 = 1 << 8;
const HAS_VALUE_LEN: u64 = 1 << 9;
const IS_BROKEN: u64 = 1 << 10;

/// Packs items one by one.
pub struct WalkPacker {
    compressor: Compressor<'static>,
    columns: [Vec<u8>; COLUMN_COUNT],
    before: Before,
}

impl std::fmt::Debug for WalkPacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalkPacker").finish_non_exhaustive()
    }
}

/// The previous item's numbers, for the columns of differences.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    exptime: u64,
    access: u64,
    cas: u64,
}

impl WalkPacker {
    /// The fastest level; higher levels gain little here.
    const LEVEL: i32 = 1;

    /// Creates a packer.
    ///
    /// # Errors
    ///
    /// - `Internal`: zstd cannot be set up.
    pub fn new() -> Result<Self> {
        let compressor = Compressor::new(Self::LEVEL).and_then(|mut compressor| {
            compressor.include_checksum(true)?;
            Ok(compressor)
        });
        Ok(Self {
            compressor: compressor.map_err(|error| cannot_compress(&error))?,
            columns: Default::default(),
            before: Before::default(),
        })
    }

    /// Adds an item.
    pub fn push(&mut self, key: &[u8], item: &WalkItem) {
        let mut marks = 0;
        match item.exptime {
            None => {}
            Some(Exptime::Never) => marks |= HAS_EXPTIME | IS_NEVER,
            Some(Exptime::At(UnixSecs(at))) => {
                marks |= HAS_EXPTIME;
                let before = std::mem::replace(&mut self.before.exptime, at);
                self.put_difference(Column::Exptimes, before, at);
            }
        }
        if let Some(UnixSecs(at)) = item.last_access {
            marks |= HAS_ACCESS;
            let before = std::mem::replace(&mut self.before.access, at);
            self.put_difference(Column::Accesses, before, at);
        }
        if let Some(cas) = item.cas {
            marks |= HAS_CAS;
            let before = std::mem::replace(&mut self.before.cas, cas);
            self.put_difference(Column::Cas, before, cas);
        }
        match item.fetched {
            None => {}
            Some(false) => marks |= TELLS_FETCHED,
            Some(true) => marks |= TELLS_FETCHED | IS_FETCHED,
        }
        for (number, mark, column) in [
            (item.class.map(u64::from), HAS_CLASS, Column::Classes),
            (item.item_size, HAS_SIZE, Column::Sizes),
            (item.client_flags, HAS_FLAGS, Column::Flags),
            (item.value_len, HAS_VALUE_LEN, Column::ValueLens),
        ] {
            if let Some(number) = number {
                marks |= mark;
                self.put(column, number);
            }
        }
        self.put_text(marks, key);
    }

    /// Adds a line that cannot be parsed.
    pub fn push_broken(&mut self, line: &[u8]) {
        self.put_text(IS_BROKEN, line);
    }

    fn put_text(&mut self, marks: u64, text: &[u8]) {
        self.put(Column::Marks, marks);
        self.put(Column::Lens, crate::words::units::to_u64(text.len()));
        self.column(Column::Texts).extend_from_slice(text);
    }

    fn put_difference(&mut self, column: Column, before: u64, now: u64) {
        let difference = now.wrapping_sub(before);
        // Zigzag encoding: small differences of either sign become small numbers.
        let folded = (difference << 1) ^ (0_u64.wrapping_sub(difference >> 63));
        self.put(column, folded);
    }

    fn put(&mut self, column: Column, number: u64) {
        write_number(self.column(column), number);
    }

    fn column(&mut self, column: Column) -> &mut Vec<u8> {
        let [
            marks,
            lens,
            texts,
            exptimes,
            accesses,
            cas,
            classes,
            sizes,
            flags,
            value_lens,
        ] = &mut self.columns;
        match column {
            Column::Marks => marks,
            Column::Lens => lens,
            Column::Texts => texts,
            Column::Exptimes => exptimes,
            Column::Accesses => accesses,
            Column::Cas => cas,
            Column::Classes => classes,
            Column::Sizes => sizes,
            Column::Flags => flags,
            Column::ValueLens => value_lens,
        }
    }

    /// Returns what was added since the last call in compact form; `None` if nothing was.
    ///
    /// # Errors
    ///
    /// - `Internal`: zstd fails.
    pub fn finish(&mut self) -> Result<Option<PackedWalk>> {
        let [marks, ..] = &self.columns;
        if marks.is_empty() {
            return Ok(None);
        }
        let mut raw = Vec::with_capacity(self.columns.iter().map(Vec::len).sum::<usize>() + 50);
        for column in &self.columns {
            write_number(&mut raw, crate::words::units::to_u64(column.len()));
        }
        for column in &mut self.columns {
            raw.append(column);
        }
        self.before = Before::default();
        let packed = self.compressor.compress(&raw);
        let mut bytes = packed.map_err(|error| cannot_compress(&error))?;
        bytes.shrink_to_fit();
        Ok(Some(PackedWalk {
            bytes,
            raw_len: raw.len(),
        }))
    }
}

impl PackedWalk {
    /// Returns the compressed bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the uncompressed length, which the bytes do not contain.
    pub fn raw_len(&self) -> usize {
        self.raw_len
    }

    /// Rebuilds a packed walk from bytes that were stored elsewhere.
    pub fn of_parts(bytes: Vec<u8>, raw_len: usize) -> Self {
        Self { bytes, raw_len }
    }

    /// Calls `visit` with the items in the order in which they were added.
    ///
    /// # Errors
    ///
    /// - `Internal`: the bytes are not what was packed.
    /// - Whatever `visit` returns.
    pub fn visit(&self, visit: &mut dyn FnMut(Walked<'_>) -> Result<()>) -> Result<()> {
        let changed = || Error::internal("a list of keys is not what was kept of it");
        let raw =
            decompress(&self.bytes, self.raw_len).map_err(|error| changed().caused_by(error))?;
        let mut columns = Columns::split(&raw).ok_or_else(changed)?;
        while !columns.is_at_end() {
            visit(columns.next().ok_or_else(changed)?)?;
        }
        Ok(())
    }
}

fn cannot_compress(error: &std::io::Error) -> Error {
    Error::internal(format!("a list of keys cannot be compressed: {error}"))
}

/// The reader's position in each column.
struct Columns<'a> {
    columns: [&'a [u8]; COLUMN_COUNT],
    before: Before,
}

impl<'a> Columns<'a> {
    fn split(raw: &'a [u8]) -> Option<Self> {
        let mut rest = raw;
        let mut lens = [0; COLUMN_COUNT];
        for len in &mut lens {
            *len = usize::try_from(read_number(&mut rest)?).ok()?;
        }
        let mut columns: [&[u8]; COLUMN_COUNT] = [&[]; COLUMN_COUNT];
        for (column, len) in columns.iter_mut().zip(lens) {
            (*column, rest) = rest.split_at_checked(len)?;
        }
        Some(Self {
            columns,
            before: Before::default(),
        })
    }

    fn is_at_end(&self) -> bool {
        let [marks, ..] = &self.columns;
        marks.is_empty()
    }

    fn next(&mut self) -> Option<Walked<'a>> {
        let [
            marks,
            lens,
            texts,
            exptimes,
            accesses,
            cas,
            classes,
            sizes,
            flags,
            value_lens,
        ] = &mut self.columns;
        let marks = read_number(marks)?;
        let len = usize::try_from(read_number(lens)?).ok()?;
        let (text, rest) = texts.split_at_checked(len)?;
        *texts = rest;
        if marks & IS_BROKEN != 0 {
            return Some(Walked::Broken(text));
        }
        let has = |mark| marks & mark != 0;
        let mut item = WalkItem {
            fetched: has(TELLS_FETCHED).then(|| has(IS_FETCHED)),
            ..WalkItem::default()
        };
        if has(IS_NEVER) {
            item.exptime = Some(Exptime::Never);
        } else if has(HAS_EXPTIME) {
            let at = read_difference(exptimes, &mut self.before.exptime)?;
            item.exptime = Some(Exptime::At(UnixSecs(at)));
        }
        if has(HAS_ACCESS) {
            let at = read_difference(accesses, &mut self.before.access)?;
            item.last_access = Some(UnixSecs(at));
        }
        if has(HAS_CAS) {
            item.cas = Some(read_difference(cas, &mut self.before.cas)?);
        }
        if has(HAS_CLASS) {
            item.class = Some(u8::try_from(read_number(classes)?).ok()?);
        }
        if has(HAS_SIZE) {
            item.item_size = Some(read_number(sizes)?);
        }
        if has(HAS_FLAGS) {
            item.client_flags = Some(read_number(flags)?);
        }
        if has(HAS_VALUE_LEN) {
            item.value_len = Some(read_number(value_lens)?);
        }
        Some(Walked::Item { key: text, item })
    }
}

fn read_difference(column: &mut &[u8], before: &mut u64) -> Option<u64> {
    let folded = read_number(column)?;
    let difference = (folded >> 1) ^ 0_u64.wrapping_sub(folded & 1);
    *before = before.wrapping_add(difference);
    Some(*before)
}

/// Writes seven bits in a byte, the lowest first; only the last byte is below 128.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codecs::protocol::metadump::parse_item;

    #[derive(Clone, Debug)]
    enum Entry {
        Item(Vec<u8>, WalkItem),
        Broken(Vec<u8>),
    }

    fn unpack(packed: &PackedWalk) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        packed.visit(&mut |walked| {
            entries.push(match walked {
                Walked::Item { key, item } => Entry::Item(key.to_vec(), item),
                Walked::Broken(line) => Entry::Broken(line.to_vec()),
            });
            Ok(())
        })?;
        Ok(entries)
    }

    fn pack(packer: &mut WalkPacker, entries: &[Entry]) -> Option<PackedWalk> {
        for entry in entries {
            match entry {
                Entry::Item(key, item) => packer.push(key, item),
                Entry::Broken(line) => packer.push_broken(line),
            }
        }
        packer.finish().unwrap()
    }

    fn some_item() -> impl Strategy<Value = WalkItem> {
        let exptime = prop::option::of(prop_oneof![
            Just(Exptime::Never),
            any::<u64>().prop_map(|at| Exptime::At(UnixSecs(at)))
        ]);
        let numbers = (
            any::<Option<u64>>(),
            any::<Option<u64>>(),
            any::<Option<u64>>(),
            any::<Option<u64>>(),
            any::<Option<u64>>(),
        );
        let small = (any::<Option<bool>>(), any::<Option<u8>>());
        (exptime, numbers, small).prop_map(|(exptime, numbers, (fetched, class))| {
            let (last_access, cas, item_size, client_flags, value_len) = numbers;
            WalkItem {
                exptime,
                last_access: last_access.map(UnixSecs),
                cas,
                fetched,
                class,
                item_size,
                client_flags,
                value_len,
            }
        })
    }

    fn some_entry() -> impl Strategy<Value = Entry> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..=250);
        prop_oneof![
            4 => (bytes(), some_item()).prop_map(|(key, item)| Entry::Item(key, item)),
            1 => bytes().prop_map(Entry::Broken),
        ]
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(lists in prop::collection::vec(prop::collection::vec(some_entry(), 0..40), 1..3)) {
            let mut packer = WalkPacker::new().unwrap();
            for entries in lists {
                let packed = pack(&mut packer, &entries);
                prop_assert_eq!(packed.is_none(), entries.is_empty());
                let Some(packed) = packed else { continue };
                let kept = PackedWalk::of_parts(packed.bytes().to_vec(), packed.raw_len());
                prop_assert_eq!(format!("{:?}", unpack(&kept).unwrap()), format!("{entries:?}"));
            }
        }

        #[test]
        fn what_was_changed_is_an_error(at: prop::sample::Index, bit in 0..8_u32) {
            let mut packer = WalkPacker::new().unwrap();
            let entries = vec![Entry::Item(b"a key".to_vec(), WalkItem::default()); 40];
            let packed = pack(&mut packer, &entries).unwrap();
            let mut bytes = packed.bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let changed = PackedWalk::of_parts(bytes, packed.raw_len());
            // Some bits of a zstd frame have no meaning; changing them must change
            // nothing.
            if let Ok(unpacked) = unpack(&changed) {
                prop_assert_eq!(format!("{unpacked:?}"), format!("{entries:?}"));
            }
        }

        #[test]
        fn arbitrary_columns_never_panic(raw in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut columns = Columns::split(&raw);
            while let Some(columns) = &mut columns && !columns.is_at_end() {
                if columns.next().is_none() {
                    break;
                }
            }
        }
    }

    /// For eight nodes side by side within 128 MiB, a backlog of well over a million keys
    /// per node must fit: below 13 bytes a key.
    #[test]
    fn short_keys_of_a_real_listing_take_few_bytes() {
        const CHUNK_LINE_COUNT: u64 = 700;
        let mut packer = WalkPacker::new().unwrap();
        let mut key = Vec::new();
        let (mut len, mut count) = (0, 0);
        for chunk in 0..100 {
            for line in 0..CHUNK_LINE_COUNT {
                count += 1;
                // In random order, as `hash` lists four million keys.
                let number =
                    xxhash_rust::xxh3::xxh3_64(&(chunk * CHUNK_LINE_COUNT + line).to_le_bytes());
                let line = format!(
                    "key=key%3A{} exp=-1 la={} cas={} fetch=no cls=1 size={} flags=0",
                    number % 4_000_000,
                    1_700_000_000 + number % 11,
                    5_000_000 + number % 4_000_000,
                    70 + number % 3,
                );
                let item = parse_item(line.as_bytes(), &mut key).unwrap();
                packer.push(&key, &item);
            }
            len += packer.finish().unwrap().unwrap().bytes().len();
        }
        let per_key =
            f64::from(u32::try_from(len).unwrap()) / f64::from(u32::try_from(count).unwrap());
        assert!(per_key < 13.0, "{per_key} bytes a key");
    }
}
