//! Searches the segments in parallel.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::look_up::LookUpBlock;
use crate::codecs::format::manifest::{ManifestNode, ManifestSegment};
use crate::engines::snapshot::{
    FoundRecord, LookedUp, Opening, SegmentReader, SegmentValue, SnapshotReader, recorded_placement,
};
use crate::jobs::get::report::{Copy, CopyValue, LookupReport};
use crate::ports::threads::{Pool, side_by_side};
use crate::words::cancel::Cancel;
use crate::words::defect::Defect;
use crate::words::error::{Error, Result};
use crate::words::finding::Finding;
use crate::words::item::{KEY_LEN_MAX, escape_key};
use crate::words::location::Location;
use crate::words::pieces::Pieces as _;
use crate::words::units::{counted, to_u64};

/// The options of a look-up.
#[derive(Clone, Debug)]
pub struct LookupOptions {
    /// Addresses of the nodes to search; empty for the node where the recorded ring places
    /// the key, and for all if there is no ring or the key is not on that node.
    pub nodes: Vec<String>,
    /// Whether to search all nodes, wherever the recorded ring places the key.
    pub is_every_node_asked: bool,
    /// Whether to read the value as well.
    pub is_value_wanted: bool,
    /// How many segments are searched at a time.
    pub thread_count: usize,
}

/// Looks a key up by the look-up objects of its shards: on the node where the recorded ring
/// places it, and on all others if it is not there or no ring is recorded.
///
/// That costs one read of a page for each node; where a node had the key, one more for the
/// place of a block, one of a key section and, if the value is wanted, one of a value
/// section. The parts of a value in parts are read too, to check that it is sound, but not
/// kept. Once in some hundred look-ups another block is read in vain.
///
/// Where there is no such object, it is of no use, or it leads to a segment that is not
/// there, each segment of the shard is asked: that costs a read of its table of contents and
/// one of a page of its key index.
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
    let selected = snapshot.select_nodes(&options.nodes)?;
    let nodes = (0_u32..).zip(&snapshot.manifest().nodes).zip(selected);
    let nodes: Vec<NumberedNode<'_>> = nodes
        .filter_map(|(node, is_selected)| is_selected.then_some(node))
        .collect();
    let question = Question {
        snapshot,
        key,
        is_value_wanted: options.is_value_wanted,
        cancel,
    };
    let owner = match options.is_every_node_asked || nodes.len() < 2 {
        true => None,
        false if options.nodes.is_empty() => owner_of(key, snapshot),
        false => None,
    };
    let Some(owner) = owner else {
        return question.ask_nodes(&nodes, options.thread_count);
    };
    let (own, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|(index, _)| *index == owner);
    let mut report = question.ask_nodes(&own, options.thread_count)?;
    if report.copies.is_empty() {
        let rest = question.ask_nodes(&others, options.thread_count)?;
        report.merge(rest);
        return Ok(report);
    }
    report.alone = own.first().map(|(_, node)| node.address.clone());
    Ok(report)
}

/// Blocks of a shard that are looked into side by side; more than one has a key's fingerprint
/// once in some hundred look-ups.
const BLOCKS_AT_ONCE: usize = 4;

/// A node, and its number in the manifest.
type NumberedNode<'a> = (u32, &'a ManifestNode);

/// Returns the number of the node where the recorded ring places the key.
fn owner_of(key: &[u8], snapshot: &SnapshotReader) -> Option<u32> {
    let placement = recorded_placement(snapshot.manifest())?;
    // Only a ring of each node by itself needs to know where a key was.
    u32::try_from(placement.locate(key, 0)).ok()
}

/// What is asked.
struct Question<'a> {
    snapshot: &'a SnapshotReader,
    key: &'a [u8],
    is_value_wanted: bool,
    cancel: &'a Cancel,
}

