//! Renders records in parallel and outputs them in order.

use std::ops::{ControlFlow, Range};

use crate::codecs::format::column::{Columns, KeyRecord};
use crate::codecs::select::{Candidate, Judgement, Selection};
use crate::engines::sink::{OwnerDefaults, bind_owners};
use crate::engines::snapshot::{KeyWalk, SnapshotReader};
use crate::jobs::ls::report::ListingReport;
use crate::ports::threads::Pool;
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::units::{UnixSecs, to_u64};

/// The options of a listing.
#[derive(Clone, Debug)]
pub struct ListingOptions {
    /// Addresses of the nodes to list; empty for all.
    pub nodes: Vec<String>,
    /// Which records are listed.
    pub selection: Selection,
    /// The moment that times are relative to; `None` for the end of the dump.
    pub at: Option<UnixSecs>,
    /// How many blocks are decoded at a time.
    pub thread_count: usize,
}

/// A record to be rendered.
#[derive(Clone, Copy, Debug)]
pub struct ListedRecord<'a> {
    /// Address of the node.
    pub node: &'a str,
    /// Key and metadata.
    pub record: KeyRecord<'a>,
}

/// How many records are rendered into one piece of text. A record may take some
/// kilobytes, most of them for its node's address.
const PIECE_RECORDS: usize = 256;
/// How many pieces a thread renders before they are output.
const ROUND_PIECES: usize = 4;

/// Lists records in the order of the manifest's segments, their blocks and records.
///
/// `render` appends the text of one record; many threads call it at once. `out` receives
/// the text in order, and may stop the listing.
///
/// # Errors
///
/// - `InvalidInput`: no such node, or a selection of owners without their ring.
/// - `Corrupt`: a selection by time without a given moment, and the manifest does not
///   record when the dump ended.
/// - `Canceled`, and the errors of `out`. What is damaged or unreadable is in the report.
///
/// # Memory
///
/// For each thread 4 MiB of raw key sections, or one section if that is larger, and the
/// text of 1,024 records; and the segment's table of contents.
pub fn list(
    snapshot: &SnapshotReader,
    options: &ListingOptions,
    cancel: &Cancel,
    render: &(dyn Fn(&ListedRecord<'_>, &mut Vec<u8>) + Sync),
    out: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
) -> Result<ListingReport> {
    // A snapshot has no labels and weights of its nodes.
    let selection = bind_owners(&options.selection, OwnerDefaults::default())?;
    let at = match options.at {
        Some(at) => at,
        None if selection.needs().now() => snapshot.finished_at()?,
        None => UnixSecs::default(),
    };
    let segments = snapshot.segments_of(&options.nodes)?;
    let walk = KeyWalk::new(snapshot, options.thread_count, "listing", cancel)?;
    let mut report = ListingReport::default();
    let damage = walk.run(
        &segments,
        &|_, columns| columns,
        |named, blocks: Vec<Columns>| {
            let listing = Listing {
                node: snapshot.node(named),
                selection: &selection,
                at,
                render,
                pool: walk.pool(),
                cancel,
            };
            listing.write(&blocks, &mut report, out)
        },
    )?;
    report.findings = damage.findings;
    report.finding_count_dropped = damage.finding_count_dropped;
    Ok(report)
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
    pool: &'a Pool,
    cancel: &'a Cancel,
}

impl Listing<'_> {
    /// Outputs the text of some blocks in pieces.
    fn write(
        &self,
        blocks: &[Columns],
        report: &mut ListingReport,
        out: &mut dyn FnMut(&[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<ControlFlow<()>> {
        let pieces: Vec<(&Columns, Range<usize>)> = blocks.iter().flat_map(pieces_of).collect();
        let count_max = self.pool.thread_count().saturating_mul(ROUND_PIECES).max(1);
        for pieces in pieces.chunks(count_max) {
            self.cancel.check()?;
            let render = |_: &mut (), number: usize| {
                let piece = pieces.get(number);
                piece.map_or_else(Text::default, |(columns, records)| {
                    self.text(columns, records.clone())
                })
            };
            let texts = self.pool.map(pieces.len(), || (), render);
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

/// Divides the records of a block into pieces.
fn pieces_of(columns: &Columns) -> impl Iterator<Item = (&Columns, Range<usize>)> {
    let starts = (0..columns.len()).step_by(PIECE_RECORDS);
    starts.map(move |start| {
        let end = start.saturating_add(PIECE_RECORDS).min(columns.len());
        (columns, start..end)
    })
}
