//! Objects that are read by ranges.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt as _,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::ports::store::cloud::driver::wait;
use crate::ports::store::cloud::failure::{checked, failure, lacks_range};
use crate::ports::store::cloud::piece::{Piece, PieceBuilder, Spares};
use crate::ports::store::cloud::prefix::CloudPrefix;
use crate::ports::store::range::{check_range, read_error};
use crate::ports::store::{ObjectReader, RangeBytes};
use crate::words::error::{Error, Operation, Result};

/// What is read when an object is opened, unless the caller says what it will need. That
/// tells its size in the same request, and of a small object nothing more needs to be read.
const BEGINNING_LEN: u64 = 64 << 10;

/// What is read at a time from an object that is read from front to back.
const AHEAD_LEN: u64 = 4 << 20;

/// Requests for what comes next that are on their way.
const AHEAD_COUNT: usize = 2;
/// Pieces that were read ahead and are kept.
const PIECES_KEPT: usize = 2;

/// Bytes that are held of an object that is read from front to back: what is kept and what is
/// on its way, also of the next object that is opened in time, and a spare buffer.
pub(super) const READING_MEMORY: u64 = (PIECES_KEPT + 2 * AHEAD_COUNT + 2) as u64 * AHEAD_LEN;

/// What is read at least: it takes no longer than less.
const SHORTEST: u64 = 16 << 10;

/// Ranges no further apart are read together: even where 10 MB come in a second, another
/// request takes as long as the bytes between.
const GAP_MAX: u64 = 256 << 10;
/// Bytes of a request for several ranges, unless one of them is longer.
const TOGETHER_MAX: u64 = 4 << 20;
/// Requests for ranges that are on their way side by side.
const SIDE_BY_SIDE: usize = 8;

/// An object as it was when it was opened. If another one takes its place, reads beyond
/// what was read then fail.
pub(super) struct CloudObject {
    store: Arc<dyn ObjectStore>,
    handle: Handle,
    path: Path,
    described: String,
    size: u64,
    /// What tells this version from others, if the store says it.
    e_tag: Option<String>,
    /// What was read when it was opened.
    first: Piece,
    ahead: Mutex<Ahead>,
    spares: Arc<Spares>,
}

/// What was read ahead. Threads that read one object side by side share it: while one of
/// them fetches, the others wait for what they need, too.
#[derive(Default)]
struct Ahead {
    /// What was read, each where the one before ends. Of threads that read one range after
    /// the other, one is often late, so that more is kept than the last.
    pieces: VecDeque<Piece>,
    /// What comes after it, on its way.
    coming: VecDeque<(Range<u64>, JoinHandle<Result<Piece>>)>,
    /// What was read last anywhere else.
    aside: Option<Piece>,
    /// Where the last read ended; `None` before the first.
    next: Option<u64>,
}

impl Ahead {
    /// Returns the bytes of a range if all of them are there.
    fn find(&self, range: &Range<u64>) -> Option<RangeBytes<'static>> {
        let mut pieces = self.aside.iter().chain(&self.pieces);
        if let Some(piece) = pieces.find(|piece| piece.has(range)) {
            return Some(piece.share(range));
        }
        if !self.spans(range) {
            return None;
        }
        let parts: Vec<&[u8]> = self.pieces.iter().map(|piece| piece.get(range)).collect();
        Some(RangeBytes::Own(parts.concat()))
    }

    /// Returns where the next piece that is on its way begins.
    fn coming_start(&self) -> u64 {
        self.coming.front().map_or(0, |(range, _)| range.start)
    }

    fn start(&self) -> u64 {
        let first = self.pieces.front();
        first.map_or_else(|| self.coming_start(), Piece::start)
    }

    fn end(&self) -> u64 {
        let last = self.pieces.back();
        last.map_or_else(|| self.coming_start(), Piece::end)
    }

    fn spans(&self, range: &Range<u64>) -> bool {
        self.start() <= range.start && range.end <= self.end()
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.coming.is_empty()
    }

    /// Reports whether a range begins in what is there, or in what comes next.
    fn reaches(&self, range: &Range<u64>) -> bool {
        let coming = self.coming.front();
        let end = coming.map_or_else(|| self.end(), |(coming, _)| coming.end);
        !self.is_empty() && self.start() <= range.start && range.start <= end
    }

    /// Reports whether a range is one of those that are read one after the other, and not
    /// somewhere else.
    fn is_next(&self, range: &Range<u64>) -> bool {
        Some(range.start) == self.next || self.reaches(range)
    }

    fn forget(&mut self) {
        self.pieces.clear();
        for (_, task) in self.coming.drain(..) {
            task.abort();
        }
    }

    /// Adds what was read, and drops what nobody is likely to need any more.
    fn push(&mut self, piece: Piece) {
        self.pieces.push_back(piece);
        while self.pieces.len() > PIECES_KEPT {
            self.pieces.pop_front();
        }
    }
}

