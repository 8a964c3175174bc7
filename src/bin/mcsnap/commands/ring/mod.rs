//! `mcsnap ring`: how clients place keys.

pub(crate) mod detect;
pub(crate) mod list;
pub(crate) mod locate;
pub(crate) mod plan;
mod resharding;
