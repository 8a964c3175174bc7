//! Opens a connection: the socket, TLS and the log-in.

use crate::codecs::protocol::reply::{check_connection, is_unauthenticated};
use crate::codecs::protocol::request::VERSION;
use crate::codecs::protocol::text::{Step, parse_line};
use crate::ports::net::buffer::Buffer;
use crate::ports::net::connect::{connect_socket, connect_tcp};
use crate::ports::net::connection::{Connection, Received, Waiting};
use crate::ports::net::credentials::Credentials;
use crate::ports::net::deadline::Watch;
use crate::ports::net::diagnosis::speaks_plain;
use crate::ports::net::options::NetOptions;
use crate::ports::net::stream::Stream;
use crate::words::access::AccessProblem;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, Operation, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use std::time::Instant;

impl Connection {
    /// Connects to a node, trying each of its addresses. Does the TLS handshake and logs
    /// in if the options say so.
    ///
    /// # Errors
    ///
    /// - `Io`: the host is unknown, or no address accepts the connection.
    /// - `Timeout`: no address answers in time, or the name look-up takes too long.
    /// - `Access`: TLS or the log-in fails.
    /// - `Canceled`.
    pub fn connect(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> Result<Self> {
        let mut connection = Self::open(node, options, cancel)?;
        if let Some(credentials) = &options.credentials {
            connection.log_in(credentials)?;
        }
        // Not before: a server that waits for a log-in treats a no-op as an error.
        connection.is_prodded = matches!(connection.stream, Stream::Tls(_));
        Ok(connection)
    }

    /// Connects without a log-in; a silent server is not prodded.
    pub(in crate::ports::net) fn open(
        node: &NodeSpec,
        options: &NetOptions,
        cancel: &Cancel,
    ) -> Result<Self> {
        let stream = match (node.socket_path(), &options.tls) {
            (Some(path), _) => Stream::Unix(connect_socket(node, path, options, cancel)?),
            (None, None) => Stream::Tcp(connect_tcp(node, options, cancel)?),
            (None, Some(tls)) => {
                let socket = connect_tcp(node, options, cancel)?;
                Stream::Tls(Box::new(tls.start(socket, node)?))
            }
        };
        let mut connection = Self {
            stream,
            node: node.address(),
            timeout: options.timeout,
            pace: options.pace,
            cancel: cancel.clone(),
            buffer: Buffer::new(),
            is_prodded: false,
            prod_count: 0,
            flow: None,
        };
        connection.shake_hands(node, options)?;
        Ok(connection)
    }

    /// Does the TLS handshake. A server that does not speak TLS may answer, hang up, or
    /// wait for a line end that never comes, so a silent one is asked in plain text.
    fn shake_hands(&mut self, node: &NodeSpec, options: &NetOptions) -> Result<()> {
        let is_plain = |cancel: &Cancel| speaks_plain(node, options, cancel);
        let not_spoken =
            || Error::access(AccessProblem::TlsNotSpoken).at(Location::node(node.address()));
        let mut quiet_end = Some(Self::QUIET_MAX.min(self.timeout / 2));
        let mut since = Instant::now();
        let mut watch = Watch::whole("TLS handshake", self.pace);
        while self.is_handshaking() {
            let waiting = Waiting {
                wants_read: true,
                wants_write: self.stream.wants_write(),
                since,
                quiet_end,
            };
            let ready = self.wait(waiting, &mut watch)?;
            let moved = if ready.write {
                let flushed = self.stream.flush();
                flushed.map_err(|error| self.failed(Operation::Write, error))
            } else if ready.read {
                self.fill(0).map(drop)
            } else {
                quiet_end = None;
                if is_plain(&self.cancel) {
                    return Err(not_spoken());
                }
                continue;
            };
            match moved {
                Ok(()) => since = Instant::now(),
                Err(error) if error.is_retryable() && is_plain(&self.cancel) => {
                    return Err(not_spoken());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn is_handshaking(&self) -> bool {
        match &self.stream {
            Stream::Tcp(_) | Stream::Unix(_) => false,
            Stream::Tls(stream) => stream.is_handshaking(),
        }
    }

    /// Logs in if the server asks for it. A server that does not would take the command
    /// for a set, and keep the password as an item.
    fn log_in(&mut self, credentials: &Credentials) -> Result<()> {
        let reply = self.ask_line(VERSION)?;
        if !is_unauthenticated(&reply) {
            check_connection(&reply).map_err(|error| error.at(Location::node(&self.node)))?;
            credentials.note_useless(&self.node);
            return Ok(());
        }
        let reply = self.ask_line(&credentials.to_command())?;
        let error = match reply.as_slice() {
            b"STORED" => return Ok(()),
            words if words.starts_with(b"CLIENT_ERROR") => {
                Error::access(AccessProblem::AuthenticationRefused)
            }
            words => Error::protocol("STORED", words),
        };
        Err(error.at(Location::node(&self.node)))
    }

    /// Sends a command, and returns the one line of its reply.
    fn ask_line(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        let mut reply = Vec::new();
        self.exchange_short("log-in", request, |bytes| {
            Ok(match parse_line(bytes, "a line")? {
                Step::Need => Received::More(0),
                Step::Done(line, len) => {
                    reply.extend_from_slice(line);
                    Received::Done(len)
                }
            })
        })?;
        Ok(reply)
    }
}
