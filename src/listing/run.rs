//! Blocks decoded side by side, and told in order.

use std::ops::ControlFlow;

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::cancel::Cancel;
use crate::defect::Finding;
use crate::error::{Error, Operation, Result};
use crate::format::column::KeyRecord;
use crate::format::compression::SectionReader;
use crate::listing::report::ListingReport;
use crate::select::KeyFilter;
use crate::snapshot::{Opening, SegmentReader, SnapshotReader};
use crate::units::to_u64;

/// What the caller asks for.
#[derive(Clone, Debug)]
pub struct ListingOptions {
    /// Addresses of nodes to list; all for none.
    pub nodes: Vec<String>,
    /// Which keys.
    pub filter: KeyFilter,
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

/// Blocks a thread decodes before the text of all is handed out.
const ROUND_BLOCKS: usize = 8;

/// Lists records in the order of the manifest's segments, their blocks and
/// records.
///
/// `render` appends the text of one record; many threads call it at once.
/// `out` takes the text in order, and may stop the listing.
///
/// # Errors
///
/// - `InvalidInput`: no such node.
/// - `Canceled`, and what `out` fails with. What is damaged or cannot be read
///   is in the report.
///
/// # Memory
///
/// The key sections and the text of eight blocks a thread.
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
        let reading = Reading {
            segment: &segment,
            node: snapshot.node(named),
            filter: &options.filter,
            render,
        };
        let blocks: Vec<usize> = (0..segment.block_count()).collect();
        for round in blocks.chunks(options.thread_count.saturating_mul(ROUND_BLOCKS).max(1)) {
            cancel.check()?;
            let texts: Vec<Text> = pool.install(|| {
                round
                    .par_iter()
                    .map_init(SectionReader::default, |sections, &block| {
                        reading.block(block, sections)
                    })
                    .collect::<Result<_>>()
            })?;
            for text in texts {
                report.seen = report.seen.saturating_add(text.seen);
                report.listed = report.listed.saturating_add(text.listed);
                report.findings.extend(text.finding);
                if out(&text.bytes)?.is_break() {
                    return Ok(report);
                }
            }
        }
    }
    Ok(report)
}

/// What one block gave.
#[derive(Debug, Default)]
struct Text {
    bytes: Vec<u8>,
    listed: u64,
    seen: u64,
    finding: Option<Finding>,
}

struct Reading<'a> {
    segment: &'a SegmentReader,
    node: &'a str,
    filter: &'a KeyFilter,
    render: &'a (dyn Fn(&ListedRecord<'_>, &mut Vec<u8>) + Sync),
}

impl Reading<'_> {
    fn block(&self, block: usize, sections: &mut SectionReader) -> Result<Text> {
        let mut text = Text::default();
        let columns = match self.segment.read_keys(block, sections) {
            Ok(columns) => columns,
            Err(error) => {
                text.finding = Some(Finding::from_any_error(error, self.segment.place())?);
                return Ok(text);
            }
        };
        text.seen = to_u64(columns.len());
        for record in columns.iter() {
            if self.filter.matches(record.key) {
                let node = self.node;
                (self.render)(&ListedRecord { node, record }, &mut text.bytes);
                text.listed = text.listed.saturating_add(1);
            }
        }
        Ok(text)
    }
}
