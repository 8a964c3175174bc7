//! The statistics of a segment's records, which merge. FORMAT.md 5.16.

use std::collections::BTreeMap;

use crate::codecs::format::bytes::{ByteReader, check_bound, check_count};
use crate::codecs::format::layout::{STAT_HEADER_SIZE, STAT_SECTION_SIZE};
use crate::codecs::statistics::{LargestRecord, PrefixRows, SegmentStatistics, Span, Tally, sum};
use crate::words::defect::{Defect, Structure};
use crate::words::item::{Exptime, ItemMeta, KEY_LEN_MAX, SlabClass};
use crate::words::limits::Limits;
use crate::words::units::{UnixSecs, to_u64};

const STRUCTURE: Structure = Structure::Stat;

/// The ids of the sections, in the order of the file.
const TOTAL: u16 = 1;
const VALUE_LEN: u16 = 2;
const EXPTIME: u16 = 3;
const LAST_ACCESS: u16 = 4;
const SLAB_CLASS: u16 = 5;
const CLIENT_FLAGS: u16 = 6;
const MARKS: u16 = 7;
const KEY_PREFIX: u16 = 8;
const LARGEST: u16 = 9;

/// The sections that this build knows, each with its name in FORMAT.md.
pub const STAT_SECTIONS: [(u16, &str); 9] = [
    (TOTAL, "TOTAL"),
    (VALUE_LEN, "VALUE_LEN"),
    (EXPTIME, "EXPTIME"),
    (LAST_ACCESS, "LAST_ACCESS"),
    (SLAB_CLASS, "SLAB_CLASS"),
    (CLIENT_FLAGS, "CLIENT_FLAGS"),
    (MARKS, "MARKS"),
    (KEY_PREFIX, "KEY_PREFIX"),
    (LARGEST, "LARGEST"),
];

/// Bits of what is known of a large value.
const HAS_FLAGS: u8 = 1;
const HAS_EXPTIME: u8 = 1 << 1;
const IS_NEVER: u8 = 1 << 2;
const HAS_LAST_ACCESS: u8 = 1 << 3;
const HAS_SLAB_CLASS: u8 = 1 << 4;
const KNOWN_MASK: u8 = 0b0001_1111;

/// Returns an upper bound of the payload that this build writes for so many records, in
/// bytes.
pub fn stat_len_bound(record_count: u64) -> u64 {
    const LEN_MAX: u64 = 32 << 10;
    const LEN_MIN: u64 = 1 << 10;
    const RECORD_LEN_MAX: u64 = 1 << 10;
    let grown = record_count.saturating_mul(RECORD_LEN_MAX);
    grown.saturating_add(LEN_MIN).min(LEN_MAX)
}

/// Returns the payload of the frame.
pub fn encode_stat(statistics: &SegmentStatistics) -> Vec<u8> {
    let sections = STAT_SECTIONS.map(|(id, _)| (id, encode_section(statistics, id)));
    let mut payload = Vec::new();
    let count = u16::try_from(sections.len()).unwrap_or(u16::MAX);
    payload.extend_from_slice(&count.to_le_bytes());
    payload.extend_from_slice(&[0; 2]);
    for (id, section) in &sections {
        let len = u32::try_from(section.len()).unwrap_or(u32::MAX);
        payload.extend_from_slice(&id.to_le_bytes());
        payload.extend_from_slice(&[0; 2]);
        payload.extend_from_slice(&len.to_le_bytes());
    }
    for (_, section) in &sections {
        payload.extend_from_slice(section);
    }
    payload
}

