//! A prefix of a bucket, and the client that reaches it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ports::store::cloud::conditional::{Created, create};
use crate::ports::store::cloud::conditions::{Conditions, probe};
use crate::ports::store::cloud::driver::{driver, wait};
use crate::ports::store::cloud::failure::{checked, failure};
use crate::ports::store::cloud::piece::Spares;
use crate::ports::store::cloud::place::CloudPlace;
use crate::ports::store::cloud::unfinished::UnfinishedObjects;
use crate::words::error::{Error, ErrorKind, Operation, Result};

/// What a store, its readers and its writers share.
#[derive(Clone)]
pub(super) struct CloudPrefix {
    pub(super) client: Arc<dyn ObjectStore>,
    pub(super) handle: Handle,
    pub(super) unfinished: UnfinishedObjects,
    /// Buffers for what is read.
    pub(super) spares: Arc<Spares>,
    place: Arc<CloudPlace>,
    probed: Arc<Probed>,
}

/// What the bucket honours, once that was tried.
struct Probed {
    handle: Handle,
    conditions: Mutex<Option<Conditions>>,
    /// The removal of the objects that it was tried with.
    removals: Mutex<Vec<JoinHandle<()>>>,
}

/// Bounds a quick end of a run.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);

impl Drop for Probed {
    fn drop(&mut self) {
        let removals = self
            .removals
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for removal in removals.drain(..) {
            let _ = wait(&self.handle, async {
                timeout(REMOVED_WITHIN, removal).await
            });
        }
    }
}

impl CloudPrefix {
    pub(super) fn new(client: Arc<dyn ObjectStore>, place: CloudPlace) -> Result<Self> {
        let handle = driver()?;
        let probed = Probed {
            handle: handle.clone(),
            conditions: Mutex::default(),
            removals: Mutex::default(),
        };
        Ok(Self {
            client,
            handle,
            unfinished: UnfinishedObjects::default(),
            spares: Arc::default(),
            place: Arc::new(place),
            probed: Arc::new(probed),
        })
    }

    /// Returns where an object is in the bucket; the empty name stands for the prefix.
    pub(super) fn path(&self, name: &str) -> Path {
        let key = self.place.key(name);
        // As it is: the other way writes `%20` for a blank into the name. What cannot be
        // parsed has been refused before.
        Path::parse(&key).unwrap_or_else(|_| Path::from(key))
    }

    /// Returns the URL of an object.
    pub(super) fn described(&self, name: &str) -> String {
        self.place.describe(name)
    }

    /// Returns the path of an object that no listing shows: its last component begins with
    /// a dot, as that of no object of ours.
    pub(super) fn hidden_path(&self, name: &str, suffix: &str) -> Path {
        let (outer, last) = match name.rsplit_once('/') {
            Some((outer, last)) => (format!("{outer}/"), last),
            None => (String::new(), name),
        };
        self.path(&format!("{outer}.{last}{suffix}"))
    }

    /// Returns what the bucket honours; the first call tries it.
    ///
    /// # Errors
    ///
    /// - `Io`: the bucket cannot be written.
    pub(super) fn conditions(&self) -> Result<Conditions> {
        let mut known = self
            .probed
            .conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(conditions) = *known {
            return Ok(conditions);
        }
        let token = uuid::Uuid::new_v4().simple().to_string();
        let path = self.path(&format!(".mcsnap-probe-{token}"));
        let (tried, removal) = wait(&self.handle, probe(Arc::clone(&self.client), path));
        self.probed
            .removals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(removal);
        let conditions = checked(Operation::Write, &self.described(""), tried)?;
        *known = Some(conditions);
        Ok(conditions)
    }

    /// Puts an object only if no object has the name. In a store that ignores this
    /// condition, the gap between the look and the write stays.
    pub(super) fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let (path, described, bytes) = (self.path(name), self.described(name), Bytes::from(bytes));
        let taken = || {
            let what = described.clone();
            Error::new(ErrorKind::AlreadyExists { what })
        };
        if !self.conditions()?.is_create_honoured {
            match wait(&self.handle, self.client.head(&path)) {
                Ok(_) => return Err(taken()),
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => return Err(failure(Operation::Publish, &described, &error)),
            }
        }
        let created = wait(&self.handle, create(&*self.client, &path, &bytes));
        match checked(Operation::Publish, &described, created)? {
            Created::New(_) => Ok(()),
            Created::Taken => Err(taken()),
        }
    }
}

impl fmt::Debug for CloudPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's own form has its settings, among them secrets.
        f.debug_struct("CloudPrefix")
            .field("place", &self.described(""))
            .finish_non_exhaustive()
    }
}
