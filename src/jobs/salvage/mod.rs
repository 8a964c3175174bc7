//! Recovers what is left of a damaged snapshot or segment as a new snapshot.

mod publish;
mod report;
mod run;
mod shard;
mod sources;

pub use report::{SalvageReport, SalvagedSegment};
pub use run::{SalvageOptions, salvage};
