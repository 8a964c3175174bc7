//! Where snapshots live.
