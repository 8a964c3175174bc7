//! Object stores over HTTP: S3 and its like, Google Cloud Storage, Azure.

mod connect;
mod driver;
mod failure;
mod place;
mod prefix;
mod reader;
mod unfinished;
mod upload;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::place::CloudPlace;
use futures_util::TryStreamExt as _;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};

use self::connect::connect;
use self::driver::wait;
use self::failure::{checked, failure};
use self::prefix::CloudPrefix;
use self::reader::CloudObject;
use self::upload::CloudWriter;
use crate::ports::store::name::{check_name, check_prefix, is_under};
use crate::ports::store::{ObjectInfo, ObjectReader, ObjectWriter, Store, StoreLock};
use crate::words::error::{Error, ErrorKind, Operation, Result};

/// A prefix of a bucket. Clones share its client.
///
/// - A long object goes up in parts. No store completes these only if the name is free, so
///   that of two that finish at one moment the later one stays; names of segments are
///   random.
/// - Unfinished objects are those of this process.
/// - A lock keeps other writers of this process away, and nobody else.
#[derive(Clone, Debug)]
pub struct CloudStore {
    prefix: CloudPrefix,
    locked: Arc<Mutex<BTreeSet<String>>>,
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
        let found = wait(&self.prefix.handle, async {
            let found = self.prefix.client.get(&path).await?;
            let version = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            Ok((version, found.bytes().await?))
        });
        let (version, stored) = match found {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(failure(Operation::Read, &described, &error)),
        };
        if stored != expected {
            return Ok(false);
        }
        let options = PutOptions::from(PutMode::Update(version));
        let payload = PutPayload::from(bytes.to_vec());
        match wait(
            &self.prefix.handle,
            self.prefix.client.put_opts(&path, payload, options),
        ) {
            Ok(_) => Ok(true),
            Err(StoreError::Precondition { .. }) => Ok(false),
            Err(error) => Err(failure(Operation::Publish, &described, &error)),
        }
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        check_name(name)?;
        let opened = CloudObject::open(&self.prefix, name)?;
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
        // Most stores do not say whether there was anything to remove.
        self.prefix.head(name, Operation::Remove)?;
        let removed = wait(
            &self.prefix.handle,
            self.prefix.client.delete(&self.prefix.path(name)),
        );
        checked(Operation::Remove, &self.prefix.described(name), removed)
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
        check_name(prefix)?;
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        if !locked.insert(prefix.to_owned()) {
            let what = self.prefix.described(prefix);
            return Err(Error::new(ErrorKind::Locked { what }));
        }
        Ok(Box::new(CloudLock {
            locked: Arc::clone(&self.locked),
            prefix: prefix.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct CloudLock {
    locked: Arc<Mutex<BTreeSet<String>>>,
    prefix: String,
}

impl StoreLock for CloudLock {}

impl Drop for CloudLock {
    fn drop(&mut self) {
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        locked.remove(&self.prefix);
    }
}
