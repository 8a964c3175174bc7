//! Stores records in one node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engines::pump::{Load, Sink, Taken};
use crate::engines::sink::{LargeLoad, LoadOptions, LoadTally, Loader};
use crate::jobs::restore::cursor::Damage;
use crate::jobs::restore::plan::RestorePlan;
use crate::ports::net::NodeBrake;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::location::Location;
use crate::words::progress::{Event, Progress, Troubles};

/// The results of a node's loaders.
#[derive(Debug, Default)]
pub(super) struct NodeLoad {
    pub(super) tally: LoadTally,
    pub(super) failure: Option<Error>,
    /// The error that ends the job: the snapshot cannot be read.
    pub(super) fatal: Option<Error>,
}

impl NodeLoad {
    /// Merges the results of all loaders of a node.
    pub(super) fn merged(loads: Vec<Self>) -> Self {
        let mut merged = Self::default();
        for load in loads {
            merged.tally.merge(&load.tally);
            merged.failure = merged.failure.or(load.failure);
            merged.fatal = merged.fatal.or(load.fatal);
        }
        merged
    }
}

/// What all loaders share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) plan: &'a RestorePlan,
    /// The brake of each node.
    pub(super) brakes: &'a [NodeBrake],
    pub(super) damage: &'a Mutex<Damage>,
    pub(super) stop: &'a Cancel,
    /// Whether sending is to stop.
    pub(super) is_stopped: &'a AtomicBool,
    pub(super) progress: &'a dyn Progress,
}

/// Stores records over one connection and counts them. For a node that gets nothing, it
/// only counts.
pub(super) struct NodeSink<'a> {
    shared: Shared<'a>,
    loader: Option<Loader<'a>>,
    load: NodeLoad,
}

impl<'a> NodeSink<'a> {
    /// Opens one for the node with this number. If another one has given the node up,
    /// this one only counts.
    ///
    /// # Errors
    ///
    /// - `Internal`: there is no such node.
    pub(super) fn open(node: usize, is_given_up: bool, shared: Shared<'a>) -> Result<Self> {
        let plan = shared.plan;
        let found = plan.targets.get(node).zip(shared.brakes.get(node));
        let (target, brake) = found.ok_or_else(|| Error::internal("a node that is not there"))?;
        let reached = target.target.as_ref().ok().filter(|_| !is_given_up);
        let loader = reached.map(|reached| {
            let options = LoadOptions {
                net: plan.options.net.clone(),
                mode: plan.options.mode,
                strategy: reached.strategy,
                exptime_if_unknown: plan.options.exptime_if_unknown,
                brake: brake.clone(),
            };
            let mut loader = Loader::new(&target.node, &reached.server, options, shared.stop);
            loader.stop_when(shared.is_stopped);
            loader
        });
        Ok(Self {
            shared,
            loader,
            load: NodeLoad::default(),
        })
    }

    fn troubles(&self) -> Troubles {
        match &self.loader {
            Some(loader) => loader.troubles(),
            None => Troubles {
                retries: 0,
                losses: self.load.tally.counters.losses(),
            },
        }
    }

    /// Stores some records. An error of the node is part of the result.
    fn store(&mut self, load: &Load) -> Result<()> {
        let items = load.items();
        let Some(loader) = &mut self.loader else {
            self.load.tally.leave_out(items);
            return Ok(());
        };
        if self.shared.is_stopped.load(Ordering::Relaxed) {
            loader.leave_out(items);
            return Ok(());
        }
        match load {
            Load::Batch(batch) => loader.load(batch),
            Load::Large(item) => {
                if let LargeLoad::Unread(error) = loader.load_large(item)?
                    && let Err(error) = self.note_unread(error)
                {
                    self.shared.stop.cancel();
                    self.load.fatal.get_or_insert(error);
                }
                Ok(())
            }
        }
    }

    /// Counts a record whose value in parts is damaged; any other error ends the job.
    fn note_unread(&self, error: Error) -> Result<()> {
        // The error already has the location of the part.
        let nowhere = Location::object("");
        let damage = self.shared.damage.lock();
        let mut damage = damage.unwrap_or_else(PoisonError::into_inner);
        damage.add(error, nowhere, 1)
    }
}

impl Sink for NodeSink<'_> {
    type Output = NodeLoad;

    /// A loader that gives up leaves the rest to the node's others. The last one
    /// continues to take and count records, so that every record is accounted for.
    fn take(&mut self, load: &Load) -> Result<Taken> {
        let before = self.troubles();
        let stored = self.store(load);
        let after = self.troubles();
        after.report_since(before, None, self.shared.progress);
        self.shared.progress.event(Event::Advanced {
            node_index: None,
            items: load.items(),
            bytes: load.bytes(),
        });
        let Err(error) = stored else {
            return Ok(Taken::More);
        };
        self.load.failure.get_or_insert(error);
        Ok(Taken::Enough)
    }

    fn finish(self) -> Result<NodeLoad> {
        let mut load = self.load;
        if let Some(loader) = self.loader {
            load.tally = loader.into_tally();
        }
        Ok(load)
    }
}
