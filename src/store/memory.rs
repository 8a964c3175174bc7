//! Objects in memory, for tests and for library users without a disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::store::{Listing, ObjectInfo, ObjectReader, ObjectWriter, Store, check_name};
use crate::units::to_u64;

type Objects = BTreeMap<String, Arc<[u8]>>;

/// A store that ends with the process; clones share their objects.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // A panicking holder cannot leave a map half changed.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut objects = self.lock();
        if objects.contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists {
                what: self.describe(name),
            }));
        }
        objects.insert(name.to_owned(), bytes.into());
        Ok(())
    }

    fn not_found(&self, name: &str) -> Error {
        Error::new(ErrorKind::NotFound {
            what: self.describe(name),
        })
    }
}

impl Store for MemoryStore {
    fn describe(&self, name: &str) -> String {
        format!("memory:{name}")
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        check_name(name)?;
        if self.lock().contains_key(name) {
            return Err(Error::new(ErrorKind::AlreadyExists {
                what: self.describe(name),
            }));
        }
        let store = self.clone();
        Ok(Box::new(MemoryWriter {
            store,
            name: name.to_owned(),
            bytes: Vec::new(),
        }))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        self.publish(name, bytes)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        check_name(name)?;
        let bytes = self
            .lock()
            .get(name)
            .cloned()
            .ok_or_else(|| self.not_found(name))?;
        Ok(Box::new(MemoryReader {
            name: self.describe(name),
            bytes,
        }))
    }

    fn list(&self, prefix: &str, _which: Listing) -> Result<Vec<ObjectInfo>> {
        if !prefix.is_empty() {
            check_name(prefix)?;
        }
        let is_below = |name: &str| {
            let rest = name.strip_prefix(prefix);
            prefix.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let objects = self.lock();
        let listed = objects.iter().filter(|(name, _)| is_below(name));
        let info = |(name, bytes): (&String, &Arc<[u8]>)| ObjectInfo {
            name: name.clone(),
            size: to_u64(bytes.len()),
        };
        Ok(listed.map(info).collect())
    }

    fn remove(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let removed = self.lock().remove(name);
        removed.map(drop).ok_or_else(|| self.not_found(name))
    }
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemoryStore,
    name: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.store.publish(&self.name, &self.bytes)
    }
}

#[derive(Debug)]
struct MemoryReader {
    name: String,
    bytes: Arc<[u8]>,
}

impl ObjectReader for MemoryReader {
    fn size(&self) -> u64 {
        to_u64(self.bytes.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(buffer.len()));
        let range = start
            .zip(end)
            .and_then(|(start, end)| self.bytes.get(start..end));
        let Some(bytes) = range else {
            let cause = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(Error::io(Operation::Read, &self.name, cause));
        };
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        Some(&self.bytes)
    }
}
