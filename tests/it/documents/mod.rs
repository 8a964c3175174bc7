//! The documents and the source text itself.

pub(crate) mod circles;
pub(crate) mod docs;
pub(crate) mod recipes;
pub(crate) mod source_paths;
pub(crate) mod tidy;
