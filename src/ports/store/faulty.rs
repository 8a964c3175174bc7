//! A store that fails on demand, for tests.
//!
//! A test runs a job once on a store that only counts, then once for each operation with
//! that operation failing, and examines what is left.

use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ports::store::{ObjectInfo, ObjectReader, ObjectWriter, Store, StoreLock};
use crate::words::error::{Error, Operation, Result};
use crate::words::units::to_u64;

/// How the chosen operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation and all later ones are not done, as with a dead disk or a killed
    /// process. Unfinished objects stay in the inner store.
    Freeze,
    /// The operation is not done; later ones are.
    Once,
    /// The operation and all later ones are done, but reported as failed. An operation
    /// that fails by itself returns its own error.
    LostReply,
    /// As [`Fault::LostReply`], and the next operation is reported as failed, too: one that
    /// would find out what the first has done.
    LostReplies,
}

/// A store around another one that counts operations and fails a chosen one.
///
/// Every call of a trait method that can fail is one operation. Bytes are never handed
/// out without a copy, so that each read is an operation too. Clones share the inner
/// store and the counters.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    ledger: Arc<Ledger>,
}

#[derive(Debug)]
struct Ledger {
    operation_count: AtomicU64,
    read_count: AtomicU64,
    bytes_read: AtomicU64,
    /// Zero-based number of the operation that fails.
    fail_at: u64,
    fault: Fault,
}

impl FaultyStore {
    /// Makes a store that fails operation `fail_at`; the first one is 0.
    pub fn new(inner: impl Store + 'static, fail_at: u64, fault: Fault) -> Self {
        Self {
            inner: Arc::new(inner),
            ledger: Arc::new(Ledger {
                operation_count: AtomicU64::new(0),
                read_count: AtomicU64::new(0),
                bytes_read: AtomicU64::new(0),
                fail_at,
                fault,
            }),
        }
    }

    /// Makes a store that counts and never fails.
    pub fn counting(inner: impl Store + 'static) -> Self {
        Self::new(inner, u64::MAX, Fault::Once)
    }

    /// Returns how many operations were requested, including failed ones.
    pub fn operation_count(&self) -> u64 {
        self.ledger.operation_count.load(Ordering::SeqCst)
    }

    /// Returns how many times a range of an object was read.
    pub fn read_count(&self) -> u64 {
        self.ledger.read_count.load(Ordering::SeqCst)
    }

    /// Returns how many bytes of objects were read, including repetitions.
    pub fn bytes_read(&self) -> u64 {
        self.ledger.bytes_read.load(Ordering::SeqCst)
    }

    fn run<T>(
        &self,
        operation: Operation,
        name: &str,
        call: impl FnOnce(&dyn Store) -> Result<T>,
    ) -> Result<T> {
        let describe = || self.inner.describe(name);
        self.ledger
            .run(operation, describe, || call(self.inner.as_ref()))
    }
}

impl Ledger {
    /// Counts an operation, and does or fails it.
    fn run<T>(
        &self,
        operation: Operation,
        describe: impl FnOnce() -> String,
        call: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let index = self.operation_count.fetch_add(1, Ordering::SeqCst);
        let is_chosen = match self.fault {
            Fault::Freeze => index >= self.fail_at,
            Fault::Once | Fault::LostReply => index == self.fail_at,
            Fault::LostReplies => (self.fail_at..=self.fail_at.saturating_add(1)).contains(&index),
        };
        if !is_chosen {
            return call();
        }
        if matches!(self.fault, Fault::LostReply | Fault::LostReplies) {
            call()?;
        }
        let cause = io::Error::other(format!("operation {index} was told to fail"));
        Err(Error::io(operation, describe(), cause))
    }

    fn is_frozen(&self) -> bool {
        self.fault == Fault::Freeze && self.operation_count.load(Ordering::SeqCst) > self.fail_at
    }
}

