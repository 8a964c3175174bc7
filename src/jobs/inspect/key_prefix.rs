//! Groups keys by their prefix: the words up to a delimiter.

use std::sync::Arc;

use crate::codecs::format::checksum::value_hash;
use crate::codecs::statistics::{
    KEY_DELIMITERS, PrefixTree, SegmentStatistics, Tally, delimiter_of, prefix_end,
    push_without_numbers,
};
use crate::jobs::inspect::capped_table::CappedTable;

/// How much of a key is its prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrefixDepth {
    /// As much as distinguishes kinds of keys. A prefix is split, up to its third
    /// delimiter, into the longer prefixes that take at least a hundredth of all memory
    /// each; the rest of it stays together.
    #[default]
    Fitting,
    /// Up to this many delimiters, fewer if the key has fewer; 0 is the same as 1.
    Exactly(u8),
}

/// Counts records by the start of their keys.
///
/// `codecs::statistics` says what the prefix of a key is.
///
/// # Too many prefixes
///
/// More than [`KeyPrefixTable::VALUE_COUNT_MAX`] prefixes need a second count. The first
/// count weighs groups of prefixes by their items. The second one, in a table made by
/// [`KeyPrefixTable::to_recount`], keeps the prefixes of the heaviest groups. Every
/// prefix that is kept is counted completely, and the order of the records makes no
/// difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPrefixTable {
    delimiters: Vec<u8>,
    depth: PrefixDepth,
    /// One level for each depth, the lowest first.
    levels: Vec<Level>,
    /// Records whose keys have no delimiter.
    pub none: Tally,
    /// Records whose prefix the statistics of their segment do not list.
    unlisted: Tally,
    missed_max: u64,
}

/// A prefix and its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixRow<'a> {
    /// The start of the keys.
    pub prefix: &'a [u8],
    /// The records.
    pub tally: Tally,
    /// Whether longer prefixes with this start have rows of their own, and are not
    /// included.
    pub is_rest: bool,
}

/// The prefixes up to one depth.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    delimiter_count: usize,
    /// Keyed by the rank of the prefix's group, as two bytes, and the prefix.
    values: CappedTable<Vec<u8>>,
    groups: Groups,
}

/// Groups of prefixes by their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Groups {
    /// The bytes of items in each group, as counted so far.
    Weighed(Vec<u64>),
    Ranked(Arc<Ranks>),
}

#[derive(Debug, PartialEq, Eq)]
struct Ranks {
    /// The rank of each group; the heaviest group comes first.
    by_group: Vec<u16>,
    /// The bytes of items in the group of each rank.
    weights: Vec<u64>,
}

impl KeyPrefixTable {
    /// The most prefixes kept for each depth.
    pub const VALUE_COUNT_MAX: usize = 16_384;
    /// The greatest depth of [`PrefixDepth::Fitting`].
    const FITTING_DEPTH: usize = 3;
    /// A prefix is split into those that take at least one part in this many of all
    /// memory.
    const OPENED_PART: u64 = 100;
    const GROUP_COUNT: usize = 1 << 16;

    /// Creates an empty table; the first delimiter is tried first.
    pub fn new(delimiters: &[u8], depth: PrefixDepth) -> Self {
        let levels = match depth {
            PrefixDepth::Fitting => (1..=Self::FITTING_DEPTH).collect(),
            PrefixDepth::Exactly(delimiters) => vec![usize::from(delimiters.max(1))],
        };
        let new_level = |delimiter_count| Level {
            delimiter_count,
            values: CappedTable::new(Self::VALUE_COUNT_MAX),
            groups: Groups::Weighed(vec![0; Self::GROUP_COUNT]),
        };
        Self {
            delimiters: delimiters.to_vec(),
            depth,
            levels: levels.into_iter().map(new_level).collect(),
            none: Tally::default(),
            unlisted: Tally::default(),
            missed_max: 0,
        }
    }

    /// Reports whether the statistics of segments can be added.
    pub(super) fn fits_segments(delimiters: &[u8], depth: PrefixDepth) -> bool {
        let is_short = match depth {
            PrefixDepth::Fitting => true,
            PrefixDepth::Exactly(depth) => usize::from(depth) <= PrefixTree::DEPTH_MAX,
        };
        is_short && delimiters == KEY_DELIMITERS.as_bytes()
    }

