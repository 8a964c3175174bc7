//! What jobs are made of: reading servers, filling them, and snapshots.

pub mod discovery;
pub mod pump;
pub mod sink;
pub mod snapshot;
pub mod source;
