//! Finds out what listens at an address that does not talk like memcached.

use std::time::Duration;

use crate::codecs::protocol::reply::is_unauthenticated;
use crate::codecs::protocol::request::{BARE_CRAWLER, BINARY_NOOP, STATS, VERSION};
use crate::ports::net::address::LOOK_UP;
use crate::ports::net::connect::CONNECT;
use crate::ports::net::connection::{Connection, Received};
use crate::ports::net::options::NetOptions;
use crate::words::access::AccessProblem;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Operation, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;

/// Longest time for one question.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(2);

/// A TLS hello that is too short: a server that speaks TLS answers with an alert.
const BROKEN_HELLO: &[u8] = &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 3];

/// The operations that fail before a connection is established.
const UNREACHED: [&str; 2] = [CONNECT, LOOK_UP];

/// The first bytes of an alert. RFC 8446, 5.1 and 6.
const ALERT: &[u8] = &[0x15, 3];

/// The first byte of a reply in the binary protocol.
const BINARY_REPLY: u8 = 0x81;

/// What a server sent in reply to some bytes, over a connection of its own.
#[derive(Debug)]
struct Answer {
    bytes: Vec<u8>,
    /// Whether the server closed the connection.
    is_closed: bool,
}

/// Replaces the error of the first exchange with a server by its cause, if questions over
/// other connections can find it; otherwise returns the error unchanged.
pub fn explain(node: &NodeSpec, options: &NetOptions, cancel: &Cancel, error: Error) -> Error {
    // A server that cannot be reached cannot be asked either.
    let is_silent = matches!(error.kind(), ErrorKind::Timeout { operation, .. }
        if !UNREACHED.contains(operation));
    let is_alert = |got: &str| got.starts_with("\\x15\\x03");
    let is_closed = has_hung_up(&error)
        || matches!(error.kind(), ErrorKind::Protocol { got, .. } if is_alert(got));
    if !is_silent && !is_closed {
        return error;
    }
    let options = NetOptions {
        tls: options.tls.clone(),
        ..NetOptions::of_timeout(options.timeout.min(QUESTION_TIME_MAX))
    };
    match find_problem(node, &options, cancel, is_closed) {
        Some(problem) => Error::access(problem).at(Location::node(node.address())),
        None => error,
    }
}

/// Maps a reply that memcached never sends to "not a memcached server".
pub(super) fn not_memcached(node: &NodeSpec, error: Error) -> Error {
    let ErrorKind::Protocol { wanted, got } = error.kind() else {
        return error;
    };
    let (wanted, got) = (*wanted, got.clone());
    let problem = AccessProblem::NotMemcached { wanted, got };
    Error::access(problem).at(Location::node(node.address()))
}

fn find_problem(
    node: &NodeSpec,
    options: &NetOptions,
    cancel: &Cancel,
    is_closed: bool,
) -> Option<AccessProblem> {
    let ask = |request: &[u8], enough| answer(node, options, cancel, request, enough);
    if is_closed && options.tls.is_none() && ask(BROKEN_HELLO, 2)?.bytes.starts_with(ALERT) {
        return Some(AccessProblem::TlsWanted);
    }
    // Send as many bytes as a binary header has, so that a server of that protocol need
    // not wait for more.
    let text = ask(&VERSION.repeat(3), 8)?;
    if is_unauthenticated(&text.bytes) {
        return Some(AccessProblem::AuthenticationWanted);
    }
    if text.bytes.starts_with(b"VERSION ") {
        let hangs_up = is_closed && hangs_up_at_stats(node, options, cancel).unwrap_or(false);
        return hangs_up.then_some(AccessProblem::NoStats);
    }
    if !text.is_closed || !text.bytes.is_empty() {
        return None;
    }
    let binary = ask(BINARY_NOOP, 8)?.bytes;
    if binary.first() != Some(&BINARY_REPLY) {
        return None;
    }
    // Bytes 6 and 7 are the status. protocol_binary.h,
    // PROTOCOL_BINARY_RESPONSE_AUTH_ERROR.
    let option = match binary.get(6..8) {
        Some([0, 0x20]) => "SASL, option -S",
        Some(_) | None => "option -B binary",
    };
    Some(AccessProblem::BinaryOnly { option })
}

/// Returns whether a server answers text without TLS.
pub(super) fn speaks_plain(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> bool {
    let options = NetOptions::of_timeout(options.timeout.min(QUESTION_TIME_MAX));
    let text = answer(node, &options, cancel, VERSION, 1);
    // A TLS alert does not begin with a letter.
    text.is_some_and(|text| text.bytes.first().is_some_and(u8::is_ascii_alphabetic))
}

/// Returns whether the listener is memcached's built-in proxy. It does not know the
/// crawler commands, and hangs up (1.6.45) or fails to read them (1.6.38), while a server
/// only reports that the command is incomplete.
pub(super) fn knows_no_crawler(
    node: &NodeSpec,
    options: &NetOptions,
    cancel: &Cancel,
) -> Result<bool> {
    let mut connection = Connection::connect(node, options, cancel)?;
    let answer = ask_over(&mut connection, BARE_CRAWLER, 12)?;
    let is_unread = answer.bytes.starts_with(b"CLIENT_ERROR");
    Ok(is_unread || (answer.is_closed && answer.bytes.is_empty()))
}

fn hangs_up_at_stats(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> Result<bool> {
    let mut connection = Connection::open(node, options, cancel)?;
    let version = ask_over(&mut connection, VERSION, 8)?;
    if version.is_closed {
        return Ok(false);
    }
    let stats = ask_over(&mut connection, STATS, 1)?;
    Ok(stats.is_closed && stats.bytes.is_empty())
}

fn answer(
    node: &NodeSpec,
    options: &NetOptions,
    cancel: &Cancel,
    request: &[u8],
    enough: usize,
) -> Option<Answer> {
    let mut connection = Connection::open(node, options, cancel).ok()?;
    ask_over(&mut connection, request, enough).ok()
}

/// Sends bytes, and collects the reply until it has `enough` bytes or a whole line, the
/// connection ends, or nothing more comes.
fn ask_over(connection: &mut Connection, request: &[u8], enough: usize) -> Result<Answer> {
    let mut bytes = Vec::new();
    let asked = connection.exchange_short("question", request, |received| {
        bytes.extend_from_slice(received);
        Ok(if bytes.len() >= enough || bytes.ends_with(b"\n") {
            Received::Done(received.len())
        } else {
            Received::More(received.len())
        })
    });
    let is_closed = match asked {
        Ok(()) => false,
        Err(error) if matches!(error.kind(), ErrorKind::Timeout { .. }) => false,
        Err(error) if has_hung_up(&error) => true,
        Err(error) => return Err(error),
    };
    Ok(Answer { bytes, is_closed })
}

fn has_hung_up(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Closed
            | ErrorKind::Io {
                operation: Operation::Read | Operation::Write
            }
    )
}
