//! The values of walked keys, read without a trace. protocol.txt, "Meta Get".

use std::ops::Range;
use std::time::{Duration, SystemTime};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::format::manifest::Counters;
use crate::item::{Attribute, Attributes, Cas, Exptime, ItemMeta, Record, SlabClass, escape_key};
use crate::limits::VALUE_LEN_MAX;
use crate::net::{Connection, NetOptions, Received, ServerReport, try_count_max};
use crate::node::NodeSpec;
use crate::protocol::exptime;
use crate::protocol::key::KeyForm;
use crate::protocol::metadump::{WalkItem, parse_item};
use crate::protocol::reply::{Reply, ReplyFlags, parse_reply};
use crate::protocol::request::{write_get, write_mark_stale};
use crate::protocol::stats::ServerVersion;
use crate::protocol::text::{Step, parse_i64, parse_u64, split_line};
use crate::reasons::Reasons;
use crate::units::{UnixSecs, to_u64};

/// How values are read.
#[derive(Clone, Debug)]
pub struct FetcherOptions {
    /// Of the connection.
    pub net: NetOptions,
    /// Keys asked for at once.
    pub batch_key_count_max: usize,
    /// Bytes asked for at once, as far as the walk told sizes; one larger item
    /// is asked for alone.
    pub batch_bytes_max: u64,
}

impl Default for FetcherOptions {
    fn default() -> Self {
        Self {
            net: NetOptions::default(),
            batch_key_count_max: 1024,
            batch_bytes_max: 1 << 20,
        }
    }
}

/// What became of the lines a fetcher took; `stored` and `duplicate` are for
/// the writer to tell, so `delivered` stands for both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchTally {
    /// All but `stored` and `duplicate`.
    pub counters: Counters,
    /// Items handed on.
    pub delivered: u64,
    /// Bytes of their keys and values.
    pub delivered_bytes: u64,
    /// Stale items whose win token was given back.
    pub win_tokens_returned: u64,
    /// Why items were refused or failed, with how many each.
    pub reasons: Reasons,
}

impl FetchTally {
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
        self.reasons.merge(&other.reasons);
    }
}

/// Longest value that is read: an item may have grown since it was walked, and
/// the walk's size is not exact to the byte. What is longer than a record may be
/// is counted as refused; only beyond this the connection is given up.
const READ_LEN_MAX: u64 = VALUE_LEN_MAX + (8 << 20);

/// Why a value is refused.
pub const TOO_LONG: &str = "a value longer than 64 MiB";

/// One asked-for item.
#[derive(Debug)]
struct Asked {
    key: Range<usize>,
    form: KeyForm,
    walked: WalkItem,
}

/// A version of a stale item whose win token we hold.
#[derive(Debug)]
struct HeldToken {
    key: Range<usize>,
    form: KeyForm,
    /// `None` on a server without CAS.
    cas: Option<u64>,
}

/// Reads values over one connection.
#[derive(Debug)]
pub struct Fetcher<'a> {
    node: &'a NodeSpec,
    server: &'a ServerReport,
    options: &'a FetcherOptions,
    cancel: &'a Cancel,
    connection: Option<Connection>,
    tally: FetchTally,
    keys: Vec<u8>,
    asked: Vec<Asked>,
    asked_bytes: u64,
    /// Tokens not given back yet; they outlive a broken connection.
    held: Vec<HeldToken>,
    request: Vec<u8>,
    key: Vec<u8>,
    has_given_up: bool,
}

impl<'a> Fetcher<'a> {
    const TRY_PAUSE: Duration = Duration::from_millis(200);
    /// Header, CAS and the rest of an item beside key and value: what
    /// memcached counts at least, so that no item within the limit is refused.
    const ITEM_OVERHEAD: u64 = 48;

