//! Everything that is counted for records, in parts that can be merged.

use crate::codecs::format::column::KeyRecord;
use crate::codecs::statistics::{Largest, RecordFacts, SegmentStatistics, Span, Tally};
use crate::jobs::inspect::capped_table::CappedTable;
use crate::jobs::inspect::histogram::Histogram;
use crate::jobs::inspect::key_prefix::{KeyPrefixTable, PrefixDepth};
use crate::words::item::{Attribute, Exptime, ItemMeta, SlabClass};
use crate::words::units::{UnixSecs, to_u64};

/// Counts records by several properties.
///
/// Two of these for the same moment, delimiters, depth and number of largest values can
/// be merged. The result is what a single one would have counted: neither the order of
/// the records nor how they were divided makes a difference.
///
/// # Memory
///
/// Whatever is counted, at most [`ClientFlagsTable::VALUE_COUNT_MAX`] table entries of
/// some 50 bytes; [`KeyPrefixTable::VALUE_COUNT_MAX`] entries of some 350 bytes and half
/// a megabyte for each depth of prefixes, of which there are at most three; and the keys
/// of the largest values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    at: UnixSecs,
    /// All records.
    pub total: Tally,
    /// Range of key lengths; `None` if there are no records.
    pub key_len: Option<LengthRange>,
    /// Range of value lengths; `None` if there are no records.
    pub value_len: Option<LengthRange>,
    /// Records by the time until they expire.
    pub ttl: TtlHistogram,
    /// Records by the time since a client last read them.
    pub idle: IdleHistogram,
    /// Records by the length of the value in bytes.
    pub value_sizes: Histogram,
    /// Records that may belong to another row of that, as in [`TtlHistogram::unsure`].
    pub value_sizes_unsure: u64,
    /// Records by the start of the key.
    pub key_prefixes: KeyPrefixTable,
    /// Records by slab class.
    pub slab_classes: SlabClassTable,
    /// Records by client flags.
    pub client_flags: ClientFlagsTable,
    /// Records by each mark, in the order of [`Attribute::ALL`].
    pub marks: [MarkTally; Attribute::ALL.len()],
    /// The largest values.
    pub largest: Largest,
}

/// A range of lengths in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LengthRange {
    /// The lowest.
    pub min: u64,
    /// The highest.
    pub max: u64,
}

/// Records by the time until they expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtlHistogram {
    /// Records that have expired, or expire at this moment.
    pub expired: Tally,
    /// Records by the seconds they have left, at least one.
    pub left: Histogram,
    /// Records that stay until they are deleted or evicted.
    pub never: Tally,
    /// Records for which the server did not report it.
    pub unknown: Tally,
    /// Records that may belong to another row: they are of a range of moments that is
    /// known, and a bound of a row is within it.
    pub unsure: u64,
}

/// Records by the time since a client last read them.
///
/// A server notes a read at most once a minute for an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleHistogram {
    /// Records by the seconds since the last read. A read after the moment counts as 0
    /// seconds.
    pub since: Histogram,
    /// Records for which the server did not report it.
    pub unknown: Tally,
    /// Records that may belong to another row, as in [`TtlHistogram::unsure`].
    pub unsure: u64,
}

/// Records by slab class. If the settings of two nodes differ, the same class may hold
/// items of different sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlabClassTable {
    /// Indexed by the class.
    tallies: Vec<Tally>,
    /// Records for which the server did not report it.
    pub unknown: Tally,
}

/// Records by client flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFlagsTable {
    /// Records by their client flags.
    pub values: CappedTable<u64>,
    /// Records whose flags the statistics of their segment do not list; some may have
    /// flags that other segments list.
    pub unlisted: Tally,
    /// Records for which the server did not report it.
    pub unknown: Tally,
}

/// Records by one mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkTally {
    /// Records with the mark.
    pub set: Tally,
    /// Records without it.
    pub unset: Tally,
    /// Records for which the server did not report it.
    pub unknown: Tally,
}

impl Statistics {
    /// Starts counting: times relative to `at`, keys by prefixes up to these delimiters,
    /// and this many of the largest values.
    pub fn new(at: UnixSecs, delimiters: &[u8], depth: PrefixDepth, largest_count: usize) -> Self {
        Self {
            at,
            total: Tally::default(),
            key_len: None,
            value_len: None,
            ttl: TtlHistogram {
                expired: Tally::default(),
                left: Histogram::new(Histogram::TIMES),
                never: Tally::default(),
                unknown: Tally::default(),
                unsure: 0,
            },
            idle: IdleHistogram {
                since: Histogram::new(Histogram::TIMES),
                unknown: Tally::default(),
                unsure: 0,
            },
            value_sizes: Histogram::new(Histogram::SIZES),
            value_sizes_unsure: 0,
            key_prefixes: KeyPrefixTable::new(delimiters, depth),
            slab_classes: SlabClassTable {
                tallies: vec![Tally::default(); SlabClassTable::CLASS_COUNT],
                unknown: Tally::default(),
            },
            client_flags: ClientFlagsTable {
                values: CappedTable::new(ClientFlagsTable::VALUE_COUNT_MAX),
                unlisted: Tally::default(),
                unknown: Tally::default(),
            },
            marks: [MarkTally::default(); Attribute::ALL.len()],
            largest: Largest::new(largest_count),
        }
    }

