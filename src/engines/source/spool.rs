//! Holds what a walk has listed and no fetcher has taken yet: in memory up to a limit,
//! and on disk as fast as the disk takes it.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::engines::source::packed_walk::{PackedWalk, Walked};
use crate::engines::source::spool_memory::SpoolMemory;
use crate::ports::store::{Extent, ScratchFile};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};

/// The kind of lines that a chunk was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineForm {
    /// Lines of `lru_crawler metadump`.
    Metadump,
    /// Lines of `stats cachedump`, all of one slab class. The exptimes of the items are
    /// the numbers as the server wrote them.
    Cachedump {
        /// The slab class.
        class: u8,
    },
}

/// Some items of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalkChunk {
    /// The items.
    pub items: PackedWalk,
    /// How they were listed.
    pub form: LineForm,
}

impl WalkChunk {
    /// Calls `visit` with the items in the order in which they were listed.
    ///
    /// # Errors
    ///
    /// - `Internal`: the bytes are not what was packed.
    /// - Whatever `visit` returns.
    pub fn visit(&self, visit: &mut dyn FnMut(Walked<'_>) -> Result<()>) -> Result<()> {
        self.items.visit(visit)
    }

    fn len(&self) -> usize {
        self.items.bytes().len()
    }
}

/// Storage for chunks that should not stay in memory for long.
pub(super) trait Spill: fmt::Debug + Send + Sync {
    fn write(&self, extent: Extent, bytes: &[u8]) -> Result<()>;
    fn read(&self, extent: Extent) -> Result<Vec<u8>>;
    fn clear(&self) -> Result<()>;
}

impl Spill for ScratchFile {
    fn write(&self, extent: Extent, bytes: &[u8]) -> Result<()> {
        ScratchFile::write(self, extent, bytes)
    }

    fn read(&self, extent: Extent) -> Result<Vec<u8>> {
        ScratchFile::read(self, extent)
    }

    fn clear(&self) -> Result<()> {
        ScratchFile::clear(self)
    }
}

type OpenSpill = dyn Fn() -> Result<Arc<dyn Spill>> + Send + Sync;

/// A queue of chunks from one walker to many fetchers.
///
/// A server whose walk is not read can stop all its clients, so the walker never waits
/// here. It puts chunks into memory. [`Spool::write_out`], on a thread of its own, writes
/// them to disk when there are many. If the disk does not keep up and memory is full,
/// [`Spool::push`] returns [`Pushed::NoRoom`]. No thread touches the disk while it holds
/// the lock that the walker takes.
///
/// # Memory
///
/// Its share of a [`SpoolMemory`], and one chunk for each thread.
pub struct Spool {
    memory: SpoolMemory,
    open: Box<OpenSpill>,
    state: Mutex<State>,
    /// Wakes fetchers, and a walker between two walks.
    changed: Condvar,
    /// Wakes the thread that writes to disk.
    is_crowded: Condvar,
}

impl fmt::Debug for Spool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// Chunks in memory, the oldest first.
    chunks: VecDeque<WalkChunk>,
    file: Option<Arc<dyn Spill>>,
    spilled: VecDeque<Spilled>,
    /// Position of the bytes that were spilled last.
    last_extent: Extent,
    /// Chunks that are being written to disk or read from it right now.
    transfer_count: usize,
    is_closed: bool,
    /// Chunks pushed and not finished.
    open_count: usize,
    /// Whether everything on disk is being removed right now.
    is_clearing: bool,
    /// The disk takes no more. Holds the error until it has been returned to a walker.
    is_disk_broken: bool,
    disk_error: Option<Error>,
}

/// A chunk on disk.
#[derive(Clone, Copy, Debug)]
struct Spilled {
    extent: Extent,
    raw_len: usize,
    form: LineForm,
}

/// The outcome of pushing a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pushed {
    /// The chunk was added.
    Taken,
    /// There was no room, and the chunk was dropped.
    NoRoom,
}

