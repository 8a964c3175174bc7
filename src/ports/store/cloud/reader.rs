//! Objects that are read by ranges.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Handle;

use crate::ports::store::ObjectReader;
use crate::ports::store::cloud::driver::wait;
use crate::ports::store::cloud::failure::{checked, failure, lacks_range};
use crate::ports::store::cloud::prefix::CloudPrefix;
use crate::ports::store::range::{check_range, read_error};
use crate::words::error::{Error, Operation, Result};
use crate::words::units::to_u64;

/// What is read when an object is opened. That tells its size in the same request, and of
/// a small object nothing more needs to be read.
const BEGINNING_LEN: u64 = 64 << 10;

/// What is read at a time from an object that is read from front to back.
const AHEAD_LEN: u64 = 4 << 20;

/// An object as it was when it was opened. If another one takes its place, reads beyond
/// the beginning fail.
pub(super) struct CloudObject {
    store: Arc<dyn ObjectStore>,
    handle: Handle,
    path: Path,
    described: String,
    size: u64,
    /// What tells this version from others, if the store says it.
    e_tag: Option<String>,
    beginning: Bytes,
    ahead: Mutex<Ahead>,
}

/// What was read ahead. Threads that read one object side by side share it: while one of
/// them fetches, the others wait for what they need, too.
#[derive(Default)]
struct Ahead {
    start: u64,
    bytes: Bytes,
    /// Where the last read ended.
    next: u64,
}

impl Ahead {
    fn get(&self, range: &Range<u64>) -> Option<&[u8]> {
        let start = usize::try_from(range.start.checked_sub(self.start)?).ok()?;
        let len = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        self.bytes.get(start..)?.get(..len)
    }
}

impl CloudObject {
    pub(super) fn open(prefix: &CloudPrefix, name: &str) -> Result<Self> {
        let (path, described) = (prefix.path(name), prefix.described(name));
        let client = Arc::clone(&prefix.client);
        let options = GetOptions {
            range: Some(GetRange::Bounded(0..BEGINNING_LEN)),
            ..GetOptions::default()
        };
        let begun = wait(&prefix.handle, async {
            let found = client.get_opts(&path, options).await?;
            Ok::<_, StoreError>((found.meta.clone(), found.bytes().await?))
        });
        let (meta, beginning) = match begun {
            Ok(begun) => begun,
            Err(error) if lacks_range(&error) => {
                let meta = wait(&prefix.handle, client.head(&path));
                (checked(Operation::Open, &described, meta)?, Bytes::new())
            }
            Err(error) => return Err(failure(Operation::Open, &described, &error)),
        };
        if to_u64(beginning.len()) != meta.size.min(BEGINNING_LEN) {
            let cause = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} bytes came of {}", beginning.len(), meta.size),
            );
            return Err(Error::io(Operation::Open, described, cause));
        }
        Ok(Self {
            store: client,
            handle: prefix.handle.clone(),
            path,
            described,
            size: meta.size,
            e_tag: meta.e_tag,
            beginning,
            ahead: Mutex::default(),
        })
    }

    /// Reads a range in one request.
    fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let (offset, len) = (range.start, range.end.saturating_sub(range.start));
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        let read = wait(&self.handle, async {
            let found = self.store.get_opts(&self.path, options).await?;
            found.bytes().await
        });
        let bytes = checked(Operation::Read, &self.described, read)?;
        if to_u64(bytes.len()) != len {
            let cause = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{} bytes came for {len}", bytes.len()),
            );
            return Err(read_error(&self.described, offset, cause));
        }
        Ok(bytes)
    }
}

impl ObjectReader for CloudObject {
    fn describe(&self) -> &str {
        &self.described
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = check_range(&self.described, self.size, offset, buffer.len())?;
        if buffer.is_empty() {
            return Ok(());
        }
        let start = usize::try_from(range.start).unwrap_or(usize::MAX);
        if let Some(known) = self
            .beginning
            .get(start..)
            .and_then(|from| from.get(..buffer.len()))
        {
            buffer.copy_from_slice(known);
            return Ok(());
        }
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ahead.get(&range) {
            buffer.copy_from_slice(known);
            ahead.next = range.end;
            return Ok(());
        }
        // A read that starts where the last one ended is likely to be followed by more: read
        // ahead. Any other skips what is not needed, such as values: read no more than asked.
        if range.start != ahead.next {
            ahead.next = range.end;
            drop(ahead);
            buffer.copy_from_slice(&self.fetch(range)?);
            return Ok(());
        }
        let end = range
            .end
            .max(range.start.saturating_add(AHEAD_LEN))
            .min(self.size);
        let bytes = self.fetch(range.start..end)?;
        buffer.copy_from_slice(bytes.get(..buffer.len()).unwrap_or_default());
        ahead.next = range.end;
        (ahead.start, ahead.bytes) = (range.start, bytes);
        Ok(())
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        None
    }
}

impl fmt::Debug for CloudObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudObject")
            .field("described", &self.described)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
