//! A store that fails on purpose, so that every failure can be tried in turn.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Operation, Result};
use crate::store::{Listing, ObjectInfo, ObjectReader, ObjectWriter, Store};

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and so does every later one: a crash, or a dead disk.
    Freeze,
    /// It fails, and later ones work.
    Once,
    /// It is done, but reported as failed: a lost reply.
    LostReply,
}

/// Counts the operations of a store and fails the chosen one.
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    count: AtomicU64,
    fail_at: u64,
    fault: Fault,
}

impl Plan {
    /// Does one operation, or fails instead, or after.
    fn run<T>(
        &self,
        name: &str,
        operation: Operation,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let failed = || {
            let cause = io::Error::other("fault injected");
            Error::io(operation, name, cause)
        };
        match self.fault {
            Fault::Freeze if number >= self.fail_at => Err(failed()),
            Fault::Once if number == self.fail_at => Err(failed()),
            Fault::LostReply if number == self.fail_at => work().and_then(|_| Err(failed())),
            Fault::Freeze | Fault::Once | Fault::LostReply => work(),
        }
    }
}

impl FaultyStore {
    /// Fails operation `fail_at`, counted from 0, of `inner`; `u64::MAX` fails
    /// none, and counts.
    pub fn new(inner: Arc<dyn Store>, fail_at: u64, fault: Fault) -> Self {
        Self {
            inner,
            plan: Arc::new(Plan {
                count: AtomicU64::new(0),
                fail_at,
                fault,
            }),
        }
    }

    /// Returns how many operations were tried.
    pub fn operation_count(&self) -> u64 {
        self.plan.count.load(Ordering::Relaxed)
    }
}

impl Store for FaultyStore {
    fn describe(&self, name: &str) -> String {
        self.inner.describe(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn ObjectWriter>> {
        let inner = self
            .plan
            .run(name, Operation::Create, || self.inner.create(name))?;
        Ok(Box::new(FaultyWriter {
            inner,
            name: name.to_owned(),
            plan: Arc::clone(&self.plan),
        }))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.plan
            .run(name, Operation::Publish, || self.inner.put_new(name, bytes))
    }

    fn open(&self, name: &str) -> Result<Box<dyn ObjectReader>> {
        let inner = self
            .plan
            .run(name, Operation::Open, || self.inner.open(name))?;
        Ok(Box::new(FaultyReader {
            inner,
            name: name.to_owned(),
            plan: Arc::clone(&self.plan),
        }))
    }

    fn list(&self, prefix: &str, which: Listing) -> Result<Vec<ObjectInfo>> {
        self.plan
            .run(prefix, Operation::List, || self.inner.list(prefix, which))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.plan
            .run(name, Operation::Remove, || self.inner.remove(name))
    }
}

#[derive(Debug)]
struct FaultyWriter {
    inner: Box<dyn ObjectWriter>,
    name: String,
    plan: Arc<Plan>,
}

impl ObjectWriter for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Self { inner, name, plan } = self;
        plan.run(name, Operation::Write, || inner.write(bytes))
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let Self { inner, name, plan } = *self;
        plan.run(&name, Operation::Publish, || inner.finish())
    }
}

#[derive(Debug)]
struct FaultyReader {
    inner: Box<dyn ObjectReader>,
    name: String,
    plan: Arc<Plan>,
}

impl ObjectReader for FaultyReader {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.plan.run(&self.name, Operation::Read, || {
            self.inner.read_at(offset, buffer)
        })
    }

    /// Never: every read must pass the plan.
    fn as_bytes(&self) -> Option<&[u8]> {
        None
    }
}
