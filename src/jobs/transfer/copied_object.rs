//! Copies one object: sends it, reads it back, and once more if it came out wrong.

use std::cell::Cell;
use std::io;

use crate::codecs::format::checksum::ValueHasher;
use crate::engines::snapshot::{SnapshotObject, SnapshotReader};
use crate::jobs::transfer::original::Original;
use crate::ports::pace::BytePace;
use crate::ports::store::{ObjectWriter, Store};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::finding::Finding;
use crate::words::progress::{Event, Progress};
use crate::words::units::to_u64;

/// How often an object is sent that comes out wrong.
const TRY_COUNT: u32 = 2;

/// Small pieces are collected up to this length, in bytes, before they are written.
const WRITE_LEN: usize = 256 << 10;

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// It was there.
    Kept,
    /// It was sent, after so many tries that came out wrong.
    Sent { failed_tries: u32 },
    /// The original is damaged.
    Damaged(Box<Finding>),
}

/// What all threads of a copy share.
pub(super) struct Copying<'a> {
    pub(super) original: &'a Original,
    /// The manifest of the original, with the objects at the destination.
    pub(super) copy: &'a SnapshotReader,
    pub(super) store: &'a dyn Store,
    pub(super) pace: &'a BytePace,
    pub(super) stop: &'a Cancel,
    pub(super) progress: &'a dyn Progress,
}

