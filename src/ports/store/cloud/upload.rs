//! Objects that are sent as they are made.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreError, MultipartUpload, ObjectStoreExt as _, PutPayload};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::ports::store::cloud::driver::wait;
use crate::ports::store::cloud::failure::failure;
use crate::ports::store::cloud::prefix::CloudPrefix;
use crate::ports::store::{Finishing, ObjectWriter};
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::units::to_u64;

/// Bytes of a part; stores take no smaller one but the last.
const PART_LEN: usize = 8 << 20;
/// Parts of one length; then they get longer, up to a bound that keeps memory small.
const PARTS_OF_LEN: usize = 1_000;
const PART_LEN_MAX: usize = 64 << 20;
/// What stores take.
const PART_COUNT_MAX: usize = 10_000;
/// Bytes that are on their way side by side, or a single part.
const IN_FLIGHT_MAX: usize = 2 * PART_LEN;

/// Bytes that a writer holds of an object that is not very long.
pub(super) const WRITING_MEMORY: u64 = 3 * PART_LEN as u64;

/// An object that is being sent. What is shorter than a part goes up in one request.
pub(super) struct CloudWriter {
    prefix: CloudPrefix,
    name: String,
    writer: u64,
    path: Path,
    described: String,
    pending: Vec<u8>,
    len: u64,
    upload: Option<Upload>,
    is_failed: bool,
}

/// An object whose parts are on their way.
struct Upload {
    begun: Begun,
    in_flight: VecDeque<Sending>,
    part_count: usize,
}

/// An upload is begun while its second part is being filled.
enum Begun {
    Asked(oneshot::Receiver<Box<dyn MultipartUpload>>),
    Known(Box<dyn MultipartUpload>),
    /// The store has refused it, as the first part tells.
    Refused,
}

/// What failed, and how.
type SendError = (Operation, StoreError);

/// A part that is on its way.
struct Sending {
    len: usize,
    task: JoinHandle<std::result::Result<(), SendError>>,
}

impl Upload {
    /// Begins an upload and sends its first part.
    fn begin(prefix: &CloudPrefix, path: &Path, first: Vec<u8>) -> Self {
        let (client, path, len) = (Arc::clone(&prefix.client), path.clone(), first.len());
        let (tell, told) = oneshot::channel();
        let task = prefix.handle.spawn(async move {
            let begun = client.put_multipart(&path).await;
            let mut upload = begun.map_err(|error| (Operation::Create, error))?;
            let part = upload.put_part(PutPayload::from_bytes(Bytes::from(first)));
            // Who does not listen any more ends the upload itself.
            let _ = tell.send(upload);
            part.await.map_err(|error| (Operation::Write, error))
        });
        Self {
            begun: Begun::Asked(told),
            in_flight: VecDeque::from([Sending { len, task }]),
            part_count: 1,
        }
    }

    /// Waits until the store has begun the upload; `None` if it has refused to.
    fn known(&mut self, handle: &Handle) -> Option<&mut Box<dyn MultipartUpload>> {
        if let Begun::Asked(told) = &mut self.begun {
            self.begun = wait(handle, told).map_or(Begun::Refused, Begun::Known);
        }
        match &mut self.begun {
            Begun::Known(upload) => Some(upload),
            Begun::Asked(_) | Begun::Refused => None,
        }
    }

    fn send(&mut self, handle: &Handle, described: &str, data: Vec<u8>) -> Result<()> {
        let len = data.len();
        while !self.in_flight.is_empty() && self.in_flight_len(len) > IN_FLIGHT_MAX {
            self.settle_first(handle, described)?;
        }
        let Some(upload) = self.known(handle) else {
            return self.settle(handle, described);
        };
        let part = upload.put_part(PutPayload::from_bytes(Bytes::from(data)));
        let part = async move { part.await.map_err(|error| (Operation::Write, error)) };
        let task = handle.spawn(part);
        self.in_flight.push_back(Sending { len, task });
        self.part_count = self.part_count.saturating_add(1);
        Ok(())
    }

