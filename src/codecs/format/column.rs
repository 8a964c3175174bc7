//! The keys and metadata of a block, in columns. FORMAT.md 5.6.

use std::ops::Range;

use byteorder::{ByteOrder, LittleEndian};

use crate::codecs::format::bytes::{ByteReader, check_count};
use crate::codecs::format::checksum::{EXPTIME_NEVER, exptime_to_raw};
use crate::codecs::format::layout::{COLUMN_ENTRY_SIZE, COLUMNS_HEADER_SIZE};
use crate::codecs::format::value_part::PartedValue;
use crate::codecs::statistics::RecordFacts;
use crate::words::defect::{Defect, Structure};
use crate::words::item::{Attributes, Cas, Exptime, ItemMeta, KEY_LEN_MAX, SlabClass};
use crate::words::units::{UnixSecs, to_u64};

const STRUCTURE: Structure = Structure::KeySection;

/// A column that this build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    KeyLen,
    Key,
    ValueLen,
    ValueHash,
    ClientFlags,
    Exptime,
    LastAccess,
    Cas,
    SlabClass,
    Attributes,
    ValuePlace,
}

const COLUMN_COUNT: usize = 11;

impl Column {
    const ALL: [Self; COLUMN_COUNT] = [
        Self::KeyLen,
        Self::Key,
        Self::ValueLen,
        Self::ValueHash,
        Self::ClientFlags,
        Self::Exptime,
        Self::LastAccess,
        Self::Cas,
        Self::SlabClass,
        Self::Attributes,
        Self::ValuePlace,
    ];

    fn id(self) -> u8 {
        match self {
            Self::KeyLen => 1,
            Self::Key => 2,
            Self::ValueLen => 3,
            Self::ValueHash => 4,
            Self::ClientFlags => 5,
            Self::Exptime => 6,
            Self::LastAccess => 7,
            Self::Cas => 8,
            Self::SlabClass => 9,
            Self::Attributes => 10,
            Self::ValuePlace => 11,
        }
    }

    fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.id() == id)
    }

    fn name(self) -> &'static str {
        match self {
            Self::KeyLen => "KEY_LEN",
            Self::Key => "KEY",
            Self::ValueLen => "VALUE_LEN",
            Self::ValueHash => "VALUE_HASH",
            Self::ClientFlags => "CLIENT_FLAGS",
            Self::Exptime => "EXPTIME",
            Self::LastAccess => "LAST_ACCESS",
            Self::Cas => "CAS",
            Self::SlabClass => "SLAB_CLASS",
            Self::Attributes => "ATTRIBUTES",
            Self::ValuePlace => "VALUE_PLACE",
        }
    }

    /// Returns the width in bytes per record; `None` for the keys themselves.
    fn width(self) -> Option<u64> {
        match self {
            Self::Key => None,
            Self::KeyLen | Self::SlabClass => Some(1),
            Self::Attributes => Some(2),
            Self::ValueLen => Some(4),
            Self::ValueHash
            | Self::ClientFlags
            | Self::Exptime
            | Self::LastAccess
            | Self::Cas
            | Self::ValuePlace => Some(8),
        }
    }

    fn is_required(self) -> bool {
        matches!(
            self,
            Self::KeyLen | Self::Key | Self::ValueLen | Self::ValueHash
        )
    }

    /// Returns whether a reader that does not know the column must refuse the block.
    fn is_critical(self) -> bool {
        self.is_required() || self == Self::ValuePlace
    }

    fn slot(self) -> usize {
        usize::from(self.id().saturating_sub(1))
    }
}

/// What FORMAT.md 5.6 specifies for a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Its number in the directory.
    pub id: u8,
    /// Its name in FORMAT.md.
    pub name: &'static str,
    /// Bytes per record; `None` for the keys themselves.
    pub width: Option<u64>,
    /// Whether writers set the critical bit.
    pub is_critical: bool,
}

