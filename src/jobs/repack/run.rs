//! Makes the look-up objects of a snapshot anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::engines::snapshot::remake_look_ups;
use crate::ports::host::Stopwatch;
use crate::ports::store::Store;
use crate::words::cancel::Cancel;
use crate::words::error::Result;

/// The options of a repacking.
#[derive(Clone, Debug)]
pub struct RepackOptions {
    /// The directory for nameless files with what does not fit in memory.
    pub scratch_directory: PathBuf,
}

/// What a repacking did.
#[derive(Clone, Debug)]
pub struct RepackReport {
    /// The snapshot, for messages.
    pub place: String,
    /// Look-up objects that were made.
    pub look_ups: u64,
    /// Nodes that have none, since the names of their segments do not allow it.
    pub nodes_without: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Makes the look-up objects of a snapshot anew, from the key sections of its segments,
/// and names them in its manifest in place of those that it has.
///
/// # Errors
///
/// - `NotFound`, `InvalidInput`: there is no snapshot, or it is a single segment.
/// - `Locked`: a job writes the snapshot.
/// - `Corrupt`: the manifest or a segment is damaged; `Newer`, `Io`, `Canceled`. The
///   snapshot is as before.
/// - `Superseded`: somebody has changed the manifest meanwhile.
///
/// # Memory
///
/// Some 8 MiB, or 320 bytes for each segment of a shard if that is more, and the hashes of
/// a segment at 20 bytes each; all others are in a nameless file.
pub fn repack_look_ups(
    store: Arc<dyn Store>,
    name: &str,
    options: &RepackOptions,
    cancel: &Cancel,
) -> Result<RepackReport> {
    let clock = Stopwatch::start();
    let place = store.describe(name);
    let directory = options.scratch_directory.clone();
    let remade = remake_look_ups(store, name, directory, cancel)?;
    Ok(RepackReport {
        place,
        look_ups: remade.look_ups,
        nodes_without: remade.nodes_without,
        elapsed: clock.elapsed(),
    })
}
