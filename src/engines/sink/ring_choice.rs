//! The ring of a job whose user named none.

use crate::codecs::ring::RingSpec;
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;

/// Returns an error that asks for a ring and says how to find it, since a wrong ring
/// would hide every key.
///
/// `field` is the setting for the ring. `recorded` is the ring that the snapshot was
/// dumped with, or the rings that its keys cannot distinguish.
pub fn missing_ring(field: &'static str, node_count: usize, recorded: Option<&str>) -> Error {
    let advice = match recorded.map(RingSpec::from_record) {
        Some(Ok(rings)) if rings.len() == 1 => {
            let ring = recorded.unwrap_or_default();
            format!("the snapshot records {ring}: give --{field} {ring}")
        }
        Some(Err(error)) => format!("the ring that the snapshot records is invalid: {error}"),
        Some(Ok(_)) => {
            let rings = recorded.unwrap_or_default();
            format!(
                "the snapshot records {rings}, which its keys could not tell apart: give --{field} \
                 with that of your client"
            )
        }
        None => {
            "`mcsnap ring detect` on the snapshot finds it, and `mcsnap ring list` shows those \
                 of all clients"
                .to_owned()
        }
    };
    let wanted =
        format!("wanted the rule by which the client places keys on {node_count} nodes; {advice}");
    Error::invalid_input(field, "", wanted)
}

/// Returns the ring that a snapshot records, for a job whose user named none.
///
/// # Errors
///
/// - `InvalidInput`: it records no ring or several, and there are several nodes.
pub fn recorded_ring(
    field: &'static str,
    nodes: &[NodeSpec],
    recorded: Option<&str>,
) -> Result<RingSpec> {
    // One node has every key, whatever the ring.
    if nodes.len() == 1 {
        return "modula".parse();
    }
    let rings = recorded.map(RingSpec::from_record).transpose()?;
    match rings.unwrap_or_default().as_slice() {
        [ring] => Ok(ring.clone()),
        [..] => Err(missing_ring(field, nodes.len(), recorded)),
    }
}
