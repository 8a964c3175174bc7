//! The snapshot that a command reads: which one, and what is told when it is opened.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use mcsnap::codecs::format::manifest::{Manifest, Need, Verdict};
use mcsnap::engines::snapshot::{SnapshotReader, resolve_latest};
use mcsnap::ports::net::{Compared, clock_warning};
use mcsnap::ports::store::{
    MapChoice, Store, create_directory, directory_label_of, is_remote, open_snapshot_place,
};
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::units::to_u64;

use crate::exit::{HintedError, UsageError};
use crate::render::{count, counted};

/// Returns the place of the snapshot to read, which no default can stand for;
/// `DIR/latest` is the newest complete one in DIR.
pub(crate) fn required_snapshot(snapshot: Option<&str>) -> Result<String> {
    let Some(place) = snapshot else {
        let text = "which snapshot? pass its directory, or DIR/latest for the newest complete one";
        return Err(UsageError(text.to_owned()).into());
    };
    Ok(resolve_latest(place)?)
}

/// Opens the directory of snapshots, and makes none.
pub(crate) fn open_directory_if_there(to: &str) -> Result<Option<Arc<dyn Store>>> {
    if !is_remote(to) && !Path::new(to.strip_prefix("file://").unwrap_or(to)).is_dir() {
        return Ok(None);
    }
    Ok(Some(create_directory(to)?))
}

/// Returns by which name the metrics know the directory that a snapshot is in.
pub(crate) fn labelled_snapshot(snapshot: Option<&str>) -> Result<String, Error> {
    directory_label_of(snapshot.unwrap_or_default())
}

/// Which segments a command wants to know of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// None before it asks for them.
    NoSegments,
    /// Those of these nodes; of all, if none is named.
    Nodes(&'a [String]),
}

/// Opens a snapshot; where its manifest, or all of it, is damaged, says what may
/// help.
///
/// If the manifest is in parts, only the parts with wanted segments are read.
pub(crate) fn open_snapshot(
    place: &str,
    map_choice: MapChoice,
    need: Need,
    wanted: Wanted<'_>,
) -> Result<SnapshotReader> {
    let (store, name) = open_snapshot_place(place, map_choice)?;
    let opened = SnapshotReader::open_root(store, &name, need).and_then(|mut snapshot| {
        match wanted {
            Wanted::NoSegments => {}
            Wanted::Nodes(nodes) => snapshot.read_parts(nodes)?,
        }
        Ok(snapshot)
    });
    let snapshot = opened.map_err(hint_at_salvage)?;
    warn_of_losses(&snapshot);
    // A restore has a rule of its own, and tells more.
    if need == Need::Read {
        for warning in clock_warnings(snapshot.manifest()) {
            tracing::warn!("{warning}; times are shown on the latter");
        }
    }
    Ok(snapshot)
}

/// Says what may help where a manifest, or a part of it, is damaged.
pub(crate) fn hint_at_salvage(error: Error) -> anyhow::Error {
    if !matches!(error.kind(), ErrorKind::Corrupt(_)) {
        return error.into();
    }
    let hint = "mcsnap salvage recovers what is sound".into();
    anyhow::Error::from(HintedError { error, hint })
}

/// Says which servers' clocks were far from that of the host that dumped, on which all
/// times of a snapshot are.
pub(crate) fn clock_warnings(manifest: &Manifest) -> Vec<String> {
    let told = manifest.nodes.iter().filter_map(|node| {
        let offset = node.clock_offset.parse().unwrap_or(0);
        clock_warning(&node.address, offset, Compared::AtDump)
    });
    told.collect()
}

/// Warns that a snapshot lacks something (FORMAT.md N11): a key that is not in it may
/// have been in the cache.
fn warn_of_losses(snapshot: &SnapshotReader) {
    let manifest = snapshot.manifest();
    let lost = match manifest.verdict {
        Verdict::Complete => return,
        Verdict::Unsure => format!(
            "stored {}, and up to {} more may have been there",
            counted(manifest.counters().stored, "item"),
            count(manifest.unsure())
        ),
        Verdict::Lossy => {
            let losses = manifest.losses();
            let all = manifest.counters().stored.saturating_add(losses);
            format!("lost {} of {}", count(losses), counted(all, "item"))
        }
        Verdict::Partial => format!(
            "did not read {} of {} to the end",
            count(to_u64(manifest.failed_nodes())),
            counted(to_u64(manifest.nodes.len()), "node")
        ),
    };
    tracing::warn!(
        "{} is {}: its dump {lost}",
        snapshot.describe(),
        manifest.verdict.as_str()
    );
}
