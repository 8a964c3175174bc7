//! How many nodes a dump reads side by side, and how much memory its parts get.

use crate::engines::pump::PumpOptions;
use crate::engines::snapshot::writer_memory;
use crate::jobs::dump::plan::DumpPlan;
use crate::ports::host;
use crate::words::budget::{Budget, Fit, MemoryLimit, Need, Scarce};
use crate::words::error::Result;
use crate::words::limits::VALUE_INLINE_LEN_MAX;
use crate::words::units::to_u64;

/// How wide a dump is, and how much its parts may hold in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DumpWidth {
    /// Nodes that are dumped side by side.
    pub(super) nodes_at_once: usize,
    /// Bytes of listed keys, for all nodes together.
    pub(super) spool_memory: usize,
    /// Bytes of items on their way to the segments, for each node.
    pub(super) pump_memory: u64,
    /// Longer values are read in pieces.
    pub(super) whole_value_len_max: u64,
}

/// Values that are read whole if memory is limited: a connection holds one, and what it
/// is copied to holds another.
pub(super) const WHOLE_VALUE_LEN: u64 = 256 << 10;

/// Memory of a connection that reads values: its buffer, twice at most while it grows;
/// its requests; and the values of a batch that wait, or the pieces of a long value.
const CONNECTION: u64 = (3 << 20) + Need::THREAD_MEMORY;

/// Memory of a node beside its connections and writers: the connections of the walk and
/// of the probe, the piece of the walk that is packed, and the thread that spills it.
const NODE: u64 = (2 << 20) + 4 * Need::THREAD_MEMORY;

/// The most memory set aside for items on their way and for listed keys. Beyond it, other
/// nodes are of more use.
const QUEUES_MOST: u64 = 128 << 20;

impl DumpPlan {
    /// Decides how wide the dump is, and warns if it is narrower than was asked for.
    /// `writing_memory` is what the store holds of each segment.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: the memory limit is too low for a single node.
    pub(super) fn width(&self, writing_memory: u64) -> Result<DumpWidth> {
        let budget = host::budget(self.options.memory_limit);
        let (width, fit) = self.fit_into(budget, writing_memory)?;
        let (count, wanted) = (fit.count, self.wanted_at_once());
        match fit.scarce {
            Some(Scarce::Files) => tracing::warn!(
                "{count} of {wanted} nodes are dumped at a time, since the process may have no \
                 more than {} files open (ulimit -n)",
                host::open_files_max()
            ),
            Some(Scarce::Memory) => tracing::info!(
                "{count} of {wanted} nodes are dumped at a time, to stay within {} MiB of memory",
                self.options.memory_limit.bytes().unwrap_or(0) >> 20
            ),
            None => {}
        }
        Ok(width)
    }

    /// Checks that the memory limit is high enough for a store that holds nothing.
    ///
    /// # Errors
    ///
    /// - As [`DumpPlan::width`].
    pub(super) fn check_memory(&self) -> Result<()> {
        self.fit_into(host::budget(self.options.memory_limit), 0)
            .map(drop)
    }

    fn wanted_at_once(&self) -> usize {
        self.options.parallel_node_count.min(self.nodes.len())
    }

    fn fit_into(&self, budget: Budget, writing_memory: u64) -> Result<(DumpWidth, Fit)> {
        let options = &self.options;
        let node = self.node_need(budget.memory, writing_memory)?;
        let process = Need {
            memory: Need::PROCESS_MEMORY,
            files: RESERVED_FILES,
        };
        let wanted = self.wanted_at_once();
        let fit = budget.fit_with_queues(process, node, wanted, QUEUES_MOST)?;
        let nodes_at_once = fit.count.max(1);
        let count = to_u64(nodes_at_once);
        let Some(left) = fit.memory_left else {
            let width = DumpWidth {
                nodes_at_once,
                spool_memory: options.spool_memory_max,
                pump_memory: PumpOptions::MEMORY_MAX / count,
                whole_value_len_max: VALUE_INLINE_LEN_MAX,
            };
            return Ok((width, fit));
        };
        let half = usize::try_from(left / 2).unwrap_or(usize::MAX);
        let spool_memory = options.spool_memory_max.min(half);
        let pump_memory = left.saturating_sub(to_u64(spool_memory));
        let width = DumpWidth {
            nodes_at_once,
            spool_memory,
            pump_memory: PumpOptions::memory_within(Some(pump_memory)) / count,
            whole_value_len_max: WHOLE_VALUE_LEN,
        };
        Ok((width, fit))
    }