    /// Adds the records of a segment by its own statistics; see
    /// [`KeyPrefixTable::fits_segments`].
    pub(super) fn add_segment(&mut self, stored: &SegmentStatistics) {
        // A prefix has itself as a prefix, and the same shorter ones as its keys.
        for (prefix, tally) in &stored.prefixes.rows {
            self.add(prefix, tally);
        }
        self.none.merge(&stored.prefixes.none);
        self.unlisted.merge(&stored.prefix_unlisted());
        let unlisted_max = stored.prefixes.unlisted_max;
        self.missed_max = self.missed_max.saturating_add(unlisted_max);
    }

    /// Returns the most bytes of items ([`Tally::item_bytes`]) that the row of a prefix
    /// lacks; 0 if they are exact.
    pub fn missed_max(&self) -> u64 {
        self.missed_max
    }

    /// Adds a record.
    pub(super) fn add(&mut self, key: &[u8], tally: &Tally) {
        let Some(delimiter) = delimiter_of(key, &self.delimiters) else {
            self.none.merge(tally);
            return;
        };
        for level in &mut self.levels {
            let end = prefix_end(key, delimiter, level.delimiter_count);
            if let Some(prefix) = end.and_then(|end| key.get(..end)) {
                level.add(prefix, delimiter, tally);
            }
        }
    }

    /// Adds the counts of another part with the same delimiters and depth.
    pub(super) fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.delimiters, other.delimiters);
        for (level, more) in self.levels.iter_mut().zip(other.levels) {
            level.values.merge(more.values);
            if let (Groups::Weighed(sums), Groups::Weighed(weights)) =
                (&mut level.groups, more.groups)
            {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = sum.saturating_add(weight);
                }
            }
        }
        self.none.merge(&other.none);
        self.unlisted.merge(&other.unlisted);
        self.missed_max = self.missed_max.saturating_add(other.missed_max);
    }

    /// Reports whether it is time to move what is kept into the table of all threads: each
    /// would otherwise keep nearly all prefixes.
    pub(super) fn is_large(&self) -> bool {
        const VALUE_COUNT: usize = 1024;
        let mut levels = self.levels.iter();
        levels.any(|level| level.values.len() >= VALUE_COUNT)
    }

    /// Moves the counts of prefixes into another table with the same delimiters and depth.
    /// Everything else stays for [`KeyPrefixTable::merge`].
    pub(super) fn move_prefixes_into(&mut self, sum: &mut Self) {
        for (level, sum) in self.levels.iter_mut().zip(&mut sum.levels) {
            level.values.move_into(&mut sum.values);
        }
    }

    /// Returns an empty table for a second count of the same records, which keeps the
    /// heaviest prefixes; `None` if this one has kept all.
    pub fn to_recount(&self) -> Option<Self> {
        let is_full = |level: &Level| level.values.others().records > 0;
        if !self.levels.iter().any(is_full) {
            return None;
        }
        let ranked = |level: &Level| Level {
            delimiter_count: level.delimiter_count,
            values: CappedTable::new(Self::VALUE_COUNT_MAX),
            groups: match &level.groups {
                Groups::Weighed(weights) => Groups::Ranked(Arc::new(Ranks::of(weights))),
                Groups::Ranked(ranks) => Groups::Ranked(Arc::clone(ranks)),
            },
        };
        Some(Self {
            delimiters: self.delimiters.clone(),
            depth: self.depth,
            levels: self.levels.iter().map(ranked).collect(),
            none: Tally::default(),
            unlisted: Tally::default(),
            missed_max: 0,
        })
    }

    /// Returns how much of a key is its prefix.
    pub fn depth(&self) -> PrefixDepth {
        self.depth
    }

    /// Returns the prefixes, those with the most memory first. `whole` is the tally of
    /// all records, and decides how memory is computed; see [`Tally::memory_bytes`].
    pub fn rows(&self, whole: &Tally) -> Vec<PrefixRow<'_>> {
        let mut levels = self.levels.iter();
        let Some(first) = levels.next() else {
            return Vec::new();
        };
        let mut rows = first.rows(whole);
        let all = whole.memory_bytes(whole);
        let least = all.div_ceil(Self::OPENED_PART).max(1);
        for (level, above) in levels.zip(&self.levels) {
            // At most a hundred of them can take a hundredth each.
            let heavy = level.rows(whole).into_iter();
            let heavy: Vec<_> = heavy
                .take_while(|row| row.tally.memory_bytes(whole) >= least)
                .collect();
            for row in heavy {
                open(&mut rows, row, above.delimiter_count);
            }
        }
        // Prefixes with the same start stay in the order of their names.
        rows.sort_by(|one, two| {
            let weight = |row: &PrefixRow<'_>| (row.tally.memory_bytes(whole), row.tally.records);
            weight(two)
                .cmp(&weight(one))
                .then_with(|| one.prefix.cmp(two.prefix))
        });
        rows
    }

    /// Returns the count of all prefixes that did not fit.
    pub fn others(&self) -> Tally {
        let first = self.levels.first();
        let mut others = self.unlisted;
        if let Some(level) = first {
            others.merge(level.values.others());
        }
        others
    }

    /// Returns the most bytes of items ([`Tally::item_bytes`]) that a single prefix among
    /// those that did not fit can have; 0 if all fit.
    pub fn other_max(&self) -> u64 {
        let others = self.levels.first().map_or(0, Level::other_max);
        others.saturating_add(self.missed_max)
    }
}

