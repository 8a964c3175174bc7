//! How many threads and connections a restore has at a time, and how much memory its
//! parts get.

use crate::engines::pump::PumpOptions;
use crate::jobs::restore::cursor::BlockOrder;
use crate::jobs::restore::plan::RestorePlan;
use crate::ports::host;
use crate::words::budget::{Budget, MemoryLimit, Need, Scarce};
use crate::words::error::Result;

/// How wide a restore is.
#[derive(Clone, Debug)]
pub(super) struct RestoreWidth {
    /// Threads that read and decompress.
    pub(super) thread_count: usize,
    /// Which blocks they read; of fewer nodes at a time than was asked for if what a store
    /// holds of each segment does not fit.
    pub(super) order: BlockOrder,
    /// The connections, and what is on its way to them.
    pub(super) pump: PumpOptions,
    /// Whether there is a connection to each node that looks how long its other clients
    /// wait.
    pub(super) has_probes: bool,
}

/// Memory of a thread that reads: a block as stored and as records, both of which may
/// have a value of the longest kind.
const READER: u64 = (17 << 20) + Need::THREAD_MEMORY;

/// Memory of a connection that stores: its buffer, its requests, what it knows of each
/// item until the server has answered, its part of the sample, a part of a long value.
const SINK: u64 = (4 << 20) + Need::THREAD_MEMORY;

/// Memory of what looks at a node while it is filled: two threads, each with a
/// connection.
const WATCHERS: u64 = 2 * ((256 << 10) + Need::THREAD_MEMORY);

/// Files and sockets for all but the nodes: segments, scratch files, the log.
const RESERVED_FILES: u64 = 64;

impl RestorePlan {
    /// Decides how wide the restore is, and says so if it is narrower than was asked for.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the memory limit is too low for one thread and one connection.
    pub(super) fn width(&self) -> Result<RestoreWidth> {
        let (width, scarce) = self.fit()?;
        match scarce {
            Some(Scarce::Files) => tracing::warn!(
                "the process may have no more than {} files open (ulimit -n), so the nodes are \
                 filled in turn, and nobody looks how long their other clients wait",
                host::open_files_max()
            ),
            Some(Scarce::Memory) => tracing::info!(
                "{} threads read, and {} connections store at a time, to stay within {} MiB of \
                 memory",
                width.thread_count,
                width.pump.open_max,
                self.options.memory_limit.bytes().unwrap_or(0) >> 20
            ),
            None => {}
        }
        Ok(width)
    }

    /// Checks that the memory limit is high enough.
    ///
    /// # Errors
    ///
    /// - As [`RestorePlan::width`].
    pub(super) fn check_memory(&self) -> Result<()> {
        self.fit().map(drop)
    }

    /// Returns how many threads read and decompress.
    ///
    /// # Errors
    ///
    /// - As [`RestorePlan::width`].
    pub(super) fn thread_count(&self) -> Result<usize> {
        let (width, _) = self.fit()?;
        Ok(width.thread_count)
    }

    fn fit(&self) -> Result<(RestoreWidth, Option<Scarce>)> {
        let budget = host::budget(self.options.memory_limit);
        // A node that gets nothing has one sink, which counts.
        let sinks = self.targets.iter().map(|plan| match plan.target {
            Ok(_) => self.options.connection_count,
            Err(_) => 1,
        });
        let sinks: Vec<usize> = sinks.collect();
        let wanted = sinks.iter().sum::<usize>();
        // Some records can only be stored by a second connection.
        let sink = Need {
            memory: SINK,
            files: 2,
        };
        let watchers = Need {
            memory: WATCHERS,
            files: 2,
        }
        .times(self.targets.len());
        let limit = budget.memory.bytes();
        let process = Need {
            memory: Need::PROCESS_MEMORY,
            files: RESERVED_FILES,
        };
        // Who reads takes up to a third: it is the connections that wait for each other.
        let third = MemoryLimit::OfHost(limit.map_or(u64::MAX, |limit| limit / 3));
        let reader = Need {
            memory: READER,
            files: 0,
        };
        let readers = Budget {
            memory: third,
            ..budget
        }
        .fit(Need::default(), reader, self.options.thread_count)?;
        let segment = Need {
            memory: self.snapshot.reading_memory(),
            files: 0,
        };
        let order = self.options.order;
        let open = order.open_count(order.runs(&self.segments).len());
        let open = Budget {
            memory: third,
            ..budget
        }
        .fit(Need::default(), segment, open)?;
        let working = process
            .and(reader.times(readers.count))
            .and(segment.times(open.count));
        let is_watch_cheap = limit.is_none_or(|limit| watchers.memory <= limit / 4);
        let watched = if is_watch_cheap {
            watchers
        } else {
            Need::default()
        };
        let fit_beside =
            |fixed: Need| budget.fit_with_queues(fixed, sink, wanted, PumpOptions::MEMORY_MAX);
        let mut fit = fit_beside(working.and(watched))?;
        let has_probes = is_watch_cheap && fit.scarce != Some(Scarce::Files);
        if !has_probes {
            fit = fit_beside(working)?;
        }
        let width = RestoreWidth {
            thread_count: readers.count,
            order: order.within(open.count),
            pump: PumpOptions {
                name: "load",
                sinks,
                open_max: fit.count,
                outlet_count: readers.count,
                memory_max: PumpOptions::memory_within(fit.memory_left),
            },
            has_probes,
        };
        Ok((width, fit.scarce.or(readers.scarce).or(open.scarce)))
    }
}