/// Visits the columns that this build knows, in the order of their ids.
pub fn known_columns() -> impl Iterator<Item = ColumnFacts> {
    Column::ALL.into_iter().map(|column| ColumnFacts {
        id: column.id(),
        name: column.name(),
        width: column.width(),
        is_critical: column.is_critical(),
    })
}

/// Bit 0 of a column's flags: a reader that does not know the column must refuse the
/// block.
const COLUMN_CRITICAL: u8 = 1;

/// Which optional columns a record has.
///
/// All records of a block have the same optional columns; a writer starts a new block
/// when they change. The place of the value does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence(u8);

impl Presence {
    /// Returns the columns for what the server reported of an item.
    pub fn of(meta: &ItemMeta) -> Self {
        let bits = [
            meta.client_flags.is_some(),
            meta.exptime.is_some(),
            meta.last_access.is_some(),
            meta.cas.is_some(),
            meta.slab_class.is_some(),
            meta.attributes != Attributes::default(),
        ];
        Self(bits.iter().fold(0, |mask, &bit| mask << 1 | u8::from(bit)))
    }
}

/// Collects the columns of a block.
#[derive(Debug, Default)]
pub struct ColumnsBuilder {
    record_count: u32,
    presence: Option<Presence>,
    columns: [Vec<u8>; COLUMN_COUNT],
}

impl ColumnsBuilder {
    /// Most bytes that one record adds, without its key.
    pub const RECORD_LEN_MAX: usize = 1 + 4 + 6 * 8 + 1 + 2;
    /// Most bytes before the columns.
    pub const HEADER_LEN_MAX: usize =
        COLUMNS_HEADER_SIZE.saturating_add(COLUMN_COUNT.saturating_mul(COLUMN_ENTRY_SIZE));

    /// Returns the number of records so far.
    pub fn record_count(&self) -> u32 {
        self.record_count
    }

    /// Returns whether a record with this metadata may join the others.
    pub fn accepts(&self, meta: &ItemMeta) -> bool {
        self.presence
            .is_none_or(|presence| presence == Presence::of(meta))
    }

    /// Returns the bytes collected so far, an upper bound of the raw section's length.
    pub fn raw_len(&self) -> usize {
        self.columns
            .iter()
            .map(Vec::len)
            .fold(Self::HEADER_LEN_MAX, usize::saturating_add)
    }

    /// Adds a record whose value is in the block's value section. The caller must have
    /// checked [`ColumnsBuilder::accepts`].
    pub fn push(&mut self, key: &[u8], value_len: u32, value_hash: u64, meta: &ItemMeta) {
        let value = PartedValue {
            place: 0,
            len: value_len,
            hash: value_hash,
        };
        self.push_parted(key, &value, meta);
    }

    /// Adds a record whose value is stored in parts, after the parts of all earlier
    /// records.
    pub fn push_parted(&mut self, key: &[u8], value: &PartedValue, meta: &ItemMeta) {
        debug_assert!(self.accepts(meta) && !key.is_empty() && key.len() <= KEY_LEN_MAX);
        self.presence = Some(Presence::of(meta));
        self.record_count = self.record_count.saturating_add(1);
        let [
            key_lens,
            keys,
            value_lens,
            value_hashes,
            flags,
            exptimes,
            accesses,
            cases,
            classes,
            marks,
            places,
        ] = &mut self.columns;
        // The column exists from the first such value on, and then has an entry for every
        // record.
        if value.place != 0 && places.is_empty() {
            let before = value_lens.len().saturating_mul(2);
            places.resize(before, 0);
            places.extend_from_slice(&value.place.to_le_bytes());
        } else if !places.is_empty() {
            places.extend_from_slice(&value.place.to_le_bytes());
        }
        key_lens.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
        keys.extend_from_slice(key);
        value_lens.extend_from_slice(&value.len.to_le_bytes());
        value_hashes.extend_from_slice(&value.hash.to_le_bytes());
        if let Some(client_flags) = meta.client_flags {
            flags.extend_from_slice(&client_flags.to_le_bytes());
        }
        if let Some(exptime) = meta.exptime {
            exptimes.extend_from_slice(&exptime_to_raw(exptime).to_le_bytes());
        }
        if let Some(last_access) = meta.last_access {
            accesses.extend_from_slice(&last_access.0.to_le_bytes());
        }
        if let Some(cas) = meta.cas {
            cases.extend_from_slice(&cas.0.to_le_bytes());
        }
        if let Some(class) = meta.slab_class {
            classes.push(class.0);
        }
        if meta.attributes != Attributes::default() {
            let (values, known) = meta.attributes.to_bits();
            marks.extend_from_slice(&[values, known]);
        }
    }

