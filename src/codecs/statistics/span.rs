//! Counts records by a quantity, in ranges that the records themselves bound.

use crate::codecs::statistics::tally::Tally;

/// The records whose quantity is in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The least quantity of a record.
    pub first: u64,
    /// The greatest quantity of a record.
    pub last: u64,
    /// The records.
    pub tally: Tally,
}

impl Span {
    /// Divides the records among the ranges that start at each of `cuts`, which ascend.
    /// Calls `take` with a quantity of the range and its records; returns how many of the
    /// records may belong to another range than the one that they were given to.
    ///
    /// If a cut is within the span, the records are spread evenly over it.
    pub fn divide(&self, cuts: &[u64], mut take: impl FnMut(u64, &Tally)) -> u64 {
        let within = |cut: &u64| *cut <= self.last;
        let start = cuts.partition_point(|cut| *cut <= self.first);
        let inner = cuts.get(start..).unwrap_or_default().iter();
        let mut rest = self.tally;
        let mut first = self.first;
        for cut in inner.copied().take_while(within) {
            let len = cut.saturating_sub(first);
            let whole = self.last.saturating_sub(first).saturating_add(1);
            let part = rest.part(len, whole);
            take(first, &part);
            rest = rest.without(&part);
            first = cut;
        }
        take(first, &rest);
        if first == self.first {
            return 0;
        }
        self.tally.records
    }
}

/// How [`SpanCounter`] chooses its ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanScale {
    /// 0, and powers of four.
    Sizes,
    /// By the distance from a moment, which the first quantity is if it is not known:
    /// eight ranges for each time that the distance doubles.
    Times(Option<u64>),
}

/// Counts records in ranges, as many as are needed and at most
/// [`SpanCounter::SPAN_COUNT_MAX`] in the end.
#[derive(Clone, Debug)]
pub struct SpanCounter {
    scale: SpanScale,
    /// For each range of the scale, one more than the index of its span, or 0 without one.
    places: Vec<u16>,
    spans: Vec<Span>,
}

impl SpanCounter {
    /// The most spans that [`SpanCounter::finish`] returns.
    pub const SPAN_COUNT_MAX: usize = 40;
    /// Ranges of each side of a moment.
    const SIDE: usize = 62 * 8;

