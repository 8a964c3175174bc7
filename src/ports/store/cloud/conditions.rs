//! Finds out which conditions a store honours. Several stores that speak S3 take
//! conditional writes and do them unconditionally, without a word.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _};

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

/// Tries conditional writes on an object of its own, which is removed again.
///
/// # Errors
///
/// - That of the store, if the object cannot be written at all.
pub(super) async fn probe(client: &dyn ObjectStore, path: &Path) -> Result<Conditions, StoreError> {
    let tried = try_conditions(client, path).await;
    match client.delete(path).await {
        Ok(()) | Err(StoreError::NotFound { .. }) => {}
        Err(error) if tried.is_ok() => {
            tracing::warn!("an empty object stays in the store: {path}: {error}");
        }
        Err(_) => {}
    }
    tried
}

async fn try_conditions(client: &dyn ObjectStore, path: &Path) -> Result<Conditions, StoreError> {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let text = |what: &str| Bytes::from(format!("{token} {what}"));
    let first = match create(client, path, &text("first")).await? {
        Created::New(version) => version,
        // The name is random: whoever says that it is taken does not mean it.
        Created::Taken => {
            return Ok(Conditions {
                is_create_honoured: false,
                is_update_honoured: false,
                keeps_versions: false,
            });
        }
    };
    // Google numbers the writes of an object, whether it keeps them or not. Some say "null"
    // where there are none.
    let is_number = |id: &String| id.parse::<u64>().is_ok();
    let keeps_versions = (first.version.as_ref()).is_some_and(|id| id != "null" && !is_number(id));
    let second = create(client, path, &text("second")).await?;
    let is_create_honoured = matches!(second, Created::Taken);
    let mut is_update_honoured = false;
    if is_create_honoured && first.e_tag.as_deref().is_some_and(|tag| !tag.is_empty()) {
        let stale = first.clone();
        let done = update(client, path, first, &text("third")).await?;
        let again = update(client, path, stale, &text("fourth")).await?;
        is_update_honoured = done.is_some() && again.is_none();
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
        let client = InMemory::new();
        let path = Path::from("a/.probe");
        let found = probe(&client, &path).await.unwrap();
        assert!(found.exclude() && !found.keeps_versions, "{found:?}");
        assert!(client.head(&path).await.is_err());
    }
}
