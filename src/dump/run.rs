//! All nodes, a few side by side, and the manifest at the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::cancel::Cancel;
use crate::dump::node::{NodeDump, NodeJob, unreached_node};
use crate::dump::plan::{DumpPlan, join};
use crate::dump::report::DumpReport;
use crate::error::{Error, Result};
use crate::format::manifest::{
    Digest128, Features, Manifest, ManifestNode, ManifestSegment, ShardHash, Totals, Verdict,
    Version,
};
use crate::progress::{Event, Progress};
use crate::snapshot::SnapshotWriter;
use crate::store::Store;
use crate::units::UnixSecs;

impl DumpPlan {
    /// Dumps all nodes into a store and publishes the snapshot.
    ///
    /// On any error the segments written so far are removed, and there is no
    /// snapshot. Where nothing can be removed either, pieces are left that are
    /// none, or, if the last step alone failed, a whole one.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: the name is taken.
    /// - A node's error, unless partial snapshots are allowed and another node
    ///   was read to its end.
    /// - `Io` of the store, `Canceled`.
    ///
    /// # Memory
    ///
    /// For each node that runs: the spool's bound; for each shard up to five
    /// batches of 256 KiB, an open block, and 48 bytes for each record of an
    /// open segment; for each connection its buffer and the value it reads.
    pub fn run(
        &self,
        store: Arc<dyn Store>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<DumpReport> {
        let snapshot = SnapshotWriter::begin(store, &self.options.name)?;
        let report = self.run_into(&snapshot, cancel, progress);
        if report.is_err() {
            snapshot.discard();
        }
        progress.event(Event::Finished);
        report
    }

    fn run_into(
        &self,
        snapshot: &SnapshotWriter,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<DumpReport> {
        let clock = Instant::now();
        let started_at = SystemTime::now();
        progress.event(Event::Started {
            job: "dump",
            items_total: self.item_count(),
            bytes_total: 0,
        });
        let dumps = self.dump_nodes(
            snapshot,
            UnixSecs::from_system_time(started_at),
            cancel,
            progress,
        )?;
        let mut nodes = Vec::new();
        let mut segments = Vec::new();
        let mut win_tokens_returned: u64 = 0;
        for dump in dumps {
            nodes.push(dump.node);
            segments.extend(dump.segments);
            win_tokens_returned = win_tokens_returned.saturating_add(dump.win_tokens_returned);
        }
        let span = [started_at, SystemTime::now()].map(UnixSecs::from_system_time);
        let ring = self.options.ring.clone();
        let manifest = assemble(snapshot, ring, span, nodes, segments);
        cancel.check()?;
        snapshot.publish(&manifest)?;
        Ok(DumpReport {
            place: snapshot.describe(),
            manifest,
            win_tokens_returned,
            elapsed: clock.elapsed(),
        })
    }

    /// Dumps the nodes, `parallel_node_count` at a time; returns them in the
    /// order given.
    fn dump_nodes(
        &self,
        snapshot: &SnapshotWriter,
        started_at: UnixSecs,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Vec<NodeDump>> {
        let stop = cancel.child();
        let queue: Mutex<VecDeque<usize>> = Mutex::new((0..self.nodes.len()).collect());
        let next = || {
            queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        let worker_count = self
            .options
            .parallel_node_count
            .clamp(1, self.nodes.len().max(1));
        let results: Vec<(usize, Result<NodeDump>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..worker_count)
                .map(|_| {
                    scope.spawn(|| {
                        let mut dumps = Vec::new();
                        while let Some(index) = next() {
                            let dump = self.dump_node(index, snapshot, started_at, &stop, progress);
                            if dump.is_err() {
                                // Nobody needs the rest.
                                stop.cancel();
                            }
                            dumps.push((index, dump));
                        }
                        dumps
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| join(worker.join()))
                .collect()
        });
        cancel.check()?;
        let mut dumps = Vec::new();
        let mut first_error: Option<Error> = None;
        for (index, result) in results {
            match result {
                Ok(dump) => dumps.push((index, dump)),
                // Others were only stopped because of the first.
                Err(error) if error.is_canceled() => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        dumps.sort_by_key(|(index, _)| *index);
        let is_any_whole = dumps.iter().any(|(_, dump)| dump.node.failure.is_none());
        let mut dumps: Vec<NodeDump> = dumps.into_iter().map(|(_, dump)| dump).collect();
        let failed = dumps.iter_mut().find_map(|dump| dump.failure.take());
        match failed {
            Some(error) if !is_any_whole => Err(error),
            Some(_) | None => Ok(dumps),
        }
    }

    fn dump_node(
        &self,
        index: usize,
        snapshot: &SnapshotWriter,
        started_at: UnixSecs,
        stop: &Cancel,
        progress: &dyn Progress,
    ) -> Result<NodeDump> {
        stop.check()?;
        let Some(plan) = self.nodes.get(index) else {
            return Err(Error::canceled());
        };
        let node_index = u32::try_from(index).unwrap_or(u32::MAX);
        let mut dump = match &plan.server {
            Ok(server) => {
                let options = &self.options;
                let node = &plan.node;
                let job = NodeJob {
                    options,
                    snapshot,
                    node,
                    node_index,
                    server,
                    started_at,
                };
                job.run(stop, progress)?
            }
            Err(reason) => {
                let mut node = unreached_node(&plan.node, &self.options);
                node.failure = Some(reason.clone());
                NodeDump {
                    node,
                    segments: Vec::new(),
                    win_tokens_returned: 0,
                    failure: None,
                }
            }
        };
        progress.event(Event::NodeFinished {
            node: dump.node.address.clone(),
            items: dump.node.counters.stored,
            failure: dump.node.failure.clone(),
        });
        match dump.failure.take() {
            Some(error) if !self.options.is_partial_allowed => Err(error),
            failure => Ok(NodeDump { failure, ..dump }),
        }
    }
}

/// Makes the manifest of a finished dump of these nodes, which began and ended
/// then.
pub(super) fn assemble(
    snapshot: &SnapshotWriter,
    ring: Option<String>,
    [started_at, finished_at]: [UnixSecs; 2],
    nodes: Vec<ManifestNode>,
    segments: Vec<ManifestSegment>,
) -> Manifest {
    let digests = Manifest::digests(&segments);
    Manifest {
        format: "mcsnap".to_owned(),
        version: Version::default(),
        features: Features::default(),
        snapshot_id: snapshot.id(),
        name: snapshot.name().to_owned(),
        parents: Vec::new(),
        token: snapshot.token().to_owned(),
        tool: concat!("mcsnap ", env!("CARGO_PKG_VERSION")).to_owned(),
        started_at: to_text(started_at),
        finished_at: to_text(finished_at),
        ring,
        shard_hash: ShardHash::default(),
        verdict: Verdict::of(&nodes),
        nodes,
        totals: Totals::of(&segments),
        segments,
        content_digest: Digest128(digests.content),
        content_digest_exptime: Digest128(digests.content_exptime),
    }
}

/// Writes a moment as RFC 3339, to the second.
fn to_text(time: UnixSecs) -> String {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}
