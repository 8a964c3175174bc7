//! A prefix of a bucket, and the client that reaches it.

use std::fmt;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload};
use tokio::runtime::Handle;

use crate::ports::store::cloud::driver::{driver, wait};
use crate::ports::store::cloud::failure::checked;
use crate::ports::store::cloud::place::CloudPlace;
use crate::ports::store::cloud::unfinished::UnfinishedObjects;
use crate::words::error::{Operation, Result};

/// What a store, its readers and its writers share.
#[derive(Clone)]
pub(super) struct CloudPrefix {
    pub(super) client: Arc<dyn ObjectStore>,
    pub(super) handle: Handle,
    pub(super) unfinished: UnfinishedObjects,
    place: Arc<CloudPlace>,
}

impl CloudPrefix {
    pub(super) fn new(client: Arc<dyn ObjectStore>, place: CloudPlace) -> Result<Self> {
        Ok(Self {
            client,
            handle: driver()?,
            unfinished: UnfinishedObjects::default(),
            place: Arc::new(place),
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

    /// Puts an object only if no object has the name.
    pub(super) fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let (path, payload) = (self.path(name), PutPayload::from(bytes));
        let only_new = PutOptions::from(PutMode::Create);
        let put = wait(&self.handle, self.client.put_opts(&path, payload, only_new));
        checked(Operation::Publish, &self.described(name), put).map(drop)
    }

    pub(super) fn head(
        &self,
        name: &str,
        operation: Operation,
    ) -> Result<object_store::ObjectMeta> {
        let found = wait(&self.handle, self.client.head(&self.path(name)));
        checked(operation, &self.described(name), found)
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
