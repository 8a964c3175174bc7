//! Sets over one connection, every record accounted for. protocol.txt, "Meta
//! Set".

use std::time::{Duration, SystemTime};

use crate::batch::{ItemBatch, LargeItem};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::item::{Attribute, ItemMeta, escape_key};
use crate::limits::VALUE_LEN_MAX;
use crate::net::{Connection, NetOptions, Received, ServerReport, try_count_max};
use crate::node::NodeSpec;
use crate::pieces::Pieces;
use crate::protocol::exptime::TtlToken;
use crate::protocol::key::KeyForm;
use crate::protocol::reply::{Reply, parse_reply};
use crate::protocol::request::{
    NOOP, SET_TAIL, SetFields, SetMode, write_mark_stale, write_set, write_set_head,
    write_take_win_token,
};
use crate::protocol::stats::ServerVersion;
use crate::protocol::text::{Step, parse_u64};
use crate::reasons::Reasons;
use crate::target::rebase::rebase;
use crate::units::{UnixSecs, to_u64};

/// How records are stored.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Of the connection.
    pub net: NetOptions,
    /// Whether to replace what is there.
    pub mode: SetMode,
}

/// What became of the records a loader took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadTally {
    /// Records taken; the sum of all below but `clamped`.
    pub taken: u64,
    /// Outcome: the node has them.
    pub stored: u64,
    /// Bytes of their keys and values.
    pub stored_bytes: u64,
    /// Outcome: mode *add*, and the node has the key already.
    pub existing: u64,
    /// Outcome: expired since the dump.
    pub expired: u64,
    /// Loss: larger than the node's largest item.
    pub too_large: u64,
    /// Loss: cannot be carried by a set, such as an odd key that is too long.
    pub refused: u64,
    /// Loss: the node answered with an error.
    pub failed: u64,
    /// Loss: the node went away.
    pub unsent: u64,
    /// Of the stored: expire in 2038, earlier than they should.
    pub clamped: u64,
    /// Why records were refused or failed, with how many each.
    pub reasons: Reasons,
}

impl LoadTally {
    /// Returns how many records were lost.
    pub fn losses(&self) -> u64 {
        self.too_large
            .saturating_add(self.refused)
            .saturating_add(self.failed)
            .saturating_add(self.unsent)
    }

    /// Returns how many records have an outcome or are a loss; equal to `taken`
    /// when every record is accounted for.
    pub fn accounted(&self) -> u64 {
        self.stored
            .saturating_add(self.existing)
            .saturating_add(self.expired)
            .saturating_add(self.losses())
    }

    /// Adds what another loader did.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [
            (&mut self.taken, other.taken),
            (&mut self.stored, other.stored),
            (&mut self.stored_bytes, other.stored_bytes),
            (&mut self.existing, other.existing),
            (&mut self.expired, other.expired),
            (&mut self.too_large, other.too_large),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.unsent, other.unsent),
            (&mut self.clamped, other.clamped),
        ];
        for (sum, count) in pairs {
            *sum = sum.saturating_add(count);
        }
        self.reasons.merge(&other.reasons);
    }

    fn count(&mut self, fate: &Fate, key: &[u8], value_len: u64, is_clamped: bool) {
        match fate {
            Fate::Stored => {
                self.stored = self.stored.saturating_add(1);
                let len = to_u64(key.len()).saturating_add(value_len);
                self.stored_bytes = self.stored_bytes.saturating_add(len);
                if is_clamped {
                    self.clamped = self.clamped.saturating_add(1);
                }
            }
            Fate::Existing => self.existing = self.existing.saturating_add(1),
            Fate::Expired => self.expired = self.expired.saturating_add(1),
            Fate::TooLarge => self.too_large = self.too_large.saturating_add(1),
            Fate::Refused(reason) => {
                self.refused = self.refused.saturating_add(1);
                self.reasons.add(reason);
            }
            Fate::Failed(words) => {
                tracing::debug!(key = escape_key(key), words, "set failed");
                self.failed = self.failed.saturating_add(1);
                self.reasons.add(words);
            }
        }
    }
}

/// What becomes of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    Existing,
    Expired,
    TooLarge,
    Refused(&'static str),
    Failed(String),
}

/// A record on its way, by its number in the batch.
#[derive(Debug)]
struct Sent {
    index: usize,
    form: KeyForm,
    ttl: u64,
    is_clamped: bool,
    /// A stale item is stored; its marks may not be yet.
    is_set: bool,
    /// `None` while nobody has told.
    fate: Option<Fate>,
}

