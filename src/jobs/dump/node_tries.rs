//! Dumps one node with retries, and decides which of its sealed segments are kept.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::codecs::format::manifest::{ManifestNode, ManifestSegment, Totals};
use crate::engines::source::{SourceNode, SpoolMemory, survey};
use crate::jobs::dump::beginning::StartedDump;
use crate::jobs::dump::confirm::Confirmation;
use crate::jobs::dump::node::{
    NodeDump, NodeJob, change_since, counters_of, is_of_node, unreached_node,
};
use crate::jobs::dump::plan::DumpPlan;
use crate::jobs::dump::width::DumpWidth;
use crate::ports::net::{ServerReport, pause_for};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use crate::words::progress::{Event, Progress};
use crate::words::units::counted;

/// How long to wait before each new try of a node that failed during its dump.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The node to dump, and what all its tries share.
#[derive(Clone, Copy)]
struct NodeContext<'a> {
    index: usize,
    node_index: u32,
    node: &'a NodeSpec,
    started: &'a StartedDump,
    spool_memory: &'a SpoolMemory,
    width: DumpWidth,
    stop: &'a Cancel,
    progress: &'a dyn Progress,
}

impl DumpPlan {
    /// Dumps a node. An error of the node itself is in the result.
    ///
    /// # Errors
    ///
    /// - `Io` of the store, `Canceled`: the snapshot cannot be finished.
    pub(super) fn dump_node(
        &self,
        index: usize,
        started: &StartedDump,
        spool_memory: &SpoolMemory,
        width: DumpWidth,
        stop: &Cancel,
        progress: &dyn Progress,
    ) -> Result<NodeDump> {
        stop.check()?;
        let plan = self
            .nodes
            .get(index)
            .ok_or_else(|| Error::internal(format!("there is no node {index} in the plan")))?;
        let node_index = u32::try_from(index).unwrap_or(u32::MAX);
        let kept = started.kept.iter();
        let kept: Vec<ManifestSegment> = kept
            .filter(|segment| segment.node_index == node_index)
            .cloned()
            .collect();
        let context = NodeContext {
            index,
            node_index,
            node: &plan.node,
            started,
            spool_memory,
            width,
            stop,
            progress,
        };
        let dump = match &plan.source {
            Ok(source) => self
                .dump_reached(&context, source, kept)
                .inspect_err(|error| {
                    // A node that was stopped has not failed.
                    if error.is_canceled() {
                        return;
                    }
                    progress.event(Event::NodeFinished {
                        node_index: Some(node_index),
                        node: plan.node.address(),
                        items: 0,
                        failure: Some(error.to_chain()),
                    });
                })?,
            Err(reason) => {
                let node = ManifestNode {
                    failure: Some(reason.clone()),
                    ..unreached_node(&plan.node, &self.options)
                };
                NodeDump::unread(node, kept, None)
            }
        };
        progress.event(Event::NodeFinished {
            node_index: Some(node_index),
            node: dump.node.address.clone(),
            items: dump.node.counters.stored,
            failure: dump.node.failure.clone(),
        });
        Ok(dump)
    }

    /// Dumps a node that has answered. If it fails during the dump, it is tried again,
    /// and what was sealed in this life of the server is kept.
    fn dump_reached(
        &self,
        context: &NodeContext<'_>,
        source: &SourceNode,
        mut kept: Vec<ManifestSegment>,
    ) -> Result<NodeDump> {
        let mut source = self.survey_again(context, source)?;
        context.progress.event(Event::NodeStarted {
            node_index: context.node_index,
            node: context.node.address(),
            items_total: source.server.stats.curr_items,
        });
        let mut pauses = PAUSES.into_iter();
        let mut earlier: Option<NodeDump> = None;
        // Segments sealed by an earlier run are compared with what the server has now.
        let mut is_confirmed = false;
        loop {
            let kept_of_life = drop_other_life(context, &source.server, kept)?;
            let is_anew = kept_of_life.is_empty();
            let mut dump = self.dump_once(context, &source, kept_of_life, is_confirmed)?;
            if let Some(earlier) = earlier {
                dump.add_earlier(earlier, is_anew);
            }
            let surveyed = match dump.failure.as_ref().filter(|error| is_passing(error)) {
                Some(error) => self.survey_later(context, &source, error, &mut pauses)?,
                None => None,
            };
            let Some(surveyed) = surveyed else {
                return Ok(dump);
            };
            source = surveyed;
            is_confirmed = !dump.is_unconfirmed;
            kept = std::mem::take(&mut dump.segments);
            earlier = Some(dump);
        }
    }

