//! The options of a copy.

use crate::words::error::Result;
use crate::words::limits::{CONNECTION_COUNTS, check_range};
use crate::words::units::to_u64;

/// Which way the user sees a snapshot go. The job is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To a store.
    Push,
    /// From a store.
    Pull,
}

impl Direction {
    /// Returns the name of the command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}

/// The options of a copy.
#[derive(Clone, Copy, Debug)]
pub struct TransferOptions {
    /// Which way it goes.
    pub direction: Direction,
    /// Objects that are copied side by side.
    pub connection_count: usize,
    /// Most bytes a second that are copied or read back; `None` is as many as there can be.
    pub bytes_per_second: Option<u64>,
}

impl TransferOptions {
    /// Objects side by side, if nothing else is asked for.
    pub const CONNECTIONS: usize = 4;

    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with the name of the option.
    pub fn validate(&self) -> Result<()> {
        let connections = to_u64(self.connection_count);
        check_range("connections", connections, CONNECTION_COUNTS)
    }
}