    /// Returns how many bytes are on their way with so many more.
    fn in_flight_len(&self, more: usize) -> usize {
        let lengths = self.in_flight.iter().map(|sending| sending.len);
        lengths.fold(more, usize::saturating_add)
    }

    /// Waits for the part that was sent first.
    fn settle_first(&mut self, handle: &Handle, described: &str) -> Result<()> {
        let Some(Sending { task, .. }) = self.in_flight.pop_front() else {
            return Ok(());
        };
        match wait(handle, task) {
            Ok(Ok(())) => Ok(()),
            Ok(Err((operation, error))) => Err(failure(operation, described, &error)),
            Err(error) => Err(Error::io(
                Operation::Write,
                described,
                io::Error::other(error),
            )),
        }
    }

    /// Waits for all parts.
    fn settle(&mut self, handle: &Handle, described: &str) -> Result<()> {
        while !self.in_flight.is_empty() {
            self.settle_first(handle, described)?;
        }
        Ok(())
    }

    /// Ends the upload without an object.
    fn abort(&mut self, handle: &Handle) -> std::result::Result<(), StoreError> {
        // One that is being begun would stay if nobody waited for it.
        self.known(handle);
        for Sending { task, .. } in self.in_flight.drain(..) {
            task.abort();
            let _ = wait(handle, task);
        }
        match &mut self.begun {
            Begun::Known(upload) => wait(handle, upload.abort()),
            Begun::Asked(_) | Begun::Refused => Ok(()),
        }
    }
}

/// Returns the length of the part with this number: 1,000 of each length, which doubles
/// up to 64 MiB, so that 10,000 parts have 492 GiB.
fn part_len(number: usize) -> usize {
    let doublings = u32::try_from(number / PARTS_OF_LEN).unwrap_or(u32::MAX);
    1_usize
        .checked_shl(doublings)
        .and_then(|times| PART_LEN.checked_mul(times))
        .map_or(PART_LEN_MAX, |len| len.min(PART_LEN_MAX))
}

impl CloudWriter {
    pub(super) fn new(prefix: CloudPrefix, name: &str, writer: u64) -> Self {
        Self {
            path: prefix.path(name),
            described: prefix.described(name),
            prefix,
            name: name.to_owned(),
            writer,
            pending: Vec::new(),
            len: 0,
            upload: None,
            is_failed: false,
        }
    }

    fn send_part(&mut self, data: Vec<u8>) -> Result<()> {
        let Some(upload) = &mut self.upload else {
            self.upload = Some(Upload::begin(&self.prefix, &self.path, data));
            return Ok(());
        };
        if upload.part_count >= PART_COUNT_MAX {
            let text = "a store takes 10,000 parts of an object, 492 GiB: make segments shorter";
            let cause = io::Error::new(io::ErrorKind::FileTooLarge, text);
            return Err(Error::io(Operation::Write, self.described.clone(), cause));
        }
        upload.send(&self.prefix.handle, &self.described, data)
    }

