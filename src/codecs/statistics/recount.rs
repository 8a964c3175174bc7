//! Counts the records of a segment again, to compare them with its statistics.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;

use crate::codecs::statistics::counter::listed_meta;
use crate::codecs::statistics::largest::Largest;
use crate::codecs::statistics::prefix_tree::{parent_of, push_prefix};
use crate::codecs::statistics::segment::{SegmentStatistics, sum};
use crate::codecs::statistics::span::Span;
use crate::codecs::statistics::tally::{RecordFacts, Tally};
use crate::codecs::statistics::unlisted_prefixes::UnlistedPrefixes;
use crate::words::item::{Attribute, Exptime, SlabClass, escape_key};
use crate::words::units::{UnixSecs, to_u64};

/// Counts by the rows that the statistics of a segment have. Parts of a segment can be
/// merged.
#[derive(Clone, Debug)]
pub struct Recount {
    total: Tally,
    key_len: Option<(u8, u8)>,
    value_lens: Vec<Option<Span>>,
    never: Tally,
    exptimes: Vec<Option<Span>>,
    last_accesses: Vec<Option<Span>>,
    slab_classes: Vec<Tally>,
    class_unknown: Tally,
    exptime_unknown: Tally,
    access_unknown: Tally,
    flags_unknown: Tally,
    client_flags: Vec<Tally>,
    marks: [(Tally, Tally); Attribute::ALL.len()],
    no_prefix: Tally,
    /// What each listed prefix has, longer ones included.
    prefixes: Vec<Tally>,
    /// What each other prefix has, longer ones included.
    unlisted: UnlistedPrefixes,
    largest: Largest,
    name: Vec<u8>,
}

/// A figure that is not that of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which figure: the section of the frame, what of it, and which number.
    pub figure: String,
    /// What it is in the frame: a number, or a record.
    pub stored: String,
    /// The same, counted again.
    pub computed: String,
}

impl Difference {
    fn new(figure: String, stored: u64, computed: u64) -> Self {
        let (stored, computed) = (stored.to_string(), computed.to_string());
        Self {
            figure,
            stored,
            computed,
        }
    }
}

impl Recount {
    /// Starts counting by the rows of these statistics.
    pub fn new(stored: &SegmentStatistics) -> Self {
        Self {
            total: Tally::default(),
            key_len: None,
            value_lens: vec![None; stored.value_lens.len()],
            never: Tally::default(),
            exptimes: vec![None; stored.exptimes.len()],
            last_accesses: vec![None; stored.last_accesses.len()],
            slab_classes: vec![Tally::default(); stored.slab_classes.len()],
            class_unknown: Tally::default(),
            exptime_unknown: Tally::default(),
            access_unknown: Tally::default(),
            flags_unknown: Tally::default(),
            client_flags: vec![Tally::default(); stored.client_flags.len()],
            marks: [(Tally::default(), Tally::default()); Attribute::ALL.len()],
            no_prefix: Tally::default(),
            prefixes: vec![Tally::default(); stored.prefixes.rows.len()],
            unlisted: UnlistedPrefixes::default(),
            largest: Largest::new(stored.largest.len()),
            name: Vec::new(),
        }
    }