impl Copying<'_> {
    /// Copies an object, unless it is there; `size_there` is the size of what has its name
    /// at the destination.
    ///
    /// # Errors
    ///
    /// - `Newer`: the object needs a newer build.
    /// - `Changed`: the original was removed or replaced.
    /// - `Io`, `Canceled`.
    pub(super) fn object(
        &self,
        object: &SnapshotObject,
        size_there: Option<u64>,
    ) -> Result<Copied> {
        self.stop.check()?;
        let path = self.copy.object_path(object);
        let steps = Steps::new(object, self.progress);
        if let Some(size) = size_there {
            let found = match size == object.size {
                true => self.read_back(object, &steps),
                false => Err(Error::corrupt(object.wrong_size(size))),
            };
            match found {
                Ok(_) => {
                    steps.finish();
                    return Ok(Copied::Kept);
                }
                Err(error) => self.drop_wrong(&path, error, "left by an earlier run")?,
            }
        }
        let mut last = None;
        for failed_tries in 0..TRY_COUNT {
            let sent = match self.send(object, &path, &steps)? {
                Ok(hash) => hash,
                Err(finding) => return Ok(Copied::Damaged(finding)),
            };
            match self.read_back(object, &steps) {
                Ok(found) if found == sent => {
                    steps.finish();
                    return Ok(Copied::Sent { failed_tries });
                }
                Ok(_) => {
                    let cause = io::Error::other("other bytes were read back than were sent");
                    last = Some(cause.to_string());
                    let error = Error::io(Operation::Read, self.store.describe(&path), cause);
                    self.remove_wrong(&path, &error, "just written")?;
                }
                Err(error) => {
                    last = Some(error.to_reason());
                    self.drop_wrong(&path, error, "just written")?;
                }
            }
        }
        let reason = last.unwrap_or_default();
        let cause = io::Error::other(format!(
            "what was read back was wrong {TRY_COUNT} times, and was removed: {reason}"
        ));
        Err(Error::io(
            Operation::Write,
            self.store.describe(&path),
            cause,
        ))
    }

    /// Reads an object at the destination; returns the hash of its bytes.
    fn read_back(&self, object: &SnapshotObject, steps: &Steps<'_>) -> Result<u64> {
        steps.begin(Half::Check);
        let mut hasher = ValueHasher::default();
        self.copy.pass_object(object, &mut |bytes| {
            self.pace.wait_for(to_u64(bytes.len()), self.stop)?;
            hasher.update(bytes);
            steps.advance(to_u64(bytes.len()));
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// Sends an object; returns the hash of its bytes, or what is wrong with the original.
    fn send(
        &self,
        object: &SnapshotObject,
        path: &str,
        steps: &Steps<'_>,
    ) -> Result<std::result::Result<u64, Box<Finding>>> {
        steps.begin(Half::Send);
        let mut outgoing = Outgoing {
            writer: self.store.create(path)?,
            buffer: Vec::new(),
        };
        let mut hasher = ValueHasher::default();
        // Errors of the two ends come out of one call.
        let mut written = Ok(());
        let passed = self.original.snapshot.pass_object(object, &mut |bytes| {
            self.pace.wait_for(to_u64(bytes.len()), self.stop)?;
            hasher.update(bytes);
            steps.advance(to_u64(bytes.len()));
            outgoing.write(bytes).map_err(|error| {
                written = Err(error);
                // Ends the reading; nobody sees it.
                Error::partner_ended("the writer")
            })
        });
        written?;
        if let Err(error) = passed {
            return self.damage_of_original(object, error).map(Err);
        }
        match outgoing.finish() {
            Ok(()) => {}
            // Another run copies the same; what it wrote is read back as ours.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Ok(hasher.finish()))
    }

    /// Returns what is wrong with the original, if that is why it could not be read.
    fn damage_of_original(&self, object: &SnapshotObject, error: Error) -> Result<Box<Finding>> {
        if error.is_canceled() {
            return Err(error);
        }
        let error = self.original.explain(error);
        let place = format!("{}/{}", self.original.describe(), object.object);
        Finding::from_error(error, &place).map(Box::new)
    }

    /// Removes an object that is not what it should be; any other error is returned.
    fn drop_wrong(&self, path: &str, error: Error, which: &str) -> Result<()> {
        let is_wrong = error.is_newer() || matches!(error.kind(), ErrorKind::Corrupt(_));
        match is_wrong {
            true => self.remove_wrong(path, &error, which),
            false => Err(error),
        }
    }

    fn remove_wrong(&self, path: &str, error: &Error, which: &str) -> Result<()> {
        tracing::warn!(
            "{}, {which}, is not what it should be, and is removed: {}",
            self.store.describe(path),
            error.to_reason()
        );
        self.store.remove(path)
    }
}

/// A writer that gets pieces of some length.
struct Outgoing {
    writer: Box<dyn ObjectWriter>,
    buffer: Vec<u8>,
}

impl Outgoing {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.buffer.is_empty() && bytes.len() >= WRITE_LEN {
            return self.writer.write(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_LEN {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.writer.write(&self.buffer);
        self.buffer.clear();
        written
    }

    fn finish(mut self) -> Result<()> {
        if !self.buffer.is_empty() {
            self.flush()?;
        }
        self.writer.finish()
    }
}

/// The half of the work that is being done.
#[derive(Clone, Copy)]
enum Half {
    Send,
    Check,
}

/// Tells how far an object has come. Half of its records and bytes are told as it is sent,
/// and half as it is read back; a second try tells nothing twice.
struct Steps<'a> {
    object: &'a SnapshotObject,
    progress: &'a dyn Progress,
    /// How far this try is: from 0 on as it is sent, from the size on as it is read back.
    at: Cell<u64>,
    /// How far any try was.
    told: Cell<u64>,
}

impl<'a> Steps<'a> {
    fn new(object: &'a SnapshotObject, progress: &'a dyn Progress) -> Self {
        Self {
            object,
            progress,
            at: Cell::new(0),
            told: Cell::new(0),
        }
    }

    fn begin(&self, half: Half) {
        self.at.set(match half {
            Half::Send => 0,
            Half::Check => self.object.size,
        });
    }

    fn advance(&self, bytes: u64) {
        self.at.set(self.at.get().saturating_add(bytes));
        self.tell_up_to(self.at.get());
    }

    fn finish(&self) {
        self.tell_up_to(u64::MAX);
    }

    /// Tells what is new.
    fn tell_up_to(&self, at: u64) {
        let whole = self.object.size.saturating_mul(2).max(1);
        let (before, now) = (self.told.get(), at.min(whole));
        if now <= before {
            return;
        }
        self.told.set(now);
        let share = |all: u64, at: u64| {
            let part = u128::from(all).saturating_mul(at.into()) / u128::from(whole);
            u64::try_from(part).unwrap_or(all)
        };
        let new = |all: u64| share(all, now).saturating_sub(share(all, before));
        self.progress.event(Event::Advanced {
            node_index: None,
            items: new(self.object.records),
            bytes: new(self.object.size),
        });
    }
}
