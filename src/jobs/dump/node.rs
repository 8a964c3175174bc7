//! Dumps one node, with a walker, fetchers, and a writer for each shard.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::journal::JournalNode;
use crate::codecs::format::manifest::{ManifestNode, ManifestSegment, Totals};
use crate::codecs::protocol::stats::ServerStats;
use crate::engines::pump::{Outlet, PumpOptions, Queues, pump};
use crate::engines::snapshot::{
    ShardOptions, ShardResult, ShardSink, SnapshotDraft, visit_records,
};
use crate::engines::source::{
    FetchJob, FetchTally, Fetcher, FetcherOptions, ReadStrategy, SeenKeys, Spool, SpoolMemory,
    Walk, WalkReport,
};
use crate::jobs::dump::balance::balance;
use crate::jobs::dump::plan::DumpOptions;
use crate::jobs::dump::vanishing::{ReadOutcome, find_mass_loss, has_witness};
use crate::jobs::dump::width::DumpWidth;
use crate::ports::net::{Asked, Connection, FlushMarks, ServerReport, ask_server};
use crate::ports::threads::with_crew;
use crate::words::cancel::Cancel;
use crate::words::counters::Counters;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use crate::words::progress::{Event, Progress};
use crate::words::reasons::Reasons;
use crate::words::units::{UnixSecs, to_u64};

/// The result of dumping a node.
#[derive(Debug)]
pub(super) struct NodeDump {
    pub(super) node: ManifestNode,
    pub(super) segments: Vec<ManifestSegment>,
    pub(super) win_tokens_returned: u64,
    pub(super) win_tokens_kept: u64,
    /// Items kept although it is not known whether they were selected.
    pub(super) unknown_kept: u64,
    /// Keys that were found only by the last walk that the limit allows.
    pub(super) unsettled: u64,
    /// Whether the chosen walk was given up, and another done in its place.
    pub(super) is_walk_given_up: bool,
    /// Items with no outcome, or with two.
    pub(super) unaccounted: u64,
    /// Whether some segments come from an earlier run, and it could not be determined if
    /// the node still has their records.
    pub(super) is_unconfirmed: bool,
    /// Why the node was not read to its end. The manifest has it as text.
    pub(super) failure: Option<Error>,
}

/// One node to dump, and what is the same for all nodes.
#[derive(Debug)]
pub(super) struct NodeJob<'a> {
    pub(super) options: &'a DumpOptions,
    /// Shared by all nodes.
    pub(super) spool_memory: &'a SpoolMemory,
    /// How much the node's threads may hold.
    pub(super) width: DumpWidth,
    pub(super) snapshot: &'a SnapshotDraft,
    pub(super) node: &'a NodeSpec,
    pub(super) node_index: u32,
    pub(super) server: &'a ServerReport,
    pub(super) strategy: ReadStrategy,
    pub(super) started_at: UnixSecs,
    /// The node's segments sealed by earlier runs.
    pub(super) kept: &'a [ManifestSegment],
}

/// The first error of each kind that ended a node's dump early.
#[derive(Debug, Default)]
struct FirstErrors {
    /// An error of the node; other nodes may continue.
    node: Option<Error>,
    /// An error of the snapshot; no node can continue.
    fatal: Option<Error>,
    /// The error of a thread whose partner has ended. The partner's error is the cause.
    of_partner: Option<Error>,
}

impl FirstErrors {
    /// Records the error that ended a walk, a fetch or a delivery.
    fn note(errors: &Mutex<Self>, error: Error) {
        // Stopped from outside, or by a thread that records its own error.
        if error.is_canceled() {
            return;
        }
        let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
        let place = if error.is_of_partner() {
            &mut errors.of_partner
        } else if error.is_internal() {
            // After an internal error, anything else may be wrong as well.
            &mut errors.fatal
        } else {
            &mut errors.node
        };
        // The first error is the cause; later ones follow from it.
        place.get_or_insert(error);
    }
}