/// A chunk taken from the spool. It counts as open until this is dropped, even if its
/// taker panics.
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

/// Closes a spool when its walker ends, even if the walker panics.
#[derive(Debug)]
pub struct SpoolCloser<'a>(&'a Spool);

impl Drop for SpoolCloser<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Other spools share the memory, so it is given back.
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let len: usize = state.chunks.iter().map(WalkChunk::len).sum();
        self.memory.give(len);
    }
}

impl Spool {
    const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

    /// Creates an empty spool that spills into an unnamed file in `directory`.
    pub fn new(memory: SpoolMemory, directory: PathBuf) -> Self {
        Self::with_spill(memory, move || {
            Ok(Arc::new(ScratchFile::create(&directory)?))
        })
    }

    /// Creates a spool that spills into what `open` returns; `open` is called when
    /// needed.
    pub(super) fn with_spill(
        memory: SpoolMemory,
        open: impl Fn() -> Result<Arc<dyn Spill>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            memory,
            open: Box::new(open),
            state: Mutex::default(),
            changed: Condvar::new(),
            is_crowded: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every statement that can panic leaves the state consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = condition.wait_timeout(state, Self::CANCEL_INTERVAL);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Adds a chunk if there is room for it. Never waits for a fetcher or for a disk.
    ///
    /// # Errors
    ///
    /// - `Io`: the disk takes no more; returned once.
    pub fn push(&self, chunk: WalkChunk) -> Result<Pushed> {
        let mut state = self.lock();
        state.check_disk()?;
        if !self.memory.take(chunk.len()) {
            return Ok(Pushed::NoRoom);
        }
        state.open_count = state.open_count.saturating_add(1);
        state.chunks.push_back(chunk);
        drop(state);
        self.changed.notify_one();
        if self.memory.is_above_share() {
            self.is_crowded.notify_one();
        }
        Ok(Pushed::Taken)
    }

    /// Adds a chunk as soon as there is room for it. Only for lines that a server buffers
    /// for its client without holding a lock.
    ///
    /// # Errors
    ///
    /// - `Io`: the disk takes no more; `Canceled`.
    pub fn push_when_room(&self, chunk: &WalkChunk, cancel: &Cancel) -> Result<()> {
        while self.push(chunk.clone())? == Pushed::NoRoom {
            self.wait_for_room(cancel)?;
        }
        Ok(())
    }

    /// Waits until no more than half of the memory is in use by all spools that share it.
    ///
    /// # Errors
    ///
    /// - `Io`: the disk takes no more, so there may never be room; `Canceled`.
    pub fn wait_for_room(&self, cancel: &Cancel) -> Result<()> {
        let mut state = self.lock();
        loop {
            cancel.check()?;
            state.check_disk()?;
            if !self.memory.is_above_share() {
                return Ok(());
            }
            state = Self::wait(&self.changed, state);
        }
    }

    /// Closes the spool: no more chunks will be pushed.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
        self.is_crowded.notify_all();
    }

    /// Returns a guard that closes the spool when it is dropped. Without it, the fetchers
    /// of a walker that panics would wait forever.
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

    /// Waits until all chunks pushed so far are finished.
    ///
    /// # Errors
    ///
    /// - `Canceled`.
    pub fn wait_until_done(&self, cancel: &Cancel) -> Result<()> {
        let mut state = self.lock();
        while state.open_count > 0 {
            cancel.check()?;
            state = Self::wait(&self.changed, state);
        }
        Ok(())
    }

