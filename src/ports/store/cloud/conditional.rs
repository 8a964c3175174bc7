//! Small objects that are written under a condition: only if the name is free, or only if
//! the object is still the one that was read.
//!
//! An answer can be lost after the store has done what it was asked for; the client
//! beneath asks again then, and is told that the name is taken. So what was found is read
//! and compared: no two writers write the same bytes, since a random token or id is in
//! them.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    PutResult, UpdateVersion,
};

use crate::words::units::to_u64;

/// What became of a creation.
#[derive(Debug)]
pub(super) enum Created {
    /// The object is there, as this version.
    New(UpdateVersion),
    /// Another object has the name.
    Taken,
}

/// An object as it was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) bytes: Bytes,
    pub(super) version: UpdateVersion,
}

/// Why a write failed.
enum Failed {
    /// The store is as it was before, so that another try may do.
    Undone(StoreError),
    Final(StoreError),
}

impl Failed {
    fn is_undone(&self) -> bool {
        matches!(self, Self::Undone(_))
    }

    fn into_error(self) -> StoreError {
        match self {
            Self::Undone(error) | Self::Final(error) => error,
        }
    }
}

/// Pauses between tries of a write that changed nothing.
fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(4)
}

/// Returns which version a write made.
fn version_of(put: PutResult) -> UpdateVersion {
    UpdateVersion {
        e_tag: put.e_tag,
        version: put.version,
    }
}

/// Reads an object of at most this many bytes; `None` if it is missing or longer.
pub(super) async fn read_small(
    client: &dyn ObjectStore,
    path: &Path,
    len_max: u64,
) -> Result<Option<Found>, StoreError> {
    let found = match client.get(path).await {
        Ok(found) if found.meta.size <= len_max => found,
        Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let version = UpdateVersion {
        e_tag: found.meta.e_tag.clone(),
        version: found.meta.version.clone(),
    };
    let bytes = found.bytes().await?;
    Ok(Some(Found { bytes, version }))
}

/// Puts an object only if the name is free.
///
/// # Errors
///
/// - That of the store, if the object is not known to be there.
pub(super) async fn create(
    client: &dyn ObjectStore,
    path: &Path,
    bytes: &Bytes,
) -> Result<Created, StoreError> {
    let created = (|| create_once(client, path, bytes))
        .retry(pauses())
        .when(Failed::is_undone);
    created.await.map_err(Failed::into_error)
}

async fn create_once(
    client: &dyn ObjectStore,
    path: &Path,
    bytes: &Bytes,
) -> Result<Created, Failed> {
    let payload = PutPayload::from_bytes(bytes.clone());
    let only_new = PutOptions::from(PutMode::Create);
    let error = match client.put_opts(path, payload, only_new).await {
        Ok(put) => return Ok(Created::New(version_of(put))),
        Err(error @ (StoreError::AlreadyExists { .. } | StoreError::Generic { .. })) => error,
        Err(error) => return Err(Failed::Final(error)),
    };
    match client.head(path).await {
        Err(StoreError::NotFound { .. }) => return Err(Failed::Undone(error)),
        Err(_) => return Err(Failed::Final(error)),
        Ok(found) if found.size != to_u64(bytes.len()) => return Ok(Created::Taken),
        Ok(_) => {}
    }
    match read_small(client, path, to_u64(bytes.len())).await {
        Ok(Some(found)) if found.bytes == *bytes => Ok(Created::New(found.version)),
        Ok(Some(_)) => Ok(Created::Taken),
        Ok(None) => Err(Failed::Undone(error)),
        Err(_) => Err(Failed::Final(error)),
    }
}

/// Replaces an object that is still this version. Returns the new version; `None` if
/// another writer was faster.
///
/// # Errors
///
/// - That of the store, if the object is not known to be there.
pub(super) async fn update(
    client: &dyn ObjectStore,
    path: &Path,
    version: UpdateVersion,
    bytes: &Bytes,
) -> Result<Option<UpdateVersion>, StoreError> {
    let updated = (|| update_once(client, path, &version, bytes))
        .retry(pauses())
        .when(Failed::is_undone);
    updated.await.map_err(Failed::into_error)
}

async fn update_once(
    client: &dyn ObjectStore,
    path: &Path,
    version: &UpdateVersion,
    bytes: &Bytes,
) -> Result<Option<UpdateVersion>, Failed> {
    let error = match put_over(client, path, version.clone(), bytes).await {
        Ok(put) => return Ok(Some(version_of(put))),
        Err(error @ (StoreError::Precondition { .. } | StoreError::Generic { .. })) => error,
        Err(error) => return Err(Failed::Final(error)),
    };
    let len_max = to_u64(bytes.len()).max(FOUND_LEN_MAX);
    let found = match read_small(client, path, len_max).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(None),
        Err(_) => return Err(Failed::Final(error)),
    };
    if found.bytes == *bytes {
        return Ok(Some(found.version));
    }
    let bare = |version: &UpdateVersion| {
        let e_tag = version.e_tag.as_deref();
        e_tag.map(|tag| tag.trim_matches('"').to_owned())
    };
    if version.e_tag.is_none() || bare(&found.version) != bare(version) {
        return Ok(None);
    }
    if !matches!(error, StoreError::Precondition { .. }) {
        return Err(Failed::Undone(error));
    }
    // Ceph RGW 16 hands out tags in quotes and knows them without alone.
    let Some(unquoted) = without_quotes(version) else {
        return Ok(None);
    };
    match put_over(client, path, unquoted, bytes).await {
        Ok(put) => Ok(Some(version_of(put))),
        Err(StoreError::Precondition { .. }) => Ok(None),
        Err(error) => Err(Failed::Final(error)),
    }
}

/// Longest object that is read to see whether it changed.
const FOUND_LEN_MAX: u64 = 16 << 20;

async fn put_over(
    client: &dyn ObjectStore,
    path: &Path,
    version: UpdateVersion,
    bytes: &Bytes,
) -> Result<PutResult, StoreError> {
    let payload = PutPayload::from_bytes(bytes.clone());
    let options = PutOptions::from(PutMode::Update(version));
    client.put_opts(path, payload, options).await
}

/// Returns the same version with a tag in another form, if there is one.
fn without_quotes(version: &UpdateVersion) -> Option<UpdateVersion> {
    let e_tag = version.e_tag.as_deref()?;
    let bare = e_tag.strip_prefix('"')?.strip_suffix('"')?;
    Some(UpdateVersion {
        e_tag: Some(bare.to_owned()),
        version: version.version.clone(),
    })
}
