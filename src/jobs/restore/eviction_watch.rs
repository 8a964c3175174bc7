//! Watches how many items the nodes evict, and stops the restore if there are too many.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::jobs::restore::targets::TargetNode;
use crate::ports::net::{Connection, NetOptions, ask_server, pause_for};
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::node::NodeSpec;

/// How often the nodes are asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// One watched node, with a connection of its own.
struct Watched<'a> {
    node: &'a NodeSpec,
    /// The count of evicted items at the last answer.
    before: u64,
    connection: Option<Connection>,
}

/// Counts the items evicted by all nodes, and stops the restore if there are too many.
#[derive(Debug)]
pub(super) struct EvictionWatch<'a> {
    most: u64,
    evicted: AtomicU64,
    is_stopped: &'a AtomicBool,
}

impl<'a> EvictionWatch<'a> {
    pub(super) fn new(most: u64, is_stopped: &'a AtomicBool) -> Self {
        Self {
            most,
            evicted: AtomicU64::new(0),
            is_stopped,
        }
    }

    /// Asks nodes each second until `cancel` is raised. One node by itself keeps its
    /// connection; of several, each is closed before the next one is asked. Stops the
    /// restore once all nodes have thrown out too much. A node that does not answer is
    /// asked again a second later; the loaders find out whether it is dead.
    pub(super) fn watch_in_turn(
        &self,
        nodes: Vec<(&NodeSpec, &TargetNode)>,
        net: &NetOptions,
        cancel: &Cancel,
    ) {
        let keeps_connection = nodes.len() == 1;
        let nodes = nodes.into_iter();
        let mut nodes: Vec<Watched<'_>> = nodes
            .map(|(node, target)| Watched::new(node, target))
            .collect();
        while !self.is_stopped.load(Ordering::Relaxed) {
            for node in &mut nodes {
                let asked = node.ask(net, cancel);
                if asked.is_err() || !keeps_connection {
                    node.connection = None;
                }
                match asked {
                    Ok(more) => self.count(more),
                    Err(error) => {
                        tracing::debug!("evictions are not known: {}", error.to_chain());
                    }
                }
            }
            if pause_for(INTERVAL, cancel).is_err() {
                return;
            }
        }
    }

    fn count(&self, more: u64) {
        let before = self.evicted.fetch_add(more, Ordering::Relaxed);
        let (evicted, most) = (before.saturating_add(more), self.most);
        if evicted > most && !self.is_stopped.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the nodes have thrown out {evicted} items since the restore began; it is stopped, \
                 since more than {most} are not wanted"
            );
        }
    }
}

impl<'a> Watched<'a> {
    fn new(node: &'a NodeSpec, target: &TargetNode) -> Self {
        Self {
            node,
            before: target.server.stats.evictions,
            connection: None,
        }
    }

    /// Returns how many items the node has evicted since the last answer.
    fn ask(&mut self, net: &NetOptions, cancel: &Cancel) -> Result<u64> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::connect(self.node, net, cancel)?),
        };
        let evictions = ask_server(connection)?.stats.evictions;
        let before = std::mem::replace(&mut self.before, evictions);
        Ok(risen(before, evictions))
    }
}

/// Returns by how much a counter has risen. A counter that fell was reset, and has
/// counted from 0 since.
pub(super) fn risen(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_was_reset_counts_from_0() {
        assert_eq!(risen(10, 15), 5);
        assert_eq!(risen(10, 10), 0);
        assert_eq!(risen(10, 3), 3);
    }
}
