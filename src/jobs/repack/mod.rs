//! Makes anew what a snapshot has beside its segments.

mod run;

pub use run::{RepackOptions, RepackReport, repack_look_ups};