fn encode_section(statistics: &SegmentStatistics, id: u16) -> Vec<u8> {
    let mut out = Vec::new();
    match id {
        TOTAL => {
            push_tally(&mut out, &statistics.total);
            push_number(&mut out, statistics.key_len.0.into());
            push_number(&mut out, statistics.key_len.1.into());
        }
        VALUE_LEN => push_spans(&mut out, &statistics.value_lens),
        EXPTIME => {
            push_tally(&mut out, &statistics.never);
            push_spans(&mut out, &statistics.exptimes);
        }
        LAST_ACCESS => push_spans(&mut out, &statistics.last_accesses),
        SLAB_CLASS => {
            let rows = statistics.slab_classes.iter();
            let rows: Vec<_> = rows
                .map(|(class, tally)| (u64::from(*class), *tally))
                .collect();
            push_rows(&mut out, &rows);
        }
        CLIENT_FLAGS => {
            push_tally(&mut out, &statistics.flags_unknown);
            push_rows(&mut out, &statistics.client_flags);
        }
        MARKS => {
            for (set, unset) in &statistics.marks {
                push_tally(&mut out, set);
                push_tally(&mut out, unset);
            }
        }
        KEY_PREFIX => {
            let prefixes = &statistics.prefixes;
            push_number(&mut out, prefixes.missed_max);
            push_number(&mut out, prefixes.unlisted_max);
            push_tally(&mut out, &prefixes.none);
            push_number(&mut out, to_u64(prefixes.rows.len()));
            for (prefix, tally) in &prefixes.rows {
                push_text(&mut out, prefix);
                push_tally(&mut out, tally);
            }
        }
        _ => {
            push_number(&mut out, to_u64(statistics.largest.len()));
            for record in &statistics.largest {
                push_largest(&mut out, record);
            }
        }
    }
    out
}

/// Parses a payload and checks it (S1 to S6).
///
/// # Errors
///
/// - The defect for the broken rule.
///
/// # Memory
///
/// Some times the payload, which is bounded by the limits.
pub fn decode_stat(payload: &[u8], limits: &Limits) -> Result<SegmentStatistics, Defect> {
    let len = to_u64(payload.len());
    check_bound(STRUCTURE, "length", len, limits.stat_len_max)?;
    let sections = split_sections(payload)?;
    let mut statistics = SegmentStatistics::default();
    for (id, _) in STAT_SECTIONS {
        let Some(section) = sections.get(&id) else {
            return Err(Defect::IllegalValue {
                structure: STRUCTURE,
                field: "missing section",
                stored: id.into(),
            });
        };
        let mut reader = Numbers(ByteReader::new(section, STRUCTURE));
        decode_section(&mut reader, id, &mut statistics)?;
        check_count(
            STRUCTURE,
            "bytes left in a section",
            to_u64(reader.0.rest().len()),
            0,
        )?;
    }
    check_sums(&statistics)?;
    Ok(statistics)
}

/// Divides the payload by its directory.
fn split_sections(payload: &[u8]) -> Result<BTreeMap<u16, &[u8]>, Defect> {
    let mut reader = ByteReader::new(payload, STRUCTURE);
    let count = usize::from(reader.u16()?);
    reader.reserved(2, "field at offset 2")?;
    let mut directory = Vec::new();
    let mut end = to_u64(STAT_HEADER_SIZE.saturating_add(count.saturating_mul(STAT_SECTION_SIZE)));
    for _ in 0..count {
        let id = reader.u16()?;
        reader.reserved(2, "section field at offset 2")?;
        let len = reader.u32()?;
        if directory.last().is_some_and(|(last, _)| *last >= id) {
            return Err(illegal("section id", id.into()));
        }
        end = end.saturating_add(len.into());
        directory.push((id, len));
    }
    check_count(STRUCTURE, "length of sections", end, to_u64(payload.len()))?;
    let mut sections = BTreeMap::new();
    for (id, len) in directory {
        sections.insert(
            id,
            reader.bytes(usize::try_from(len).unwrap_or(usize::MAX))?,
        );
    }
    Ok(sections)
}

fn decode_section(
    reader: &mut Numbers<'_>,
    id: u16,
    statistics: &mut SegmentStatistics,
) -> Result<(), Defect> {
    match id {
        TOTAL => {
            statistics.total = reader.tally()?;
            let least = reader.below("key length", to_u64(KEY_LEN_MAX))?;
            let most = reader.below("key length", to_u64(KEY_LEN_MAX))?;
            let narrow = |len| u8::try_from(len).unwrap_or(u8::MAX);
            statistics.key_len = (narrow(least), narrow(most));
        }
        VALUE_LEN => statistics.value_lens = reader.spans()?,
        EXPTIME => {
            statistics.never = reader.tally()?;
            statistics.exptimes = reader.spans()?;
        }
        LAST_ACCESS => statistics.last_accesses = reader.spans()?,
        SLAB_CLASS => {
            let rows = reader.rows(u8::MAX.into())?.into_iter();
            let narrow = |(class, tally)| (u8::try_from(class).unwrap_or(u8::MAX), tally);
            statistics.slab_classes = rows.map(narrow).collect();
        }
        CLIENT_FLAGS => {
            statistics.flags_unknown = reader.tally()?;
            statistics.client_flags = reader.rows(u64::MAX)?;
        }
        MARKS => {
            for (set, unset) in &mut statistics.marks {
                *set = reader.tally()?;
                *unset = reader.tally()?;
            }
        }
        KEY_PREFIX => statistics.prefixes = reader.prefixes()?,
        _ => {
            for _ in 0..reader.number()? {
                statistics.largest.push(reader.largest()?);
            }
        }
    }
    Ok(())
}

