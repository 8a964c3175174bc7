//! Dumps a stopped server's restart file, without a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codecs::format::checksum::shard_of;
use crate::codecs::format::compression::Compression;
use crate::codecs::format::manifest::{Manifest, ManifestNode};
use crate::codecs::ring::RingSpec;
use crate::codecs::select::{Candidate, Selection};
use crate::codecs::warm_file::{Found, Meta, Refusal, SlabClasses, WarmFile, WarmItem};
use crate::engines::pump::{ItemSink as _, Outlet, PumpOptions, Queues, pump};
use crate::engines::sink::{OwnerDefaults, bind_owners};
use crate::engines::snapshot::{ShardOptions, ShardResult, ShardSink, SnapshotDraft};
use crate::engines::source::TOO_LONG;
use crate::jobs::dump::balance::balance;
use crate::jobs::dump::plan::check_segment_options;
use crate::jobs::dump::report::{DumpReport, Kept};
use crate::ports::host;
use crate::ports::host::Stopwatch;
use crate::ports::store::{RestartFile, Store};
use crate::ports::threads::side_by_side;
use crate::words::budget::MemoryLimit;
use crate::words::cancel::Cancel;
use crate::words::counters::Counters;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::item::Record;
use crate::words::limits::{LARGE_VALUE_LEN_MAX, THREAD_COUNTS, check_range};
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use crate::words::progress::{Event, Progress};
use crate::words::reasons::Reasons;
use crate::words::units::{UnixSecs, to_u64};

/// The options of the dump.
#[derive(Clone, Debug)]
pub struct WarmFileOptions {
    /// The restart file; its `.meta` file is next to it.
    pub path: PathBuf,
    /// The node of the cluster that the server was, if known.
    pub node: Option<NodeSpec>,
    /// The snapshot's name in the store.
    pub name: String,
    /// How the cluster places keys, recorded in the snapshot.
    pub rings: Vec<RingSpec>,
    /// The most bytes of a segment, unless a single record has more.
    pub segment_size_max: u64,
    /// The most records of a segment.
    pub segment_record_count_max: u64,
    /// How sections are compressed.
    pub compression: Compression,
    /// The snapshot has 2^bits shards, each with a writer thread.
    pub shard_bits: u8,
    /// Threads that read pages.
    pub thread_count: usize,
    /// How much memory the job may take.
    pub memory_limit: MemoryLimit,
    /// Which items are dumped. Times are relative to the moment the server stopped.
    pub selection: Selection,
}

impl WarmFileOptions {
    /// Checks that every number is in its range.
    ///
    /// # Errors
    ///
    /// - `InvalidInput` with the name of the option.
    pub fn validate(&self) -> Result<()> {
        check_segment_options(
            self.segment_size_max,
            self.segment_record_count_max,
            self.shard_bits,
        )?;
        check_range("thread_count", to_u64(self.thread_count), THREAD_COUNTS)
    }
}

/// A dump of a restart file for which everything is decided.
#[derive(Debug)]
pub struct WarmFilePlan {
    /// The options.
    pub options: WarmFileOptions,
    /// What the server recorded when it stopped.
    pub meta: Meta,
    /// How its pages are divided.
    pub classes: SlabClasses,
    file: RestartFile,
}

/// What became of the items of some pages.
#[derive(Debug, Default)]
struct Tally {
    /// All counters except `stored` and `duplicate`.
    counters: Counters,
    reasons: Reasons,
}

/// The pages of a file, which several threads share out among themselves.
struct Pages<'a> {
    file: WarmFile<'a>,
    /// The first page that no thread has taken.
    next: AtomicUsize,
    /// Longer values are read in pieces.
    whole_value_len_max: u64,
}

impl Tally {
    fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.reasons.merge(&other.reasons);
    }
}