    /// Counts a record of the node with this index in the manifest.
    pub fn add(&mut self, record: &KeyRecord<'_>, node_index: usize) {
        let facts = record.facts();
        let tally = Tally::of(&facts);
        let value_len = u64::from(record.value_len);
        self.total.merge(&tally);
        LengthRange::add(&mut self.key_len, to_u64(record.key.len()));
        LengthRange::add(&mut self.value_len, value_len);
        self.value_sizes.add(value_len, &tally);
        self.ttl.add(record.meta.exptime, self.at, &tally);
        self.idle.add(record.meta.last_access, self.at, &tally);
        self.key_prefixes.add(record.key, &tally);
        self.slab_classes.add(record.meta.slab_class, &tally);
        self.client_flags.add(record.meta.client_flags, &tally);
        self.add_marks(&record.meta, &tally);
        self.largest.add(&facts, node_index);
    }

    /// Counts all records of a segment of the node with this index, by its own statistics.
    pub fn add_segment(&mut self, stored: &SegmentStatistics, node_index: usize) {
        self.total.merge(&stored.total);
        if stored.total.records > 0 {
            for len in [stored.key_len.0, stored.key_len.1] {
                LengthRange::add(&mut self.key_len, len.into());
            }
        }
        for span in &stored.value_lens {
            LengthRange::add(&mut self.value_len, span.first);
            LengthRange::add(&mut self.value_len, span.last);
            let sizes = &mut self.value_sizes;
            let unsure = span.divide(Histogram::SIZES, |size, part| sizes.add(size, part));
            self.value_sizes_unsure = self.value_sizes_unsure.saturating_add(unsure);
        }
        self.ttl.never.merge(&stored.never);
        self.ttl.unknown.merge(&stored.exptime_unknown());
        for span in &stored.exptimes {
            self.ttl.add_span(span, self.at);
        }
        self.idle.unknown.merge(&stored.last_access_unknown());
        for span in &stored.last_accesses {
            self.idle.add_span(span, self.at);
        }
        for (class, tally) in &stored.slab_classes {
            self.slab_classes.add(Some(SlabClass(*class)), tally);
        }
        self.slab_classes.add(None, &stored.slab_class_unknown());
        for (flags, tally) in &stored.client_flags {
            self.client_flags.add(Some(*flags), tally);
        }
        self.client_flags.add(None, &stored.flags_unknown);
        self.client_flags.unlisted.merge(&stored.flags_unlisted());
        for (sums, (set, unset)) in self.marks.iter_mut().zip(&stored.marks) {
            sums.set.merge(set);
            sums.unset.merge(unset);
            sums.unknown
                .merge(&stored.total.without(set).without(unset));
        }
        self.key_prefixes.add_segment(stored);
        for record in &stored.largest {
            let facts = RecordFacts {
                key: &record.key,
                value_len: record.value_len,
                meta: &record.meta,
            };
            self.largest.add(&facts, node_index);
        }
    }

    /// Reports whether every figure is exact, other than those of prefixes that do not
    /// fit their table.
    pub fn is_exact(&self) -> bool {
        self.ttl.unsure == 0
            && self.idle.unsure == 0
            && self.value_sizes_unsure == 0
            && self.client_flags.unlisted.records == 0
            && self.key_prefixes.missed_max() == 0
    }

    fn add_marks(&mut self, meta: &ItemMeta, tally: &Tally) {
        for (mark, sums) in Attribute::ALL.into_iter().zip(&mut self.marks) {
            let sum = match meta.attributes.get(mark) {
                Some(true) => &mut sums.set,
                Some(false) => &mut sums.unset,
                None => &mut sums.unknown,
            };
            sum.merge(tally);
        }
    }