impl Store for FaultyStore {
    fn describe(&self, name: &str) -> String {
        self.inner.describe(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.run(Operation::Create, name, |store| store.create(name))?;
        Ok(Box::new(FaultyWriter {
            inner: Some(inner),
            is_failed: false,
            described: self.describe(name),
            ledger: Arc::clone(&self.ledger),
        }))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.run(Operation::Publish, name, |store| store.put_new(name, bytes))
    }

    fn replace(&self, name: &str, expected: &[u8], bytes: &[u8]) -> Result<bool> {
        self.run(Operation::Publish, name, |store| {
            store.replace(name, expected, bytes)
        })
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        let inner = self.run(Operation::Open, name, |store| store.open(name))?;
        Ok(Box::new(FaultyReader {
            inner,
            ledger: Arc::clone(&self.ledger),
        }))
    }

    fn open_unfinished(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        let open = |store: &dyn Store| store.open_unfinished(name);
        let inner = self.run(Operation::Open, name, open)?;
        Ok(Box::new(FaultyReader {
            inner,
            ledger: Arc::clone(&self.ledger),
        }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.run(Operation::List, prefix, |store| store.list(prefix))
    }

    fn list_unfinished(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.run(Operation::List, prefix, |store| {
            store.list_unfinished(prefix)
        })
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.run(Operation::Remove, name, |store| store.remove(name))
    }

    /// Does not count as an operation, since a lock guards against other processes only.
    fn lock_prefix(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        self.inner.lock_prefix(prefix)
    }

    fn list_below(&self, prefix: &str) -> Result<Vec<String>> {
        self.run(Operation::List, prefix, |store| store.list_below(prefix))
    }

    fn writing_memory(&self) -> u64 {
        self.inner.writing_memory()
    }

    fn look_at_lock(&self, prefix: &str) -> Result<Box<dyn StoreLock>> {
        self.inner.look_at_lock(prefix)
    }

    fn reading_memory(&self) -> u64 {
        self.inner.reading_memory()
    }

    fn keeps_writers_apart(&self) -> Result<bool> {
        self.inner.keeps_writers_apart()
    }

    fn remove_unfinished(&self, name: &str) -> Result<()> {
        self.run(Operation::Remove, name, |store| {
            store.remove_unfinished(name)
        })
    }
}

struct FaultyWriter {
    /// `None` once the object is finished.
    inner: Option<Box<dyn ObjectWriter>>,
    /// A write failed, so the object must not be finished, although the inner writer may
    /// not know of the failure.
    is_failed: bool,
    described: String,
    ledger: Arc<Ledger>,
}

impl FaultyWriter {
    fn check(&self, operation: Operation) -> Result<()> {
        if self.is_failed {
            let cause = io::Error::other("an earlier write failed");
            return Err(Error::io(operation, self.described.as_str(), cause));
        }
        Ok(())
    }
}

impl ObjectWriter for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let check = self.check(Operation::Write);
        let describe = || self.described.clone();
        let outcome = self
            .ledger
            .run(Operation::Write, describe, || match &mut self.inner {
                Some(inner) => check.and_then(|()| inner.write(bytes)),
                None => check,
            });
        self.is_failed |= outcome.is_err();
        outcome
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let check = self.check(Operation::Publish);
        let ledger = Arc::clone(&self.ledger);
        let described = self.described.clone();
        ledger.run(
            Operation::Publish,
            || described,
            || {
                check?;
                self.inner.take().map_or(Ok(()), ObjectWriter::finish)
            },
        )
    }
}

impl Drop for FaultyWriter {
    fn drop(&mut self) {
        if self.ledger.is_frozen() {
            // The destructor of a killed process would not run either, so what was written has to
            // stay. The leak ends with the test.
            mem::forget(self.inner.take());
        }
    }
}

impl fmt::Debug for FaultyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyWriter")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct FaultyReader {
    inner: Box<dyn ObjectReader>,
    ledger: Arc<Ledger>,
}

impl ObjectReader for FaultyReader {
    fn describe(&self) -> &str {
        self.inner.describe()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let describe = || self.inner.describe().to_owned();
        self.ledger.run(Operation::Read, describe, || {
            self.inner.read_at(offset, buffer)?;
            let len = to_u64(buffer.len());
            self.ledger.read_count.fetch_add(1, Ordering::SeqCst);
            self.ledger.bytes_read.fetch_add(len, Ordering::SeqCst);
            Ok(())
        })
    }

    fn expect_reads_from(&self, offset: u64) {
        self.inner.expect_reads_from(offset);
    }

    fn forget_ahead(&self) {
        self.inner.forget_ahead();
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::ports::store::MemoryStore;

    /// Runs seven operations: create, two writes, finish, open, read, remove.
    fn run_all(store: &dyn Store) -> Result<()> {
        let mut writer = store.create("a")?;
        writer.write(b"te")?;
        writer.write(b"xt")?;
        writer.finish()?;
        store.open("a")?.read_at(0, &mut [0; 4])?;
        store.remove("a")
    }

    fn count(store: &MemoryStore) -> (usize, usize) {
        let finished = store.list("").unwrap().len();
        (finished, store.list_unfinished("").unwrap().len())
    }

    #[test]
    fn operations_and_bytes_are_counted() {
        let store = FaultyStore::counting(MemoryStore::new());
        run_all(&store).unwrap();
        assert_eq!(store.operation_count(), 7);
        assert_eq!(store.bytes_read(), 4);
    }

    #[test]
    fn a_frozen_store_stays_as_the_fault_found_it() {
        let left = [(0, 0), (0, 1), (0, 1), (0, 1), (1, 0), (1, 0), (1, 0)];
        for (fail_at, left) in (0_u64..).zip(left) {
            let memory = MemoryStore::new();
            let store = FaultyStore::new(memory.clone(), fail_at, Fault::Freeze);
            let text = run_all(&store).unwrap_err().to_chain();
            assert!(text.ends_with(&format!("operation {fail_at} was told to fail")));
            assert_eq!(count(&memory), left, "after operation {fail_at}");
            store.put_new("b", b"").unwrap_err();
            assert_eq!(count(&memory), left, "after operation {fail_at}");
        }
    }

    #[test]
    fn a_single_fault_leaves_the_rest_working() {
        let left = [(0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (1, 0), (1, 0)];
        for (fail_at, left) in (0_u64..).zip(left) {
            let memory = MemoryStore::new();
            let store = FaultyStore::new(memory.clone(), fail_at, Fault::Once);
            run_all(&store).unwrap_err();
            assert_eq!(count(&memory), left, "after operation {fail_at}");
            store.put_new("b", b"").unwrap();
        }
    }

    #[test]
    fn a_lost_reply_does_the_deed() {
        let left = [(0, 0), (0, 0), (0, 0), (1, 0), (1, 0), (1, 0), (0, 0)];
        for (fail_at, left) in (0_u64..).zip(left) {
            let memory = MemoryStore::new();
            let store = FaultyStore::new(memory.clone(), fail_at, Fault::LostReply);
            run_all(&store).unwrap_err();
            assert_eq!(count(&memory), left, "after operation {fail_at}");
        }
    }

    #[test]
    fn an_object_with_a_failed_write_is_never_finished() {
        for fault in [Fault::Once, Fault::LostReply] {
            let memory = MemoryStore::new();
            let store = FaultyStore::new(memory.clone(), 1, fault);
            let mut writer = store.create("a").unwrap();
            writer.write(b"te").unwrap_err();
            writer.write(b"xt").unwrap_err();
            writer.finish().unwrap_err();
            assert_eq!(count(&memory), (0, 0));
        }
    }
}