/// What came of an item whose value is read as it is sent.
#[derive(Debug)]
pub enum LargeLoad {
    /// It is counted.
    Counted,
    /// Its value could not be read to the end: the node has not got it, and it
    /// is not counted.
    Unread(Error),
}

/// Pieces that remember whether it was they that failed.
struct WatchedPieces<'a> {
    pieces: Box<dyn Pieces + 'a>,
    has_failed: bool,
}

impl Pieces for WatchedPieces<'_> {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        let piece = self.pieces.next_piece();
        self.has_failed = piece.is_err();
        piece
    }
}

/// Stores records over one connection.
#[derive(Debug)]
pub struct Loader<'a> {
    node: &'a NodeSpec,
    server: &'a ServerReport,
    options: LoadOptions,
    cancel: &'a Cancel,
    connection: Option<Connection>,
    tally: LoadTally,
    request: Vec<u8>,
    has_given_up: bool,
}

impl<'a> Loader<'a> {
    const TRY_PAUSE: Duration = Duration::from_millis(200);

    /// Prepares; connects when the first batch comes.
    pub fn new(
        node: &'a NodeSpec,
        server: &'a ServerReport,
        options: LoadOptions,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            node,
            server,
            options,
            cancel,
            connection: None,
            tally: LoadTally::default(),
            request: Vec::new(),
            has_given_up: false,
        }
    }

    /// Stores a batch; every record is counted exactly once.
    ///
    /// # Errors
    ///
    /// - The node does not answer any more: what it has not confirmed is
    ///   counted as unsent, and so is all that is passed to later calls.
    pub fn load(&mut self, batch: &ItemBatch) -> Result<()> {
        self.tally.taken = self.tally.taken.saturating_add(to_u64(batch.len()));
        let mut sent = self.prepare(batch);
        let stored = self.try_store(&mut sent, &mut |loader, sent| loader.store(batch, sent));
        for sent in &sent {
            let Some(record) = batch.get(sent.index) else {
                continue;
            };
            match &sent.fate {
                Some(fate) => {
                    let (key, value_len) = (record.key, to_u64(record.value.len()));
                    self.tally.count(fate, key, value_len, sent.is_clamped);
                }
                None => self.tally.unsent = self.tally.unsent.saturating_add(1),
            }
        }
        stored
    }

    /// Stores an item whose value is read as it is sent, from the front again if
    /// the connection breaks.
    ///
    /// # Errors
    ///
    /// - As [`Loader::load`]. What keeps the value from being read is in the
    ///   result.
    ///
    /// # Memory
    ///
    /// What reading the value takes.
    pub fn load_large(&mut self, item: &LargeItem) -> Result<LargeLoad> {
        let host_now = UnixSecs::from_system_time(SystemTime::now());
        let mut sent = self.decide(0, &item.key, item.value.len(), &item.meta, host_now);
        let mut unread = None;
        let stored = self.try_store(std::slice::from_mut(&mut sent), &mut |loader, sent| {
            for sent in sent {
                unread = loader.store_large(item, sent)?;
            }
            Ok(())
        });
        if let Some(error) = unread {
            return Ok(LargeLoad::Unread(error));
        }
        self.tally.taken = self.tally.taken.saturating_add(1);
        match &sent.fate {
            Some(fate) => {
                let value_len = item.value.len();
                self.tally
                    .count(fate, &item.key, value_len, sent.is_clamped);
            }
            None => self.tally.unsent = self.tally.unsent.saturating_add(1),
        }
        stored.map(|()| LargeLoad::Counted)
    }

    /// Returns what became of all records.
    pub fn into_tally(self) -> LoadTally {
        self.tally
    }

    /// Decides what to send; what is not sent has its fate already.
    fn prepare(&self, batch: &ItemBatch) -> Vec<Sent> {
        let host_now = UnixSecs::from_system_time(SystemTime::now());
        let records = batch.iter().enumerate();
        records
            .map(|(index, record)| {
                let (key, value_len) = (record.key, to_u64(record.value.len()));
                self.decide(index, key, value_len, &record.meta, host_now)
            })
            .collect()
    }

    fn decide(
        &self,
        index: usize,
        key: &[u8],
        value_len: u64,
        meta: &ItemMeta,
        host_now: UnixSecs,
    ) -> Sent {
        let mut sent = Sent {
            index,
            form: KeyForm::Text,
            ttl: 0,
            is_clamped: false,
            is_set: false,
            fate: None,
        };
        match KeyForm::of(key) {
            Some(form) => sent.form = form,
            None => {
                sent.fate = Some(Fate::Refused(
                    "a key longer than 186 bytes with a space, NUL or line end, which no text \
                     command can carry",
                ));
            }
        }
        match meta
            .exptime
            .map(|exptime| rebase(exptime, self.server, host_now))
        {
            Some(TtlToken::Send(ttl)) => sent.ttl = ttl,
            Some(TtlToken::Clamped(ttl)) => {
                sent.ttl = ttl;
                sent.is_clamped = true;
            }
            Some(TtlToken::Expired) => sent.fate = Some(Fate::Expired),
            None => sent.fate = Some(Fate::Refused("the snapshot does not tell the exptime")),
        }
        let client_flags = meta.client_flags.unwrap_or(0);
        if sent.fate.is_none() && client_flags > self.server.settings.client_flags_max {
            sent.fate = Some(Fate::Refused(
                "client flags above 32 bits, which this node cuts",
            ));
        }
        let item_size = self.item_size(key, value_len, client_flags);
        if sent.fate.is_none() && item_size > self.server.settings.item_size_max {
            sent.fate = Some(Fate::TooLarge);
        }
        sent
    }

    /// Returns what memcached will count for the item: `item_make_header` in
    /// items.c. An item that is too large is not even tried, since the server
    /// then deletes what it has under the key.
    fn item_size(&self, key: &[u8], value_len: u64, client_flags: u64) -> u64 {
        const HEADER: u64 = 48;
        let cas = if self.server.settings.has_cas { 8 } else { 0 };
        let flags = if client_flags == 0 { 0 } else { 4 };
        let text = to_u64(key.len()).saturating_add(value_len);
        // One NUL behind the key, CRLF behind the value.
        text.saturating_add(HEADER + cas + flags + 3)
    }

    /// Makes the attempt, and again over a new connection where the last one
    /// broke, until every record has its fate.
    fn try_store(
        &mut self,
        sent: &mut [Sent],
        attempt: &mut dyn FnMut(&mut Self, &mut [Sent]) -> Result<()>,
    ) -> Result<()> {
        let mut try_count = 0;
        while sent.iter().any(|sent| sent.fate.is_none()) {
            if self.has_given_up {
                return Ok(());
            }
            let Err(error) = attempt(self, sent) else {
                return Ok(());
            };
            self.connection = None;
            try_count += 1;
            if !error.is_retryable() || try_count >= try_count_max(&error) {
                self.has_given_up = true;
                return Err(error);
            }
            // In mode add, what the broken connection did store will be found
            // existing, which is true, if not the whole truth.
            tracing::info!("{}; connecting again", error.to_chain());
            std::thread::sleep(Self::TRY_PAUSE);
            self.cancel.check()?;
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        if self.connection.is_none() {
            let connection = Connection::connect(self.node, &self.options.net, self.cancel)?;
            self.connection = Some(connection);
        }
        Ok(())
    }

    fn store(&mut self, batch: &ItemBatch, sent: &mut [Sent]) -> Result<()> {
        self.connect()?;
        // Stale items take more than one command, so they go one by one.
        let is_stale = |sent: &Sent| {
            batch
                .get(sent.index)
                .is_some_and(|record| record.meta.attributes.has(Attribute::Stale))
        };
        let is_told = self.store_quietly(batch, sent, is_stale)?;
        for sent in sent.iter_mut().filter(|sent| sent.fate.is_none()) {
            if is_stale(sent) {
                self.store_stale(batch, sent)?;
            } else if is_told {
                sent.fate = Some(Fate::Stored);
            }
        }
        if !is_told {
            self.store_aloud(batch, sent)?;
        }
        Ok(())
    }

    /// Sends all as one quiet batch, where only what is not stored has a reply.
    /// Returns false if there was an error: it does not say whose.
    fn store_quietly(
        &mut self,
        batch: &ItemBatch,
        sent: &mut [Sent],
        is_stale: impl Fn(&Sent) -> bool,
    ) -> Result<bool> {
        self.request.clear();
        for (opaque, sent) in sent.iter().enumerate() {
            if sent.fate.is_none() && !is_stale(sent) {
                self.write_set(batch, sent, opaque, true);
            }
        }
        if self.request.is_empty() {
            return Ok(true);
        }
        self.request.extend_from_slice(NOOP);
        let mut is_told = true;
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        connection.exchange("set", &self.request, |bytes| {
            let mut consumed = 0;
            loop {
                let rest = bytes.get(consumed..).unwrap_or_default();
                let (reply, len) = match parse_reply(rest, VALUE_LEN_MAX)? {
                    Step::Need => return Ok(Received::More(consumed)),
                    Step::Done(reply, len) => (reply, len),
                };
                consumed += len;
                match reply {
                    Reply::Noop => return Ok(Received::Done(consumed)),
                    Reply::NotStored(flags) => {
                        let opaque = flags.get(b'O').and_then(parse_u64);
                        let index = opaque.and_then(|opaque| usize::try_from(opaque).ok());
                        let sent = index.and_then(|index| sent.get_mut(index));
                        let Some(sent) = sent else {
                            return Err(Error::protocol("NS with our opaque", rest));
                        };
                        sent.fate = Some(Fate::Existing);
                    }
                    Reply::Refused(_) => is_told = false,
                    Reply::Value { .. }
                    | Reply::Done(_)
                    | Reply::Miss(_)
                    | Reply::Exists(_)
                    | Reply::NotFound(_) => {
                        return Err(Error::protocol("NS, MN or an error", rest));
                    }
                }
            }
        })?;
        Ok(is_told)
    }

    /// Sends what has no fate yet again, each with a reply of its own.
    ///
    /// In mode add, *not stored* now means that the quiet batch has stored it:
    /// had it been there before, the batch would have said so.
    fn store_aloud(&mut self, batch: &ItemBatch, sent: &mut [Sent]) -> Result<()> {
        self.request.clear();
        let waiting: Vec<usize> = (0..sent.len())
            .filter(|&at| sent.get(at).is_some_and(|s| s.fate.is_none()))
            .collect();
        for &at in &waiting {
            if let Some(sent) = sent.get(at) {
                self.write_set(batch, sent, at, false);
            }
        }
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let mut waiting = waiting.into_iter().peekable();
        connection.exchange("set", &self.request, |bytes| {
            let mut consumed = 0;
            while let Some(&at) = waiting.peek() {
                let rest = bytes.get(consumed..).unwrap_or_default();
                let (reply, len) = match parse_reply(rest, VALUE_LEN_MAX)? {
                    Step::Need => return Ok(Received::More(consumed)),
                    Step::Done(reply, len) => (reply, len),
                };
                consumed += len;
                waiting.next();
                if let Some(sent) = sent.get_mut(at) {
                    let fate = set_fate(&reply, rest)?;
                    sent.fate = Some(if fate == Fate::Existing {
                        Fate::Stored
                    } else {
                        fate
                    });
                }
            }
            Ok(Received::Done(consumed))
        })
    }

    /// Stores one stale item: the set, then the marks.
    fn store_stale(&mut self, batch: &ItemBatch, sent: &mut Sent) -> Result<()> {
        let Some(record) = batch.get(sent.index) else {
            return Ok(());
        };
        self.request.clear();
        self.write_set(batch, sent, 0, false);
        let fate = self.ask(set_fate)?;
        self.mark(record.key, &record.meta, sent, fate)
    }

    /// Stores an item whose value is read as it is sent; returns what kept that
    /// from being read.
    fn store_large(&mut self, item: &LargeItem, sent: &mut Sent) -> Result<Option<Error>> {
        self.connect()?;
        let fields = self.set_fields(&item.meta, sent, 0, false);
        self.request.clear();
        let value_len = item.value.len();
        write_set_head(&item.key, sent.form, value_len, &fields, &mut self.request);
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        let mut pieces = WatchedPieces {
            pieces: item.value.open(),
            has_failed: false,
        };
        let mut fate = None;
        let head = &self.request;
        let exchanged = connection.exchange_pieces("set", head, &mut pieces, SET_TAIL, |bytes| {
            match parse_reply(bytes, VALUE_LEN_MAX)? {
                Step::Need => Ok(Received::More(0)),
                Step::Done(reply, len) => {
                    fate = Some(set_fate(&reply, bytes)?);
                    Ok(Received::Done(len))
                }
            }
        });
        if let Err(error) = exchanged {
            if pieces.has_failed {
                // The server waits for the rest of the value, and drops what it
                // has with the connection.
                self.connection = None;
                return Ok(Some(error));
            }
            return Err(error);
        }
        match fate {
            Some(fate) if item.meta.attributes.has(Attribute::Stale) => {
                self.mark(&item.key, &item.meta, sent, fate)?;
            }
            fate => sent.fate = fate,
        }
        Ok(None)
    }

    /// Marks a stale item once it is set.
    fn mark(&mut self, key: &[u8], meta: &ItemMeta, sent: &mut Sent, set: Fate) -> Result<()> {
        let mut fate = set;
        // A connection that broke after our own set finds it existing now.
        if fate == Fate::Existing && sent.is_set {
            fate = Fate::Stored;
        }
        if fate == Fate::Stored {
            sent.is_set = true;
            let cas = self.cas_to_restore(meta);
            self.request.clear();
            write_mark_stale(key, sent.form, cas, cas, &mut self.request);
            if let Some(failed) = self.ask(mark_fate)? {
                sent.fate = Some(failed);
                return Ok(());
            }
            if meta.attributes.has(Attribute::WinSent) {
                self.request.clear();
                write_take_win_token(key, sent.form, &mut self.request);
                self.ask(|_, _| Ok(()))?;
            }
        }
        sent.fate = Some(fate);
        Ok(())
    }

    /// Sends the request, and takes its one reply.
    fn ask<T>(&mut self, take: impl Fn(&Reply<'_>, &[u8]) -> Result<T>) -> Result<T> {
        let mut taken = None;
        if let Some(connection) = &mut self.connection {
            connection.exchange("set", &self.request, |bytes| {
                match parse_reply(bytes, VALUE_LEN_MAX)? {
                    Step::Need => Ok(Received::More(0)),
                    Step::Done(reply, len) => {
                        taken = Some(take(&reply, bytes)?);
                        Ok(Received::Done(len))
                    }
                }
            })?;
        }
        taken.ok_or_else(|| Error::internal("an exchange ended without its reply"))
    }

    fn write_set(&mut self, batch: &ItemBatch, sent: &Sent, opaque: usize, is_quiet: bool) {
        let Some(record) = batch.get(sent.index) else {
            return;
        };
        let fields = self.set_fields(&record.meta, sent, opaque, is_quiet);
        write_set(
            record.key,
            sent.form,
            record.value,
            &fields,
            &mut self.request,
        );
    }

    fn set_fields(&self, meta: &ItemMeta, sent: &Sent, opaque: usize, is_quiet: bool) -> SetFields {
        SetFields {
            mode: self.options.mode,
            ttl: sent.ttl,
            client_flags: meta.client_flags.unwrap_or(0),
            cas: self.cas_to_restore(meta),
            opaque,
            is_quiet,
        }
    }

    /// Returns the version to give an item, where the server can.
    fn cas_to_restore(&self, meta: &ItemMeta) -> Option<u64> {
        // A proxy passes the flag on to servers of versions that nobody told.
        let is_able = self.server.settings.has_cas
            && self.server.stats.version >= ServerVersion::EXPLICIT_CAS
            && !self.server.is_proxy;
        meta.cas.filter(|_| is_able).map(|cas| cas.0)
    }
}

/// Reads the reply to a stale mark; a refusal is the record's failure, since an
/// item that is stale must not come back as fresh.
fn mark_fate(reply: &Reply<'_>, bytes: &[u8]) -> Result<Option<Fate>> {
    match reply {
        // Not there or not that version any more: somebody has changed it.
        Reply::Done(_) | Reply::Exists(_) | Reply::NotFound(_) => Ok(None),
        Reply::Refused(words) => {
            let words = String::from_utf8_lossy(words);
            Ok(Some(Fate::Failed(format!("stale mark: {words}"))))
        }
        Reply::Value { .. } | Reply::Miss(_) | Reply::NotStored(_) | Reply::Noop => {
            Err(Error::protocol("HD, EX or NF", bytes))
        }
    }
}

/// Reads the reply to a set that is not quiet.
fn set_fate(reply: &Reply<'_>, bytes: &[u8]) -> Result<Fate> {
    match reply {
        Reply::Done(_) => Ok(Fate::Stored),
        Reply::NotStored(_) => Ok(Fate::Existing),
        Reply::Refused(words) if words.starts_with(b"SERVER_ERROR object too large") => {
            Ok(Fate::TooLarge)
        }
        Reply::Refused(words) => Ok(Fate::Failed(String::from_utf8_lossy(words).into_owned())),
        Reply::Value { .. }
        | Reply::Miss(_)
        | Reply::Exists(_)
        | Reply::NotFound(_)
        | Reply::Noop => Err(Error::protocol("HD, NS or an error", bytes)),
    }
}
