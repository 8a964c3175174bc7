//! Records to nodes, in batches.

use crossbeam_channel::Sender;

use crate::words::batch::{ItemBatch, LargeItem};
use crate::words::error::{Error, Result};
use crate::words::item::Record;

/// What goes to a node's loaders at once.
#[derive(Debug)]
pub enum Shipment {
    /// Items with their values.
    Batch(ItemBatch),
    /// One item whose value is read as it is sent.
    Large(LargeItem),
}

/// Gathers records for each node and hands them on in batches.
#[derive(Debug)]
pub struct Router {
    senders: Vec<Sender<Shipment>>,
    batches: Vec<ItemBatch>,
}

impl Router {
    /// Bytes of a batch: one round trip to a node.
    const BATCH_LEN: usize = 256 << 10;
    /// Items of a batch.
    const BATCH_COUNT: usize = 2048;

    /// Starts with empty batches, one for each node's sender.
    pub fn new(senders: Vec<Sender<Shipment>>) -> Self {
        let batches = senders.iter().map(|_| ItemBatch::default()).collect();
        Self { senders, batches }
    }

    /// Adds a record for the node with this number.
    ///
    /// # Errors
    ///
    /// - `Internal`: nobody takes batches any more, or there is no such node.
    pub fn push(&mut self, record: &Record<'_>, node: usize) -> Result<()> {
        let Some(batch) = self.batches.get_mut(node) else {
            return Err(no_such_node(node));
        };
        batch.push(record);
        if batch.byte_len() >= Self::BATCH_LEN || batch.len() >= Self::BATCH_COUNT {
            return self.send(node);
        }
        Ok(())
    }

    /// Hands on an item whose value is not to be held, by itself.
    ///
    /// # Errors
    ///
    /// - `Internal`: nobody takes items any more, or there is no such node.
    pub fn push_large(&mut self, item: LargeItem, node: usize) -> Result<()> {
        let Some(sender) = self.senders.get(node) else {
            return Err(no_such_node(node));
        };
        let shipment = Shipment::Large(item);
        sender.send(shipment).map_err(|_| loaders_ended())
    }

    /// Hands on what is left.
    ///
    /// # Errors
    ///
    /// - `Internal`: nobody takes batches any more.
    pub fn flush(&mut self) -> Result<()> {
        (0..self.batches.len()).try_for_each(|node| self.send(node))
    }

    fn send(&mut self, node: usize) -> Result<()> {
        let (Some(batch), Some(sender)) = (self.batches.get_mut(node), self.senders.get(node))
        else {
            return Err(no_such_node(node));
        };
        if batch.is_empty() {
            return Ok(());
        }
        sender
            .send(Shipment::Batch(std::mem::take(batch)))
            .map_err(|_| loaders_ended())
    }
}

fn no_such_node(node: usize) -> Error {
    Error::internal(format!("a key belongs to node {node}, which is not given"))
}

fn loaders_ended() -> Error {
    Error::partner_ended("a node's loader")
}
