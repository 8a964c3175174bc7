//! Keeps two writers of one name apart, on whatever hosts they run: a small object that its
//! holder writes again and again.
//!
//! - A lease is taken by creating the object, or by replacing one whose holder is gone.
//! - Whether a holder is gone is judged by this host's clock alone: the object has not
//!   changed for a time that the holder itself has written into it. A process of this very
//!   machine is looked up instead.
//! - The object is never written twice with the same bytes, so that no old version of it
//!   passes for a new one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ConstantBuilder, Retryable as _};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::ports::machine::MachineProcess;
use crate::ports::store::cloud::conditional::{Created, Found, create, read_small, update};
use crate::ports::store::cloud::driver::wait;

/// What the object's name has after that of what is leased.
pub(super) const LEASE_SUFFIX: &str = ".lease";
/// How often a holder writes the object. A bucket that keeps versions keeps each.
const RENEWED_EVERY: Duration = Duration::from_secs(10);
const RENEWED_EVERY_WITH_VERSIONS: Duration = Duration::from_secs(60);
/// A holder that has not renewed for so many intervals has lost the lease.
const MISSED_MAX: u32 = 3;
/// How often the object of another holder is looked at.
const LOOKED_EVERY: Duration = Duration::from_secs(2);
/// Longest object that is read.
const LEN_MAX: u64 = 16 << 10;
/// The longest interval that is believed of another holder, in seconds.
const INTERVAL_MAX: u64 = 600;
/// Bounds a quick end of a run: what is not removed by then runs out.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);

/// What the object says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    /// Random; the same for all that one holder writes.
    holder: String,
    /// Which process it is.
    process: MachineProcess,
    /// How often it has been written.
    renewals: u64,
    /// How often it is written, in seconds.
    renewed_every: u64,
}

impl Note {
    fn encode(&self) -> Bytes {
        // Text of two strings and four numbers.
        Bytes::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A lease that is held: renewed in the background, removed when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    client: Arc<dyn ObjectStore>,
    handle: Handle,
    path: Path,
    hold: Arc<Hold>,
    renewals: JoinHandle<()>,
}

/// How sure it is that the lease is held.
#[derive(Debug)]
struct Hold {
    is_lost: AtomicBool,
    /// When the last renewal that succeeded began.
    renewed: Mutex<Instant>,
    /// Others wait for so long from then on.
    lasts: Duration,
}

impl Hold {
    /// Returns until when it is held for sure.
    fn until(&self) -> Instant {
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed + self.lasts
    }

    fn renew(&self, began: Instant) {
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        *renewed = began;
    }
}

/// What came of an attempt to take a lease.
#[derive(Debug)]
pub(super) enum Taken {
    Lease(Lease),
    /// This one holds it, and is alive.
    HeldBy(MachineProcess),
}

/// Takes the lease. A holder that may be alive is watched for up to three of its intervals;
/// `describe` names what is leased, for messages.
///
/// # Errors
///
/// - That of the store.
pub(super) async fn take(
    client: Arc<dyn ObjectStore>,
    path: Path,
    keeps_versions: bool,
    describe: &str,
) -> Result<Taken, StoreError> {
    let interval = match keeps_versions {
        true => RENEWED_EVERY_WITH_VERSIONS,
        false => RENEWED_EVERY,
    };
    let mut note = Note {
        holder: uuid::Uuid::new_v4().simple().to_string(),
        process: MachineProcess::this(),
        renewals: 0,
        renewed_every: interval.as_secs(),
    };
    loop {
        // Others count from when the object was written, which may be long before the answer.
        let began = Instant::now();
        if let Created::New(_) = create(&*client, &path, &note.encode()).await? {
            return Ok(Taken::Lease(Lease::hold(client, path, note, began)));
        }
        let Some(found) = read_small(&*client, &path, LEN_MAX).await? else {
            // Removed meanwhile, or too long to be a lease.
            note.renewals = note.renewals.saturating_add(1);
            match client.head(&path).await {
                Err(StoreError::NotFound { .. }) => continue,
                Ok(_) => return Ok(Taken::HeldBy(MachineProcess::default())),
                Err(error) => return Err(error),
            }
        };
        let abandoned = match watch(&*client, &path, found, describe).await? {
            Watched::Abandoned(found) => found,
            Watched::Gone => continue,
            Watched::Alive(process) => return Ok(Taken::HeldBy(process)),
        };
        note.renewals = note.renewals.saturating_add(1);
        let began = Instant::now();
        let taken = update(&*client, &path, abandoned.version, &note.encode()).await?;
        if taken.is_some() {
            return Ok(Taken::Lease(Lease::hold(client, path, note, began)));
        }
        // Another one was faster; that one is alive.
    }
}

/// Who has written a lease that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Alive(MachineProcess),
    /// A process that cannot be looked up from here.
    Unknown(MachineProcess),
    Gone,
}

