//! Object stores over HTTP: S3 and its like, Google Cloud Storage, Azure.

mod conditional;
mod conditions;
mod connect;
mod driver;
mod failure;
mod http;
mod lease;
mod listing;
mod piece;
mod place;
mod prefix;
mod reader;
mod trouble;
mod unfinished;
mod upload;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::place::CloudPlace;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutPayload};

use self::conditional::{read_small, update};
use self::connect::connect;
pub use self::connect::set_patience;
use self::driver::wait;
use self::failure::checked;
use self::lease::{Holder, LEASE_SUFFIX, Lease, Taken, find_holder, take};
use self::prefix::CloudPrefix;
use self::reader::{CloudObject, READING_MEMORY};
use self::upload::{CloudWriter, WRITING_MEMORY};
use crate::ports::store::name::{check_name, check_prefix, is_under};
use crate::ports::store::{ObjectInfo, ObjectReader, ObjectWriter, Store, StoreLock};
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::units::to_u64;

/// A prefix of a bucket. Clones share its client.
///
/// - A long object goes up in parts. No store completes these only if the name is free, so
///   that of two that finish at one moment the later one stays; names of segments are
///   random.
/// - Unfinished objects are those of this process.
/// - A lock is an object `.NAME.lease` that its holder renews. A store that ignores
///   conditional writes has locks only against this process.
#[derive(Clone, Debug)]
pub struct CloudStore {
    prefix: CloudPrefix,
    locked: Locked,
}

impl CloudStore {
    /// Connects to the place. No request is made yet.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the settings contradict each other, or lack what cannot be
    ///   guessed; `Io`.
    pub(crate) fn open(place: CloudPlace) -> Result<Self> {
        let client = connect(&place)?;
        Self::of(client, place)
    }

    /// Uses a client that the caller has made, for the place that a URL names.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the URL names no place in an object store.
    /// - `Io`: threads cannot be started.
    pub fn with_client(client: Arc<dyn ObjectStore>, url: &str) -> Result<Self> {
        let Some(place) = CloudPlace::parse(url)? else {
            return Err(Error::invalid_input(
                "place",
                url,
                "wanted the URL of an object store",
            ));
        };
        Self::of(client, place)
    }

    fn of(client: Arc<dyn ObjectStore>, place: CloudPlace) -> Result<Self> {
        Ok(Self {
            prefix: CloudPrefix::new(client, place)?,
            locked: Arc::default(),
        })
    }
}

