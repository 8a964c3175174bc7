//! Stores records in a node, and accounts for every record.

mod binary_sets;
mod classic_sets;
mod meta_sets;
mod sent;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::codecs::protocol::binary::{parse_binary_store, write_binary_set_head};
use crate::codecs::protocol::classic::{
    StoreReply, has_skipped_value, parse_store, write_classic_set_head,
};
use crate::codecs::protocol::reply::parse_reply;
use crate::codecs::protocol::request::{SET_TAIL, SetMode, write_set_head};
use crate::codecs::protocol::text::Step;
use crate::engines::pump::{ItemBatch, LargeItem};
use crate::engines::sink::load::meta_sets::{MetaSets, set_outcome};
use crate::engines::sink::load::sent::{Rules, Sent};
use crate::engines::sink::strategy::{KeyProtocol, WriteStrategy};
use crate::engines::sink::tally::{LoadTally, SetOutcome};
use crate::ports::host;
use crate::ports::net::{
    Connection, NetOptions, NodeBrake, Pass, Received, ServerReport, try_count_max,
};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Result};
use crate::words::item::{Exptime, ItemMeta};
use crate::words::node::NodeSpec;
use crate::words::pieces::Pieces;
use crate::words::progress::Troubles;
use crate::words::units::to_u64;

/// How records are stored.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Connection options.
    pub net: NetOptions,
    /// Whether to replace existing items.
    pub mode: SetMode,
    /// The commands to use.
    pub strategy: WriteStrategy,
    /// The exptime of records for which the snapshot has none. If it is not given, they
    /// are refused.
    pub exptime_if_unknown: Option<Exptime>,
    /// The brake that every batch passes.
    pub brake: NodeBrake,
}

/// The outcome of an item whose value is read while it is sent.
#[derive(Debug)]
pub enum LargeLoad {
    /// The item is counted.
    Counted,
    /// The value could not be read to its end. The node does not have the item, and it is
    /// not counted.
    Unread(Error),
}

/// Pieces that remember whether reading them failed, and that end early if nothing more
/// is to be sent.
struct WatchedPieces<'a> {
    pieces: Box<dyn Pieces + 'a>,
    has_failed: bool,
    is_over: Option<&'a AtomicBool>,
    was_ended: bool,
}

impl Pieces for WatchedPieces<'_> {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        if is_raised(self.is_over) {
            self.was_ended = true;
            return Err(Error::internal(
                "a value that is not to be sent was sent on",
            ));
        }
        let piece = self.pieces.next_piece();
        self.has_failed = piece.is_err();
        piece
    }
}

fn is_raised(flag: Option<&AtomicBool>) -> bool {
    flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Stores records over one connection, and over a second one by the binary protocol if
/// the node's text protocol cannot carry some of them.
#[derive(Debug)]
pub struct Loader<'a> {
    node: &'a NodeSpec,
    net: NetOptions,
    rules: Rules<'a>,
    brake: NodeBrake,
    /// Bytes of the current batch that the brake has already charged.
    paid: u64,
    cancel: &'a Cancel,
    /// Raised when nothing more is to be sent; the rest is counted as unsent.
    is_over: Option<&'a AtomicBool>,
    text: Option<Connection>,
    binary: Option<Connection>,
    tally: LoadTally,
    /// How often a broken connection was replaced by a new one.
    reconnects: u64,
    request: Vec<u8>,
    has_given_up: bool,
}

impl<'a> Loader<'a> {
    const TRY_PAUSE: Duration = Duration::from_millis(200);