impl NodeJob<'_> {
    /// Dumps the node.
    ///
    /// # Errors
    ///
    /// - `Io` of the store, `Canceled`: the snapshot cannot be finished. An error of the
    ///   node itself is in the result.
    pub(super) fn run(&self, cancel: &Cancel, progress: &dyn Progress) -> Result<NodeDump> {
        // Raised when one thread of this node finds that the rest is of no use.
        let stop = cancel.child();
        let errors = Mutex::new(FirstErrors::default());
        let alive = AtomicUsize::new(self.options.connection_count);
        let spool = Spool::new(
            self.spool_memory.clone(),
            self.options.spool_directory.clone(),
        );
        let fetcher_options = FetcherOptions {
            net: self.options.net.clone(),
            whole_value_len_max: self.width.whole_value_len_max,
            ..FetcherOptions::default()
        };
        let brake = self.options.brake.node(&self.node.address(), Asked::Gets);
        let seen = self.seen_keys(cancel)?;
        let walk = Walk {
            node: self.node,
            net: &self.options.net,
            strategy: self.strategy,
            spool: &spool,
            seen: Some(&seen),
            is_for_all: true,
            cancel: &stop,
            busy_timeout: self.options.busy_timeout,
            idle: Mutex::default(),
        };
        let fetch_job = FetchJob {
            node: self.node,
            server: self.server,
            strategy: self.strategy,
            options: &fetcher_options,
            selection: &self.options.selection,
            seen: Some(&seen),
            brake: &brake,
            cancel: &stop,
        };
        let round = FetchRound {
            spool: &spool,
            stop: &stop,
            errors: &errors,
            alive: &alive,
            node_index: self.node_index,
            progress,
        };
        let read = |queues: &Queues| self.read(queues, &walk, fetch_job, round);
        let shard_count = 1_usize.checked_shl(self.options.shard_bits.into());
        let pump_options = PumpOptions {
            name: "shard",
            sinks: vec![1; shard_count.unwrap_or(1)],
            open_max: usize::MAX,
            outlet_count: self.options.connection_count,
            memory_max: self.width.pump_memory,
        };
        let open = |shard, _| Ok(ShardSink::new(self.snapshot, self.shard_options(shard)));
        let ((walked, tally), shards) = pump(&pump_options, &stop, open, read).into_result()?;

        let mut segments = self.kept.to_vec();
        let mut written = ShardResult::default();
        for shard in shards.into_iter().flatten() {
            written.merge(shard);
        }
        segments.append(&mut written.segments);
        segments.sort_by_key(|segment| (segment.shard_index, segment.sequence));
        let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = errors.fatal {
            return Err(error);
        }
        cancel.check()?;
        // If the node has failed, that was the cause.
        if errors.node.is_none()
            && let Some(error) = errors.of_partner
        {
            return Err(error);
        }
        let outcome = ReadOutcome {
            read: tally.delivered,
            vanished: tally.counters.vanished,
            witnesses: &tally.witnesses,
        };
        let (items_end, failure) = self.look_at_end(errors.node, outcome, cancel);
        let win_tokens_returned = tally.win_tokens_returned;
        let win_tokens_kept = tally.win_tokens_kept;
        let unknown_kept = tally.unknown_kept;
        let unsettled = walked.map_or(0, |walked| walked.last_pass_new);
        let is_walk_given_up = walked.is_some_and(|walked| walked.is_given_up);
        let (node, unaccounted) =
            self.describe(walked, tally, &written, items_end, failure.as_ref());
        Ok(NodeDump {
            node,
            segments,
            win_tokens_returned,
            win_tokens_kept,
            unknown_kept,
            unsettled,
            is_walk_given_up,
            unaccounted,
            is_unconfirmed: false,
            failure,
        })
    }

    /// Lists the node and fetches what is listed, to the end.
    fn read(
        &self,
        queues: &Queues,
        walk: &Walk<'_>,
        fetch_job: FetchJob<'_>,
        round: FetchRound<'_>,
    ) -> Result<(Option<WalkReport>, FetchTally)> {
        let FetchRound {
            spool,
            stop,
            errors,
            progress,
            ..
        } = round;
        let watch_stop = stop.child();
        let shard_of = |key: &[u8]| shard_of(key, self.options.shard_bits);
        let route = |key: &[u8]| usize::try_from(shard_of(key)).unwrap_or(usize::MAX);
        with_crew(stop, |crew| {
            let spool_writer = crew.start("spool", || spool.write_out(stop))?;
            let watched = fetch_job.brake.watched(&watch_stop);
            let net = &self.options.net;
            crew.start("probe", || {
                fetch_job.brake.watch(self.node, net, &watch_stop)
            })?;
            let walker = crew.start("walk", || {
                let walked = self.watched(walk, progress, || walk.run());
                walked
                    .map_err(|error| FirstErrors::note(errors, error))
                    .ok()
            })?;
            let fetch = || {
                let mut fetcher = Fetcher::new(fetch_job);
                round.fetch_all(&mut fetcher, &mut Outlet::new(queues, &route));
                fetcher.into_tally()
            };
            let fetchers: Result<Vec<_>> = (0..self.options.connection_count)
                .map(|number| crew.start(format!("fetch-{number}"), fetch))
                .collect();
            let mut tally = FetchTally::default();
            for fetcher in fetchers? {
                tally.merge(&fetcher.join());
            }
            drop(watched);
            spool_writer.join();
            Ok((walker.join(), tally))
        })
    }

    /// Runs a walk, and reports when it begins and ends.
    pub(super) fn watched<T>(
        &self,
        walk: &Walk<'_>,
        progress: &dyn Progress,
        run: impl FnOnce() -> T,
    ) -> T {
        let node_index = self.node_index;
        let rest = walk.rest_silence_max();
        progress.event(Event::WalkStarted { node_index, rest });
        let walked = run();
        progress.event(Event::WalkEnded { node_index });
        walked
    }

    /// Returns the set of keys. For a walk that lists no key twice, it is used for
    /// look-ups only if that walk has to be given up.
    fn seen_keys(&self, cancel: &Cancel) -> Result<SeenKeys> {
        if !self.strategy.walk.can_repeat() && self.kept.is_empty() {
            return Ok(SeenKeys::for_later(&self.options.spool_directory));
        }
        let kept_count = Totals::of(self.kept).records;
        let item_count = self.server.stats.curr_items.max(kept_count);
        let seen = SeenKeys::create(&self.options.spool_directory, item_count)?;
        for segment in self.kept {
            cancel.check()?;
            visit_records(self.snapshot, segment, &mut |record| {
                seen.insert_kept(record.key).map(drop)
            })?;
        }
        Ok(seen)
    }

    /// Makes the node's manifest entry; also returns by how many items its counters do
    /// not add up.
    fn describe(
        &self,
        walked: Option<WalkReport>,
        mut tally: FetchTally,
        written: &ShardResult,
        items_end: u64,
        failure: Option<&Error>,
    ) -> (ManifestNode, u64) {
        let mut counters = Counters {
            stored: written.stored,
            duplicate: tally.counters.duplicate.saturating_add(written.duplicate),
            ..tally.counters
        };
        counters.merge(&counters_of(self.kept));
        let unaccounted = balance(&mut counters, &mut tally.reasons);
        let walk = walked.map_or(self.strategy.walk, |walked| walked.walk);
        let node = ManifestNode {
            walk: walk.manifest_name().to_owned(),
            unlisted: walked.map_or(0, |walked| walked.unlisted),
            unsure: walked.map_or(0, |walked| walked.unsure),
            items_end,
            counters,
            reasons: tally.reasons,
            failure: failure.map(Error::to_chain),
            ..self.describe_server()
        };
        (node, unaccounted)
    }

    /// Makes the manifest entry of a node from what it reported about itself.
    pub(super) fn describe_server(&self) -> ManifestNode {
        let stats = &self.server.stats;
        ManifestNode {
            server_version: stats.version_text.clone(),
            pid: stats.pid,
            server_started_at: self.server.to_host_time(stats.started_at()).0,
            clock_offset: self.server.clock_offset.to_string(),
            items_start: stats.curr_items,
            ..unreached_node(self.node, self.options)
        }
    }

    /// Returns how many items the node has at the end, and why its dump is not whole,
    /// if it has failed or was changed meanwhile.
    fn look_at_end(
        &self,
        failure: Option<Error>,
        outcome: ReadOutcome<'_>,
        cancel: &Cancel,
    ) -> (u64, Option<Error>) {
        let at_end = Connection::connect(self.node, &self.options.net, cancel)
            .and_then(|mut connection| ask_server(&mut connection))
            .map(|report| self.server.succeeded_by(report));
        match at_end {
            Ok(report) => {
                let change = || self.find_change(&report, outcome, cancel);
                (report.stats.curr_items, failure.or_else(change))
            }
            Err(error) => (0, failure.or(Some(error))),
        }
    }

    fn find_change(
        &self,
        at_end: &ServerReport,
        outcome: ReadOutcome<'_>,
        cancel: &Cancel,
    ) -> Option<Error> {
        let told = self.server.find_change(at_end);
        let told = told.or_else(|| {
            let lost = find_mass_loss(self.server, at_end, outcome)?;
            // A witness that cannot be read proves nothing.
            let is_denied = Connection::connect(self.node, &self.options.net, cancel)
                .and_then(|mut connection| has_witness(&mut connection, outcome.witnesses));
            (!is_denied.unwrap_or(false)).then_some(lost)
        });
        let what = told?;
        let error = Error::new(ErrorKind::NodeChanged { what });
        Some(error.at(Location::node(self.node.address())))
    }

    /// Returns the sequence number after those of the shard's kept segments.
    fn first_sequence(&self, shard: u64) -> u32 {
        let kept = self.kept.iter();
        let last = kept
            .filter(|segment| segment.shard_index == shard)
            .map(|segment| segment.sequence)
            .max();
        last.map_or(0, |last| last.saturating_add(1))
    }

    fn shard_options(&self, shard: usize) -> ShardOptions {
        let shard = to_u64(shard);
        ShardOptions {
            segment_size_max: self.options.segment_size_max,
            segment_record_count_max: self.options.segment_record_count_max,
            compression: self.options.compression,
            node: self.node.address(),
            node_index: self.node_index,
            shard_index: shard,
            shard_bits: self.options.shard_bits,
            clock_offset: self.server.clock_offset,
            server_version: self.server.stats.version_text.clone(),
            created_at: self.started_at,
            first_sequence: self.first_sequence(shard),
        }
    }
}