    /// Writes the section into `raw`, which is overwritten, and starts over.
    pub fn finish(&mut self, raw: &mut Vec<u8>) {
        raw.clear();
        let present = |column: &Column, bytes: &Vec<u8>| column.is_required() || !bytes.is_empty();
        let columns = || {
            Column::ALL
                .iter()
                .zip(&self.columns)
                .filter(|(c, b)| present(c, b))
        };
        let count = u16::try_from(columns().count()).unwrap_or(u16::MAX);
        raw.extend_from_slice(&count.to_le_bytes());
        raw.extend_from_slice(&[0; 2]);
        for (column, bytes) in columns() {
            raw.push(column.id());
            raw.push(if column.is_critical() {
                COLUMN_CRITICAL
            } else {
                0
            });
            raw.extend_from_slice(&[0; 2]);
            raw.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        for (_, bytes) in columns() {
            raw.extend_from_slice(bytes);
        }
        for bytes in &mut self.columns {
            bytes.clear();
        }
        self.presence = None;
        self.record_count = 0;
    }
}

/// The keys and metadata of a block, decoded and checked.
#[derive(Debug, Default)]
pub struct Columns {
    raw: Vec<u8>,
    record_count: usize,
    ranges: [Option<Range<usize>>; COLUMN_COUNT],
    /// End of each key in the KEY column.
    key_ends: Vec<u32>,
    /// End of each value in the value section; a value in parts has length 0 there.
    value_ends: Vec<u64>,
}

/// One record without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRecord<'a> {
    /// 1 to 250 bytes, any bytes.
    pub key: &'a [u8],
    /// Length of the value in bytes.
    pub value_len: u32,
    /// XXH3-64 hash of the value.
    pub value_hash: u64,
    /// Everything else.
    pub meta: ItemMeta,
}

impl KeyRecord<'_> {
    /// Returns what statistics count.
    pub fn facts(&self) -> RecordFacts<'_> {
        RecordFacts {
            key: self.key,
            value_len: self.value_len,
            meta: &self.meta,
        }
    }
}

impl Columns {
    /// Parses and checks a raw section (K1 to K7, K10).
    ///
    /// # Errors
    ///
    /// - The defect for the broken rule.
    pub fn decode(raw: Vec<u8>, record_count: u32) -> Result<Self, Defect> {
        let ranges = decode_directory(&raw, record_count.into())?;
        let mut columns = Self {
            raw,
            record_count: usize::try_from(record_count).unwrap_or(usize::MAX),
            ranges,
            key_ends: Vec::new(),
            value_ends: Vec::new(),
        };
        columns.key_ends = columns.decode_key_ends()?;
        columns.value_ends = columns.decode_value_ends();
        columns.check_attributes()?;
        columns.check_places()?;
        Ok(columns)
    }

    /// Returns the number of records.
    pub fn len(&self) -> usize {
        self.record_count
    }

    /// Returns false for every decoded block.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Returns the total length of the values in the value section, to be compared with
    /// the length of that section.
    pub fn value_bytes(&self) -> u64 {
        self.value_ends.last().copied().unwrap_or(0)
    }

