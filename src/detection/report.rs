//! What explains where keys lie.

use crate::detection::sample::KeySample;
use crate::node::NodeSpec;
use crate::ring::{Explanation, Placement, Sighting, explain};

/// Sightings that are weighed, at most: more make nothing surer.
const SIGHTING_COUNT_MAX: usize = 20_000;

/// The rings that explain where keys lie.
#[derive(Clone, Debug)]
pub struct DetectionReport {
    /// Keys that were weighed, and which node each one is on.
    pub sightings: Vec<Sighting>,
    /// The best first; none where no ring explains it.
    pub explanations: Vec<Explanation>,
}

/// Weighs a sample.
pub fn detect(sample: &KeySample) -> DetectionReport {
    let step = sample.sightings.len().div_ceil(SIGHTING_COUNT_MAX).max(1);
    let sightings: Vec<Sighting> = sample.sightings.iter().step_by(step).cloned().collect();
    let mut explanations = explain(&sightings, &sample.nodes);
    for explanation in &mut explanations {
        forget_addresses(explanation, sample);
    }
    DetectionReport {
        sightings,
        explanations,
    }
}

/// Leaves out addresses that the user did not write and the ring does not need.
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
    // A ring that hashes addresses cannot be made without them.
    if Placement::new(&explanation.ring, &bare).is_ok() {
        explanation.nodes = bare;
    }
}
