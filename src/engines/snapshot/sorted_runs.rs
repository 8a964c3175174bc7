//! Sorts the hashes of many keys in little memory: those of each segment by themselves,
//! and then all by merging.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use crate::ports::store::{Extent, ScratchFile};
use crate::words::error::Result;

/// A hash and a number, which sort by their bytes.
pub(super) type HashedNumber = [u8; ENTRY_LEN];

const ENTRY_LEN: usize = 20;

/// Bytes that a merge holds of all runs together.
const MERGE_LEN: usize = 4 << 20;

/// Joins a hash and a number.
pub(super) fn join(hash: u128, number: u32) -> HashedNumber {
    let mut entry = [0; ENTRY_LEN];
    let bytes = hash.to_be_bytes().into_iter().chain(number.to_be_bytes());
    for (slot, byte) in entry.iter_mut().zip(bytes) {
        *slot = byte;
    }
    entry
}

/// Takes a hash and a number apart.
pub(super) fn split(entry: &HashedNumber) -> (u128, u32) {
    let (hash, number) = entry.split_at(16);
    let number = u32::try_from(number_of(number)).unwrap_or(u32::MAX);
    (number_of(hash), number)
}

/// Joins a number and a hash, to sort by number.
pub(super) fn join_by_number(number: u32, hash: u128) -> HashedNumber {
    let mut entry = [0; ENTRY_LEN];
    let bytes = number.to_be_bytes().into_iter().chain(hash.to_be_bytes());
    for (slot, byte) in entry.iter_mut().zip(bytes) {
        *slot = byte;
    }
    entry
}

/// Takes a number and a hash apart.
pub(super) fn split_by_number(entry: &HashedNumber) -> (u32, u128) {
    let (number, hash) = entry.split_at(4);
    let number = u32::try_from(number_of(number)).unwrap_or(u32::MAX);
    (number, number_of(hash))
}

fn number_of(bytes: &[u8]) -> u128 {
    let add = |sum: u128, &byte: &u8| sum << 8 | u128::from(byte);
    bytes.iter().fold(0, add)
}

/// Sorted runs of hashes.
///
/// # Memory
///
/// The bytes that were allowed; and while the runs are merged, 4 MiB, or 320 bytes for each
/// run if that is more.
#[derive(Debug)]
pub(super) struct SortedRuns {
    directory: PathBuf,
    /// Bytes that may still be held in memory.
    memory_left: usize,
    scratch: Option<ScratchFile>,
    /// The last extent that was written.
    end: Extent,
    runs: Vec<Run>,
    len: u64,
}

#[derive(Debug)]
enum Run {
    Held(Vec<HashedNumber>),
    Written(Extent, usize),
}

impl SortedRuns {
    /// Starts without runs. What does not fit in so many bytes of memory goes into a
    /// nameless file in the directory.
    pub(super) fn new(directory: PathBuf, memory_max: usize) -> Self {
        Self {
            directory,
            memory_left: memory_max,
            scratch: None,
            end: Extent::default(),
            runs: Vec::new(),
            len: 0,
        }
    }

    /// Returns how many hashes there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds a run, and sorts it.
    ///
    /// # Errors
    ///
    /// - `Io`: the scratch file cannot be written.
    pub(super) fn push(&mut self, mut run: Vec<HashedNumber>) -> Result<()> {
        run.sort_unstable();
        self.len = self
            .len
            .saturating_add(crate::words::units::to_u64(run.len()));
        let len = run.len().saturating_mul(ENTRY_LEN);
        if len <= self.memory_left {
            self.memory_left = self.memory_left.saturating_sub(len);
            run.shrink_to_fit();
            self.runs.push(Run::Held(run));
            return Ok(());
        }
        let scratch = match &mut self.scratch {
            Some(scratch) => scratch,
            empty => empty.insert(ScratchFile::create(&self.directory)?),
        };
        let bytes = run.as_flattened();
        self.end = self.end.next(bytes.len());
        scratch.write(self.end, bytes)?;
        self.runs.push(Run::Written(self.end, bytes.len()));
        Ok(())
    }

