//! One connection to a node, read and written at the same time.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Location, Operation, Result};
use crate::node::NodeSpec;
use crate::pieces::Pieces;
use crate::units::to_u64;

/// How sockets behave.
#[derive(Clone, Copy, Debug)]
pub struct NetOptions {
    /// Longest time without a byte either way, and longest time to connect.
    pub timeout: Duration,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
        }
    }
}

/// Returns how often a batch is tried, each time over a new connection, before
/// a node is given up. A server at its limit of connections lives, and will
/// have room again.
pub fn try_count_max(error: &Error) -> u32 {
    if *error.kind() == ErrorKind::TooManyConnections {
        50
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

/// How far part of an exchange goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// All is sent.
    Sent,
    /// And the receiver says that the exchange is over.
    Answered,
}

/// A connection that never blocks on one direction only: a server that waits
/// for its replies to be read before it reads on cannot hold it up.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    node: String,
    timeout: Duration,
    cancel: Cancel,
    buffer: Vec<u8>,
    /// Unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
}

impl Connection {
    const BUFFER_LEN: usize = 256 << 10;
    /// How often a waiting thread looks at the cancel flag.
    const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

    /// Connects to a node, trying each of its addresses.
    ///
    /// # Errors
    ///
    /// - `Io`: the host is unknown, or no address takes the connection.
    /// - `Timeout`: no address answers in time.
    /// - `Canceled`.
    pub fn connect(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> Result<Self> {
        let address = node.address();
        let failed = |operation, error| Error::net(operation, address.clone(), error);
        let resolved: Vec<SocketAddr> = (node.connect_host().as_str(), node.port)
            .to_socket_addrs()
            .map_err(|error| failed(Operation::Resolve, error))?
            .collect();
        let mut last = None;
        for socket_address in resolved {
            cancel.check()?;
            match TcpStream::connect_timeout(&socket_address, options.timeout) {
                Ok(stream) => return Self::new(stream, address, options, cancel),
                Err(error) => last = Some(error),
            }
        }
        let error = last.unwrap_or_else(|| io::Error::other("the host has no address"));
        Err(failed(Operation::Connect, error))
    }

    fn new(stream: TcpStream, node: String, options: &NetOptions, cancel: &Cancel) -> Result<Self> {
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| stream.set_nonblocking(true))
            .and_then(|()| socket2::SockRef::from(&stream).set_keepalive(true));
        prepared.map_err(|error| Error::net(Operation::Connect, node.clone(), error))?;
        Ok(Self {
            stream,
            node,
            timeout: options.timeout,
            cancel: cancel.clone(),
            buffer: vec![0; Self::BUFFER_LEN],
            start: 0,
            end: 0,
        })
    }

    /// Waits at least so long from now on.
    pub fn be_patient(&mut self, timeout: Duration) {
        self.timeout = self.timeout.max(timeout);
    }

    /// Returns the node's address as the user wrote it.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Sends all of `request` while showing what comes in to `receive`, until
    /// that says the exchange is over and everything is sent.
    ///
    /// # Errors
    ///
    /// - `Timeout`: no byte moved for the time allowed.
    /// - `Closed`, `Io`: the connection broke.
    /// - `Canceled`.
    /// - Whatever `receive` returns. After any error the connection is of no
    ///   use: replies may be on their way.
    ///
    /// # Memory
    ///
    /// The buffer grows to the longest reply that `receive` does not take in
    /// parts; it is for the parser to bound that.
    pub fn exchange(
        &mut self,
        operation: &'static str,
        request: &[u8],
        mut receive: impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        let mut is_done = false;
        self.advance(
            operation,
            request,
            Until::Answered,
            &mut is_done,
            &mut receive,
        )
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
        let mut is_done = false;
        self.advance(operation, head, Until::Sent, &mut is_done, &mut receive)?;
        while let Some(piece) = pieces.next_piece()? {
            self.advance(operation, piece, Until::Sent, &mut is_done, &mut receive)?;
        }
        self.advance(operation, tail, Until::Answered, &mut is_done, &mut receive)
    }

    /// Sends all of `unsent`, and shows what comes in meanwhile.
    fn advance(
        &mut self,
        operation: &'static str,
        mut unsent: &[u8],
        until: Until,
        is_done: &mut bool,
        receive: &mut impl FnMut(&[u8]) -> Result<Received>,
    ) -> Result<()> {
        loop {
            while !*is_done && self.start < self.end {
                let received = receive(self.buffer.get(self.start..self.end).unwrap_or_default())
                    .map_err(|error| error.at(Location::node(&self.node)))?;
                let (Received::More(len) | Received::Done(len)) = received;
                self.start = self.end.min(self.start.saturating_add(len));
                *is_done = matches!(received, Received::Done(_));
                if len == 0 {
                    break;
                }
            }
            if unsent.is_empty() && (*is_done || until == Until::Sent) {
                return Ok(());
            }
            // From here on, since the receiver may have taken its time.
            let waiting = Instant::now();
            let (can_read, can_write) = self.wait(operation, !unsent.is_empty(), waiting)?;
            if can_write {
                unsent = self.send(unsent)?;
            }
            if can_read {
                self.fill()?;
            }
        }
    }

    /// Waits until the socket can be read, or written if that is wanted.
    fn wait(
        &self,
        operation: &'static str,
        wants_write: bool,
        since: Instant,
    ) -> Result<(bool, bool)> {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, wants_write);
        loop {
            self.cancel.check()?;
            let left = self.timeout.saturating_sub(since.elapsed());
            if left.is_zero() {
                let limit_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
                let kind = ErrorKind::Timeout {
                    operation,
                    limit_ms,
                };
                return Err(Error::new(kind).at(Location::node(&self.node)));
            }
            let slice = left.min(Self::CANCEL_INTERVAL);
            let timespec = Timespec {
                tv_sec: 0,
                tv_nsec: slice.subsec_nanos().max(1).into(),
            };
            let mut descriptors = [PollFd::new(&self.stream, flags)];
            match poll(&mut descriptors, Some(&timespec)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => {
                    let ready = descriptors
                        .first()
                        .map_or(PollFlags::empty(), PollFd::revents);
                    let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
                    let can_read = ready.intersects(PollFlags::IN | broken);
                    return Ok((can_read, ready.contains(PollFlags::OUT)));
                }
                Err(errno) => {
                    return Err(Error::net(Operation::Read, &self.node, errno.into()));
                }
            }
        }
    }

    fn send<'a>(&mut self, mut unsent: &'a [u8]) -> Result<&'a [u8]> {
        while !unsent.is_empty() {
            match self.stream.write(unsent) {
                Ok(len) => unsent = unsent.get(len..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::net(Operation::Write, &self.node, error)),
            }
        }
        Ok(unsent)
    }

    fn fill(&mut self) -> Result<()> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
            // Still full: one reply is longer than the buffer.
            if self.end == self.buffer.len() {
                self.buffer.resize(self.buffer.len().saturating_mul(2), 0);
            }
        } else if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.stream.read(space) {
            Ok(0) => Err(Error::new(ErrorKind::Closed).at(Location::node(&self.node))),
            Ok(len) => {
                self.end = self.end.saturating_add(len);
                Ok(())
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(Error::net(Operation::Read, &self.node, error)),
        }
    }

    /// Gives back memory that one long reply took.
    pub fn shrink(&mut self) {
        if self.start == self.end && to_u64(self.buffer.len()) > to_u64(Self::BUFFER_LEN) {
            self.buffer = vec![0; Self::BUFFER_LEN];
            self.start = 0;
            self.end = 0;
        }
    }
}
