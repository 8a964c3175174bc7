//! The order of the segments in a manifest, or in its parts together. FORMAT.md 5.12.

use std::collections::HashSet;

use crate::codecs::format::ids::SegmentId;
use crate::words::defect::{Defect, Structure};

/// Node, shard in the node, and sequence in the shard.
pub type SegmentPlace = (u32, u64, u32);

/// Checks that segments come in their order, and none twice (N18).
#[derive(Debug)]
pub struct SegmentOrder {
    structure: Structure,
    last: Option<SegmentPlace>,
    /// The ids so far, where all segments come.
    ids: Option<HashSet<SegmentId>>,
}

impl SegmentOrder {
    /// Begins before the first segment; the ids are compared only where all segments come.
    /// A reader of one node's segments does not see the others.
    ///
    /// # Memory
    ///
    /// If all come, some 30 bytes for each.
    pub fn new(structure: Structure, is_whole: bool) -> Self {
        Self {
            structure,
            last: None,
            ids: is_whole.then(HashSet::new),
        }
    }

    /// Takes the next segment.
    ///
    /// # Errors
    ///
    /// - `Malformed`: it should have come before the last one, or it has come before.
    pub fn add(&mut self, place: SegmentPlace, id: SegmentId) -> Result<(), Defect> {
        let structure = self.structure;
        if self.last.is_some_and(|last| last >= place) {
            let (node, shard, sequence) = place;
            let reason = format!(
                "segment {sequence} of shard {shard} of node {node} is not in the order of nodes, \
                 shards and sequences"
            );
            return Err(Defect::Malformed { structure, reason });
        }
        self.last = Some(place);
        if self.ids.as_mut().is_some_and(|ids| !ids.insert(id)) {
            let reason = format!("the segment {id} stands twice");
            return Err(Defect::Malformed { structure, reason });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_in_their_order_and_none_comes_twice() {
        let order = |is_whole, places: &[(SegmentPlace, u8)]| {
            let mut order = SegmentOrder::new(Structure::Manifest, is_whole);
            let mut places = places.iter();
            places.try_for_each(|(place, id)| order.add(*place, SegmentId([*id; 16])))
        };
        let sound = [
            ((0, 0, 3), 1),
            ((0, 0, 5), 2),
            ((0, 7, 0), 3),
            ((2, 0, 0), 4),
        ];
        assert_eq!(order(true, &sound), Ok(()));
        for [before, after] in [
            [(0, 0, 1), (0, 0, 1)],
            [(0, 0, 2), (0, 0, 1)],
            [(0, 1, 0), (0, 0, 1)],
            [(1, 0, 0), (0, 1, 1)],
        ] {
            for is_whole in [true, false] {
                let refused = order(is_whole, &[(before, 1), (after, 2)]).unwrap_err();
                assert_eq!(refused.code(), "MCS015", "{before:?} {after:?}");
            }
        }
        let twice = [((0, 0, 0), 1), ((0, 0, 1), 1)];
        assert_eq!(
            order(true, &twice).unwrap_err().to_string(),
            "manifest cannot be understood: the segment 01010101010101010101010101010101 stands \
             twice"
        );
        assert_eq!(order(false, &twice), Ok(()));
    }
}