    /// Adds bytes to the part that is being filled, and sends each that is full.
    fn fill_parts(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let number = self.upload.as_ref().map_or(0, |upload| upload.part_count);
            let len = part_len(number);
            let room = len.saturating_sub(self.pending.len());
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            // No more than a part is held, whatever the pieces are.
            let wanted = self.pending.len().saturating_add(taken.len());
            if wanted > self.pending.capacity() {
                let doubled = self
                    .pending
                    .capacity()
                    .saturating_mul(2)
                    .max(wanted)
                    .min(len);
                self.pending
                    .reserve_exact(doubled.saturating_sub(self.pending.len()));
            }
            self.pending.extend_from_slice(taken);
            bytes = rest;
            if self.pending.len() >= len {
                let part = std::mem::take(&mut self.pending);
                self.send_part(part)?;
            }
        }
        Ok(())
    }

    fn removed(&self, operation: Operation) -> Error {
        let cause = io::Error::new(io::ErrorKind::NotFound, "the unfinished object was removed");
        Error::io(operation, self.described.clone(), cause)
    }

    /// Sends a short object in one request, only if no object has the name.
    fn put_whole(&mut self) -> Result<()> {
        let bytes = std::mem::take(&mut self.pending);
        self.prefix.put_new(&self.name, bytes)
    }

    fn complete(&mut self) -> Result<()> {
        let last = std::mem::take(&mut self.pending);
        if !last.is_empty() {
            self.send_part(last)?;
        }
        let handle = self.prefix.handle.clone();
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        // No store that is known here completes an upload only if the name is free. Looked at
        // while the last parts are on their way.
        let client = &self.prefix.client;
        let (asked, path) = (Arc::clone(client), self.path.clone());
        let found = handle.spawn(async move { asked.head(&path).await });
        let settled = upload.settle(&handle, &self.described);
        let found = wait(&handle, found);
        settled?;
        match found {
            Ok(Err(StoreError::NotFound { .. })) => {}
            Ok(Ok(_)) => {
                let what = self.described.clone();
                return Err(Error::new(ErrorKind::AlreadyExists { what }));
            }
            Ok(Err(error)) => return Err(failure(Operation::Publish, &self.described, &error)),
            Err(error) => {
                let (what, cause) = (self.described.clone(), io::Error::other(error));
                return Err(Error::io(Operation::Publish, what, cause));
            }
        }
        let Some(multipart) = upload.known(&handle) else {
            return Err(self.removed(Operation::Publish));
        };
        if let Err(error) = wait(&handle, multipart.complete()) {
            // The answer may have been lost.
            let is_there =
                wait(&handle, client.head(&self.path)).is_ok_and(|found| found.size == self.len);
            if !is_there {
                return Err(failure(Operation::Publish, &self.described, &error));
            }
        }
        self.upload = None;
        Ok(())
    }

    fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.len = self.len.saturating_add(to_u64(bytes.len()));
        if !self
            .prefix
            .unfinished
            .grow(&self.name, self.writer, self.len)
        {
            return Err(self.removed(Operation::Write));
        }
        self.fill_parts(bytes)
    }
}

impl ObjectWriter for CloudWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = match self.is_failed {
            true => Err(self.removed(Operation::Write)),
            false => self.write_all(bytes),
        };
        self.is_failed |= written.is_err();
        written
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.is_failed || !self.prefix.unfinished.has(&self.name, self.writer) {
            return Err(self.removed(Operation::Publish));
        }
        match self.upload {
            None => self.put_whole(),
            Some(_) => self.complete(),
        }
    }

    fn begin_finish(self: Box<Self>) -> Finishing {
        let (handle, described) = (self.prefix.handle.clone(), self.described.clone());
        // On a thread that may block.
        let finished = handle.spawn_blocking(move || self.finish());
        Finishing::until(move || {
            wait(&handle, finished).unwrap_or_else(|error| {
                let cause = io::Error::other(error);
                Err(Error::io(Operation::Publish, described, cause))
            })
        })
    }
}

impl Drop for CloudWriter {
    fn drop(&mut self) {
        self.prefix.unfinished.end(&self.name, self.writer);
        let Some(mut upload) = self.upload.take() else {
            return;
        };
        if let Err(error) = upload.abort(&self.prefix.handle) {
            let error = failure(Operation::Remove, &self.described, &error);
            tracing::warn!(
                "parts of an upload may be left; a lifecycle rule that aborts incomplete multipart \
                 uploads removes them: {}",
                error.to_chain()
            );
        }
    }
}

impl fmt::Debug for CloudWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudWriter")
            .field("described", &self.described)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_so_that_ten_thousand_suffice() {
        assert_eq!(part_len(0), PART_LEN);
        assert_eq!(part_len(PARTS_OF_LEN - 1), PART_LEN);
        assert_eq!(part_len(PARTS_OF_LEN), 2 * PART_LEN);
        let total = (0..PART_COUNT_MAX).fold(0_u64, |sum, number| sum + to_u64(part_len(number)));
        assert_eq!(total >> 30, 492);
    }
}
