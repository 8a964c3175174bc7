//! Blocks decoded side by side, and told in order.

use std::ops::{ControlFlow, Range};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::cancel::Cancel;
use crate::defect::Finding;
use crate::error::{Error, Operation, Result};
use crate::format::column::{Columns, KeyRecord};
use crate::format::compression::SectionReader;
use crate::listing::report::ListingReport;
use crate::select::{Candidate, Judgement, Selection};
use crate::snapshot::{Opening, SegmentReader, SnapshotReader};
use crate::target::{OwnerDefaults, bind_owners};
use crate::units::{UnixSecs, to_u64};

/// What the caller asks for.
#[derive(Clone, Debug)]
pub struct ListingOptions {
    /// Addresses of nodes to list; all for none.
    pub nodes: Vec<String>,
    /// Which records.
    pub selection: Selection,
    /// The moment that times are relative to; none for the end of the dump.
    pub at: Option<UnixSecs>,
    /// Blocks decoded side by side.
    pub thread_count: usize,
}

/// A record on its way to whoever writes it down.
#[derive(Clone, Copy, Debug)]
pub struct ListedRecord<'a> {
    /// Address of the node.
    pub node: &'a str,
    /// Key and metadata.
    pub record: KeyRecord<'a>,
}

/// Blocks a thread decodes before their text is handed out.
const ROUND_BLOCKS: usize = 8;
/// Raw bytes of key sections that a thread decodes before; a block may have
/// more by itself, and is then alone in its round.
const ROUND_RAW_LEN: u64 = 4 << 20;
/// Records whose text is made at once. A record may take some kilobytes, most of
/// them its node's address.
const PIECE_RECORDS: usize = 256;
/// Pieces a thread makes before they are handed out.
const ROUND_PIECES: usize = 4;

/// Lists records in the order of the manifest's segments, their blocks and
/// records.
///
/// `render` appends the text of one record; many threads call it at once.
/// `out` takes the text in order, and may stop the listing.
///
/// # Errors
///
/// - `InvalidInput`: no such node, or a selection of owners without their ring.
/// - `Corrupt`: a selection by time, no moment given, and the manifest does not
///   say when the dump ended.
/// - `Canceled`, and what `out` fails with. What is damaged or cannot be read
///   is in the report.
///
/// # Memory
///
/// For each thread 4 MiB of raw key sections, but one section at least, and the
/// text of 1,024 records; and the segment's table of contents.
pub fn list(
    snapshot: &SnapshotReader,
    options: &ListingOptions,
    cancel: &Cancel,
    render: &(dyn Fn(&ListedRecord<'_>, &mut Vec<u8>) + Sync),
    out: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
) -> Result<ListingReport> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(options.thread_count)
        .thread_name(|number| format!("listing-{number}"))
        .build()
        .map_err(|error| {
            let cause = std::io::Error::other(error);
            Error::io(Operation::Spawn, "listing threads", cause)
        })?;
    // A snapshot knows its nodes without labels and weights.
    let selection = bind_owners(&options.selection, OwnerDefaults::default())?;
    let at = match options.at {
        Some(at) => at,
        None if selection.needs().now() => snapshot.finished_at()?,
        None => UnixSecs::default(),
    };
    let mut report = ListingReport::default();
    for named in snapshot.segments_of(&options.nodes)? {
        let place = snapshot.segment_place(named);
        let segment = match snapshot.open_segment_as(named, Opening::Lookup) {
            Ok(segment) => segment,
            Err(error) => {
                report
                    .findings
                    .push(Finding::from_any_error(error, &place)?);
                continue;
            }
        };
        let listing = Listing {
            node: snapshot.node(named),
            selection: &selection,
            at,
            render,
            pool: &pool,
            cancel,
        };
        let mut next = 0;
        while next < segment.block_count() {
            let end = round_end(&segment, next, options.thread_count);
            if listing
                .round(&segment, next..end, &mut report, out)?
                .is_break()
            {
                return Ok(report);
            }
            next = end;
        }
    }
    Ok(report)
}

/// Returns the block after the last that is decoded along with the first.
fn round_end(segment: &SegmentReader, first: usize, thread_count: usize) -> usize {
    let threads = to_u64(thread_count.max(1));
    let mut room = threads.saturating_mul(ROUND_RAW_LEN);
    let count_max = thread_count.max(1).saturating_mul(ROUND_BLOCKS);
    let last = first.saturating_add(count_max).min(segment.block_count());
    let fits = |block: &usize| {
        let entry = segment.block_entry(*block);
        // What does not fit its header is refused before it is decompressed.
        let len = entry.map_or(0, |entry| u64::from(entry.key_raw_len));
        let left = room.checked_sub(len);
        room = left.unwrap_or(0);
        left.is_some()
    };
    let count = (first..last).take_while(fits).count();
    first.saturating_add(count.max(1))
}

/// The text of some records.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    listed: u64,
    unknown_kept: u64,
}

