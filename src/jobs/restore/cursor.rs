//! Hands out the blocks of a snapshot in order, to many threads.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use crate::codecs::format::manifest::{ManifestSegment, Need};
use crate::engines::snapshot::{Opening, SegmentReader, SnapshotReader};
use crate::ports::threads::{Crew, Worker};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::finding::Finding;
use crate::words::location::Location;

/// A segment while its blocks are read. Values in parts keep the reader for longer.
#[derive(Debug)]
pub(super) struct ReadThrough(pub(super) Arc<SegmentReader>);

impl Deref for ReadThrough {
    type Target = SegmentReader;

    fn deref(&self) -> &SegmentReader {
        &self.0
    }
}

impl Drop for ReadThrough {
    fn drop(&mut self) {
        self.0.forget_ahead();
    }
}

/// One block to read.
#[derive(Debug)]
pub(super) struct BlockTask {
    pub(super) segment: Arc<ReadThrough>,
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

/// In which order the blocks of a snapshot are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockOrder {
    /// Segment by segment, as the manifest names them: all of one node, then all of the
    /// next.
    Plain,
    /// A block of each of so many nodes in turn, so that more than one node is written to
    /// where each has the keys of one.
    Interleaved {
        /// Nodes whose segments are open at a time, at least 1.
        nodes: usize,
    },
}

impl BlockOrder {
    /// Returns the segments in runs that are read one after the other.
    pub(super) fn runs(self, segments: &[ManifestSegment]) -> Vec<&[ManifestSegment]> {
        match self {
            Self::Plain => vec![segments],
            Self::Interleaved { .. } => {
                let of_nodes = segments.chunk_by(|one, next| one.node_index == next.node_index);
                of_nodes.collect()
            }
        }
    }

    /// Returns how many segments are open at a time, of so many runs.
    pub(super) fn open_count(self, runs: usize) -> usize {
        match self {
            Self::Plain => 1,
            Self::Interleaved { nodes } => nodes.min(runs).max(1),
        }
    }

    /// Returns the order with no more segments open at a time.
    pub(super) fn within(self, most: usize) -> Self {
        match self {
            Self::Plain => self,
            Self::Interleaved { nodes } => Self::Interleaved {
                nodes: nodes.min(most).max(1),
            },
        }
    }
}

impl Default for BlockOrder {
    fn default() -> Self {
        Self::Interleaved { nodes: 4 }
    }
}

/// Bytes of a segment that are left when the next one is opened, if the store is far away:
/// about what comes of it while that is done.
const LEFT_WHEN_NEXT_IS_OPENED: u64 = 8 << 20;

/// Hands out the blocks. As many segments are open at a time as the order says, plus those
/// that threads still read, and one that is opened while the one before it is read to its
/// end.
#[derive(Debug)]
pub(super) struct Cursor<'scope, 'env> {
    snapshot: &'env SnapshotReader,
    opening: Opening,
    /// Where segments that cannot be opened are recorded.
    damage: &'env Mutex<Damage>,
    crew: Crew<'scope, 'env>,
    open_max: usize,
    state: Mutex<State<'scope, 'env>>,
}

/// Segments that are read one after the other.
type Run<'env> = VecDeque<&'env ManifestSegment>;

#[derive(Debug, Default)]
struct State<'scope, 'env> {
    /// The runs none of whose segments has been opened.
    waiting: VecDeque<Run<'env>>,
    /// The runs whose segments are open; the next block is that of the first.
    open: VecDeque<OpenSegment<'scope, 'env>>,
}

impl<'env> State<'_, 'env> {
    /// Makes the next block one of this segment, if there is one.
    fn open_front(&mut self, opened: Option<Opened<'env>>) {
        if let Some(opened) = opened {
            self.open.push_front(OpenSegment::new(opened));
        }
    }
}

#[derive(Debug)]
struct OpenSegment<'scope, 'env> {
    opened: Opened<'env>,
    next_block: usize,
    /// What follows it, once that is being opened.
    next: Option<Worker<'scope, Result<Option<Opened<'env>>>>>,
}

/// The first segment of a run.
#[derive(Debug)]
struct Opened<'env> {
    reader: Arc<ReadThrough>,
    source_index: usize,
    clock_offset: i64,
    /// What follows it; empty once that is being opened.
    rest: Run<'env>,
}

impl<'env> OpenSegment<'_, 'env> {
    fn new(opened: Opened<'env>) -> Self {
        Self {
            opened,
            next_block: 0,
            next: None,
        }
    }

    fn next_task(&mut self) -> Option<BlockTask> {
        let Opened {
            reader,
            source_index,
            clock_offset,
            ..
        } = &self.opened;
        let block = self.next_block;
        if block >= reader.block_count() {
            return None;
        }
        self.next_block = block.saturating_add(1);
        Some(BlockTask {
            segment: Arc::clone(reader),
            block,
            source_index: *source_index,
            clock_offset: *clock_offset,
        })
    }
}

