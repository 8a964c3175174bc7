//! The values of listed keys, read without a trace where the server can do so.

mod batch;
mod dialect;
mod early_sink;
mod lane;
mod meaning;
mod sink;

use crate::codecs::format::manifest::Counters;
use crate::codecs::protocol::cachedump::exptime_of_listing;
use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::protocol::stats::ServerVersion;
use crate::codecs::select::{Candidate, Judgement, Selection};
use crate::engines::source::fetch::lane::Lane;
use crate::engines::source::fetch::meaning::Reading;
use crate::engines::source::packed_walk::Walked;
use crate::engines::source::seen_keys::{Seen, SeenKeys};
use crate::engines::source::spool::{LineForm, WalkChunk};
use crate::engines::source::strategy::{Carrier, ReadStrategy};
use crate::ports::net::{NetOptions, NodeBrake, ServerReport};
use crate::words::cancel::Cancel;
use crate::words::error::Result;
use crate::words::item::{Cas, Exptime, SlabClass};
use crate::words::limits::{LARGE_VALUE_LEN_MAX, VALUE_INLINE_LEN_MAX};
use crate::words::node::NodeSpec;
use crate::words::reasons::Reasons;
use crate::words::units::to_u64;

pub use lane::TOO_LONG;
pub use sink::ItemSink;

/// How values are read.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// Of the connection.
    pub net: NetOptions,
    /// Most keys asked for at once; the brake may want fewer.
    pub batch_key_count_max: usize,
    /// Most bytes asked for at once, as far as the walk told sizes; one larger item
    /// is asked for last in its batch.
    pub batch_bytes_max: u64,
    /// Values longer than this come in pieces.
    pub whole_value_len_max: u64,
    /// Values longer than this are refused.
    pub value_len_max: u64,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        Self {
            net: NetOptions::default(),
            batch_key_count_max: 1024,
            batch_bytes_max: 1 << 20,
            whole_value_len_max: VALUE_INLINE_LEN_MAX,
            value_len_max: LARGE_VALUE_LEN_MAX,
        }
    }
}

/// What became of the lines a fetcher took; `stored` and `duplicate` are for
/// the writer to tell, so `delivered` stands for both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchTally {
    /// All but `stored` and what the writer finds to be `duplicate`.
    pub counters: Counters,
    /// Items handed on.
    pub delivered: u64,
    /// Bytes of their keys and values.
    pub delivered_bytes: u64,
    /// Stale items whose win token was given back.
    pub win_tokens_returned: u64,
    /// Stale items whose win token could not be given back: no client is asked to
    /// make them again before they expire.
    pub win_tokens_kept: u64,
    /// Items handed on though what the server told does not decide whether they
    /// were selected.
    pub unknown_kept: u64,
    /// Why items were refused or failed, with how many each.
    pub reasons: Reasons,
    /// Some of the first items handed on: those of them that are still there tell
    /// that no flush has come since.
    pub witnesses: Vec<Witness>,
}

/// An item as it was read: its key, which text can carry, and its CAS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The key.
    pub key: Vec<u8>,
    /// The CAS, where the server has one.
    pub cas: Option<Cas>,
}

impl FetchTally {
    /// Witnesses that each fetcher remembers.
    const WITNESS_COUNT_MAX: usize = 16;

    /// Remembers an item that was handed on, if it is one of the first.
    fn witness(&mut self, key: &[u8], cas: Option<Cas>) {
        if self.witnesses.len() < Self::WITNESS_COUNT_MAX && KeyForm::of(key) == Some(KeyForm::Text)
        {
            let key = key.to_vec();
            self.witnesses.push(Witness { key, cas });
        }
    }

    fn filter(&mut self) {
        self.counters.filtered = self.counters.filtered.saturating_add(1);
    }

    fn refuse(&mut self, reason: &str) {
        self.counters.refused = self.counters.refused.saturating_add(1);
        self.reasons.add(reason);
    }