/// Puts ranges together that are near each other; each group is one request.
fn near_each_other(ranges: &[Range<u64>]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|index| ranges.get(*index).map(|range| range.start));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut span = 0..0;
    for index in order {
        let Some(range) = ranges.get(index) else {
            continue;
        };
        let end = range.end.max(span.end);
        let is_near = range.start <= span.end.saturating_add(GAP_MAX)
            && end.saturating_sub(span.start) <= TOGETHER_MAX;
        match groups.last_mut() {
            Some(group) if is_near => {
                group.push(index);
                span.end = end;
            }
            Some(_) | None => {
                groups.push(vec![index]);
                span = range.clone();
            }
        }
    }
    groups
}

/// Returns where what is read ahead from `start` on ends. Stores keep an object in pieces
/// whose length is a multiple of this one or divides it; a range within one piece is less
/// work for them.
fn piece_end(start: u64) -> u64 {
    let number = start / AHEAD_LEN;
    number.saturating_add(1).saturating_mul(AHEAD_LEN)
}

impl CloudObject {
    /// Opens an object and reads this range of it.
    pub(super) fn open(
        prefix: &CloudPrefix,
        name: &str,
        wanted: Option<Range<u64>>,
    ) -> Result<Self> {
        let (path, described) = (prefix.path(name), prefix.described(name));
        let client = Arc::clone(&prefix.client);
        let wanted = wanted.filter(|range| range.start < range.end);
        let wanted = wanted.unwrap_or(0..BEGINNING_LEN);
        let start = wanted.start;
        let len = usize::try_from(wanted.end.saturating_sub(start)).unwrap_or(usize::MAX);
        let options = GetOptions {
            range: Some(GetRange::Bounded(wanted.clone())),
            ..GetOptions::default()
        };
        let begun = wait(&prefix.handle, async {
            let found = client.get_opts(&path, options).await?;
            let piece = PieceBuilder::new(start, len, &prefix.spares);
            Ok::<_, StoreError>((found.meta.clone(), collect(found, piece).await?))
        });
        let (meta, first) = match begun {
            Ok(begun) => begun,
            // The object is empty, or shorter than the caller believes.
            Err(error) if lacks_range(&error) => {
                let meta = wait(&prefix.handle, client.head(&path));
                (
                    checked(Operation::Open, &described, meta)?,
                    PieceBuilder::new(start, 0, &prefix.spares).build(),
                )
            }
            Err(error) => return Err(failure(Operation::Open, &described, &error)),
        };
        let expected = wanted.end.min(meta.size).saturating_sub(start);
        let came = first.end().saturating_sub(start);
        if came != expected {
            let cause = io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{came} bytes came of {expected}"),
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
            first,
            ahead: Mutex::default(),
            spares: Arc::clone(&prefix.spares),
        })
    }

    /// Asks for a range in one request.
    fn ask(&self, range: Range<u64>) -> impl Future<Output = Result<Piece>> + Send + use<> {
        let (offset, len) = (range.start, range.end.saturating_sub(range.start));
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        let (described, spares) = (self.described.clone(), Arc::clone(&self.spares));
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        async move {
            let read = async {
                let found = store.get_opts(&path, options).await?;
                let wanted = usize::try_from(len).unwrap_or(usize::MAX);
                collect(found, PieceBuilder::new(offset, wanted, &spares)).await
            };
            let piece = checked(Operation::Read, &described, read.await)?;
            let came = piece.end().saturating_sub(offset);
            if came != len {
                let cause = io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("{came} bytes came for {len}"),
                );
                return Err(read_error(&described, offset, cause));
            }
            Ok(piece)
        }
    }

    fn fetch(&self, range: Range<u64>) -> Result<Piece> {
        wait(&self.handle, self.ask(range))
    }

    /// Reads on until all of a range is there, and asks for what comes after it.
    fn read_on(&self, ahead: &mut Ahead, range: &Range<u64>) -> Result<()> {
        if !ahead.reaches(range) {
            ahead.forget();
        }
        while !ahead.spans(range) {
            let piece = match ahead.coming.pop_front() {
                Some((coming, task)) => {
                    let joined = wait(&self.handle, task);
                    let read = joined.map_err(|error| {
                        read_error(&self.described, coming.start, io::Error::other(error))
                    });
                    match read.and_then(|read| read) {
                        Ok(piece) => piece,
                        Err(error) => {
                            ahead.forget();
                            return Err(error);
                        }
                    }
                }
                None => {
                    let is_first = ahead.pieces.is_empty();
                    let start = if is_first { range.start } else { ahead.end() };
                    let end = piece_end(start).max(range.end);
                    self.fetch(start..end.min(self.size))?
                }
            };
            ahead.push(piece);
            // A range that is longer than what is kept.
            if ahead.start() > range.start {
                ahead.forget();
                ahead.push(self.fetch(range.clone())?);
            }
        }
        let end = ahead.end();
        self.ask_ahead(ahead, end);
        Ok(())
    }

    /// Asks for what comes after what is on its way, or from `start` on if nothing is.
    fn ask_ahead(&self, ahead: &mut Ahead, start: u64) {
        let last = ahead.coming.back().map(|(coming, _)| coming.end);
        let mut start = last.unwrap_or(start);
        while ahead.coming.len() < AHEAD_COUNT && start < self.size {
            let end = piece_end(start).min(self.size);
            let task = self.handle.spawn(self.ask(start..end));
            ahead.coming.push_back((start..end, task));
            start = end;
        }
    }
}