    /// Starts counting.
    pub fn new(scale: SpanScale) -> Self {
        Self {
            scale,
            places: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Adds records with this quantity.
    pub fn add(&mut self, quantity: u64, tally: &Tally) {
        let place = self.place(quantity);
        let index = self.places.get(place).copied().map(usize::from);
        let span = index.and_then(|index| self.spans.get_mut(index.wrapping_sub(1)));
        let Some(span) = span else {
            self.begin(place, quantity, tally);
            return;
        };
        span.first = span.first.min(quantity);
        span.last = span.last.max(quantity);
        span.tally.count(tally);
    }

    /// Begins the span of a range that had no record.
    #[cold]
    fn begin(&mut self, place: usize, quantity: u64, tally: &Tally) {
        if self.places.len() <= place {
            self.places.resize(place.saturating_add(1), 0);
        }
        self.spans.push(Span {
            first: quantity,
            last: quantity,
            tally: *tally,
        });
        if let Some(index) = self.places.get_mut(place) {
            *index = u16::try_from(self.spans.len()).unwrap_or(u16::MAX);
        }
    }

    fn place(&mut self, quantity: u64) -> usize {
        match self.scale {
            SpanScale::Sizes => match quantity.checked_ilog2() {
                None => 0,
                Some(log) => to_usize(log / 2).saturating_add(1),
            },
            SpanScale::Times(None) => {
                self.scale = SpanScale::Times(Some(quantity));
                0
            }
            SpanScale::Times(Some(moment)) => {
                if quantity >= moment {
                    eighth_of_doubling(quantity.wrapping_sub(moment)).saturating_mul(2)
                } else {
                    eighth_of_doubling(moment.wrapping_sub(quantity))
                        .saturating_mul(2)
                        .saturating_add(1)
                }
            }
        }
    }

    /// Returns the spans, the lowest first. Neighbours with the fewest records become one
    /// while there are too many.
    pub fn finish(self) -> Vec<Span> {
        let mut spans = self.spans;
        spans.sort_by_key(|span| span.first);
        while spans.len() > Self::SPAN_COUNT_MAX {
            let pairs = spans.iter().zip(spans.iter().skip(1)).enumerate();
            let records =
                |one: &Span, two: &Span| one.tally.records.saturating_add(two.tally.records);
            let least = pairs.min_by_key(|(_, (one, two))| records(one, two));
            let Some((at, _)) = least else {
                break;
            };
            let next = spans.remove(at.saturating_add(1));
            if let Some(span) = spans.get_mut(at) {
                span.last = next.last;
                span.tally.merge(&next.tally);
            }
        }
        spans
    }
}

/// Numbers the ranges of a distance: 0 to 7 one each, then eight for each doubling.
fn eighth_of_doubling(distance: u64) -> usize {
    let Some(above) = distance.checked_ilog2().and_then(|log| log.checked_sub(3)) else {
        return usize::try_from(distance).unwrap_or(0);
    };
    let eighth = usize::try_from((distance >> above) & 7).unwrap_or(0);
    let doubling = to_usize(above).saturating_add(1).saturating_mul(8);
    doubling.saturating_add(eighth).min(SpanCounter::SIDE)
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Tally = Tally {
        records: 1,
        key_bytes: 2,
        value_bytes: 3,
        item_bytes: 64,
        chunk_bytes: 96,
        class_records: 0,
        chunk_records: 0,
    };

    fn counted(scale: SpanScale, quantities: &[u64]) -> Vec<Span> {
        let mut counter = SpanCounter::new(scale);
        for quantity in quantities {
            counter.add(*quantity, &ONE);
        }
        counter.finish()
    }

    #[test]
    fn spans_are_bounded_by_their_records_and_do_not_overlap() {
        let sizes = counted(SpanScale::Sizes, &[0, 3, 1, 4, 15, 16, 1 << 26, u64::MAX]);
        let ranges: Vec<_> = sizes.iter().map(|span| (span.first, span.last)).collect();
        let wanted = [
            (0, 0),
            (1, 3),
            (4, 15),
            (16, 16),
            (1 << 26, 1 << 26),
            (u64::MAX, u64::MAX),
        ];
        assert_eq!(ranges, wanted);
        for moment in [None, Some(0), Some(1_795_140_000), Some(u64::MAX)] {
            let mut times: Vec<u64> = (0..64).map(|bit| 1 << bit).collect();
            times.extend((0..2000).map(|at| 1_795_139_000 + at * at));
            times.extend([0, u64::MAX]);
            let spans = counted(SpanScale::Times(moment), &times);
            assert!(spans.len() <= SpanCounter::SPAN_COUNT_MAX, "{moment:?}");
            let records: u64 = spans.iter().map(|span| span.tally.records).sum();
            assert_eq!(records, 2066, "{moment:?}");
            assert!(spans.is_sorted_by(|one, two| one.last < two.first));
            for span in &spans {
                let is_within = |time: &&u64| (span.first..=span.last).contains(*time);
                let within = times.iter().filter(is_within);
                let count = u64::try_from(within.count()).unwrap();
                assert_eq!(count, span.tally.records, "{moment:?} {span:?}");
                assert!(times.contains(&span.first) && times.contains(&span.last));
            }
        }
    }

    #[test]
    fn a_span_is_divided_at_the_cuts_within_it() {
        let mut tally = Tally::default();
        for _ in 0..100 {
            tally.merge(&ONE);
        }
        let span = |first, last| Span { first, last, tally };
        let divided = |span: Span, cuts: &[u64]| {
            let mut parts = Vec::new();
            let unsure = span.divide(cuts, |first, part| parts.push((first, part.records)));
            (parts, unsure)
        };
        assert_eq!(divided(span(10, 19), &[0, 10, 20]), (vec![(10, 100)], 0));
        assert_eq!(
            divided(span(10, 19), &[15, 18, 20]),
            (vec![(10, 50), (15, 30), (18, 20)], 100)
        );
        assert_eq!(
            divided(span(0, u64::MAX), &[u64::MAX]),
            (vec![(0, 100), (u64::MAX, 0)], 100)
        );
    }
}
