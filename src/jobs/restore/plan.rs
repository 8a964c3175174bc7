//! Decides what a restore will do.

use std::sync::OnceLock;

use crate::codecs::format::manifest::{ManifestSegment, Totals};
use crate::codecs::ring::Placement;
use crate::codecs::select::Selection;
use crate::engines::sink::{OwnerDefaults, bind_owners, missing_ring};
use crate::engines::snapshot::SnapshotReader;
use crate::jobs::restore::clocks::Clocks;
use crate::jobs::restore::duplicates::DuplicateKeys;
use crate::jobs::restore::estimate::RestoreEstimate;
use crate::jobs::restore::options::RestoreOptions;
use crate::jobs::restore::targets::{TargetNode, TargetPlan, probe_targets};
use crate::ports::host;
use crate::ports::net::{Compared, clock_warning};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::node::NodeSpec;
use crate::words::progress::{NoProgress, Progress};
use crate::words::units::{UnixSecs, counted, to_u64};

/// A restore for which everything is decided.
#[derive(Debug)]
pub struct RestorePlan {
    /// The options; the selection has its rings.
    pub options: RestoreOptions,
    /// The snapshot.
    pub snapshot: SnapshotReader,
    /// The target nodes, in the given order.
    pub targets: Vec<TargetPlan>,
    /// Descriptions of clocks that are far from right, or from each other.
    pub clock_warnings: Vec<String>,
    pub(super) placement: Placement,
    /// The segments of the nodes that are restored.
    pub(super) segments: Vec<ManifestSegment>,
    /// The totals of those segments.
    pub(super) totals: Totals,
    /// For each node of the snapshot, its position among those that are restored.
    source_places: Vec<usize>,
    /// The moment that the selection's times are relative to.
    pub(super) at: UnixSecs,
    pub(super) clocks: Clocks,
    /// Which record of each key is restored, once that is known.
    pub(super) duplicate_keys: OnceLock<DuplicateKeys>,
    /// What would go where, once it has been counted.
    pub(super) estimated: OnceLock<RestoreEstimate>,
}

impl RestorePlan {
    /// Builds the ring and asks every node about itself.
    ///
    /// # Errors
    ///
    /// - As [`RestorePlan::make_watched`].
    pub fn make(
        snapshot: SnapshotReader,
        options: RestoreOptions,
        cancel: &Cancel,
    ) -> Result<Self> {
        Self::make_watched(snapshot, options, cancel, &NoProgress)
    }

    /// Builds the ring and asks every node about itself. Reports which nodes are waited
    /// for, up to
    /// [`NetOptions::wait_for_node`](crate::ports::net::NetOptions::wait_for_node).
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: an option is out of its range; an address that is not in the
    ///   snapshot; no ring for several nodes, nodes that cannot form a ring, or a
    ///   selection of owners that are not among them; a memory limit that is too low.
    /// - `Corrupt`: a selection by time without a given moment, and the manifest does not
    ///   record when the dump ended.
    /// - A node's error, unless partial restores are allowed and at least one node
    ///   answers.
    pub fn make_watched(
        snapshot: SnapshotReader,
        mut options: RestoreOptions,
        cancel: &Cancel,
        progress: &dyn Progress,
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
        select_owners(&mut options)?;
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
        let only_for = &options.only_for;
        let is_meant =
            |node: &NodeSpec| only_for.is_empty() || only_for.iter().any(|one| is_same(one, node));
        let targets = probe_targets(&options, is_meant, cancel, progress)?;
        let clocks = Clocks {
            rule: options.ttl_clock,
            host_now: to_i64(host::now()),
            dump_ended_at: snapshot.finished_at().ok().map(to_i64),
            target_offsets: targets.iter().map(clock_offset).collect(),
        };
        let clock_warnings = find_clock_warnings(&snapshot, &selected, &targets);
        for warning in &clock_warnings {
            tracing::warn!("{warning}");
        }
        let plan = Self {
            options,
            snapshot,
            targets,
            clock_warnings,
            placement,
            totals: Totals::of(&segments),
            segments,
            source_places,
            at,
            clocks,
            duplicate_keys: OnceLock::new(),
            estimated: OnceLock::new(),
        };
        plan.check_memory()?;
        Ok(plan)
    }

    /// Returns what a node reported about itself, if it answered.
    pub(super) fn target(&self, node: usize) -> Option<&TargetNode> {
        self.targets.get(node)?.target.as_ref().ok()
    }

    /// Reports whether every node has room for the whole snapshot, whichever part it
    /// gets, so that there is no need to count.
    pub fn surely_fits(&self) -> bool {
        let bytes = self
            .totals
            .key_bytes
            .saturating_add(self.totals.value_bytes);
        let targets = self
            .targets
            .iter()
            .filter_map(|plan| plan.target.as_ref().ok());
        let mut memories = targets.map(|target| &target.memory);
        memories.all(|memory| memory.surely_holds(self.totals.records, bytes))
    }

    /// Returns the node that gets a key from node `source` of the snapshot.
    pub(super) fn locate(&self, key: &[u8], source: usize) -> usize {
        self.placement.locate(key, self.source_place(source))
    }

    /// Returns the position of a node of the snapshot among those that are restored.
    pub(super) fn source_place(&self, source: usize) -> usize {
        self.source_places.get(source).copied().unwrap_or(source)
    }

    /// Returns how many records are to be restored.
    pub fn record_count(&self) -> u64 {
        self.totals.records
    }
}

/// Restricts the selection to the keys of the nodes in `only_for`.
fn select_owners(options: &mut RestoreOptions) -> Result<()> {
    for node in &options.only_for {
        if !options.nodes.iter().any(|other| is_same(node, other)) {
            let allowed = "wanted one of the servers of the ring, as it is given there";
            return Err(Error::invalid_input("only-for", node.address(), allowed));
        }
    }
    // A single node has every key.
    if options.only_for.is_empty() || options.nodes.len() == 1 {
        return Ok(());
    }
    let owners = Selection::owners(&options.only_for)?;
    let selection = std::mem::take(&mut options.selection);
    options.selection = selection.and(owners)?;
    Ok(())
}

/// Nodes are compared by address.
fn is_same(one: &NodeSpec, other: &NodeSpec) -> bool {
    one.address() == other.address()
}

fn to_i64(moment: UnixSecs) -> i64 {
    i64::try_from(moment.0).unwrap_or(i64::MAX)
}

fn clock_offset(plan: &TargetPlan) -> i64 {
    let target = plan.target.as_ref();
    target.map_or(0, |target| target.server.clock_offset)
}

/// Returns which clocks cannot be trusted: those of the restored nodes at the dump, and
/// those of the target nodes now.
fn find_clock_warnings(
    snapshot: &SnapshotReader,
    selected: &[bool],
    targets: &[TargetPlan],
) -> Vec<String> {
    let sources = snapshot.manifest().nodes.iter().zip(selected);
    let sources = sources.filter(|(_, is_selected)| **is_selected);
    let at_dump = sources.filter_map(|(node, _)| {
        let offset = node.clock_offset.parse().unwrap_or(0);
        clock_warning(&node.address, offset, Compared::AtDump)
    });
    let now = targets
        .iter()
        .filter_map(|plan| clock_warning(&plan.node.address(), clock_offset(plan), Compared::Now));
    at_dump.chain(now).collect()
}

fn place(snapshot: &SnapshotReader, sources: usize, options: &RestoreOptions) -> Result<Placement> {
    let manifest = snapshot.manifest();
    let spec = match (&options.ring, options.nodes.as_slice()) {
        (Some(spec), _) => spec.clone(),
        // A single node has every key, whatever the ring.
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
