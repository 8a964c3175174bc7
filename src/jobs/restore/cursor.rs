//! Hands out the blocks of a snapshot in order, to many threads.

use std::sync::{Arc, Mutex, PoisonError};

use crate::codecs::format::manifest::{ManifestSegment, Need};
use crate::engines::snapshot::{SegmentReader, SnapshotReader};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::finding::Finding;
use crate::words::location::Location;

/// One block to read.
#[derive(Debug)]
pub(super) struct BlockTask {
    pub(super) segment: Arc<SegmentReader>,
    pub(super) block: usize,
    /// The node that the block came from, by its index in the manifest.
    pub(super) source_index: usize,
    /// Seconds that were added to its server's times to get the dumping host's.
    pub(super) clock_offset: i64,
}

/// What could not be read, and how many records that was.
#[derive(Debug, Default)]
pub(super) struct Damage {
    pub(super) records: u64,
    pub(super) findings: Vec<Finding>,
}

impl Damage {
    /// The most findings that are kept; the records of further ones are still counted.
    const FINDING_COUNT_MAX: usize = 1000;

    /// Records a finding for damaged data; any other error ends the job.
    pub(super) fn add(&mut self, error: Error, place: Location, records: u64) -> Result<()> {
        let ErrorKind::Corrupt(defect) = error.kind() else {
            return Err(error);
        };
        self.records = self.records.saturating_add(records);
        if self.findings.len() < Self::FINDING_COUNT_MAX {
            let location = error.location().cloned().unwrap_or(place);
            self.findings.push(Finding::new(location, defect.clone()));
        }
        Ok(())
    }
}

/// Hands out the blocks. One segment is open at a time, plus those that threads still
/// read.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    snapshot: &'a SnapshotReader,
    segments: &'a [ManifestSegment],
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next_segment: usize,
    open: Option<OpenSegment>,
    next_block: usize,
}

#[derive(Debug)]
struct OpenSegment {
    reader: Arc<SegmentReader>,
    source_index: usize,
    clock_offset: i64,
}

impl<'a> Cursor<'a> {
    /// Creates a cursor over these segments, in their order.
    pub(super) fn new(snapshot: &'a SnapshotReader, segments: &'a [ManifestSegment]) -> Self {
        Self {
            snapshot,
            segments,
            state: Mutex::default(),
        }
    }

    /// Returns the next block. A segment that cannot be opened is recorded and skipped.
    ///
    /// # Errors
    ///
    /// - `Io`, `Newer`.
    pub(super) fn next(&self, damage: &Mutex<Damage>) -> Result<Option<BlockTask>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(open) = &state.open
                && state.next_block < open.reader.block_count()
            {
                let task = BlockTask {
                    segment: Arc::clone(&open.reader),
                    block: state.next_block,
                    source_index: open.source_index,
                    clock_offset: open.clock_offset,
                };
                state.next_block = state.next_block.saturating_add(1);
                return Ok(Some(task));
            }
            state.open = None;
            let Some(named) = self.segments.get(state.next_segment) else {
                return Ok(None);
            };
            state.next_segment = state.next_segment.saturating_add(1);
            state.next_block = 0;
            match self.snapshot.open_segment(named) {
                Ok(reader) => {
                    let source_index = usize::try_from(named.node_index).unwrap_or(usize::MAX);
                    state.open = Some(OpenSegment {
                        source_index,
                        clock_offset: self.clock_offset(&reader, source_index)?,
                        reader: Arc::new(reader),
                    });
                }
                Err(error) => {
                    let place = Location::object(self.snapshot.segment_place(named));
                    let mut damage = damage.lock().unwrap_or_else(PoisonError::into_inner);
                    damage.add(error, place, named.records)?;
                }
            }
        }
    }

    /// Returns the clock offset when the segment was dumped, or the manifest's if the
    /// segment does not record it. The two may differ if the dump was resumed. A restart
    /// file's times are those of its server's host, and have no offset.
    ///
    /// # Errors
    ///
    /// - `Newer`: the segment needs a feature that this build does not know.
    fn clock_offset(&self, segment: &SegmentReader, source_index: usize) -> Result<i64> {
        const OF_HOST: &str = "warm-file";
        let node = self.snapshot.manifest().nodes.get(source_index);
        let own = match segment.read_meta(Need::Restore) {
            Ok(meta) => meta.clock_offset.parse().ok(),
            Err(error) if error.is_newer() => return Err(error),
            Err(_) => None,
        };
        if node.is_some_and(|node| node.walk == OF_HOST) {
            return Ok(0);
        }
        let of_node = || node.and_then(|node| node.clock_offset.parse().ok());
        Ok(own.or_else(of_node).unwrap_or(0))
    }
}
