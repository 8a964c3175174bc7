//! The file format byte for byte: pure functions over bytes, with no I/O.
//!
//! FORMAT.md is the specification. Every structure has its own file, always of the same
//! shape: a struct, `encode`, `decode` and tests. A decoder does not know the name of the
//! object its bytes come from; it returns a [`Defect`], and the engine above adds the
//! location.
//!
//! [`Defect`]: crate::words::defect::Defect

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod bits;
pub mod block;
pub mod bytes;
pub mod checkpoint;
pub mod checksum;
pub mod clock_offset;
pub mod column;
pub mod compression;
pub mod encoder;
pub mod features;
pub mod file_header;
pub mod frame;
pub mod hash_page;
pub mod ids;
pub mod journal;
pub mod key_index;
pub mod layout;
pub mod look_up;
pub mod manifest;
pub mod manifest_part;
pub mod moment;
pub mod salvage;
pub mod sealed_text;
pub mod segment_meta;
pub mod segment_name;
pub mod segment_order;
pub mod stat;
pub mod stated_place;
pub mod tail;
pub mod toc;
pub mod value_part;
pub mod verification;
pub mod version;