    /// Waits, and asks the failed node again, as long as there are pauses left. Returns
    /// `None` if the node does not answer by then.
    fn survey_later(
        &self,
        context: &NodeContext<'_>,
        source: &SourceNode,
        failure: &Error,
        pauses: &mut dyn Iterator<Item = Duration>,
    ) -> Result<Option<SourceNode>> {
        let mut reason = failure.to_chain();
        for pause in pauses {
            tracing::warn!("{reason}; in {} s it is tried again", pause.as_secs());
            context.progress.event(Event::Retried {
                node_index: Some(context.node_index),
                retries: 1,
            });
            pause_for(pause, context.stop)?;
            match self.survey(context) {
                Ok(surveyed) => return Ok(Some(surveyed)),
                Err(error) if error.is_canceled() => return Err(error),
                // The next try waits until the server is free.
                Err(error) if is_busy(&error) => return Ok(Some(source.clone())),
                Err(error) => reason = error.to_chain(),
            }
        }
        tracing::info!("{reason}; it is not tried again");
        Ok(None)
    }

    /// Asks a node again that had to wait for its turn, since what happened to it
    /// meanwhile does not affect what will be read from it.
    fn survey_again(&self, context: &NodeContext<'_>, source: &SourceNode) -> Result<SourceNode> {
        if context.index < self.options.parallel_node_count {
            return Ok(source.clone());
        }
        match self.survey(context) {
            Err(error) if error.is_canceled() => Err(error),
            // The walk will get the same error, and what is known about the node is kept.
            Err(error) => {
                tracing::info!("when its turn came: {}", error.to_chain());
                Ok(source.clone())
            }
            surveyed => surveyed,
        }
    }

    fn survey(&self, context: &NodeContext<'_>) -> Result<SourceNode> {
        let options = &self.options;
        survey(context.node, &options.net, options.walk, context.stop)
    }

    fn dump_once(
        &self,
        context: &NodeContext<'_>,
        source: &SourceNode,
        kept: Vec<ManifestSegment>,
        is_confirmed: bool,
    ) -> Result<NodeDump> {
        let started = context.started;
        if kept.is_empty() {
            started.settle_life(context.index, context.node, source)?;
        }
        let mut strategy = source.strategy;
        // A killed dump may have left the crawler on.
        let before = started.life(context.index);
        strategy.turns_crawler_on |=
            strategy.walk.needs_crawler() && before.is_some_and(|before| before.is_crawler_off);
        let job = NodeJob {
            options: &self.options,
            spool_memory: context.spool_memory,
            width: context.width,
            snapshot: &started.snapshot,
            node: context.node,
            node_index: context.node_index,
            server: &source.server,
            strategy,
            started_at: started.started_at,
            kept: &kept,
        };
        if kept.is_empty() || is_confirmed {
            return job.run(context.stop, context.progress);
        }
        let confirmed = match job.confirm_kept(context.stop, context.progress)? {
            Confirmation::Confirmed(confirmed) => confirmed,
            Confirmation::Unlisted(error) => {
                let error = error.at(Location::node(context.node.address()));
                let node = ManifestNode {
                    failure: Some(error.to_chain()),
                    ..job.describe_server()
                };
                return Ok(NodeDump::unread(node, kept, Some(error)));
            }
        };
        started
            .snapshot
            .remove_segments(&without(&kept, &confirmed))?;
        let totals = Totals::of(&confirmed);
        context.progress.event(Event::Advanced {
            node_index: Some(context.node_index),
            items: totals.records,
            bytes: totals.key_bytes.saturating_add(totals.value_bytes),
        });
        NodeJob {
            kept: &confirmed,
            ..job
        }
        .run(context.stop, context.progress)
    }
}