    /// Returns the raw bytes, so that their memory can be reused.
    pub fn into_raw(self) -> Vec<u8> {
        self.raw
    }

    /// Returns a record by number, or `None` beyond the end.
    pub fn get(&self, index: usize) -> Option<KeyRecord<'_>> {
        let key = self.key(index)?;
        let attributes = match self.cell::<2>(Column::Attributes, index) {
            Some([values, known]) => Attributes::from_bits(values, known)?,
            None => Attributes::default(),
        };
        let number = |column| self.cell::<8>(column, index).map(u64::from_le_bytes);
        let meta = ItemMeta {
            client_flags: number(Column::ClientFlags),
            exptime: number(Column::Exptime).map(|raw| match raw {
                EXPTIME_NEVER => Exptime::Never,
                at => Exptime::At(UnixSecs(at)),
            }),
            last_access: number(Column::LastAccess).map(UnixSecs),
            cas: number(Column::Cas).map(Cas),
            slab_class: self
                .cell::<1>(Column::SlabClass, index)
                .map(|[class]| SlabClass(class)),
            attributes,
        };
        Some(KeyRecord {
            key,
            value_len: self
                .cell::<4>(Column::ValueLen, index)
                .map(u32::from_le_bytes)?,
            value_hash: number(Column::ValueHash)?,
            meta,
        })
    }

    /// Returns a record's value if it is stored in parts.
    pub fn parted_value(&self, index: usize) -> Option<PartedValue> {
        let place = self.cell::<8>(Column::ValuePlace, index)?;
        let place = Some(u64::from_le_bytes(place)).filter(|&place| place != 0)?;
        Some(PartedValue {
            place,
            len: u32::from_le_bytes(self.cell::<4>(Column::ValueLen, index)?),
            hash: u64::from_le_bytes(self.cell::<8>(Column::ValueHash, index)?),
        })
    }

    /// Returns the range of a record's value in the value section; the range is empty for
    /// a value in parts.
    pub fn value_range(&self, index: usize) -> Option<Range<usize>> {
        let start = match index.checked_sub(1) {
            Some(before) => self.value_ends.get(before).copied()?,
            None => 0,
        };
        let end = self.value_ends.get(index).copied()?;
        Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// Returns the key of a record by number.
    pub fn key(&self, index: usize) -> Option<&[u8]> {
        let start = match index.checked_sub(1) {
            Some(before) => self.key_ends.get(before).copied()?,
            None => 0,
        };
        let start = usize::try_from(start).ok()?;
        let end = usize::try_from(self.key_ends.get(index).copied()?).ok()?;
        self.column(Column::Key)?.get(start..end)
    }

    /// Returns the number of the record with this key; of several the last, which counts
    /// (FORMAT.md, K9).
    pub fn position(&self, key: &[u8]) -> Option<usize> {
        let mut indexes = (0..self.record_count).rev();
        indexes.find(|&index| self.key(index) == Some(key))
    }

    /// Visits the records in order.
    pub fn iter(&self) -> impl Iterator<Item = KeyRecord<'_>> {
        (0..self.record_count).filter_map(|index| self.get(index))
    }

    fn column(&self, column: Column) -> Option<&[u8]> {
        let range = self.ranges.get(column.slot())?.clone()?;
        self.raw.get(range)
    }

    fn cell<const N: usize>(&self, column: Column, index: usize) -> Option<[u8; N]> {
        let start = index.checked_mul(N)?;
        let end = start.checked_add(N)?;
        self.column(column)?.get(start..end)?.try_into().ok()
    }

    fn decode_key_ends(&self) -> Result<Vec<u32>, Defect> {
        let lens = self.column(Column::KeyLen).unwrap_or_default();
        let mut end = 0_u32;
        let mut ends = Vec::with_capacity(lens.len());
        for &len in lens {
            if len == 0 || usize::from(len) > KEY_LEN_MAX {
                return Err(Defect::IllegalValue {
                    structure: STRUCTURE,
                    field: "KEY_LEN",
                    stored: len.into(),
                });
            }
            // At most 65,536 records of 250 bytes, which is far below 2^32.
            end = end.saturating_add(len.into());
            ends.push(end);
        }
        let key_bytes = self.column(Column::Key).map_or(0, <[u8]>::len);
        check_count(STRUCTURE, "length of KEY", to_u64(key_bytes), end.into())?;
        Ok(ends)
    }

    fn decode_value_ends(&self) -> Vec<u64> {
        let lens = self.column(Column::ValueLen).unwrap_or_default();
        let places = self.column(Column::ValuePlace).unwrap_or_default();
        let mut places = places.chunks_exact(8).map(LittleEndian::read_u64);
        lens.chunks_exact(4)
            .scan(0_u64, |end, len| {
                if places.next().unwrap_or(0) == 0 {
                    *end = end.saturating_add(LittleEndian::read_u32(len).into());
                }
                Some(*end)
            })
            .collect()
    }

    /// Checks that no two records refer to the same part (K10).
    fn check_places(&self) -> Result<(), Defect> {
        let places = self.column(Column::ValuePlace).unwrap_or_default();
        let mut last = 0;
        for place in places.chunks_exact(8).map(LittleEndian::read_u64) {
            if place != 0 && place <= last {
                return Err(illegal_column("VALUE_PLACE", place));
            }
            last = last.max(place);
        }
        Ok(())
    }

    fn check_attributes(&self) -> Result<(), Defect> {
        let marks = self.column(Column::Attributes).unwrap_or_default();
        for mark in marks.chunks_exact(2) {
            let &[values, known] = mark else { continue };
            if (values | known) & !Attributes::MASK != 0 {
                return Err(Defect::ReservedNotZero {
                    structure: STRUCTURE,
                    field: "bit of ATTRIBUTES",
                });
            }
            if Attributes::from_bits(values, known).is_none() {
                return Err(illegal_column(
                    "ATTRIBUTES",
                    LittleEndian::read_u16(mark).into(),
                ));
            }
        }
        Ok(())
    }
}