/// Reads the body of an answer into a piece, and no further than that.
async fn collect(
    found: GetResult,
    mut piece: PieceBuilder,
) -> std::result::Result<Piece, StoreError> {
    piece.expect(found.range.end.saturating_sub(found.range.start));
    let mut chunks = found.into_stream();
    while let Some(chunk) = chunks.try_next().await? {
        if !piece.push(&chunk) {
            break;
        }
    }
    Ok(piece.build())
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.forget();
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
        buffer.copy_from_slice(&self.read(range)?);
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<RangeBytes<'_>> {
        let len = range.end.saturating_sub(range.start);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let range = check_range(&self.described, self.size, range.start, len)?;
        if range.is_empty() {
            return Ok(RangeBytes::default());
        }
        if self.first.has(&range) {
            return Ok(self.first.share(&range));
        }
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = ahead.find(&range) {
            ahead.next = ahead.next.max(Some(range.end));
            return Ok(found);
        }
        // A read that starts where the last one ended is likely to be followed by more: read
        // ahead. Any other skips what is not needed, such as values: read no more than asked.
        let is_next = ahead.is_next(&range);
        ahead.next = Some(range.end);
        if !is_next {
            drop(ahead);
            let end = range.end.max(range.start.saturating_add(SHORTEST));
            let piece = self.fetch(range.start..end.min(self.size))?;
            let found = piece.share(&range);
            let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            ahead.aside = Some(piece);
            return Ok(found);
        }
        self.read_on(&mut ahead, &range)?;
        if let Some(found) = ahead.find(&range) {
            return Ok(found);
        }
        drop(ahead);
        Ok(self.fetch(range.clone())?.share(&range))
    }

    fn read_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<RangeBytes<'_>>> {
        let mut missing = Vec::new();
        for range in ranges {
            let len = range.end.saturating_sub(range.start);
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            check_range(&self.described, self.size, range.start, len)?;
            if !self.first.has(range) {
                missing.push(range.clone());
            }
        }
        let asked = near_each_other(&missing).into_iter().map(|group| {
            let own: Vec<Range<u64>> = group
                .iter()
                .filter_map(|index| missing.get(*index).cloned())
                .collect();
            let start = own.iter().map(|range| range.start).min().unwrap_or(0);
            let end = own.iter().map(|range| range.end).max().unwrap_or(0);
            let whole = self.ask(start..end);
            async move {
                let piece = whole.await?;
                // Copies, so that what lies between is not kept.
                let parts = own.iter().map(|range| piece.get(range).to_vec());
                let parts: Vec<Vec<u8>> = parts.collect();
                Ok::<_, Error>(group.into_iter().zip(parts).collect::<Vec<_>>())
            }
        });
        let groups: Vec<Vec<(usize, Vec<u8>)>> = wait(
            &self.handle,
            stream::iter(asked)
                .buffer_unordered(SIDE_BY_SIDE)
                .try_collect(),
        )?;
        let mut found: BTreeMap<usize, Vec<u8>> = groups.into_iter().flatten().collect();
        let mut numbers = 0..missing.len();
        let read = ranges.iter().map(|range| {
            if self.first.has(range) {
                return self.first.share(range);
            }
            let bytes = numbers.next().and_then(|number| found.remove(&number));
            RangeBytes::Own(bytes.unwrap_or_default())
        });
        Ok(read.collect())
    }

    fn expect_reads_from(&self, offset: u64) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        // Where reads are under way, they tell best what is next.
        if ahead.is_empty() {
            ahead.next = Some(offset);
            self.ask_ahead(&mut ahead, offset);
        }
    }

    fn forget_ahead(&self) {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.forget();
        ahead.aside = None;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::units::to_u64;

    #[test]
    fn ranges_that_are_near_are_one_request() {
        let gap = GAP_MAX;
        let ranges = [
            2 * gap + 20..2 * gap + 30,
            0..10,
            gap + 10..gap + 20,
            9 * gap..9 * gap + TOGETHER_MAX,
            5..6,
        ];
        let groups = near_each_other(&ranges);
        assert_eq!(groups, [vec![1, 4, 2, 0], vec![3]]);
        // A request has a bound, whatever is near.
        let many: Vec<Range<u64>> = (0..100).map(|at| at * gap..at * gap + 1).collect();
        let groups = near_each_other(&many);
        assert!(groups.len() > 2, "{groups:?}");
        assert_eq!(groups.concat(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_is_read_in_whatever_order_is_what_was_written() {
        use std::sync::Arc;

        use object_store::memory::InMemory;

        use crate::ports::store::{CloudStore, Store as _};

        let bytes: Vec<u8> = (0..25_000_003_u32)
            .map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let store = CloudStore::with_client(Arc::new(InMemory::new()), "s3://bucket").unwrap();
        let mut writer = store.create("a").unwrap();
        writer.write(&bytes).unwrap();
        writer.finish().unwrap();
        let size = bytes.len();
        let check = |object: &dyn ObjectReader, from: usize, len: usize| {
            let len = len.min(size - from);
            let mut buffer = vec![0; len];
            object.read_at(to_u64(from), &mut buffer).unwrap();
            assert!(buffer == bytes[from..from + len], "{len} bytes from {from}");
        };
        // One after the other, short and long, and longer than what is read ahead.
        for len in [99_991, 300_007, 4 << 20, 9 << 20] {
            let object = store.open("a").unwrap();
            (0..size)
                .step_by(len)
                .for_each(|from| check(&*object, from, len));
        }
        // Every second one late, as threads do it, and some somewhere else.
        let object = store.open_at("a", 1000..2000).unwrap();
        let starts: Vec<usize> = (0..size).step_by(200_003).collect();
        for pair in starts.chunks(2) {
            for &from in pair.iter().rev() {
                check(&*object, from, 200_003);
            }
            check(&*object, size - pair[0] - 1, 10);
        }
        let ranges: [Range<usize>; 4] =
            [0..10, 24_000_000..24_000_100, 50..70, 1_000_000..9_000_000];
        let asked = ranges
            .clone()
            .map(|range| to_u64(range.start)..to_u64(range.end));
        let read = object.read_ranges(&asked).unwrap();
        for (range, read) in ranges.into_iter().zip(read) {
            assert!(*read == bytes[range]);
        }
        // After it was said where reads will begin: there, a little later, elsewhere.
        for (expected, from) in [(0, 0), (7, 7), (7, 300_007), (5 << 20, 3), (size - 1, 0)] {
            let object = store.open("a").unwrap();
            object.expect_reads_from(to_u64(expected));
            let starts = (from..size).step_by(300_007);
            starts.for_each(|from| check(&*object, from, 300_007));
            // What comes back after that is read anew.
            object.forget_ahead();
            check(&*object, from, 300_007);
            object.expect_reads_from(to_u64(expected));
            check(&*object, from, 300_007);
        }
        let beyond = to_u64(size)..to_u64(size) + 1;
        assert!(object.read_at(beyond.start - 1, &mut [0; 2]).is_err());
        assert!(object.read_ranges(std::slice::from_ref(&beyond)).is_err());
    }
}
