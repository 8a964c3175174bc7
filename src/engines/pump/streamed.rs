//! A value that comes piece by piece from another thread, once.

use std::sync::{Mutex, PoisonError};

use crossbeam_channel::Receiver;

use crate::words::error::{Error, Result};
use crate::words::pieces::{LargeValue, Pieces};

/// A value on its way. Where its pieces end too early, its reader has given it up.
#[derive(Debug)]
pub(super) struct StreamedValue {
    len: u64,
    pieces: Mutex<Option<Receiver<Vec<u8>>>>,
}

impl StreamedValue {
    pub(super) fn new(len: u64, pieces: Receiver<Vec<u8>>) -> Self {
        Self {
            len,
            pieces: Mutex::new(Some(pieces)),
        }
    }
}

impl LargeValue for StreamedValue {
    fn len(&self) -> u64 {
        self.len
    }

    fn open(&self) -> Box<dyn Pieces + '_> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        Box::new(StreamedPieces {
            pieces: pieces.take(),
            piece: Vec::new(),
        })
    }
}

struct StreamedPieces {
    /// Nothing where somebody else has read them.
    pieces: Option<Receiver<Vec<u8>>>,
    piece: Vec<u8>,
}

impl Pieces for StreamedPieces {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        let Some(pieces) = &self.pieces else {
            return Err(Error::internal("a value was read twice that comes once"));
        };
        match pieces.recv() {
            Ok(piece) => {
                self.piece = piece;
                Ok(Some(&self.piece))
            }
            Err(_) => Ok(None),
        }
    }
}
