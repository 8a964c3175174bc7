//! The restart file of memcached (its option `-e`), as bytes.
//!
//! A server that is stopped with SIGUSR1 leaves the memory of its items in a file, and
//! the information needed to interpret it in a second file, `.meta`. This module reads
//! both: [`Meta`] is the second file, [`SlabClasses`] describes how pages are cut into
//! chunks, and [`WarmFile`] walks the pages and yields the items that a client of the
//! server would have found at the moment it stopped.
//!
//! The file has no checksums, so a changed value cannot be detected. Inconsistencies are
//! reported with their position and never trusted: every offset is checked, and every
//! chain of chunks ends.
//!
//! # Source
//!
//! memcached 1.6.45: restart.c, slabs.c, items.c, memcached.h. The layout is the same in
//! all versions since 1.5.18.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod chain;
mod file;
mod footprint;
mod items;
mod layout;
mod meta;
mod pages;
mod refusal;
mod slab_classes;

pub use self::chain::Pieces;
pub use self::file::WarmFile;
pub use self::footprint::ItemLengths;
pub use self::items::{Chunks, Found, WarmItem};
pub use self::meta::Meta;
pub use self::refusal::Refusal;
pub use self::slab_classes::SlabClasses;
