//! What a walk has listed and nobody has fetched yet: in memory up to a bound,
//! on disk beyond.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::Result;
use crate::store::{Extent, ScratchFile};

/// What the lines of a chunk look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineForm {
    /// Those of `lru_crawler metadump`.
    Metadump,
    /// Those of `stats cachedump`, all of one slab class.
    Cachedump {
        /// The class.
        class: u8,
    },
}

/// Some whole lines of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkChunk {
    /// The lines with their ends.
    pub lines: Vec<u8>,
    /// How to read them.
    pub form: LineForm,
}

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
    chunks: VecDeque<WalkChunk>,
    chunks_len: usize,
    file: Option<Arc<ScratchFile>>,
    extents: VecDeque<(Extent, LineForm)>,
    /// The place of the bytes that were spilled last.
    last_extent: Extent,
    /// Chunks that are just being written to disk or read from it.
    transfer_count: usize,
    is_closed: bool,
    /// Chunks pushed and not done with.
    open_count: usize,
}

/// A chunk that was taken, and counts as open for as long as this lives, however
/// its taker ends.
#[derive(Debug)]
pub struct TakenChunk<'a> {
    spool: &'a Spool,
    chunk: WalkChunk,
}

impl std::ops::Deref for TakenChunk<'_> {
    type Target = WalkChunk;

    fn deref(&self) -> &WalkChunk {
        &self.chunk
    }
}

impl Drop for TakenChunk<'_> {
    fn drop(&mut self) {
        self.spool.finish_chunk();
    }
}

/// Closes a spool when its walker ends, however that happens.
#[derive(Debug)]
pub struct SpoolCloser<'a>(&'a Spool);

