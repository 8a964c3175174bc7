//! Counts keys by where they are and where they will be.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::codecs::format::column::Columns;
use crate::codecs::format::manifest::ManifestSegment;
use crate::codecs::ring::{Placement, Ring, RingSpec};
use crate::codecs::select::{Candidate, Judgement, Selection};
use crate::engines::sink::{OwnerDefaults, TextCheck, bind_owners, recorded_ring};
use crate::engines::snapshot::{KeyWalk, SnapshotReader};
use crate::jobs::ring_plan::report::{Amount, Flow, FromNode, ReshardingReport, ToNode};
use crate::ports::host::Stopwatch;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::node::{NodeIndex, NodeSpec};
use crate::words::progress::{Event, Progress, RunningJob};
use crate::words::units::{UnixSecs, to_u64};

/// The most pairs of an old and a new node for which flows are counted. That is 16 MiB
/// for each thread.
pub const FLOW_COUNT_MAX: usize = 1 << 20;

/// The options of a plan.
#[derive(Clone, Debug)]
pub struct ReshardingOptions {
    /// The nodes of the old ring, in the order of the client's configuration. If it is
    /// empty, each key is on the node of the snapshot that it was dumped from.
    pub from_nodes: Vec<NodeSpec>,
    /// The old ring; `None` for the one that the snapshot records.
    pub from_ring: Option<RingSpec>,
    /// The nodes of the new ring, in the order of the client's configuration.
    pub to_nodes: Vec<NodeSpec>,
    /// The new ring; `None` for the old one, or for the one that the snapshot records.
    pub to_ring: Option<RingSpec>,
    /// Which records count. `owner` terms without a ring mean the new one.
    pub selection: Selection,
    /// The moment that the selection's times are relative to; `None` for the end of the
    /// dump.
    pub at: Option<UnixSecs>,
    /// How many blocks are decoded at a time.
    pub thread_count: usize,
}