/// Checks that no part of the records is more than all of them.
fn check_sums(statistics: &SegmentStatistics) -> Result<(), Defect> {
    let total = &statistics.total;
    let spans = |spans: &[Span]| sum(spans.iter().map(|span| &span.tally));
    let lens = spans(&statistics.value_lens);
    if lens != *total {
        return Err(mismatch("VALUE_LEN", lens.records, total.records));
    }
    let classes = sum(statistics.slab_classes.iter().map(|(_, tally)| tally));
    let flags = sum(statistics.client_flags.iter().map(|(_, tally)| tally));
    let prefixes = sum(statistics.prefixes.rows.iter().map(|(_, tally)| tally));
    let mut parts = vec![
        ("EXPTIME", statistics.never, spans(&statistics.exptimes)),
        (
            "LAST_ACCESS",
            Tally::default(),
            spans(&statistics.last_accesses),
        ),
        ("SLAB_CLASS", Tally::default(), classes),
        ("CLIENT_FLAGS", statistics.flags_unknown, flags),
        ("KEY_PREFIX", statistics.prefixes.none, prefixes),
    ];
    parts.extend(statistics.marks.map(|(set, unset)| ("MARKS", set, unset)));
    for (section, one, two) in parts {
        let is_part = total
            .checked_without(&one)
            .is_some_and(|rest| rest.checked_without(&two).is_some());
        if !is_part {
            let records = one.records.saturating_add(two.records);
            return Err(mismatch(section, records, total.records));
        }
    }
    Ok(())
}

fn mismatch(field: &'static str, stored: u64, computed: u64) -> Defect {
    Defect::CountMismatch {
        structure: STRUCTURE,
        field,
        stored,
        computed,
    }
}

fn illegal(field: &'static str, stored: u64) -> Defect {
    Defect::IllegalValue {
        structure: STRUCTURE,
        field,
        stored,
    }
}

/// Takes numbers of a section from its front.
struct Numbers<'a>(ByteReader<'a>);

