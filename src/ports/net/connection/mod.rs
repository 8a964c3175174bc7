//! One connection to a node, read and written at the same time.

mod opening;

use std::io;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::codecs::protocol::request::NOOP;
use crate::codecs::protocol::text::{LINE_LEN_MAX, Step, parse_line};
use crate::ports::net::brake::{Flow, NodeBrake};
use crate::ports::net::buffer::Buffer;
use crate::ports::net::deadline::{Watch, timeout};
use crate::ports::net::options::Pace;
use crate::ports::net::stream::Stream;
use crate::ports::net::waiting::wait_for;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::location::Location;
use crate::words::pieces::Pieces;

/// Returns how often a batch is tried, each time over a new connection, before
/// a node is given up. A server at its limit of connections lives, and will
/// have room again.
pub fn try_count_max(error: &Error) -> u32 {
    if *error.kind() == ErrorKind::TooManyConnections {
        50
    } else if matches!(error.kind(), ErrorKind::Slow { .. }) {
        // It has had its time; and with one answer in each window, which makes a
        // batch get on, it could go on so for ever.
        1
    } else {
        3
    }
}

/// What the receiver made of the bytes it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It took so many bytes and waits for more.
    More(usize),
    /// It took so many bytes, and the exchange is over.
    Done(usize),
}

/// What to ask a server that has fallen silent in the middle of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    /// How long a silence is.
    pub after: Duration,
    /// What to ask then.
    pub request: &'static [u8],
}

/// How far part of an exchange goes.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// All is sent.
    Sent,
    /// And the receiver says that the exchange is over; a silent server may be
    /// asked something more.
    Answered(Option<Prompt>),
}

/// One exchange on its way.
#[derive(Debug)]
struct Exchange {
    watch: Watch,
    /// The longest reply that the receiver may not take in parts.
    reply_len_max: usize,
    /// Whether the receiver has said that it is over.
    is_done: bool,
}

/// A connection that never blocks on one direction only: a server that waits
/// for its replies to be read before it reads on cannot hold it up.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    node: String,
    timeout: Duration,
    pace: Pace,
    cancel: Cancel,
    buffer: Buffer,
    /// Whether a silent server is prodded: see [`Connection::prod`].
    is_prodded: bool,
    /// Replies to prods that have not come yet.
    prod_count: u32,
    /// Pays for what moves, where a brake wants it.
    flow: Option<Flow>,
}

/// What a socket is ready for; neither when it has been quiet for a while.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    read: bool,
    write: bool,
}

/// How a thread waits for its socket.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    wants_read: bool,
    wants_write: bool,
    since: Instant,
    /// When to come back though nothing has happened.
    quiet_end: Option<Duration>,
}

impl Connection {
    /// `stats items` of all slab classes is below 128 KiB, the configuration of a
    /// large cluster below 1 MiB.
    const SHORT_ANSWER_LEN_MAX: usize = 4 << 20;

    /// How long a server may be silent before it is prodded, or asked whether
    /// it speaks TLS at all.
    const QUIET_MAX: Duration = Duration::from_secs(1);

    /// Waits at least so long from now on, without a prod: a server that is
    /// known to be silent for long, in a walk, takes no other command meanwhile.
    pub fn be_patient(&mut self, timeout: Duration) {
        self.timeout = self.timeout.max(timeout);
        self.is_prodded = false;
    }