/// Counts the keys of a snapshot by where they are and where they will be.
///
/// # Errors
///
/// - `InvalidInput`: a ring that is needed but not known, `node-for-node`, nodes that
///   cannot form a ring, an old ring without its nodes, or a selection of owners that are
///   not among the new nodes.
/// - `Corrupt`: a selection by time without a given moment, and the manifest does not
///   record when the dump ended.
/// - `Canceled`. What is damaged or unreadable is in the report.
///
/// # Memory
///
/// Two rings; for each thread the counters of each node and of at most [`FLOW_COUNT_MAX`]
/// flows; and that of a [`KeyWalk`].
pub fn plan_resharding(
    snapshot: &SnapshotReader,
    options: &ReshardingOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<ReshardingReport> {
    let clock = Stopwatch::start();
    let recorded = snapshot.manifest().ring.as_deref();
    let old = OldPlaces::new(snapshot, options, recorded)?;
    let to_ring = match options.to_ring.as_ref().or(options.from_ring.as_ref()) {
        Some(spec) => spec.clone(),
        None => recorded_ring("ring", &options.to_nodes, recorded)?,
    };
    let new_ring = build_ring("ring", &to_ring, &options.to_nodes)?;
    let owners = OwnerDefaults {
        ring: Some(&to_ring),
        nodes: &options.to_nodes,
    };
    let selection = bind_owners(&options.selection, owners)?;
    let at = match options.at {
        Some(at) => at,
        None if selection.needs().now() => snapshot.finished_at()?,
        None => UnixSecs::default(),
    };
    let rings = [&to_ring].into_iter().chain(old.ring_spec());
    let counting = Counting {
        text_check: TextCheck::new(rings),
        selection: &selection,
        at,
        stays_as: old.stays_as(&options.to_nodes),
        old: &old,
        new_ring: &new_ring,
        to_count: options.to_nodes.len(),
    };
    let segments = snapshot.segments_of(&[])?;
    // A manifest may claim more than a number can hold.
    let records = segments.iter().map(|segment| segment.records);
    let records = records.fold(0, u64::saturating_add);
    let _running = RunningJob::start(progress, "ring plan", records, 0);
    let walk = KeyWalk::new(snapshot, options.thread_count, "ring-plan", cancel)?;
    // One for each thread, so that threads do not wait for each other.
    let parts: Vec<Mutex<Counts>> = (0..walk.pool().thread_count())
        .map(|_| Mutex::new(counting.start()))
        .collect();
    let damage = walk.run(
        &segments,
        &|named, columns| {
            let own = walk.pool().own_number();
            if let Some(part) = parts.get(own) {
                let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
                counting.add(named, &columns, &mut part);
            }
            let key_lens = columns.iter().map(|record| to_u64(record.key.len()));
            (to_u64(columns.len()), key_lens.sum::<u64>())
        },
        |_, blocks| {
            progress.event(Event::Advanced {
                node_index: None,
                items: blocks.iter().map(|(items, _)| items).sum(),
                bytes: blocks.iter().map(|(_, bytes)| bytes).sum(),
            });
            Ok(ControlFlow::Continue(()))
        },
    )?;
    let parts = parts.into_iter();
    let counts = parts
        .map(|part| part.into_inner().unwrap_or_else(PoisonError::into_inner))
        .reduce(Counts::merged)
        .unwrap_or_default();
    let flows = counting.counts_flows().then(|| counting.flows(&counts));
    let (from, to) = counting.nodes(&counts, &options.to_nodes);
    Ok(ReshardingReport {
        not_text: counting.text_check.finish(),
        from_ring: old.ring_spec().cloned(),
        to_ring: to_ring.clone(),
        from,
        to,
        flows,
        selection: (!selection.is_everything()).then(|| selection.to_string()),
        at,
        filtered: counts.filtered,
        unknown_kept: counts.unknown_kept,
        unreadable: damage.records,
        findings: damage.findings,
        finding_count_dropped: damage.finding_count_dropped,
        elapsed: clock.elapsed(),
    })
}

/// Where keys are now.
struct OldPlaces {
    addresses: Vec<String>,
    /// The addresses as nodes; `None` if an address is not that of a server.
    nodes: Vec<Option<NodeSpec>>,
    /// `None` for the nodes of the snapshot.
    ring: Option<(RingSpec, Ring)>,
}

impl OldPlaces {
    fn new(
        snapshot: &SnapshotReader,
        options: &ReshardingOptions,
        recorded: Option<&str>,
    ) -> Result<Self> {
        let nodes = &options.from_nodes;
        let spec = match &options.from_ring {
            Some(spec) if nodes.is_empty() => {
                let allowed = "of which nodes? give --from with all nodes of that ring";
                return Err(Error::invalid_input("from-ring", spec.to_string(), allowed));
            }
            None if nodes.is_empty() => {
                let nodes = snapshot.manifest().nodes.iter();
                let addresses: Vec<String> = nodes.map(|node| node.address.clone()).collect();
                return Ok(Self {
                    nodes: addresses.iter().map(|text| text.parse().ok()).collect(),
                    addresses,
                    ring: None,
                });
            }
            Some(spec) => spec.clone(),
            None => recorded_ring("from-ring", nodes, recorded)?,
        };
        let ring = build_ring("from-ring", &spec, nodes)?;
        Ok(Self {
            addresses: nodes.iter().map(NodeSpec::address).collect(),
            nodes: nodes.iter().cloned().map(Some).collect(),
            ring: Some((spec, ring)),
        })
    }

    fn ring_spec(&self) -> Option<&RingSpec> {
        self.ring.as_ref().map(|(spec, _)| spec)
    }

    /// Returns the index of each old node among the new ones, if it is one.
    fn stays_as(&self, to_nodes: &[NodeSpec]) -> Vec<Option<usize>> {
        let index = NodeIndex::new(to_nodes.iter().cloned().enumerate());
        let find = |node: &Option<NodeSpec>| index.find(node.as_ref()?);
        self.nodes.iter().map(find).collect()
    }

    /// Returns the index of the node that has a key.
    fn locate(&self, key: &[u8], named: &ManifestSegment) -> usize {
        match &self.ring {
            Some((_, ring)) => ring.locate(key),
            // Decoding the manifest has checked that the node exists.
            None => usize::try_from(named.node_index).unwrap_or(usize::MAX),
        }
    }
}

fn build_ring(field: &'static str, spec: &RingSpec, nodes: &[NodeSpec]) -> Result<Ring> {
    let Placement::Ring(ring) = Placement::new(spec, nodes)? else {
        let allowed = "no key says where it belongs; name a client's ring";
        return Err(Error::invalid_input(field, spec.to_string(), allowed));
    };
    if let Some(warning) = spec.warning_of(nodes) {
        tracing::warn!("{warning}");
    }
    Ok(ring)
}

/// Counts of the records of some blocks.
#[derive(Debug, Default)]
struct Counts {
    /// One amount for each old node.
    has: Vec<Amount>,
    leaves: Vec<Amount>,
    /// One amount for each new node.
    gets: Vec<Amount>,
    comes: Vec<Amount>,
    /// One amount for each pair, those of the first old node first; empty if there are
    /// too many.
    flows: Vec<Amount>,
    filtered: Amount,
    unknown_kept: u64,
}

impl Counts {
    fn merged(mut self, other: Self) -> Self {
        for (sums, amounts) in [
            (&mut self.has, &other.has),
            (&mut self.leaves, &other.leaves),
            (&mut self.gets, &other.gets),
            (&mut self.comes, &other.comes),
            (&mut self.flows, &other.flows),
        ] {
            for (sum, &amount) in sums.iter_mut().zip(amounts) {
                sum.merge(amount);
            }
        }
        self.filtered.merge(other.filtered);
        self.unknown_kept = self.unknown_kept.saturating_add(other.unknown_kept);
        self
    }
}

/// Decides where a record counts.
struct Counting<'a> {
    text_check: TextCheck<'a>,
    selection: &'a Selection,
    at: UnixSecs,
    old: &'a OldPlaces,
    /// The index of each old node among the new ones, if it is one.
    stays_as: Vec<Option<usize>>,
    new_ring: &'a Ring,
    to_count: usize,
}

