//! Dumps all nodes, several at a time, and writes the manifest at the end.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use crate::codecs::format::manifest::{Manifest, ManifestSegment, Totals};
use crate::codecs::ring::RingSpec;
use crate::engines::snapshot::SnapshotDraft;
use crate::engines::source::SpoolMemory;
use crate::jobs::dump::beginning::StartedDump;
use crate::jobs::dump::node::NodeDump;
use crate::jobs::dump::plan::DumpPlan;
use crate::jobs::dump::report::{DumpReport, Kept};
use crate::ports::host;
use crate::ports::host::Stopwatch;
use crate::ports::store::{Store, StoreLock};
use crate::ports::threads::side_by_side;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::progress::{Event, Progress};

impl DumpPlan {
    /// Dumps all nodes into a store and publishes the snapshot.
    ///
    /// On any error there is no snapshot. What is sealed stays for another run to resume
    /// if a node failed or the job was stopped, and always if this run may itself resume
    /// a dump. After other errors it is removed. If that fails too, the remaining files
    /// are not a snapshot, unless only the last step failed: then they are a whole one.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: the name is taken.
    /// - `Locked`: another dump of this name is running, or of these servers if the
    ///   options forbid that.
    /// - Those of [`DumpPlan::settle`].
    /// - A node's error, unless partial snapshots are allowed and another node was read
    ///   to its end. All other nodes were read to their ends.
    /// - `Io` of the store, `Canceled`.
    ///
    /// # Memory
    ///
    /// [`DumpOptions::memory_limit`]. Without one, the bound of the spools, and 64 MiB of
    /// items on their way, both for all nodes together; for each node that runs, for each
    /// shard an open block, and 48 bytes for each record of an open segment; for each
    /// connection its buffer and the value it reads.
    ///
    /// [`DumpOptions::memory_limit`]: crate::jobs::dump::DumpOptions::memory_limit
    pub fn run(
        &self,
        store: Arc<dyn Store>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<DumpReport> {
        let clock = Stopwatch::start();
        self.options.validate()?;
        let _sole = self.options.is_sole.then(|| self.lock_servers(&*store));
        let _sole = _sole.transpose()?;
        let plan = self.settled(&store)?;
        let started = plan.begin(store)?;
        let report = plan
            .run_into(&started, clock, cancel, progress)
            .map_err(|error| plan.give_up(&started.snapshot, error));
        progress.event(Event::Finished);
        report
    }

    /// Keeps other dumps of the same servers, in any order, out of the store.
    fn lock_servers(&self, store: &dyn Store) -> Result<Box<dyn StoreLock>> {
        let nodes = self.nodes.iter();
        let mut addresses: Vec<String> = nodes.map(|plan| plan.node.address()).collect();
        addresses.sort();
        let hash = xxh3_128(addresses.join("\n").as_bytes());
        let lock = store.lock_prefix(&format!("dump-of-{hash:032x}"));
        lock.map_err(|error| {
            if !matches!(error.kind(), ErrorKind::Locked { .. }) {
                return error;
            }
            let what = format!("a dump of these servers into {}", store.describe(""));
            Error::new(ErrorKind::Locked { what })
        })
    }

    /// Ends a run that failed: removes what is of no further use, and returns the error
    /// to report.
    fn give_up(&self, snapshot: &SnapshotDraft, error: Error) -> Error {
        if let Some(successor) = snapshot.find_successor() {
            // The other run may well have caused this error.
            if matches!(error.kind(), ErrorKind::Superseded { .. }) {
                return error;
            }
            return successor.caused_by(error);
        }
        // A user who stops a dump may want to resume it, and a node that failed may be
        // back tomorrow. If only the manifest is wrong, or a segment was removed, the
        // other segments are still good. After any other failure nothing is left that
        // looks like a resumable dump.
        let is_worth_keeping = self.options.resume.is_some()
            || error.is_canceled()
            || matches!(error.location(), Some(Location::Node { .. }))
            || matches!(
                error.kind(),
                ErrorKind::Internal { .. } | ErrorKind::Corrupt(_)
            );
        if !(is_worth_keeping && snapshot.has_sealed()) {
            snapshot.discard();
        }
        error
    }

    fn run_into(
        &self,
        started: &StartedDump,
        clock: Stopwatch,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<DumpReport> {
        let snapshot = &started.snapshot;
        progress.event(Event::Started {
            job: "dump",
            items_total: self.item_count(),
            bytes_total: 0,
        });
        let dumps = self.dump_nodes(started, cancel, progress)?;
        let mut nodes = Vec::new();
        let mut segments = Vec::new();
        let mut win_tokens_returned: u64 = 0;
        let mut win_tokens_kept: u64 = 0;
        let mut unknown_kept: u64 = 0;
        let mut unsettled: u64 = 0;
        let mut walks_given_up = Vec::new();
        let mut unaccounted: u64 = 0;
        let mut unconfirmed = Vec::new();
        for dump in dumps {
            if dump.is_walk_given_up {
                walks_given_up.push(dump.node.address.clone());
            }
            nodes.push(dump.node);
            if dump.is_unconfirmed {
                unconfirmed.extend_from_slice(&dump.segments);
            }
            segments.extend(dump.segments);
            win_tokens_returned = win_tokens_returned.saturating_add(dump.win_tokens_returned);
            win_tokens_kept = win_tokens_kept.saturating_add(dump.win_tokens_kept);
            unknown_kept = unknown_kept.saturating_add(dump.unknown_kept);
            unsettled = unsettled.saturating_add(dump.unsettled);
            unaccounted = unaccounted.saturating_add(dump.unaccounted);
        }
        let sealed_before = started.sealed_before();
        let of_before = |segments: &[ManifestSegment]| -> Vec<ManifestSegment> {
            let all = segments.iter();
            all.filter(|segment| sealed_before.contains(segment.object.as_str()))
                .cloned()
                .collect()
        };
        let kept = Kept {
            unconfirmed_records: Totals::of(&of_before(&unconfirmed)).records,
            ..Kept::of(&started.kept, &of_before(&segments)).since(started.started_at, started.age)
        };
        let span = [started.started_at, host::now()];
        let manifest = Manifest {
            ring: RingSpec::to_record(&self.options.rings),
            select: self.select_text(),
            ..snapshot.assemble(span, nodes, segments)
        };
        cancel.check()?;
        snapshot.publish(&manifest, self.nodes.len())?;
        Ok(DumpReport {
            place: snapshot.describe(),
            rivals: snapshot.find_rivals(),
            manifest,
            win_tokens_returned,
            win_tokens_kept,
            unknown_kept,
            unsettled,
            walks_given_up,
            unaccounted,
            kept,
            elapsed: clock.elapsed(),
        })
    }

    /// Dumps the nodes, `parallel_node_count` at a time; returns them in the given order.
    fn dump_nodes(
        &self,
        started: &StartedDump,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Vec<NodeDump>> {
        let stop = cancel.child();
        let width = self.width(started.snapshot.writing_memory())?;
        let spool_memory = SpoolMemory::new(width.spool_memory);
        let dump = |index| {
            // A failed node is no reason to stop the others: their segments are kept. An
            // error means that the snapshot cannot be finished.
            self.dump_node(index, started, &spool_memory, width, &stop, progress)
                .inspect_err(|_| stop.cancel())
        };
        let indexes = (0..self.nodes.len()).collect();
        let results = side_by_side("node", indexes, width.nodes_at_once, &stop, dump)?;
        cancel.check()?;
        let mut dumps: Vec<NodeDump> = Vec::new();
        let mut errors = Vec::new();
        for result in results {
            match result {
                Ok(dump) => dumps.push(dump),
                Err(error) => errors.push(error),
            }
        }
        match Error::first_cause(errors) {
            // The node was stopped although the job was not.
            Some(error) if error.is_canceled() => {
                let (done, all) = (dumps.len(), self.nodes.len());
                let what = format!("{done} of {all} nodes were dumped, and no error says why");
                return Err(Error::internal(what));
            }
            Some(error) => return Err(error),
            None => {}
        }
        let is_any_whole = dumps.iter().any(|dump| dump.node.failure.is_none());
        // What is left of an earlier run is better than nothing.
        let sealed_before = started.sealed_before();
        let mut segments = dumps.iter().flat_map(|dump| &dump.segments);
        let is_any_kept = segments.any(|segment| sealed_before.contains(&*segment.object));
        let is_of_use = is_any_whole || is_any_kept;
        let may_fail = self.options.is_partial_allowed && is_of_use;
        let mut first_failure: Option<Error> = None;
        for dump in &mut dumps {
            let Some(failure) = dump.failure.take().filter(|_| !may_fail) else {
                continue;
            };
            // A dump of a server that has lost its items cannot be resumed. A dump that
            // failed because a server sent an impossible answer should not be, unless the
            // user asked for it.
            let is_lost = matches!(failure.kind(), ErrorKind::NodeChanged { .. });
            if is_lost || !(failure.is_retryable() || self.options.resume.is_some()) {
                started.snapshot.remove_segments(&dump.segments)?;
            }
            let place = Location::node(dump.node.address.clone());
            first_failure.get_or_insert(failure.at(place));
        }
        first_failure.map_or(Ok(dumps), Err)
    }
}
