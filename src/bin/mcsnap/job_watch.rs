//! What is known of the running job: for its report if it does not come to its end,
//! for the log, and for who stops it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use mcsnap::words::progress::{Event, Troubles};
use mcsnap::words::units::to_u64;

use crate::exit::Signal;

/// Counts what a job tells of itself.
#[derive(Debug, Default)]
pub(crate) struct JobWatch {
    job: OnceLock<&'static str>,
    /// What it expects to do.
    items_total: AtomicU64,
    bytes_total: AtomicU64,
    items: AtomicU64,
    bytes: AtomicU64,
    troubles: TroubleWatch,
    nodes_finished: AtomicU64,
    nodes_failed: AtomicU64,
    /// By their places; those of which a node's start was told.
    nodes: RwLock<BTreeMap<u32, NodeWatch>>,
}

/// Counts what does not go well.
#[derive(Debug, Default)]
struct TroubleWatch {
    retries: AtomicU64,
    losses: AtomicU64,
}

impl TroubleWatch {
    fn add(&self, more: Troubles) {
        self.retries.fetch_add(more.retries, Ordering::Relaxed);
        self.losses.fetch_add(more.losses, Ordering::Relaxed);
    }

    fn so_far(&self) -> Troubles {
        Troubles {
            retries: self.retries.load(Ordering::Relaxed),
            losses: self.losses.load(Ordering::Relaxed),
        }
    }
}

/// How many nodes have come how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeStates {
    pub(crate) started: u64,
    pub(crate) finished: u64,
    pub(crate) failed: u64,
}

#[derive(Debug)]
struct NodeWatch {
    name: String,
    items_total: u64,
    items: AtomicU64,
    bytes: AtomicU64,
    troubles: TroubleWatch,
    is_finished: bool,
    failure: Option<String>,
    /// A walk is being read that the server may not survive being left alone: how
    /// long its rest is read where nobody wants it.
    walk_rest: Option<Duration>,
}

/// How far a node has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeCount {
    pub(crate) name: String,
    /// What the node had at the start.
    pub(crate) items_total: u64,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) troubles: Troubles,
    pub(crate) is_finished: bool,
    pub(crate) failure: Option<String>,
}

