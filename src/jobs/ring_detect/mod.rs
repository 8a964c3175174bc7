//! Which ring a client uses: some keys of every node, and what explains where
//! they lie.

mod report;
mod sample;

pub use report::{DetectionReport, detect};
pub use sample::{KeySample, SampleOptions, sample_nodes, sample_snapshot};