impl Numbers<'_> {
    /// Takes a number: seven bits a byte, the lowest first, and bit 7 of all but the last.
    fn number(&mut self) -> Result<u64, Defect> {
        let mut number: u64 = 0;
        for place in 0..10_u32 {
            let byte = self.0.u8()?;
            let bits = u64::from(byte & 0x7f);
            let shift = place.saturating_mul(7);
            // The tenth byte has room for one bit.
            if place == 9 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && place > 0 {
                    break;
                }
                return Ok(number);
            }
        }
        Err(illegal("number", number))
    }

    fn below(&mut self, field: &'static str, bound: u64) -> Result<u64, Defect> {
        let number = self.number()?;
        check_bound(STRUCTURE, field, number, bound)?;
        Ok(number)
    }

    fn tally(&mut self) -> Result<Tally, Defect> {
        Ok(Tally {
            records: self.number()?,
            key_bytes: self.number()?,
            value_bytes: self.number()?,
            item_bytes: self.number()?,
            chunk_bytes: self.number()?,
            class_records: self.number()?,
            chunk_records: self.number()?,
        })
    }

    /// Takes the tally of a row, which has records.
    fn row_tally(&mut self) -> Result<Tally, Defect> {
        let tally = self.tally()?;
        if tally.records == 0 {
            return Err(illegal("records of a row", 0));
        }
        Ok(tally)
    }

    /// Takes a quantity, stored as its distance from the one before, plus one.
    fn next(&mut self, before: Option<u64>, bound: u64) -> Result<u64, Defect> {
        let distance = self.number()?;
        let above = |field, stored| Defect::AboveLimit {
            structure: STRUCTURE,
            field,
            stored,
            bound,
        };
        let next = match before {
            None => Some(distance),
            Some(before) => before
                .checked_add(distance)
                .and_then(|next| next.checked_add(1)),
        };
        let next = next.ok_or_else(|| above("value of a row", distance))?;
        if next > bound {
            return Err(above("value of a row", next));
        }
        Ok(next)
    }

    fn spans(&mut self) -> Result<Vec<Span>, Defect> {
        let mut spans: Vec<Span> = Vec::new();
        for _ in 0..self.number()? {
            let first = self.next(spans.last().map(|span| span.last), u64::MAX)?;
            let width = self.number()?;
            let Some(last) = first.checked_add(width) else {
                return Err(Defect::AboveLimit {
                    structure: STRUCTURE,
                    field: "value of a row",
                    stored: width,
                    bound: u64::MAX,
                });
            };
            let tally = self.row_tally()?;
            spans.push(Span { first, last, tally });
        }
        Ok(spans)
    }

    fn rows(&mut self, bound: u64) -> Result<Vec<(u64, Tally)>, Defect> {
        let mut rows: Vec<(u64, Tally)> = Vec::new();
        for _ in 0..self.number()? {
            let value = self.next(rows.last().map(|(value, _)| *value), bound)?;
            rows.push((value, self.row_tally()?));
        }
        Ok(rows)
    }

    fn prefixes(&mut self) -> Result<PrefixRows, Defect> {
        let mut prefixes = PrefixRows {
            missed_max: self.number()?,
            unlisted_max: self.number()?,
            none: self.tally()?,
            rows: Vec::new(),
        };
        for _ in 0..self.number()? {
            let prefix = self.text()?;
            if prefixes
                .rows
                .last()
                .is_some_and(|(last, _)| *last >= prefix)
            {
                return Err(illegal("order of prefixes", to_u64(prefixes.rows.len())));
            }
            prefixes.rows.push((prefix, self.row_tally()?));
        }
        Ok(prefixes)
    }

    /// Takes a key or a prefix.
    fn text(&mut self) -> Result<Vec<u8>, Defect> {
        let len = self.below("key length", to_u64(KEY_LEN_MAX))?;
        if len == 0 {
            return Err(illegal("key length", 0));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(self.0.bytes(len)?.to_vec())
    }

    fn largest(&mut self) -> Result<LargestRecord, Defect> {
        let value_len = self.below("value length", u32::MAX.into())?;
        let key = self.text()?;
        let known = self.0.u8()?;
        if known & !KNOWN_MASK != 0 {
            return Err(Defect::ReservedNotZero {
                structure: STRUCTURE,
                field: "bits of a large value",
            });
        }
        let has = |bit: u8| known & bit != 0;
        if has(HAS_EXPTIME) && has(IS_NEVER) {
            return Err(illegal("bits of a large value", known.into()));
        }
        let mut meta = ItemMeta::default();
        if has(HAS_FLAGS) {
            meta.client_flags = Some(self.number()?);
        }
        if has(HAS_EXPTIME) {
            meta.exptime = Some(Exptime::At(UnixSecs(self.number()?)));
        }
        if has(IS_NEVER) {
            meta.exptime = Some(Exptime::Never);
        }
        if has(HAS_LAST_ACCESS) {
            meta.last_access = Some(UnixSecs(self.number()?));
        }
        if has(HAS_SLAB_CLASS) {
            let class = self.below("slab class", u8::MAX.into())?;
            meta.slab_class = Some(SlabClass(u8::try_from(class).unwrap_or(u8::MAX)));
        }
        Ok(LargestRecord {
            key,
            value_len: u32::try_from(value_len).unwrap_or(u32::MAX),
            meta,
        })
    }
}

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            out.push(low & 0x7f);
            return;
        }
        out.push(low | 0x80);
    }
}

fn push_tally(out: &mut Vec<u8>, tally: &Tally) {
    for number in [
        tally.records,
        tally.key_bytes,
        tally.value_bytes,
        tally.item_bytes,
        tally.chunk_bytes,
        tally.class_records,
        tally.chunk_records,
    ] {
        push_number(out, number);
    }
}

