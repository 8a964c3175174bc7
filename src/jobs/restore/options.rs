//! The options of a restore.

use std::path::PathBuf;

use crate::codecs::protocol::request::SetMode;
use crate::codecs::ring::RingSpec;
use crate::codecs::select::Selection;
use crate::engines::sink::SetProtocol;
use crate::jobs::restore::clocks::TtlClock;
use crate::jobs::restore::cursor::BlockOrder;
use crate::ports::host;
use crate::ports::net::{Brake, NetOptions};
use crate::words::budget::MemoryLimit;
use crate::words::error::Result;
use crate::words::item::Exptime;
use crate::words::limits::{CONNECTION_COUNTS, THREAD_COUNTS, check_range};
use crate::words::node::NodeSpec;
use crate::words::units::{UnixSecs, to_u64};

/// The options of a restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The nodes, in the order of the client's configuration.
    pub nodes: Vec<NodeSpec>,
    /// How the client places keys; needed for more than one node.
    pub ring: Option<RingSpec>,
    /// In which order the blocks are read.
    pub order: BlockOrder,
    /// Whether to replace existing items.
    pub mode: SetMode,
    /// Connections per node, 1 to 256.
    pub connection_count: usize,
    /// Threads that read and decompress, 1 to 1024.
    pub thread_count: usize,
    /// How much memory the job may take. Fewer threads and connections are used if that
    /// is needed, and less waits between them.
    pub memory_limit: MemoryLimit,
    /// Connection options.
    pub net: NetOptions,
    /// Which records are restored.
    pub selection: Selection,
    /// The moment that the selection's times are relative to; `None` for the end of the
    /// dump.
    pub at: Option<UnixSecs>,
    /// The exptime, on this host's clock, of records for which the snapshot has none. If
    /// it is not given, they are refused.
    pub exptime_if_unknown: Option<Exptime>,
    /// The commands that store items on every node; `None` to choose for each node.
    pub set_protocol: Option<SetProtocol>,
    /// Addresses of the snapshot's nodes whose records are restored; empty for all.
    pub source_nodes: Vec<String>,
    /// The directory for an unnamed file of the keys that several nodes have.
    pub scratch_directory: PathBuf,
    /// Whether a restore that leaves out some nodes is better than none.
    pub is_partial_allowed: bool,
    /// Restores only the keys of these nodes, and connects only to them; empty for all.
    /// Keys are still placed on all nodes.
    pub only_for: Vec<NodeSpec>,
    /// Stops the restore if the nodes have evicted more than this many items since it
    /// began; `None` for no limit.
    pub evictions_max: Option<u64>,
    /// The clocks that determine how long an item has left.
    pub ttl_clock: TtlClock,
    /// Limits what the job takes from other clients; each job has its own.
    pub brake: Brake,
}

impl Default for RestoreOptions {
    /// The program's defaults: no node yet; keys that a node has stay as they are; four
    /// connections a node; two reading threads, where the program has one a processor.
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            ring: None,
            order: BlockOrder::default(),
            mode: SetMode::Add,
            connection_count: 4,
            thread_count: 2,
            memory_limit: MemoryLimit::None,
            net: NetOptions::default(),
            selection: Selection::default(),
            at: None,
            exptime_if_unknown: None,
            set_protocol: None,
            source_nodes: Vec::new(),
            scratch_directory: host::temporary_directory(),
            is_partial_allowed: false,
            only_for: Vec::new(),
            evictions_max: None,
            ttl_clock: TtlClock::Servers,
            brake: Brake::default(),
        }
    }
}

impl RestoreOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with the name of the option.
    pub fn validate(&self) -> Result<()> {
        let connections = to_u64(self.connection_count);
        check_range("connection_count", connections, CONNECTION_COUNTS)?;
        check_range("thread_count", to_u64(self.thread_count), THREAD_COUNTS)?;
        self.brake.options().validate()
    }
}