impl JobWatch {
    /// Takes note of an event.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Started {
                job,
                items_total,
                bytes_total,
            } => self.begin(job, *items_total, *bytes_total),
            Event::NodeStarted {
                node_index,
                node,
                items_total,
            } => {
                let watch = NodeWatch {
                    name: node.clone(),
                    items_total: *items_total,
                    items: AtomicU64::new(0),
                    bytes: AtomicU64::new(0),
                    troubles: TroubleWatch::default(),
                    is_finished: false,
                    failure: None,
                    walk_rest: None,
                };
                self.write().insert(*node_index, watch);
            }
            Event::WalkStarted { node_index, rest } => self.set_walk(*node_index, *rest),
            Event::WalkEnded { node_index } => self.set_walk(*node_index, None),
            Event::Advanced {
                node_index,
                items,
                bytes,
            } => {
                self.items.fetch_add(*items, Ordering::Relaxed);
                self.bytes.fetch_add(*bytes, Ordering::Relaxed);
                let nodes = self.read();
                if let Some(node) = node_index.and_then(|index| nodes.get(&index)) {
                    node.items.fetch_add(*items, Ordering::Relaxed);
                    node.bytes.fetch_add(*bytes, Ordering::Relaxed);
                }
            }
            Event::Retried {
                node_index,
                retries,
            } => self.add_troubles(
                *node_index,
                Troubles {
                    retries: *retries,
                    losses: 0,
                },
            ),
            Event::Lost { node_index, items } => self.add_troubles(
                *node_index,
                Troubles {
                    retries: 0,
                    losses: *items,
                },
            ),
            // It is asked again from now on.
            Event::NodeAwaited { .. } => self.add_troubles(
                None,
                Troubles {
                    retries: 1,
                    losses: 0,
                },
            ),
            Event::NodeFinished {
                node_index,
                failure,
                ..
            } => {
                let count = match failure {
                    None => &self.nodes_finished,
                    Some(_) => &self.nodes_failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
                let mut nodes = self.write();
                if let Some(node) = node_index.and_then(|index| nodes.get_mut(&index)) {
                    node.is_finished = failure.is_none();
                    node.failure.clone_from(failure);
                }
            }
            Event::Finished => {}
            // What a newer library tells is nothing to be counted here.
            _ => {}
        }
    }

    /// A second job of one run changes nothing.
    fn begin(&self, job: &'static str, items_total: u64, bytes_total: u64) {
        if self.job.set(job).is_ok() {
            self.items_total.store(items_total, Ordering::Relaxed);
            self.bytes_total.store(bytes_total, Ordering::Relaxed);
        }
    }

    fn add_troubles(&self, node_index: Option<u32>, more: Troubles) {
        self.troubles.add(more);
        let nodes = self.read();
        if let Some(node) = node_index.and_then(|index| nodes.get(&index)) {
            node.troubles.add(more);
        }
    }

    fn set_walk(&self, index: u32, rest: Option<Duration>) {
        if let Some(node) = self.write().get_mut(&index) {
            node.walk_rest = rest;
        }
    }

    /// Returns the job that was started, if one was.
    pub(crate) fn job(&self) -> Option<&'static str> {
        self.job.get().copied()
    }

    /// Returns the items and bytes done so far.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let load = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        (load(&self.items), load(&self.bytes))
    }

    /// Returns the items and bytes that the job expects to do; 0 where it knows none.
    pub(crate) fn expected(&self) -> (u64, u64) {
        let load = |total: &AtomicU64| total.load(Ordering::Relaxed);
        (load(&self.items_total), load(&self.bytes_total))
    }

    /// Returns what did not go well so far.
    pub(crate) fn troubles(&self) -> Troubles {
        self.troubles.so_far()
    }

    /// Returns how many nodes have come how far.
    pub(crate) fn node_states(&self) -> NodeStates {
        let finished = self.nodes_finished.load(Ordering::Relaxed);
        let failed = self.nodes_failed.load(Ordering::Relaxed);
        // Some jobs tell only of the end.
        let ended = finished.saturating_add(failed);
        NodeStates {
            started: to_u64(self.read().len()).max(ended),
            finished,
            failed,
        }
    }

    /// Returns how far each node has come that was begun with.
    pub(crate) fn nodes(&self) -> Vec<NodeCount> {
        let count = |node: &NodeWatch| NodeCount {
            name: node.name.clone(),
            items_total: node.items_total,
            items: node.items.load(Ordering::Relaxed),
            bytes: node.bytes.load(Ordering::Relaxed),
            troubles: node.troubles.so_far(),
            is_finished: node.is_finished,
            failure: node.failure.clone(),
        };
        self.read().values().map(count).collect()
    }

    /// Says what a first signal sets going, and what a second one would do.
    pub(crate) fn stop_notice(&self, signal: Signal) -> String {
        /// Nodes that are named.
        const NAMED_MAX: usize = 3;
        let name = signal.name();
        let nodes = self.read();
        let walks: Vec<(&str, Duration)> = nodes
            .values()
            .filter_map(|node| Some((node.name.as_str(), node.walk_rest?)))
            .collect();
        // SIGHUP comes twice where a terminal is closed.
        let second = match signal {
            Signal::Hup => Signal::Term.name(),
            Signal::Int | Signal::Term => name,
        };
        let longest = walks.iter().map(|(_, rest)| *rest).max();
        if let Some(longest) = longest {
            let shown = walks.iter().take(NAMED_MAX).map(|(name, _)| *name);
            let mut of = shown.collect::<Vec<_>>().join(", ");
            let more = walks.len().saturating_sub(NAMED_MAX);
            if more > 0 {
                of.push_str(&format!(" and {more} more"));
            }
            let (walk, it) = match walks.len() {
                1 => ("the walk", "a server"),
                _ => ("the walks", "servers"),
            };
            return format!(
                "stopping ({name}): reading {walk} of {of} to the end, unless {} s pass in silence, and \
                 keeping what is sealed; a second {second} ends at once, and can crash {it} of this version in \
                 the middle of a walk",
                longest.as_secs()
            );
        }
        let (does, second_does) = match self.job() {
            Some("dump") => (
                "dropping the segments under way, and keeping what is sealed",
                "ends at once, and keeps the same",
            ),
            Some("restore") => (
                "sending nothing more, and reporting what was sent",
                "ends at once, without a report",
            ),
            Some("push" | "pull") => (
                "leaving what was copied, for the same command to go on with",
                "ends at once, and leaves the same",
            ),
            Some("salvage") => (
                "removing what was written of the new snapshot",
                "ends at once, and leaves it there",
            ),
            Some(_) | None => ("ending what is under way", "ends at once"),
        };
        format!("stopping ({name}): {does}; a second {second} {second_does}")
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<u32, NodeWatch>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<u32, NodeWatch>> {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(watch: &JobWatch, names: &[&str]) {
        watch.note(&Event::Started {
            job: "dump",
            items_total: 10,
            bytes_total: 0,
        });
        for (index, name) in (0..).zip(names) {
            watch.note(&Event::NodeStarted {
                node_index: index,
                node: (*name).to_owned(),
                items_total: 5,
            });
        }
    }

    #[test]
    fn each_node_is_counted_and_so_is_all() {
        let watch = JobWatch::default();
        started(&watch, &["a:1", "b:1"]);
        for (index, items) in [(Some(0), 3), (Some(1), 2), (None, 1)] {
            watch.note(&Event::Advanced {
                node_index: index,
                items,
                bytes: items * 10,
            });
        }
        watch.note(&Event::NodeFinished {
            node_index: Some(1),
            node: "b:1".to_owned(),
            items: 2,
            failure: Some("gone".to_owned()),
        });
        watch.note(&Event::Retried {
            node_index: Some(0),
            retries: 2,
        });
        watch.note(&Event::Lost {
            node_index: Some(1),
            items: 4,
        });
        watch.note(&Event::NodeAwaited {
            node: "c:1".to_owned(),
            reason: "refused".to_owned(),
            limit: Duration::ZERO,
        });
        assert_eq!(watch.totals(), (6, 60));
        assert_eq!(watch.expected(), (10, 0));
        let troubles = |retries, losses| Troubles { retries, losses };
        assert_eq!(watch.troubles(), troubles(3, 4));
        let states = NodeStates {
            started: 2,
            finished: 0,
            failed: 1,
        };
        assert_eq!(watch.node_states(), states);
        let nodes = watch.nodes();
        assert_eq!((nodes[0].items, nodes[0].bytes), (3, 30));
        assert_eq!(nodes[0].troubles, troubles(2, 0));
        assert_eq!(nodes[1].troubles, troubles(0, 4));
        assert_eq!(nodes[1].failure.as_deref(), Some("gone"));
        assert!(!nodes[0].is_finished && !nodes[1].is_finished);
    }

    #[test]
    fn a_notice_tells_what_is_awaited_and_what_a_second_signal_does() {
        let watch = JobWatch::default();
        assert_eq!(
            watch.stop_notice(Signal::Int),
            "stopping (SIGINT): ending what is under way; a second SIGINT ends at once"
        );
        started(&watch, &["a:1", "b:1"]);
        assert_eq!(
            watch.stop_notice(Signal::Hup),
            "stopping (SIGHUP): dropping the segments under way, and keeping what is sealed; a \
             second SIGTERM ends at once, and keeps the same"
        );
        watch.note(&Event::WalkStarted {
            node_index: 1,
            rest: Some(Duration::from_secs(5)),
        });
        assert_eq!(
            watch.stop_notice(Signal::Term),
            "stopping (SIGTERM): reading the walk of b:1 to the end, unless 5 s pass in silence, and \
             keeping what is sealed; a second SIGTERM ends at once, and can crash a server of this version in \
             the middle of a walk"
        );
        watch.note(&Event::WalkEnded { node_index: 1 });
        assert!(!watch.stop_notice(Signal::Term).contains("walk"));
    }
}