    /// Creates a loader. It connects when the first batch comes.
    pub fn new(
        node: &'a NodeSpec,
        server: &'a ServerReport,
        options: LoadOptions,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            node,
            net: options.net,
            rules: Rules {
                server,
                strategy: options.strategy,
                mode: options.mode,
                exptime_if_unknown: options.exptime_if_unknown,
            },
            brake: options.brake,
            paid: 0,
            cancel,
            is_over: None,
            text: None,
            binary: None,
            tally: LoadTally::default(),
            reconnects: 0,
            request: Vec::new(),
            has_given_up: false,
        }
    }

    /// Makes the loader send nothing more once the flag is raised, even in the middle of
    /// a batch or a value. The rest is counted as unsent.
    pub fn stop_when(&mut self, is_over: &'a AtomicBool) {
        self.is_over = Some(is_over);
    }

    /// Stores a batch; every record is counted exactly once.
    ///
    /// # Errors
    ///
    /// - The node no longer answers: what it has not confirmed is counted as unsure if it
    ///   was sent, and as unsent if not, as is everything passed to later calls.
    pub fn load(&mut self, batch: &ItemBatch) -> Result<()> {
        self.tally.counters.taken = self
            .tally
            .counters
            .taken
            .saturating_add(to_u64(batch.len()));
        let host_now = host::now();
        let mut sent: Vec<Sent> = batch
            .iter()
            .enumerate()
            .map(|(index, record)| {
                let (key, value_len) = (record.key, to_u64(record.value.len()));
                self.rules
                    .decide(index, key, value_len, &record.meta, host_now)
            })
            .collect();
        let mut stored = Ok(());
        let mut rest = sent.as_mut_slice();
        while !rest.is_empty() && !is_raised(self.is_over) {
            let count = self.part_len(batch, rest);
            let (part, later) = rest.split_at_mut(count);
            rest = later;
            let tried = self.try_store(part, &mut |loader, part| loader.store_part(batch, part));
            stored = stored.and(tried);
        }
        for sent in &sent {
            if let Some(record) = batch.get(sent.index) {
                self.count(sent, record.key, to_u64(record.value.len()), &record.meta);
            }
        }
        stored
    }

    /// Stores an item whose value is read while it is sent. If the connection breaks, the
    /// value is read again from the start.
    ///
    /// # Errors
    ///
    /// - As [`Loader::load`]. A failure to read the value is in the result.
    ///
    /// # Memory
    ///
    /// What reading the value takes.
    pub fn load_large(&mut self, item: &LargeItem) -> Result<LargeLoad> {
        let host_now = host::now();
        let value_len = item.value.len();
        let mut sent = self
            .rules
            .decide(0, &item.key, value_len, &item.meta, host_now);
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
        self.tally.counters.taken = self.tally.counters.taken.saturating_add(1);
        self.count(&sent, &item.key, value_len, &item.meta);
        stored.map(|()| LargeLoad::Counted)
    }

    /// Counts records that are not to be sent.
    pub fn leave_out(&mut self, count: u64) {
        self.tally.leave_out(count);
    }

    /// Returns what became of all records.
    pub fn into_tally(self) -> LoadTally {
        self.tally
    }

    /// Returns what did not go well so far.
    pub fn troubles(&self) -> Troubles {
        Troubles {
            retries: self.reconnects,
            losses: self.tally.counters.losses(),
        }
    }

    fn count(&mut self, sent: &Sent, key: &[u8], value_len: u64, meta: &ItemMeta) {
        let Some(outcome) = &sent.outcome else {
            let count = if sent.was_sent {
                &mut self.tally.counters.unsure
            } else {
                &mut self.tally.counters.unsent
            };
            *count = count.saturating_add(1);
            return;
        };
        self.tally.count(outcome, key, value_len, sent.is_clamped);
        if *outcome == SetOutcome::Stored && !self.rules.restores_cas(sent, meta) {
            self.tally.without_cas = self.tally.without_cas.saturating_add(1);
        }
        // Looking for a stale item would take its win token, and an item that only the
        // binary protocol can request comes with its value.
        if let (SetOutcome::Stored, false, Some(form)) = (outcome, sent.is_stale, sent.text_form) {
            let expires_at = match meta.exptime.or(self.rules.exptime_if_unknown) {
                Some(Exptime::At(at)) => Some(at),
                Some(Exptime::Never) | None => None,
            };
            self.tally.sample.offer(key, form, expires_at, value_len);
        }
    }

    /// Sends the records, and sends the rest again over a new connection if the last one
    /// broke, until every record has its outcome.
    fn try_store(
        &mut self,
        sent: &mut [Sent],
        attempt: &mut dyn FnMut(&mut Self, &mut [Sent]) -> Result<()>,
    ) -> Result<()> {
        let mut try_count = 0;
        while sent.iter().any(|sent| sent.outcome.is_none()) {
            if self.has_given_up {
                return Ok(());
            }
            let Err(error) = attempt(self, sent) else {
                return Ok(());
            };
            (self.text, self.binary) = (None, None);
            try_count += 1;
            if !error.is_retryable() || try_count >= try_count_max(&error) {
                self.has_given_up = true;
                return Err(error);
            }
            // In mode add, records that were stored over the broken connection will be
            // reported as existing. That is true, but not the whole truth.
            tracing::info!("{}; connecting again", error.to_chain());
            self.reconnects = self.reconnects.saturating_add(1);
            std::thread::sleep(Self::TRY_PAUSE);
            self.cancel.check()?;
        }
        Ok(())
    }

    /// Returns how many of these records may be sent at once; at least one.
    fn part_len(&self, batch: &ItemBatch, sent: &[Sent]) -> usize {
        let (items_max, bytes_max) = self.brake.batch_max();
        let (mut items, mut bytes): (u64, u64) = (0, 0);
        for (at, sent) in sent.iter().enumerate() {
            let len = waiting_len(batch, sent);
            items = items.saturating_add(u64::from(len.is_some()));
            bytes = bytes.saturating_add(len.unwrap_or(0));
            if at > 0 && (items > items_max || bytes > bytes_max) {
                return at;
            }
        }
        sent.len()
    }

    /// Stores a part of a batch once the brake admits it.
    fn store_part(&mut self, batch: &ItemBatch, sent: &mut [Sent]) -> Result<()> {
        let lens = sent.iter().filter_map(|sent| waiting_len(batch, sent));
        let (items, bytes) = lens.fold((0_u64, 0_u64), |(items, bytes), len| {
            (items.saturating_add(1), bytes.saturating_add(len))
        });
        self.connect_for(sent)?;
        let brake = self.brake.clone();
        let pass = brake.enter(items, bytes, self.cancel)?;
        self.paid = pass.paid();
        self.store(batch, sent, &pass)?;
        pass.finish(self.paid, bytes);
        Ok(())
    }

    /// Opens the connections that a part needs before the brake charges for it: a server
    /// that refuses connections is asked for nothing.
    fn connect_for(&mut self, sent: &[Sent]) -> Result<()> {
        let (node, net, cancel) = (self.node, &self.net, self.cancel);
        let mut left = sent.iter().filter(|sent| sent.outcome.is_none());
        // Marks need the text protocol as well.
        if left
            .clone()
            .any(|sent| sent.is_stale || is_waiting_for_text(sent))
        {
            connect(&mut self.text, node, net, cancel)?;
        }
        if left.any(is_waiting_for_binary) {
            connect_binary(&mut self.binary, node, net, cancel)?;
        }
        Ok(())
    }

    fn store(&mut self, batch: &ItemBatch, sent: &mut [Sent], pass: &Pass<'_>) -> Result<()> {
        if sent.iter().any(is_waiting_for_text) {
            self.store_by_text(batch, sent, pass)?;
        }
        if sent.iter().any(is_waiting_for_binary) {
            let connection = connect_binary(&mut self.binary, self.node, &self.net, self.cancel)?;
            connection.begin_batch(&self.brake, 0);
            binary_sets::store(connection, &mut self.request, self.rules, batch, sent)?;
            self.paid = self.paid.saturating_add(connection.paid());
        }
        for sent in sent.iter_mut().filter(|sent| sent.outcome.is_none()) {
            if let Some(record) = batch.get(sent.index) {
                self.mark(record.key, &record.meta, sent, pass)?;
            }
        }
        Ok(())
    }

    fn store_by_text(
        &mut self,
        batch: &ItemBatch,
        sent: &mut [Sent],
        pass: &Pass<'_>,
    ) -> Result<()> {
        let (node, net, rules) = (self.node, &self.net, self.rules);
        loop {
            let connection = connect(&mut self.text, node, net, self.cancel)?;
            connection.begin_batch(&self.brake, self.paid);
            let request = &mut self.request;
            if let Some(syntax) = rules.strategy.set_protocol.syntax() {
                let mut sets = MetaSets {
                    connection,
                    request,
                    rules,
                    syntax,
                    pass,
                };
                sets.store(batch, sent)?;
                self.paid = sets.connection.paid();
                return Ok(());
            }
            let is_in_step = classic_sets::store(connection, request, rules, batch, sent)?;
            self.paid = connection.paid();
            if is_in_step {
                return Ok(());
            }
            // Each attempt gives at least one more record its outcome, so this
            // terminates.
            self.text = None;
            let again = sent.iter().filter(|sent| is_waiting_for_text(sent));
            pass.count_sent(0, to_u64(again.count()));
        }
    }

    /// Marks a stored item that waits for its mark.
    fn mark(
        &mut self,
        key: &[u8],
        meta: &ItemMeta,
        sent: &mut Sent,
        pass: &Pass<'_>,
    ) -> Result<()> {
        let protocol = self.rules.strategy.set_protocol;
        let (true, Some(form), Some(syntax)) = (sent.is_set, sent.text_form, protocol.syntax())
        else {
            return Ok(());
        };
        let connection = connect(&mut self.text, self.node, &self.net, self.cancel)?;
        let mut sets = MetaSets {
            connection,
            request: &mut self.request,
            rules: self.rules,
            syntax,
            pass,
        };
        sent.outcome = Some(sets.mark(key, form, meta, sent.protocol)?);
        Ok(())
    }

    /// Stores an item whose value is read while it is sent, always with a reply. Returns
    /// the error that kept the value from being read.
    fn store_large(&mut self, item: &LargeItem, sent: &mut Sent) -> Result<Option<Error>> {
        if sent.is_waiting() {
            let mut pieces = WatchedPieces {
                pieces: item.value.open(),
                has_failed: false,
                is_over: self.is_over,
                was_ended: false,
            };
            let stored = self.send_large(item, &mut pieces, sent);
            if let Err(error) = stored {
                // The server waits for the rest of the value, and drops the item when the
                // connection closes.
                if pieces.was_ended {
                    (self.text, self.binary) = (None, None);
                    sent.was_sent = false;
                    return Ok(None);
                }
                if pieces.has_failed {
                    (self.text, self.binary) = (None, None);
                    return Ok(Some(error));
                }
                return Err(error);
            }
        }
        if sent.outcome.is_none() {
            let brake = self.brake.clone();
            let pass = brake.enter(0, 0, self.cancel)?;
            self.mark(&item.key, &item.meta, sent, &pass)?;
        }
        Ok(None)
    }

    fn send_large(
        &mut self,
        item: &LargeItem,
        pieces: &mut dyn Pieces,
        sent: &mut Sent,
    ) -> Result<()> {
        let (rules, key, value_len) = (self.rules, &item.key, item.value.len());
        let fields = rules.set_fields(&item.meta, sent, 0, false);
        let syntax = rules.strategy.set_protocol.syntax();
        let request = &mut self.request;
        request.clear();
        let (connection, tail) = match (sent.protocol, syntax) {
            (KeyProtocol::Binary, _) => {
                let fields = binary_sets::fields_of(rules, &item.meta, sent, 0);
                write_binary_set_head(key, value_len, &fields, request);
                (&mut self.binary, &b""[..])
            }
            (KeyProtocol::Text(form), Some(syntax)) => {
                write_set_head(syntax, key, form, value_len, &fields, request);
                (&mut self.text, SET_TAIL)
            }
            (KeyProtocol::Text(_), None) => {
                write_classic_set_head(key, value_len, &fields, request);
                (&mut self.text, SET_TAIL)
            }
        };
        let is_binary = sent.protocol == KeyProtocol::Binary;
        let connected = if is_binary {
            connect_binary(connection, self.node, &self.net, self.cancel)?
        } else {
            connect(connection, self.node, &self.net, self.cancel)?
        };
        let bytes = to_u64(key.len()).saturating_add(value_len);
        let pass = self.brake.enter(1, bytes, self.cancel)?;
        sent.was_sent = true;
        connected.begin_batch(&self.brake, pass.paid());
        let (mut outcome, mut is_in_step) = (None, true);
        connected.exchange_pieces("set", request, pieces, tail, |bytes| {
            let (len, told) = match (is_binary, syntax) {
                (true, _) => match parse_binary_store(bytes, rules.mode, 0)? {
                    Step::Need => return Ok(Received::More(0)),
                    Step::Done(reply, len) => (len, binary_sets::outcome_of(reply)),
                },
                (false, Some(_)) => match parse_reply(bytes, 0)? {
                    Step::Need => return Ok(Received::More(0)),
                    Step::Done(reply, len) => (len, set_outcome(&reply, bytes)?),
                },
                (false, None) => match parse_store(bytes)? {
                    Step::Need => return Ok(Received::More(0)),
                    Step::Done(reply, len) => {
                        if let StoreReply::Refused(words) = reply {
                            is_in_step = has_skipped_value(words);
                        }
                        (len, classic_sets::outcome_of(reply))
                    }
                },
            };
            outcome = Some(told);
            Ok(Received::Done(len))
        })?;
        pass.finish(connected.paid(), bytes);
        if !is_in_step {
            *connection = None;
        }
        sent.settle(outcome.ok_or_else(|| Error::internal("an exchange ended without its reply"))?);
        Ok(())
    }
}