    /// Takes a chunk, waiting for one if necessary. Returns `None` when the spool is
    /// closed and empty. Dropping the chunk finishes it.
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
                self.memory.give(chunk.len());
                return Ok(Some(chunk));
            }
            if let Some((file, spilled)) = state.begin_read() {
                drop(state);
                let read = self.read_back(&*file, spilled);
                if read.is_err() {
                    // A chunk that cannot be read is finished too, so that no thread
                    // waits for it.
                    self.finish_chunk();
                }
                return read.map(Some);
            }
            // A chunk that is being written to disk right now comes back.
            if state.is_closed && state.transfer_count == 0 {
                return Ok(None);
            }
            state = Self::wait(&self.changed, state);
        }
    }

    fn read_back(&self, file: &dyn Spill, spilled: Spilled) -> Result<WalkChunk> {
        let read = file.read(spilled.extent);
        // Gives the disk space back once nothing is on disk.
        let cleared = if self.lock().begin_clearing() {
            let cleared = file.clear();
            self.lock().is_clearing = false;
            cleared
        } else {
            Ok(())
        };
        let mut state = self.lock();
        state.transfer_count = state.transfer_count.saturating_sub(1);
        drop(state);
        self.changed.notify_all();
        cleared?;
        Ok(WalkChunk {
            items: PackedWalk::of_parts(read?, spilled.raw_len),
            form: spilled.form,
        })
    }

    /// Writes chunks to disk while more than half of the memory is in use; returns when
    /// no more chunks can come. The newest chunks are written first, since the oldest are
    /// fetched next.
    ///
    /// Each spool needs one thread of its own for this. Disk errors are returned to the
    /// walker.
    pub fn write_out(&self, cancel: &Cancel) {
        let mut state = self.lock();
        while !cancel.is_canceled() && !state.is_disk_broken {
            if state.is_closed && state.chunks.is_empty() {
                return;
            }
            let crowding = self.memory.is_above_share() && !state.is_clearing;
            let Some(chunk) = crowding.then(|| state.chunks.pop_back()).flatten() else {
                state = Self::wait(&self.is_crowded, state);
                continue;
            };
            state.transfer_count = state.transfer_count.saturating_add(1);
            state.last_extent = state.last_extent.next(chunk.len());
            let (file, extent) = (state.file.clone(), state.last_extent);
            drop(state);
            let written = self.spill(file, extent, &chunk);
            state = self.lock();
            state.transfer_count = state.transfer_count.saturating_sub(1);
            match written {
                Ok(file) => {
                    state.file = Some(file);
                    state.spilled.push_back(Spilled {
                        extent,
                        raw_len: chunk.items.raw_len(),
                        form: chunk.form,
                    });
                    self.memory.give(chunk.len());
                }
                Err(error) => {
                    state.chunks.push_back(chunk);
                    state.is_disk_broken = true;
                    state.disk_error = Some(error);
                }
            }
            self.changed.notify_all();
        }
    }

    fn spill(
        &self,
        file: Option<Arc<dyn Spill>>,
        extent: Extent,
        chunk: &WalkChunk,
    ) -> Result<Arc<dyn Spill>> {
        let file = match file {
            Some(file) => file,
            None => (self.open)()?,
        };
        file.write(extent, chunk.items.bytes())?;
        Ok(file)
    }
}

impl State {
    /// Returns the error of the disk, once; later calls return that it was already
    /// returned.
    fn check_disk(&mut self) -> Result<()> {
        match self.disk_error.take() {
            Some(error) => Err(error),
            None if self.is_disk_broken => Err(Error::partner_ended("the disk of the spool")),
            None => Ok(()),
        }
    }

    /// Returns where the next chunk is on disk. The caller reads it without the lock.
    fn begin_read(&mut self) -> Option<(Arc<dyn Spill>, Spilled)> {
        let file = Arc::clone(self.file.as_ref()?);
        let spilled = self.spilled.pop_front()?;
        self.transfer_count = self.transfer_count.saturating_add(1);
        Some((file, spilled))
    }

