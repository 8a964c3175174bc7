//! What a restore is going to do.

use std::path::PathBuf;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::format::manifest::{ManifestSegment, Totals};
use crate::item::Exptime;
use crate::limits::{CONNECTION_COUNTS, THREAD_COUNTS, check_range};
use crate::net::{NetOptions, ServerReport, meet_server};
use crate::node::NodeSpec;
use crate::protocol::request::SetMode;
use crate::ring::{Placement, RingSpec};
use crate::select::Selection;
use crate::snapshot::SnapshotReader;
use crate::target::{OwnerDefaults, SetWay, WriteStrategy, bind_owners, missing_ring};
use crate::units::{UnixSecs, counted, to_u64};

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
    pub way: Option<SetWay>,
    /// Addresses of the snapshot's nodes whose records are restored; all for none.
    pub source_nodes: Vec<String>,
    /// Where a nameless file is made for the keys of several nodes.
    pub scratch_directory: PathBuf,
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
        check_range("thread_count", to_u64(self.thread_count), THREAD_COUNTS)
    }
}

/// A restore, decided.
#[derive(Debug)]
pub struct RestorePlan {
    /// What was asked for; the selection has its rings.
    pub options: RestoreOptions,
    /// The snapshot.
    pub snapshot: SnapshotReader,
    /// What each node said of itself.
    pub servers: Vec<ServerReport>,
    /// How each node is written to.
    pub strategies: Vec<WriteStrategy>,
    pub(super) placement: Placement,
    /// The segments of the nodes that are restored.
    pub(super) segments: Vec<ManifestSegment>,
    /// What is in them.
    pub(super) totals: Totals,
    /// The place of each of the snapshot's nodes among those that are restored.
    source_places: Vec<usize>,
    /// The moment that times of the selection are relative to.
    pub(super) at: UnixSecs,
}

impl RestorePlan {
    /// Builds the ring and asks every node who it is.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: an option is out of its range; an address that is not in the
    ///   snapshot; no ring for several nodes, nodes that no ring can be made of, or a
    ///   selection of owners that are not among them.
    /// - `Corrupt`: a selection by time, no moment given, and the manifest does
    ///   not say when the dump ended.
    /// - A node's error: a restore to some of the nodes is none.
    pub fn make(
        snapshot: SnapshotReader,
        mut options: RestoreOptions,
        cancel: &Cancel,
    ) -> Result<Self> {
        options.validate()?;
        let selected = snapshot.select_nodes(&options.source_nodes)?;
        let segments = snapshot.segments_of(&options.source_nodes)?;
        let segments: Vec<ManifestSegment> = segments.into_iter().cloned().collect();
        let source_count = selected.iter().filter(|is_selected| **is_selected).count();
        let placement = place(&snapshot, source_count, &options)?;
        let source_places = selected.iter().scan(0_usize, |next, is_selected| {
            let place = *next;
            *next = next.saturating_add(usize::from(*is_selected));
            Some(place)
        });
        let source_places = source_places.collect();
        let owners = OwnerDefaults {
            ring: options.ring.as_ref(),
            nodes: &options.nodes,
        };
        options.selection = bind_owners(&options.selection, owners)?;
        let at = match options.at {
            Some(at) => at,
            None if options.selection.needs().now() => snapshot.finished_at()?,
            None => UnixSecs::default(),
        };
        let (mut servers, mut strategies) = (Vec::new(), Vec::new());
        for node in &options.nodes {
            let report = meet_server(node, &options.net, cancel)?;
            let way = options.way;
            strategies.push(WriteStrategy::probe(
                node,
                &report,
                way,
                &options.net,
                cancel,
            )?);
            if report.is_proxy {
                tracing::warn!(
                    node = node.address(),
                    "this is a proxy; CAS is not restored, and evictions of the servers behind it \
                     are not counted"
                );
            }
            servers.push(report);
        }
        Ok(Self {
            options,
            snapshot,
            servers,
            strategies,
            placement,
            totals: Totals::of(&segments),
            segments,
            source_places,
            at,
        })
    }

    /// Returns the node that gets a key, which another node of the snapshot had.
    pub(super) fn locate(&self, key: &[u8], source: usize) -> usize {
        self.placement.locate(key, self.source_place(source))
    }

    /// Returns the place of a node of the snapshot among those that are restored.
    pub(super) fn source_place(&self, source: usize) -> usize {
        self.source_places.get(source).copied().unwrap_or(source)
    }

    /// Returns how many records the restore is of.
    pub fn record_count(&self) -> u64 {
        self.totals.records
    }
}

fn place(snapshot: &SnapshotReader, sources: usize, options: &RestoreOptions) -> Result<Placement> {
    let manifest = snapshot.manifest();
    let spec = match (&options.ring, options.nodes.as_slice()) {
        (Some(spec), _) => spec.clone(),
        // One node holds every key, whatever the ring.
        (None, [_]) => "modula".parse()?,
        (None, nodes) => {
            return Err(missing_ring("ring", nodes.len(), manifest.ring.as_deref()));
        }
    };
    if let Some(warning) = spec.warning_of(&options.nodes) {
        tracing::warn!("{warning}");
    }
    let placement = Placement::new(&spec, &options.nodes)?;
    let targets = options.nodes.len();
    if matches!(placement, Placement::NodeForNode) && sources != targets {
        return Err(Error::invalid_input(
            "ring",
            spec.to_string(),
            format!(
                "the snapshot has {}; given are {targets}",
                counted(to_u64(sources), "node")
            ),
        ));
    }
    Ok(placement)
}

impl RestorePlan {
    /// Returns the number of destination nodes.
    pub fn node_count(&self) -> u64 {
        to_u64(self.options.nodes.len())
    }
}