/// Returns the segments that are not among `others`.
fn without(segments: &[ManifestSegment], others: &[ManifestSegment]) -> Vec<ManifestSegment> {
    let place = |segment: &ManifestSegment| (segment.shard_index, segment.sequence);
    let others: BTreeSet<(u64, u32)> = others.iter().map(place).collect();
    let rest = segments.iter();
    rest.filter(|segment| !others.contains(&place(segment)))
        .cloned()
        .collect()
}

/// Removes what was kept from another life of a server. Its CAS values begin anew after a
/// restart, so they cannot show what has changed.
fn drop_other_life(
    context: &NodeContext<'_>,
    server: &ServerReport,
    kept: Vec<ManifestSegment>,
) -> Result<Vec<ManifestSegment>> {
    let before = context.started.life(context.index);
    let is_other = before.is_none_or(|before| change_since(&before, server).is_some());
    if kept.is_empty() || !is_other {
        return Ok(kept);
    }
    tracing::warn!(
        "{} was restarted or flushed since it was dumped in part; {} of that are read anew",
        context.node.address(),
        counted(Totals::of(&kept).records, "record"),
    );
    context.started.snapshot.remove_segments(&kept)?;
    Ok(Vec::new())
}

/// Reports whether another try may succeed soon: either with what is sealed, or with
/// nothing if the server was restarted. A busy server has already been waited for.
fn is_passing(error: &Error) -> bool {
    let restarted = ErrorKind::NodeChanged {
        what: ServerReport::RESTARTED,
    };
    is_of_node(error) && !is_busy(error) && (error.is_retryable() || *error.kind() == restarted)
}

/// Reports whether a server is alive but cannot serve this job now.
fn is_busy(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Busy | ErrorKind::TooManyConnections
    )
}

impl NodeDump {
    /// Adds what an earlier try counted and this one cannot know. If this try began anew,
    /// nothing is left of what the earlier one had read.
    fn add_earlier(&mut self, earlier: Self, is_anew: bool) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.win_tokens_returned, earlier.win_tokens_returned);
        add(&mut self.win_tokens_kept, earlier.win_tokens_kept);
        add(&mut self.unaccounted, earlier.unaccounted);
        if !is_anew {
            add(&mut self.unknown_kept, earlier.unknown_kept);
        }
        self.keep_listed(earlier.node);
    }

    /// Takes over what an earlier try had listed, if this try could not list the node and
    /// has no more records than the earlier one. Items that were listed and never read
    /// are lost, however the later tries end.
    fn keep_listed(&mut self, earlier: ManifestNode) {
        if self.failure.is_none() {
            return;
        }
        let (counters, before) = (&self.node.counters, &earlier.counters);
        if counters.stored == before.stored && counters.taken < before.taken {
            self.node = ManifestNode {
                failure: self.node.failure.take(),
                ..earlier
            };
        }
    }

    /// Makes the result of a node that was not read: the segments that an earlier run
    /// sealed.
    fn unread(node: ManifestNode, kept: Vec<ManifestSegment>, failure: Option<Error>) -> Self {
        let node = ManifestNode {
            counters: counters_of(&kept),
            ..node
        };
        Self {
            node,
            is_unconfirmed: !kept.is_empty(),
            segments: kept,
            win_tokens_returned: 0,
            win_tokens_kept: 0,
            unknown_kept: 0,
            unsettled: 0,
            is_walk_given_up: false,
            unaccounted: 0,
            failure,
        }
    }
}
