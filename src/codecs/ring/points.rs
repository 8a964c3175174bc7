//! A ring of points: every node has many points, and a key belongs to the node of a point
//! near its hash.

use std::collections::BTreeMap;

use crate::codecs::ring::arcs::Arcs;
use crate::codecs::ring::hash::{
    CharSign, FNV_START, KeyHash, fnv32a_from, md5_words, sha1_word, sha384_words,
};
use crate::codecs::ring::label::LabelRule;
use crate::codecs::ring::order::NumberedNode;
use crate::codecs::ring::point_rule::{PointHash, PointRule, PointWeights, Ties};
use crate::codecs::ring::weights::{POINT_COUNT_MAX, check_any_weight, check_weights};
use crate::words::error::Result;
use crate::words::node::NodeSpec;

/// Builds the ring from nodes in the client's order.
///
/// # Errors
///
/// - As for [`LabelRule::name`].
/// - `InvalidInput`: there are more than [`POINT_COUNT_MAX`] points.
pub(super) fn build(
    nodes: &[NumberedNode<'_>],
    rule: PointRule,
    labels: LabelRule,
    key_hash: KeyHash,
    sign: CharSign,
) -> Result<Arcs> {
    let is_share = rule.weights == PointWeights::Share32IfAnyAboveOne
        && nodes.iter().any(|(_, node)| node.weight > 1);
    let rule = if is_share {
        PointRule {
            search: rule.search,
            ties: rule.ties,
            ..PointRule::KETAMA
        }
    } else {
        rule
    };
    let share = Share::new(nodes, rule);
    let labels_of = |node: &NodeSpec| share.labels_of(rule.weights.weight_of(node));
    let counts = nodes.iter().map(|(_, node)| labels_of(node));
    let count = counts.fold(0, u64::saturating_add);
    let count = count.saturating_mul(rule.hash.points_of_label().into());
    check_any_weight(count)?;
    check_weights("points", count, POINT_COUNT_MAX)?;
    let mut points = Vec::new();
    let mut names = Vec::new();
    for &(owner, node) in nodes {
        // Far below 2^32, by the check above.
        let count = u32::try_from(labels_of(node)).unwrap_or(u32::MAX);
        // Fits, since node numbers have 16 bits.
        let position = u16::try_from(names.len()).unwrap_or(u16::MAX);
        let mut push = |value| points.push((value, position));
        if rule.hash == PointHash::Crc32Chain {
            crc32_chain(node, count).for_each(&mut push);
            names.push((String::new(), owner));
            continue;
        }
        let name = labels.name(node)?;
        for number in 0..count {
            let label = labels.numbered(&name, number);
            let bytes = label.as_bytes();
            match rule.hash {
                PointHash::Md5 => md5_words(bytes).into_iter().for_each(&mut push),
                PointHash::Md5Three => md5_words(bytes).into_iter().take(3).for_each(&mut push),
                PointHash::Sha384 => sha384_words(bytes).into_iter().for_each(&mut push),
                PointHash::Sha1 => push(sha1_word(bytes)),
                PointHash::KeyHash => push(key_hash.hash(bytes, sign)),
                PointHash::Own(hash) => push(hash.hash(bytes, sign)),
                PointHash::EnyimFnv32a => {
                    let start = if number == 0 { 0 } else { FNV_START };
                    push(fnv32a_from(start, bytes));
                }
                PointHash::Crc32Chain => {}
            }
        }
        names.push((name, owner));
    }
    Ok(Arcs::new(settle(points, rule.ties, &names), rule.search))
}

/// Sorts points of (value, position in the client's order), and leaves one owner for each
/// value.
fn settle(mut points: Vec<(u32, u16)>, ties: Ties, names: &[(String, u16)]) -> Vec<(u32, u16)> {
    // The sort is stable, so equal points stay in the order of the nodes.
    points.sort_by_key(|&(value, _)| value);
    match ties {
        Ties::First => points.dedup_by_key(|&mut (value, _)| value),
        Ties::Last => points.dedup_by(|later, earlier| {
            let is_same = later.0 == earlier.0;
            if is_same {
                earlier.1 = later.1;
            }
            is_same
        }),
        Ties::ByPoint => {
            let name = |position: u16| &names[usize::from(position)].0;
            let mut groups = BTreeMap::<u32, Vec<u16>>::new();
            for (value, position) in points.drain(..) {
                groups.entry(value).or_default().push(position);
            }
            points.extend(groups.into_iter().map(|(value, mut group)| {
                group.sort_by(|&a, &b| name(a).cmp(name(b)));
                let count = u32::try_from(group.len()).unwrap_or(u32::MAX);
                let chosen = usize::try_from(value % count).unwrap_or(0);
                (value, group[chosen])
            }));
        }
    }
    for (_, position) in &mut points {
        *position = names[usize::from(*position)].1;
    }
    points
}

/// Returns the points of one node from the CRC-32 of `host\0port`; each continues the
/// hash of the one before.
fn crc32_chain(node: &NodeSpec, count: u32) -> impl Iterator<Item = u32> {
    let base = match node.socket_path() {
        Some(_) => format!("{}\0", node.host),
        None => format!("{}\0{}", node.host, node.port),
    };
    let base = crc32fast::hash(base.as_bytes());
    let mut last = 0_u32;
    (0..count).map(move |_| {
        let mut hasher = crc32fast::Hasher::new_with_initial(base);
        hasher.update(&last.to_le_bytes());
        last = hasher.finalize();
        last
    })
}

/// What decides how many labels a node gets.
struct Share {
    labels: u32,
    weights: PointWeights,
    total_weight: u64,
    node_count: usize,
}

impl Share {
    fn new(nodes: &[NumberedNode<'_>], rule: PointRule) -> Self {
        let weight = |node: &NodeSpec| u64::from(rule.weights.weight_of(node));
        Self {
            labels: rule.label_count(),
            weights: rule.weights,
            total_weight: nodes.iter().map(|(_, node)| weight(node)).sum(),
            node_count: nodes.len(),
        }
    }

    /// Returns the number of labels of a node with this weight.
    ///
    /// Every step rounds as the client does, because rounding matters: in 32-bit floats,
    /// 25 equal nodes get 39 labels instead of 40; in wider ones, some 3 % of the keys
    /// would go elsewhere.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rounds where the clients do"
    )]
    fn labels_of(&self, weight: u32) -> u64 {
        let labels = f64::from(self.labels);
        match self.weights {
            PointWeights::Ignored | PointWeights::Share32IfAnyAboveOne => self.labels.into(),
            PointWeights::Multiply => u64::from(self.labels).saturating_mul(weight.into()),
            PointWeights::Share32 => {
                let share = weight as f32 / self.total_weight as f32;
                let count = share * self.labels as f32 * self.node_count as f32;
                (f64::from(count) + 1e-10).floor() as u64
            }
            PointWeights::Share64 => {
                let share = f64::from(weight) / self.total_weight as f64;
                (share * labels * self.node_count as f64).floor() as u64
            }
            PointWeights::ShareProduct64 => {
                let product = self.node_count as f64 * labels * f64::from(weight);
                (product / self.total_weight as f64).floor() as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(weights: PointWeights, labels: u32, total_weight: u64, node_count: usize) -> Share {
        Share {
            labels,
            weights,
            total_weight,
            node_count,
        }
    }

    /// Returns the counts of equal nodes that get one label less than the others.
    fn rounded_down(weights: PointWeights) -> Vec<usize> {
        (1..=100)
            .filter(|&count| {
                let share = share(weights, 40, u64::try_from(count).unwrap(), count);
                share.labels_of(1) == 39
            })
            .collect()
    }

    #[test]
    fn some_counts_of_equal_nodes_round_down_to_39_labels() {
        assert_eq!(
            rounded_down(PointWeights::Share32),
            [25, 47, 50, 55, 61, 71, 94, 100]
        );
        assert_eq!(rounded_down(PointWeights::Share64), [7, 14, 28, 49, 56, 98]);
        assert!(rounded_down(PointWeights::ShareProduct64).is_empty());
    }

    #[test]
    fn a_weight_of_a_hundredth_may_earn_no_label() {
        let share = share(PointWeights::Share32, 40, 101, 2);
        assert_eq!(share.labels_of(1), 0);
        assert_eq!(share.labels_of(100), 79);
    }

    #[test]
    fn a_point_that_two_nodes_have_goes_by_the_rule() {
        let names = [("b".to_owned(), 0), ("a".to_owned(), 1)];
        let points = vec![(10, 0), (20, 0), (21, 0), (20, 1), (21, 1)];
        let owners = |ties| settle(points.clone(), ties, &names);
        assert_eq!(owners(Ties::First), [(10, 0), (20, 0), (21, 0)]);
        assert_eq!(owners(Ties::Last), [(10, 0), (20, 1), (21, 1)]);
        // In the order of names, the second node is the first.
        assert_eq!(owners(Ties::ByPoint), [(10, 0), (20, 1), (21, 0)]);
    }
}
