//! Checks the segments, many at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::codecs::format::block::{StoredRecord, StoredValue};
use crate::codecs::format::checksum::{ContentDigests, shard_of};
use crate::codecs::format::compression::SectionReader;
use crate::codecs::format::frame::FrameType;
use crate::codecs::format::ids::SegmentId;
use crate::codecs::format::key_index::KeyIndex;
use crate::codecs::format::layout::FILE_HEADER_SIZE;
use crate::codecs::format::manifest::{Digest128, ManifestSegment, Need, Verdict};
use crate::codecs::format::toc::TocEntry;
use crate::codecs::statistics::{Difference, Recount, SegmentStatistics};
use crate::engines::snapshot::{SegmentPool, SegmentReader, SnapshotReader};
use crate::jobs::verify::depth::Depth;
use crate::jobs::verify::ordered_recount::OrderedRecount;
use crate::jobs::verify::record::record_of;
use crate::jobs::verify::record_tally::{RecordTally, check_bounds};
use crate::jobs::verify::report::VerifyReport;
use crate::jobs::verify::shards::check_shards;
use crate::ports::host::{self, Stopwatch};
use crate::ports::store::Store;
use crate::words::cancel::Cancel;
use crate::words::defect::{Defect, Severity, Structure};
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::finding::Finding;
use crate::words::item::escape_key;
use crate::words::location::Location;
use crate::words::pieces::Pieces as _;
use crate::words::progress::{Event, Progress, RunningJob};
use crate::words::units::to_u64;

/// The options of a verification.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// How much to read.
    pub depth: Depth,
    /// Number of threads.
    pub thread_count: usize,
}

