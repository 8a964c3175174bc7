//! The objects that this process is sending. A store shows none of them, and keeps what a
//! killed process had sent out of sight.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::store::ObjectInfo;
use crate::ports::store::name::is_under;

/// A list that all clones share.
#[derive(Clone, Debug, Default)]
pub(super) struct UnfinishedObjects(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// By name: the number of the writer, and the bytes so far.
    objects: BTreeMap<String, (u64, u64)>,
    writer_count: u64,
}

impl UnfinishedObjects {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Every change is a single one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an object, and returns the number of its writer; `None` if one has the name.
    pub(super) fn begin(&self, name: &str) -> Option<u64> {
        let mut entries = self.lock();
        if entries.objects.contains_key(name) {
            return None;
        }
        let writer = entries.writer_count;
        entries.writer_count = writer.saturating_add(1);
        entries.objects.insert(name.to_owned(), (writer, 0));
        Some(writer)
    }

    /// Notes how many bytes there are; returns false if the object was removed.
    pub(super) fn grow(&self, name: &str, writer: u64, len: u64) -> bool {
        match self.lock().objects.get_mut(name) {
            Some((owner, size)) if *owner == writer => {
                *size = len;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Reports whether the object is still this writer's.
    pub(super) fn has(&self, name: &str, writer: u64) -> bool {
        self.lock()
            .objects
            .get(name)
            .is_some_and(|(owner, _)| *owner == writer)
    }

    /// Removes an object when its writer ends.
    pub(super) fn end(&self, name: &str, writer: u64) {
        let mut entries = self.lock();
        if entries
            .objects
            .get(name)
            .is_some_and(|(owner, _)| *owner == writer)
        {
            entries.objects.remove(name);
        }
    }

    /// Removes an object whoever writes it; returns false if there is none.
    pub(super) fn remove(&self, name: &str) -> bool {
        self.lock().objects.remove(name).is_some()
    }

    /// Lists the objects below a prefix, by name.
    pub(super) fn list(&self, prefix: &str) -> Vec<ObjectInfo> {
        let entries = self.lock();
        let below = entries
            .objects
            .iter()
            .filter(|(name, _)| is_under(name, prefix));
        below
            .map(|(name, (_, size))| ObjectInfo {
                name: name.clone(),
                size: *size,
            })
            .collect()
    }
}
