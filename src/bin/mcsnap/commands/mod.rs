//! The commands, a file or a folder for each.

pub(crate) mod completions;
pub(crate) mod dump;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod repack;
pub(crate) mod restore;
pub(crate) mod ring;
pub(crate) mod salvage;
pub(crate) mod verify;