    /// Counts a record; `stored` is what the count was started with.
    pub fn add(&mut self, stored: &SegmentStatistics, record: &RecordFacts<'_>) {
        let tally = Tally::of(record);
        self.total.merge(&tally);
        let key_len = u8::try_from(record.key.len()).unwrap_or(u8::MAX);
        merge_range(&mut self.key_len, Some((key_len, key_len)));
        let value_len = record.value_len.into();
        add_to_span(&mut self.value_lens, &stored.value_lens, value_len, &tally);
        match record.meta.exptime {
            Some(Exptime::At(UnixSecs(at))) => {
                add_to_span(&mut self.exptimes, &stored.exptimes, at, &tally);
            }
            Some(Exptime::Never) => self.never.merge(&tally),
            None => self.exptime_unknown.merge(&tally),
        }
        match record.meta.last_access {
            Some(UnixSecs(access)) => {
                let spans = &stored.last_accesses;
                add_to_span(&mut self.last_accesses, spans, access, &tally);
            }
            None => self.access_unknown.merge(&tally),
        }
        match record.meta.slab_class {
            Some(SlabClass(class)) => {
                add_to_row(&mut self.slab_classes, &stored.slab_classes, &class, &tally);
            }
            None => self.class_unknown.merge(&tally),
        }
        match record.meta.client_flags {
            Some(flags) => {
                add_to_row(&mut self.client_flags, &stored.client_flags, &flags, &tally);
            }
            None => self.flags_unknown.merge(&tally),
        }
        for (mark, (set, unset)) in Attribute::ALL.into_iter().zip(&mut self.marks) {
            match record.meta.attributes.get(mark) {
                Some(true) => set.merge(&tally),
                Some(false) => unset.merge(&tally),
                None => {}
            }
        }
        self.name.clear();
        if push_prefix(&mut self.name, record.key) {
            let mut next = Some(self.name.as_slice());
            while let Some(name) = next {
                let rows = &stored.prefixes.rows;
                let found = rows.binary_search_by(|(row, _)| row.as_slice().cmp(name));
                match found.ok().and_then(|at| self.prefixes.get_mut(at)) {
                    Some(sum) => sum.merge(&tally),
                    None => self.unlisted.add(name, tally.item_bytes),
                }
                next = parent_of(name);
            }
        } else {
            self.no_prefix.merge(&tally);
        }
        self.largest.add(record, 0);
    }

    /// Adds the counts of another part.
    pub fn merge(&mut self, other: Self) {
        self.total.merge(&other.total);
        merge_range(&mut self.key_len, other.key_len);
        for (spans, more) in [
            (&mut self.value_lens, other.value_lens),
            (&mut self.exptimes, other.exptimes),
            (&mut self.last_accesses, other.last_accesses),
        ] {
            for (span, more) in spans.iter_mut().zip(more) {
                merge_span(span, more);
            }
        }
        for (sums, more) in [
            (&mut self.slab_classes, other.slab_classes),
            (&mut self.client_flags, other.client_flags),
            (&mut self.prefixes, other.prefixes),
        ] {
            for (sum, more) in sums.iter_mut().zip(more) {
                sum.merge(&more);
            }
        }
        for (sum, more) in [
            (&mut self.never, other.never),
            (&mut self.class_unknown, other.class_unknown),
            (&mut self.exptime_unknown, other.exptime_unknown),
            (&mut self.access_unknown, other.access_unknown),
            (&mut self.flags_unknown, other.flags_unknown),
            (&mut self.no_prefix, other.no_prefix),
        ] {
            sum.merge(&more);
        }
        for ((set, unset), (more_set, more_unset)) in self.marks.iter_mut().zip(other.marks) {
            set.merge(&more_set);
            unset.merge(&more_unset);
        }
        self.unlisted.merge(other.unlisted);
        self.largest.merge(other.largest);
    }

    /// Returns the first figure that is another than that of the records.
    pub fn compare(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let tallies = [
            ("TOTAL", stored.total, self.total),
            ("EXPTIME, never", stored.never, self.never),
            (
                "EXPTIME, unknown",
                stored.exptime_unknown(),
                self.exptime_unknown,
            ),
            (
                "LAST_ACCESS, unknown",
                stored.last_access_unknown(),
                self.access_unknown,
            ),
            (
                "SLAB_CLASS, unknown",
                stored.slab_class_unknown(),
                self.class_unknown,
            ),
            (
                "CLIENT_FLAGS, unknown",
                stored.flags_unknown,
                self.flags_unknown,
            ),
            (
                "KEY_PREFIX, without a prefix",
                stored.prefixes.none,
                self.no_prefix,
            ),
        ];
        let mut checked = tallies
            .into_iter()
            .map(|(what, stored, computed)| differing(&what, &stored, &computed));
        let found = checked.find_map(|found| found);
        let key_len = self.key_len.unwrap_or_default();
        let lens = [
            ("shortest", stored.key_len.0, key_len.0),
            ("longest", stored.key_len.1, key_len.1),
        ];
        let mut lens = lens.into_iter();
        let wrong_len = lens.find(|(_, stored, computed)| stored != computed);
        let wrong_len = wrong_len.map(|(which, stored, computed)| {
            Difference::new(
                format!("TOTAL, bytes of the {which} key"),
                stored.into(),
                computed.into(),
            )
        });
        found
            .or(wrong_len)
            .or_else(|| compare_spans("VALUE_LEN", &stored.value_lens, &self.value_lens))
            .or_else(|| compare_spans("EXPTIME", &stored.exptimes, &self.exptimes))
            .or_else(|| compare_spans("LAST_ACCESS", &stored.last_accesses, &self.last_accesses))
            .or_else(|| compare_rows("SLAB_CLASS", &stored.slab_classes, &self.slab_classes))
            .or_else(|| compare_rows("CLIENT_FLAGS", &stored.client_flags, &self.client_flags))
            .or_else(|| self.compare_marks(stored))
            .or_else(|| self.compare_prefixes(stored))
            .or_else(|| self.compare_unlisted(stored))
            .or_else(|| self.compare_largest(stored))
    }