    /// Returns what the largest node needs.
    fn node_need(&self, limit: MemoryLimit, writing_memory: u64) -> Result<Need> {
        let options = &self.options;
        let items = self.nodes.iter().filter_map(|node| {
            let source = node.source.as_ref().ok()?;
            Some(source.server.stats.curr_items)
        });
        // Items that are set during the dump are listed, too.
        let items = items.max().unwrap_or(0);
        let items = items.saturating_add(items / 10);
        let shards = 1_usize.checked_shl(options.shard_bits.into()).unwrap_or(1);
        let of_shard = items.div_ceil(to_u64(shards)).saturating_add(1024);
        let records = options.segment_record_count_max.min(of_shard);
        let writer = writer_memory(limit, options.compression, records)?;
        let writer = writer.saturating_add(writing_memory);
        let connections = options.connection_count;
        let memory = CONNECTION
            .saturating_mul(to_u64(connections))
            .saturating_add(writer.saturating_mul(to_u64(shards)))
            .saturating_add(NODE);
        // Some keys can only be read by a second connection of a fetcher.
        let files = connections.saturating_mul(2).saturating_add(shards);
        Ok(Need {
            memory,
            files: to_u64(files).saturating_add(OTHER_FILES),
        })
    }
}

/// Files for all but the nodes: the lock, the journal, the log.
const RESERVED_FILES: u64 = 32;

/// Files and sockets of a node, beside its connections and the segment of each shard:
/// those of the walk and of the probes, and scratch files.
const OTHER_FILES: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::stats::ServerStats;
    use crate::engines::source::{ReadStrategy, SourceNode};
    use crate::jobs::dump::node_plan::NodePlan;
    use crate::jobs::dump::plan::DumpOptions;
    use crate::ports::net::ServerReport;

    /// A dump of so many nodes, each of which has so many items.
    fn plan(node_count: usize, item_count: u64, options: DumpOptions) -> DumpPlan {
        let strategy = ReadStrategy::OF_META_COMMANDS;
        let stats = ServerStats {
            curr_items: item_count,
            ..ServerStats::default()
        };
        let server = ServerReport {
            stats,
            ..ServerReport::default()
        };
        let node = NodePlan {
            node: "a:1".parse().unwrap(),
            source: Ok(SourceNode { server, strategy }),
        };
        DumpPlan {
            options,
            nodes: vec![node; node_count],
            start: None,
        }
    }

    fn width(plan: &DumpPlan, memory: MemoryLimit, files: u64) -> Result<DumpWidth> {
        let (width, _) = plan.fit_into(Budget { memory, files }, 0)?;
        Ok(width)
    }

    #[test]
    fn without_a_limit_the_options_alone_decide() {
        let width = width(
            &plan(40, 10_000_000, DumpOptions::default()),
            MemoryLimit::None,
            1024,
        );
        let expected = DumpWidth {
            nodes_at_once: 8,
            spool_memory: 128 << 20,
            pump_memory: PumpOptions::MEMORY_MAX / 8,
            whole_value_len_max: VALUE_INLINE_LEN_MAX,
        };
        assert_eq!(width.unwrap(), expected);
    }

    #[test]
    fn all_that_runs_at_a_time_fits_into_the_limit() {
        let options = || DumpOptions {
            parallel_node_count: 100,
            ..DumpOptions::default()
        };
        for items in [0, 1000, 1_000_000, u64::MAX] {
            let plan = plan(100, items, options());
            let node = plan.node_need(MemoryLimit::OfHost(0), 0).unwrap().memory;
            let mut before = 0;
            for limit in [128_u64, 256, 1024, 16 << 10].map(|mebibytes| mebibytes << 20) {
                let width = width(&plan, MemoryLimit::Asked(limit), 1 << 20).unwrap();
                let at_once = to_u64(width.nodes_at_once);
                let queues = to_u64(width.spool_memory) + width.pump_memory * at_once;
                assert!(
                    Need::PROCESS_MEMORY + node * at_once + queues <= limit,
                    "{items} {limit}"
                );
                assert!(queues >= Budget::QUEUES_LEAST - at_once);
                assert!(width.nodes_at_once >= before);
                before = width.nodes_at_once;
            }
            assert_eq!(before, 100, "{items}");
        }
    }

    #[test]
    fn a_host_with_too_little_gets_one_node_at_a_time_and_a_wish_an_error() {
        let plan = plan(9, 1_000_000, DumpOptions::default());
        let one = width(&plan, MemoryLimit::OfHost(1 << 20), 1024).unwrap();
        assert_eq!(one.nodes_at_once, 1);
        width(&plan, MemoryLimit::Asked(16 << 20), 1024).unwrap_err();
        let few = width(&plan, MemoryLimit::None, 60).unwrap();
        assert_eq!(few.nodes_at_once, 1);
    }
}
