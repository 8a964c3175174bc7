//! Readers that decompress and route, loaders that store, side by side.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, bounded};

use crate::codecs::format::block::StoredValue;
use crate::codecs::format::compression::SectionReader;
use crate::engines::sink::{
    LargeLoad, LoadOptions, LoadTally, Loader, Router, Shipment, TextCheck, Unheld,
};
use crate::engines::snapshot::SegmentValue;
use crate::jobs::restore::cursor::{BlockTask, Cursor, Damage};
use crate::jobs::restore::doubles::Doubles;
use crate::jobs::restore::end::NodeEnd;
use crate::jobs::restore::filter::RecordFilter;
use crate::jobs::restore::meeting::{LeftOut, TargetNode, TargetPlan};
use crate::jobs::restore::plan::RestorePlan;
use crate::jobs::restore::report::{EndedRestore, NodeRestore, RestoreReport};
use crate::ports::host::Stopwatch;
use crate::ports::net::{Asked, NodeBrake};
use crate::ports::threads::Pool;
use crate::words::batch::LargeItem;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::item::Record;
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use crate::words::progress::{Event, Progress, RunningJob};
use crate::words::units::to_u64;

/// Batches on their way to one node.
const BATCH_COUNT_MAX: usize = 8;

/// What the loaders of one node found.
#[derive(Debug, Default)]
struct NodeLoad {
    tally: LoadTally,
    failure: Option<Error>,
    /// What ends the job: a snapshot that cannot be read.
    fatal: Option<Error>,
}

impl RestorePlan {
    /// Sends every record to its node.
    ///
    /// # Errors
    ///
    /// - `Io` of the store, `Unsupported`, `Canceled`. A damaged block, a refused
    ///   record and a node that goes away are in the report.
    ///
    /// # Memory
    ///
    /// For each reading thread one decompressed block and up to 256 KiB a node;
    /// for each node eight such batches; for each connection two more, or a part
    /// of a value, and its buffer.
    pub fn run(&self, cancel: &Cancel, progress: &dyn Progress) -> Result<RestoreReport> {
        self.run_or_report(cancel, progress)?.into_result()
    }

