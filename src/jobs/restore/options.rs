//! What the caller of a restore asks for.

use std::path::PathBuf;

use crate::codecs::protocol::request::SetMode;
use crate::codecs::ring::RingSpec;
use crate::codecs::select::Selection;
use crate::engines::sink::SetProtocol;
use crate::jobs::restore::clocks::TtlClock;
use crate::ports::host;
use crate::ports::net::{Brake, NetOptions};
use crate::words::error::Result;
use crate::words::item::Exptime;
use crate::words::limits::{CONNECTION_COUNTS, THREAD_COUNTS, check_range};
use crate::words::node::NodeSpec;
use crate::words::units::{UnixSecs, to_u64};

/// What the caller asks for.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The nodes, in the order of the client's configuration.
    pub nodes: Vec<NodeSpec>,
    /// How the client places keys; needed for more than one node.
    pub ring: Option<RingSpec>,
    /// Whether to replace what is there.
    pub mode: SetMode,
    /// Connections a node, 1 to 256.
    pub connection_count: usize,
    /// Threads that read and decompress, 1 to 1024.
    pub thread_count: usize,
    /// Of sockets.
    pub net: NetOptions,
    /// Which records.
    pub selection: Selection,
    /// The moment that times of the selection are relative to; none for the end
    /// of the dump.
    pub at: Option<UnixSecs>,
    /// The exptime, on this host's clock, of records whose own the snapshot does not
    /// tell; without, they are refused.
    pub exptime_if_unknown: Option<Exptime>,
    /// How items are stored, on every node; none for what suits each.
    pub set_protocol: Option<SetProtocol>,
    /// Addresses of the snapshot's nodes whose records are restored; all for none.
    pub source_nodes: Vec<String>,
    /// Where a nameless file is made for the keys of several nodes.
    pub scratch_directory: PathBuf,
    /// Whether a restore without some node is better than none.
    pub is_partial_allowed: bool,
    /// Nodes whose keys alone are restored, and that alone are connected to; all if
    /// none is named. Keys are placed on all nodes as ever.
    pub only_for: Vec<NodeSpec>,
    /// The restore is stopped where the nodes have thrown out more items than so many
    /// since it began; none for any number.
    pub evictions_max: Option<u64>,
    /// Whose clocks tell how long an item has left.
    pub ttl_clock: TtlClock,
    /// What keeps the job from hurting other clients; one of its own.
    pub brake: Brake,
}

impl Default for RestoreOptions {
    /// The program's defaults: no node yet; keys that a node has stay as they are; four
    /// connections a node; two reading threads, where the program has one a processor.
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            ring: None,
            mode: SetMode::Add,
            connection_count: 4,
            thread_count: 2,
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