/// What the fetchers of a node share.
#[derive(Clone, Copy)]
struct FetchRound<'a> {
    spool: &'a Spool,
    stop: &'a Cancel,
    errors: &'a Mutex<FirstErrors>,
    /// Number of fetchers that have not given up.
    alive: &'a AtomicUsize,
    node_index: u32,
    progress: &'a dyn Progress,
}

impl FetchRound<'_> {
    /// Fetches chunks of lines until there are no more.
    ///
    /// A fetcher that gives up leaves the rest to the others. The last one continues to
    /// take and count chunks, so that every line is accounted for.
    fn fetch_all(&self, fetcher: &mut Fetcher<'_>, outlet: &mut Outlet<'_>) {
        let mut has_given_up = false;
        loop {
            let chunk = match self.spool.pop(self.stop) {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    note_fatal(self.errors, error);
                    // The chunks in the spool are needed, so the dump cannot continue.
                    self.stop.cancel();
                    break;
                }
            };
            let before = fetcher.done();
            let troubles = fetcher.troubles();
            let fetched = fetcher.fetch(&chunk, outlet);
            drop(chunk);
            let after = fetcher.done();
            self.progress.event(Event::Advanced {
                node_index: Some(self.node_index),
                items: after.0.saturating_sub(before.0),
                bytes: after.1.saturating_sub(before.1),
            });
            let node_index = Some(self.node_index);
            fetcher
                .troubles()
                .report_since(troubles, node_index, self.progress);
            let Err(error) = fetched else {
                continue;
            };
            let is_of_node = is_of_node(&error);
            FirstErrors::note(self.errors, error);
            if !is_of_node {
                // The other fetchers and the walker need the set of keys as well.
                self.stop.cancel();
                break;
            }
            // The last fetcher may fail many times.
            if !has_given_up && self.alive.fetch_sub(1, Ordering::Relaxed) > 1 {
                break;
            }
            has_given_up = true;
        }
        if let Err(error) = outlet.flush() {
            FirstErrors::note(self.errors, error);
        }
    }
}

