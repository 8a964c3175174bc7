//! What is left of damaged snapshots.

pub(crate) mod damage;
pub(crate) mod large_damage;
pub(crate) mod newer;
pub(crate) mod salvage_behaviour;
