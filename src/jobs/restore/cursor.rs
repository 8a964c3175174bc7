//! The blocks of a snapshot, one after the other, for many threads.

use std::sync::{Arc, Mutex, PoisonError};

use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::{SegmentReader, SnapshotReader};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::finding::Finding;
use crate::words::location::Location;

/// One block to read.
#[derive(Debug)]
pub(super) struct BlockTask {
    pub(super) segment: Arc<SegmentReader>,
    pub(super) block: usize,
    /// The node it came from, by its number in the manifest.
    pub(super) source_index: usize,
    /// Seconds that were added to a time of its server to get the dumping host's.
    pub(super) clock_offset: i64,
}

/// What could not be read, and how many records were in it.
#[derive(Debug, Default)]
pub(super) struct Damage {
    pub(super) records: u64,
    pub(super) findings: Vec<Finding>,
}

impl Damage {
    /// Findings kept; the count of records goes on.
    const FINDING_COUNT_MAX: usize = 1000;

    /// Adds a finding for an error of bytes; any other error is the job's end.
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

/// Hands out the blocks; one segment is open at a time, and those that threads
/// still read.
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
    /// Hands out the blocks of these segments, in their order.
    pub(super) fn new(snapshot: &'a SnapshotReader, segments: &'a [ManifestSegment]) -> Self {
        Self {
            snapshot,
            segments,
            state: Mutex::default(),
        }
    }

    /// Returns the next block; a segment that cannot be opened is noted, and
    /// passed over.
    ///
    /// # Errors
    ///
    /// - `Io`, `Unsupported`.
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
                        clock_offset: self.clock_offset(&reader, source_index),
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

    /// Returns the clock offset of a segment's own dump, which that of the manifest
    /// need not be where the dump was resumed; that one where the segment does not
    /// tell. A restart file has times of its server's host, which have none.
    fn clock_offset(&self, segment: &SegmentReader, source_index: usize) -> i64 {
        const OF_HOST: &str = "warm-file";
        let node = self.snapshot.manifest().nodes.get(source_index);
        if node.is_some_and(|node| node.walk == OF_HOST) {
            return 0;
        }
        let own = segment.read_meta().ok();
        let own = own.and_then(|meta| meta.clock_offset.parse().ok());
        let of_node = || node.and_then(|node| node.clock_offset.parse().ok());
        own.or_else(of_node).unwrap_or(0)
    }
}