    /// Prepares; connects when the first batch is asked for.
    pub fn new(
        node: &'a NodeSpec,
        server: &'a ServerReport,
        options: &'a FetcherOptions,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            node,
            server,
            options,
            cancel,
            connection: None,
            tally: FetchTally::default(),
            keys: Vec::new(),
            asked: Vec::new(),
            asked_bytes: 0,
            held: Vec::new(),
            request: Vec::new(),
            key: Vec::new(),
            has_given_up: false,
        }
    }

    /// Fetches the items of some walk lines and hands them on; every line is
    /// counted exactly once.
    ///
    /// # Errors
    ///
    /// - The node does not answer any more: what was not fetched is counted
    ///   as missing, and so is all that is passed to later calls.
    /// - Whatever `deliver` returns.
    pub fn fetch(
        &mut self,
        lines: &[u8],
        deliver: &mut dyn FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut rest = lines;
        let mut first_error = None;
        while let Some((line, len)) = split_line(rest) {
            rest = rest.get(len..).unwrap_or_default();
            self.ask(line);
            let is_full = self.asked.len() >= self.options.batch_key_count_max
                || self.asked_bytes >= self.options.batch_bytes_max;
            if is_full && let Err(error) = self.fetch_asked(deliver) {
                first_error.get_or_insert(error);
            }
        }
        if let Err(error) = self.fetch_asked(deliver) {
            first_error.get_or_insert(error);
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Returns what became of all lines.
    pub fn into_tally(self) -> FetchTally {
        self.tally
    }

    /// Returns the items handed on so far, and their bytes.
    pub fn delivered(&self) -> (u64, u64) {
        (self.tally.delivered, self.tally.delivered_bytes)
    }

    /// Adds a line's item to the next batch, or counts why not.
    fn ask(&mut self, line: &[u8]) {
        self.tally.counters.listed = self.tally.counters.listed.saturating_add(1);
        let Some(walked) = parse_item(line, &mut self.key) else {
            return self
                .tally
                .refuse("a line of the walk could not be understood");
        };
        let Some(form) = KeyForm::of(&self.key) else {
            return self.tally.refuse(
                "a key longer than 186 bytes with a space or line end, which no text command \
                 can carry",
            );
        };
        let item_size = walked.item_size.unwrap_or(0);
        let value_len = item_size.saturating_sub(Self::ITEM_OVERHEAD + to_u64(self.key.len()) + 20);
        if value_len > VALUE_LEN_MAX {
            return self.tally.refuse(TOO_LONG);
        }
        let start = self.keys.len();
        self.keys.extend_from_slice(&self.key);
        self.asked.push(Asked {
            key: start..self.keys.len(),
            form,
            walked,
        });
        self.asked_bytes = self.asked_bytes.saturating_add(item_size);
    }

    fn fetch_asked(&mut self, deliver: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        let fetched = self.try_fetch(deliver);
        self.asked.clear();
        self.keys.clear();
        self.asked_bytes = 0;
        if let Some(connection) = &mut self.connection {
            connection.shrink();
        }
        fetched
    }

    fn try_fetch(&mut self, deliver: &mut dyn FnMut(&Record<'_>) -> Result<()>) -> Result<()> {
        let mut answered = 0;
        let mut try_count = 0;
        while answered < self.asked.len() || !self.held.is_empty() {
            if self.has_given_up {
                self.count_missing(answered);
                return Ok(());
            }
            let before = answered;
            let Err(error) = self.exchange(&mut answered, deliver) else {
                return Ok(());
            };
            // A batch that gets on is no dead node.
            try_count = if answered > before { 1 } else { try_count + 1 };
            self.connection = None;
            if !error.is_retryable() || try_count >= try_count_max(&error) {
                self.has_given_up = true;
                self.count_missing(answered);
                return Err(error);
            }
            tracing::info!("{}; connecting again", error.to_chain());
            std::thread::sleep(Self::TRY_PAUSE);
            self.cancel.check()?;
        }
        Ok(())
    }

    fn count_missing(&mut self, answered: usize) {
        let missing = to_u64(self.asked.len().saturating_sub(answered));
        self.tally.counters.missing = self.tally.counters.missing.saturating_add(missing);
        self.held.clear();
    }

    /// Sends what is not answered yet, and takes the answers in order.
    fn exchange(
        &mut self,
        answered: &mut usize,
        deliver: &mut dyn FnMut(&Record<'_>) -> Result<()>,
    ) -> Result<()> {
        self.request.clear();
        for asked in self.asked.get(*answered..).unwrap_or_default() {
            let key = self.keys.get(asked.key.clone()).unwrap_or_default();
            write_get(key, asked.form, &mut self.request);
        }
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let connection = Connection::connect(self.node, &self.options.net, self.cancel)?;
                self.connection.insert(connection)
            }
        };
        let host_now = UnixSecs::from_system_time(SystemTime::now());
        let reading = Reading {
            server: self.server,
            server_now: self.server.to_server_time(host_now),
        };
        let (asked, keys, tally) = (&self.asked, &self.keys, &mut self.tally);
        let held = &mut self.held;
        let exchanged = connection.exchange("get", &self.request, |bytes| {
            let mut consumed = 0;
            while let Some(item) = asked.get(*answered) {
                let rest = bytes.get(consumed..).unwrap_or_default();
                let (reply, len) = match parse_reply(rest, READ_LEN_MAX)? {
                    Step::Need => return Ok(Received::More(consumed)),
                    Step::Done(reply, len) => (reply, len),
                };
                consumed += len;
                let key = keys.get(item.key.clone()).unwrap_or_default();
                match reading.outcome(item, reply, rest)? {
                    Outcome::Found {
                        value,
                        meta,
                        has_win_token,
                    } => {
                        // Counted first: the writer counts what it is given.
                        *answered += 1;
                        if has_win_token {
                            let cas = meta.cas.map(|cas| cas.0);
                            held.push(HeldToken {
                                key: item.key.clone(),
                                form: item.form,
                                cas,
                            });
                        }
                        tally.delivered = tally.delivered.saturating_add(1);
                        let len = to_u64(key.len() + value.len());
                        tally.delivered_bytes = tally.delivered_bytes.saturating_add(len);
                        deliver(&Record { key, value, meta })?;
                        continue;
                    }
                    Outcome::TooLong => tally.refuse(TOO_LONG),
                    Outcome::Vanished => {
                        tally.counters.vanished = tally.counters.vanished.saturating_add(1);
                    }
                    Outcome::Expired => {
                        tally.counters.expired = tally.counters.expired.saturating_add(1);
                    }
                    Outcome::Failed(words) => {
                        tracing::debug!(key = escape_key(key), words, "read failed");
                        tally.counters.failed = tally.counters.failed.saturating_add(1);
                        tally.reasons.add(&words);
                    }
                }
                *answered += 1;
            }
            Ok(Received::Done(consumed))
        });
        exchanged?;
        self.return_win_tokens()
    }

    /// Gives back the right to recache that reading a stale item takes: the
    /// next client that asks is to get it, as if we had never asked.
    fn return_win_tokens(&mut self) -> Result<()> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if self.held.is_empty() {
            return Ok(());
        }
        let keeps_cas = self.server.stats.version >= ServerVersion::EXPLICIT_CAS;
        self.request.clear();
        for token in &self.held {
            let key = self.keys.get(token.key.clone()).unwrap_or_default();
            let keep = token.cas.filter(|_| keeps_cas);
            write_mark_stale(key, token.form, token.cas, keep, &mut self.request);
        }
        let mut left = self.held.len();
        let tally = &mut self.tally;
        connection.exchange("mark stale", &self.request, |bytes| {
            let mut consumed = 0;
            while left > 0 {
                let rest = bytes.get(consumed..).unwrap_or_default();
                match parse_reply(rest, VALUE_LEN_MAX)? {
                    Step::Need => return Ok(Received::More(consumed)),
                    Step::Done(reply, len) => {
                        consumed += len;
                        left -= 1;
                        // Any other reply means the item has changed or gone,
                        // and our token with it.
                        if matches!(reply, Reply::Done(_)) {
                            tally.win_tokens_returned = tally.win_tokens_returned.saturating_add(1);
                        }
                    }
                }
            }
            Ok(Received::Done(consumed))
        })?;
        self.held.clear();
        Ok(())
    }
}

