//! Finds the rings that explain where keys are.

use crate::codecs::ring::{
    Explanation, Placement, RingSpec, Sighting, count_by_node, explain, explain_by,
};
use crate::jobs::ring_detect::sample::KeySample;
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// The most sightings that are evaluated: more would not make the result more certain.
const SIGHTING_COUNT_MAX: usize = 20_000;

/// The most sightings times nodes, since some rings compute a score of every node for
/// every key. With this limit, a thousand nodes take seconds.
const SCORE_COUNT_MAX: usize = 4_000_000;

/// The rings that explain where keys are.
#[derive(Clone, Debug)]
pub struct DetectionReport {
    /// The keys that were evaluated, and the node that each one is on.
    pub sightings: Vec<Sighting>,
    /// The explanations, the best first; empty if no ring explains where the keys are.
    pub explanations: Vec<Explanation>,
}

/// Evaluates a sample for all rings, or for one.
///
/// # Errors
///
/// - `InvalidInput`: `ring` is not a ring, or these nodes cannot form it.
pub fn detect(sample: &KeySample, ring: Option<&RingSpec>) -> Result<DetectionReport> {
    let count_max = SIGHTING_COUNT_MAX.min(SCORE_COUNT_MAX / sample.nodes.len().max(1));
    let step = sample.sightings.len().div_ceil(count_max.max(1)).max(1);
    let sightings: Vec<Sighting> = sample.sightings.iter().step_by(step).cloned().collect();
    let mut explanations = match ring {
        None => explain(&sightings, &sample.nodes, &sample.populations),
        Some(ring) => {
            // Returns the error if the nodes cannot form the ring.
            let placement = Placement::new(ring, &sample.nodes)?;
            let explained = explain_by(ring, &sightings, &sample.nodes);
            match (placement, explained) {
                (Placement::Ring(_), Some(explained)) => vec![explained],
                (Placement::Ring(_) | Placement::NodeForNode, _) => {
                    let allowed = "no key says where it belongs by this; name a client's ring";
                    return Err(Error::invalid_input("ring", ring.to_string(), allowed));
                }
            }
        }
    };
    for explanation in &mut explanations {
        forget_addresses(explanation, sample);
    }
    Ok(DetectionReport {
        sightings,
        explanations,
    })
}

/// Removes addresses that the user did not write and the ring does not need.
fn forget_addresses(explanation: &mut Explanation, sample: &KeySample) {
    let as_named = |node: &NodeSpec| {
        let mut named = sample.named.iter();
        let is_known = named.any(|named| named.address() == node.address() && named.ip == node.ip);
        NodeSpec {
            ip: node.ip.filter(|_| is_known),
            ..node.clone()
        }
    };
    let bare: Vec<NodeSpec> = explanation.nodes.iter().map(as_named).collect();
    // A ring that hashes addresses cannot be built without them.
    if Placement::new(&explanation.ring, &bare).is_ok() {
        explanation.nodes = bare;
    }
}

impl DetectionReport {
    /// Returns how many keys of each node were evaluated.
    pub fn counts(&self, node_count: usize) -> Vec<u64> {
        count_by_node(
            self.sightings.iter().map(|sighting| sighting.node),
            node_count,
        )
    }
}