    /// Starts to remove what is on disk if the caller has read the last of it. Nothing is
    /// written until the removal is done.
    fn begin_clearing(&mut self) -> bool {
        let is_last = self.spilled.is_empty() && self.transfer_count == 1;
        if is_last {
            self.is_clearing = true;
            self.last_extent = Extent::default();
        }
        is_last
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;
    use crate::codecs::protocol::metadump::WalkItem;
    use crate::engines::source::packed_walk::WalkPacker;
    use crate::words::error::{ErrorKind, Operation};

    /// A chunk of one key; its length is the same for every number below 100.
    fn chunk(number: u8) -> WalkChunk {
        let mut packer = WalkPacker::new().unwrap();
        let key = format!("key:{number:02}");
        packer.push(key.as_bytes(), &WalkItem::default());
        WalkChunk {
            items: packer.finish().unwrap().unwrap(),
            form: LineForm::Cachedump { class: number },
        }
    }

    fn spool(chunk_count: usize, directory: &Path) -> Spool {
        let memory = SpoolMemory::new(chunk_count * chunk(0).len());
        Spool::new(memory, directory.to_owned())
    }

    fn pop_all(spool: &Spool) -> Vec<WalkChunk> {
        let mut popped: Vec<WalkChunk> = Vec::new();
        while let Some(chunk) = spool.pop(&Cancel::new()).unwrap() {
            popped.push(WalkChunk::clone(&chunk));
        }
        popped.sort_by_key(|chunk| format!("{:?}", chunk.form));
        popped
    }

    /// A disk that blocks every write until the test lets it proceed.
    #[derive(Debug)]
    struct StuckDisk {
        file: ScratchFile,
        entered: Mutex<Sender<()>>,
        gate: Mutex<Receiver<Result<()>>>,
    }

    impl StuckDisk {
        /// Returns the spool, a channel that reports when a write begins, and one that
        /// ends it.
        fn spool(memory: SpoolMemory) -> (Spool, Receiver<()>, Sender<Result<()>>) {
            let (entered, is_entered) = channel();
            let (open, gate) = channel();
            let disk = Arc::new(StuckDisk {
                file: ScratchFile::create(&std::env::temp_dir()).unwrap(),
                entered: Mutex::new(entered),
                gate: Mutex::new(gate),
            });
            let spool = Spool::with_spill(memory, move || {
                Ok(Arc::<StuckDisk>::clone(&disk) as Arc<dyn Spill>)
            });
            (spool, is_entered, open)
        }
    }

    impl Spill for StuckDisk {
        fn write(&self, extent: Extent, bytes: &[u8]) -> Result<()> {
            self.entered.lock().unwrap().send(()).unwrap();
            self.gate.lock().unwrap().recv().unwrap()?;
            self.file.write(extent, bytes)
        }

        fn read(&self, extent: Extent) -> Result<Vec<u8>> {
            self.file.read(extent)
        }

        fn clear(&self) -> Result<()> {
            self.file.clear()
        }
    }

    #[test]
    fn what_memory_should_not_hold_for_long_comes_back_from_disk() {
        let directory = tempfile::tempdir().unwrap();
        let spool = spool(4, directory.path());
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            scope.spawn(|| spool.write_out(&cancel));
            for number in 0..10 {
                while spool.push(chunk(number)).unwrap() == Pushed::NoRoom {
                    spool.wait_for_room(&cancel).unwrap();
                }
            }
            spool.wait_for_room(&cancel).unwrap();
            let state = spool.lock();
            assert_eq!((state.chunks.len(), state.spilled.len()), (2, 8));
            // The oldest chunks are in memory.
            assert_eq!(state.chunks.front(), Some(&chunk(0)));
            drop(state);
            spool.close();
            assert_eq!(pop_all(&spool), (0..10).map(chunk).collect::<Vec<_>>());
            spool.wait_until_done(&cancel).unwrap();
        });
        // The file never has a name in the directory.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        assert_eq!(spool.lock().last_extent, Extent::default());
    }

    #[test]
    fn a_walker_goes_on_while_the_disk_takes_nothing_and_is_told_when_memory_is_full() {
        let memory = SpoolMemory::new(4 * chunk(0).len());
        let (spool, is_entered, open) = StuckDisk::spool(memory);
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| spool.write_out(&cancel));
            // The third chunk exceeds the half; the disk does not accept it.
            for number in 0..3 {
                assert_eq!(spool.push(chunk(number)).unwrap(), Pushed::Taken);
            }
            is_entered.recv().unwrap();
            // No call of a walker waits for the disk.
            assert_eq!(spool.push(chunk(3)).unwrap(), Pushed::Taken);
            assert_eq!(spool.push(chunk(4)).unwrap(), Pushed::NoRoom);
            // A fetcher makes room as well.
            drop(spool.pop(&cancel).unwrap().unwrap());
            assert_eq!(spool.push(chunk(5)).unwrap(), Pushed::Taken);
            assert_eq!(spool.push(chunk(6)).unwrap(), Pushed::NoRoom);
            assert!(!writer.is_finished());
            for _ in 0..10 {
                open.send(Ok(())).unwrap();
            }
            spool.wait_for_room(&cancel).unwrap();
            assert_eq!(spool.push(chunk(7)).unwrap(), Pushed::Taken);
            spool.close();
            let wanted: Vec<_> = [1, 2, 3, 5, 7].map(chunk).into();
            assert_eq!(pop_all(&spool), wanted);
        });
    }

    #[test]
    fn a_disk_that_fails_costs_no_chunk_and_is_told_to_every_walker() {
        let memory = SpoolMemory::new(8 * chunk(0).len());
        let (spool, is_entered, open) = StuckDisk::spool(memory.clone());
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| spool.write_out(&cancel));
            for number in 0..5 {
                assert_eq!(spool.push(chunk(number)).unwrap(), Pushed::Taken);
            }
            is_entered.recv().unwrap();
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            let error = Error::io(Operation::Write, "a disk", full);
            open.send(Err(error)).unwrap();
            writer.join().unwrap();
            let error = spool.push(chunk(5)).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}");
            assert!(spool.push(chunk(5)).unwrap_err().is_of_partner());
            assert!(spool.wait_for_room(&cancel).unwrap_err().is_of_partner());
            drop(spool.pop(&cancel).unwrap().unwrap());
            spool.close();
            assert_eq!(pop_all(&spool), (1..5).map(chunk).collect::<Vec<_>>());
        });
        assert!(!memory.is_above_share());
    }

    #[test]
    fn what_a_spool_leaves_behind_is_given_back_to_the_others() {
        let memory = SpoolMemory::new(2 * chunk(0).len());
        let spool = Spool::new(memory.clone(), PathBuf::from("."));
        let other = Spool::new(memory, PathBuf::from("."));
        for number in 0..2 {
            assert_eq!(spool.push(chunk(number)).unwrap(), Pushed::Taken);
        }
        assert_eq!(other.push(chunk(2)).unwrap(), Pushed::NoRoom);
        drop(spool);
        assert_eq!(other.push(chunk(2)).unwrap(), Pushed::Taken);
    }

    #[test]
    fn a_waiting_thread_stops_when_told_to() {
        let spool = Spool::new(SpoolMemory::new(1), PathBuf::from("."));
        assert_eq!(spool.push(chunk(0)).unwrap(), Pushed::Taken);
        let cancel = Cancel::new();
        cancel.cancel();
        assert!(spool.pop(&cancel).unwrap_err().is_canceled());
        assert!(spool.wait_for_room(&cancel).unwrap_err().is_canceled());
        spool.write_out(&cancel);
    }

    #[test]
    fn a_panic_of_either_side_does_not_hold_up_the_other() {
        let spool = Spool::new(SpoolMemory::new(1000), PathBuf::from("."));
        assert_eq!(spool.push(chunk(0)).unwrap(), Pushed::Taken);
        let cancel = Cancel::new();
        let fetched = std::thread::scope(|scope| {
            let fetcher = scope.spawn(|| {
                let _chunk = spool.pop(&cancel).unwrap().unwrap();
                std::panic::resume_unwind(Box::new("a fetcher"));
            });
            fetcher.join()
        });
        assert!(fetched.is_err());
        // Without the guard this call would wait forever, and so would the next one.
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