/// Writes a quantity as [`Numbers::next`] reads it.
fn push_next(out: &mut Vec<u8>, before: Option<u64>, quantity: u64) {
    let distance = before.map_or(quantity, |before| {
        quantity.saturating_sub(before).saturating_sub(1)
    });
    push_number(out, distance);
}

fn push_spans(out: &mut Vec<u8>, spans: &[Span]) {
    push_number(out, to_u64(spans.len()));
    let mut before = None;
    for span in spans {
        push_next(out, before, span.first);
        push_number(out, span.last.saturating_sub(span.first));
        push_tally(out, &span.tally);
        before = Some(span.last);
    }
}

fn push_rows(out: &mut Vec<u8>, rows: &[(u64, Tally)]) {
    push_number(out, to_u64(rows.len()));
    let mut before = None;
    for (value, tally) in rows {
        push_next(out, before, *value);
        push_tally(out, tally);
        before = Some(*value);
    }
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_number(out, to_u64(text.len()));
    out.extend_from_slice(text);
}

fn push_largest(out: &mut Vec<u8>, record: &LargestRecord) {
    let meta = &record.meta;
    push_number(out, record.value_len.into());
    push_text(out, &record.key);
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let exptime = match meta.exptime {
        None => 0,
        Some(Exptime::At(_)) => HAS_EXPTIME,
        Some(Exptime::Never) => IS_NEVER,
    };
    out.push(
        bit(meta.client_flags.is_some(), HAS_FLAGS)
            | exptime
            | bit(meta.last_access.is_some(), HAS_LAST_ACCESS)
            | bit(meta.slab_class.is_some(), HAS_SLAB_CLASS),
    );
    if let Some(flags) = meta.client_flags {
        push_number(out, flags);
    }
    if let Some(Exptime::At(UnixSecs(at))) = meta.exptime {
        push_number(out, at);
    }
    if let Some(UnixSecs(access)) = meta.last_access {
        push_number(out, access);
    }
    if let Some(SlabClass(class)) = meta.slab_class {
        push_number(out, class.into());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codecs::statistics::{RecordFacts, Recount, StatCounter};
    use crate::words::item::{Attribute, Attributes};

    /// A record whose properties all follow from a few numbers.
    fn meta_of(seed: u64) -> ItemMeta {
        let mut attributes = Attributes::default();
        for (at, mark) in (0..).zip(Attribute::ALL) {
            match (seed >> (at * 2)) & 3 {
                0 => attributes.set(mark, true),
                1 => attributes.set(mark, false),
                _ => {}
            }
        }
        let near = |seed: u64| UnixSecs(1_795_140_000 + (seed % 7919).pow(2));
        ItemMeta {
            client_flags: (!seed.is_multiple_of(11)).then_some(seed % 97),
            exptime: match seed % 5 {
                0 => None,
                1 => Some(Exptime::Never),
                _ => Some(Exptime::At(near(seed))),
            },
            last_access: (!seed.is_multiple_of(3)).then(|| near(seed / 3)),
            cas: None,
            slab_class: u8::try_from(seed % 70).ok().map(SlabClass),
            attributes,
        }
    }

    type Row = (Vec<u8>, u32, ItemMeta);

    fn count(rows: &[Row]) -> SegmentStatistics {
        let mut counter = StatCounter::new(Some(UnixSecs(1_795_140_000)));
        for (key, value_len, meta) in rows {
            counter.add(&RecordFacts {
                key,
                value_len: *value_len,
                meta,
            });
        }
        counter.finish()
    }

    fn recount(stored: &SegmentStatistics, rows: &[Row]) -> Recount {
        let mut recount = Recount::new(stored);
        for (key, value_len, meta) in rows {
            let value_len = *value_len;
            let record = RecordFacts {
                key,
                value_len,
                meta,
            };
            recount.add(stored, &record);
        }
        recount
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let word = "[a-d]{1,3}|[0-9]{1,9}|[0-9a-f]{8}";
        let key = proptest::collection::vec((word, "[:/_.-]{1,2}|"), 1..5);
        let key = key.prop_map(|parts| {
            let text: String = parts
                .into_iter()
                .flat_map(|(word, end)| [word, end])
                .collect();
            text.into_bytes()
        });
        let row = (key, any::<u32>(), any::<u64>());
        let row = row.prop_map(|(key, len, seed)| (key, len >> (seed % 32), meta_of(seed)));
        proptest::collection::vec(row, 0..400)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_counted_is_read_back_and_is_that_of_the_records(rows in rows(), cut in 0..400_usize) {
            let stored = count(&rows);
            let payload = encode_stat(&stored);
            let records = u64::try_from(rows.len()).unwrap();
            prop_assert!(to_u64(payload.len()) <= stat_len_bound(records));
            let decoded = decode_stat(&payload, &Limits::default());
            prop_assert_eq!(decoded.as_ref(), Ok(&stored));
            let whole = recount(&stored, &rows);
            prop_assert_eq!(whole.compare(&stored), None);
            let (front, back) = rows.split_at(cut.min(rows.len()));
            let mut merged = recount(&stored, back);
            merged.merge(recount(&stored, front));
            prop_assert_eq!(merged.compare(&stored), None);
            if let Some((last, front)) = rows.split_last() {
                prop_assert!(recount(&stored, front).compare(&stored).is_some());
                let other = (last.0.clone(), last.1 ^ 1, last.2);
                let changed = [front, &[other]].concat();
                prop_assert!(recount(&stored, &changed).compare(&stored).is_some());
            }
        }

        #[test]
        fn changed_bytes_are_refused_or_are_other_statistics(rows in rows(), at in any::<usize>(), bit in 0..8_u32) {
            let stored = count(&rows);
            let mut payload = encode_stat(&stored);
            let at = at % payload.len();
            payload[at] ^= 1_u8.wrapping_shl(bit);
            if let Ok(decoded) = decode_stat(&payload, &Limits::default()) {
                prop_assert_ne!(&decoded, &stored);
                prop_assert_eq!(decode_stat(&encode_stat(&decoded), &Limits::default()), Ok(decoded));
            }
            let cut = payload.len() - 1 - at % payload.len();
            prop_assert!(decode_stat(&payload[..cut], &Limits::default()).is_err());
        }
    }

    #[test]
    fn an_unknown_section_is_skipped_and_a_missing_one_is_not() {
        let stored = count(&[(b"a:1".to_vec(), 3, meta_of(7))]);
        let payload = encode_stat(&stored);
        let (directory, sections) = payload.split_at(4 + 9 * 8);
        let more = [
            &[10, 0, 0, 0],
            &directory[4..],
            &[200, 1, 0, 0, 2, 0, 0, 0],
            sections,
            b"??",
        ];
        assert_eq!(decode_stat(&more.concat(), &Limits::default()), Ok(stored));
        let last = usize::from(directory[4 + 8 * 8 + 4]);
        let fewer = [
            &[8, 0, 0, 0],
            &directory[4..4 + 8 * 8],
            &sections[..sections.len() - last],
        ];
        let defect = decode_stat(&fewer.concat(), &Limits::default()).unwrap_err();
        assert_eq!(defect.code(), "MCS007");
    }

    #[test]
    fn hostile_numbers_are_refused() {
        let payload = encode_stat(&SegmentStatistics::default());
        let with_total = |section: &[u8]| {
            let mut hostile = payload.clone();
            hostile[8] = u8::try_from(section.len()).unwrap();
            hostile.splice(76..76 + 9, section.iter().copied());
            let result = decode_stat(&hostile, &Limits::default());
            result.map_err(|defect| defect.code())
        };
        assert!(with_total(&[0; 9]).is_ok());
        for (section, code) in [
            (&[0_u8; 8][..], "MCS001"),
            (&[0; 10], "MCS010"),
            (&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], "MCS007"),
            (&[0xff; 20], "MCS007"),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], "MCS010"),
            (&[0, 0, 0, 0, 0, 0, 0, 0xfb, 1, 0], "MCS008"),
        ] {
            assert_eq!(with_total(section), Err(code), "{section:x?}");
        }
        let long = vec![0; 70_000];
        let defect = decode_stat(&long, &Limits::default()).unwrap_err();
        assert_eq!(defect.code(), "MCS008");
    }
}