    /// Adds what another fetcher did.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.delivered = self.delivered.saturating_add(other.delivered);
        self.delivered_bytes = self.delivered_bytes.saturating_add(other.delivered_bytes);
        self.win_tokens_returned = self
            .win_tokens_returned
            .saturating_add(other.win_tokens_returned);
        self.win_tokens_kept = self.win_tokens_kept.saturating_add(other.win_tokens_kept);
        self.unknown_kept = self.unknown_kept.saturating_add(other.unknown_kept);
        self.reasons.merge(&other.reasons);
        self.witnesses.extend_from_slice(&other.witnesses);
    }
}

/// What a fetcher works for.
#[derive(Clone, Copy, Debug)]
pub struct FetchJob<'a> {
    /// Whom to ask.
    pub node: &'a NodeSpec,
    /// What it said of itself.
    pub server: &'a ServerReport,
    /// How to ask.
    pub strategy: ReadStrategy,
    /// How much at a time.
    pub options: &'a FetcherOptions,
    /// Which items to deliver.
    pub selection: &'a Selection,
    /// What was listed before; none where a walk lists every key once.
    pub seen: Option<&'a SeenKeys>,
    /// What every batch passes.
    pub brake: &'a NodeBrake,
    /// Stops it.
    pub cancel: &'a Cancel,
}

impl FetchJob<'_> {
    /// Judges by what the walk told; what that does not decide is judged again
    /// when the value is there.
    pub(super) fn judge_early(&self, key: &[u8], walked: &WalkItem) -> Judgement {
        if self.selection.is_everything() {
            return Judgement::Keep;
        }
        let server = self.server;
        let reading = Reading::now(server);
        let key_len = to_u64(key.len());
        let candidate = Candidate {
            key,
            value_len: walked.exact_value_len(key_len, &server.settings),
            exptime: walked.exptime.map(|exptime| reading.to_host_clock(exptime)),
            last_access: walked.last_access.map(|at| server.to_host_time(at)),
            client_flags: walked.client_flags,
            slab_class: walked.class.map(SlabClass),
            now: reading.host_now,
        };
        let judgement = self.selection.judge_early(&candidate);
        let Some(value_lens) = walked.value_lens(key_len) else {
            return judgement;
        };
        // Most sizes that are asked for are far from an item's.
        if judgement == Judgement::Unknown && candidate.value_len.is_none() {
            return self.selection.judge_early_of(&candidate, value_lens);
        }
        judgement
    }
}

/// Reads values over one connection, or two where odd keys go another way.
#[derive(Debug)]
pub struct Fetcher<'a> {
    job: FetchJob<'a>,
    text: Lane,
    binary: Lane,
    tally: FetchTally,
    key: Vec<u8>,
}

impl<'a> Fetcher<'a> {
    /// Prepares; connects when the first batch is asked for.
    pub fn new(job: FetchJob<'a>) -> Self {
        Self {
            job,
            text: Lane::default(),
            binary: Lane::default(),
            tally: FetchTally::default(),
            key: Vec::new(),
        }
    }