enum Outcome<'a> {
    Found {
        value: &'a [u8],
        meta: ItemMeta,
        /// Whether the reply brought the right to recache the item.
        has_win_token: bool,
    },
    TooLong,
    Vanished,
    Expired,
    Failed(String),
}

/// What is needed to make sense of a reply.
struct Reading<'a> {
    server: &'a ServerReport,
    server_now: UnixSecs,
}

impl Reading<'_> {
    /// Seconds by which a TTL in a reply may differ from the walk's exptime
    /// with nothing changed: both clocks show whole seconds.
    const TTL_TOLERANCE: u64 = 2;

    fn outcome<'r>(&self, item: &Asked, reply: Reply<'r>, bytes: &[u8]) -> Result<Outcome<'r>> {
        match reply {
            Reply::Value { value, .. } if to_u64(value.len()) > VALUE_LEN_MAX => {
                Ok(Outcome::TooLong)
            }
            Reply::Value { value, flags } => {
                let meta = self.meta(&item.walked, flags, bytes)?;
                let has_win_token = flags.has(b'W');
                Ok(Outcome::Found {
                    value,
                    meta,
                    has_win_token,
                })
            }
            Reply::Miss => match item.walked.exptime {
                Some(Exptime::At(at)) if at <= self.server_now => Ok(Outcome::Expired),
                Some(_) | None => Ok(Outcome::Vanished),
            },
            Reply::Refused(words) => {
                Ok(Outcome::Failed(String::from_utf8_lossy(words).into_owned()))
            }
            Reply::Done(_)
            | Reply::NotStored(_)
            | Reply::Exists(_)
            | Reply::NotFound(_)
            | Reply::Noop => Err(Error::protocol("VA or EN", bytes)),
        }
    }

    fn meta(&self, walked: &WalkItem, flags: ReplyFlags<'_>, bytes: &[u8]) -> Result<ItemMeta> {
        let missing = |wanted| Error::protocol(wanted, bytes);
        let client_flags = flags.get(b'f').and_then(parse_u64);
        let client_flags = client_flags.ok_or_else(|| missing("client flags (f)"))?;
        let ttl = flags
            .get(b't')
            .and_then(parse_i64)
            .ok_or_else(|| missing("a TTL (t)"))?;
        let cas = flags
            .get(b'c')
            .and_then(parse_u64)
            .ok_or_else(|| missing("a CAS (c)"))?;
        let exptime = exptime::from_ttl(ttl, self.server_now);
        let exptime = exptime.ok_or_else(|| missing("a TTL of -1 or more"))?;
        let mut attributes = Attributes::default();
        if let Some(fetched) = walked.fetched {
            attributes.set(Attribute::Fetched, fetched);
        }
        attributes.set(Attribute::Stale, flags.has(b'X'));
        // The token that this very reply brought is not the clients'.
        attributes.set(Attribute::WinSent, flags.has(b'Z'));
        Ok(ItemMeta {
            client_flags: Some(client_flags),
            exptime: Some(self.to_host_clock(closest(exptime, walked.exptime))),
            last_access: walked.last_access.map(|at| self.server.to_host_time(at)),
            cas: (self.server.settings.has_cas && cas != 0).then_some(Cas(cas)),
            slab_class: walked.class.map(SlabClass),
            attributes,
        })
    }

    fn to_host_clock(&self, exptime: Exptime) -> Exptime {
        match exptime {
            Exptime::Never => Exptime::Never,
            Exptime::At(at) => Exptime::At(self.server.to_host_time(at)),
        }
    }
}

/// Prefers the walk's exptime, which is exact, unless the item was touched
/// since.
fn closest(read: Exptime, walked: Option<Exptime>) -> Exptime {
    match (read, walked) {
        (Exptime::At(read_at), Some(Exptime::At(walked_at)))
            if read_at.0.abs_diff(walked_at.0) <= Reading::TTL_TOLERANCE =>
        {
            Exptime::At(walked_at)
        }
        _ => read,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walks_exptime_is_kept_unless_the_item_was_touched() {
        let at = |seconds| Exptime::At(UnixSecs(seconds));
        assert_eq!(closest(at(101), Some(at(100))), at(100));
        assert_eq!(closest(at(160), Some(at(100))), at(160));
        assert_eq!(closest(Exptime::Never, Some(at(100))), Exptime::Never);
        assert_eq!(closest(at(160), Some(Exptime::Never)), at(160));
        assert_eq!(closest(at(160), None), at(160));
    }
}
