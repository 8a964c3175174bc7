//! Resolves the snapshot name `latest`.

use std::sync::Arc;

use crate::codecs::format::manifest::{Need, Verdict};
use crate::codecs::format::moment::parse_moment;
use crate::engines::snapshot::home::{Stage, stage_of};
use crate::engines::snapshot::{SnapshotReader, list_unfinished_dumps};
use crate::ports::store::{MapChoice, Store, open_snapshot_place};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::UnixSecs;

/// The name that stands for the newest complete snapshot of a directory. No dump can have
/// this name.
pub const LATEST: &str = "latest";

/// The newest complete snapshot of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Its name in the store.
    pub name: String,
    /// When its dump ended, on the clock of the host that made it.
    pub finished_at: UnixSecs,
    /// Snapshots that ended later, or may have, and were not taken, with the reason.
    pub passed_over: Vec<String>,
}

/// Resolves the place of a snapshot. If its last part is `latest` and no snapshot has
/// that name, returns the place of the newest complete snapshot in that directory;
/// otherwise returns the place unchanged. Newer snapshots that are passed over are logged
/// as warnings.
///
/// # Errors
///
/// - `NotFound`: there is no such directory, or it has no complete snapshot.
/// - `InvalidInput`: the place names no snapshot.
/// - `Io` of the store.
pub fn resolve_latest(place: &str) -> Result<String> {
    let is_latest = place
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .is_some_and(|last| last == LATEST);
    if !is_latest {
        return Ok(place.to_owned());
    }
    let (store, name) = open_snapshot_place(place, MapChoice::Never)?;
    // A directory with that name exists, so it is the one meant.
    if !store.list(&name)?.is_empty() {
        tracing::warn!("{place} is a snapshot of that very name; no newer one was looked for");
        return Ok(place.to_owned());
    }
    let latest = find_latest(&store)?;
    let found = store.describe(&latest.name);
    for reason in &latest.passed_over {
        tracing::warn!("{place} is {found}: {reason}");
    }
    tracing::info!("{place} is {found}");
    Ok(found)
}

/// Finds the complete snapshot of a store whose dump ended last.
///
/// # Errors
///
/// - `NotFound`: none is complete; the error names the newest of the others.
/// - `Io` of the store.
pub fn find_latest(store: &Arc<dyn Store>) -> Result<Latest> {
    let mut complete: Vec<(UnixSecs, String)> = Vec::new();
    let mut others: Vec<(UnixSecs, String)> = Vec::new();
    let mut unreadable = Vec::new();
    for name in &store.list_below("")? {
        if stage_of(&**store, name)? != Stage::Finished {
            continue;
        }
        let opened = SnapshotReader::open(Arc::clone(store), name, Need::Read);
        let opened = opened.map(|snapshot| {
            let manifest = snapshot.manifest();
            (parse_moment(&manifest.finished_at), manifest.verdict)
        });
        match opened {
            Ok((Some(end), Verdict::Complete)) => complete.push((end, name.to_owned())),
            Ok((end, verdict)) => {
                let place = store.describe(name);
                let text = format!("{place} is {}", verdict.as_str());
                others.push((end.unwrap_or_default(), text));
            }
            // The unreadable one may be the newest.
            Err(error) => {
                let reason = error.to_chain();
                unreadable.push(format!(
                    "whether a newer one is complete is not known: {reason}"
                ));
            }
        }
    }
    others.sort();
    let Some((finished_at, name)) = complete.into_iter().max() else {
        let newest = others
            .last()
            .map(|(_, newest)| format!("{newest}: name it to use it"));
        let hints: Vec<String> = newest.into_iter().chain(unreadable.pop()).collect();
        let mut what = format!("a complete snapshot for {}", store.describe(LATEST));
        if !hints.is_empty() {
            what.push_str(&format!(" ({})", hints.join("; ")));
        }
        return Err(Error::new(ErrorKind::NotFound { what }));
    };
    for (name, journal) in list_unfinished_dumps(&**store)? {
        let place = store.describe(&name);
        let began = parse_moment(&journal.started_at).unwrap_or_default();
        others.push((began, format!("{place} did not finish")));
    }
    let later = others
        .into_iter()
        .filter(|(moment, _)| *moment > finished_at);
    let later = later.map(|(_, text)| format!("{text}, though newer"));
    let passed_over = later.chain(unreadable).collect();
    Ok(Latest {
        name,
        finished_at,
        passed_over,
    })
}
