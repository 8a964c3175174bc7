//! Bounds on the weights of nodes.

use crate::words::error::{Error, Result};

/// Most points or buckets of all nodes together, after multiplying by weights.
pub const POINT_COUNT_MAX: u64 = 1 << 24;

/// Refuses weights with which a ring would not fit into memory or not answer in time.
pub(super) fn check_weights(what: &str, count: u64, most: u64) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    let allowed = format!("at most {most}; give smaller weights of the same proportions");
    let found = format!("{count} {what}");
    Err(Error::invalid_input("weights", found, allowed))
}

/// Refuses nodes that all have weight 0.
pub(super) fn check_any_weight(total: u64) -> Result<()> {
    if total > 0 {
        return Ok(());
    }
    let allowed = "give at least one node a weight above 0";
    Err(Error::invalid_input("weights", "0", allowed))
}
