//! One connection to a node, which reads and writes at the same time.

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

/// Returns how often a batch is tried, each time over a new connection, before a node is
/// given up. A server at its connection limit is alive, and will have room again.
pub fn try_count_max(error: &Error) -> u32 {
    if *error.kind() == ErrorKind::TooManyConnections {
        50
    } else if matches!(error.kind(), ErrorKind::Slow { .. }) {
        // It has had its time. With one answer in each window, which counts as progress of the
        // batch, this could otherwise continue forever.
        1
    } else {
        3
    }
}

/// What the receiver made of the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It consumed this many bytes and waits for more.
    More(usize),
    /// It consumed this many bytes, and the exchange is over.
    Done(usize),
}

/// What to ask a server that falls silent in the middle of an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    /// How long a silence must be.
    pub after: Duration,
    /// The request to send then.
    pub request: &'static [u8],
}

/// When part of an exchange is over.
#[derive(Clone, Copy, Debug)]
enum Until {
    /// When everything is sent.
    Sent,
    /// When everything is sent and the receiver reports the end. A silent server may be
    /// sent a prompt.
    Answered(Option<Prompt>),
}

/// An exchange in progress.
#[derive(Debug)]
struct Exchange {
    watch: Watch,
    /// The longest reply that the receiver may refuse to take in parts, in bytes.
    reply_len_max: usize,
    /// Whether the receiver has reported the end.
    is_done: bool,
}

/// A connection that never blocks on one direction only, so that a server that does not
/// read on until its replies are read cannot stall it.
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
    /// Replies to prods that have not arrived yet.
    prod_count: u32,
    /// Pays for moved bytes if there is a brake.
    flow: Option<Flow>,
}

/// What a socket is ready for; neither if it was quiet for a while.
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
    /// When to return although nothing has happened.
    quiet_end: Option<Duration>,
}

impl Connection {
    /// `stats items` of all slab classes is below 128 KiB, and the configuration of a
    /// large cluster below 1 MiB.
    const SHORT_ANSWER_LEN_MAX: usize = 4 << 20;

    /// How long a server may be silent before it is prodded, or asked whether it speaks
    /// TLS at all.
    const QUIET_MAX: Duration = Duration::from_secs(1);

    /// Waits at least this long for a byte from now on, and does not prod: a server that
    /// may be silent for long during a walk takes no other command meanwhile.
    pub fn be_patient(&mut self, timeout: Duration) {
        self.timeout = self.timeout.max(timeout);
        self.is_prodded = false;
    }

    /// Waits at most this long for a byte from now on.
    pub fn wait_at_most(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Ignores the cancel flag and waits at most this long for a byte from now on.
    pub fn outlive_cancel(&mut self, timeout: Duration) {
        self.cancel = Cancel::new();
        self.timeout = timeout;
    }

    /// Makes a brake charge what moves from now on in this batch, beyond the bytes
    /// already `paid`. The time this takes does not count as the server's.
    pub fn begin_batch(&mut self, brake: &NodeBrake, paid: u64) {
        let flow = self.flow.get_or_insert_with(|| Flow::new(brake));
        flow.begin(paid);
    }

    /// Returns how many bytes were paid for in this batch so far.
    pub fn paid(&self) -> u64 {
        self.flow.as_ref().map_or(0, Flow::paid)
    }

    /// Returns the node's address as the user wrote it.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Sends all of `request` while passing incoming bytes to `receive`, until that
    /// reports the end and everything is sent. For replies without values. Nothing is
    /// read after the last reply.
    ///
    /// # Errors
    ///
    /// - `Timeout`: no byte moved for the allowed time.
    /// - `Slow`: fewer bytes moved than the pace requires.
    /// - `LimitExceeded`: `receive` waits for the end of a reply above 4 MiB.
    /// - `Closed`, `Io`: the connection broke.
    /// - `Canceled`.
    /// - Any error that `receive` returns. After an error the connection is unusable,
    ///   since replies may be in flight.
    ///
    /// # Memory
    ///
    /// The buffer grows to the longest reply that `receive` does not take in parts, but
    /// not beyond the limit.
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

    /// Like [`Connection::exchange`], for replies with values: `receive` may wait for the
    /// end of a value of up to `value_len_max` bytes.
    ///
    /// # Errors
    ///
    /// - As for [`Connection::exchange`]; `LimitExceeded` if a reply is longer than such
    ///   a value with the lines around it.
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

    /// Like [`Connection::exchange`], for short answers, which are all but lists of keys
    /// and values. An answer that trickles in byte by byte, or never ends, is given up.
    ///
    /// # Errors
    ///
    /// - As for [`Connection::exchange`], but without `Slow`; also `Timeout` if the
    ///   answer is not complete after [`Pace::short_answer`].
    /// - `Protocol`: the answer is not short.
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

    /// Like [`Connection::exchange`], but sends a prompt after each silence of some
    /// length, as often as needed; its answers also go to `receive`. A server that is
    /// prompted is not prodded. For lists of keys: only silence is bounded.
    ///
    /// # Errors
    ///
    /// - As for [`Connection::exchange`], but without `Slow`.
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
        // If nothing is requested, the answer to an earlier request continues, and prods sent
        // after that request are answered after it.
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

    /// Like [`Connection::exchange`], for a request that contains a value in pieces:
    /// sends all of `head`, the pieces, and all of `tail`.
    ///
    /// # Errors
    ///
    /// - As for [`Connection::exchange`], and any error of the pieces. The server then
    ///   has half a request, which it drops with the connection.
    ///
    /// # Memory
    ///
    /// As for [`Connection::exchange`]; pieces are not kept.
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

    /// Sends all of `unsent`, and passes on what arrives meanwhile.
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
        // When the last byte came, for the timeout. Prompts do not count, or a dead server
        // would be asked forever.
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
                // Anything that arrives after the end would have to be kept, however much it is.
                wants_read: !exchange.is_done,
                wants_write,
                since: moved,
                quiet_end: None,
            };
            let ready = match prompt.filter(|_| !wants_write && !self.stream.has_unread()) {
                None => {
                    let waiting = Waiting {
                        // Start from here, since the receiver may have taken its time.
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

    /// Waits until what has moved is paid for, if there is a brake.
    fn pay(&mut self, len: usize) -> Result<()> {
        match &mut self.flow {
            Some(flow) => flow.note_moved(len, &self.cancel),
            None => Ok(()),
        }
    }

    /// Waits until the socket can be read, or also written if that is wanted.
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

    /// Sends an empty command to a server that has the whole request and is silent.
    ///
    /// memcached 1.6.18 and others may leave the end of a request unread in their TLS
    /// library until one more byte arrives. The record that ends each request is made so
    /// that this does not happen; the prod is for servers and intermediate proxies that
    /// need more. Its reply comes after all others, so the next exchange reads it first.
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
        // Log now and not when they were sent: a log may be on a slow disk, and a walk must not
        // wait for that.
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
            // A broken socket counts as ready; the operation then fails.
            let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
            let is_broken = ready.intersects(broken);
            return Ok(Ready {
                read: waiting.wants_read && (is_broken || ready.contains(PollFlags::IN)),
                write: ready.contains(PollFlags::OUT) || (is_broken && !waiting.wants_read),
            });
        }
    }

    fn send<'a>(&mut self, mut unsent: &'a [u8]) -> Result<&'a [u8]> {
        // Bytes that were accepted before and could not be sent go first.
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

    /// Reads some of the available bytes, and returns how many.
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

    /// Makes the error of a failed system call, or of TLS if that is the cause.
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

    /// Frees memory that one long reply took.
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