/// Checks a snapshot given by its place. A damaged manifest is a finding as well.
///
/// # Errors
///
/// - `NotFound`, `InvalidInput`: there is no snapshot.
/// - Those of [`verify`].
pub fn verify_snapshot(
    store: Arc<dyn Store>,
    name: &str,
    options: &VerifyOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<VerifyReport> {
    let clock = Stopwatch::start();
    let place = store.describe(name);
    match SnapshotReader::open(store, name, Need::Verify) {
        Ok(snapshot) => verify(&snapshot, options, cancel, progress),
        Err(error) => {
            let finding = match error.is_newer() {
                true => Finding::from_any_version(error, &place)?,
                false => Finding::from_error(error, &place)?,
            };
            Ok(VerifyReport {
                depth: options.depth,
                findings: vec![finding],
                finding_count_dropped: 0,
                segments: 0,
                blocks: 0,
                records: 0,
                bytes: 0,
                select: None,
                dump_span: None,
                record: None,
                elapsed: clock.elapsed(),
            })
        }
    }
}

/// Checks a snapshot whose manifest could be read.
///
/// # Errors
///
/// - `Canceled`. What is damaged or unreadable is in the report.
///
/// # Memory
///
/// For each thread one segment's table of contents; at depth *deep* also a decompressed
/// block or a part of a value, and the key index as stored.
pub fn verify(
    snapshot: &SnapshotReader,
    options: &VerifyOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<VerifyReport> {
    let clock = Stopwatch::start();
    let started_at = host::now();
    let manifest = snapshot.manifest();
    let totals = &manifest.totals;
    let _running = RunningJob::start(progress, "verify", totals.records, totals.size);
    let pool = SegmentPool::new("verify", options.thread_count)?;
    let check = Check {
        snapshot,
        depth: options.depth,
        cancel,
        progress,
        pool: &pool,
        findings: Mutex::default(),
    };
    let counts = pool.each_segment(&manifest.segments, |number, segment| {
        check.segment(number, segment)
    })?;
    check.shards(options.thread_count)?;
    check.whole()?;
    let mut found = check
        .findings
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    // Threads finish in any order, but the report is always the same.
    found.kept.sort_by_key(|(number, _)| *number);
    Ok(VerifyReport {
        depth: options.depth,
        findings: found.kept.into_iter().map(|(_, finding)| finding).collect(),
        finding_count_dropped: found.dropped,
        segments: to_u64(manifest.segments.len()),
        blocks: counts.iter().map(|counts| counts.blocks).sum(),
        records: counts.iter().map(|counts| counts.records).sum(),
        bytes: counts.iter().map(|counts| counts.bytes).sum(),
        select: manifest.select.clone(),
        dump_span: Some([manifest.started_at.clone(), manifest.finished_at.clone()]),
        record: record_of(
            snapshot,
            options.depth,
            [started_at, host::now()],
            &found.counts,
        ),
        elapsed: clock.elapsed(),
    })
}

#[derive(Debug, Default)]
struct Found {
    /// Each with the number of its segment, for sorting.
    kept: Vec<(usize, Finding)>,
    dropped: u64,
    /// How many there are of each code, the dropped ones included.
    counts: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    blocks: u64,
    records: u64,
    bytes: u64,
}

struct Check<'a> {
    snapshot: &'a SnapshotReader,
    depth: Depth,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
    pool: &'a SegmentPool,
    findings: Mutex<Found>,
}

impl Check<'_> {
    fn add(&self, number: usize, location: Location, defect: Defect) {
        let mut found = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        let count = found.counts.entry(defect.code()).or_default();
        *count = count.saturating_add(1);
        if found.kept.len() < VerifyReport::FINDING_COUNT_MAX {
            found.kept.push((number, Finding::new(location, defect)));
        } else {
            found.dropped = found.dropped.saturating_add(1);
        }
    }

    /// Turns unreadable or damaged data into a finding; any other error ends the job.
    fn note<T>(&self, number: usize, place: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let Finding { location, defect } = Finding::from_any_version(error, place)?;
                self.add(number, location, defect);
                Ok(None)
            }
        }
    }

    fn shards(&self, thread_count: usize) -> Result<()> {
        let segments = &self.snapshot.manifest().segments;
        let damaged: BTreeSet<SegmentId> = {
            let found = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
            let errors = found.kept.iter();
            let errors = errors.filter(|(_, finding)| finding.defect.severity() == Severity::Error);
            let numbers = errors.map(|(number, _)| *number);
            let named = numbers.filter_map(|number| segments.get(number));
            named.map(|segment| segment.segment_id).collect()
        };
        let is_damaged = |named: &ManifestSegment| damaged.contains(&named.segment_id);
        let take = |shard: usize, location, defect| {
            self.add(segments.len().saturating_add(shard), location, defect);
        };
        check_shards(
            self.snapshot,
            self.depth,
            thread_count,
            &is_damaged,
            self.cancel,
            &take,
        )
    }

    fn segment(&self, number: usize, named: &ManifestSegment) -> Result<Counts> {
        self.cancel.check()?;
        let place = self.snapshot.segment_place(named);
        let opened = self.snapshot.open_segment(named);
        let Some(segment) = self.note(number, &place, opened)? else {
            return Ok(Counts::default());
        };
        let described = segment.read_described(Need::Verify);
        let is_newer = described.as_ref().is_err_and(Error::is_newer);
        let stated = self.note(number, &place, described)?;
        if is_newer {
            // Nothing of the segment is used.
            return Ok(Counts::default());
        }
        // Of a segment by itself the description is all that tells.
        if let Some((_, stated)) = stated.filter(|_| !self.snapshot.is_lone_segment()) {
            let shard_bits = self.snapshot.shard_bits(named);
            if let Err(defect) = stated.check(named.place(), shard_bits) {
                let location = Location::offset(&place, to_u64(FILE_HEADER_SIZE));
                self.add(number, location, defect);
            }
        }
        self.compare_counts(number, named, &segment);
        let statistics = segment.read_statistics();
        let statistics = self.note(number, &place, statistics)?.flatten();
        let counts = Counts {
            blocks: to_u64(segment.block_count()),
            records: segment.toc().record_count,
            bytes: named.size,
        };
        if self.depth == Depth::Quick {
            self.progress.event(Event::Advanced {
                node_index: None,
                items: counts.records,
                bytes: named.size,
            });
            return Ok(counts);
        }
        let index_bytes = self.note(number, &place, segment.read_key_index())?;
        let index = match &index_bytes {
            Some(bytes) if segment.toc().key_index_offset != 0 => {
                self.note(number, &place, segment.decode_key_index(bytes))?
            }
            Some(_) | None => None,
        };
        let records = if self.depth == Depth::Deep {
            self.check_records(number, named, &segment, index.as_ref(), statistics.as_ref())?
        } else {
            self.check_stored(number, &segment)?;
            counts.records
        };
        // Last, since a distant segment is not read twice then.
        self.compare_digest(number, named, &segment)?;
        // Bytes of the tables; those of blocks and parts are reported one by one.
        let entries = segment.toc().entries.iter();
        let told = entries
            .filter(|entry| entry.is_block() || entry.is_part())
            .map(|entry| entry.stored_len)
            .sum::<u64>();
        let bytes = named.size.saturating_sub(told);
        self.advance_bytes(bytes);
        Ok(Counts { records, ..counts })
    }

    /// Compares the manifest with the table of contents.
    fn compare_counts(&self, number: usize, named: &ManifestSegment, segment: &SegmentReader) {
        for defect in segment.differences_from(named) {
            self.add(number, Location::object(segment.place()), defect);
        }
    }

    fn compare_digests(
        &self,
        number: usize,
        place: &str,
        structure: Structure,
        named: &ManifestSegment,
        computed: &ContentDigests,
    ) {
        let pairs = [
            ("content_digest", named.content_digest, computed.content),
            (
                "content_digest_exptime",
                named.content_digest_exptime,
                computed.content_exptime,
            ),
        ];
        for (field, stored, computed) in pairs {
            if stored.0 != computed {
                let (stored, computed) = (stored.to_string(), Digest128(computed).to_string());
                let defect = Defect::DigestMismatch {
                    structure,
                    field,
                    stored,
                    computed,
                };
                self.add(number, Location::object(place), defect);
            }
        }
    }

    fn compare_digest(
        &self,
        number: usize,
        named: &ManifestSegment,
        segment: &SegmentReader,
    ) -> Result<()> {
        let place = segment.place();
        let computed = match segment.compute_digest() {
            Ok(computed) => computed,
            // A damaged frame is reported where the frame is read.
            Err(error) if error.is_newer() || matches!(error.kind(), ErrorKind::Corrupt(_)) => {
                return Ok(());
            }
            Err(error) => return self.note(number, place, Err(error)).map(|_: Option<()>| ()),
        };
        if computed != named.digest {
            let defect = Defect::DigestMismatch {
                structure: Structure::Segment,
                field: "digest",
                stored: named.digest.clone(),
                computed,
            };
            self.add(number, Location::object(place), defect);
        }
        Ok(())
    }

    /// Checks the frames that have not been read, blocks by `check_block`, in their order, so
    /// that a distant segment is read from front to back.
    fn check_frames<S, T: Send>(
        &self,
        number: usize,
        segment: &SegmentReader,
        begin: impl Fn() -> S + Sync + Send,
        check_block: impl Fn(&mut S, usize) -> Result<T> + Sync + Send,
    ) -> Result<Vec<T>> {
        let steps = self.steps(segment);
        let step = |state: &mut S, at: usize| {
            self.cancel.check()?;
            if at == 0 {
                // Not before: as many segments wait as there are threads.
                segment.expect_whole();
            }
            match steps.get(at) {
                Some(Step::Block(block)) => {
                    let checked = check_block(state, *block)?;
                    self.advance(segment, *block);
                    return Ok(Some(checked));
                }
                Some(Step::Other { frame, told }) => {
                    self.note(number, segment.place(), segment.read_other_frame(*frame))?;
                    self.advance_bytes(*told);
                }
                None => {}
            }
            Ok(None)
        };
        let checked = self.pool.blocks().try_map(steps.len(), begin, step);
        segment.forget_ahead();
        Ok(checked?.into_iter().flatten().collect())
    }

    /// Returns the frames that have not been read: all except the description, the key index
    /// and the statistics. Parts of values are read with their records where these are.
    fn steps(&self, segment: &SegmentReader) -> Vec<Step> {
        let mut block_count: usize = 0;
        let frames = segment.toc().entries.iter().enumerate();
        let step = |(frame, entry): (usize, &TocEntry)| {
            if entry.is_block() {
                let block = block_count;
                block_count = block_count.saturating_add(1);
                return Some(Step::Block(block));
            }
            if entry.is_part() {
                let told = entry.stored_len;
                let is_step = self.depth == Depth::Data;
                return is_step.then_some(Step::Other { frame, told });
            }
            let is_description = frame == 0 && entry.frame_type == FrameType::Meta;
            let is_index = entry.offset == segment.toc().key_index_offset;
            let is_read = is_description || is_index || segment.is_statistics(frame);
            (!is_read).then_some(Step::Other { frame, told: 0 })
        };
        frames.filter_map(step).collect()
    }

    fn check_stored(&self, number: usize, segment: &SegmentReader) -> Result<()> {
        let check = |(): &mut (), block| {
            let checked = segment
                .read_block(block)
                .and_then(|frame| frame.check_stored().map_err(Error::corrupt))
                .map_err(|error| error.at(segment.block_location(block)));
            self.note(number, segment.place(), checked).map(drop)
        };
        self.check_frames(number, segment, || (), check).map(drop)
    }

    /// Checks the parts of values that no record has led to.
    fn check_parts(
        &self,
        number: usize,
        segment: &SegmentReader,
        read: &BTreeSet<usize>,
    ) -> Result<()> {
        let frames = segment.toc().entries.iter().enumerate();
        let parts: Vec<(usize, u64)> = frames
            .filter(|(part, entry)| entry.is_part() && !read.contains(part))
            .map(|(part, entry)| (part, entry.stored_len))
            .collect();
        let check = |buffer: &mut PartBuffer, at: usize| {
            let Some(&(part, bytes)) = parts.get(at) else {
                return Ok(());
            };
            self.cancel.check()?;
            let PartBuffer { sections, raw } = buffer;
            let checked = segment.read_part(part, sections, raw).map(|_| ());
            self.note(number, segment.place(), checked)?;
            self.advance_bytes(bytes);
            Ok(())
        };
        let blocks = self.pool.blocks();
        blocks
            .try_map(parts.len(), PartBuffer::default, check)
            .map(drop)
    }

    fn advance_bytes(&self, bytes: u64) {
        self.progress.event(Event::Advanced {
            node_index: None,
            items: 0,
            bytes,
        });
    }

    fn advance(&self, segment: &SegmentReader, block: usize) {
        if let Some(entry) = segment.block_entry(block) {
            let items = entry.record_count.into();
            self.progress.event(Event::Advanced {
                node_index: None,
                items,
                bytes: entry.stored_len,
            });
        }
    }

    /// Decodes every record, and compares counts and digests with those of the segment.
    fn check_records(
        &self,
        number: usize,
        named: &ManifestSegment,
        segment: &SegmentReader,
        index: Option<&KeyIndex>,
        statistics: Option<&SegmentStatistics>,
    ) -> Result<u64> {
        let recount = statistics.map(OrderedRecount::new);
        let within = Within {
            number,
            named,
            segment,
            index,
            recount: recount.as_ref(),
        };
        let check =
            |sections: &mut SectionReader, block| self.check_block(&within, block, sections);
        let tallies: Vec<RecordTally> =
            self.check_frames(number, segment, SectionReader::default, check)?;
        let read = tallies.iter().flat_map(|tally| tally.parts.clone());
        let read = read.flatten().collect();
        // A part that no record refers to is left from a value that its writer abandoned,
        // or belongs to a damaged record.
        self.check_parts(number, segment, &read)?;
        let mut sum = RecordTally::default();
        for tally in &tallies {
            sum.records = sum.records.saturating_add(tally.records);
            sum.key_bytes = sum.key_bytes.saturating_add(tally.key_bytes);
            sum.value_bytes = sum.value_bytes.saturating_add(tally.value_bytes);
            sum.digests.merge(&tally.digests);
            sum.is_damaged |= tally.is_damaged;
        }
        // If a block is damaged, the sums differ, and the damage is already known.
        if !sum.is_damaged {
            if let Some(difference) = recount.and_then(OrderedRecount::compare) {
                self.tell_difference(number, segment, difference);
            }
            self.compare_digests(
                number,
                segment.place(),
                Structure::Segment,
                named,
                &sum.digests,
            );
            for (field, stored, computed) in [
                ("record_count", segment.toc().record_count, sum.records),
                ("key_bytes", segment.toc().key_bytes, sum.key_bytes),
                ("value_bytes", segment.toc().value_bytes, sum.value_bytes),
            ] {
                if stored != computed {
                    let structure = Structure::Toc;
                    let defect = Defect::CountMismatch {
                        structure,
                        field,
                        stored,
                        computed,
                    };
                    self.add(number, Location::object(segment.place()), defect);
                }
            }
        }
        Ok(sum.records)
    }

    /// Tells that the statistics are not those of the records (S7, S8).
    fn tell_difference(&self, number: usize, segment: &SegmentReader, difference: Difference) {
        let Difference {
            figure,
            stored,
            computed,
        } = difference;
        let defect = Defect::FigureMismatch {
            structure: Structure::Stat,
            figure,
            stored,
            computed,
        };
        self.add(number, segment.statistics_location(), defect);
    }

    fn check_block(
        &self,
        within: &Within<'_>,
        block: usize,
        sections: &mut SectionReader,
    ) -> Result<RecordTally> {
        let Within {
            number,
            named,
            segment,
            index,
            recount: whole,
        } = *within;
        let mut tally = RecordTally::default();
        let mut recount = whole.map(|whole| (whole, Recount::new(whole.stored())));
        let decoded = segment
            .read_block(block)
            .and_then(|frame| frame.decode(sections).map_err(Error::corrupt))
            .map_err(|error| error.at(segment.block_location(block)));
        let Some(decoded) = self.note(number, segment.place(), decoded)? else {
            tally.is_damaged = true;
            if let Some((whole, empty)) = recount {
                // The counts of later blocks must not wait for this one.
                whole.put(block, empty);
            }
            return Ok(tally);
        };
        let times = segment.toc().blocks().nth(block).map(|entry| entry.times);
        let bounds = check_bounds(times.unwrap_or_default(), &decoded)
            .map_err(|defect| Error::corrupt(defect).at(segment.block_location(block)));
        self.note(number, segment.place(), bounds)?;
        let shard_bits = self.snapshot.shard_bits(named);
        let block_number = u32::try_from(block).unwrap_or(u32::MAX);
        let mut scratch = Vec::new();
        for record in 0..decoded.len() {
            let at_record = || segment.record_location(block, record);
            match decoded.record(record) {
                Some(Ok(stored)) => {
                    if let StoredValue::Parts(_) = stored.value
                        && !self.check_value(within, (block, record), &stored, &mut tally)?
                    {
                        tally.is_damaged = true;
                        continue;
                    }
                    let record = &stored;
                    let recount = recount.as_mut();
                    let recount = recount.map(|(whole, recount)| (whole.stored(), recount));
                    tally.add(record, recount, &mut scratch);
                    let shard = shard_of(record.key, shard_bits);
                    if shard != named.shard_index {
                        let key = escape_key(record.key);
                        let (stored, computed) = (named.shard_index, shard);
                        let defect = Defect::WrongShard {
                            key,
                            stored,
                            computed,
                        };
                        self.add(number, at_record(), defect);
                    }
                    // An unreadable key index has already been reported.
                    if index.is_some_and(|index| !index.leads_to(record.key, block_number)) {
                        let defect = Defect::KeyNotIndexed {
                            key: escape_key(record.key),
                        };
                        self.add(number, at_record(), defect);
                    }
                }
                Some(Err(defect)) => {
                    tally.is_damaged = true;
                    self.add(number, at_record(), defect);
                }
                None => {}
            }
        }
        if let Some((whole, recount)) = recount {
            whole.put(block, recount);
        }
        Ok(tally)
    }

    /// Reads a value in parts from start to end; reports whether it is sound.
    fn check_value(
        &self,
        within: &Within<'_>,
        (block, record): (usize, usize),
        stored: &StoredRecord<'_>,
        tally: &mut RecordTally,
    ) -> Result<bool> {
        let StoredValue::Parts(value) = stored.value else {
            return Ok(true);
        };
        let mut parts = within.segment.open_parts(block, record, value);
        let mut told = 0;
        let sound = loop {
            self.cancel.check()?;
            let piece = parts.next_piece().map(|piece| piece.is_some());
            let is_more = self.note(within.number, within.segment.place(), piece)?;
            let entries = within.segment.toc().entries.get(parts.frames());
            let read = entries.unwrap_or_default();
            if let Some(last) = read.get(told..).and_then(<[_]>::last) {
                let bytes = last.stored_len;
                told = read.len();
                self.advance_bytes(bytes);
            }
            match is_more {
                Some(true) => {}
                Some(false) => break true,
                None => break false,
            }
        };
        tally.parts.push(parts.frames());
        Ok(sound)
    }

    /// Checks the snapshot as a whole.
    fn whole(&self) -> Result<()> {
        let last = usize::MAX;
        let strays = self.snapshot.list_strays();
        let strays = self.note(last, &self.snapshot.describe(), strays)?;
        for stray in strays.into_iter().flatten() {
            self.add(last, Location::object(stray.name), Defect::Stray);
        }
        self.records()?;
        let manifest = self.snapshot.manifest();
        if manifest.verdict != Verdict::Complete {
            let losses = manifest.losses();
            let losses = losses.saturating_add(to_u64(manifest.failed_nodes()));
            let unsure = manifest.unsure();
            let verdict = manifest.verdict.as_str().to_owned();
            let place = self.snapshot.describe();
            self.add(
                last,
                Location::object(place),
                Defect::KnownLoss {
                    losses,
                    unsure,
                    verdict,
                },
            );
        }
        Ok(())
    }
}

