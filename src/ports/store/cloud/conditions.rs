//! Finds out which conditions a store honours. Several stores that speak S3 take
//! conditional writes and do them unconditionally, without a word.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;
use object_store::path::Path;
use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use tokio::task::JoinHandle;

use crate::ports::store::cloud::conditional::{Created, create, update};

/// What a bucket does with conditional writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conditions {
    /// A name that is taken cannot be created.
    pub(super) is_create_honoured: bool,
    /// An object is replaced if it is the one that was read, and only then.
    pub(super) is_update_honoured: bool,
    /// What is removed or replaced stays as an earlier version.
    pub(super) keeps_versions: bool,
}

impl Conditions {
    /// Reports whether writers can be kept apart.
    pub(super) fn exclude(self) -> bool {
        self.is_create_honoured && self.is_update_honoured
    }
}

/// Tries conditional writes on an object of its own, and begins to remove it; the caller
/// waits for that before the process ends.
///
/// # Errors
///
/// - That of the store, if the object cannot be written at all.
pub(super) async fn probe(
    client: Arc<dyn ObjectStore>,
    path: Path,
) -> (Result<Conditions, StoreError>, JoinHandle<()>) {
    let tried = try_conditions(&*client, &path).await;
    let is_known = tried.is_ok();
    let removal = tokio::spawn(async move {
        match client.delete(&path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => {}
            Err(error) if is_known => {
                tracing::warn!("an object of a few bytes stays in the store: {path}: {error}");
            }
            Err(_) => {}
        }
    });
    (tried, removal)
}

async fn try_conditions(client: &dyn ObjectStore, path: &Path) -> Result<Conditions, StoreError> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let text = |what: &str| Bytes::from(format!("{token} {what}"));
    let put = async |what: &str, mode: PutMode| {
        let payload = PutPayload::from_bytes(text(what));
        client.put_opts(path, payload, PutOptions::from(mode)).await
    };
    let first = match create(client, path, &text("first")).await? {
        Created::New(version) => version,
        // The name is random, so it cannot be taken: the answer is wrong.
        Created::Taken => {
            return Ok(Conditions {
                is_create_honoured: false,
                is_update_honoured: false,
                keeps_versions: false,
            });
        }
    };
    // Google numbers the writes of an object, whether it keeps versions or not. Some stores
    // answer "null" if they keep none.
    let is_number = |id: &String| id.parse::<u64>().is_ok();
    let keeps_versions = (first.version.as_ref()).is_some_and(|id| id != "null" && !is_number(id));
    let has_tag = first.e_tag.as_deref().is_some_and(|tag| !tag.is_empty());
    let stale = first.clone();
    let third = text("third");
    // In whichever order: neither looks at what the other does where both are honoured.
    // What comes of a request that was cut off is looked for.
    let second = async {
        match put("second", PutMode::Create).await {
            Ok(_) => Ok(false),
            Err(StoreError::AlreadyExists { .. }) => Ok(true),
            Err(StoreError::Generic { .. }) => {
                let created = create(client, path, &text("second")).await?;
                Ok(matches!(created, Created::Taken))
            }
            Err(error) => Err(error),
        }
    };
    let (second, updated) = join(second, update(client, path, first, &third)).await;
    let is_create_honoured = second?;
    let mut is_update_honoured = false;
    if is_create_honoured && has_tag && updated?.is_some() {
        is_update_honoured = match put("fourth", PutMode::Update(stale.clone())).await {
            Ok(_) => false,
            Err(StoreError::Precondition { .. }) => true,
            Err(StoreError::Generic { .. }) => {
                let updated = update(client, path, stale, &text("fourth")).await?;
                updated.is_none()
            }
            Err(error) => return Err(error),
        };
    }
    Ok(Conditions {
        is_create_honoured,
        is_update_honoured,
        keeps_versions,
    })
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_store_that_honours_conditions_is_known_by_it() {
        let client: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let path = Path::from("a/.probe");
        let (found, removal) = probe(Arc::clone(&client), path.clone()).await;
        let found = found.unwrap();
        assert!(found.exclude() && !found.keeps_versions, "{found:?}");
        removal.await.unwrap();
        assert!(client.head(&path).await.is_err());
    }
}
