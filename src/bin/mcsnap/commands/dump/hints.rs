//! What to do after a dump that failed: the flag that helps, and how to go on.

use mcsnap::engines::snapshot::{can_resume, count_sealed};
use mcsnap::jobs::dump::DumpPlan;
use mcsnap::ports::store::Store;
use mcsnap::words::defect::Defect;
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::location::Location;

use crate::exit::{HintedError, access_hint};
use crate::render::counted;

/// Adds the flag that helps, where one does.
pub(super) fn with_hint(error: Error, node_count: usize) -> anyhow::Error {
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    let hint = if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
        "pass another --name; it may have the date: night-%F"
    } else if *error.kind() == ErrorKind::Busy {
        "pass a longer --busy-timeout to wait for it"
    } else if access_hint(error.kind()).is_some() {
        return error.into();
    } else if is_of_node && node_count > 1 {
        "no snapshot was made; pass --allow-partial to keep what other servers give"
    } else {
        return error.into();
    };
    let hint = hint.into();
    HintedError { error, hint }.into()
}

/// Returns the name under which a dump that failed can go on, if it can.
pub(super) fn resumable_name<'a>(
    error: &Error,
    store: &dyn Store,
    plan: &'a DumpPlan,
) -> Option<&'a str> {
    let is_resumed = plan.options.resume.is_some();
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    // After other errors nothing is kept, unless that was asked for.
    let may_be_kept = is_resumed
        || is_of_node
        || matches!(
            error.kind(),
            ErrorKind::Canceled
                | ErrorKind::AlreadyExists { .. }
                | ErrorKind::Internal { .. }
                | ErrorKind::Corrupt(Defect::SegmentMissing)
        );
    // Where the old dump was of no use, the new one has the name that was asked for.
    let mut names = [plan.options.name.as_str(), plan.name()].into_iter();
    names
        .find(|name| can_resume(store, name))
        .filter(|_| may_be_kept && can_go_on(error))
}

/// Says how a dump that failed can go on, or what to do where it cannot.
pub(super) fn resume_hint(error: &Error, store: &dyn Store, plan: &DumpPlan) -> Option<String> {
    let is_resumed = plan.options.resume.is_some();
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    if let Some(name) = resumable_name(error, store, plan) {
        let what = match count_sealed(store, name) {
            Ok(sealed) if is_of_node && sealed.segments > 0 => format!(
                "{} of {}",
                counted(sealed.records, "record"),
                counted(sealed.nodes, "server")
            ),
            Ok(_) | Err(_) => "it".to_owned(),
        };
        let or_partial = if is_of_node && plan.nodes.len() > 1 {
            ", or --allow-partial for a snapshot of what other servers give"
        } else {
            ""
        };
        let hint = format!("pass --resume --name {name} to go on with {what}{or_partial}");
        return Some(hint);
    }
    let is_journal = |place: &str| place.ends_with("dump.json");
    let hint = match (error.kind(), error.location()) {
        (ErrorKind::Corrupt(_), Some(Location::Object { object, .. })) if is_journal(object) => {
            "pass another --name to start anew, or make a snapshot of what is there by mcsnap salvage"
        }
        (ErrorKind::Corrupt(_), _) => "move the file away, and its items are read again",
        _ => return None,
    };
    is_resumed.then(|| hint.to_owned())
}

/// Says whether the same command can do more than it did.
fn can_go_on(error: &Error) -> bool {
    // What was removed is read again.
    let is_segment_missing = *error.kind() == ErrorKind::Corrupt(Defect::SegmentMissing);
    is_segment_missing
        || !matches!(
            error.kind(),
            ErrorKind::Locked { .. }
                | ErrorKind::Superseded { .. }
                | ErrorKind::InvalidInput { .. }
                | ErrorKind::Corrupt(_)
        )
}