impl Holder {
    fn of(process: MachineProcess) -> Self {
        match process.is_alive_here() {
            Some(true) => Self::Alive(process),
            Some(false) => Self::Gone,
            None => Self::Unknown(process),
        }
    }
}

/// Finds out who holds a lease, if somebody does, and changes nothing.
///
/// # Errors
///
/// - That of the store.
pub(super) async fn find_holder(
    client: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<Holder>, StoreError> {
    let Some(found) = read_small(client, path, LEN_MAX).await? else {
        return Ok(None);
    };
    let note = serde_json::from_slice::<Note>(&found.bytes);
    Ok(Some(match note {
        Ok(note) => Holder::of(note.process),
        // No lease of ours, or one of a newer build.
        Err(_) => Holder::Unknown(MachineProcess::default()),
    }))
}

enum Watched {
    /// Nobody holds what was found.
    Abandoned(Found),
    /// The object was removed.
    Gone,
    Alive(MachineProcess),
}

/// Finds out whether the holder is alive.
async fn watch(
    client: &dyn ObjectStore,
    path: &Path,
    found: Found,
    describe: &str,
) -> Result<Watched, StoreError> {
    let Ok(note) = serde_json::from_slice::<Note>(&found.bytes) else {
        // No lease of ours, or one of a newer build: it is not for us to take.
        return Ok(Watched::Alive(MachineProcess::default()));
    };
    match Holder::of(note.process.clone()) {
        Holder::Alive(process) => return Ok(Watched::Alive(process)),
        Holder::Gone => return Ok(Watched::Abandoned(found)),
        Holder::Unknown(_) => {}
    }
    let interval = Duration::from_secs(note.renewed_every.clamp(1, INTERVAL_MAX));
    let limit = interval.saturating_mul(MISSED_MAX);
    tracing::warn!(
        "{describe}: {} was writing here; waiting up to {} s to see whether it still does",
        note.process,
        limit.as_secs()
    );
    let start = Instant::now();
    while start.elapsed() < limit {
        sleep(LOOKED_EVERY).await;
        match read_small(client, path, LEN_MAX).await? {
            Some(again) if again.bytes == found.bytes => {}
            Some(_) => return Ok(Watched::Alive(note.process)),
            None => return Ok(Watched::Gone),
        }
    }
    Ok(Watched::Abandoned(found))
}

impl Lease {
    fn hold(client: Arc<dyn ObjectStore>, path: Path, note: Note, began: Instant) -> Self {
        let interval = Duration::from_secs(note.renewed_every);
        let hold = Arc::new(Hold {
            is_lost: AtomicBool::new(false),
            renewed: Mutex::new(began),
            lasts: interval.saturating_mul(MISSED_MAX),
        });
        let own = Arc::clone(&client);
        let renewals = tokio::spawn(renew(own, path.clone(), note, Arc::clone(&hold)));
        Self {
            client,
            handle: Handle::current(),
            path,
            hold,
            renewals,
        }
    }

    /// Reports whether another writer may hold the lease by now. A process that was stopped
    /// for too long knows it at once when it goes on; a machine that was suspended does not.
    pub(super) fn is_lost(&self) -> bool {
        self.hold.is_lost.load(Ordering::Relaxed) || Instant::now() >= self.hold.until()
    }
}

/// Writes the object again and again until the lease is lost.
async fn renew(client: Arc<dyn ObjectStore>, path: Path, mut note: Note, hold: Arc<Hold>) {
    let interval = Duration::from_secs(note.renewed_every);
    loop {
        sleep(interval).await;
        note.renewals = note.renewals.saturating_add(1);
        // A watcher counts from when it first sees a renewal, which is not before it began.
        let began = Instant::now();
        let renewed = (|| renew_once(&*client, &path, &note))
            .retry(
                ConstantBuilder::default()
                    .with_delay(interval / 10)
                    .without_max_times(),
            )
            .notify(|error, _| tracing::debug!("a lease is not renewed yet: {path}: {error}"));
        match timeout_at(hold.until(), renewed).await {
            Ok(Ok(true)) => hold.renew(began),
            Ok(Ok(false) | Err(_)) | Err(_) => break,
        }
    }
    hold.is_lost.store(true, Ordering::Relaxed);
}

/// Writes the object once more; returns false if it is not this holder's.
async fn renew_once(
    client: &dyn ObjectStore,
    path: &Path,
    note: &Note,
) -> Result<bool, StoreError> {
    let Some(found) = read_small(client, path, LEN_MAX).await? else {
        return Ok(false);
    };
    let is_own = serde_json::from_slice::<Note>(&found.bytes)
        .is_ok_and(|written| written.holder == note.holder);
    if !is_own {
        return Ok(false);
    }
    let renewed = update(client, path, found.version, &note.encode()).await?;
    Ok(renewed.is_some())
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewals.abort();
        if self.is_lost() {
            return;
        }
        // While the lease holds, nobody else writes the object.
        let removed = wait(&self.handle, async {
            timeout(RELEASED_WITHIN, self.client.delete(&self.path)).await
        });
        match removed {
            Ok(Ok(()) | Err(StoreError::NotFound { .. })) => {}
            Ok(Err(error)) => tracing::debug!("a lease stays and runs out: {error}"),
            Err(_) => tracing::debug!("a lease stays and runs out: {}", self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    fn path() -> Path {
        Path::from("a/.n.lease")
    }

    fn other_machine() -> Note {
        let process = serde_json::json!({
            "host": "elsewhere", "pid": 7, "boot": "b", "pid_space": "p", "started": 1
        });
        Note {
            holder: "another".to_owned(),
            process: serde_json::from_value(process).unwrap(),
            renewals: 0,
            renewed_every: 10,
        }
    }

    async fn try_take(client: &Arc<InMemory>) -> Taken {
        let client: Arc<dyn ObjectStore> = Arc::<InMemory>::clone(client);
        take(client, path(), false, "memory:n").await.unwrap()
    }

    async fn taken(client: &Arc<InMemory>) -> Lease {
        match try_take(client).await {
            Taken::Lease(lease) => lease,
            Taken::HeldBy(process) => panic!("held by {process}"),
        }
    }

    /// Dropping waits for the store, which a runtime's own thread must not.
    async fn release(lease: Lease) {
        tokio::task::spawn_blocking(move || drop(lease))
            .await
            .unwrap();
    }

    async fn stored(client: &InMemory) -> Option<Note> {
        let found = read_small(client, &path(), LEN_MAX).await.unwrap()?;
        Some(serde_json::from_slice(&found.bytes).unwrap())
    }

    #[tokio::test]
    async fn a_process_of_this_machine_that_lives_holds_it_and_leaves_nothing() {
        let client = Arc::new(InMemory::new());
        let lease = taken(&client).await;
        let Taken::HeldBy(process) = try_take(&client).await else {
            panic!("taken twice");
        };
        assert_eq!(process, MachineProcess::this());
        release(lease).await;
        assert!(stored(&client).await.is_none());
        release(taken(&client).await).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_elsewhere_that_renews_is_alive() {
        let client = Arc::new(InMemory::new());
        let mut note = other_machine();
        let own = Arc::clone(&client);
        let renewing = tokio::spawn(async move {
            loop {
                own.put(&path(), note.encode().into()).await.unwrap();
                note.renewals += 1;
                sleep(Duration::from_secs(10)).await;
            }
        });
        while stored(&client).await.is_none() {
            tokio::task::yield_now().await;
        }
        let Taken::HeldBy(process) = try_take(&client).await else {
            panic!("taken from one that lives");
        };
        assert_eq!(process.host, "elsewhere");
        renewing.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_elsewhere_that_is_gone_is_replaced() {
        let client = Arc::new(InMemory::new());
        let gone = other_machine().encode();
        client.put(&path(), gone.into()).await.unwrap();
        let start = Instant::now();
        let lease = taken(&client).await;
        assert!(start.elapsed() >= Duration::from_secs(30));
        // It is renewed from then on.
        sleep(Duration::from_secs(25)).await;
        let note = stored(&client).await.unwrap();
        assert_eq!(note.process, MachineProcess::this());
        assert!(note.renewals >= 3, "{note:?}");
        assert!(!lease.is_lost());
        release(lease).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_another_has_taken_is_lost_and_stays() {
        let client = Arc::new(InMemory::new());
        let lease = taken(&client).await;
        let other = other_machine().encode();
        client.put(&path(), other.into()).await.unwrap();
        sleep(Duration::from_secs(11)).await;
        assert!(lease.is_lost());
        release(lease).await;
        assert_eq!(stored(&client).await.unwrap().holder, "another");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_nobody_could_renew_for_too_long_is_lost() {
        let client = Arc::new(InMemory::new());
        let lease = taken(&client).await;
        // As in a process that is stopped.
        lease.renewals.abort();
        sleep(Duration::from_secs(29)).await;
        assert!(!lease.is_lost());
        sleep(Duration::from_secs(1)).await;
        assert!(lease.is_lost());
        release(lease).await;
        assert!(
            stored(&client).await.is_some(),
            "it is not this one's any more"
        );
    }

    #[tokio::test]
    async fn what_is_no_lease_is_left_alone() {
        let client = Arc::new(InMemory::new());
        client.put(&path(), "a note".into()).await.unwrap();
        assert!(matches!(try_take(&client).await, Taken::HeldBy(_)));
        let long = vec![b' '; usize::try_from(LEN_MAX + 1).unwrap()];
        client.put(&path(), long.into()).await.unwrap();
        assert!(matches!(try_take(&client).await, Taken::HeldBy(_)));
    }
}