impl Level {
    fn add(&mut self, prefix: &[u8], delimiter: u8, tally: &Tally) {
        // The rank is filled in once the prefix is complete.
        let mut name = vec![0; RANK_LEN];
        push_without_numbers(&mut name, prefix, delimiter);
        let hash = value_hash(name.get(RANK_LEN..).unwrap_or_default());
        let group = usize::from(low_bits(hash));
        match &mut self.groups {
            Groups::Weighed(weights) => {
                if let Some(weight) = weights.get_mut(group) {
                    *weight = weight.saturating_add(tally.item_bytes);
                }
            }
            Groups::Ranked(ranks) => {
                let rank = ranks.by_group.get(group).copied().unwrap_or(u16::MAX);
                if let Some(place) = name.first_chunk_mut() {
                    *place = rank.to_be_bytes();
                }
            }
        }
        self.values.add(name.as_slice(), tally);
    }

    fn rows(&self, whole: &Tally) -> Vec<PrefixRow<'_>> {
        let rows = self.values.heaviest(whole).into_iter();
        rows.map(|(name, tally)| PrefixRow {
            prefix: name.get(RANK_LEN..).unwrap_or_default(),
            tally: *tally,
            is_rest: false,
        })
        .collect()
    }

    fn other_max(&self) -> u64 {
        let others = self.values.others();
        if others.records == 0 {
            return 0;
        }
        let Groups::Ranked(ranks) = &self.groups else {
            return others.item_bytes;
        };
        // A prefix that did not fit belongs to the group of the last one that did, or to
        // a lighter group.
        let last = self.values.last().and_then(|name| name.first_chunk());
        let rank = last.map_or(0, |bytes| usize::from(u16::from_be_bytes(*bytes)));
        let weight = ranks.weights.get(rank).copied();
        weight.unwrap_or(u64::MAX).min(others.item_bytes)
    }
}

impl Ranks {
    fn of(weights: &[u64]) -> Self {
        let mut groups: Vec<usize> = (0..weights.len()).collect();
        let weight_of = |group: &usize| weights.get(*group).copied().unwrap_or(0);
        // The sort is stable, so groups of equal weight keep their order.
        groups.sort_by_key(|group| std::cmp::Reverse(weight_of(group)));
        let mut by_group = vec![u16::MAX; weights.len()];
        for (rank, group) in groups.iter().enumerate() {
            if let Some(place) = by_group.get_mut(*group) {
                *place = u16::try_from(rank).unwrap_or(u16::MAX);
            }
        }
        Self {
            by_group,
            weights: groups.iter().map(weight_of).collect(),
        }
    }
}

const RANK_LEN: usize = 2;

