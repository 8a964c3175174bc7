//! The parts of the binary protocol that mcsnap needs: for keys that no text command can
//! carry, and for times that none can express. protocol_binary.h; deprecated, but in
//! every version since 1.4.0.

use byteorder::{BigEndian, ByteOrder as _};

use crate::codecs::protocol::reply::check_connection;
use crate::codecs::protocol::request::SetMode;
use crate::codecs::protocol::text::{Step, parse_line};
use crate::words::error::{Error, Result};

/// Bytes of a request's or a reply's header.
pub const BINARY_HEADER_LEN: usize = 24;

const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;
const GET: u8 = 0x00;
const SET: u8 = 0x01;
const ADD: u8 = 0x02;
const NOOP: u8 = 0x0a;
const STATUS_OK: u16 = 0;
const STATUS_NOT_FOUND: u16 = 1;
const STATUS_EXISTS: u16 = 2;
const STATUS_TOO_LARGE: u16 = 3;

/// Bytes of client flags and exptime in a set.
const SET_EXTRAS_LEN: u8 = 8;

/// What a server at its connection limit sends.
const CONNECTION_REFUSAL: &[u8] = b"ERROR Too many open connections";

/// Longest accepted message of an error status, in bytes.
const MESSAGE_LEN_MAX: u32 = 4096;

/// Appends a read of a key of 1 to 250 bytes, any bytes. Unlike a meta get, it counts as
/// a use of the item.
pub fn write_binary_get(key: &[u8], opaque: u32, out: &mut Vec<u8>) {
    // An item's key always fits, since it has at most 250 bytes.
    let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let mut header = [0; BINARY_HEADER_LEN];
    header[0] = REQUEST;
    header[1] = GET;
    BigEndian::write_u16(&mut header[2..4], key_len);
    BigEndian::write_u32(&mut header[8..12], key_len.into());
    BigEndian::write_u32(&mut header[12..16], opaque);
    out.extend_from_slice(&header);
    out.extend_from_slice(key);
}

/// The part of a reply before the value, or in place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryHead<'a> {
    /// A value follows.
    Value {
        /// The client's opaque number.
        client_flags: u64,
        /// Length of the value that follows, in bytes.
        value_len: u64,
        /// 0 on a server without CAS.
        cas: u64,
    },
    /// The key does not exist.
    Miss,
    /// Any other status, with the server's message.
    Refused {
        /// The status field.
        status: u16,
        /// The message.
        message: &'a [u8],
    },
}

/// Everything in a set except key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BinarySetFields {
    /// Whether the set may replace an item.
    pub mode: SetMode,
    /// The client's opaque number.
    pub client_flags: u32,
    /// 0 means never; up to 30 days it is relative, above that absolute. Seconds.
    pub exptime: u32,
    /// Returned with the reply.
    pub opaque: u32,
}

/// Appends what precedes the value in a set of a key of 1 to 250 bytes, any bytes. The
/// value follows, with nothing after it; it has at most 4 GiB.
pub fn write_binary_set_head(
    key: &[u8],
    value_len: u64,
    fields: &BinarySetFields,
    out: &mut Vec<u8>,
) {
    let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let body_len = value_len
        .saturating_add(key_len.into())
        .saturating_add(SET_EXTRAS_LEN.into());
    let mut header = [0; BINARY_HEADER_LEN];
    header[0] = REQUEST;
    header[1] = set_opcode(fields.mode);
    BigEndian::write_u16(&mut header[2..4], key_len);
    header[4] = SET_EXTRAS_LEN;
    let body_len = u32::try_from(body_len).unwrap_or(u32::MAX);
    BigEndian::write_u32(&mut header[8..12], body_len);
    BigEndian::write_u32(&mut header[12..16], fields.opaque);
    out.extend_from_slice(&header);
    out.extend_from_slice(&fields.client_flags.to_be_bytes());
    out.extend_from_slice(&fields.exptime.to_be_bytes());
    out.extend_from_slice(key);
}