/// Reports whether an error may be the server's; a full local disk, for example, is not.
pub(super) fn is_of_node(error: &Error) -> bool {
    !matches!(error.location(), Some(Location::Object { .. }))
}

fn note_fatal(errors: &Mutex<FirstErrors>, error: Error) {
    if error.is_canceled() {
        return;
    }
    let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
    errors.fatal.get_or_insert(error);
}

/// Returns what has happened to a server since its journal entry was written.
pub(super) fn change_since(before: &JournalNode, server: &ServerReport) -> Option<&'static str> {
    let stats = ServerStats {
        pid: before.pid,
        time: UnixSecs(before.server_started_at),
        ..ServerStats::default()
    };
    let then = ServerReport {
        stats,
        ..ServerReport::default()
    };
    let flushes = FlushMarks {
        count: before.flushes,
        until: before.flushed_until,
        is_ahead: before.is_flush_ahead,
    };
    then.find_restart(server)
        .or_else(|| flushes.find_flush(&server.flush_marks()))
}

/// Counts the records of kept segments as if they had just been listed.
pub(super) fn counters_of(kept: &[ManifestSegment]) -> Counters {
    let records = Totals::of(kept).records;
    Counters {
        taken: records,
        stored: records,
        ..Counters::default()
    }
}

/// Makes the manifest entry of a node that was never reached.
pub(super) fn unreached_node(node: &NodeSpec, options: &DumpOptions) -> ManifestNode {
    ManifestNode {
        address: node.address(),
        server_version: String::new(),
        pid: 0,
        server_started_at: 0,
        clock_offset: "0".to_owned(),
        walk: "unknown".to_owned(),
        unlisted: 0,
        look_ups: Vec::new(),
        unsure: 0,
        shard_bits: options.shard_bits,
        items_start: 0,
        items_end: 0,
        counters: Counters::default(),
        reasons: Reasons::default(),
        failure: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::metadump::WalkItem;
    use crate::codecs::select::Selection;
    use crate::engines::source::{LineForm, PackedWalk, Pushed, WalkChunk, WalkPacker};
    use crate::ports::net::Brake;
    use crate::words::progress::NoProgress;

    #[test]
    fn what_cannot_be_is_no_nodes_trouble_and_a_partners_error_gives_way() {
        let canceled = || {
            let cancel = Cancel::new();
            cancel.cancel();
            cancel.check().unwrap_err()
        };
        let errors = Mutex::new(FirstErrors::default());
        for error in [
            canceled(),
            Error::partner_ended("the writer of a shard"),
            Error::internal("no shard 7"),
            Error::new(ErrorKind::Closed),
            Error::new(ErrorKind::Busy),
        ] {
            FirstErrors::note(&errors, error);
        }
        let errors = errors.into_inner().unwrap();
        assert_eq!(*errors.node.unwrap().kind(), ErrorKind::Closed);
        let fatal = errors.fatal.unwrap();
        assert!(
            fatal.to_string().ends_with("report it: no shard 7"),
            "{fatal}"
        );
        assert!(errors.of_partner.unwrap().is_of_partner());
    }

    /// Runs two fetchers on the chunks, one after the other; returns how many chunks are
    /// left, and the errors.
    fn fetch_in_turn(chunks: Vec<WalkChunk>, seen: Option<&SeenKeys>) -> (usize, FirstErrors) {
        let node: NodeSpec = "a:1".parse().unwrap();
        let server = ServerReport::default();
        let options = FetcherOptions::default();
        let brake = Brake::full_speed().node("a:1", Asked::Gets);
        let stop = Cancel::new();
        let job = FetchJob {
            node: &node,
            server: &server,
            strategy: ReadStrategy::OF_META_COMMANDS,
            options: &options,
            selection: &Selection::EVERYTHING,
            seen,
            brake: &brake,
            cancel: &stop,
        };
        let spool = Spool::new(SpoolMemory::new(1 << 20), ".".into());
        for chunk in chunks {
            assert_eq!(spool.push(chunk).unwrap(), Pushed::Taken);
        }
        spool.close();
        let errors = Mutex::default();
        let round = FetchRound {
            spool: &spool,
            stop: &stop,
            errors: &errors,
            alive: &AtomicUsize::new(2),
            node_index: 0,
            progress: &NoProgress,
        };
        let options = PumpOptions {
            name: "none",
            sinks: Vec::new(),
            open_max: usize::MAX,
            outlet_count: 1,
            memory_max: PumpOptions::MEMORY_MAX,
        };
        let no_sink = |_, _| -> Result<ShardSink<'_>> { Err(Error::internal("no shard")) };
        let fetched = pump(&options, &stop, no_sink, |queues| {
            for _ in 0..2 {
                let mut outlet = Outlet::new(queues, &|_| 0);
                round.fetch_all(&mut Fetcher::new(job), &mut outlet);
            }
            Ok(())
        });
        assert!(fetched.error.is_none());
        let left = std::iter::from_fn(|| spool.pop(&Cancel::new()).unwrap()).count();
        assert_eq!(stop.is_canceled(), left > 0);
        (left, errors.into_inner().unwrap())
    }

    #[test]
    fn the_last_fetcher_takes_all_chunks_however_many_fail() {
        let broken = WalkChunk {
            items: PackedWalk::of_parts(b"not what was packed".to_vec(), 7),
            form: LineForm::Metadump,
        };
        let (left, errors) = fetch_in_turn(vec![broken; 10], None);
        assert_eq!(left, 0);
        assert!(errors.fatal.unwrap().is_internal());
    }

    #[test]
    fn nobody_goes_on_where_the_set_of_keys_has_no_room() {
        let gone = tempfile::tempdir().unwrap().path().join("gone");
        let seen = SeenKeys::for_later(&gone);
        seen.expect_again();
        let mut packer = WalkPacker::new().unwrap();
        for key in ["a", "b"] {
            packer.push(key.as_bytes(), &WalkItem::default());
        }
        let chunk = WalkChunk {
            items: packer.finish().unwrap().unwrap(),
            form: LineForm::Metadump,
        };
        let (left, errors) = fetch_in_turn(vec![chunk; 10], Some(&seen));
        assert_eq!(left, 9);
        let error = errors.node.unwrap();
        assert!(!is_of_node(&error), "{error}");
        assert!(errors.fatal.is_none() && errors.of_partner.is_none());
    }
}
