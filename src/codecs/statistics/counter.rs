//! Counts the records of a segment as it is written.

use crate::codecs::statistics::largest::Largest;
use crate::codecs::statistics::prefix_tree::PrefixTree;
use crate::codecs::statistics::segment::{LargestRecord, SegmentStatistics, sum};
use crate::codecs::statistics::span::{SpanCounter, SpanScale};
use crate::codecs::statistics::tally::{RecordFacts, Tally};
use crate::codecs::statistics::value_table::ValueTable;
use crate::words::item::{Attribute, Attributes, Exptime, ItemMeta, SlabClass};
use crate::words::units::UnixSecs;

/// Counts records one by one.
///
/// # Memory
///
/// Some 150 KiB at most, whatever is counted.
#[derive(Debug)]
pub struct StatCounter {
    key_len: Option<(u8, u8)>,
    value_lens: SpanCounter,
    never: Tally,
    exptimes: SpanCounter,
    last_accesses: SpanCounter,
    /// Indexed by the class.
    slab_classes: Vec<Tally>,
    flags_unknown: Tally,
    client_flags: ValueTable,
    /// By the bits of the attributes: those that are set, and above them the known ones.
    attributes: ValueTable,
    /// The kind of the last record, and the sums of the unbroken run of that kind it ends.
    kind: Kind,
    of_kind: Tally,
    prefixes: PrefixTree,
    largest: Largest,
}

/// What many records have in common, so that they are counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kind {
    slab_class: Option<SlabClass>,
    client_flags: Option<u64>,
    attributes: Attributes,
}

impl Kind {
    fn of(meta: &ItemMeta) -> Self {
        Self {
            slab_class: meta.slab_class,
            client_flags: meta.client_flags,
            attributes: meta.attributes,
        }
    }
}

impl StatCounter {
    /// Values of client flags held in memory; clients use few.
    const FLAGS_COUNT_MAX: usize = 64;

    /// Starts counting. `moment` is the one that most times are near to, if it is known.
    pub fn new(moment: Option<UnixSecs>) -> Self {
        let times = SpanScale::Times(moment.map(|UnixSecs(moment)| moment));
        Self {
            key_len: None,
            value_lens: SpanCounter::new(SpanScale::Sizes),
            never: Tally::default(),
            exptimes: SpanCounter::new(times),
            last_accesses: SpanCounter::new(times),
            slab_classes: Vec::new(),
            flags_unknown: Tally::default(),
            client_flags: ValueTable::new(Self::FLAGS_COUNT_MAX),
            // Five marks in three states: all fit.
            attributes: ValueTable::new(usize::MAX),
            kind: Kind::default(),
            of_kind: Tally::default(),
            prefixes: PrefixTree::new(),
            largest: Largest::new(SegmentStatistics::LARGEST_COUNT_MAX),
        }
    }

    /// Counts a record.
    pub fn add(&mut self, record: &RecordFacts<'_>) {
        let tally = Tally::of(record);
        // A key has 250 bytes at most.
        let key_len = u8::try_from(record.key.len()).unwrap_or(u8::MAX);
        let (least, most) = self.key_len.unwrap_or((key_len, key_len));
        self.key_len = Some((least.min(key_len), most.max(key_len)));
        self.value_lens.add(record.value_len.into(), &tally);
        match record.meta.exptime {
            Some(Exptime::At(UnixSecs(at))) => self.exptimes.add(at, &tally),
            Some(Exptime::Never) => self.never.count(&tally),
            None => {}
        }
        if let Some(UnixSecs(access)) = record.meta.last_access {
            self.last_accesses.add(access, &tally);
        }
        let kind = Kind::of(record.meta);
        if kind != self.kind {
            self.count_kind();
            self.kind = kind;
        }
        self.of_kind.count(&tally);
        self.prefixes.add(record.key, &tally);
        self.largest.add(record, 0);
    }

    /// Counts the records since the kind changed.
    fn count_kind(&mut self) {
        let tally = std::mem::take(&mut self.of_kind);
        if tally.records == 0 {
            return;
        }
        let kind = self.kind;
        if let Some(SlabClass(class)) = kind.slab_class {
            let class = usize::from(class);
            if self.slab_classes.len() <= class {
                self.slab_classes
                    .resize(class.saturating_add(1), Tally::default());
            }
            if let Some(sum) = self.slab_classes.get_mut(class) {
                sum.count(&tally);
            }
        }
        match kind.client_flags {
            Some(flags) => self.client_flags.add(flags, &tally),
            None => self.flags_unknown.count(&tally),
        }
        let (values, known) = kind.attributes.to_bits();
        if known != 0 {
            let bits = u16::from_le_bytes([values, known]);
            self.attributes.add(bits.into(), &tally);
        }
    }

    /// Returns the counts.
    pub fn finish(mut self) -> SegmentStatistics {
        self.count_kind();
        let value_lens = self.value_lens.finish();
        let classes = (0..=u8::MAX).zip(self.slab_classes);
        let largest = self.largest.iter().map(|large| LargestRecord {
            key: large.key.to_vec(),
            value_len: large.value_len,
            meta: listed_meta(large.meta),
        });
        SegmentStatistics {
            total: sum(value_lens.iter().map(|span| &span.tally)),
            key_len: self.key_len.unwrap_or_default(),
            value_lens,
            never: self.never,
            exptimes: self.exptimes.finish(),
            last_accesses: self.last_accesses.finish(),
            slab_classes: classes.filter(|(_, tally)| tally.records > 0).collect(),
            flags_unknown: self.flags_unknown,
            client_flags: self.client_flags.finish(SegmentStatistics::FLAGS_COUNT_MAX),
            marks: marks_of(&self.attributes.finish(usize::MAX)),
            largest: largest.collect(),
            prefixes: self.prefixes.finish(),
        }
    }
}

/// Returns what is listed of a large value besides its key and length.
pub(super) fn listed_meta(meta: &ItemMeta) -> ItemMeta {
    ItemMeta {
        cas: None,
        attributes: Attributes::default(),
        ..*meta
    }
}

fn marks_of(by_bits: &[(u64, Tally)]) -> [(Tally, Tally); Attribute::ALL.len()] {
    let mut marks = [(Tally::default(), Tally::default()); Attribute::ALL.len()];
    for (bits, tally) in by_bits {
        let [values, known, ..] = bits.to_le_bytes();
        let attributes = Attributes::from_bits(values, known).unwrap_or_default();
        for (mark, (set, unset)) in Attribute::ALL.into_iter().zip(&mut marks) {
            match attributes.get(mark) {
                Some(true) => set.merge(tally),
                Some(false) => unset.merge(tally),
                None => {}
            }
        }
    }
    marks
}