impl WarmFilePlan {
    /// Opens the file and checks that it matches its `.meta` file.
    ///
    /// # Errors
    ///
    /// - `InvalidInput`: an option is out of its range; the memory limit is too low; the
    ///   file or its `.meta` cannot be read; there is no `.meta`, so the server did not stop properly or runs again; or
    ///   a [`Refusal`].
    /// - `Io`, `LimitExceeded`.
    pub fn make(mut options: WarmFileOptions) -> Result<Self> {
        options.validate()?;
        let owners = OwnerDefaults {
            ring: options.rings.first(),
            nodes: &[],
        };
        options.selection = bind_owners(&options.selection, owners)?;
        let file = RestartFile::open(&options.path, Meta::LEN_MAX).map_err(unusable)?;
        let file = file.ok_or_else(|| {
            let place = options.path.display().to_string();
            let reason = format!(
                "there is no {place}.meta: its server was not stopped with SIGUSR1, or runs on \
                 the file again; dump a running server by its address"
            );
            Error::invalid_input("warm-file", place, reason)
        })?;
        let refused = |refusal| refused(&options.path, &refusal);
        let meta = Meta::parse(file.meta()).map_err(refused)?;
        let classes = SlabClasses::of(&meta).map_err(refused)?;
        WarmFile::open(file.bytes()?, &meta, &classes).map_err(refused)?;
        let plan = Self {
            options,
            meta,
            classes,
            file,
        };
        plan.width(0)?;
        Ok(plan)
    }

    /// Returns the node's address in the snapshot: the given one, or one made from the
    /// name of the file.
    pub fn address(&self) -> String {
        if let Some(node) = &self.options.node {
            return node.address();
        }
        let name = self.options.path.file_name().unwrap_or_default();
        // Lists of nodes are split at commas, and lines at spaces.
        let plain = |letter: char| {
            let is_plain = letter.is_ascii_graphic() && !"/,\\\"'".contains(letter);
            if is_plain { letter } else { '_' }
        };
        let name: String = name.to_string_lossy().chars().map(plain).collect();
        format!("warm-file:{name}")
    }