    /// Adds the counts of other records.
    pub fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.at, other.at);
        self.total.merge(&other.total);
        LengthRange::merge(&mut self.key_len, other.key_len);
        LengthRange::merge(&mut self.value_len, other.value_len);
        self.ttl.expired.merge(&other.ttl.expired);
        self.ttl.left.merge(&other.ttl.left);
        self.ttl.never.merge(&other.ttl.never);
        self.ttl.unknown.merge(&other.ttl.unknown);
        self.ttl.unsure = self.ttl.unsure.saturating_add(other.ttl.unsure);
        self.idle.since.merge(&other.idle.since);
        self.idle.unknown.merge(&other.idle.unknown);
        self.idle.unsure = self.idle.unsure.saturating_add(other.idle.unsure);
        self.value_sizes_unsure = self
            .value_sizes_unsure
            .saturating_add(other.value_sizes_unsure);
        self.value_sizes.merge(&other.value_sizes);
        self.key_prefixes.merge(other.key_prefixes);
        self.slab_classes.merge(&other.slab_classes);
        self.client_flags.values.merge(other.client_flags.values);
        self.client_flags.unknown.merge(&other.client_flags.unknown);
        self.client_flags
            .unlisted
            .merge(&other.client_flags.unlisted);
        for (sums, more) in self.marks.iter_mut().zip(&other.marks) {
            sums.set.merge(&more.set);
            sums.unset.merge(&more.unset);
            sums.unknown.merge(&more.unknown);
        }
        self.largest.merge(other.largest);
    }
}

impl LengthRange {
    fn add(range: &mut Option<Self>, len: u64) {
        Self::merge(range, Some(Self { min: len, max: len }));
    }

    fn merge(range: &mut Option<Self>, other: Option<Self>) {
        *range = match (*range, other) {
            (Some(one), Some(two)) => Some(Self {
                min: one.min.min(two.min),
                max: one.max.max(two.max),
            }),
            (one, two) => one.or(two),
        };
    }
}

impl TtlHistogram {
    fn add(&mut self, exptime: Option<Exptime>, at: UnixSecs, tally: &Tally) {
        match exptime {
            None => self.unknown.merge(tally),
            Some(Exptime::Never) => self.never.merge(tally),
            Some(Exptime::At(UnixSecs(end))) => match end.saturating_sub(at.0) {
                0 => self.expired.merge(tally),
                left => self.left.add(left, tally),
            },
        }
    }
}

impl TtlHistogram {
    fn add_span(&mut self, span: &Span, at: UnixSecs) {
        // The first moments of the rows, from the one that is not over yet.
        let bounds = std::iter::once(1).chain(Histogram::TIMES.iter().copied());
        let cuts: Vec<u64> = bounds.map(|bound| at.0.saturating_add(bound)).collect();
        let unsure = span.divide(&cuts, |time, part| {
            self.add(Some(Exptime::At(UnixSecs(time))), at, part);
        });
        self.unsure = self.unsure.saturating_add(unsure);
    }
}

impl IdleHistogram {
    fn add_span(&mut self, span: &Span, at: UnixSecs) {
        // Where the row of less idle ones starts: a second after the bound of the row.
        let bounds = Histogram::TIMES.iter().rev();
        let cuts = bounds.filter_map(|bound| at.0.checked_sub(*bound)?.checked_add(1));
        let cuts: Vec<u64> = cuts.collect();
        let unsure = span.divide(&cuts, |time, part| self.add(Some(UnixSecs(time)), at, part));
        self.unsure = self.unsure.saturating_add(unsure);
    }

    fn add(&mut self, last_access: Option<UnixSecs>, at: UnixSecs, tally: &Tally) {
        match last_access {
            None => self.unknown.merge(tally),
            Some(UnixSecs(access)) => self.since.add(at.0.saturating_sub(access), tally),
        }
    }
}

impl SlabClassTable {
    /// All classes that the format can store; memcached has 63.
    const CLASS_COUNT: usize = 256;

    fn add(&mut self, class: Option<SlabClass>, tally: &Tally) {
        let sum = class.and_then(|SlabClass(class)| self.tallies.get_mut(usize::from(class)));
        sum.unwrap_or(&mut self.unknown).merge(tally);
    }

    fn merge(&mut self, other: &Self) {
        for (sum, tally) in self.tallies.iter_mut().zip(&other.tallies) {
            sum.merge(tally);
        }
        self.unknown.merge(&other.unknown);
    }

    /// Returns the classes that have records.
    pub fn iter(&self) -> impl Iterator<Item = (SlabClass, &Tally)> {
        let classes = (0..=u8::MAX).map(SlabClass).zip(&self.tallies);
        classes.filter(|(_, tally)| tally.records > 0)
    }
}

impl ClientFlagsTable {
    /// The most values that are kept; clients use few.
    pub const VALUE_COUNT_MAX: usize = 65_536;

    /// Returns the count of all flags that have no row.
    pub fn others(&self) -> Tally {
        let mut others = *self.values.others();
        others.merge(&self.unlisted);
        others
    }

    fn add(&mut self, client_flags: Option<u64>, tally: &Tally) {
        match client_flags {
            None => self.unknown.merge(tally),
            Some(value) => self.values.add(&value, tally),
        }
    }
}
