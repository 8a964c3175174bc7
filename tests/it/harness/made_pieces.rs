//! Pieces of a value that a test makes one by one.

use mcsnap::words::error::Result;
use mcsnap::words::pieces::Pieces;

/// Makes each piece by a call.
pub(crate) struct MadePieces<F> {
    next: F,
    piece: Vec<u8>,
}

impl<F: FnMut() -> Result<Option<Vec<u8>>>> MadePieces<F> {
    pub(crate) fn new(next: F) -> Self {
        Self {
            next,
            piece: Vec::new(),
        }
    }
}

impl<F: FnMut() -> Result<Option<Vec<u8>>>> Pieces for MadePieces<F> {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        let Some(piece) = (self.next)()? else {
            return Ok(None);
        };
        self.piece = piece;
        Ok(Some(&self.piece))
    }
}
