//! A ring of points: a key belongs to the first point at or after its hash.
//!
//! # Invariants
//!
//! - `values` is strictly ascending and not empty.
//! - `owners.len() == values.len() + 1`; the last owner is the first again,
//!   so that a hash above every point wraps without a branch.

use crate::node::NodeSpec;
use crate::ring::hash::md5_words;
use crate::ring::label::LabelFormat;

/// `MEMCACHED_POINTS_PER_SERVER` in libmemcached's constants.h.
const POINTS_PER_NODE: u32 = 100;

/// `MEMCACHED_POINTS_PER_SERVER_KETAMA`, of an average node.
const WEIGHTED_POINTS_PER_NODE: f32 = 160.0;

/// Points in one MD5 digest.
const POINTS_PER_DIGEST: f32 = 4.0;

/// One node with the number that [`PointRing::locate`] returns for it.
pub(super) type NumberedNode<'a> = (u16, &'a NodeSpec);

/// The points of all nodes, flat and sorted for a binary search.
#[derive(Debug)]
pub(super) struct PointRing {
    values: Vec<u32>,
    owners: Vec<u16>,
}

impl PointRing {
    /// Builds a ring of one hashed label a point, the same number of points
    /// for every node.
    pub(super) fn equal(
        nodes: &[NumberedNode<'_>],
        format: LabelFormat,
        hash: impl Fn(&[u8]) -> u32,
    ) -> Self {
        let mut points = Vec::new();
        for &(owner, node) in nodes {
            let name = format.name(node);
            points.extend((0..POINTS_PER_NODE).map(|i| (hash(label(&name, i).as_bytes()), owner)));
        }
        Self::from_points(points)
    }

    /// Builds a ring of four MD5 points a label, as many labels for a node as
    /// its weight earns.
    pub(super) fn weighted(nodes: &[NumberedNode<'_>], format: LabelFormat) -> Self {
        // libmemcached takes a weight of 0 for 1.
        let weight = |node: &NodeSpec| node.weight.max(1);
        let total_weight = nodes.iter().map(|(_, node)| u64::from(weight(node))).sum();
        let mut points = Vec::new();
        for &(owner, node) in nodes {
            let name = format.name(node);
            for i in 0..digest_count(weight(node), total_weight, nodes.len()) {
                let words = md5_words(label(&name, i).as_bytes());
                points.extend(words.map(|value| (value, owner)));
            }
        }
        Self::from_points(points)
    }

    /// Takes the points in the order of the nodes. Where two nodes have the
    /// same value, the earlier one owns it: the search of libmemcached stops
    /// at the first of equals, and its sort keeps their order.
    fn from_points(mut points: Vec<(u32, u16)>) -> Self {
        points.sort_by_key(|&(value, _)| value);
        points.dedup_by_key(|&mut (value, _)| value);
        let (values, mut owners): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        owners.extend(owners.first().copied());
        Self { values, owners }
    }

    /// Returns the number of the node that owns a hash.
    pub(super) fn locate(&self, hash: u32) -> u16 {
        self.owners[self.values.partition_point(|&value| value < hash)]
    }
}

fn label(name: &str, i: u32) -> String {
    format!("{name}-{i}")
}

/// Returns how many labels a node gets.
///
/// Every step rounds to 32 bits, as libmemcached's does. It matters: 25 equal
/// nodes get 39 labels and not 40, and with wider floats some 3 % of the keys
/// would go elsewhere.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounds where the C source does; the result is at most 40 for each node"
)]
fn digest_count(weight: u32, total_weight: u64, node_count: usize) -> u32 {
    let share = weight as f32 / total_weight as f32;
    let count = share * WEIGHTED_POINTS_PER_NODE / POINTS_PER_DIGEST * node_count as f32;
    (f64::from(count) + 1e-10).floor() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_belongs_to_the_first_point_at_or_after_it() {
        let ring = PointRing::from_points(vec![(30, 0), (10, 1), (20, 2)]);
        let owners = [0, 10, 11, 20, 21, 30].map(|hash| ring.locate(hash));
        assert_eq!(owners, [1, 1, 2, 2, 0, 0]);
    }

    #[test]
    fn a_hash_above_every_point_wraps_to_the_smallest() {
        let ring = PointRing::from_points(vec![(30, 0), (10, 1)]);
        assert_eq!(ring.locate(31), 1);
        assert_eq!(ring.locate(u32::MAX), 1);
    }

    #[test]
    fn the_node_listed_first_owns_a_point_that_two_nodes_share() {
        for points in [
            vec![(10, 0), (20, 0), (20, 1)],
            vec![(20, 0), (10, 1), (20, 1)],
        ] {
            let ring = PointRing::from_points(points);
            assert_eq!(ring.locate(20), 0);
        }
    }

    #[test]
    fn some_counts_of_equal_nodes_round_down_to_39_labels() {
        // With 64-bit floats it would be 7, 14, 28, 49, 56 and 98.
        let rounded_down: Vec<usize> = (1..=100)
            .filter(|&count| digest_count(1, u64::try_from(count).unwrap(), count) == 39)
            .collect();
        assert_eq!(rounded_down, [25, 47, 50, 55, 61, 71, 94, 100]);
    }

    #[test]
    fn a_weight_of_a_hundredth_may_earn_no_label() {
        assert_eq!(digest_count(1, 101, 2), 0);
        assert_eq!(digest_count(100, 101, 2), 79);
    }
}