    /// Does the same, and tells of a restore that ended early what was sent so far.
    ///
    /// # Errors
    ///
    /// - As [`RestorePlan::run`], before anything was sent.
    pub fn run_or_report(&self, cancel: &Cancel, progress: &dyn Progress) -> Result<EndedRestore> {
        let clock = Stopwatch::start();
        self.options.validate()?;
        let totals = self.totals;
        let bytes = totals.key_bytes.saturating_add(totals.value_bytes);
        let _running = RunningJob::start(progress, "restore", totals.records, bytes);
        let doubles = self.doubles(cancel)?;
        let unheld = self.find_unheld(doubles, cancel)?;
        for lacking in &unheld {
            // Of a CAS nothing is lost but the number.
            if lacking.what == Unheld::Cas {
                tracing::warn!(target: "mcsnap::note", "{lacking}");
            } else {
                tracing::warn!("{lacking}");
            }
        }
        let stop = cancel.child();
        let is_stopped = AtomicBool::new(false);
        let damage = Mutex::new(Damage::default());
        let filter = RecordFilter::new(&self.options.selection, self.at);
        let text_check = TextCheck::new(&self.options.ring);
        let duplicates = AtomicU64::new(0);
        let reading = Reading {
            damage: &damage,
            filter: &filter,
            text_check: &text_check,
            plan: self,
            doubles,
            duplicates: &duplicates,
            is_stopped: &is_stopped,
            progress,
        };
        let (senders, receivers): (Vec<_>, Vec<_>) = self
            .options
            .nodes
            .iter()
            .map(|_| bounded::<Shipment>(BATCH_COUNT_MAX))
            .unzip();
        let nodes = self.options.nodes.iter();
        let brakes: Vec<NodeBrake> = nodes
            .map(|node| self.options.brake.node(&node.address(), Asked::Sets))
            .collect();
        let watch_stop = stop.child();
        let (read, mut loads) = std::thread::scope(|scope| {
            if let Some(most) = self.options.evictions_max {
                let (is_stopped, watch_stop) = (&is_stopped, &watch_stop);
                scope.spawn(move || self.watch_evictions(most, is_stopped, watch_stop));
            }
            // Dropped where a thread panics, too, so that nobody watches for ever.
            let watched: Vec<_> = brakes
                .iter()
                .map(|brake| brake.watched(&watch_stop))
                .collect();
            let net = &self.options.net;
            for (plan, brake) in self.targets.iter().zip(&brakes) {
                if plan.target.is_ok() {
                    let watch_stop = &watch_stop;
                    scope.spawn(move || brake.watch(&plan.node, net, watch_stop));
                }
            }
            let handles: Vec<Vec<_>> = self
                .targets
                .iter()
                .zip(&brakes)
                .zip(receivers)
                .map(|((plan, brake), batches)| {
                    let count = match plan.target {
                        Ok(_) => self.options.connection_count,
                        // One takes what the node does not get.
                        Err(_) => 1,
                    };
                    let alive = Arc::new(AtomicUsize::new(count));
                    (0..count)
                        .map(|_| {
                            let (batches, stop, damage) = (batches.clone(), &stop, &damage);
                            let is_stopped = &is_stopped;
                            let alive = Arc::clone(&alive);
                            scope.spawn(move || {
                                let shared = Shared {
                                    brake,
                                    alive: &alive,
                                    damage,
                                    stop,
                                    is_stopped,
                                    progress,
                                };
                                match &plan.target {
                                    Ok(target) => {
                                        self.load_node(&plan.node, target, batches, &shared)
                                    }
                                    Err(_) => leave_out(batches, progress),
                                }
                            })
                        })
                        .collect()
                })
                .collect();
            let read = self.read_blocks(&senders, &stop, reading);
            // The loaders end when nobody can send any more.
            drop(senders);
            if read.is_err() {
                stop.cancel();
            }
            let loads: Vec<NodeLoad> = handles.into_iter().map(merge_loads).collect();
            drop(watched);
            (read, loads)
        });
        let error = why_early(cancel, &mut loads, read);
        let damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Side by side, so that many that are silent cost one timeout.
        let ends: Vec<NodeEnd> = std::thread::scope(|scope| {
            let mut handles = Vec::new();
            for (plan, load) in self.targets.iter().zip(&mut loads) {
                let tally = &mut load.tally;
                let look = |target| {
                    scope.spawn(move || self.look_at_end(&plan.node, target, tally, cancel))
                };
                // Where the job ended early nobody waits for a server's answers any more.
                let target = plan.target.as_ref().ok().filter(|_| error.is_none());
                handles.push(target.map(look));
            }
            let ends = handles.into_iter().map(|handle| handle.map(joined));
            ends.map(Option::unwrap_or_default).collect()
        });
        let nodes = self.targets.iter().zip(loads).zip(ends);
        let nodes = nodes.filter_map(|((plan, load), end)| {
            // What belongs to a node that is not meant was not selected.
            let is_meant = !matches!(plan.target, Err(LeftOut::NotMeant));
            (is_meant || load.tally.taken > 0).then(|| finish_node(plan, load, end, progress))
        });
        let mut report = RestoreReport {
            records: totals.records,
            nodes: nodes.collect(),
            damaged: damage.records,
            findings: damage.findings,
            unsent: 0,
            is_stopped: is_stopped.into_inner(),
            evictions_max: self.options.evictions_max,
            filtered: filter.filtered(),
            duplicates: duplicates.into_inner(),
            unknown_kept: filter.unknown_kept(),
            not_text: text_check.finish(),
            unheld,
            elapsed: clock.elapsed(),
        };
        if report.is_stopped {
            report.unsent = report.records.saturating_sub(report.accounted());
        }
        Ok(EndedRestore { report, error })
    }

    /// Reads all blocks on a pool of threads, and routes their records.
    fn read_blocks(
        &self,
        senders: &[crossbeam_channel::Sender<Shipment>],
        stop: &Cancel,
        reading: Reading<'_>,
    ) -> Result<()> {
        let pool = Pool::new("read", self.options.thread_count)?;
        let cursor = Cursor::new(&self.snapshot, &self.segments);
        let results = pool.broadcast(|| {
            let mut router = Router::new(senders.to_vec());
            let mut sections = SectionReader::default();
            let mut read = || {
                while let Some(task) = cursor.next(reading.damage)? {
                    stop.check()?;
                    // What is left in the router, too, counts as not sent.
                    if reading.is_stopped.load(Ordering::Relaxed) {
                        return Ok(());
                    }
                    reading.route_block(&task, &mut router, &mut sections)?;
                }
                router.flush()
            };
            // Nobody needs what the others would still send.
            read().inspect_err(|_| stop.cancel())
        });
        // Others were only stopped because of the first, or follow from what
        // another thread tells.
        let errors = results.into_iter().filter_map(Result::err);
        match errors.min_by_key(|error| (error.is_canceled(), error.is_of_partner())) {
            Some(cause) => Err(cause),
            None => Ok(()),
        }
    }

