//! Looks now and then how many items the nodes throw out, and stops the restore where
//! they are too many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::net::{Connection, NetOptions, ask_server};
use crate::node::NodeSpec;
use crate::restore::meeting::TargetNode;
use crate::restore::plan::RestorePlan;

/// How often the nodes are asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often the watch looks whether it is over.
const STEP: Duration = Duration::from_millis(50);

/// One node that is watched, by a connection of its own.
struct Watched<'a> {
    node: &'a NodeSpec,
    /// What it had thrown out before.
    before: u64,
    connection: Option<Connection>,
    /// What it has thrown out since, as it told last.
    evicted: u64,
}

impl RestorePlan {
    /// Asks the nodes each second, until `is_over` or the cancel; raises `is_stopped`
    /// where they have thrown out more than `most` items. A node that does not answer
    /// is asked again a second later; the loaders find out whether it is dead.
    pub(super) fn watch_evictions(
        &self,
        most: u64,
        is_over: &AtomicBool,
        is_stopped: &AtomicBool,
        cancel: &Cancel,
    ) {
        let mut nodes: Vec<Watched<'_>> = self
            .targets
            .iter()
            .filter_map(|plan| Some((&plan.node, plan.target.as_ref().ok()?)))
            .map(|(node, target)| Watched::new(node, target))
            .collect();
        loop {
            for node in &mut nodes {
                if let Err(error) = node.ask(&self.options.net, cancel) {
                    tracing::debug!("evictions are not known: {}", error.to_chain());
                    node.connection = None;
                }
            }
            let evicted = nodes
                .iter()
                .fold(0_u64, |sum, node| sum.saturating_add(node.evicted));
            if evicted > most {
                tracing::warn!(
                    "the nodes have thrown out {evicted} items since the restore began; it is \
                     stopped, since more than {most} are not wanted"
                );
                is_stopped.store(true, Ordering::Relaxed);
                return;
            }
            let mut waited = Duration::ZERO;
            while waited < INTERVAL {
                if is_over.load(Ordering::Relaxed) || cancel.is_canceled() {
                    return;
                }
                std::thread::sleep(STEP);
                waited = waited.saturating_add(STEP);
            }
        }
    }
}

impl<'a> Watched<'a> {
    fn new(node: &'a NodeSpec, target: &TargetNode) -> Self {
        Self {
            node,
            before: target.server.stats.evictions,
            connection: None,
            evicted: 0,
        }
    }

    fn ask(&mut self, net: &NetOptions, cancel: &Cancel) -> Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::connect(self.node, net, cancel)?),
        };
        let evictions = ask_server(connection)?.stats.evictions;
        self.evicted = evictions.saturating_sub(self.before);
        Ok(())
    }
}
