//! What is at the destination already.

use std::collections::BTreeMap;

use crate::engines::snapshot::{JOURNAL, MANIFEST, SnapshotObject};
use crate::jobs::transfer::original::Original;
use crate::ports::store::{ObjectInfo, Store};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::finding::Finding;
use crate::words::location::Location;
use crate::words::units::{counted, to_u64};

/// What stands under the name of the copy.
#[derive(Debug)]
pub(super) struct Destination {
    /// Whether the very same manifest is there.
    pub(super) is_published: bool,
    /// Sizes of the objects of ours that are there, by their names relative to the
    /// manifest's directory.
    sizes: BTreeMap<String, u64>,
    /// Unfinished objects of ours, left by killed runs.
    pub(super) leftovers: Vec<ObjectInfo>,
}

impl Destination {
    /// Looks at what is there, and changes nothing.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: another snapshot has the name, or an unfinished dump, or something
    ///   that is no part of the original.
    /// - `Io`.
    pub(super) fn look(store: &dyn Store, name: &str, original: &Original) -> Result<Self> {
        let below = format!("{name}/");
        let objects: BTreeMap<String, u64> = store
            .list(name)?
            .into_iter()
            .filter_map(|info| Some((info.name.strip_prefix(&below)?.to_owned(), info.size)))
            .collect();
        let taken = |what: String| Err(Error::new(ErrorKind::AlreadyExists { what }));
        if let Some(size) = objects.get(MANIFEST) {
            if !is_same(store, &format!("{name}/{MANIFEST}"), *size, &original.root)? {
                return taken(format!("snapshot {}", store.describe(name)));
            }
            return Ok(Self {
                is_published: true,
                sizes: objects,
                leftovers: Vec::new(),
            });
        }
        let unfinished = store.list_unfinished(name)?;
        let is_journal = |info: &ObjectInfo| {
            let object = info.name.strip_prefix(&below).unwrap_or_default();
            is_attempt_at(object, JOURNAL)
        };
        if objects.contains_key(JOURNAL) || unfinished.iter().any(is_journal) {
            return taken(format!(
                "{}, a dump that has not finished,",
                store.describe(name)
            ));
        }
        let ours: BTreeMap<&str, u64> = original
            .objects
            .iter()
            .map(|object| (object.object.as_str(), object.size))
            .chain([(MANIFEST, to_u64(original.root.len()))])
            .collect();
        let is_ours = |info: &ObjectInfo| {
            let object = info.name.strip_prefix(&below).unwrap_or_default();
            let without_attempt = object.rsplit_once('.').map_or("", |(before, _)| before);
            ours.contains_key(object) || ours.contains_key(without_attempt)
        };
        let foreign: Vec<&str> = objects
            .keys()
            .map(String::as_str)
            .filter(|object| !ours.contains_key(object))
            .chain(
                unfinished
                    .iter()
                    .filter(|info| !is_ours(info))
                    .filter_map(|info| info.name.strip_prefix(&below)),
            )
            .collect();
        if let Some(first) = foreign.first() {
            let files = counted(to_u64(foreign.len()), "file");
            return taken(format!(
                "{}, with {files} that are no part of {}, such as {first},",
                store.describe(name),
                original.describe()
            ));
        }
        Ok(Self {
            is_published: false,
            sizes: objects,
            leftovers: unfinished,
        })
    }

    /// Returns the size of an object that is there.
    pub(super) fn size_of(&self, object: &SnapshotObject) -> Option<u64> {
        self.sizes.get(&object.object).copied()
    }

    /// Reports whether an object is there, by its size.
    pub(super) fn has(&self, object: &SnapshotObject) -> bool {
        self.size_of(object) == Some(object.size)
    }

    /// Finds out which of these objects are missing, or of another size.
    pub(super) fn find_defects<'a>(
        &self,
        store: &dyn Store,
        name: &str,
        objects: impl IntoIterator<Item = &'a SnapshotObject>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for object in objects {
            let defect = match self.size_of(object) {
                Some(size) if size == object.size => continue,
                Some(size) => object.wrong_size(size),
                None => object.missing(),
            };
            let place = store.describe(&format!("{name}/{}", object.object));
            findings.push(Finding::new(Location::object(place), defect));
        }
        findings
    }
}

/// Reports whether an unfinished object is an attempt at this one: the name, and perhaps
/// something behind a dot.
fn is_attempt_at(object: &str, wanted: &str) -> bool {
    let rest = object.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn is_same(store: &dyn Store, path: &str, size: u64, wanted: &[u8]) -> Result<bool> {
    if size != to_u64(wanted.len()) {
        return Ok(false);
    }
    let object = store.open(path)?;
    if object.size() != size {
        return Ok(false);
    }
    let mut found = vec![0; wanted.len()];
    object.read_at(0, &mut found)?;
    Ok(found == wanted)
}
