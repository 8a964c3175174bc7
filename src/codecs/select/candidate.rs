//! The facts that a selection can use.

use crate::words::item::{Exptime, ItemMeta, SlabClass};
use crate::words::units::UnixSecs;

/// What is known of an item or a record; `None` means not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// 1 to 250 bytes, any bytes.
    pub key: &'a [u8],
    /// Length of the value in bytes.
    pub value_len: Option<u64>,
    /// When it expires.
    pub exptime: Option<Exptime>,
    /// When a client last read it.
    pub last_access: Option<UnixSecs>,
    /// The client's opaque number.
    pub client_flags: Option<u64>,
    /// The slab class.
    pub slab_class: Option<SlabClass>,
    /// The time that durations are relative to.
    pub now: UnixSecs,
}

impl<'a> Candidate<'a> {
    /// Collects what is known of an item or a record.
    pub fn new(key: &'a [u8], value_len: Option<u64>, meta: &ItemMeta, now: UnixSecs) -> Self {
        Self {
            key,
            value_len,
            exptime: meta.exptime,
            last_access: meta.last_access,
            client_flags: meta.client_flags,
            slab_class: meta.slab_class,
            now,
        }
    }
}

/// The attributes that a selection depends on, besides the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// For `size`.
    pub value_len: bool,
    /// For `ttl`.
    pub exptime: bool,
    /// For `idle`.
    pub last_access: bool,
    /// For `flags`.
    pub client_flags: bool,
    /// For `class`.
    pub slab_class: bool,
    /// For `owner`: there are rings to bind.
    pub owner: bool,
}

impl Needs {
    /// Returns whether the current time matters.
    pub fn now(&self) -> bool {
        self.exptime || self.last_access
    }

    pub(super) fn merge(self, other: Self) -> Self {
        Self {
            value_len: self.value_len || other.value_len,
            exptime: self.exptime || other.exptime,
            last_access: self.last_access || other.last_access,
            client_flags: self.client_flags || other.client_flags,
            slab_class: self.slab_class || other.slab_class,
            owner: self.owner || other.owner,
        }
    }
}
