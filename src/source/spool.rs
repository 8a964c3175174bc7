//! What a walk has listed and nobody has fetched yet: in memory up to a bound,
//! on disk beyond.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::store::{Extent, ScratchFile};

/// Chunks of whole lines, from one walker to many fetchers.
///
/// # Memory
///
/// At most the bound, and one chunk a thread.
#[derive(Debug)]
pub struct Spool {
    memory_len_max: usize,
    directory: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    chunks_len: usize,
    file: Option<ScratchFile>,
    extents: VecDeque<Extent>,
    is_closed: bool,
}

impl Spool {
    const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

    /// Makes an empty spool that spills into a nameless file in `directory`.
    pub fn new(memory_len_max: usize, directory: PathBuf) -> Self {
        Self {
            memory_len_max,
            directory,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a chunk; never waits for a fetcher.
    ///
    /// # Errors
    ///
    /// - `Io`: the disk takes no more.
    pub fn push(&self, chunk: Vec<u8>) -> Result<()> {
        let mut state = self.lock();
        if state.chunks_len.saturating_add(chunk.len()) <= self.memory_len_max {
            state.chunks_len = state.chunks_len.saturating_add(chunk.len());
            state.chunks.push_back(chunk);
        } else {
            if state.file.is_none() {
                state.file = Some(ScratchFile::create(&self.directory)?);
            }
            if let Some(file) = &mut state.file {
                let extent = file.append(&chunk)?;
                state.extents.push_back(extent);
            }
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Takes a chunk; waits for one, and returns none when the spool is closed
    /// and empty.
    ///
    /// # Errors
    ///
    /// - `Canceled`, `Io`.
    pub fn pop(&self, cancel: &Cancel) -> Result<Option<Vec<u8>>> {
        let mut state = self.lock();
        loop {
            cancel.check()?;
            if let Some(chunk) = state.chunks.pop_front() {
                state.chunks_len = state.chunks_len.saturating_sub(chunk.len());
                return Ok(Some(chunk));
            }
            if let Some(chunk) = state.read_spilled()? {
                return Ok(Some(chunk));
            }
            if state.is_closed {
                return Ok(None);
            }
            let waited = self.changed.wait_timeout(state, Self::CANCEL_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn read_spilled(&mut self) -> Result<Option<Vec<u8>>> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let Some(extent) = self.extents.pop_front() else {
            return Ok(None);
        };
        let chunk = file.read(extent)?;
        if self.extents.is_empty() {
            file.clear()?;
        }
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_in_memory_comes_back_from_disk() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(100, directory.path().to_owned());
        let chunk = |number: u8| vec![number; 40];
        for number in 0..10 {
            spool.push(chunk(number)).unwrap();
        }
        assert_eq!(spool.lock().chunks.len(), 2);
        assert_eq!(spool.lock().extents.len(), 8);
        spool.close();
        let mut seen: Vec<Vec<u8>> = Vec::new();
        while let Some(chunk) = spool.pop(&Cancel::new()).unwrap() {
            seen.push(chunk);
        }
        seen.sort();
        assert_eq!(seen, (0..10).map(chunk).collect::<Vec<_>>());
        // No name in the directory at any time.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_waiting_fetcher_stops_when_told_to() {
        let spool = Spool::new(100, PathBuf::from("."));
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(spool.pop(&cancel).unwrap_err().is_canceled());
    }
}
