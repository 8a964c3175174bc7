//! What is known of the running job: for its report if it does not come to its end,
//! for the log, and for who stops it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use mcsnap::words::progress::Event;

use crate::exit::Signal;

/// Counts what a job tells of itself.
#[derive(Debug, Default)]
pub(crate) struct JobWatch {
    job: OnceLock<&'static str>,
    items: AtomicU64,
    bytes: AtomicU64,
    /// By their places; those of which a node's start was told.
    nodes: RwLock<BTreeMap<u32, NodeWatch>>,
}

#[derive(Debug)]
struct NodeWatch {
    name: String,
    items_total: u64,
    items: AtomicU64,
    bytes: AtomicU64,
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
    pub(crate) is_finished: bool,
    pub(crate) failure: Option<String>,
}

impl JobWatch {
    /// Takes note of an event.
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Started { job, .. } => {
                // A second job of one run changes nothing.
                let _ = self.job.set(job);
            }
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
            Event::NodeFinished {
                node_index,
                failure,
                ..
            } => {
                let mut nodes = self.write();
                if let Some(node) = node_index.and_then(|index| nodes.get_mut(&index)) {
                    node.is_finished = failure.is_none();
                    node.failure.clone_from(failure);
                }
            }
            Event::NodeAwaited { .. } | Event::Finished => {}
            // What a newer library tells is nothing to be counted here.
            _ => {}
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

    /// Returns how far each node has come that was begun with.
    pub(crate) fn nodes(&self) -> Vec<NodeCount> {
        let count = |node: &NodeWatch| NodeCount {
            name: node.name.clone(),
            items_total: node.items_total,
            items: node.items.load(Ordering::Relaxed),
            bytes: node.bytes.load(Ordering::Relaxed),
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
        assert_eq!(watch.totals(), (6, 60));
        let nodes = watch.nodes();
        assert_eq!((nodes[0].items, nodes[0].bytes), (3, 30));
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