    fn compare_marks(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let mut pairs = (0..).zip(stored.marks.iter().zip(&self.marks));
        pairs.find_map(|(bit, ((set, unset), (computed_set, computed_unset)))| {
            let bit: u8 = bit;
            differing(&format!("MARKS, bit {bit} set"), set, computed_set)
                .or_else(|| differing(&format!("MARKS, bit {bit} not set"), unset, computed_unset))
        })
    }

    /// What is listed below a prefix must be there, and all but `missed_max` of what is
    /// there must be listed.
    fn compare_prefixes(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let rows = &stored.prefixes.rows;
        rows.iter()
            .zip(&self.prefixes)
            .find_map(|((name, _), computed)| {
                let below = rows.iter().filter(|(row, _)| is_below(row, name));
                let listed = sum(below.map(|(_, tally)| tally));
                let Some(missed) = computed.checked_without(&listed) else {
                    let is_above = |stored: u64, computed: u64| stored > computed;
                    let what = format!("KEY_PREFIX, {}", prefix_text(name));
                    return first_of(&what, &listed, computed, is_above);
                };
                let stored = stored.prefixes.missed_max;
                (missed.item_bytes > stored).then(|| {
                    Difference::new(
                        format!("KEY_PREFIX, missed_max, by {}", prefix_text(name)),
                        stored,
                        missed.item_bytes,
                    )
                })
            })
    }

    /// All but `unlisted_max` of any other prefix must be listed, by longer ones.
    fn compare_unlisted(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let mut listed: BTreeMap<&[u8], u64> = BTreeMap::new();
        for (row, tally) in &stored.prefixes.rows {
            let mut next = parent_of(row);
            while let Some(name) = next {
                let sum = listed.entry(name).or_default();
                *sum = sum.saturating_add(tally.item_bytes);
                next = parent_of(name);
            }
        }
        let most = stored.prefixes.unlisted_max;
        let mut missed = self.unlisted.iter().map(|(name, item_bytes)| {
            let listed = listed.get(name).copied().unwrap_or(0);
            (name, item_bytes.saturating_sub(listed))
        });
        let (name, computed) = missed.find(|(_, missed)| *missed > most)?;
        Some(Difference::new(
            format!("KEY_PREFIX, unlisted_max, by {}", prefix_text(name)),
            most,
            computed,
        ))
    }

    fn compare_largest(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let wanted = self
            .total
            .records
            .min(to_u64(SegmentStatistics::LARGEST_COUNT_MAX));
        let listed = to_u64(stored.largest.len());
        if listed != wanted {
            return Some(Difference::new(
                "LARGEST, number of records".to_owned(),
                listed,
                wanted,
            ));
        }
        let mut pairs = (0..).zip(stored.largest.iter().zip(self.largest.iter()));
        let different = pairs.find(|(_, (stored, computed))| {
            (
                Reverse(stored.value_len),
                stored.key.as_slice(),
                stored.meta,
            ) != (
                Reverse(computed.value_len),
                computed.key,
                listed_meta(computed.meta),
            )
        });
        different.map(|(number, (stored, computed))| {
            let number: u64 = number;
            let text = |key: &[u8], value_len: u32| {
                format!("\"{}\" of {value_len} bytes", escape_key(key))
            };
            let mut stored = text(&stored.key, stored.value_len);
            let computed = text(computed.key, computed.value_len);
            if stored == computed {
                stored.push_str(" with other metadata");
            }
            Difference {
                figure: format!("LARGEST, record {number}"),
                stored,
                computed,
            }
        })
    }
}