    /// Fetches the items of some lines and hands them on; every line is counted
    /// exactly once, but for those of keys that a kept segment has, which are
    /// counted there.
    ///
    /// # Errors
    ///
    /// - The node does not answer any more: what was not fetched is counted
    ///   as missing, and so is all that is passed to later calls.
    /// - `Io`: the set of keys has no room; keys that it cannot tell are not counted.
    /// - Whatever the sink returns.
    pub fn fetch(&mut self, chunk: &WalkChunk, sink: &mut dyn ItemSink) -> Result<()> {
        let mut first_error = None;
        let shown = chunk.visit(&mut |walked| {
            let asked = self.ask(walked, chunk.form);
            if let Err(error) = asked.and_then(|()| self.fetch_full(sink)) {
                first_error.get_or_insert(error);
            }
            Ok(())
        });
        if let Err(error) = shown {
            first_error.get_or_insert(error);
        }
        for lane in [&mut self.text, &mut self.binary] {
            if let Err(error) = lane.fetch(&self.job, &mut self.tally, sink) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn fetch_full(&mut self, sink: &mut dyn ItemSink) -> Result<()> {
        for lane in [&mut self.text, &mut self.binary] {
            if lane.is_full(&self.job) {
                lane.fetch(&self.job, &mut self.tally, sink)?;
            }
        }
        Ok(())
    }

    /// Returns what became of all lines.
    pub fn into_tally(self) -> FetchTally {
        self.tally
    }

    /// Returns the items done with so far, whatever became of them but for those that
    /// were given up unread, and the bytes of those handed on.
    pub fn done(&self) -> (u64, u64) {
        let counters = &self.tally.counters;
        let unread = counters.duplicate.saturating_add(counters.missing);
        (
            counters.listed.saturating_sub(unread),
            self.tally.delivered_bytes,
        )
    }

    /// Adds a line's item to the next batch, or counts why not.
    fn ask(&mut self, walked: Walked<'_>, form: LineForm) -> Result<()> {
        self.key.clear();
        let walked = match walked {
            Walked::Item { key, item } => {
                self.key.extend_from_slice(key);
                Some(self.with_meaning(item, form))
            }
            Walked::Broken(line) => {
                // Each pass shows it again. No key that is understood ends so.
                self.key.extend_from_slice(line);
                self.key.push(b'\n');
                None
            }
        };
        if let Some(seen) = self.job.seen {
            match seen.insert(&self.key)? {
                Seen::Never => {}
                // Counted where it was read out of its segment.
                Seen::Kept => return Ok(()),
                Seen::Listed => {
                    let counters = &mut self.tally.counters;
                    counters.listed = counters.listed.saturating_add(1);
                    counters.duplicate = counters.duplicate.saturating_add(1);
                    return Ok(());
                }
            }
        }
        self.tally.counters.listed = self.tally.counters.listed.saturating_add(1);
        let Some(walked) = walked else {
            self.tally
                .refuse("a line of the walk could not be understood");
            return Ok(());
        };
        let judgement = self.job.judge_early(&self.key, &walked);
        if judgement == Judgement::Drop {
            self.tally.filter();
            return Ok(());
        }
        let Some(carrier) = self.job.strategy.carrier(&self.key) else {
            self.tally.refuse(
                "a key with a space or line end, which no command of this server can carry",
            );
            return Ok(());
        };
        if self.is_surely_too_long(&walked) {
            self.tally.refuse(TOO_LONG);
            return Ok(());
        }
        let lane = match carrier {
            Carrier::Meta(_) | Carrier::Classic { .. } => &mut self.text,
            Carrier::Binary => &mut self.binary,
        };
        lane.push(&self.key, carrier, walked, judgement);
        Ok(())
    }

    /// Makes a moment of the number that a listing has for one.
    fn with_meaning(&self, item: WalkItem, form: LineForm) -> WalkItem {
        let (LineForm::Cachedump { .. }, Some(Exptime::At(number))) = (form, item.exptime) else {
            return item;
        };
        let stats = &self.job.server.stats;
        let is_told = self.job.strategy.version >= ServerVersion::LISTING_TELLS_EXPTIME;
        let exptime = is_told.then(|| exptime_of_listing(number.0, stats.started_at()));
        WalkItem { exptime, ..item }
    }

    /// Says so only where no version's way of counting could let the value be
    /// within the bound.
    fn is_surely_too_long(&self, walked: &WalkItem) -> bool {
        /// Header, CAS and the rest of an item beside key and value: what
        /// memcached counts at least, and what it may count more.
        const ITEM_OVERHEAD: u64 = 48 + 40;
        let around = ITEM_OVERHEAD.saturating_add(to_u64(self.key.len()));
        let of_item = walked.item_size.unwrap_or(0).saturating_sub(around);
        walked.value_len.unwrap_or(of_item) > self.job.options.value_len_max
    }
}