    /// Waits no longer for a byte, from now on.
    pub fn wait_at_most(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Goes on when the job is stopped, and waits so long for a byte from now on.
    pub fn outlive_cancel(&mut self, timeout: Duration) {
        self.cancel = Cancel::new();
        self.timeout = timeout;
    }

    /// Has what moves from now on, in this batch, paid for at a brake, beyond so many
    /// bytes that are. The time that this takes does not count as the server's.
    pub fn begin_batch(&mut self, brake: &NodeBrake, paid: u64) {
        let flow = self.flow.get_or_insert_with(|| Flow::new(brake));
        flow.begin(paid);
    }

    /// Returns what was paid for the batch by now.
    pub fn paid(&self) -> u64 {
        self.flow.as_ref().map_or(0, Flow::paid)
    }

    /// Returns the node's address as the user wrote it.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Sends all of `request` while showing what comes in to `receive`, until
    /// that says the exchange is over and everything is sent. For replies without
    /// values; from the last one on nothing more is read.
    ///
    /// # Errors
    ///
    /// - `Timeout`: no byte moved for the time allowed.
    /// - `Slow`: fewer bytes moved than the pace wants.
    /// - `LimitExceeded`: `receive` waits for the end of a reply above 4 MiB.
    /// - `Closed`, `Io`: the connection broke.
    /// - `Canceled`.
    /// - Whatever `receive` returns. After any error the connection is of no
    ///   use: replies may be on their way.
    ///
    /// # Memory
    ///
    /// The buffer grows to the longest reply that `receive` does not take in
    /// parts, and no further than the limit.
    pub fn exchange(
        &mut self,
        operation: &'static str,
        request: &[u8],
        receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        let watch = Watch::rate(operation, self.pace);
        let exchange = Exchange::new(watch, Self::SHORT_ANSWER_LEN_MAX);
        self.exchange_as(exchange, request, None, receive)
    }

    /// Does the same for replies with values, of which `receive` waits for the
    /// end where they have up to `value_len_max` bytes.
    ///
    /// # Errors
    ///
    /// - As [`Connection::exchange`]; `LimitExceeded` for a reply that is longer
    ///   than such a value with the lines around it.
    pub fn exchange_values(
        &mut self,
        operation: &'static str,
        value_len_max: u64,
        request: &[u8],
        receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        // The line before the value, its end, and the end of the value.
        const AROUND_LEN: usize = LINE_LEN_MAX + 2 + 2;
        let value_len_max = usize::try_from(value_len_max).unwrap_or(usize::MAX);
        let reply_len_max = value_len_max.saturating_add(AROUND_LEN);
        let exchange = Exchange::new(Watch::rate(operation, self.pace), reply_len_max);
        self.exchange_as(exchange, request, None, receive)
    }

    /// Does the same for an answer that is short, as all are but lists of keys and
    /// values: one that comes byte by byte, or without an end, is given up.
    ///
    /// # Errors
    ///
    /// - As [`Connection::exchange`]; `Timeout` also when it is not whole after
    ///   [`Pace::short_answer`], and no `Slow`.
    /// - `Protocol`: it is not short.
    pub fn exchange_short(
        &mut self,
        operation: &'static str,
        request: &[u8],
        mut receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        let mut taken: usize = 0;
        let watch = Watch::whole(operation, self.pace);
        let exchange = Exchange::new(watch, Self::SHORT_ANSWER_LEN_MAX);
        self.exchange_as(exchange, request, None, |bytes| {
            let received = receive(bytes)?;
            let Received::More(len) = received else {
                return Ok(received);
            };
            if taken.saturating_add(bytes.len()) >= Self::SHORT_ANSWER_LEN_MAX {
                return Err(Error::protocol("the end of a short answer", bytes));
            }
            taken = taken.saturating_add(len);
            Ok(received)
        })
    }

    /// Does the same, and after each silence of some length asks something more,
    /// as often as it takes; the answers are shown to `receive`, too. No server
    /// that is prompted is prodded. For lists of keys: nothing but silence is
    /// bounded.
    ///
    /// # Errors
    ///
    /// - As [`Connection::exchange`], but for `Slow`.
    pub fn exchange_with_prompt(
        &mut self,
        operation: &'static str,
        request: &[u8],
        prompt: Option<Prompt>,
        receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        let exchange = Exchange::new(Watch::none(operation), Self::SHORT_ANSWER_LEN_MAX);
        self.exchange_as(exchange, request, prompt, receive)
    }

    fn exchange_as(
        &mut self,
        exchange: Exchange,
        request: &[u8],
        prompt: Option<Prompt>,
        receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        // Where nothing is asked, the answer to an earlier request goes on, and what
        // was sent after that is answered after it.
        if self.prod_count > 0 && !request.is_empty() {
            self.take_prod_replies(exchange.watch.operation())?;
        }
        self.converse(exchange, request, prompt, receive)
    }

    fn converse(
        &mut self,
        mut exchange: Exchange,
        request: &[u8],
        prompt: Option<Prompt>,
        mut receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        let until = Until::Answered(prompt);
        self.advance(&mut exchange, request, until, &mut receive)
    }

    /// Does the same for a request with a value in it that comes in pieces: all
    /// of `head`, the pieces, and all of `tail`.
    ///
    /// # Errors
    ///
    /// - As [`Connection::exchange`], and whatever the pieces fail with: the
    ///   server then has half a request, which it drops with the connection.
    ///
    /// # Memory
    ///
    /// As [`Connection::exchange`]; no piece is kept.
    pub fn exchange_pieces(
        &mut self,
        operation: &'static str,
        head: &[u8],
        pieces: &mut dyn Pieces,
        tail: &[u8],
        mut receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        if self.prod_count > 0 {
            self.take_prod_replies(operation)?;
        }
        let watch = Watch::rate(operation, self.pace);
        let mut exchange = Exchange::new(watch, Self::SHORT_ANSWER_LEN_MAX);
        self.advance(&mut exchange, head, Until::Sent, &mut receive)?;
        while let Some(piece) = pieces.next_piece()? {
            self.advance(&mut exchange, piece, Until::Sent, &mut receive)?;
        }
        self.advance(&mut exchange, tail, Until::Answered(None), &mut receive)
    }

    /// Sends all of `unsent`, and shows what comes in meanwhile.
    fn advance(
        &mut self,
        exchange: &mut Exchange,
        mut unsent: &[u8],
        until: Until,
        receive: &mut impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        let prompt = match until {
            Until::Sent => None,
            Until::Answered(prompt) => prompt,
        };
        // Since the last byte came, for the timeout; prompts do not count, or a
        // dead server would be asked for ever.
        let mut moved = Instant::now();
        loop {
            while !exchange.is_done && !self.buffer.is_empty() {
                let received = receive(self.buffer.unread())
                    .map_err(|error| error.at(Location::node(&self.node)))?;
                let (Received::More(len) | Received::Done(len)) = received;
                self.buffer.take(len);
                exchange.is_done = matches!(received, Received::Done(_));
                if len == 0 {
                    break;
                }
            }
            let wants_write = !unsent.is_empty() || self.stream.wants_write();
            if !wants_write && (exchange.is_done || matches!(until, Until::Sent)) {
                return Ok(());
            }
            let waiting = Waiting {
                // What comes after the end would be kept, however much it is.
                wants_read: !exchange.is_done,
                wants_write,
                since: moved,
                quiet_end: None,
            };
            let ready = match prompt.filter(|_| !wants_write && !self.stream.has_unread()) {
                None => {
                    let waiting = Waiting {
                        // From here on, since the receiver may have taken its time.
                        since: Instant::now(),
                        ..waiting
                    };
                    self.wait_with_prods(waiting, &mut exchange.watch)?
                }
                Some(prompt) => {
                    let waiting = Waiting {
                        quiet_end: Some(moved.elapsed().saturating_add(prompt.after)),
                        ..waiting
                    };
                    let ready = self.wait(waiting, &mut exchange.watch)?;
                    if !ready.read && !ready.write {
                        unsent = prompt.request;
                        continue;
                    }
                    ready
                }
            };
            if ready.write {
                let part = self.flow.as_ref().map_or(unsent, |flow| flow.part(unsent));
                let left = self.send(part)?;
                let len = part.len().saturating_sub(left.len());
                exchange.watch.note_moved(len);
                unsent = unsent.get(len..).unwrap_or_default();
                self.pay(len)?;
            }
            if ready.read {
                let len = self.fill(exchange.reply_len_max)?;
                exchange.watch.note_moved(len);
                self.pay(len)?;
                moved = Instant::now();
            }
        }
    }

    /// Waits until what has moved is paid for, where that is wanted.
    fn pay(&mut self, len: usize) -> Result<()> {
        match &mut self.flow {
            Some(flow) => flow.note_moved(len, &self.cancel),
            None => Ok(()),
        }
    }

    /// Waits until the socket can be read, or written if that is wanted.
    fn wait_with_prods(&mut self, waiting: Waiting, watch: &mut Watch) -> Result<Ready> {
        if waiting.wants_read && self.stream.has_unread() {
            return Ok(Ready {
                read: true,
                write: false,
            });
        }
        let pause = Self::QUIET_MAX.min(self.timeout / 2);
        let mut quiet_end = pause;
        loop {
            let waiting = Waiting {
                quiet_end: (self.is_prodded && !waiting.wants_write).then_some(quiet_end),
                ..waiting
            };
            let ready = self.wait(waiting, watch)?;
            if ready.read || ready.write {
                return Ok(ready);
            }
            quiet_end = quiet_end.saturating_add(pause);
            self.prod()?;
        }
    }

    /// Sends an empty command to a server that has all of the request and is
    /// silent.
    ///
    /// memcached 1.6.18 and others may leave the end of a request unread in
    /// their TLS library until one more byte arrives. The record that ends each
    /// request is made so that this does not happen; this is for the servers
    /// and proxies between that need more. The reply comes after all others, so
    /// the next exchange takes it first.
    fn prod(&mut self) -> Result<()> {
        self.prod_count = self.prod_count.saturating_add(1);
        let unsent = self.send(NOOP)?;
        if unsent.is_empty() {
            return Ok(());
        }
        let error = io::Error::other("no room for four bytes");
        Err(self.failed(Operation::Write, error))
    }

    fn take_prod_replies(&mut self, operation: &'static str) -> Result<()> {
        let mut left = self.prod_count;
        // Not when they were sent: a log may be on a slow disk, and a walk must not wait
        // for that.
        tracing::debug!(
            node = self.node,
            left,
            "the server was silent; no-ops were sent"
        );
        let watch = Watch::whole(operation, self.pace);
        let exchange = Exchange::new(watch, Self::SHORT_ANSWER_LEN_MAX);
        self.converse(exchange, b"", None, |bytes| {
            let mut consumed = 0;
            while left > 0 {
                let rest = bytes.get(consumed..).unwrap_or_default();
                let Step::Done(line, len) = parse_line(rest, "MN")? else {
                    return Ok(Received::More(consumed));
                };
                if line != b"MN" {
                    return Err(Error::protocol("MN", line));
                }
                consumed = consumed.saturating_add(len);
                left = left.saturating_sub(1);
            }
            Ok(Received::Done(consumed))
        })?;
        self.prod_count = 0;
        Ok(())
    }

    /// Waits until the socket is ready, or it has been quiet for the time given.
    fn wait(&self, waiting: Waiting, watch: &mut Watch) -> Result<Ready> {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, waiting.wants_read);
        wanted.set(PollFlags::OUT, waiting.wants_write);
        loop {
            self.cancel.check()?;
            let waited = waiting.since.elapsed();
            let left = self.timeout.saturating_sub(waited);
            if left.is_zero() {
                let timeout = timeout(watch.operation(), self.timeout);
                return Err(timeout.at(Location::node(&self.node)));
            }
            let checked = watch.check();
            checked.map_err(|error| error.at(Location::node(&self.node)))?;
            if waiting.quiet_end.is_some_and(|end| waited >= end) {
                return Ok(Ready::default());
            }
            let until_quiet = waiting.quiet_end.map(|end| end.saturating_sub(waited));
            let pause = left.min(watch.left()).min(until_quiet.unwrap_or(left));
            let started = Instant::now();
            let ready = wait_for(&self.stream, &self.node, wanted, pause, &self.cancel)?;
            watch.note_waited(started.elapsed());
            if ready.is_empty() {
                continue;
            }
            // A broken socket is ready for whatever then fails.
            let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
            let is_broken = ready.intersects(broken);
            return Ok(Ready {
                read: waiting.wants_read && (is_broken || ready.contains(PollFlags::IN)),
                write: ready.contains(PollFlags::OUT) || (is_broken && !waiting.wants_read),
            });
        }
    }