impl Counting<'_> {
    fn counts_flows(&self) -> bool {
        self.stays_as.len().saturating_mul(self.to_count) <= FLOW_COUNT_MAX
    }

    /// Returns counters that are all zero.
    fn start(&self) -> Counts {
        let zeros = |count| vec![Amount::default(); count];
        let from_count = self.stays_as.len();
        let is_counted = self.counts_flows();
        let flow_count = if is_counted {
            from_count.saturating_mul(self.to_count)
        } else {
            0
        };
        Counts {
            has: zeros(from_count),
            leaves: zeros(from_count),
            gets: zeros(self.to_count),
            comes: zeros(self.to_count),
            flows: zeros(flow_count),
            ..Counts::default()
        }
    }

    fn add(&self, named: &ManifestSegment, columns: &Columns, counts: &mut Counts) {
        let merge = |amounts: &mut [Amount], index: usize, amount| {
            if let Some(sum) = amounts.get_mut(index) {
                sum.merge(amount);
            }
        };
        for record in columns.iter() {
            let amount = Amount {
                keys: 1,
                bytes: to_u64(record.key.len()).saturating_add(record.value_len.into()),
            };
            let value_len = Some(record.value_len.into());
            let candidate = Candidate::new(record.key, value_len, &record.meta, self.at);
            let judgement = self.selection.judge(&candidate);
            if !judgement.keeps() {
                counts.filtered.merge(amount);
                continue;
            }
            if judgement == Judgement::Unknown {
                counts.unknown_kept = counts.unknown_kept.saturating_add(1);
            }
            self.text_check.look(record.key);
            let from = self.old.locate(record.key, named);
            let to = self.new_ring.locate(record.key);
            merge(&mut counts.has, from, amount);
            merge(&mut counts.gets, to, amount);
            if self.stays_as.get(from) != Some(&Some(to)) {
                merge(&mut counts.leaves, from, amount);
                merge(&mut counts.comes, to, amount);
            }
            let pair = from.saturating_mul(self.to_count).saturating_add(to);
            merge(&mut counts.flows, pair, amount);
        }
    }

    /// Makes the list of flows that are not empty.
    fn flows(&self, counts: &Counts) -> Vec<Flow> {
        let rows = counts.flows.chunks(self.to_count.max(1)).enumerate();
        let flows = rows.flat_map(|(from, row)| {
            let row = row.iter().enumerate();
            row.map(move |(to, &amount)| Flow { from, to, amount })
        });
        flows.filter(|flow| flow.amount.keys > 0).collect()
    }

    /// Makes the lists of nodes, with what they have and get.
    fn nodes(&self, counts: &Counts, to_nodes: &[NodeSpec]) -> (Vec<FromNode>, Vec<ToNode>) {
        let amounts = counts.has.iter().zip(&counts.leaves);
        let olds = self.old.addresses.iter().zip(&self.stays_as);
        let from = olds
            .zip(amounts)
            .map(|((address, &stays_as), (&has, &leaves))| FromNode {
                address: address.clone(),
                has,
                leaves,
                stays_as,
            });
        let amounts = counts.gets.iter().zip(&counts.comes);
        let to = to_nodes
            .iter()
            .zip(amounts)
            .map(|(node, (&gets, &comes))| ToNode {
                node: node.clone(),
                gets,
                comes,
            });
        (from.collect(), to.collect())
    }
}