    /// Dumps the file into a store and publishes the snapshot.
    ///
    /// The snapshot describes the moment the server stopped: according to its manifest,
    /// it began and ended then. Items that have expired since are in it, as in every
    /// older snapshot.
    ///
    /// On any error the segments written so far are removed, and there is no snapshot.
    ///
    /// # Errors
    ///
    /// - `AlreadyExists`: the name is taken.
    /// - `InvalidInput`: the values of items are in extstore.
    /// - `NodeChanged`: a server has opened the file meanwhile.
    /// - `Io` of the file or the store, `Canceled`.
    ///
    /// # Memory
    ///
    /// For each thread one value, and for each shard a batch of 256 KiB; for each shard
    /// up to five more batches, an open block, and 48 bytes for each record of an open
    /// segment. The file itself is mapped.
    pub fn run(
        &self,
        store: Arc<dyn Store>,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<DumpReport> {
        self.options.validate()?;
        let snapshot = SnapshotDraft::begin(store, &self.options.name)?;
        let report = self.run_into(&snapshot, cancel, progress);
        if report.is_err() {
            snapshot.discard();
        }
        progress.event(Event::Finished);
        report
    }

    fn run_into(
        &self,
        snapshot: &SnapshotDraft,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<DumpReport> {
        let clock = Stopwatch::start();
        progress.event(Event::Started {
            job: "dump",
            items_total: 0,
            bytes_total: 0,
        });
        let (tally, written) = self.read_all(snapshot, cancel, progress)?;
        cancel.check()?;
        // Checked last: everything read so far was read from an unchanged file.
        if !self.file.is_unchanged()? {
            let what = "a server has taken the restart file meanwhile, or changed its .meta";
            let error = Error::new(ErrorKind::NodeChanged { what });
            return Err(error.at(Location::object(self.file.describe())));
        }
        let (node, unaccounted) = self.describe_node(tally, &written);
        progress.event(Event::NodeFinished {
            node_index: None,
            node: node.address.clone(),
            items: node.counters.stored,
            failure: None,
        });
        let span = [self.meta.stop_time; 2];
        let selection = &self.options.selection;
        let manifest = Manifest {
            ring: RingSpec::to_record(&self.options.rings),
            select: (!selection.is_everything()).then(|| selection.to_string()),
            ..snapshot.assemble(span, vec![node], written.segments)
        };
        snapshot.publish(&manifest, 1)?;
        Ok(DumpReport {
            place: snapshot.describe(),
            rivals: snapshot.find_rivals(),
            manifest,
            win_tokens_returned: 0,
            win_tokens_kept: 0,
            unknown_kept: 0,
            unsettled: 0,
            walks_given_up: Vec::new(),
            unaccounted,
            kept: Kept::default(),
            elapsed: clock.elapsed(),
        })
    }

    /// Reads the pages on several threads, and writes each shard on another.
    fn read_all(
        &self,
        snapshot: &SnapshotDraft,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<(Tally, ShardResult)> {
        let file = WarmFile::open(self.file.bytes()?, &self.meta, &self.classes)
            .map_err(|refusal| refused(&self.options.path, &refusal))?;
        let created_at = host::now();
        let stop = cancel.child();
        let shard_of = |key: &[u8]| shard_of(key, self.options.shard_bits);
        let route = |key: &[u8]| usize::try_from(shard_of(key)).unwrap_or(usize::MAX);
        let width = self.width(snapshot.writing_memory())?;
        let pages = Pages {
            file,
            next: AtomicUsize::new(0),
            whole_value_len_max: width.whole_value_len_max,
        };
        let read = |queues: &Queues| -> Result<Tally> {
            let read_some = || {
                let mut outlet = Outlet::new(queues, &route);
                let read = self.read_pages(&pages, &mut outlet, &stop, progress);
                // The others need not continue.
                read.inspect_err(|_| stop.cancel())
            };
            let count = width.thread_count;
            let readers = vec![(); count];
            let tallies = side_by_side("page", readers, count, &stop, |()| read_some())?;
            let mut all = Tally::default();
            let mut errors = Vec::new();
            for tally in tallies {
                match tally {
                    Ok(tally) => all.merge(&tally),
                    Err(error) => errors.push(error),
                }
            }
            Error::first_cause(errors).map_or(Ok(all), Err)
        };
        let shard_count = 1_usize.checked_shl(self.options.shard_bits.into());
        let pump_options = PumpOptions {
            name: "shard",
            sinks: vec![1; shard_count.unwrap_or(1)],
            open_max: usize::MAX,
            outlet_count: width.thread_count,
            memory_max: width.pump_memory,
        };
        let open = |shard, _| {
            Ok(ShardSink::new(
                snapshot,
                self.shard_options(created_at, shard),
            ))
        };
        let (tally, shards) = pump(&pump_options, &stop, open, read).into_result()?;
        let mut written = ShardResult::default();
        for shard in shards.into_iter().flatten() {
            written.merge(shard);
        }
        Ok((tally, written))
    }

    /// Reads one page after the other until there are no more.
    fn read_pages(
        &self,
        pages: &Pages<'_>,
        outlet: &mut Outlet<'_>,
        stop: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        let mut value = Vec::new();
        loop {
            let page = pages.next.fetch_add(1, Ordering::Relaxed);
            if page >= pages.file.page_count() {
                return outlet.flush().map(|()| tally);
            }
            stop.check()?;
            // The last check before the bytes are accessed.
            self.file.bytes()?;
            let (mut items, mut bytes) = (0_u64, 0_u64);
            let lost_before = tally.counters.losses();
            for found in pages.file.page(page) {
                tally.counters.taken = tally.counters.taken.saturating_add(1);
                match found {
                    Found::Live(item) if !self.selects(&item) => {
                        tally.counters.filtered = tally.counters.filtered.saturating_add(1);
                    }
                    Found::Live(item) if to_u64(item.value_len()) > LARGE_VALUE_LEN_MAX => {
                        tally.counters.refused = tally.counters.refused.saturating_add(1);
                        tally.reasons.add(TOO_LONG);
                    }
                    Found::Live(item) if to_u64(item.value_len()) > pages.whole_value_len_max => {
                        let value_len = to_u64(item.value_len());
                        outlet.begin_large(item.key, &item.meta, value_len)?;
                        item.pieces().try_for_each(|piece| outlet.piece(piece))?;
                        outlet.end_large()?;
                        items = items.saturating_add(1);
                        bytes = bytes.saturating_add(value_len);
                    }
                    Found::Live(item) => {
                        let Some(record) = record_of(&item, &mut value) else {
                            // It was complete when it was found, and no longer is.
                            let what = "the restart file changes while it is read";
                            let error = Error::new(ErrorKind::NodeChanged { what });
                            return Err(error.at(Location::object(self.file.describe())));
                        };
                        items = items.saturating_add(1);
                        bytes = bytes
                            .saturating_add(to_u64(record.key.len()))
                            .saturating_add(to_u64(record.value.len()));
                        outlet.item(&record)?;
                    }
                    Found::Expired => {
                        tally.counters.expired = tally.counters.expired.saturating_add(1);
                    }
                    Found::Flushed | Found::Unlinked => {
                        tally.counters.vanished = tally.counters.vanished.saturating_add(1);
                    }
                    Found::Damaged { offset, why } => {
                        tally.counters.failed = tally.counters.failed.saturating_add(1);
                        let reason = format!("damaged at offset {offset} of the file: {why}");
                        tally.reasons.add(&reason);
                    }
                    Found::External { .. } => {
                        return Err(refused(&self.options.path, &Refusal::Extstore));
                    }
                }
            }
            progress.event(Event::Advanced {
                node_index: None,
                items,
                bytes,
            });
            let lost = tally.counters.losses().saturating_sub(lost_before);
            if lost > 0 {
                progress.event(Event::Lost {
                    node_index: None,
                    items: lost,
                });
            }
        }
    }

    fn selects(&self, item: &WarmItem<'_>) -> bool {
        let value_len = Some(to_u64(item.value_len()));
        let now = self.meta.stop_time;
        let candidate = Candidate::new(item.key, value_len, &item.meta, now);
        self.options.selection.judge(&candidate).keeps()
    }

    fn shard_options(&self, created_at: UnixSecs, shard: usize) -> ShardOptions {
        ShardOptions {
            segment_size_max: self.options.segment_size_max,
            segment_record_count_max: self.options.segment_record_count_max,
            compression: self.options.compression,
            node: self.address(),
            node_index: 0,
            shard_index: to_u64(shard),
            shard_bits: self.options.shard_bits,
            clock_offset: self.meta.clock_offset(),
            server_version: String::new(),
            created_at,
            first_sequence: 0,
        }
    }

    /// Makes the server's manifest entry; also returns by how many items its counters do
    /// not add up.
    fn describe_node(&self, mut tally: Tally, written: &ShardResult) -> (ManifestNode, u64) {
        let mut counters = Counters {
            stored: written.stored,
            ..tally.counters
        };
        if written.duplicate > 0 {
            // No server has a key twice, so one of the two records is not what it was.
            counters.failed = counters.failed.saturating_add(written.duplicate);
            let reason = "a second item of the same key: one of them is damaged";
            tally.reasons.add_many(reason, written.duplicate);
        }
        let unaccounted = balance(&mut counters, &mut tally.reasons);
        let node = ManifestNode {
            address: self.address(),
            // Neither file has the version.
            server_version: String::new(),
            pid: 0,
            server_started_at: self.meta.server_started_at().0,
            clock_offset: self.meta.clock_offset().to_string(),
            walk: "warm-file".to_owned(),
            shard_bits: self.options.shard_bits,
            items_start: counters.taken,
            items_end: counters.taken,
            unlisted: 0,
            look_ups: Vec::new(),
            unsure: 0,
            counters,
            reasons: tally.reasons,
            failure: None,
        };
        (node, unaccounted)
    }
}

/// Joins the pieces of a value; `None` if there are fewer bytes than before.
fn record_of<'a>(item: &WarmItem<'a>, buffer: &'a mut Vec<u8>) -> Option<Record<'a>> {
    let mut pieces = item.pieces();
    let first = pieces.next().unwrap_or_default();
    let value = if first.len() == item.value_len() {
        first
    } else {
        buffer.clear();
        buffer.extend_from_slice(first);
        pieces.for_each(|piece| buffer.extend_from_slice(piece));
        buffer.as_slice()
    };
    (value.len() == item.value_len()).then_some(Record {
        key: item.key,
        value,
        meta: item.meta,
    })
}

/// Turns the error of a file that cannot be opened into that of a wrong setting.
fn unusable(error: Error) -> Error {
    if let (ErrorKind::Io { .. }, Some(Location::Object { object, .. })) =
        (error.kind(), error.location())
    {
        return Error::invalid_input("warm-file", object.clone(), error.to_reason());
    }
    error
}

fn refused(path: &Path, refusal: &Refusal) -> Error {
    Error::invalid_input("warm-file", path.display().to_string(), refusal.to_string())
}
