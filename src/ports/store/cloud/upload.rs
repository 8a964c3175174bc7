//! Objects that are sent as they are made.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreError, MultipartUpload, ObjectStoreExt as _, PutPayload};
use tokio::task::JoinHandle;

use crate::ports::store::ObjectWriter;
use crate::ports::store::cloud::driver::wait;
use crate::ports::store::cloud::failure::{checked, failure};
use crate::ports::store::cloud::prefix::CloudPrefix;
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

struct Upload {
    multipart: Box<dyn MultipartUpload>,
    in_flight: VecDeque<(usize, JoinHandle<std::result::Result<(), StoreError>>)>,
    part_count: usize,
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
        let handle = self.prefix.handle.clone();
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let started = wait(&handle, self.prefix.client.put_multipart(&self.path));
                let multipart = checked(Operation::Create, &self.described, started)?;
                none.insert(Upload {
                    multipart,
                    in_flight: VecDeque::new(),
                    part_count: 0,
                })
            }
        };
        if upload.part_count >= PART_COUNT_MAX {
            let text = "a store takes 10,000 parts of an object, 492 GiB: make segments shorter";
            let cause = io::Error::new(io::ErrorKind::FileTooLarge, text);
            return Err(Error::io(Operation::Write, self.described.clone(), cause));
        }
        let len = data.len();
        let on_their_way = |upload: &Upload| -> usize {
            let lengths = upload.in_flight.iter().map(|(len, _)| *len);
            lengths.fold(len, usize::saturating_add)
        };
        while !upload.in_flight.is_empty() && on_their_way(upload) > IN_FLIGHT_MAX {
            settle(&handle, &self.described, upload)?;
        }
        let part = upload
            .multipart
            .put_part(PutPayload::from_bytes(Bytes::from(data)));
        upload.in_flight.push_back((len, handle.spawn(part)));
        upload.part_count = upload.part_count.saturating_add(1);
        Ok(())
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
        let mut settled = Ok(());
        while settled.is_ok() && !upload.in_flight.is_empty() {
            settled = settle(&handle, &self.described, upload);
        }
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
        let completed = wait(&handle, upload.multipart.complete());
        if let Err(error) = completed {
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

/// Waits for the part that was sent first.
fn settle(handle: &tokio::runtime::Handle, described: &str, upload: &mut Upload) -> Result<()> {
    let Some((_, part)) = upload.in_flight.pop_front() else {
        return Ok(());
    };
    match wait(handle, part) {
        Ok(sent) => checked(Operation::Write, described, sent),
        Err(error) => Err(Error::io(
            Operation::Write,
            described,
            io::Error::other(error),
        )),
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
}

impl Drop for CloudWriter {
    fn drop(&mut self) {
        self.prefix.unfinished.end(&self.name, self.writer);
        let Some(mut upload) = self.upload.take() else {
            return;
        };
        let handle = self.prefix.handle.clone();
        for (_, part) in upload.in_flight.drain(..) {
            part.abort();
            let _ = wait(&handle, part);
        }
        if let Err(error) = wait(&handle, upload.multipart.abort()) {
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
