//! Reads the values of listed keys.

use crate::codecs::protocol::cachedump::exptime_of_listing;
use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::protocol::stats::ServerVersion;
use crate::codecs::select::Judgement;
use crate::engines::pump::ItemSink;
use crate::engines::source::fetch::connection_batch::ConnectionBatch;
use crate::engines::source::fetch::job::FetchJob;
use crate::engines::source::fetch::reply_reader::TOO_LONG;
use crate::engines::source::fetch::tally::FetchTally;
use crate::engines::source::packed_walk::Walked;
use crate::engines::source::seen_keys::Seen;
use crate::engines::source::spool::{LineForm, WalkChunk};
use crate::engines::source::strategy::KeyProtocol;
use crate::words::error::Result;
use crate::words::item::Exptime;
use crate::words::progress::Troubles;
use crate::words::units::to_u64;

/// Reads values over one connection, or over two if odd keys need the binary protocol.
#[derive(Debug)]
pub struct Fetcher<'a> {
    job: FetchJob<'a>,
    text: ConnectionBatch,
    binary: ConnectionBatch,
    tally: FetchTally,
    key: Vec<u8>,
}

impl<'a> Fetcher<'a> {
    /// Creates a fetcher. It connects when the first batch is requested.
    pub fn new(job: FetchJob<'a>) -> Self {
        Self {
            job,
            text: ConnectionBatch::default(),
            binary: ConnectionBatch::default(),
            tally: FetchTally::default(),
            key: Vec::new(),
        }
    }

    /// Fetches the items of some walk lines and passes them on. Every line is counted
    /// exactly once, except lines of keys in a kept segment, which are counted there.
    ///
    /// # Errors
    ///
    /// - The node no longer answers: what was not fetched is counted as missing, and so
    ///   is everything passed to later calls.
    /// - `Io`: the set of keys has no room. Keys that it cannot look up are not counted.
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
        for batch in [&mut self.text, &mut self.binary] {
            if let Err(error) = batch.fetch(&self.job, &mut self.tally, sink) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn fetch_full(&mut self, sink: &mut dyn ItemSink) -> Result<()> {
        for batch in [&mut self.text, &mut self.binary] {
            if batch.is_full(&self.job) {
                batch.fetch(&self.job, &mut self.tally, sink)?;
            }
        }
        Ok(())
    }

    /// Returns what became of all lines.
    pub fn into_tally(self) -> FetchTally {
        self.tally
    }

    /// Returns how many items are finished, with any outcome except those given up
    /// unread, and how many bytes were passed on.
    pub fn done(&self) -> (u64, u64) {
        let counters = &self.tally.counters;
        let unread = counters.duplicate.saturating_add(counters.missing);
        (
            counters.taken.saturating_sub(unread),
            self.tally.delivered_bytes,
        )
    }

    /// Returns what did not go well so far.
    pub fn troubles(&self) -> Troubles {
        Troubles {
            retries: self.tally.reconnects,
            losses: self.tally.counters.losses(),
        }
    }

    /// Adds a line's item to the next batch, or counts why it is not requested.
    fn ask(&mut self, walked: Walked<'_>, form: LineForm) -> Result<()> {
        self.key.clear();
        let walked = match walked {
            Walked::Item { key, item } => {
                self.key.extend_from_slice(key);
                Some(self.with_exptime(item, form))
            }
            Walked::Broken(line) => {
                // Every pass lists a broken line again. No valid key ends with a line
                // feed.
                self.key.extend_from_slice(line);
                self.key.push(b'\n');
                None
            }
        };
        if let Some(seen) = self.job.seen {
            match seen.insert(&self.key)? {
                Seen::Never => {}
                // Counted when it was read from its segment.
                Seen::Kept => return Ok(()),
                Seen::Listed => {
                    let counters = &mut self.tally.counters;
                    counters.taken = counters.taken.saturating_add(1);
                    counters.duplicate = counters.duplicate.saturating_add(1);
                    return Ok(());
                }
            }
        }
        self.tally.counters.taken = self.tally.counters.taken.saturating_add(1);
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
        let Some(protocol) = self.job.strategy.protocol_for(&self.key) else {
            self.tally.refuse(
                "a key with a space or line end, which no command of this server can carry",
            );
            return Ok(());
        };
        if self.is_surely_too_long(&walked) {
            self.tally.refuse(TOO_LONG);
            return Ok(());
        }
        let batch = match protocol {
            KeyProtocol::Meta(_) | KeyProtocol::Classic { .. } => &mut self.text,
            KeyProtocol::Binary => &mut self.binary,
        };
        batch.push(&self.key, protocol, walked, judgement);
        Ok(())
    }

    /// Converts the number that a cachedump line has into an exptime.
    fn with_exptime(&self, item: WalkItem, form: LineForm) -> WalkItem {
        let (LineForm::Cachedump { .. }, Some(Exptime::At(number))) = (form, item.exptime) else {
            return item;
        };
        let stats = &self.job.server.stats;
        let is_told = self.job.strategy.version >= ServerVersion::LISTING_TELLS_EXPTIME;
        let exptime = is_told.then(|| exptime_of_listing(number.0, stats.started_at()));
        WalkItem { exptime, ..item }
    }

    /// Returns true only if the value exceeds the limit by every version's way of
    /// counting.
    fn is_surely_too_long(&self, walked: &WalkItem) -> bool {
        /// Header, CAS and the rest of an item besides key and value: the least that
        /// memcached counts, plus the most that it may add.
        const ITEM_OVERHEAD: u64 = 48 + 40;
        let around = ITEM_OVERHEAD.saturating_add(to_u64(self.key.len()));
        let of_item = walked.item_size.unwrap_or(0).saturating_sub(around);
        walked.value_len.unwrap_or(of_item) > self.job.options.value_len_max
    }
}
