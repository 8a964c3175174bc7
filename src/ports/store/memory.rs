//! Objects in memory, for tests and for snapshots that need not last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ports::store::name::{check_name, check_prefix, is_under};
use crate::ports::store::range::{check_range, read_error};
use crate::ports::store::{ObjectInfo, ObjectReader, ObjectWriter, Store, StoreLock};
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::units::to_u64;

/// A store in memory. Clones share their objects.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Shelves>>);

#[derive(Default)]
struct Shelves {
    finished: BTreeMap<String, Arc<Vec<u8>>>,
    unfinished: BTreeMap<String, Unfinished>,
    writer_count: u64,
    locked: BTreeSet<String>,
}

struct Unfinished {
    /// The writer it belongs to; the name alone can pass to another writer.
    writer: u64,
    size: u64,
}

impl fmt::Debug for Shelves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shelves")
            .field("finished", &self.finished.keys())
            .field("unfinished", &self.unfinished.keys())
            .finish()
    }
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // Every change under the lock is a single insert or remove, so a thread that panicked
        // left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn insert_new(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        if self.finished.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists {
                what: describe(name),
            }));
        }
        self.finished.insert(name.to_owned(), Arc::new(bytes));
        Ok(())
    }

    fn own_unfinished(&mut self, name: &str, writer: u64) -> Option<&mut Unfinished> {
        self.unfinished
            .get_mut(name)
            .filter(|unfinished| unfinished.writer == writer)
    }
}

#[derive(Debug)]
struct MemoryLock {
    store: MemoryStore,
    prefix: String,
}

impl StoreLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.store.lock().locked.remove(&self.prefix);
    }
}

impl Store for MemoryStore {
    fn describe(&self, name: &str) -> String {
        describe(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        check_name(name)?;
        let mut shelves = self.lock();
        if shelves.unfinished.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists {
                what: format!("unfinished object {}", describe(name)),
            }));
        }
        let writer = shelves.writer_count;
        shelves.writer_count += 1;
        let unfinished = Unfinished { writer, size: 0 };
        shelves.unfinished.insert(name.to_owned(), unfinished);
        Ok(Box::new(MemoryWriter {
            store: self.clone(),
            name: name.to_owned(),
            writer,
            bytes: Vec::new(),
        }))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        self.lock().insert_new(name, bytes.to_vec())
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool> {
        check_name(name)?;
        match self.lock().finished.get_mut(name) {
            Some(object) if **object == expected => {
                *object = Arc::new(bytes.to_vec());
                Ok(true)
            }
            Some(_) | None => Ok(false),
        }
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        check_name(name)?;
        let shelves = self.lock();
        let bytes = shelves.finished.get(name).ok_or_else(|| not_found(name))?;
        Ok(Box::new(MemoryObject {
            described: describe(name),
            bytes: Arc::clone(bytes),
        }))
    }

    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        check_name(name)?;
        // Only the writer has the bytes of an unfinished object.
        Err(not_found(name))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        check_prefix(prefix)?;
        let shelves = self.lock();
        let sizes = shelves
            .finished
            .iter()
            .map(|(name, bytes)| (name, to_u64(bytes.len())));
        Ok(list_under(prefix, sizes))
    }

    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        check_prefix(prefix)?;
        let shelves = self.lock();
        let sizes = shelves
            .unfinished
            .iter()
            .map(|(name, unfinished)| (name, unfinished.size));
        Ok(list_under(prefix, sizes))
    }

    fn lock_prefix(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        check_name(prefix)?;
        if !self.lock().locked.insert(prefix.to_owned()) {
            let what = describe(prefix);
            return Err(Error::new(ErrorKind::Locked { what }));
        }
        Ok(Box::new(MemoryLock {
            store: self.clone(),
            prefix: prefix.to_owned(),
        }))
    }

    fn remove(&self, name: &str) -> Result<()> {
        check_name(name)?;
        self.lock().finished.remove(name);
        Ok(())
    }

    fn remove_unfinished(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let removed = self.lock().unfinished.remove(name);
        removed.map(drop).ok_or_else(|| not_found(name))
    }
}

struct MemoryWriter {
    store: MemoryStore,
    name: String,
    writer: u64,
    bytes: Vec<u8>,
}

impl ObjectWriter for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        match self.store.lock().own_unfinished(&self.name, self.writer) {
            Some(unfinished) => unfinished.size = to_u64(self.bytes.len()),
            None => return Err(self.removed(Operation::Write)),
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut shelves = self.store.lock();
        if shelves.own_unfinished(&self.name, self.writer).is_none() {
            return Err(self.removed(Operation::Publish));
        }
        // The following drop removes the name from the unfinished objects. Until then it is on
        // both shelves, which the trait allows.
        shelves.insert_new(&self.name, bytes)
    }
}

impl MemoryWriter {
    fn removed(&self, operation: Operation) -> Error {
        let cause = io::Error::new(io::ErrorKind::NotFound, "the unfinished object was removed");
        Error::io(operation, describe(&self.name), cause)
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        let mut shelves = self.store.lock();
        if shelves.own_unfinished(&self.name, self.writer).is_some() {
            shelves.unfinished.remove(&self.name);
        }
    }
}

impl fmt::Debug for MemoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWriter")
            .field("name", &self.name)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

struct MemoryObject {
    described: String,
    bytes: Arc<Vec<u8>>,
}

impl ObjectReader for MemoryObject {
    fn describe(&self) -> &str {
        &self.described
    }

    fn size(&self) -> u64 {
        to_u64(self.bytes.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = check_range(&self.described, self.size(), offset, buffer.len())?;
        let bytes = usize::try_from(range.start)
            .ok()
            .and_then(|start| self.bytes.get(start..)?.get(..buffer.len()))
            .ok_or_else(|| {
                read_error(&self.described, offset, io::ErrorKind::UnexpectedEof.into())
            })?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        Some(&self.bytes)
    }
}

impl fmt::Debug for MemoryObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryObject")
            .field("described", &self.described)
            .field("len", &self.bytes.len())
            .finish()
    }
}

fn describe(name: &str) -> String {
    format!("memory:{name}")
}

fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::NotFound {
        what: describe(name),
    })
}

fn list_under<'a>(prefix: &str, sizes: impl Iterator<Item = (&'a String, u64)>) -> Vec<ObjectInfo> {
    sizes
        .filter(|(name, _)| is_under(name, prefix))
        .map(|(name, size)| ObjectInfo {
            name: name.clone(),
            size,
        })
        .collect()
}
