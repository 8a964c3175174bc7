//! The ring of a job whose user named none.

use crate::error::Error;

/// Says which ring to name, and how to find it: a wrong one would hide every
/// key.
///
/// `field` is the setting that has it, and `recorded` the ring that the snapshot
/// was dumped with.
pub fn missing_ring(field: &'static str, node_count: usize, recorded: Option<&str>) -> Error {
    let advice = match recorded {
        Some(ring) => format!("the snapshot records {ring}: give --{field} {ring}"),
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
