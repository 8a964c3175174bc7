//! Copies all objects of a snapshot, many at a time, and the manifest at the end.

use std::sync::Arc;

use crate::engines::snapshot::{SnapshotObject, home_of_copy, publish_copy, rivals_of};
use crate::jobs::transfer::copied_object::{Copied, Copying};
use crate::jobs::transfer::destination::Destination;
use crate::jobs::transfer::options::TransferOptions;
use crate::jobs::transfer::original::Original;
use crate::jobs::transfer::report::TransferReport;
use crate::ports::host::Stopwatch;
use crate::ports::pace::BytePace;
use crate::ports::store::Store;
use crate::ports::threads::side_by_side;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::progress::{Progress, RunningJob};
use crate::words::units::to_u64;

/// Copies a snapshot to this name, and goes on where an earlier run has ended.
///
/// What an earlier run has copied is read back and kept, if it is right. If the original
/// is damaged, nothing is published, and the report says what is wrong.
///
/// # Errors
///
/// - `InvalidInput`: an option is out of its range.
/// - `AlreadyExists`: another snapshot has the name, or an unfinished dump, or something
///   that is no part of the original.
/// - `Locked`: another job writes there.
/// - `Changed`: the original was removed or replaced meanwhile.
/// - `Newer`: an object needs a newer build.
/// - `Io`, `Canceled`: what was copied stays, for another run to go on with.
///
/// # Memory
///
/// Some 700 bytes for each segment of the snapshot. For each object that is being copied a
/// frame, and twice the table of contents of a segment; with object stores, what is on
/// its way beside that.
pub fn transfer(
    original: &Original,
    store: Arc<dyn Store>,
    name: &str,
    options: &TransferOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<TransferReport> {
    let clock = Stopwatch::start();
    options.validate()?;
    let lock = store.lock_prefix(name)?;
    let id = original.snapshot.manifest().snapshot_id;
    let home = home_of_copy(&*store, name, id)?;
    let name = home.as_str();
    let there = Destination::look(&*store, name, original)?;
    let mut report = TransferReport::begin(original, store.describe(name));
    report.was_there = there.is_published;
    let is_record = |object: &&SnapshotObject| object.is_record();
    if there.is_published {
        let named = original.objects.iter().filter(|object| !is_record(object));
        report.damage = there.find_defects(&*store, name, named);
    }
    let objects = original.objects.iter();
    let to_do: Vec<&SnapshotObject> = match (there.is_published, report.damage.is_empty()) {
        (false, _) => objects.collect(),
        // Records can be added at any time.
        (true, true) => objects
            .filter(is_record)
            .filter(|object| there.size_of(object).is_none())
            .collect(),
        (true, false) => Vec::new(),
    };
    let sum = |number: fn(&SnapshotObject) -> u64| {
        let numbers = to_do.iter().map(|object| number(object));
        numbers.fold(0, u64::saturating_add)
    };
    let (records, bytes) = (sum(|object| object.records), sum(|object| object.size));
    let is_idle = there.is_published && to_do.is_empty();
    let verb = options.direction.as_str();
    let _running = (!is_idle).then(|| RunningJob::start(progress, verb, records, bytes));
    remove_leftovers(&*store, &there)?;
    let stop = cancel.child();
    let copying = Copying {
        original,
        copy: &original.snapshot.elsewhere(Arc::clone(&store), name),
        store: &*store,
        pace: &BytePace::new(options.bytes_per_second),
        stop: &stop,
        progress,
    };
    let copied = copy_all(&copying, &to_do, &there, options, cancel)?;
    for (object, copied) in to_do.iter().zip(copied) {
        note(&mut report, object, copied);
    }
    if report.damage.is_empty() && !there.is_published {
        cancel.check()?;
        original.check_unchanged()?;
        check_all_there(&*store, name, original)?;
        lock.check()?;
        publish_copy(&*store, name, &original.root)?;
        let len = to_u64(original.root.len());
        report.objects = report.objects.saturating_add(1);
        report.bytes = report.bytes.saturating_add(len);
        report.rivals = rivals_of(&*store, name);
    }
    let verifications = original.objects.iter().filter(is_record);
    report.verifications = to_u64(verifications.count());
    report.elapsed = clock.elapsed();
    Ok(report)
}

/// Removes what killed runs have left unfinished.
fn remove_leftovers(store: &dyn Store, there: &Destination) -> Result<()> {
    for info in &there.leftovers {
        match store.remove_unfinished(&info.name) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Copies the objects side by side. After an error, or where the original is damaged, no
/// more are begun, and the results are those of the objects that came so far.
fn copy_all(
    copying: &Copying<'_>,
    objects: &[&SnapshotObject],
    there: &Destination,
    options: &TransferOptions,
    cancel: &Cancel,
) -> Result<Vec<Option<Copied>>> {
    let copy = |object: &SnapshotObject| {
        let copied = copying.object(object, there.size_of(object));
        if matches!(copied, Err(_) | Ok(Copied::Damaged(_))) {
            copying.stop.cancel();
        }
        copied
    };
    let (name, count) = (options.direction.as_str(), options.connection_count);
    let things = objects.to_vec();
    let results = side_by_side(name, things, count, copying.stop, copy)?;
    cancel.check()?;
    let is_damaged = results
        .iter()
        .any(|result| matches!(result, Ok(Copied::Damaged(_))));
    let mut copied = Vec::new();
    let mut errors = Vec::new();
    for result in results {
        match result {
            Ok(one) => copied.push(Some(one)),
            // Stopped by another.
            Err(error) if error.is_canceled() && is_damaged => copied.push(None),
            Err(error) => errors.push(error),
        }
    }
    match Error::first_cause(errors) {
        Some(error) => Err(error),
        None => Ok(copied),
    }
}

fn note(report: &mut TransferReport, object: &SnapshotObject, copied: Option<Copied>) {
    let (count, bytes) = match copied {
        None => return,
        Some(Copied::Damaged(finding)) => return report.damage.push(*finding),
        Some(Copied::Kept) => (&mut report.objects_kept, &mut report.bytes_kept),
        Some(Copied::Sent { failed_tries }) => {
            if failed_tries > 0 {
                report.objects_again = report.objects_again.saturating_add(1);
            }
            (&mut report.objects, &mut report.bytes)
        }
    };
    *count = count.saturating_add(1);
    *bytes = bytes.saturating_add(object.size);
}

/// Checks that everything is there that the manifest will name. If something is not,
/// something else has removed it.
fn check_all_there(store: &dyn Store, name: &str, original: &Original) -> Result<()> {
    let there = Destination::look(store, name, original)?;
    let findings = there.find_defects(store, name, &original.objects);
    match findings.into_iter().next() {
        None => Ok(()),
        Some(finding) => Err(Error::corrupt(finding.defect).at(finding.location)),
    }
}