struct Listing<'a> {
    node: &'a str,
    selection: &'a Selection,
    at: UnixSecs,
    render: &'a (dyn Fn(&ListedRecord<'_>, &mut Vec<u8>) + Sync),
    pool: &'a ThreadPool,
    cancel: &'a Cancel,
}

impl Listing<'_> {
    /// Decodes some blocks side by side, and hands out their text in pieces.
    fn round(
        &self,
        segment: &SegmentReader,
        blocks: Range<usize>,
        report: &mut ListingReport,
        out: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        self.cancel.check()?;
        let decoded: Vec<Result<Columns>> = self.pool.install(|| {
            blocks
                .into_par_iter()
                .map_init(SectionReader::default, |sections, block| {
                    segment.read_keys(block, sections)
                })
                .collect()
        });
        let mut blocks = Vec::new();
        for columns in decoded {
            match columns {
                Ok(columns) => blocks.push(columns),
                Err(error) => report.add(Finding::from_any_error(error, segment.place())?),
            }
        }
        let pieces: Vec<(&Columns, Range<usize>)> = blocks.iter().flat_map(pieces_of).collect();
        let count_max = self
            .pool
            .current_num_threads()
            .saturating_mul(ROUND_PIECES)
            .max(1);
        for pieces in pieces.chunks(count_max) {
            self.cancel.check()?;
            let texts: Vec<Text> = self.pool.install(|| {
                let pieces = pieces.par_iter();
                pieces
                    .map(|(columns, records)| self.text(columns, records.clone()))
                    .collect()
            });
            for (text, (_, records)) in texts.iter().zip(pieces) {
                report.seen = report.seen.saturating_add(to_u64(records.len()));
                report.listed = report.listed.saturating_add(text.listed);
                report.unknown_kept = report.unknown_kept.saturating_add(text.unknown_kept);
                if !text.bytes.is_empty() && out(&text.bytes)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn text(&self, columns: &Columns, records: Range<usize>) -> Text {
        let mut text = Text::default();
        for record in records.filter_map(|index| columns.get(index)) {
            let value_len = Some(record.value_len.into());
            let candidate = Candidate::new(record.key, value_len, &record.meta, self.at);
            let judgement = self.selection.judge(&candidate);
            if judgement.keeps() {
                let node = self.node;
                (self.render)(&ListedRecord { node, record }, &mut text.bytes);
                text.listed = text.listed.saturating_add(1);
            }
            if judgement == Judgement::Unknown {
                text.unknown_kept = text.unknown_kept.saturating_add(1);
            }
        }
        text
    }
}

/// Cuts the records of a block.
fn pieces_of(columns: &Columns) -> impl Iterator<Item = (&Columns, Range<usize>)> {
    let starts = (0..columns.len()).step_by(PIECE_RECORDS);
    starts.map(move |start| {
        let end = start.saturating_add(PIECE_RECORDS).min(columns.len());
        (columns, start..end)
    })
}