fn prefix_text(name: &[u8]) -> String {
    format!("prefix \"{}\"", escape_key(name))
}

/// Reports whether a prefix is this one or a longer one that starts with it.
fn is_below(row: &[u8], name: &[u8]) -> bool {
    let mut next = Some(row);
    while let Some(prefix) = next {
        if prefix == name {
            return true;
        }
        next = parent_of(prefix);
    }
    false
}

fn merge_range(range: &mut Option<(u8, u8)>, more: Option<(u8, u8)>) {
    *range = match (*range, more) {
        (Some((least, most)), Some((low, high))) => Some((least.min(low), most.max(high))),
        (one, two) => one.or(two),
    };
}

fn merge_span(span: &mut Option<Span>, more: Option<Span>) {
    match (span.as_mut(), more) {
        (Some(span), Some(more)) => {
            span.first = span.first.min(more.first);
            span.last = span.last.max(more.last);
            span.tally.merge(&more.tally);
        }
        (None, more) => *span = more,
        (Some(_), None) => {}
    }
}

fn add_to_span(spans: &mut [Option<Span>], stored: &[Span], quantity: u64, tally: &Tally) {
    let at = stored.partition_point(|span| span.last < quantity);
    let is_within = stored.get(at).is_some_and(|span| span.first <= quantity);
    if is_within && let Some(span) = spans.get_mut(at) {
        merge_span(
            span,
            Some(Span {
                first: quantity,
                last: quantity,
                tally: *tally,
            }),
        );
    }
}

fn add_to_row<K: Ord>(sums: &mut [Tally], rows: &[(K, Tally)], value: &K, tally: &Tally) {
    let found = rows.binary_search_by(|(row, _)| row.cmp(value));
    if let Some(sum) = found.ok().and_then(|at| sums.get_mut(at)) {
        sum.merge(tally);
    }
}

fn differing(what: &dyn Display, stored: &Tally, computed: &Tally) -> Option<Difference> {
    first_of(what, stored, computed, |stored, computed| {
        stored != computed
    })
}

/// Returns the first number of two tallies that is wrong.
fn first_of(
    what: &dyn Display,
    stored: &Tally,
    computed: &Tally,
    is_wrong: impl Fn(u64, u64) -> bool,
) -> Option<Difference> {
    let numbers = [
        ("records", stored.records, computed.records),
        ("key bytes", stored.key_bytes, computed.key_bytes),
        ("value bytes", stored.value_bytes, computed.value_bytes),
        ("item bytes", stored.item_bytes, computed.item_bytes),
        ("chunk bytes", stored.chunk_bytes, computed.chunk_bytes),
        (
            "records of a known class",
            stored.class_records,
            computed.class_records,
        ),
        (
            "records of the default class",
            stored.chunk_records,
            computed.chunk_records,
        ),
    ];
    let (number, stored, computed) = numbers
        .into_iter()
        .find(|(_, stored, computed)| is_wrong(*stored, *computed))?;
    Some(Difference::new(
        format!("{what}, {number}"),
        stored,
        computed,
    ))
}

fn compare_spans(
    section: &'static str,
    stored: &[Span],
    computed: &[Option<Span>],
) -> Option<Difference> {
    stored.iter().zip(computed).find_map(|(stored, computed)| {
        let what = format!("{section}, span from {} to {}", stored.first, stored.last);
        let Some(computed) = computed else {
            return differing(&what, &stored.tally, &Tally::default());
        };
        let ends = [
            ("first value", stored.first, computed.first),
            ("last value", stored.last, computed.last),
        ];
        let wrong = ends
            .into_iter()
            .find(|(_, stored, computed)| stored != computed);
        let wrong = wrong.map(|(end, stored, computed)| {
            Difference::new(format!("{what}, {end}"), stored, computed)
        });
        wrong.or_else(|| differing(&what, &stored.tally, &computed.tally))
    })
}

fn compare_rows<K: Display>(
    section: &'static str,
    stored: &[(K, Tally)],
    computed: &[Tally],
) -> Option<Difference> {
    let mut pairs = stored.iter().zip(computed);
    pairs.find_map(|((value, stored), computed)| {
        differing(&format!("{section}, row {value}"), stored, computed)
    })
}