/// Returns the bytes of a record's key and value that are to be sent; `None` if it has
/// its outcome.
fn waiting_len(batch: &ItemBatch, sent: &Sent) -> Option<u64> {
    let record = batch.get(sent.index).filter(|_| sent.is_waiting())?;
    Some(to_u64(record.key.len()).saturating_add(to_u64(record.value.len())))
}

fn is_waiting_for_text(sent: &Sent) -> bool {
    sent.is_waiting() && matches!(sent.protocol, KeyProtocol::Text(_))
}

fn is_waiting_for_binary(sent: &Sent) -> bool {
    sent.is_waiting() && sent.protocol == KeyProtocol::Binary
}

fn connect<'a>(
    connection: &'a mut Option<Connection>,
    node: &NodeSpec,
    net: &NetOptions,
    cancel: &Cancel,
) -> Result<&'a mut Connection> {
    if connection.is_none() {
        *connection = Some(Connection::connect(node, net, cancel)?);
    }
    let made = || Error::internal("a connection that was made is not there");
    connection.as_mut().ok_or_else(made)
}

fn connect_binary<'a>(
    connection: &'a mut Option<Connection>,
    node: &NodeSpec,
    net: &NetOptions,
    cancel: &Cancel,
) -> Result<&'a mut Connection> {
    let connected = connect(connection, node, net, cancel)?;
    // The usual prompt for a silent server is a line of text, which must not be sent
    // here.
    connected.be_patient(net.timeout);
    Ok(connected)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::mpsc::{self, RecvTimeoutError};

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::engines::sink::strategy::SetProtocol;
    use crate::ports::net::{Asked, Brake};
    use crate::words::error::{ErrorKind, Operation};
    use crate::words::item::{Attribute, Record};
    use crate::words::pieces::LargeValue;

    /// A value that must not be read.
    #[derive(Debug)]
    struct Unread;

    impl LargeValue for Unread {
        fn len(&self) -> u64 {
            1000
        }

        fn open(&self) -> Box<dyn Pieces + '_> {
            Box::new(Self)
        }
    }

    impl Pieces for Unread {
        fn next_piece(&mut self) -> Result<Option<&[u8]>> {
            Err(Error::internal("nothing was to be sent"))
        }
    }

    fn server() -> ServerReport {
        let mut server = ServerReport::default();
        server.settings.item_size_max = 1 << 20;
        server.settings.chunk_size_max = 1 << 19;
        server
    }

    fn options(brake: &NodeBrake) -> LoadOptions {
        LoadOptions {
            net: NetOptions::default(),
            mode: SetMode::Set,
            strategy: WriteStrategy {
                set_protocol: SetProtocol::Meta,
                has_binary_protocol: true,
                has_gets: true,
                holds_cas: true,
                client_flags_max: u32::MAX.into(),
            },
            exptime_if_unknown: Some(Exptime::Never),
            brake: brake.clone(),
        }
    }

    #[test]
    fn what_waits_at_the_brake_when_the_job_is_stopped_was_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let node: NodeSpec = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (brake, cancel) = (Brake::default().node("a:1", Asked::Sets), Cancel::new());
        // Takes all of the brake's room.
        let _pass = brake.enter(1, 1 << 30, &Cancel::new()).unwrap();
        let server = server();
        let mut loader = Loader::new(&node, &server, options(&brake), &cancel);
        let item = LargeItem {
            key: b"k".to_vec(),
            meta: ItemMeta::default(),
            value: Box::new(Unread),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _connection = listener.accept().unwrap();
                cancel.cancel();
            });
            let error = loader.load_large(&item).unwrap_err();
            assert!(error.is_canceled(), "{error}");
        });
        let tally = loader.into_tally();
        assert_eq!(
            (
                tally.counters.taken,
                tally.counters.unsent,
                tally.counters.unsure
            ),
            (1, 1, 0)
        );
    }

    /// A value that raises a flag when its first piece is read.
    #[derive(Debug)]
    struct Raising<'a>(&'a AtomicBool);

    struct RaisingPieces<'a>(&'a AtomicBool);

    impl LargeValue for Raising<'static> {
        fn len(&self) -> u64 {
            9 << 20
        }

        fn open(&self) -> Box<dyn Pieces + '_> {
            Box::new(RaisingPieces(self.0))
        }
    }

    impl Pieces for RaisingPieces<'_> {
        fn next_piece(&mut self) -> Result<Option<&[u8]>> {
            assert!(!self.0.swap(true, Ordering::Relaxed), "asked for more");
            Ok(Some(&[b'v'; 1000]))
        }
    }

    #[test]
    fn nothing_more_is_sent_once_that_is_over() {
        static IS_OVER: AtomicBool = AtomicBool::new(false);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let node: NodeSpec = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (brake, cancel) = (Brake::full_speed().node("a:1", Asked::Sets), Cancel::new());
        let mut server = server();
        server.settings.item_size_max = 16 << 20;
        let mut loader = Loader::new(&node, &server, options(&brake), &cancel);
        loader.stop_when(&IS_OVER);
        let item = LargeItem {
            key: b"k".to_vec(),
            meta: ItemMeta::default(),
            value: Box::new(Raising(&IS_OVER)),
        };
        loader.load_large(&item).unwrap();
        // The server has half a value, and drops it.
        let mut batch = ItemBatch::default();
        for key in [b"a", b"b"] {
            batch.push(&Record {
                key,
                value: b"v",
                meta: ItemMeta::default(),
            });
        }
        loader.load(&batch).unwrap();
        let tally = loader.into_tally();
        assert_eq!(
            (
                tally.counters.taken,
                tally.counters.unsent,
                tally.counters.unsure
            ),
            (3, 3, 0)
        );
    }

    #[test]
    fn a_node_that_refuses_connections_costs_nothing_at_the_brake() {
        // A port that is taken, but that no process listens on.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any_port.into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let node: NodeSpec = address.to_string().parse().unwrap();
        let (brake, cancel) = (Brake::default().node("a:1", Asked::Sets), Cancel::new());
        // Takes all of the brake's room.
        let _pass = brake.enter(1, 1 << 30, &Cancel::new()).unwrap();
        let server = server();
        let mut loader = Loader::new(&node, &server, options(&brake), &cancel);
        let mut batch = ItemBatch::default();
        batch.push(&Record {
            key: b"k",
            value: b"v",
            meta: ItemMeta::default(),
        });
        let (is_over, over) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // A loader that waits at the brake would wait forever.
            let stop = cancel.clone();
            scope.spawn(move || {
                let waited = over.recv_timeout(Duration::from_secs(30));
                if waited == Err(RecvTimeoutError::Timeout) {
                    stop.cancel();
                }
            });
            let error = loader.load(&batch).unwrap_err();
            drop(is_over);
            let operation = Operation::Connect;
            assert_eq!(*error.kind(), ErrorKind::Io { operation });
        });
        assert_eq!(loader.into_tally().counters.unsent, 1);
    }

    /// A server that refuses one of the quiet sets of a connection and accepts everything
    /// else.
    fn serve(listener: &TcpListener) {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines();
        while let Some(Ok(line)) = lines.next() {
            let reply = match line.split(' ').next() {
                Some("ms") => {
                    lines.next();
                    if line.ends_with(" q") { "" } else { "HD\r\n" }
                }
                Some("mn") => "SERVER_ERROR out of memory\r\nMN\r\n",
                _ => "HD\r\n",
            };
            (&stream).write_all(reply.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_is_sent_again_and_beside_a_set_is_counted_as_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let node: NodeSpec = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (brake, cancel) = (Brake::default().node("a:1", Asked::Sets), Cancel::new());
        let (server, mut batch) = (server(), ItemBatch::default());
        let mut stale = ItemMeta::default();
        stale.attributes.set(Attribute::Stale, true);
        stale.attributes.set(Attribute::WinSent, true);
        for (key, meta) in [
            (b"a", ItemMeta::default()),
            (b"b", stale),
            (b"c", ItemMeta::default()),
        ] {
            batch.push(&Record {
                key,
                value: b"v",
                meta,
            });
        }
        let tally = std::thread::scope(|scope| {
            scope.spawn(|| serve(&listener));
            let mut loader = Loader::new(&node, &server, options(&brake), &cancel);
            loader.load(&batch).unwrap();
            loader.into_tally()
        });
        assert_eq!(tally.counters.stored, 3);
        // Two are set quietly and then with replies, one with a reply, and its win token
        // is taken.
        let sent = brake.sent();
        assert_eq!((sent.gets, sent.sets), (1, 5));
    }
}