impl<'scope, 'env: 'scope> Cursor<'scope, 'env> {
    /// Creates a cursor over these segments, whose blocks are read whole or in part.
    pub(super) fn new(
        snapshot: &'env SnapshotReader,
        segments: &'env [ManifestSegment],
        order: BlockOrder,
        opening: Opening,
        damage: &'env Mutex<Damage>,
        crew: Crew<'scope, 'env>,
    ) -> Self {
        let runs = order.runs(segments);
        let open_max = order.open_count(runs.len());
        let waiting = runs.into_iter().map(|run| run.iter().collect()).collect();
        let open = VecDeque::new();
        Self {
            snapshot,
            opening,
            damage,
            crew,
            open_max,
            state: Mutex::new(State { waiting, open }),
        }
    }

    /// Returns the next block. A segment that cannot be opened is recorded and skipped.
    ///
    /// # Errors
    ///
    /// - `Io`, `Newer`.
    pub(super) fn next(&self) -> Result<Option<BlockTask>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.open.len() < self.open_max
                && let Some(run) = state.waiting.pop_front()
            {
                let opened = open_first(self.snapshot, run, self.opening, self.damage)?;
                // It is its turn.
                state.open_front(opened);
                continue;
            }
            let Some(mut segment) = state.open.pop_front() else {
                return Ok(None);
            };
            if let Some(task) = segment.next_task() {
                self.open_next_in_time(&mut segment);
                state.open.push_back(segment);
                return Ok(Some(task));
            }
            // The next segment of the run takes its place.
            let opened = match segment.next {
                Some(next) => next.join()?,
                None => {
                    let rest = segment.opened.rest;
                    open_first(self.snapshot, rest, self.opening, self.damage)?
                }
            };
            state.open_front(opened);
        }
    }

    /// Begins to open what follows a segment, if that takes long and the segment is almost
    /// read.
    fn open_next_in_time(&self, segment: &mut OpenSegment<'scope, 'env>) {
        let Opened { reader, rest, .. } = &mut segment.opened;
        let is_time =
            reader.is_far() && reader.len_from(segment.next_block) <= LEFT_WHEN_NEXT_IS_OPENED;
        if rest.is_empty() || !is_time {
            return;
        }
        let run = Arc::new(Mutex::new(Some(std::mem::take(rest))));
        let own = Arc::clone(&run);
        let Self {
            snapshot,
            opening,
            damage,
            ..
        } = *self;
        let open = move || match take(&own) {
            Some(run) => open_first(snapshot, run, opening, damage),
            None => Ok(None),
        };
        match self.crew.start_if_possible("open", open) {
            Ok(worker) => segment.next = Some(worker),
            // It is opened when it is needed.
            Err(_) => *rest = take(&run).unwrap_or_default(),
        }
    }
}

fn take<T>(thing: &Mutex<Option<T>>) -> Option<T> {
    let mut thing = thing.lock().unwrap_or_else(PoisonError::into_inner);
    thing.take()
}

/// Opens the first segment of a run that can be opened.
fn open_first<'env>(
    snapshot: &SnapshotReader,
    mut run: Run<'env>,
    opening: Opening,
    damage: &Mutex<Damage>,
) -> Result<Option<Opened<'env>>> {
    while let Some(named) = run.pop_front() {
        match snapshot.open_segment_as(named, opening) {
            Ok(reader) => {
                let source_index = usize::try_from(named.node_index).unwrap_or(usize::MAX);
                return Ok(Some(Opened {
                    source_index,
                    clock_offset: clock_offset(snapshot, &reader, source_index)?,
                    reader: Arc::new(ReadThrough(Arc::new(reader))),
                    rest: run,
                }));
            }
            Err(error) => {
                let place = Location::object(snapshot.segment_place(named));
                let mut damage = damage.lock().unwrap_or_else(PoisonError::into_inner);
                damage.add(error, place, named.records)?;
            }
        }
    }
    Ok(None)
}

/// Returns the clock offset when the segment was dumped, or the manifest's if the
/// segment does not record it. The two may differ if the dump was resumed. A restart
/// file's times are those of its server's host, and have no offset.
///
/// # Errors
///
/// - `Newer`: the segment needs a feature that this build does not know.
fn clock_offset(
    snapshot: &SnapshotReader,
    segment: &SegmentReader,
    source_index: usize,
) -> Result<i64> {
    const OF_HOST: &str = "warm-file";
    let node = snapshot.manifest().nodes.get(source_index);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::snapshot::{SnapshotWriter, WriterOptions};
    use crate::ports::store::{MemoryStore, Store};
    use crate::ports::threads::with_crew;
    use crate::words::cancel::Cancel;
    use crate::words::item::{ItemMeta, Record};

    /// Three nodes with two segments of one block each.
    fn snapshot() -> SnapshotReader {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let nodes = ["a", "b", "c"].map(str::to_owned);
        let options = WriterOptions {
            nodes: nodes.to_vec(),
            segment_record_count_max: 1000,
            ..WriterOptions::default()
        };
        let mut writer = SnapshotWriter::begin(Arc::clone(&store), "n", options).unwrap();
        for node in &nodes {
            for number in 0..1001_u32 {
                let (key, value) = (number.to_be_bytes(), b"x");
                let meta = ItemMeta::default();
                let record = Record {
                    key: &key,
                    value,
                    meta,
                };
                writer.push_to(node, &record).unwrap();
            }
        }
        writer.finish().unwrap();
        SnapshotReader::open(store, "n", Need::Restore).unwrap()
    }

    fn nodes_in(order: BlockOrder) -> Vec<usize> {
        let (snapshot, damage) = (snapshot(), Mutex::default());
        let segments = snapshot.manifest().segments.clone();
        let stop = Cancel::new();
        with_crew(&stop, |crew| {
            let whole = Opening::Whole;
            let cursor = Cursor::new(&snapshot, &segments, order, whole, &damage, crew);
            let mut nodes = Vec::new();
            while let Some(task) = cursor.next().unwrap() {
                nodes.push(task.source_index);
            }
            nodes
        })
    }

    #[test]
    fn an_order_names_each_block_once() {
        assert_eq!(nodes_in(BlockOrder::Plain), [0, 0, 1, 1, 2, 2]);
        let two = BlockOrder::Interleaved { nodes: 2 };
        assert_eq!(nodes_in(two), [1, 0, 1, 0, 2, 2]);
        let all = BlockOrder::Interleaved { nodes: 8 };
        assert_eq!(nodes_in(all), [2, 1, 0, 2, 1, 0]);
    }
}
