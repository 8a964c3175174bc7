//! A ring of points, cut into the arcs of its nodes.
//!
//! # Invariants
//!
//! - `ends` holds the last hash of every arc but the last, strictly ascending, and then
//!   the greatest hash [`NEAR`] times.
//! - `owners` holds the node of every arc.
//! - `starts[p]` is the number of ends below the first hash of part `p`; the part of a
//!   hash is given by its highest bits.
//!   part of a hash is its highest bits.

use crate::codecs::ring::point_rule::Search;

/// Most bits of a hash that select a part: 2^20 parts are 4 MiB.
const PART_BITS_MAX: u32 = 20;

/// How many ends to compare from the start of a part, always all of them: in a loop that
/// stops at the right one, the processor mispredicts half the time, which costs more than
/// hashing a key.
const NEAR: usize = 4;

/// Arcs, with a table that leads near the right one. At most one end falls into a part on
/// average, so that a look-up takes one step into the table and one after it, whatever
/// the number of points.
#[derive(Debug)]
pub(super) struct Arcs {
    ends: Vec<u32>,
    owners: Vec<u16>,
    starts: Vec<u32>,
    shift: u32,
}

impl Arcs {
    /// Cuts a ring whose points have strictly ascending values. Without any points, node
    /// 0 owns everything.
    pub(super) fn new(points: Vec<(u32, u16)>, search: Search) -> Self {
        let (mut ends, owners) = match search {
            Search::AtOrAfter => at_or_after(points),
            Search::AtOrBefore => at_or_before(points),
            Search::AtOrAfterButLastBelow => at_or_after_but_last_below(points),
        };
        let part_bits = (usize::BITS - ends.len().leading_zeros()).clamp(1, PART_BITS_MAX);
        let shift = u32::BITS - part_bits;
        ends.extend([u32::MAX; NEAR]);
        let mut at = 0;
        let starts = (0..1_u32 << part_bits).map(|part| {
            while ends[at] < part << shift {
                at += 1;
            }
            // Below 2^32, since the number of nodes and of points per node are bounded.
            u32::try_from(at).unwrap_or(u32::MAX)
        });
        let starts = starts.collect();
        Self {
            ends,
            owners,
            starts,
            shift,
        }
    }

    /// Returns the number of the node that owns a hash.
    pub(super) fn locate(&self, hash: u32) -> u16 {
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let mut at = index(self.starts[index(hash >> self.shift)]);
        let near = &self.ends[at..at + NEAR];
        let below: usize = near.iter().map(|&end| usize::from(end < hash)).sum();
        at += below;
        // Many ends are left: search them binarily.
        if below == NEAR {
            at += self.ends[at..].partition_point(|&end| end < hash);
        }
        self.owners[at]
    }
}

/// The last hash of every arc but the last, and the owners of all.
type EndsAndOwners = (Vec<u32>, Vec<u16>);

/// Each point ends the arc that it owns. Hashes beyond the last point belong to the
/// first.
fn at_or_after(points: Vec<(u32, u16)>) -> EndsAndOwners {
    let first = points.first().map_or(0, |&(_, owner)| owner);
    let (ends, mut owners): (Vec<_>, Vec<_>) = points.into_iter().unzip();
    owners.push(first);
    (ends, owners)
}

/// Each point starts the arc that it owns. Hashes before the first point belong to the
/// last.
fn at_or_before(points: Vec<(u32, u16)>) -> EndsAndOwners {
    let last = points.last().map_or(0, |&(_, owner)| owner);
    let (mut ends, mut owners) = (Vec::new(), Vec::new());
    let mut before = last;
    for (value, owner) in points {
        if let Some(end) = value.checked_sub(1) {
            ends.push(end);
            owners.push(before);
        }
        before = owner;
    }
    owners.push(before);
    (ends, owners)
}

/// Like [`at_or_after`], but hashes before the first point belong to the last.
fn at_or_after_but_last_below(points: Vec<(u32, u16)>) -> EndsAndOwners {
    let ends = points.first().map(|&(value, _)| value);
    let last = points.last().map(|&(_, owner)| owner);
    let (mut cut, mut owners) = at_or_after(points);
    if let (Some(end), Some(last)) = (ends.and_then(|first| first.checked_sub(1)), last) {
        cut.insert(0, end);
        owners.insert(0, last);
    }
    (cut, owners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners<const N: usize>(search: Search, points: &[(u32, u16)], hashes: [u32; N]) -> [u16; N] {
        let arcs = Arcs::new(points.to_vec(), search);
        hashes.map(|hash| arcs.locate(hash))
    }

    const POINTS: [(u32, u16); 3] = [(10, 1), (20, 2), (30, 0)];
    const HASHES: [u32; 9] = [0, 9, 10, 11, 20, 21, 30, 31, u32::MAX];

    #[test]
    fn a_hash_belongs_to_the_first_point_at_or_after_it() {
        let found = owners(Search::AtOrAfter, &POINTS, HASHES);
        assert_eq!(found, [1, 1, 1, 2, 2, 0, 0, 1, 1]);
    }

    #[test]
    fn a_hash_belongs_to_the_last_point_at_or_before_it() {
        let found = owners(Search::AtOrBefore, &POINTS, HASHES);
        assert_eq!(found, [0, 0, 1, 1, 2, 2, 0, 0, 0]);
        let found = owners(Search::AtOrBefore, &[(0, 1), (5, 2)], [0, 4, 5, u32::MAX]);
        assert_eq!(found, [1, 1, 2, 2]);
    }

    #[test]
    fn enyim_gives_what_lies_below_the_first_point_to_the_last() {
        let search = Search::AtOrAfterButLastBelow;
        let found = owners(search, &POINTS, HASHES);
        assert_eq!(found, [0, 0, 1, 2, 2, 0, 0, 1, 1]);
        assert_eq!(owners(search, &[(0, 1), (5, 2)], [0, 1, 6]), [1, 2, 1]);
    }

    #[test]
    fn a_ring_without_points_gives_all_to_the_first_node() {
        for (_, search) in Search::NAMES {
            assert_eq!(owners(search, &[], [0, u32::MAX]), [0, 0]);
        }
    }

    #[test]
    fn the_table_leads_to_the_same_arc_as_a_plain_search() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            state
        };
        for count in [1, 2, 3, 100, 5_000] {
            // Half of the points fall into one part.
            let mut points: Vec<_> = (0..count)
                .map(|i| (if i % 2 == 0 { next() } else { next() >> 14 }, i % 7))
                .collect();
            points.sort_unstable();
            points.dedup_by_key(|point| point.0);
            let arcs = Arcs::new(points.clone(), Search::AtOrAfter);
            let edges = points
                .iter()
                .flat_map(|&(value, _)| [value, value.wrapping_add(1), value.wrapping_sub(1)]);
            for hash in edges.chain((0..1_000).map(|_| next())) {
                let at = points.partition_point(|&(value, _)| value < hash);
                let owner = points.get(at).unwrap_or(&points[0]).1;
                assert_eq!(arcs.locate(hash), owner, "{count} points, hash {hash}");
            }
        }
    }
}