impl Check<'_> {
    /// Checks the records of verifications (Y1, Y2).
    fn records(&self) -> Result<()> {
        let last = usize::MAX;
        let names = self.snapshot.list_verifications();
        let names = self.note(last, &self.snapshot.describe(), names)?;
        for name in names.into_iter().flatten() {
            let Err(error) = self.snapshot.read_verification(&name) else {
                continue;
            };
            // The snapshot is no worse for it.
            let finding = Finding::from_any_version(error, &name)?;
            let reason = finding.defect.to_string();
            self.add(last, Location::object(name), Defect::BadRecord { reason });
        }
        Ok(())
    }
}

/// What is checked next of a segment.
#[derive(Clone, Copy, Debug)]
enum Step {
    Block(usize),
    Other {
        frame: usize,
        /// Bytes by which the progress advances: those of tables are told at the end.
        told: u64,
    },
}

/// The segment that a block is checked as part of.
struct Within<'a> {
    number: usize,
    named: &'a ManifestSegment,
    segment: &'a SegmentReader,
    index: Option<&'a KeyIndex>,
    recount: Option<&'a OrderedRecount<'a>>,
}

/// Buffers for reading parts, reused.
#[derive(Debug, Default)]
struct PartBuffer {
    sections: SectionReader,
    raw: Vec<u8>,
}