fn set_opcode(mode: SetMode) -> u8 {
    match mode {
        SetMode::Add => ADD,
        SetMode::Set => SET,
    }
}

/// The reply to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryStoreReply<'a> {
    /// The node stored the item.
    Stored,
    /// The key of an add already exists.
    Exists,
    /// The item is larger than the node's largest.
    TooLarge,
    /// Any other status, with the server's message.
    Refused {
        /// The status field.
        status: u16,
        /// The message.
        message: &'a [u8],
    },
}

/// Parses the reply to a set that was sent with this `opaque`.
///
/// # Errors
///
/// - `Protocol`: the bytes are not such a reply.
/// - `TooManyConnections`.
pub fn parse_binary_store(
    bytes: &[u8],
    mode: SetMode,
    opaque: u32,
) -> Result<Step<BinaryStoreReply<'_>>> {
    let Step::Done(head, len) = parse_header(bytes, set_opcode(mode), opaque)? else {
        return Ok(Step::Need);
    };
    let Step::Done(message, end) = parse_message(bytes, &head, len)? else {
        return Ok(Step::Need);
    };
    let reply = match head.status {
        STATUS_OK if message.is_empty() => BinaryStoreReply::Stored,
        STATUS_OK => return Err(Error::protocol(WANTED, bytes)),
        STATUS_EXISTS => BinaryStoreReply::Exists,
        STATUS_TOO_LARGE => BinaryStoreReply::TooLarge,
        status => BinaryStoreReply::Refused { status, message },
    };
    Ok(Step::Done(reply, end))
}

/// Parses the reply to [`crate::codecs::protocol::request::BINARY_NOOP`].
///
/// # Errors
///
/// - `Protocol`: the bytes are not such a reply, as from a server that does not speak
///   this protocol.
/// - `TooManyConnections`.
pub fn parse_binary_noop(bytes: &[u8]) -> Result<Step<()>> {
    let Step::Done(head, len) = parse_header(bytes, NOOP, 0)? else {
        return Ok(Step::Need);
    };
    if head.status != STATUS_OK || head.body_len != 0 {
        return Err(Error::protocol(WANTED, bytes));
    }
    Ok(Step::Done((), len))
}

/// Parses the start of the reply to a get that was sent with this `opaque`.
///
/// # Errors
///
/// - `Protocol`: the bytes are not such a reply.
/// - `TooManyConnections`.
pub fn parse_binary_get(bytes: &[u8], opaque: u32) -> Result<Step<BinaryHead<'_>>> {
    let Step::Done(head, len) = parse_header(bytes, GET, opaque)? else {
        return Ok(Step::Need);
    };
    if head.status != STATUS_OK {
        let Step::Done(message, end) = parse_message(bytes, &head, len)? else {
            return Ok(Step::Need);
        };
        let status = head.status;
        let head = match status {
            STATUS_NOT_FOUND => BinaryHead::Miss,
            _ => BinaryHead::Refused { status, message },
        };
        return Ok(Step::Done(head, end));
    }
    // Every value is preceded by 4 bytes of client flags.
    let value_len = head.body_len.checked_sub(4);
    let (4, Some(value_len)) = (head.extras_len, value_len) else {
        return Err(Error::protocol(WANTED, bytes));
    };
    let end = BINARY_HEADER_LEN + 4;
    let Some(extras) = bytes.get(BINARY_HEADER_LEN..end) else {
        return Ok(Step::Need);
    };
    let head = BinaryHead::Value {
        client_flags: BigEndian::read_u32(extras).into(),
        value_len: value_len.into(),
        cas: head.cas,
    };
    Ok(Step::Done(head, end))
}

const WANTED: &str = "a reply of the binary protocol";

/// The common start of all replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ReplyHeader {
    status: u16,
    extras_len: u8,
    body_len: u32,
    cas: u64,
}

