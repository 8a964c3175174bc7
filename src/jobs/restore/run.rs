//! Runs readers that decompress and route records, and loaders that store them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::codecs::format::compression::SectionReader;
use crate::engines::pump::{Outlet, Queues, pump};
use crate::engines::sink::{TextCheck, Unheld};
use crate::engines::snapshot::Opening;
use crate::jobs::restore::block_reader::Reading;
use crate::jobs::restore::cursor::{Cursor, Damage};
use crate::jobs::restore::end::NodeEnd;
use crate::jobs::restore::eviction_watch::EvictionWatch;
use crate::jobs::restore::filter::RecordFilter;
use crate::jobs::restore::node_sink::{NodeLoad, NodeSink, Shared};
use crate::jobs::restore::plan::RestorePlan;
use crate::jobs::restore::report::{EndedRestore, NodeRestore, RestoreReport};
use crate::jobs::restore::targets::{LeftOut, TargetNode, TargetPlan};
use crate::jobs::restore::unheld::{UnheldCounts, UnheldGroup};
use crate::jobs::restore::width::RestoreWidth;
use crate::ports::host::{self, Stopwatch};
use crate::ports::net::{Asked, NetOptions, NodeBrake};
use crate::ports::threads::{Crew, Pool, side_by_side, with_crew};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;
use crate::words::progress::{Event, Progress, RunningJob};

/// How many nodes are asked at a time at the end, so that many silent nodes cost few
/// timeouts.
const LOOKED_AT_COUNT: usize = 64;

impl RestorePlan {
    /// Sends every record to its node.
    ///
    /// # Errors
    ///
    /// - `Io` of the store, `Newer`, `Canceled`. Damaged blocks, refused records
    ///   and nodes that go away are in the report.
    ///
    /// # Memory
    ///
    /// [`RestoreOptions::memory_limit`]. Without one, 64 MiB of items on their way,
    /// whatever the number of nodes; for each reading thread one decompressed block and
    /// one item; for each connection two batches of 256 KiB, or a part of a value, and
    /// its buffer.
    ///
    /// [`RestoreOptions::memory_limit`]: crate::jobs::restore::RestoreOptions::memory_limit
    pub fn run(&self, cancel: &Cancel, progress: &dyn Progress) -> Result<RestoreReport> {
        self.run_or_report(cancel, progress)?.into_result()
    }

    /// As [`RestorePlan::run`], but a restore that ends early also returns what was sent
    /// so far.
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
        let duplicate_keys = self.duplicate_keys(cancel)?;
        let mut unheld = self.find_unheld(duplicate_keys, cancel)?;
        warn_of_unheld(&unheld);
        let without_cas = self.count_without_cas();
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
            duplicate_keys,
            duplicates: &duplicates,
            without_cas: &without_cas,
            now: host::now(),
            is_stopped: &is_stopped,
            progress,
        };
        let nodes = self.options.nodes.iter();
        let brakes: Vec<NodeBrake> = nodes
            .map(|node| self.options.brake.node(&node.address(), Asked::Sets))
            .collect();
        let shared = Shared {
            plan: self,
            brakes: &brakes,
            damage: &damage,
            stop: &stop,
            is_stopped: &is_stopped,
            progress,
        };
        let width = self.width()?;
        let open = |queue, has_enough| NodeSink::open(queue, has_enough, shared);
        let read = |queues: &Queues| self.read_blocks(queues, &width, &stop, reading);
        let watch_stop = stop.child();
        let evictions = self.options.evictions_max;
        let evictions = evictions.map(|most| EvictionWatch::new(most, &is_stopped));
        let pumped = with_crew(&stop, |crew| -> Result<_> {
            // Dropped even after an error or a panic, so that no watch runs forever.
            let _watched: Vec<_> = brakes
                .iter()
                .map(|brake| brake.watched(&watch_stop))
                .collect();
            let nodes = self.targets.iter().zip(&brakes);
            let reached = nodes.filter_map(|(plan, brake)| {
                let target = plan.target.as_ref().ok()?;
                Some((&plan.node, target, brake))
            });
            let watching = Watching {
                evictions: evictions.as_ref(),
                net: &self.options.net,
                stop: &watch_stop,
            };
            watching.start(crew, reached.collect(), width.has_probes)?;
            Ok(pump(&width.pump, &stop, open, read))
        })?;
        if !without_cas.is_empty() {
            let counts = without_cas.iter().map(|count| UnheldCounts {
                cas: count.load(Ordering::Relaxed),
                ..UnheldCounts::default()
            });
            unheld = self.group_unheld(counts);
            warn_of_unheld(&unheld);
        }
        let mut loads: Vec<NodeLoad> = pumped.queues.into_iter().map(NodeLoad::merged).collect();
        let read = pumped.error.map_or(Ok(()), Err);
        let error = why_early(cancel, &mut loads, read);
        let damage = damage.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Asked in parallel, so that many silent nodes cost one timeout.
        let look = |(plan, load): (&TargetPlan, &mut NodeLoad)| {
            // If the job ended early, it does not wait for answers of servers.
            let target = plan.target.as_ref().ok().filter(|_| error.is_none());
            target.map_or_else(NodeEnd::default, |target| {
                self.look_at_end(&plan.node, target, &mut load.tally, cancel)
            })
        };
        let filled = self.targets.iter().zip(&mut loads).collect();
        let ends = side_by_side("end", filled, LOOKED_AT_COUNT, &stop, look)?;
        let nodes = self.targets.iter().zip(loads).zip(ends);
        let nodes = nodes.filter_map(|((plan, load), end)| {
            // Records of a node that is not in `only_for` were not selected.
            let is_meant = !matches!(plan.target, Err(LeftOut::NotMeant));
            (is_meant || load.tally.counters.taken > 0)
                .then(|| finish_node(plan, load, end, progress))
        });
        let mut report = RestoreReport {
            records: totals.records,
            nodes: nodes.collect(),
            damaged: damage.records,
            findings: damage.findings,
            unsent: 0,
            is_stopped: is_stopped.load(Ordering::Relaxed),
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
        queues: &Queues,
        width: &RestoreWidth,
        stop: &Cancel,
        reading: Reading<'_>,
    ) -> Result<()> {
        let pool = Pool::new("read", width.thread_count)?;
        // Of a block none of whose records is restored no value is read.
        let opening = match reading.filter.is_idle() {
            true => Opening::Whole,
            false => Opening::Checked,
        };
        // Records are routed one by one.
        let route = |_: &[u8]| usize::MAX;
        let results = with_crew(stop, |crew| {
            let (snapshot, segments) = (&self.snapshot, &self.segments);
            let (order, damage) = (width.order, reading.damage);
            let cursor = Cursor::new(snapshot, segments, order, opening, damage, crew);
            pool.broadcast(|| {
                let mut outlet = Outlet::new(queues, &route);
                let mut sections = SectionReader::default();
                let mut read = || {
                    while let Some(task) = cursor.next()? {
                        stop.check()?;
                        // Records left in the outlet count as not sent too.
                        if reading.is_stopped.load(Ordering::Relaxed) {
                            return Ok(());
                        }
                        reading.route_block(&task, &mut outlet, &mut sections)?;
                    }
                    outlet.flush()
                };
                // What the other readers would still send is of no use.
                read().inspect_err(|_| stop.cancel())
            })
        });
        // The other readers were stopped because of the first error, or their errors
        // follow from another thread's.
        let errors = results.into_iter().filter_map(Result::err);
        Error::first_cause(errors).map_or(Ok(()), Err)
    }
}