/// Moves a longer prefix out of the row of the shorter one that it starts with.
fn open<'a>(rows: &mut Vec<PrefixRow<'a>>, row: PrefixRow<'a>, delimiter_count: usize) {
    let delimiter = row.prefix.last().copied().unwrap_or_default();
    let end = prefix_end(row.prefix, delimiter, delimiter_count);
    let shorter = end.and_then(|end| row.prefix.get(..end));
    let mut above = rows.iter().enumerate();
    let above =
        above.find(|(_, above)| Some(above.prefix) == shorter && above.prefix != row.prefix);
    let Some((at, above)) = above else {
        return;
    };
    let rest = above.tally.without(&row.tally);
    if rest.records == 0 {
        rows.swap_remove(at);
    } else if let Some(above) = rows.get_mut(at) {
        above.tally = rest;
        above.is_rest = true;
    }
    rows.push(row);
}

fn low_bits(hash: u64) -> u16 {
    let [.., high, low] = hash.to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Tally = weight(1);

    const fn weight(item_bytes: u64) -> Tally {
        Tally {
            records: 1,
            key_bytes: 1,
            value_bytes: 0,
            item_bytes,
            chunk_bytes: 0,
            class_records: 0,
            chunk_records: 0,
        }
    }

    fn table(depth: PrefixDepth) -> KeyPrefixTable {
        KeyPrefixTable::new(KEY_DELIMITERS.as_bytes(), depth)
    }

    fn shown(table: &KeyPrefixTable) -> Vec<(String, u64, bool)> {
        let text = |prefix: &[u8]| String::from_utf8_lossy(prefix).into_owned();
        let mut whole = table.none;
        for row in table.levels[0].rows(&ONE) {
            whole.merge(&row.tally);
        }
        let rows = table.rows(&whole).into_iter();
        rows.map(|row| (text(row.prefix), row.tally.records, row.is_rest))
            .collect()
    }

    #[test]
    fn keys_of_one_kind_have_one_prefix() {
        let mut whole = table(PrefixDepth::Exactly(1));
        for (key, wanted) in [
            ("user:123:mail", "user:"),
            ("user_profile:7", "user_profile:"),
            ("page/1/x_y", "page/"),
            ("view_12345", "view_"),
            ("a.b-c", "a.b-"),
            ("page17:x", "page#:"),
            ("v2.10:x", "v#.#:"),
            ("550e8400-e29b-41d4", "#-"),
            ("d41d8cd98f00b204:x", "#:"),
            // Hexadecimal letters alone are a word.
            ("deadbeef:x", "deadbeef:"),
            ("feed1:x", "feed#:"),
            ("App\\Model::7", "App\\Model::"),
            // A delimiter at the start ends nothing, and makes the number after it a
            // version.
            (":1:x", ":1:"),
            ("::12:x", "::12:"),
            (":123:x", ":#:"),
            (":1x:x", ":#x:"),
            (":x/y", ":x/"),
            ("\u{e9}:x", "\u{e9}:"),
        ] {
            let mut one = table(PrefixDepth::Exactly(1));
            one.add(key.as_bytes(), &ONE);
            assert_eq!(shown(&one), [(wanted.to_owned(), 1, false)], "{key}");
            whole.merge(one);
        }
        for key in [&b"plain"[..], b":x", b"::", b""] {
            whole.add(key, &ONE);
        }
        assert_eq!(whole.none.records, 4);
        assert_eq!(whole.rows(&ONE).len(), 18);
    }

    #[test]
    fn a_prefix_goes_as_deep_as_is_asked() {
        for (key, wanted) in [
            ("user:1", ["user:", "user:", "user:"]),
            ("prod:user:1", ["prod:", "prod:user:", "prod:user:"]),
            (":1:user:7", [":1:", ":1:user:", ":1:user:"]),
            ("a:b:c:d", ["a:", "a:b:", "a:b:c:"]),
            ("a::b::c", ["a::", "a::b::", "a::b::"]),
            ("a:b_c:d", ["a:", "a:b_c:", "a:b_c:"]),
        ] {
            for (depth, wanted) in (1..).zip(wanted) {
                let mut one = table(PrefixDepth::Exactly(depth));
                one.add(key.as_bytes(), &ONE);
                assert_eq!(shown(&one), [(wanted.to_owned(), 1, false)], "{key}");
            }
        }
        let mut last = table(PrefixDepth::Exactly(u8::MAX));
        last.add(&b":".repeat(300), &ONE);
        last.add(&b"x:".repeat(300), &ONE);
        assert_eq!((last.none.records, last.rows(&ONE).len()), (1, 1));
    }

    #[test]
    fn of_itself_it_goes_as_deep_as_tells_kinds_apart() {
        let mut fitting = table(PrefixDepth::Fitting);
        for number in 0..1000 {
            fitting.add(format!("user:{number}").as_bytes(), &weight(10));
            fitting.add(format!("prod:page:{number}").as_bytes(), &weight(10));
            fitting.add(format!("prod:1:cart:{number}").as_bytes(), &weight(10));
            fitting.add(format!(":1:view:{number}").as_bytes(), &weight(10));
            // Every name is a prefix of its own, and none weighs much.
            let name = char::from_u32(0x1000 + number).unwrap();
            fitting.add(format!("mail:{name}:x").as_bytes(), &weight(10));
            fitting.add(format!("prod:{name}:x").as_bytes(), &weight(1));
        }
        fitting.add(b"plain", &ONE);
        let wanted = [
            (":1:view:", 1000, false),
            ("mail:", 1000, false),
            ("prod:#:cart:", 1000, false),
            ("prod:page:", 1000, false),
            ("user:", 1000, false),
            ("prod:", 1000, true),
        ];
        let wanted = wanted.map(|(prefix, records, is_rest)| (prefix.to_owned(), records, is_rest));
        assert_eq!(shown(&fitting), wanted);
        assert_eq!((fitting.to_recount(), fitting.other_max()), (None, 0));
    }

    /// The heavy prefixes have the highest names; each record comes several times.
    fn too_many() -> Vec<(String, u64)> {
        let count = KeyPrefixTable::VALUE_COUNT_MAX * 4;
        let letter = |number: usize| char::from(b'a' + u8::try_from(number % 26).unwrap());
        let name = |number: usize| -> String {
            [17_576, 676, 26, 1]
                .map(|unit| letter(number / unit))
                .iter()
                .collect()
        };
        (0..count)
            .flat_map(|number| {
                let is_heavy = number >= count - 50;
                let part = (
                    format!("k{}:x", name(number)),
                    if is_heavy { 5000 } else { 1 },
                );
                [part.clone(), part]
            })
            .collect()
    }

    #[test]
    fn of_too_many_the_heaviest_are_kept_whatever_the_order() {
        let keys = too_many();
        let count = |mut table: KeyPrefixTable, keys: &[(String, u64)]| {
            for (key, memory) in keys {
                table.add(key.as_bytes(), &weight(*memory));
            }
            table
        };
        let first = count(table(PrefixDepth::Exactly(1)), &keys);
        let empty = first.to_recount().unwrap();
        let second = count(empty.clone(), &keys);
        let rows = second.rows(&ONE);
        assert_eq!(rows.len(), KeyPrefixTable::VALUE_COUNT_MAX);
        assert!(rows[..50].iter().all(|row| row.tally.item_bytes == 10_000));
        assert!(rows[50..].iter().all(|row| row.tally.item_bytes == 2));
        let sum: u64 = rows.iter().map(|row| row.tally.records).sum();
        let all = u64::try_from(keys.len()).unwrap();
        assert_eq!(sum + second.others().records, all);
        // A group has a few prefixes, and no heavy one is left out.
        assert!(
            (2..100).contains(&second.other_max()),
            "{}",
            second.other_max()
        );

        let (front, back) = keys.split_at(keys.len() / 3);
        let mut merged = count(table(PrefixDepth::Exactly(1)), back);
        merged.merge(count(table(PrefixDepth::Exactly(1)), front));
        assert_eq!(merged.to_recount(), Some(empty.clone()));
        let mut again = count(empty.clone(), back);
        again.merge(count(empty, front));
        assert_eq!(again, second);
    }

    #[test]
    fn other_delimiters_make_other_prefixes() {
        let mut table = KeyPrefixTable::new(b"|", PrefixDepth::Fitting);
        table.add(b"a:b|c", &ONE);
        table.add(b"a:b", &ONE);
        assert_eq!(shown(&table), [("a:b|".to_owned(), 1, false)]);
        assert_eq!(table.none, ONE);
    }
}
