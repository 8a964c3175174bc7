//! Decides what a dump will do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::codecs::format::compression::Compression;
use crate::codecs::format::ids::SnapshotId;
use crate::codecs::ring::{Placement, RingSpec};
use crate::codecs::select::Selection;
use crate::engines::sink::{OwnerDefaults, bind_owners};
use crate::engines::source::{WalkKind, survey};
use crate::jobs::dump::node_plan::NodePlan;
use crate::jobs::dump::same_server::check_same_server;
use crate::ports::host;
use crate::ports::net::{Brake, Compared, NetOptions, ask_all, clock_warning, with_address};
use crate::words::budget::MemoryLimit;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::limits::{
    CONNECTION_COUNTS, PARALLEL_NODE_COUNTS, SEGMENT_RECORD_COUNTS, SHARD_BITS, SIZES, check_range,
};
use crate::words::node::NodeSpec;
use crate::words::progress::{NoProgress, Progress};
use crate::words::units::to_u64;

/// What the caller asks for.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// The nodes, in the order of the client's configuration.
    pub nodes: Vec<NodeSpec>,
    /// The snapshot's name in the store.
    pub name: String,
    /// How the client places keys, recorded in the snapshot; several rings if they cannot
    /// be distinguished.
    pub rings: Vec<RingSpec>,
    /// The most bytes of a segment, unless a single record has more; at least 1.
    pub segment_size_max: u64,
    /// The most records of a segment; 1 to 2^32.
    pub segment_record_count_max: u64,
    /// How sections are compressed.
    pub compression: Compression,
    /// Connections for values per node, 1 to 256; the walk has one more.
    pub connection_count: usize,
    /// How many nodes are dumped at a time, 1 to 10,000.
    pub parallel_node_count: usize,
    /// A node has 2^bits shards, each with a writer thread; 0 to 8.
    pub shard_bits: u8,
    /// Bytes of listed keys held in packed form, for all nodes together; at least 1.
    /// Beyond half of it, keys are spilled as fast as the disk takes them.
    pub spool_memory_max: usize,
    /// How much memory the job may take. Fewer nodes are dumped at a time if that is
    /// needed, and less waits between threads.
    pub memory_limit: MemoryLimit,
    /// The directory for spilled keys, in unnamed files.
    pub spool_directory: PathBuf,
    /// Connection options.
    pub net: NetOptions,
    /// Whether a snapshot that lacks some nodes is better than none.
    pub is_partial_allowed: bool,
    /// How to list the keys; chosen for each server if not given.
    pub walk: Option<WalkKind>,
    /// Resume a suitable unfinished dump, if there is one; and keep what is sealed if
    /// this dump fails for any reason.
    pub resume: Option<ResumeOptions>,
    /// Which items are dumped.
    pub selection: Selection,
    /// How long to wait for the end of another crawl of a server.
    pub busy_timeout: Duration,
    /// Refuse to run at the same time as another dump of the same servers into the same
    /// store with this option. For jobs whose names do not prevent that.
    pub is_sole: bool,
    /// Limits what the job takes from other clients; each job has its own.
    pub brake: Brake,
}

/// Which dump to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeOptions {
    /// How long ago it may have begun.
    pub age_max: Duration,
    /// It may have any name; the name in the options is for a dump that starts anew.
    pub is_any_name: bool,
    /// It may have another number of shards, which this dump then adopts.
    pub takes_shard_bits: bool,
}

impl Default for DumpOptions {
    /// The program's defaults: no node and no name yet, segments of 256 MiB and 500,000
    /// records, zstd:1, four connections to each of eight nodes at a time, one shard, and
    /// a spool of 128 MiB that spills into the system's directory for temporary files.
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            name: String::new(),
            rings: Vec::new(),
            segment_size_max: 256 << 20,
            segment_record_count_max: 500_000,
            compression: Compression::Zstd(1),
            connection_count: 4,
            parallel_node_count: 8,
            shard_bits: 0,
            spool_memory_max: 128 << 20,
            memory_limit: MemoryLimit::None,
            spool_directory: host::temporary_directory(),
            net: NetOptions::default(),
            is_partial_allowed: false,
            walk: None,
            resume: None,
            selection: Selection::default(),
            busy_timeout: Duration::from_secs(90),
            is_sole: false,
            brake: Brake::default(),
        }
    }
}

impl DumpOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with the name of the option.
    pub fn validate(&self) -> Result<()> {
        check_segment_options(
            self.segment_size_max,
            self.segment_record_count_max,
            self.shard_bits,
        )?;
        let connections = to_u64(self.connection_count);
        check_range("connection_count", connections, CONNECTION_COUNTS)?;
        let nodes = to_u64(self.parallel_node_count);
        check_range("parallel_node_count", nodes, PARALLEL_NODE_COUNTS)?;
        check_range("spool_memory_max", to_u64(self.spool_memory_max), SIZES)?;
        self.brake.options().validate()
    }
}

/// Checks the limits of segments.
pub(super) fn check_segment_options(
    size_max: u64,
    record_count_max: u64,
    shard_bits: u8,
) -> Result<()> {
    check_range("segment_size_max", size_max, SIZES)?;
    let records = record_count_max;
    check_range("segment_record_count_max", records, SEGMENT_RECORD_COUNTS)?;
    check_range("shard_bits", shard_bits.into(), SHARD_BITS)
}

