//! Searches the segments in parallel.

use std::sync::Arc;

use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::manifest::ManifestSegment;
use crate::engines::snapshot::{FoundRecord, Opening, SegmentReader, SegmentValue, SnapshotReader};
use crate::jobs::get::report::{Copy, CopyValue, LookupReport};
use crate::ports::threads::Pool;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::item::{KEY_LEN_MAX, escape_key};
use crate::words::pieces::Pieces as _;
use crate::words::units::{counted, to_u64};

/// The options of a look-up.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// Addresses of the nodes to search; empty for all.
    pub nodes: Vec<String>,
    /// Whether to read the value as well.
    pub is_value_wanted: bool,
    /// How many segments are searched at a time.
    pub thread_count: usize,
}

/// Looks a key up in the segments of its shard.
///
/// Each segment costs one read of its table of contents and one of a page of its key
/// index. The segment with the key costs one more read of a key section and, if the value
/// is wanted, one of a value section. The parts of a value in parts are read too, to
/// check that it is sound, but not kept. Another block with the same fingerprint costs
/// one more key section, once in some thousand look-ups.
///
/// # Errors
///
/// - `InvalidInput`: the key is not valid, or there is no such node.
/// - `Canceled`. What is damaged or unreadable is in the report.
pub fn look_up(
    snapshot: &SnapshotReader,
    key: &[u8],
    options: &LookupOptions,
    cancel: &Cancel,
) -> Result<LookupReport> {
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        let len = counted(to_u64(key.len()), "byte");
        let allowed = format!("it has {len}; a key has 1 to {KEY_LEN_MAX}");
        return Err(Error::invalid_input("key", escape_key(key), allowed));
    }
    let mut segments = snapshot.segments_of(&options.nodes)?;
    segments.retain(|segment| shard_of(key, snapshot.shard_bits(segment)) == segment.shard_index);
    let ask = |sections: &mut SectionReader, number: usize| {
        cancel.check()?;
        let Some(segment) = segments.get(number) else {
            return Ok(Probe::default());
        };
        let wants_value = options.is_value_wanted;
        probe(snapshot, segment, key, wants_value, sections, cancel)
    };
    let thread_count = options.thread_count.min(segments.len()).max(1);
    let pool = Pool::new("get", thread_count)?;
    let probes = pool.try_map(segments.len(), SectionReader::default, ask)?;
    let mut report = LookupReport {
        segment_count: to_u64(probes.len()),
        ..LookupReport::default()
    };
    for Probe { copy, finding } in probes {
        report.copies.extend(copy);
        report.findings.extend(finding);
    }
    Ok(report)
}

/// The result from one segment.
#[derive(Debug, Default)]
struct Probe {
    copy: Option<Copy>,
    finding: Option<Finding>,
}

fn probe(
    snapshot: &SnapshotReader,
    named: &ManifestSegment,
    key: &[u8],
    is_value_wanted: bool,
    sections: &mut SectionReader,
    cancel: &Cancel,
) -> Result<Probe> {
    let place = snapshot.segment_place(named);
    let damaged = |error| {
        Ok(Probe {
            copy: None,
            finding: Some(Finding::from_any_error(error, &place)?),
        })
    };
    let segment = match snapshot.open_segment_as(named, Opening::Lookup) {
        Ok(segment) => Arc::new(segment),
        Err(error) => return damaged(error),
    };
    let found = match segment.find(key, sections) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Probe::default()),
        Err(error) => return damaged(error),
    };
    let mut copy = Copy {
        node: snapshot.node(named).to_owned(),
        location: segment.record_location(found.block, found.record),
        meta: found.meta,
        value_len: found.value_len,
        value_hash: found.value_hash,
        value: None,
    };
    let mut finding = None;
    if is_value_wanted {
        match read_value(&segment, &found, sections, cancel) {
            Ok(value) => copy.value = Some(value),
            Err(error) => finding = Some(Finding::from_any_error(error, &place)?),
        }
    }
    Ok(Probe {
        copy: Some(copy),
        finding,
    })
}

/// Reads a value. A value in parts is only read to check that it is sound.
fn read_value(
    segment: &Arc<SegmentReader>,
    found: &FoundRecord,
    sections: &mut SectionReader,
    cancel: &Cancel,
) -> Result<CopyValue> {
    let Some(value) = found.parted_value() else {
        return segment.read_value(found, sections).map(CopyValue::Whole);
    };
    let mut parts = segment.open_parts(found.block, found.record, value);
    while parts.next_piece()?.is_some() {
        cancel.check()?;
    }
    let segment = Arc::clone(segment);
    let value = SegmentValue::new(segment, found.block, found.record, value);
    Ok(CopyValue::Large(value))
}
