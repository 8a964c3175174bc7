//! Where the ring that a manifest records places keys.

use crate::codecs::format::manifest::Manifest;
use crate::codecs::ring::{Placement, RingSpec};
use crate::words::error::Result;
use crate::words::node::NodeSpec;

/// Returns how the recorded ring places keys on the nodes of the snapshot; `None` if there
/// is no ring or there are several, or if it needs what is not recorded.
pub fn recorded_placement(manifest: &Manifest) -> Option<Placement> {
    let rings = RingSpec::from_record(manifest.ring.as_deref()?).ok()?;
    let [ring] = rings.as_slice() else {
        return None;
    };
    let nodes = manifest.nodes.iter().map(|node| node.address.parse());
    let nodes: Vec<NodeSpec> = nodes.collect::<Result<_>>().ok()?;
    match Placement::new(ring, &nodes) {
        Ok(Placement::NodeForNode) => None,
        Ok(placement) => Some(placement),
        Err(error) => {
            tracing::info!("the recorded ring cannot be built: {error}");
            None
        }
    }
}