impl Store for CloudStore {
    fn describe(&self, name: &str) -> String {
        self.prefix.described(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        check_name(name)?;
        let Some(writer) = self.prefix.unfinished.begin(name) else {
            let what = format!("unfinished object {}", self.prefix.described(name));
            return Err(Error::new(ErrorKind::AlreadyExists { what }));
        };
        Ok(Box::new(CloudWriter::new(
            self.prefix.clone(),
            name,
            writer,
        )))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        check_name(name)?;
        self.prefix.put_new(name, bytes.to_vec())
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool> {
        check_name(name)?;
        let (path, described) = (self.prefix.path(name), self.prefix.described(name));
        let is_update_honoured = self.prefix.conditions()?.is_update_honoured;
        let client = &*self.prefix.client;
        let bytes = Bytes::copy_from_slice(bytes);
        let replaced = wait(&self.prefix.handle, async {
            let found = read_small(client, &path, to_u64(expected.len())).await?;
            let Some(found) = found.filter(|found| found.bytes == expected) else {
                return Ok(false);
            };
            if is_update_honoured {
                let replaced = update(client, &path, found.version, &bytes).await?;
                return Ok(replaced.is_some());
            }
            client.put(&path, PutPayload::from_bytes(bytes)).await?;
            Ok(true)
        });
        checked(Operation::Publish, &described, replaced)
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        check_name(name)?;
        let opened = CloudObject::open(&self.prefix, name, None)?;
        Ok(Box::new(opened))
    }

    fn open_at(&self, name: &str, first: Range<u64>) -> Result<Box<dyn ObjectReader>> {
        check_name(name)?;
        let opened = CloudObject::open(&self.prefix, name, Some(first))?;
        Ok(Box::new(opened))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        check_prefix(prefix)?;
        let path = Some(self.prefix.path(prefix)).filter(|path| !path.as_ref().is_empty());
        let listed = wait(
            &self.prefix.handle,
            self.prefix
                .client
                .list(path.as_ref())
                .try_collect::<Vec<_>>(),
        );
        let listed = checked(Operation::List, &self.prefix.described(prefix), listed)?;
        let root = self.prefix.path("");
        let own = listed.into_iter().filter_map(|found| {
            let name = match root.as_ref() {
                "" => found.location.as_ref(),
                root => found
                    .location
                    .as_ref()
                    .strip_prefix(root)?
                    .strip_prefix('/')?,
            };
            // What others have put here is no object of ours.
            let is_own = check_name(name).is_ok() && is_under(name, prefix);
            is_own.then(|| ObjectInfo {
                name: name.to_owned(),
                size: found.size,
            })
        });
        let mut objects: Vec<ObjectInfo> = own.collect();
        objects.sort();
        Ok(objects)
    }

    fn list_below(&self, prefix: &str) -> Result<Vec<String>> {
        check_prefix(prefix)?;
        let path = Some(self.prefix.path(prefix)).filter(|path| !path.as_ref().is_empty());
        let listed = wait(
            &self.prefix.handle,
            self.prefix.client.list_with_delimiter(path.as_ref()),
        );
        let listed = checked(Operation::List, &self.prefix.described(prefix), listed)?;
        let objects = listed.objects.iter().map(|object| &object.location);
        let all = listed.common_prefixes.iter().chain(objects);
        // What others have put here is no object of ours.
        let names = all.filter_map(|path| path.filename().filter(|name| check_name(name).is_ok()));
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        check_prefix(prefix)?;
        Ok(self.prefix.unfinished.list(prefix))
    }

    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        check_name(name)?;
        // No store hands out the parts of an upload.
        let what = self.prefix.described(name);
        Err(Error::new(ErrorKind::NotFound { what }))
    }

    fn remove(&self, name: &str) -> Result<()> {
        check_name(name)?;
        let removed = wait(
            &self.prefix.handle,
            self.prefix.client.delete(&self.prefix.path(name)),
        );
        match removed {
            Err(StoreError::NotFound { .. }) => Ok(()),
            removed => checked(Operation::Remove, &self.prefix.described(name), removed),
        }
    }

    fn remove_unfinished(&self, name: &str) -> Result<()> {
        check_name(name)?;
        if self.prefix.unfinished.remove(name) {
            return Ok(());
        }
        let what = self.prefix.described(name);
        Err(Error::new(ErrorKind::NotFound { what }))
    }

    fn lock_prefix(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        let lock = self.lock_here(prefix)?;
        let described = &lock.described;
        let conditions = self.prefix.conditions()?;
        if !conditions.exclude() {
            tracing::warn!(
                "{described}: this store does not honour conditional writes: it keeps no two hosts \
                 from writing here at once"
            );
            return Ok(Box::new(lock));
        }
        let path = self.prefix.hidden_path(prefix, LEASE_SUFFIX);
        let client = Arc::clone(&self.prefix.client);
        let taken = take(client, path, conditions.keeps_versions, described);
        let taken = wait(&self.prefix.handle, taken);
        match checked(Operation::Write, described, taken)? {
            Taken::Lease(lease) => {
                let lease = Some(lease);
                Ok(Box::new(CloudLock { lease, ..lock }))
            }
            Taken::HeldBy(process) => Err(held(format!("{described} ({process})"))),
        }
    }

    fn look_at_lock(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        let lock = self.lock_here(prefix)?;
        let described = &lock.described;
        let path = self.prefix.hidden_path(prefix, LEASE_SUFFIX);
        let holder = wait(
            &self.prefix.handle,
            find_holder(&*self.prefix.client, &path),
        );
        match checked(Operation::Read, described, holder)? {
            Some(Holder::Alive(process)) => {
                return Err(held(format!("{described} ({process})")));
            }
            Some(Holder::Unknown(process)) => tracing::warn!(
                "{described}: {process} was writing here, and may still be; a run waits to see"
            ),
            Some(Holder::Gone) | None => {}
        }
        Ok(Box::new(lock))
    }

    fn writing_memory(&self) -> u64 {
        WRITING_MEMORY
    }

    fn reading_memory(&self) -> u64 {
        READING_MEMORY
    }

    fn keeps_writers_apart(&self) -> Result<bool> {
        Ok(self.prefix.conditions()?.exclude())
    }
}

impl CloudStore {
    /// Locks a prefix against this process.
    ///
    /// # Errors
    ///
    /// - `Locked`, `InvalidInput`.
    fn lock_here(&self, prefix: &str) -> Result<CloudLock> {
        check_name(prefix)?;
        let described = self.prefix.described(prefix);
        match LocalLock::take(&self.locked, prefix) {
            Some(local) => Ok(CloudLock {
                lease: None,
                described,
                _local: local,
            }),
            None => Err(held(described)),
        }
    }
}

fn held(what: String) -> Error {
    Error::new(ErrorKind::Locked { what })
}

/// The lock of a prefix: against this process, and where the store can, against all others.
#[derive(Debug)]
struct CloudLock {
    lease: Option<Lease>,
    described: String,
    _local: LocalLock,
}

impl StoreLock for CloudLock {
    fn keeps_all_out(&self) -> bool {
        self.lease.is_some()
    }

    fn check(&self) -> Result<()> {
        if !self.lease.as_ref().is_some_and(Lease::is_lost) {
            return Ok(());
        }
        let what = self.described.clone();
        let why = "the store could not be reached for too long to keep others away".to_owned();
        Err(Error::new(ErrorKind::Superseded { what, why }))
    }
}

/// The prefixes that writers of this process have locked.
type Locked = Arc<Mutex<BTreeSet<String>>>;

#[derive(Debug)]
struct LocalLock {
    locked: Locked,
    prefix: String,
}

impl LocalLock {
    fn take(locked: &Locked, prefix: &str) -> Option<Self> {
        let mut prefixes = locked.lock().unwrap_or_else(PoisonError::into_inner);
        prefixes.insert(prefix.to_owned()).then(|| Self {
            locked: Arc::clone(locked),
            prefix: prefix.to_owned(),
        })
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.remove(&self.prefix);
    }
}
