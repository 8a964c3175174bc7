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

/// Why a creation failed.
enum Failed {
    /// There is no such object, so that another try may do.
    Absent(StoreError),
    Final(StoreError),
}

/// Pauses between tries of a creation that left nothing.
fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(4)
}

/// Returns which version a write made.
pub(super) fn version_of(put: PutResult) -> UpdateVersion {
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
        .when(|failed| matches!(failed, Failed::Absent(_)));
    created.await.map_err(|failed| match failed {
        Failed::Absent(error) | Failed::Final(error) => error,
    })
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
        Err(StoreError::NotFound { .. }) => return Err(Failed::Absent(error)),
        Err(_) => return Err(Failed::Final(error)),
        Ok(found) if found.size != to_u64(bytes.len()) => return Ok(Created::Taken),
        Ok(_) => {}
    }
    match read_small(client, path, to_u64(bytes.len())).await {
        Ok(Some(found)) if found.bytes == *bytes => Ok(Created::New(found.version)),
        Ok(Some(_)) => Ok(Created::Taken),
        Ok(None) => Err(Failed::Absent(error)),
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
    let unquoted = without_quotes(&version);
    let error = match update_once(client, path, version.clone(), bytes).await {
        Ok(put) => return Ok(Some(version_of(put))),
        Err(error @ (StoreError::Precondition { .. } | StoreError::Generic { .. })) => error,
        Err(error) => return Err(error),
    };
    let Some(found) = read_small(client, path, to_u64(bytes.len()).max(FOUND_LEN_MAX)).await?
    else {
        return Ok(None);
    };
    if found.bytes == *bytes {
        return Ok(Some(found.version));
    }
    if !matches!(error, StoreError::Precondition { .. }) {
        return Err(error);
    }
    // Ceph RGW 16 hands out tags in quotes and knows them without alone.
    let bare = |version: &UpdateVersion| {
        let e_tag = version.e_tag.as_deref();
        e_tag.map(|tag| tag.trim_matches('"').to_owned())
    };
    let is_unchanged = version.e_tag.is_some() && bare(&found.version) == bare(&version);
    match unquoted {
        Some(unquoted) if is_unchanged => match update_once(client, path, unquoted, bytes).await {
            Ok(put) => Ok(Some(version_of(put))),
            Err(StoreError::Precondition { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        Some(_) | None => Ok(None),
    }
}

/// Longest object that is read to see whether it changed.
const FOUND_LEN_MAX: u64 = 16 << 20;

async fn update_once(
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
