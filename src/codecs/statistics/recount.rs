//! Counts the records of a segment again, to compare them with its statistics.

use std::cmp::Reverse;

use crate::codecs::statistics::counter::listed_meta;
use crate::codecs::statistics::largest::Largest;
use crate::codecs::statistics::prefix_tree::{parent_of, push_prefix};
use crate::codecs::statistics::segment::{SegmentStatistics, sum};
use crate::codecs::statistics::span::Span;
use crate::codecs::statistics::tally::{RecordFacts, Tally};
use crate::words::item::{Attribute, Exptime, SlabClass};
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
    largest: Largest,
    name: Vec<u8>,
}

/// A figure that is not that of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The section of the frame.
    pub section: &'static str,
    /// A number in the frame.
    pub stored: u64,
    /// The same number, counted again.
    pub computed: u64,
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
                if let Some(sum) = found.ok().and_then(|at| self.prefixes.get_mut(at)) {
                    sum.merge(&tally);
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
        self.largest.merge(other.largest);
    }

    /// Returns the first figure that is another than that of the records.
    pub fn compare(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let tallies = [
            ("TOTAL", stored.total, self.total),
            ("EXPTIME", stored.never, self.never),
            ("EXPTIME", stored.exptime_unknown(), self.exptime_unknown),
            (
                "LAST_ACCESS",
                stored.last_access_unknown(),
                self.access_unknown,
            ),
            (
                "SLAB_CLASS",
                stored.slab_class_unknown(),
                self.class_unknown,
            ),
            ("CLIENT_FLAGS", stored.flags_unknown, self.flags_unknown),
            ("KEY_PREFIX", stored.prefixes.none, self.no_prefix),
        ];
        let mut checked = tallies
            .into_iter()
            .map(|(section, stored, computed)| differing(section, &stored, &computed));
        let found = checked.find_map(|found| found);
        let key_len = self.key_len.unwrap_or_default();
        let is_key_len = (stored.key_len != key_len).then_some(Difference {
            section: "TOTAL",
            stored: stored.key_len.1.into(),
            computed: key_len.1.into(),
        });
        found
            .or(is_key_len)
            .or_else(|| compare_spans("VALUE_LEN", &stored.value_lens, &self.value_lens))
            .or_else(|| compare_spans("EXPTIME", &stored.exptimes, &self.exptimes))
            .or_else(|| compare_spans("LAST_ACCESS", &stored.last_accesses, &self.last_accesses))
            .or_else(|| compare_rows("SLAB_CLASS", &stored.slab_classes, &self.slab_classes))
            .or_else(|| compare_rows("CLIENT_FLAGS", &stored.client_flags, &self.client_flags))
            .or_else(|| self.compare_marks(stored))
            .or_else(|| self.compare_prefixes(stored))
            .or_else(|| self.compare_largest(stored))
    }

    fn compare_marks(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let mut pairs = stored.marks.iter().zip(&self.marks);
        pairs.find_map(|((set, unset), (computed_set, computed_unset))| {
            differing("MARKS", set, computed_set)
                .or_else(|| differing("MARKS", unset, computed_unset))
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
                let missed = computed.checked_without(&listed);
                let is_right =
                    missed.is_some_and(|missed| missed.item_bytes <= stored.prefixes.missed_max);
                (!is_right).then_some(Difference {
                    section: "KEY_PREFIX",
                    stored: listed.item_bytes,
                    computed: computed.item_bytes,
                })
            })
    }

    fn compare_largest(&self, stored: &SegmentStatistics) -> Option<Difference> {
        let wanted = self
            .total
            .records
            .min(to_u64(SegmentStatistics::LARGEST_COUNT_MAX));
        let listed = to_u64(stored.largest.len());
        if listed != wanted {
            return Some(Difference {
                section: "LARGEST",
                stored: listed,
                computed: wanted,
            });
        }
        let mut pairs = stored.largest.iter().zip(self.largest.iter());
        let different = pairs.find(|(stored, computed)| {
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
        different.map(|(stored, computed)| Difference {
            section: "LARGEST",
            stored: stored.value_len.into(),
            computed: computed.value_len.into(),
        })
    }
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

fn differing(section: &'static str, stored: &Tally, computed: &Tally) -> Option<Difference> {
    let pairs = [
        (stored.records, computed.records),
        (stored.key_bytes, computed.key_bytes),
        (stored.value_bytes, computed.value_bytes),
        (stored.item_bytes, computed.item_bytes),
        (stored.chunk_bytes, computed.chunk_bytes),
        (stored.class_records, computed.class_records),
        (stored.chunk_records, computed.chunk_records),
    ];
    let (stored, computed) = pairs
        .into_iter()
        .find(|(stored, computed)| stored != computed)?;
    Some(Difference {
        section,
        stored,
        computed,
    })
}

fn compare_spans(
    section: &'static str,
    stored: &[Span],
    computed: &[Option<Span>],
) -> Option<Difference> {
    stored.iter().zip(computed).find_map(|(stored, computed)| {
        let Some(computed) = computed else {
            return Some(Difference {
                section,
                stored: stored.tally.records,
                computed: 0,
            });
        };
        let ends = [(stored.first, computed.first), (stored.last, computed.last)];
        let wrong = ends
            .into_iter()
            .find(|(stored, computed)| stored != computed);
        let wrong = wrong.map(|(stored, computed)| Difference {
            section,
            stored,
            computed,
        });
        wrong.or_else(|| differing(section, &stored.tally, &computed.tally))
    })
}

fn compare_rows<K>(
    section: &'static str,
    stored: &[(K, Tally)],
    computed: &[Tally],
) -> Option<Difference> {
    let mut pairs = stored.iter().zip(computed);
    pairs.find_map(|((_, stored), computed)| differing(section, stored, computed))
}