    /// Starts to visit all hashes in order.
    ///
    /// # Errors
    ///
    /// - `Io`: the scratch file cannot be read.
    pub(super) fn merge(&self) -> Result<Merge<'_>> {
        let chunk = MERGE_LEN
            .checked_div(self.runs.len())
            .unwrap_or(MERGE_LEN)
            .clamp(16 * ENTRY_LEN, 64 << 10);
        let mut merge = Merge {
            scratch: self.scratch.as_ref(),
            heap: BinaryHeap::new(),
            cursors: Vec::new(),
            chunk_len: chunk / ENTRY_LEN * ENTRY_LEN,
        };
        for run in &self.runs {
            let cursor = match run {
                Run::Held(run) => Cursor::Held(run),
                Run::Written(extent, len) => Cursor::Written {
                    extent: *extent,
                    len: *len,
                    read: 0,
                    chunk: Vec::new(),
                    at: 0,
                },
            };
            merge.cursors.push(cursor);
            merge.refill(merge.cursors.len().saturating_sub(1))?;
        }
        Ok(merge)
    }
}

/// Visits the hashes of several runs in order.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    scratch: Option<&'a ScratchFile>,
    heap: BinaryHeap<Reverse<(HashedNumber, usize)>>,
    cursors: Vec<Cursor<'a>>,
    chunk_len: usize,
}

#[derive(Debug)]
enum Cursor<'a> {
    Held(&'a [HashedNumber]),
    Written {
        extent: Extent,
        len: usize,
        /// Bytes of the run that were read.
        read: usize,
        chunk: Vec<u8>,
        /// Bytes of the chunk that were taken.
        at: usize,
    },
}

impl Merge<'_> {
    /// Returns the next hash with its number; `None` at the end.
    ///
    /// # Errors
    ///
    /// - `Io`: the scratch file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<HashedNumber>> {
        let Some(Reverse((entry, run))) = self.heap.pop() else {
            return Ok(None);
        };
        self.refill(run)?;
        Ok(Some(entry))
    }

    /// Puts the next hash of a run on the heap, if there is one.
    fn refill(&mut self, run: usize) -> Result<()> {
        let next = match self.cursors.get_mut(run) {
            Some(Cursor::Held(rest)) => rest.split_first().map(|(first, others)| {
                *rest = others;
                *first
            }),
            Some(Cursor::Written {
                extent,
                len,
                read,
                chunk,
                at,
            }) => {
                if *at == chunk.len() && *read < *len {
                    let wanted = self.chunk_len.min(len.saturating_sub(*read));
                    if let Some(scratch) = self.scratch {
                        *chunk = scratch.read(extent.part(*read, wanted))?;
                    }
                    *read = read.saturating_add(wanted);
                    *at = 0;
                }
                let rest = chunk.get(*at..).unwrap_or_default();
                *at = at.saturating_add(ENTRY_LEN).min(chunk.len());
                rest.first_chunk::<ENTRY_LEN>().copied()
            }
            None => None,
        };
        if let Some(next) = next {
            self.heap.push(Reverse((next, run)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_in_memory_and_on_disk_come_out_in_order() {
        let hash = |number: u32| {
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        };
        for memory in [0, 1 << 14, 1 << 30] {
            let mut runs = SortedRuns::new(std::env::temp_dir(), memory);
            let mut all = Vec::new();
            for run in 0..40_u32 {
                let entries: Vec<HashedNumber> = (0..run * 7)
                    .map(|entry| join(hash(run << 16 | entry), run))
                    .collect();
                all.extend_from_slice(&entries);
                runs.push(entries).unwrap();
            }
            all.sort_unstable();
            assert_eq!(runs.len(), u64::try_from(all.len()).unwrap());
            for _ in 0..2 {
                let mut merge = runs.merge().unwrap();
                for wanted in &all {
                    assert_eq!(merge.next().unwrap(), Some(*wanted), "{memory}");
                }
                assert_eq!(merge.next().unwrap(), None);
            }
        }
        let entry = join(u128::MAX - 5, 77);
        assert_eq!(split(&entry), (u128::MAX - 5, 77));
        assert!(join(1, u32::MAX) < join(2, 0));
        let entry = join_by_number(77, u128::MAX - 5);
        assert_eq!(split_by_number(&entry), (77, u128::MAX - 5));
        assert!(join_by_number(1, u128::MAX) < join_by_number(2, 0));
    }
}