/// What looks at the nodes while they are filled.
#[derive(Clone, Copy)]
struct Watching<'a> {
    evictions: Option<&'a EvictionWatch<'a>>,
    net: &'a NetOptions,
    stop: &'a Cancel,
}

impl<'env> Watching<'env> {
    /// Starts the threads: two for each node, or without probes one for all nodes, which
    /// looks at evictions only.
    fn start<'scope>(
        self,
        crew: Crew<'scope, 'env>,
        reached: Vec<(&'env NodeSpec, &'env TargetNode, &'env NodeBrake)>,
        has_probes: bool,
    ) -> Result<()>
    where
        'env: 'scope,
    {
        let Watching {
            evictions,
            net,
            stop,
        } = self;
        if !has_probes {
            for (_, _, brake) in &reached {
                brake.do_without_probes();
            }
            let nodes = reached.into_iter().map(|(node, target, _)| (node, target));
            let nodes = nodes.collect();
            if let Some(watch) = evictions {
                crew.start("evictions", move || watch.watch_in_turn(nodes, net, stop))?;
            }
            return Ok(());
        }
        for (node, target, brake) in reached {
            crew.start("probe", move || brake.watch(node, net, stop))?;
            if let Some(watch) = evictions {
                let nodes = vec![(node, target)];
                crew.start("evictions", move || watch.watch_in_turn(nodes, net, stop))?;
            }
        }
        Ok(())
    }
}

fn warn_of_unheld(unheld: &[UnheldGroup]) {
    for lacking in unheld {
        // An item with another CAS has lost only that number.
        if lacking.what == Unheld::Cas {
            tracing::warn!(target: "mcsnap::note", "{lacking}");
        } else {
            tracing::warn!("{lacking}");
        }
    }
}

/// Returns the error that ended the job before everything was sent, if any.
fn why_early(cancel: &Cancel, loads: &mut [NodeLoad], read: Result<()>) -> Option<Error> {
    let fatal = loads.iter_mut().find_map(|load| load.fatal.take());
    // The readers were stopped because of the other errors.
    cancel.check().err().or(fatal).or(read.err())
}

fn finish_node(
    plan: &TargetPlan,
    load: NodeLoad,
    end: NodeEnd,
    progress: &dyn Progress,
) -> NodeRestore {
    let node = &plan.node;
    let server = plan.target.as_ref().ok().map(|target| &target.server);
    let failure = load.failure.or(end.failure).map(|error| error.to_chain());
    let failure = match &plan.target {
        Ok(_) => failure,
        Err(LeftOut::Unreachable(error)) => Some(error.to_chain()),
        Err(LeftOut::NotMeant) => Some("the restore is not for this node".to_owned()),
    };
    progress.event(Event::NodeFinished {
        node_index: None,
        node: node.address(),
        items: load.tally.counters.stored,
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