type Ranges = [Option<Range<usize>>; COLUMN_COUNT];

fn decode_directory(raw: &[u8], record_count: u64) -> Result<Ranges, Defect> {
    let mut reader = ByteReader::new(raw, STRUCTURE);
    let column_count = usize::from(reader.u16()?);
    reader.reserved(2, "field at offset 2")?;
    if column_count > usize::from(u8::MAX) {
        return Err(Defect::IllegalValue {
            structure: STRUCTURE,
            field: "column_count",
            stored: to_u64(column_count),
        });
    }
    let mut ranges = Ranges::default();
    let mut start =
        COLUMNS_HEADER_SIZE.saturating_add(column_count.saturating_mul(COLUMN_ENTRY_SIZE));
    let mut last_id = 0;
    for _ in 0..column_count {
        let entry = ColumnEntry::decode(&mut reader)?;
        if entry.id <= last_id {
            return Err(illegal_column("id", entry.id.into()));
        }
        last_id = entry.id;
        let end = start.saturating_add(usize::try_from(entry.len).unwrap_or(usize::MAX));
        if let Some(column) = entry.known()? {
            if let Some(width) = column.width() {
                let len = width.saturating_mul(record_count);
                check_count(STRUCTURE, column.name(), entry.len.into(), len)?;
            }
            if let Some(slot) = ranges.get_mut(column.slot()) {
                *slot = Some(start..end);
            }
        }
        start = end;
    }
    check_count(
        STRUCTURE,
        "length of all columns",
        to_u64(start),
        to_u64(raw.len()),
    )?;
    for column in Column::ALL
        .into_iter()
        .filter(|column| column.is_required())
    {
        if ranges.get(column.slot()).is_none_or(Option::is_none) {
            return Err(Defect::CountMismatch {
                structure: STRUCTURE,
                field: column.name(),
                stored: 0,
                computed: record_count,
            });
        }
    }
    Ok(ranges)
}