/// The result from one node.
#[derive(Debug, Default)]
struct Answer {
    /// The results from the blocks that the look-up object named, or from the segments. The
    /// one whose record counts before others of the key is first.
    probes: Vec<Probe>,
    /// The segments to be asked instead, the last of the shard first.
    segments: Vec<ManifestSegment>,
    finding: Option<Finding>,
}

/// The result from one segment.
#[derive(Debug, Default)]
struct Probe {
    copy: Option<Copy>,
    finding: Option<Finding>,
}

impl Probe {
    /// Reports whether the segment was not found.
    fn lacks_segment(&self) -> bool {
        let finding = self.finding.as_ref();
        finding.is_some_and(|finding| finding.defect == Defect::SegmentMissing)
    }

    /// Turns damaged or unreadable data into a finding; any other error ends the job.
    fn of_damage(error: Error, place: &str) -> Result<Self> {
        Ok(Self {
            copy: None,
            finding: Some(Finding::from_any_error(error, place)?),
        })
    }

    /// Reports whether the key is here, and all that was wanted of it could be read.
    fn is_sound(&self) -> bool {
        self.copy.is_some() && self.finding.is_none()
    }
}

impl Question<'_> {
    /// Asks some nodes, side by side.
    fn ask_nodes(&self, nodes: &[NumberedNode<'_>], thread_count: usize) -> Result<LookupReport> {
        let pool = Pool::new("get", thread_count.min(nodes.len()).max(1))?;
        let ask = |sections: &mut SectionReader, number: usize| {
            self.cancel.check()?;
            match nodes.get(number) {
                Some((index, node)) => self.ask_node(*index, node, sections),
                None => Ok(Answer::default()),
            }
        };
        let mut answers = pool.try_map(nodes.len(), SectionReader::default, ask)?;
        self.ask_segments(&mut answers, thread_count)?;
        let mut report = LookupReport::default();
        for Answer {
            probes, finding, ..
        } in answers
        {
            report.segment_count = report.segment_count.saturating_add(to_u64(probes.len()));
            // Of a key that a damaged snapshot has twice, another record is better than none.
            let sound = probes.iter().position(Probe::is_sound);
            let counts = sound.or_else(|| probes.iter().position(|probe| probe.copy.is_some()));
            for (number, Probe { copy, finding }) in probes.into_iter().enumerate() {
                report
                    .copies
                    .extend(copy.filter(|_| Some(number) == counts));
                report.findings.extend(finding);
            }
            report.findings.extend(finding);
        }
        Ok(report)
    }

    fn ask_node(
        &self,
        index: u32,
        node: &ManifestNode,
        sections: &mut SectionReader,
    ) -> Result<Answer> {
        let snapshot = self.snapshot;
        let shard = shard_of(self.key, node.shard_bits);
        match snapshot.likely_blocks(node, self.key) {
            Ok(Some(blocks)) => {
                let answer = self.ask_blocks((index, node), shard, &blocks, sections)?;
                // The manifest may name it otherwise, and then its parts alone tell.
                if !answer.probes.iter().any(Probe::lacks_segment) {
                    return Ok(answer);
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(
                "every segment is asked, for a look-up object is of no use: {}",
                error.to_chain()
            ),
        }
        match snapshot.segments_of_shard(index, shard) {
            Ok(mut segments) => {
                segments.sort_by_key(|segment| Reverse(segment.sequence));
                Ok(Answer {
                    segments,
                    ..Answer::default()
                })
            }
            Err(error) => Ok(Answer {
                finding: Some(Finding::from_any_error(error, &snapshot.describe())?),
                ..Answer::default()
            }),
        }
    }

    /// Looks into blocks of a shard, which are in the order of sequences and of blocks: the
    /// last that has the key has the record that counts.
    fn ask_blocks(
        &self,
        (index, node): NumberedNode<'_>,
        shard: u64,
        blocks: &[LookUpBlock],
        sections: &mut SectionReader,
    ) -> Result<Answer> {
        let mut answer = Answer::default();
        // One after the other they would be as many rounds.
        for group in blocks.rchunks(BLOCKS_AT_ONCE) {
            let group: Vec<&LookUpBlock> = group.iter().rev().collect();
            let find = |block: &LookUpBlock| {
                let mut own = SectionReader::default();
                let snapshot = self.snapshot;
                snapshot.find_in_block(index, shard, block, self.key, &mut own)
            };
            for found in side_by_side("get", group, BLOCKS_AT_ONCE, &Cancel::new(), find)? {
                let probe = self.probe_of(node, found, sections)?;
                let is_end = probe.is_sound();
                answer.probes.push(probe);
                if is_end {
                    return Ok(answer);
                }
            }
        }
        Ok(answer)
    }

    fn probe_of(
        &self,
        node: &ManifestNode,
        found: Result<Option<LookedUp>>,
        sections: &mut SectionReader,
    ) -> Result<Probe> {
        let place = self.snapshot.describe();
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Probe::default()),
            Err(error) => return Probe::of_damage(error, &place),
        };
        let copy = copy_of(&node.address, found.location(), &found.record);
        self.with_value(copy, &place, || {
            if found.record.parted_value().is_none() {
                return found.read_inline(sections).map(CopyValue::Whole);
            }
            let record = found.record.clone();
            let segment = found.open_segment(self.snapshot)?;
            read_value(&segment, &record, sections, self.cancel)
        })
    }

    /// Asks the segments of all nodes whose look-up objects are of no use, side by side.
    fn ask_segments(&self, answers: &mut [Answer], thread_count: usize) -> Result<()> {
        let asked: Vec<(usize, ManifestSegment)> = answers
            .iter_mut()
            .enumerate()
            .flat_map(|(node, answer)| {
                let segments = std::mem::take(&mut answer.segments).into_iter();
                segments.map(move |segment| (node, segment))
            })
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let ask = |sections: &mut SectionReader, number: usize| {
            self.cancel.check()?;
            match asked.get(number) {
                Some((_, segment)) => self.ask_segment(segment, sections),
                None => Ok(Probe::default()),
            }
        };
        let pool = Pool::new("get", thread_count.min(asked.len()).max(1))?;
        let probes = pool.try_map(asked.len(), SectionReader::default, ask)?;
        for ((node, _), probe) in asked.iter().zip(probes) {
            if let Some(answer) = answers.get_mut(*node) {
                answer.probes.push(probe);
            }
        }
        Ok(())
    }

    fn ask_segment(&self, named: &ManifestSegment, sections: &mut SectionReader) -> Result<Probe> {
        let place = self.snapshot.segment_place(named);
        let segment = match self.snapshot.open_segment_as(named, Opening::Lookup) {
            Ok(segment) => Arc::new(segment),
            Err(error) => return Probe::of_damage(error, &place),
        };
        let found = match segment.find(self.key, sections) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Probe::default()),
            Err(error) => return Probe::of_damage(error, &place),
        };
        let location = segment.record_location(found.block, found.record);
        let copy = copy_of(self.snapshot.node(named), location, &found);
        self.with_value(copy, &place, || {
            read_value(&segment, &found, sections, self.cancel)
        })
    }

    /// Adds the value to a copy, if it is wanted; what keeps it from being read is a finding.
    fn with_value(
        &self,
        mut copy: Copy,
        place: &str,
        read: impl FnOnce() -> Result<CopyValue>,
    ) -> Result<Probe> {
        let mut finding = None;
        if self.is_value_wanted {
            match read() {
                Ok(value) => copy.value = Some(value),
                Err(error) => finding = Some(Finding::from_any_error(error, place)?),
            }
        }
        Ok(Probe {
            copy: Some(copy),
            finding,
        })
    }
}

fn copy_of(node: &str, location: Location, found: &FoundRecord) -> Copy {
    Copy {
        node: node.to_owned(),
        location,
        meta: found.meta,
        value_len: found.value_len,
        value_hash: found.value_hash,
        value: None,
    }
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