impl Drop for SpoolCloser<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
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

    /// Adds a chunk; never waits for a fetcher, nor for what it reads from disk.
    ///
    /// # Errors
    ///
    /// - `Io`: the disk takes no more.
    pub fn push(&self, chunk: WalkChunk) -> Result<()> {
        let mut state = self.lock();
        let len = chunk.lines.len();
        state.open_count = state.open_count.saturating_add(1);
        if state.chunks_len.saturating_add(len) <= self.memory_len_max {
            state.chunks_len = state.chunks_len.saturating_add(len);
            state.chunks.push_back(chunk);
            drop(state);
        } else {
            let spilled = state.begin_spill(len, &self.directory);
            drop(state);
            let written = spilled.and_then(|(file, extent)| {
                file.write(extent, &chunk.lines)?;
                Ok(extent)
            });
            let mut state = self.lock();
            state.transfer_count = state.transfer_count.saturating_sub(1);
            match written {
                Ok(extent) => state.extents.push_back((extent, chunk.form)),
                Err(error) => {
                    state.open_count = state.open_count.saturating_sub(1);
                    return Err(error);
                }
            }
        }
        self.changed.notify_one();
        Ok(())
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Returns what closes the spool when it is dropped. The fetchers of a walker
    /// that panics would wait for ever otherwise.
    #[must_use]
    pub fn closer(&self) -> SpoolCloser<'_> {
        SpoolCloser(self)
    }

    fn finish_chunk(&self) {
        let mut state = self.lock();
        state.open_count = state.open_count.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until all chunks pushed so far are done with.
    ///
    /// # Errors
    ///
    /// - `Canceled`.
    pub fn wait_until_done(&self, cancel: &Cancel) -> Result<()> {
        let mut state = self.lock();
        while state.open_count > 0 {
            cancel.check()?;
            let waited = self.changed.wait_timeout(state, Self::CANCEL_INTERVAL);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Takes a chunk; waits for one, and returns none when the spool is closed
    /// and empty. The chunk is done with when it is dropped.
    ///
    /// # Errors
    ///
    /// - `Canceled`, `Io`.
    pub fn pop(&self, cancel: &Cancel) -> Result<Option<TakenChunk<'_>>> {
        let taken = self.take(cancel)?;
        Ok(taken.map(|chunk| TakenChunk { spool: self, chunk }))
    }

    fn take(&self, cancel: &Cancel) -> Result<Option<WalkChunk>> {
        let mut state = self.lock();
        loop {
            cancel.check()?;
            if let Some(chunk) = state.chunks.pop_front() {
                state.chunks_len = state.chunks_len.saturating_sub(chunk.lines.len());
                return Ok(Some(chunk));
            }
            if let Some((file, extent, form)) = state.begin_read() {
                drop(state);
                let read = file.read(extent);
                let mut state = self.lock();
                let cleared = state.end_read(&file);
                // What cannot be read is done with, too; nobody waits for it.
                return match cleared.and(read) {
                    Ok(lines) => Ok(Some(WalkChunk { lines, form })),
                    Err(error) => {
                        state.open_count = state.open_count.saturating_sub(1);
                        Err(error)
                    }
                };
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
    /// Returns where the next bytes go; they are written without the lock.
    fn begin_spill(&mut self, len: usize, directory: &Path) -> Result<(Arc<ScratchFile>, Extent)> {
        self.transfer_count = self.transfer_count.saturating_add(1);
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = Arc::new(ScratchFile::create(directory)?);
                Arc::clone(self.file.insert(file))
            }
        };
        self.last_extent = self.last_extent.next(len);
        Ok((file, self.last_extent))
    }

    /// Returns where the next chunk is on disk; it is read without the lock.
    fn begin_read(&mut self) -> Option<(Arc<ScratchFile>, Extent, LineForm)> {
        let file = Arc::clone(self.file.as_ref()?);
        let (extent, form) = self.extents.pop_front()?;
        self.transfer_count = self.transfer_count.saturating_add(1);
        Some((file, extent, form))
    }

    /// Gives the space back when nothing is on disk any more, and nothing on its way.
    fn end_read(&mut self, file: &ScratchFile) -> Result<()> {
        self.transfer_count = self.transfer_count.saturating_sub(1);
        if self.transfer_count > 0 || !self.extents.is_empty() {
            return Ok(());
        }
        self.last_extent = Extent::default();
        file.clear()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_in_memory_comes_back_from_disk() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(100, directory.path().to_owned());
        let chunk = |number: u8| WalkChunk {
            lines: vec![number; 40],
            form: LineForm::Cachedump { class: number },
        };
        for number in 0..10 {
            spool.push(chunk(number)).unwrap();
        }
        assert_eq!(spool.lock().chunks.len(), 2);
        assert_eq!(spool.lock().extents.len(), 8);
        spool.close();
        let mut seen: Vec<WalkChunk> = Vec::new();
        while let Some(chunk) = spool.pop(&Cancel::new()).unwrap() {
            seen.push(WalkChunk::clone(&chunk));
        }
        spool.wait_until_done(&Cancel::new()).unwrap();
        seen.sort_by(|one, other| one.lines.cmp(&other.lines));
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

    #[test]
    fn a_panic_of_either_side_does_not_hold_up_the_other() {
        let spool = Spool::new(100, PathBuf::from("."));
        let chunk = WalkChunk {
            lines: b"key=a exp=-1\n".to_vec(),
            form: LineForm::Metadump,
        };
        spool.push(chunk).unwrap();
        let cancel = Cancel::new();
        let fetched = std::thread::scope(|scope| {
            let fetcher = scope.spawn(|| {
                let _chunk = spool.pop(&cancel).unwrap().unwrap();
                std::panic::resume_unwind(Box::new("a fetcher"));
            });
            fetcher.join()
        });
        assert!(fetched.is_err());
        // Without the guard this waits for ever, as the next one does.
        spool.wait_until_done(&cancel).unwrap();
        let walked = std::thread::scope(|scope| {
            let walker = scope.spawn(|| {
                let _closer = spool.closer();
                std::panic::resume_unwind(Box::new("a walker"));
            });
            walker.join()
        });
        assert!(walked.is_err());
        assert!(spool.pop(&cancel).unwrap().is_none());
    }
}
