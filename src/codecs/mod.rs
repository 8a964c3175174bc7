//! Bytes in, values out: pure code without disk, network, clock or threads.

pub mod format;
pub mod protocol;
pub mod ring;
pub mod select;
pub mod statistics;
pub mod throttle;
pub mod warm_file;