/// A dump for which everything is decided.
#[derive(Clone, Debug)]
pub struct DumpPlan {
    /// The options.
    pub options: DumpOptions,
    /// The nodes, in the same order.
    pub nodes: Vec<NodePlan>,
    /// Where it begins; `None` before [`DumpPlan::settle`] has decided it.
    pub start: Option<Start>,
}

/// Where a dump begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Anew, under the requested name.
    Anew,
    /// Where the dump of this name stopped, if there is one.
    Resume {
        /// Its name.
        name: String,
    },
    /// Anew, in place of an unfinished dump that cannot be resumed; its files are
    /// removed.
    Replace {
        /// The id of that dump.
        id: SnapshotId,
    },
}

impl DumpPlan {
    /// Asks every node about itself.
    ///
    /// # Errors
    ///
    /// - As [`DumpPlan::make_watched`].
    pub fn make(options: DumpOptions, cancel: &Cancel) -> Result<Self> {
        Self::make_watched(options, cancel, &NoProgress)
    }

    /// Asks every node about itself, and reports which nodes are waited for, up to
    /// [`NetOptions::wait_for_node`].
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: an option is out of its range; there is no node, or one appears
    ///   twice, even under two names; a ring that these nodes cannot form; a memory limit
    ///   that is too low.
    /// - The first node's error, unless partial snapshots are allowed and at least one
    ///   node answers.
    pub fn make_watched(
        mut options: DumpOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Self> {
        options.validate()?;
        check_nodes(&options.nodes)?;
        for ring in &options.rings {
            check_ring(ring, &options.nodes, &options.net, cancel)?;
        }
        let owners = OwnerDefaults {
            ring: options.rings.first(),
            nodes: &options.nodes,
        };
        options.selection = bind_owners(&options.selection, owners)?;
        let (net, are_all_needed) = (&options.net, !options.is_partial_allowed);
        let ask = |node: &NodeSpec, stop: &Cancel| survey(node, net, options.walk, stop);
        let nodes = &options.nodes;
        let reports = ask_all(nodes, are_all_needed, net, cancel, progress, ask)?;
        let is_any_alive = reports.iter().any(Result::is_ok);
        let mut nodes = Vec::new();
        for (node, report) in options.nodes.iter().zip(reports) {
            let source = match report {
                Ok(source) => Ok(source),
                Err(error) if is_any_alive => Err(error.to_chain()),
                Err(error) => return Err(error),
            };
            nodes.push(NodePlan {
                node: node.clone(),
                source,
            });
        }
        warn_of_clocks(&nodes);
        check_same_server(&nodes, &options.net, cancel)?;
        let plan = Self {
            options,
            nodes,
            start: None,
        };
        plan.check_memory()?;
        Ok(plan)
    }

    /// Returns the number of items of all nodes, as the nodes count them.
    pub fn item_count(&self) -> u64 {
        let sources = self
            .nodes
            .iter()
            .filter_map(|node| node.source.as_ref().ok());
        sources.fold(0, |sum, source| {
            sum.saturating_add(source.server.stats.curr_items)
        })
    }

    /// Returns the bytes that the items of all nodes take in their memory. That is more
    /// than their keys and values.
    pub fn byte_count(&self) -> u64 {
        let sources = self
            .nodes
            .iter()
            .filter_map(|node| node.source.as_ref().ok());
        sources.fold(0, |sum, source| {
            sum.saturating_add(source.server.stats.bytes)
        })
    }
}

/// Warns of servers whose clocks are far from this host's.
fn warn_of_clocks(nodes: &[NodePlan]) {
    for node in nodes {
        let offset = node
            .source
            .as_ref()
            .map_or(0, |source| source.server.clock_offset);
        if let Some(warning) = clock_warning(&node.node.address(), offset, Compared::Now) {
            tracing::warn!("{warning}");
        }
    }
}

/// Refuses a ring that could not have placed keys on these nodes.
fn check_ring(
    ring: &RingSpec,
    nodes: &[NodeSpec],
    net: &NetOptions,
    cancel: &Cancel,
) -> Result<()> {
    let Err(refusal) = Placement::new(ring, nodes) else {
        return Ok(());
    };
    let resolved: Vec<NodeSpec> = nodes
        .iter()
        .map(|node| with_address(node, net, cancel))
        .collect();
    let is_unknown = |node: &NodeSpec| node.ip.is_none();
    // If a name cannot be resolved, connecting to it gives a better error. And clients
    // may use names even if the dump uses a socket.
    if Placement::new(ring, &resolved).is_ok() || resolved.iter().any(is_unknown) {
        return Ok(());
    }
    Err(refusal)
}

fn check_nodes(nodes: &[NodeSpec]) -> Result<()> {
    if nodes.is_empty() {
        return Err(Error::invalid_input(
            "nodes",
            "",
            "wanted at least one HOST:PORT",
        ));
    }
    let mut seen = BTreeSet::new();
    for node in nodes {
        if !seen.insert(node.address()) {
            let allowed = "the node is given twice; its items would be dumped twice";
            return Err(Error::invalid_input("node", node.address(), allowed));
        }
    }
    Ok(())
}