    fn send<'a>(&mut self, mut unsent: &'a [u8]) -> Result<&'a [u8]> {
        // What was taken before and could not be sent comes first.
        if let Err(error) = self.stream.flush() {
            return Err(self.failed(Operation::Write, error));
        }
        while !unsent.is_empty() {
            match self.stream.send(unsent) {
                Ok(len) => unsent = unsent.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(Operation::Write, error)),
            }
        }
        Ok(unsent)
    }

    /// Reads some of what is there, and returns how much.
    fn fill(&mut self, reply_len_max: usize) -> Result<usize> {
        let node = || Location::node(&self.node);
        let room = self.buffer.room(reply_len_max);
        let room = room.map_err(|error| error.at(node()))?;
        match self.stream.receive(room) {
            Ok(0) => Err(Error::new(ErrorKind::Closed).at(node())),
            Ok(len) => {
                self.buffer.add(len);
                Ok(len)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            Err(error) => Err(self.failed(Operation::Read, error)),
        }
    }

    /// Makes the error of a system call, or of TLS where that is the cause.
    fn failed(&self, operation: Operation, error: io::Error) -> Error {
        let problem = match &self.stream {
            Stream::Tcp(_) | Stream::Unix(_) => None,
            Stream::Tls(stream) => stream.problem_of(&error),
        };
        match problem {
            Some(problem) => Error::access(problem).at(Location::node(&self.node)),
            None => Error::net(operation, &self.node, error),
        }
    }

    /// Gives back memory that one long reply took.
    pub fn shrink(&mut self) {
        self.buffer.shrink();
    }
}

impl Exchange {
    fn new(watch: Watch, reply_len_max: usize) -> Self {
        Self {
            watch,
            reply_len_max,
            is_done: false,
        }
    }
}
