//! Settings that are given, and by which layer.

use std::collections::BTreeMap;

/// Which layer a setting came from; a greater one hides a lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    File,
    Environment,
    Flag,
    /// A flag by its place alone.
    Argument,
}

impl Origin {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Argument => "argument",
            Self::Environment => "environment",
            Self::File => "file",
        }
    }
}

/// Settings with all layers put together; what no layer gives is left out, and
/// has its default.
#[derive(Debug)]
pub(crate) struct Resolved<T> {
    pub(crate) settings: T,
    /// Each setting that a layer gives: its value, and which layer.
    pub(crate) given: BTreeMap<String, Given>,
}

/// A setting that a layer gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) value: String,
    pub(crate) origin: Origin,
}
