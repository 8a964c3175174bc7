//! Finds out which ring a client uses, from some keys of every node.

mod report;
mod sample;

pub use report::{DetectionReport, detect};
pub use sample::{KeySample, SampleOptions, sample_nodes, sample_snapshot};