fn illegal_column(field: &'static str, stored: u64) -> Defect {
    Defect::IllegalValue {
        structure: STRUCTURE,
        field,
        stored,
    }
}

struct ColumnEntry {
    id: u8,
    flags: u8,
    encoding: u16,
    len: u32,
}

impl ColumnEntry {
    fn decode(reader: &mut ByteReader<'_>) -> Result<Self, Defect> {
        let entry = Self {
            id: reader.u8()?,
            flags: reader.u8()?,
            encoding: reader.u16()?,
            len: reader.u32()?,
        };
        if entry.flags & !COLUMN_CRITICAL != 0 {
            return Err(Defect::ReservedNotZero {
                structure: STRUCTURE,
                field: "column flags",
            });
        }
        Ok(entry)
    }

    /// Returns the column, or `None` for one that is to be skipped.
    fn known(&self) -> Result<Option<Column>, Defect> {
        let column = Column::from_id(self.id);
        if column.is_none() && self.flags & COLUMN_CRITICAL != 0 {
            return Err(Defect::UnknownCritical {
                structure: STRUCTURE,
                what: "column",
                stored: self.id.to_string(),
            });
        }
        if column.is_some() && self.encoding != 0 {
            return Err(Defect::UnknownValue {
                structure: STRUCTURE,
                field: "column encoding",
                stored: self.encoding.into(),
            });
        }
        Ok(column)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::words::item::Attribute;

    fn metas() -> impl Strategy<Value = ItemMeta> {
        (
            any::<u64>(),
            any::<u64>(),
            any::<u64>(),
            any::<u8>(),
            any::<bool>(),
        )
            .prop_map(|(client_flags, exptime, cas, class, fetched)| {
                let mut attributes = Attributes::default();
                attributes.set(Attribute::Fetched, fetched);
                ItemMeta {
                    client_flags: Some(client_flags),
                    exptime: Some(match exptime {
                        EXPTIME_NEVER => Exptime::Never,
                        at => Exptime::At(UnixSecs(at)),
                    }),
                    last_access: None,
                    cas: Some(Cas(cas)),
                    slab_class: Some(SlabClass(class)),
                    attributes,
                }
            })
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            records in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..=250), any::<u32>(), any::<u64>(), metas()),
                1..20,
            )
        ) {
            let mut builder = ColumnsBuilder::default();
            for (key, value_len, value_hash, meta) in &records {
                prop_assert!(builder.accepts(meta));
                builder.push(key, *value_len, *value_hash, meta);
            }
            let mut raw = Vec::new();
            let bound = builder.raw_len();
            builder.finish(&mut raw);
            prop_assert!(raw.len() <= bound);
            let columns = Columns::decode(raw, u32::try_from(records.len()).unwrap()).unwrap();
            for (index, (key, value_len, value_hash, meta)) in records.iter().enumerate() {
                let record = KeyRecord { key, value_len: *value_len, value_hash: *value_hash, meta: *meta };
                prop_assert_eq!(columns.get(index), Some(record));
            }
            prop_assert_eq!(columns.get(records.len()), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..200), count in 1_u32..9) {
            if let Ok(columns) = Columns::decode(raw, count) {
                prop_assert!(columns.iter().count() <= 9);
            }
        }
    }

    #[test]
    fn values_in_parts_take_nothing_of_the_value_section() {
        let meta = ItemMeta::default();
        let decode = |places: &[u64]| {
            let mut builder = ColumnsBuilder::default();
            for (&place, len) in places.iter().zip([3, 5, 7]) {
                let value = PartedValue {
                    place,
                    len,
                    hash: 9,
                };
                builder.push_parted(b"k", &value, &meta);
            }
            let (mut raw, bound) = (Vec::new(), builder.raw_len());
            builder.finish(&mut raw);
            assert!(raw.len() <= bound);
            Columns::decode(raw, 3).map_err(|defect| defect.code())
        };
        let columns = decode(&[0, 64, 0]).unwrap();
        assert_eq!(columns.value_bytes(), 3 + 7);
        let ranges: Vec<_> = (0..3).map(|at| columns.value_range(at).unwrap()).collect();
        assert_eq!(ranges, [0..3, 3..3, 3..10]);
        let found: Vec<_> = (0..3).map(|at| columns.parted_value(at)).collect();
        let value = PartedValue {
            place: 64,
            len: 5,
            hash: 9,
        };
        assert_eq!(found, [None, Some(value), None]);
        assert_eq!(columns.get(1).unwrap().value_len, 5);
        // Without such a value the column does not exist at all.
        assert_eq!(decode(&[0, 0, 0]).unwrap().raw.len(), 4 + 4 * 8 + 3 * 14);
        assert!(decode(&[64, 65, 66]).is_ok());
        for places in [[64, 64, 0], [64, 0, 64], [9, 0, 8]] {
            assert_eq!(decode(&places).unwrap_err(), "MCS007", "{places:?}");
        }
    }

    fn one_record() -> Vec<u8> {
        let mut builder = ColumnsBuilder::default();
        builder.push(b"k", 3, 7, &ItemMeta::default());
        let mut raw = Vec::new();
        builder.finish(&mut raw);
        raw
    }

    #[test]
    fn an_unknown_column_is_skipped_unless_it_is_critical() {
        let raw = one_record();
        let mut with = vec![5, 0, 0, 0];
        with.extend_from_slice(&raw[4..36]);
        with.extend_from_slice(&[99, 0, 7, 0, 2, 0, 0, 0]);
        with.extend_from_slice(&raw[36..]);
        with.extend_from_slice(b"??");
        let columns = Columns::decode(with.clone(), 1).unwrap();
        assert_eq!(columns.get(0).unwrap().key, b"k");
        with[37] = COLUMN_CRITICAL;
        assert_eq!(Columns::decode(with, 1).unwrap_err().code(), "MCS009");
    }

    #[test]
    fn a_mark_without_a_meaning_and_one_that_is_not_known_are_refused() {
        let code = |marks: [u8; 2]| {
            let mut builder = ColumnsBuilder::default();
            let mut meta = ItemMeta::default();
            meta.attributes.set(Attribute::Stale, true);
            builder.push(b"k", 3, 7, &meta);
            let mut raw = Vec::new();
            builder.finish(&mut raw);
            let end = raw.len() - 2;
            raw[end..].copy_from_slice(&marks);
            Columns::decode(raw, 1).map_err(|defect| defect.code())
        };
        assert!(code([0b10, 0b10]).is_ok());
        assert_eq!(code([0b100000, 0b100000]).unwrap_err(), "MCS004");
        assert_eq!(code([0, 0b1000_0000]).unwrap_err(), "MCS004");
        assert_eq!(code([0b11, 0b10]).unwrap_err(), "MCS007");
    }

    #[test]
    fn every_prefix_and_every_illegal_field_is_refused() {
        let raw = one_record();
        for len in 0..raw.len() {
            assert!(
                Columns::decode(raw[..len].to_vec(), 1).is_err(),
                "prefix of {len}"
            );
        }
        assert!(Columns::decode(raw.clone(), 2).is_err());
        // Reserved byte, id out of order, reserved flag, encoding, length.
        for (offset, byte) in [(2, 1), (12, 1), (5, 2), (6, 1), (8, 2)] {
            let mut bad = raw.clone();
            bad[offset] = byte;
            assert!(Columns::decode(bad, 1).is_err(), "offset {offset}");
        }
    }
}
