//! A ring of points that are whole MD5 digests: uhashring, which python-binary-memcached
//! uses for its ring.
//!
//! Points are so wide that no two are equal, and a key's hash equals one of them only if
//! the key is a label.

use crate::codecs::ring::hash::md5_number;
use crate::codecs::ring::label::LabelRule;
use crate::codecs::ring::order::NumberedNode;
use crate::words::error::Result;

/// Points per node; `NODE_COUNT_MAX` bounds their total.
const POINT_COUNT: u32 = 160;

/// The points in ascending order, each with the number of its node.
#[derive(Debug)]
pub(super) struct WidePoints {
    points: Vec<(u128, u16)>,
}

impl WidePoints {
    /// Puts 160 points of each node on the ring, which has no weights.
    ///
    /// # Errors
    ///
    /// - As for [`LabelRule::name`].
    pub(super) fn new(nodes: &[NumberedNode<'_>], labels: LabelRule) -> Result<Self> {
        let mut points = Vec::new();
        for &(owner, node) in nodes {
            let name = labels.name(node)?;
            let point = |number| md5_number(labels.numbered(&name, number).as_bytes());
            points.extend((0..POINT_COUNT).map(|number| (point(number), owner)));
        }
        points.sort_unstable();
        Ok(Self { points })
    }

    /// Returns the number of the node that owns a key: that of the first point after the
    /// key's hash, or of the first point of all.
    pub(super) fn locate(&self, key: &[u8]) -> u16 {
        let hash = md5_number(key);
        let after = self.points.partition_point(|(point, _)| *point <= hash);
        let point = self.points.get(after).or(self.points.first());
        point.map_or(0, |(_, owner)| *owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::node::NodeSpec;

    #[test]
    fn a_key_that_is_a_label_belongs_to_the_point_after_it() {
        let nodes = ["a", "b"].map(|host| NodeSpec::new(host, 11211));
        let numbered: Vec<_> = (0..).zip(&nodes).collect();
        let ring = WidePoints::new(&numbered, LabelRule::default()).unwrap();
        assert_eq!(ring.points.len(), 320);
        for (at, (point, _)) in ring.points.iter().enumerate() {
            let labels = ["a", "b"].into_iter();
            let mut labels = labels.flat_map(|name| (0..160).map(move |n| format!("{name}-{n}")));
            let label = labels.find(|label| md5_number(label.as_bytes()) == *point);
            let next = ring.points[(at + 1) % ring.points.len()];
            assert_eq!(ring.locate(label.unwrap().as_bytes()), next.1);
        }
    }
}
