//! How much the weights of nodes may make of a ring.

use crate::words::error::{Error, Result};

/// Most points or buckets of all nodes together, which weights multiply.
pub const POINT_COUNT_MAX: u64 = 1 << 24;

/// Refuses weights that make so much of something that a ring would not fit, or
/// not answer in time.
pub(super) fn check_weights(what: &str, count: u64, most: u64) -> Result<()> {
    if count <= most {
        return Ok(());
    }
    let allowed = format!("at most {most}; give smaller weights of the same proportions");
    let found = format!("{count} {what}");
    Err(Error::invalid_input("weights", found, allowed))
}

/// Refuses nodes of which none has any weight.
pub(super) fn check_any_weight(total: u64) -> Result<()> {
    if total > 0 {
        return Ok(());
    }
    let allowed = "give at least one node a weight above 0";
    Err(Error::invalid_input("weights", "0", allowed))
}