    /// Stores batches until there are no more.
    ///
    /// A loader that gives up leaves the rest to the node's others; the last
    /// one goes on taking and counting, so that every record is accounted for
    /// and the readers do not wait for ever.
    fn load_node(
        &self,
        node: &NodeSpec,
        target: &TargetNode,
        shipments: Receiver<Shipment>,
        shared: &Shared<'_>,
    ) -> NodeLoad {
        let options = LoadOptions {
            net: self.options.net.clone(),
            mode: self.options.mode,
            strategy: target.strategy,
            exptime_if_unknown: self.options.exptime_if_unknown,
            brake: shared.brake.clone(),
        };
        let mut loader = Loader::new(node, &target.server, options, shared.stop);
        loader.stop_when(shared.is_stopped);
        let (mut failure, mut fatal) = (None, None);
        for shipment in shipments {
            if shared.is_stopped.load(Ordering::Relaxed) {
                let (items, bytes) = size_of(&shipment);
                loader.leave_out(items);
                shared.advance(items, bytes);
                continue;
            }
            let (items, bytes) = size_of(&shipment);
            let loaded = match shipment {
                Shipment::Batch(batch) => loader.load(&batch),
                Shipment::Large(item) => loader.load_large(&item).map(|load| {
                    if let LargeLoad::Unread(error) = load
                        && let Err(error) = shared.note_unread(error)
                    {
                        shared.stop.cancel();
                        fatal.get_or_insert(error);
                    }
                }),
            };
            shared.advance(items, bytes);
            if let Err(error) = loaded {
                let is_first = failure.is_none();
                failure.get_or_insert(error);
                if is_first && shared.alive.fetch_sub(1, Ordering::Relaxed) > 1 {
                    break;
                }
            }
        }
        NodeLoad {
            tally: loader.into_tally(),
            failure,
            fatal,
        }
    }
}

/// Returns what ended the job before all was sent, if anything did.
fn why_early(cancel: &Cancel, loads: &mut [NodeLoad], read: Result<()>) -> Option<Error> {
    let fatal = loads.iter_mut().find_map(|load| load.fatal.take());
    // The readers were stopped because of the others.
    cancel.check().err().or(fatal).or(read.err())
}

/// Returns the items and bytes of a shipment.
fn size_of(shipment: &Shipment) -> (u64, u64) {
    match shipment {
        Shipment::Batch(batch) => (to_u64(batch.len()), to_u64(batch.byte_len())),
        Shipment::Large(item) => {
            let bytes = to_u64(item.key.len()).saturating_add(item.value.len());
            (1, bytes)
        }
    }
}

/// Takes what belongs to a node that gets nothing.
fn leave_out(shipments: Receiver<Shipment>, progress: &dyn Progress) -> NodeLoad {
    let mut load = NodeLoad::default();
    for shipment in shipments {
        let (items, bytes) = size_of(&shipment);
        load.tally.leave_out(items);
        progress.event(Event::Advanced {
            node_index: None,
            items,
            bytes,
        });
    }
    load
}

fn finish_node(
    plan: &TargetPlan,
    load: NodeLoad,
    end: NodeEnd,
    progress: &dyn Progress,
) -> NodeRestore {
    let node = &plan.node;
    let server = plan.target.as_ref().ok().map(|target| &target.server);
    let failure = load.failure.or(end.trouble).map(|error| error.to_chain());
    let failure = match &plan.target {
        Ok(_) => failure,
        Err(LeftOut::Unreachable(error)) => Some(error.to_chain()),
        Err(LeftOut::NotMeant) => Some("the restore is not for this node".to_owned()),
    };
    progress.event(Event::NodeFinished {
        node_index: None,
        node: node.address(),
        items: load.tally.stored,
        failure: failure.clone(),
    });
    NodeRestore {
        node: node.clone(),
        tally: load.tally,
        evicted: end.evicted,
        presence: end.presence,
        item_size_max: server.map_or(0, |server| server.settings.item_size_max),
        clock_offset: server.map_or(0, |server| server.clock_offset),
        items_end: end.items,
        failure,
    }
}

/// What the loaders of a node have in common.
struct Shared<'a> {
    brake: &'a NodeBrake,
    /// Loaders that have not given up.
    alive: &'a AtomicUsize,
    damage: &'a Mutex<Damage>,
    stop: &'a Cancel,
    /// Whether nothing more is to be sent.
    is_stopped: &'a AtomicBool,
    progress: &'a dyn Progress,
}

