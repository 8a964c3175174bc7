//! All nodes, a few side by side, and the manifest at the end.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use xxhash_rust::xxh3::xxh3_128;

use crate::cancel::Cancel;
use crate::dump::node::{NodeDump, NodeJob, change_since, counters_of, unreached_node};
use crate::dump::plan::{DumpPlan, NodePlan, join};
use crate::dump::report::{DumpReport, Kept};
use crate::error::{Error, ErrorKind, Location, Result};
use crate::format::ids::SnapshotId;
use crate::format::journal::{Journal, JournalNode};
use crate::format::manifest::{
    Digest128, Features, Manifest, ManifestNode, ManifestSegment, ShardHash, Totals, Verdict,
    Version,
};
use crate::net::ServerReport;
use crate::node::NodeSpec;
use crate::progress::{Event, Progress};
use crate::ring::RingSpec;
use crate::snapshot::{Leftover, SnapshotWriter, Unfinished};
use crate::source::{SourceNode, survey};
use crate::store::{Store, StoreLock};
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
    /// - `Locked`: another dump of the name, or, where asked for, of the servers, is
    ///   running.
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
        let clock = Instant::now();
        self.options.validate()?;
        let _sole = self.options.is_sole.then(|| self.lock_servers(&*store));
        let _sole = _sole.transpose()?;
        let begun = match self.begin(store)? {
            Beginning::Here(begun) => begun,
            Beginning::Nowhere { place, manifest } => {
                return Ok(DumpReport {
                    place,
                    kept: Kept::whole(&manifest),
                    manifest: *manifest,
                    win_tokens_returned: 0,
                    win_tokens_kept: 0,
                    unknown_kept: 0,
                    unsettled: 0,
                    unaccounted: 0,
                    elapsed: clock.elapsed(),
                });
            }
        };
        let report = self
            .run_into(&begun, clock, cancel, progress)
            .map_err(|error| self.give_up(&begun.snapshot, error));
        progress.event(Event::Finished);
        report
    }

    /// Keeps other dumps of the same servers, in whatever order, out of the store.
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

    /// Ends a run that failed: removes what is of no use any more, and returns
    /// the error to report.
    fn give_up(&self, snapshot: &SnapshotWriter, error: Error) -> Error {
        if let Some(successor) = snapshot.find_successor() {
            // What went wrong here may well be the other run's doing.
            if matches!(error.kind(), ErrorKind::Superseded { .. }) {
                return error;
            }
            return successor.caused_by(error);
        }
        // Someone who stops a dump may mean to resume it. And where the manifest
        // alone is wrong, or a segment was taken away, the others are as good as
        // ever. After any other failure nothing is left that looks like a dump to
        // resume.
        let is_worth_keeping = self.options.is_resumable
            || error.is_canceled()
            || matches!(
                error.kind(),
                ErrorKind::Internal { .. } | ErrorKind::Corrupt(_)
            );
        if !(is_worth_keeping && snapshot.has_sealed()) {
            snapshot.discard();
        }
        error
    }

    /// Says what a run would keep of a dump that was killed, and changes nothing.
    ///
    /// # Errors
    ///
    /// - Those with which [`DumpPlan::run`] would refuse to go on.
    pub fn preview(&self, store: Arc<dyn Store>) -> Result<Kept> {
        let name = &self.options.name;
        if !self.options.is_resumable {
            return Ok(Kept::default());
        }
        match Leftover::preview(Arc::clone(&store), name)? {
            Leftover::Nothing => Ok(Kept::default()),
            Leftover::Finished(manifest) => {
                self.check_finished(&store.describe(name), &manifest)?;
                Ok(Kept::whole(&manifest))
            }
            Leftover::Unfinished(unfinished) => {
                self.check_same(&unfinished.journal)?;
                self.check_unchanged(&unfinished)?;
                Ok(Kept::of(&unfinished.kept))
            }
        }
    }

    /// Starts at the beginning, or where a killed dump had got to.
    fn begin(&self, store: Arc<dyn Store>) -> Result<Beginning> {
        let name = &self.options.name;
        if self.options.is_resumable {
            match Leftover::find(Arc::clone(&store), name)? {
                Leftover::Nothing => {}
                Leftover::Finished(manifest) => {
                    let place = store.describe(name);
                    self.check_finished(&place, &manifest)?;
                    return Ok(Beginning::Nowhere { place, manifest });
                }
                Leftover::Unfinished(unfinished) => {
                    self.check_same(&unfinished.journal)?;
                    self.check_unchanged(&unfinished)?;
                    unfinished.take_over()?;
                    let begun = Begun {
                        snapshot: unfinished.writer,
                        started_at: from_text(&unfinished.journal.started_at),
                        journal: Mutex::new(unfinished.journal),
                        kept: unfinished.kept,
                    };
                    return Ok(Beginning::Here(Box::new(begun)));
                }
            }
        }
        let snapshot = SnapshotWriter::begin(store, name)?;
        let journal = self.journal(snapshot.id());
        if let Err(error) = snapshot.write_journal(&journal) {
            snapshot.discard();
            return Err(error);
        }
        let begun = Begun {
            snapshot,
            started_at: from_text(&journal.started_at),
            journal: Mutex::new(journal),
            kept: Vec::new(),
        };
        Ok(Beginning::Here(Box::new(begun)))
    }

    /// Writes down what must be the same for another run to go on with this one.
    fn journal(&self, id: SnapshotId) -> Journal {
        let node = |plan: &NodePlan| journal_node(&plan.node, plan.source.as_ref().ok());
        Journal {
            shard_bits: self.options.shard_bits,
            select: self.select_text(),
            nodes: self.nodes.iter().map(node).collect(),
            ..Journal::new(id, to_text(UnixSecs::from_system_time(SystemTime::now())))
        }
    }

    /// Returns what is selected, if not everything is.
    fn select_text(&self) -> Option<String> {
        let selection = &self.options.selection;
        (!selection.is_everything()).then(|| selection.to_string())
    }

    /// Refuses to go on where a server has lost what was dumped of it, before its
    /// rest is read; a partial snapshot may say so instead.
    fn check_unchanged(&self, unfinished: &Unfinished) -> Result<()> {
        if self.options.is_partial_allowed {
            return Ok(());
        }
        for (index, plan) in self.nodes.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let has_kept = unfinished.kept.iter().any(|kept| kept.node_index == index);
            let before = usize::try_from(index)
                .ok()
                .and_then(|index| unfinished.journal.nodes.get(index));
            if has_kept && let (Ok(source), Some(before)) = (&plan.source, before) {
                check_life(before, &plan.node, &source.server)?;
            }
        }
        Ok(())
    }

    /// Refuses to take a snapshot of something else for the one wanted.
    fn check_finished(&self, place: &str, manifest: &Manifest) -> Result<()> {
        let nodes = manifest.nodes.iter().map(|node| node.address.clone());
        let is_same = nodes.eq(self.nodes.iter().map(|plan| plan.node.address()))
            && manifest.select == self.select_text();
        if is_same {
            return Ok(());
        }
        let what = format!("snapshot {place}, of other servers or another selection,");
        Err(Error::new(ErrorKind::AlreadyExists { what }))
    }

    fn check_same(&self, journal: &Journal) -> Result<()> {
        let refuse = |field, value: String, was: String| {
            let allowed = format!(
                "the dump to go on with was begun with {was}; give the same, or another --name to \
                 start anew"
            );
            Err(Error::invalid_input(field, value, allowed))
        };
        let list = |addresses: Vec<String>| addresses.join(", ");
        let nodes = list(self.nodes.iter().map(|plan| plan.node.address()).collect());
        let before = list(
            journal
                .nodes
                .iter()
                .map(|node| node.address.clone())
                .collect(),
        );
        if nodes != before {
            return refuse("nodes", nodes, before);
        }
        if self.select_text() != journal.select {
            let text = |select: &Option<String>| select.clone().unwrap_or_else(|| "all".to_owned());
            return refuse("select", text(&self.select_text()), text(&journal.select));
        }
        if self.options.shard_bits != journal.shard_bits {
            let count = |bits: u8| 1_u64.checked_shl(bits.into()).unwrap_or(0).to_string();
            let (now, before) = (count(self.options.shard_bits), count(journal.shard_bits));
            return refuse("shards", now, before);
        }
        Ok(())
    }

    fn run_into(
        &self,
        begun: &Begun,
        clock: Instant,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<DumpReport> {
        let snapshot = &begun.snapshot;
        progress.event(Event::Started {
            job: "dump",
            items_total: self.item_count(),
            bytes_total: 0,
        });
        let dumps = self.dump_nodes(begun, cancel, progress)?;
        let mut nodes = Vec::new();
        let mut segments = Vec::new();
        let mut win_tokens_returned: u64 = 0;
        let mut win_tokens_kept: u64 = 0;
        let mut unknown_kept: u64 = 0;
        let mut unsettled: u64 = 0;
        let mut unaccounted: u64 = 0;
        for dump in dumps {
            nodes.push(dump.node);
            segments.extend(dump.segments);
            win_tokens_returned = win_tokens_returned.saturating_add(dump.win_tokens_returned);
            win_tokens_kept = win_tokens_kept.saturating_add(dump.win_tokens_kept);
            unknown_kept = unknown_kept.saturating_add(dump.unknown_kept);
            unsettled = unsettled.saturating_add(dump.unsettled);
            unaccounted = unaccounted.saturating_add(dump.unaccounted);
        }
        let span = [
            begun.started_at,
            UnixSecs::from_system_time(SystemTime::now()),
        ];
        let manifest = Manifest {
            ring: RingSpec::to_record(&self.options.rings),
            select: self.select_text(),
            ..assemble(snapshot, span, nodes, segments)
        };
        cancel.check()?;
        snapshot.publish(&manifest, self.nodes.len())?;
        Ok(DumpReport {
            place: snapshot.describe(),
            manifest,
            win_tokens_returned,
            win_tokens_kept,
            unknown_kept,
            unsettled,
            unaccounted,
            kept: Kept::of(&begun.kept),
            elapsed: clock.elapsed(),
        })
    }

    /// Dumps the nodes, `parallel_node_count` at a time; returns them in the
    /// order given.
    fn dump_nodes(
        &self,
        begun: &Begun,
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
        let worker_count = self.options.parallel_node_count.min(self.nodes.len());
        let results: Vec<(usize, Result<NodeDump>)> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..worker_count)
                .map(|_| {
                    scope.spawn(|| {
                        let mut dumps = Vec::new();
                        while let Some(index) = next() {
                            let dump = self.dump_node(index, begun, &stop, progress);
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
        // A node that was only stopped, though there was nothing to stop it.
        if dumps.len() != self.nodes.len() {
            let (done, all) = (dumps.len(), self.nodes.len());
            let what = format!("{done} of {all} nodes were dumped, and no error says why");
            return Err(Error::internal(what));
        }
        dumps.sort_by_key(|(index, _)| *index);
        let is_any_whole = dumps.iter().any(|(_, dump)| dump.node.failure.is_none());
        let mut dumps: Vec<NodeDump> = dumps.into_iter().map(|(_, dump)| dump).collect();
        let failed = dumps.iter_mut().find_map(|dump| dump.failure.take());
        match failed {
            // What a killed dump had sealed is worth more than nothing.
            Some(error) if !is_any_whole && begun.kept.is_empty() => Err(error),
            Some(_) | None => Ok(dumps),
        }
    }

    /// Asks a node again that had to wait for its turn: what has happened to it
    /// meanwhile has nothing to do with what will be read of it.
    fn meet_again(
        &self,
        index: usize,
        node: &NodeSpec,
        source: &SourceNode,
        stop: &Cancel,
    ) -> Result<SourceNode> {
        if index < self.options.parallel_node_count {
            return Ok(source.clone());
        }
        match survey(node, &self.options.net, self.options.walk, stop) {
            Err(error) if error.is_canceled() => Err(error),
            // The walk is told the same, and what is known of the node is not
            // forgotten.
            Err(error) => {
                tracing::info!("when its turn came: {}", error.to_chain());
                Ok(source.clone())
            }
            met => met,
        }
    }

    fn dump_node(
        &self,
        index: usize,
        begun: &Begun,
        stop: &Cancel,
        progress: &dyn Progress,
    ) -> Result<NodeDump> {
        stop.check()?;
        let plan = self
            .nodes
            .get(index)
            .ok_or_else(|| Error::internal(format!("there is no node {index} in the plan")))?;
        let node_index = u32::try_from(index).unwrap_or(u32::MAX);
        let kept = begun.kept.iter();
        let kept: Vec<ManifestSegment> = kept
            .filter(|segment| segment.node_index == node_index)
            .cloned()
            .collect();
        let mut dump = match &plan.source {
            Ok(source) => {
                let source = self.meet_again(index, &plan.node, source, stop)?;
                let before = begun.settle_life(index, &plan.node, &source, &kept)?;
                if let Some(before) = &before
                    && !self.options.is_partial_allowed
                    && !kept.is_empty()
                {
                    check_life(before, &plan.node, &source.server)?;
                }
                progress.event(Event::NodeStarted {
                    node_index,
                    node: plan.node.address(),
                    items_total: source.server.stats.curr_items,
                });
                // A killed dump has left the crawler on.
                let mut strategy = source.strategy;
                strategy.turns_crawler_on |= strategy.walk.needs_crawler()
                    && before.as_ref().is_some_and(|before| before.is_crawler_off);
                let options = &self.options;
                let node = &plan.node;
                let job = NodeJob {
                    options,
                    snapshot: &begun.snapshot,
                    node,
                    node_index,
                    server: &source.server,
                    strategy,
                    started_at: begun.started_at,
                    kept: &kept,
                    before: before.as_ref(),
                };
                let node = job.node.address();
                job.run(stop, progress).inspect_err(|error| {
                    // One that is stopped has not failed.
                    if error.is_canceled() {
                        return;
                    }
                    progress.event(Event::NodeFinished {
                        node_index: Some(node_index),
                        node,
                        items: 0,
                        failure: Some(error.to_chain()),
                    });
                })?
            }
            Err(reason) => {
                let mut node = unreached_node(&plan.node, &self.options);
                node.failure = Some(reason.clone());
                node.counters = counters_of(&kept);
                NodeDump {
                    node,
                    segments: kept,
                    win_tokens_returned: 0,
                    win_tokens_kept: 0,
                    unknown_kept: 0,
                    unsettled: 0,
                    unaccounted: 0,
                    failure: None,
                }
            }
        };
        progress.event(Event::NodeFinished {
            node_index: Some(node_index),
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

/// Refuses a server that has lost what was dumped of it.
fn check_life(before: &JournalNode, node: &NodeSpec, server: &ServerReport) -> Result<()> {
    if change_since(before, server).is_none() {
        return Ok(());
    }
    let what = "the server was restarted or flushed since this dump was begun";
    Err(Error::new(ErrorKind::NodeChanged { what }).at(Location::node(node.address())))
}

/// Writes down which life of a server is dumped; nothing of one that did not
/// answer.
fn journal_node(node: &NodeSpec, source: Option<&SourceNode>) -> JournalNode {
    let server = source.map(|source| &source.server);
    let flushes = server.map(ServerReport::flush_marks).unwrap_or_default();
    JournalNode {
        address: node.address(),
        pid: server.map_or(0, |server| server.stats.pid),
        server_started_at: server.map_or(0, |server| server.stats.started_at().0),
        flushes: flushes.count,
        flushed_until: flushes.until,
        is_flush_ahead: flushes.is_ahead,
        is_crawler_off: source.is_some_and(|source| source.strategy.turns_crawler_on),
    }
}

/// Where a dump starts.
enum Beginning {
    /// From here.
    Here(Box<Begun>),
    /// There is nothing left to do.
    Nowhere {
        place: String,
        manifest: Box<Manifest>,
    },
}

/// A dump that has begun, now or earlier.
struct Begun {
    snapshot: SnapshotWriter,
    started_at: UnixSecs,
    journal: Mutex<Journal>,
    /// Segments that were sealed before.
    kept: Vec<ManifestSegment>,
}

impl Begun {
    /// Returns what is written down of a node whose turn it is. Where nothing is
    /// kept of it, that is its life of now: what is read of it is of that one.
    fn settle_life(
        &self,
        index: usize,
        node: &NodeSpec,
        source: &SourceNode,
        kept: &[ManifestSegment],
    ) -> Result<Option<JournalNode>> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = journal.nodes.get_mut(index) else {
            return Ok(None);
        };
        if !kept.is_empty() || change_since(before, &source.server).is_none() {
            return Ok(Some(before.clone()));
        }
        let now = journal_node(node, Some(source));
        *before = now.clone();
        self.snapshot.rewrite_journal(&journal)?;
        Ok(Some(now))
    }
}

/// Reads what [`to_text`] wrote.
fn from_text(text: &str) -> UnixSecs {
    let timestamp = text.parse::<jiff::Timestamp>().ok();
    let seconds = timestamp.and_then(|timestamp| u64::try_from(timestamp.as_second()).ok());
    UnixSecs(seconds.unwrap_or(0))
}

/// Makes the manifest of a finished dump of these nodes, which began and ended
/// then.
pub(super) fn assemble(
    snapshot: &SnapshotWriter,
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
        ring: None,
        select: None,
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
