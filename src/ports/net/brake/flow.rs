//! The bytes of a connection, which are paid for as they move.

use crate::ports::net::brake::node::NodeBrake;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::units::to_u64;

/// The bytes that move over a connection of values, beyond those paid for in advance.
#[derive(Debug)]
pub(in crate::ports::net) struct Flow {
    brake: NodeBrake,
    /// Bytes moved in this batch, both ways.
    moved: u64,
    /// Bytes paid for in this batch.
    paid: u64,
}

impl Flow {
    pub(in crate::ports::net) fn new(brake: &NodeBrake) -> Self {
        Self {
            brake: brake.clone(),
            moved: 0,
            paid: 0,
        }
    }

    /// Starts a batch for which this many bytes are already paid.
    pub(in crate::ports::net) fn begin(&mut self, paid: u64) {
        (self.moved, self.paid) = (0, paid);
    }

    /// Returns how many bytes are paid for in this batch so far.
    pub(in crate::ports::net) fn paid(&self) -> u64 {
        self.paid
    }

    /// Returns how much of these bytes may go at once.
    pub(in crate::ports::net) fn part<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        if !self.brake.is_limited() {
            return bytes;
        }
        let most = usize::try_from(self.brake.batch_max().1).unwrap_or(usize::MAX);
        bytes.get(..most).unwrap_or(bytes)
    }

    /// Waits until what has moved is paid for.
    ///
    /// # Errors
    ///
    /// - `Canceled`.
    pub(in crate::ports::net) fn note_moved(&mut self, len: usize, cancel: &Cancel) -> Result<()> {
        if !self.brake.is_limited() {
            return Ok(());
        }
        self.moved = self.moved.saturating_add(to_u64(len));
        let owed = self.moved.saturating_sub(self.paid);
        if owed == 0 {
            return Ok(());
        }
        self.paid = self.moved;
        self.brake.pay(0, owed, cancel)
    }
}