impl Shared<'_> {
    fn advance(&self, items: u64, bytes: u64) {
        self.progress.event(Event::Advanced {
            node_index: None,
            items,
            bytes,
        });
    }

    /// Counts a record whose value in parts is damaged; any other error is the
    /// job's end.
    fn note_unread(&self, error: Error) -> Result<()> {
        // The reader of the parts has told the place.
        let nowhere = Location::object("");
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.add(error, nowhere, 1)
    }
}

/// What all reading threads share.
#[derive(Clone, Copy)]
struct Reading<'a> {
    damage: &'a Mutex<Damage>,
    filter: &'a RecordFilter<'a>,
    text_check: &'a TextCheck<'a>,
    plan: &'a RestorePlan,
    doubles: &'a Doubles,
    duplicates: &'a AtomicU64,
    /// Whether nothing more is to be read.
    is_stopped: &'a AtomicBool,
    progress: &'a dyn Progress,
}

impl Reading<'_> {
    /// Decompresses a block and routes its records; a damaged one is noted. Of a
    /// block that is dropped as a whole, no value is read.
    fn route_block(
        self,
        task: &BlockTask,
        router: &mut Router,
        sections: &mut SectionReader,
    ) -> Result<()> {
        let entry = task.segment.block_entry(task.block);
        let records: u64 = entry.map_or(0, |entry| entry.record_count.into());
        let mut kept = None;
        let mut dropped = 0;
        let decoded = if self.filter.is_idle() {
            let frame = task.segment.read_block(task.block);
            frame.and_then(|frame| frame.decode(sections).map_err(Error::corrupt))
        } else {
            let columns = match task.segment.read_keys(task.block, sections) {
                Ok(columns) => columns,
                Err(error) => return self.note(task, error, records),
            };
            let judged = self.filter.judge_block(&columns);
            self.progress.event(Event::Advanced {
                node_index: None,
                items: judged.dropped,
                bytes: judged.dropped_bytes,
            });
            if judged.is_none() {
                return Ok(());
            }
            dropped = judged.dropped;
            kept = Some(judged);
            let frame = task.segment.read_block(task.block);
            frame.and_then(|frame| frame.decode_with(columns, sections).map_err(Error::corrupt))
        };
        let block = match decoded {
            Ok(block) => block,
            Err(error) => return self.note(task, error, records.saturating_sub(dropped)),
        };
        let (plan, source) = (self.plan, task.source_index);
        for index in 0..block.len() {
            let is_kept = kept.as_ref().map(|kept| kept.is_kept.get(index));
            if is_kept == Some(Some(&false)) {
                continue;
            }
            match block.record(index) {
                Some(Ok(stored)) => {
                    let (key, meta) = (stored.key, stored.meta);
                    if self.doubles.drops(key, task.source_index) {
                        self.duplicates.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    self.text_check.look(key);
                    let node = plan.locate(key, source);
                    let meta = plan.clocks.adjust(meta, task.clock_offset, node);
                    match stored.value {
                        StoredValue::Inline(value) => {
                            router.push(&Record { key, value, meta }, node)?;
                        }
                        StoredValue::Parts(value) => {
                            let segment = Arc::clone(&task.segment);
                            let value = SegmentValue::new(segment, task.block, index, value);
                            let item = LargeItem {
                                key: key.to_vec(),
                                meta,
                                value: Box::new(value),
                            };
                            router.push_large(item, node)?;
                        }
                    }
                }
                Some(Err(defect)) => self.note(task, Error::corrupt(defect), 1)?,
                None => {}
            }
        }
        Ok(())
    }

    fn note(self, task: &BlockTask, error: Error, records: u64) -> Result<()> {
        let place = task.segment.block_location(task.block);
        let mut damage = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        damage.add(error, place, records)
    }
}

/// Returns what a thread returned; a panic goes on in the caller.
fn joined<T>(handle: std::thread::ScopedJoinHandle<'_, T>) -> T {
    let result = handle.join();
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn merge_loads(handles: Vec<std::thread::ScopedJoinHandle<'_, NodeLoad>>) -> NodeLoad {
    let mut merged = NodeLoad::default();
    for handle in handles {
        let load = joined(handle);
        merged.tally.merge(&load.tally);
        merged.failure = merged.failure.or(load.failure);
        merged.fatal = merged.fatal.or(load.fatal);
    }
    merged
}