fn parse_header(bytes: &[u8], wanted_opcode: u8, opaque: u32) -> Result<Step<ReplyHeader>> {
    // Report other bytes at once instead of waiting for more, unless they are what a
    // server sends before it knows which protocol the client speaks.
    if bytes.first().is_some_and(|&magic| magic != RESPONSE) {
        if CONNECTION_REFUSAL.starts_with(bytes) || bytes.starts_with(CONNECTION_REFUSAL) {
            match parse_line(bytes, WANTED)? {
                Step::Need => return Ok(Step::Need),
                Step::Done(line, _) => check_connection(line)?,
            }
        }
        return Err(Error::protocol(WANTED, bytes));
    }
    let Some(header) = bytes.get(..BINARY_HEADER_LEN) else {
        return Ok(Step::Need);
    };
    let number = |start: usize| BigEndian::read_u32(header.get(start..).unwrap_or_default());
    let wrong = || Error::protocol(WANTED, bytes);
    let &[
        _,
        opcode,
        key_len_high,
        key_len_low,
        extras_len,
        _,
        status_high,
        status_low,
        ..,
    ] = header
    else {
        return Err(wrong());
    };
    let key_len = u16::from_be_bytes([key_len_high, key_len_low]);
    if opcode != wanted_opcode || number(12) != opaque || key_len != 0 {
        return Err(wrong());
    }
    let head = ReplyHeader {
        status: u16::from_be_bytes([status_high, status_low]),
        extras_len,
        body_len: number(8),
        cas: BigEndian::read_u64(header.get(16..).unwrap_or_default()),
    };
    Ok(Step::Done(head, BINARY_HEADER_LEN))
}

/// Parses the message after a header, which ends the reply.
fn parse_message<'a>(bytes: &'a [u8], head: &ReplyHeader, start: usize) -> Result<Step<&'a [u8]>> {
    if head.body_len > MESSAGE_LEN_MAX {
        return Err(Error::protocol(WANTED, bytes));
    }
    let end = start.saturating_add(usize::try_from(head.body_len).unwrap_or(usize::MAX));
    Ok(match bytes.get(start..end) {
        Some(message) => Step::Done(message, end),
        None => Step::Need,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codecs::protocol::request::BINARY_NOOP;
    use crate::words::error::ErrorKind;

    fn reply(status: u16, extras: &[u8], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x81, 0, 0, 0, u8::try_from(extras.len()).unwrap(), 0];
        bytes.extend_from_slice(&status.to_be_bytes());
        let len = u32::try_from(extras.len() + body.len()).unwrap();
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&7_u32.to_be_bytes());
        bytes.extend_from_slice(&99_u64.to_be_bytes());
        bytes.extend_from_slice(extras);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_value_is_told_by_its_head_whatever_the_split() {
        let bytes = reply(0, &5_u32.to_be_bytes(), b"value");
        for len in 0..28 {
            assert_eq!(parse_binary_get(&bytes[..len], 7).unwrap(), Step::Need);
        }
        let head = BinaryHead::Value {
            client_flags: 5,
            value_len: 5,
            cas: 99,
        };
        for len in 28..bytes.len() {
            assert_eq!(
                parse_binary_get(&bytes[..len], 7).unwrap(),
                Step::Done(head, 28)
            );
        }
        assert!(parse_binary_get(&bytes, 8).is_err());
    }

    #[test]
    fn a_miss_and_a_refusal_are_told_apart() {
        let miss = reply(1, b"", b"Not found");
        let step = parse_binary_get(&miss, 7).unwrap();
        assert_eq!(step, Step::Done(BinaryHead::Miss, miss.len()));
        let refused = reply(0x82, b"", b"Out of memory");
        let head = BinaryHead::Refused {
            status: 0x82,
            message: b"Out of memory",
        };
        let step = parse_binary_get(&refused, 7).unwrap();
        assert_eq!(step, Step::Done(head, refused.len()));
        assert!(parse_binary_get(b"ERROR\r\n", 7).is_err());
    }

    #[test]
    fn replies_to_sets_are_read_whatever_the_split() {
        let refused = BinaryStoreReply::Refused {
            status: 0x82,
            message: b"Out of memory",
        };
        for (status, words, wanted) in [
            (0, &b""[..], BinaryStoreReply::Stored),
            (2, b"Data exists for key.", BinaryStoreReply::Exists),
            (3, b"Too large.", BinaryStoreReply::TooLarge),
            (0x82, b"Out of memory", refused),
        ] {
            for (opcode, mode) in [(1, SetMode::Set), (2, SetMode::Add)] {
                let mut bytes = reply(status, b"", words);
                bytes[1] = opcode;
                for len in 0..bytes.len() {
                    let step = parse_binary_store(&bytes[..len], mode, 7).unwrap();
                    assert_eq!(step, Step::Need, "{len} bytes");
                }
                let whole = Step::Done(wanted, bytes.len());
                bytes.extend_from_slice(b"\x81more");
                assert_eq!(parse_binary_store(&bytes, mode, 7).unwrap(), whole);
                // The reply to another set, or to another command.
                assert!(parse_binary_store(&bytes, mode, 8).is_err());
                bytes[1] ^= 3;
                assert!(parse_binary_store(&bytes, mode, 7).is_err());
            }
        }
        let mut long = reply(3, b"", &[b'x'; 5000]);
        long[1] = 1;
        assert!(parse_binary_store(&long, SetMode::Set, 7).is_err());
        assert!(parse_binary_store(b"ERROR\r\n", SetMode::Set, 7).is_err());
    }

    #[test]
    fn a_set_is_a_header_flags_exptime_and_the_key() {
        let fields = BinarySetFields {
            mode: SetMode::Add,
            client_flags: 0x0a0b_0c0d,
            exptime: u32::MAX,
            opaque: 0x0102_0304,
        };
        let mut out = Vec::new();
        write_binary_set_head(b"a b", 5, &fields, &mut out);
        let mut wanted = vec![0x80, 2, 0, 3, 8, 0, 0, 0, 0, 0, 0, 16, 1, 2, 3, 4];
        wanted.extend_from_slice(&[0; 8]);
        wanted.extend_from_slice(b"\x0a\x0b\x0c\x0d\xff\xff\xff\xffa b");
        assert_eq!(out, wanted);
    }

    #[test]
    fn a_server_that_speaks_it_answers_a_no_op() {
        let mut bytes = BINARY_NOOP.to_vec();
        bytes[0] = 0x81;
        for len in 0..bytes.len() {
            assert_eq!(parse_binary_noop(&bytes[..len]).unwrap(), Step::Need);
        }
        assert_eq!(parse_binary_noop(&bytes).unwrap(), Step::Done((), 24));
        assert!(parse_binary_noop(b"ERROR\r\n").is_err());
    }

    #[test]
    fn a_server_without_a_free_connection_says_so_in_text() {
        let line = b"ERROR Too many open connections\r\n";
        for len in 0..line.len() - 1 {
            assert_eq!(parse_binary_get(&line[..len], 7).unwrap(), Step::Need);
        }
        let error = parse_binary_get(line, 7).unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::TooManyConnections);
    }

    #[test]
    fn a_request_is_a_header_and_the_key() {
        let mut out = Vec::new();
        write_binary_get(b"a b", 0x0102_0304, &mut out);
        let mut wanted = vec![0x80, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 4];
        wanted.extend_from_slice(&[0; 8]);
        wanted.extend_from_slice(b"a b");
        assert_eq!(out, wanted);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_binary_get(&bytes, 0);
            let _ = parse_binary_store(&bytes, SetMode::Set, 0);
            if let Some(first) = bytes.first_mut() {
                *first = 0x81;
            }
            let _ = parse_binary_get(&bytes, 0);
            let _ = parse_binary_store(&bytes, SetMode::Set, 0);
            let _ = parse_binary_noop(&bytes);
        }
    }
}
