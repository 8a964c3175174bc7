//! The binary protocol, as far as a dump needs it: for keys that no text
//! command carries. protocol_binary.h; deprecated, and in every version.

use byteorder::{BigEndian, ByteOrder as _};

use crate::error::{Error, Result};
use crate::protocol::reply::check_connection;
use crate::protocol::text::{Step, parse_line};

/// Bytes of a request's or a reply's header.
pub const BINARY_HEADER_LEN: usize = 24;

const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;
const GET: u8 = 0x00;
const STATUS_OK: u16 = 0;
const STATUS_NOT_FOUND: u16 = 1;

/// What a server at its limit of connections says.
const CONNECTION_REFUSAL: &[u8] = b"ERROR Too many open connections";

/// Longest message of an error status that is taken.
const MESSAGE_LEN_MAX: u32 = 4096;

/// Appends a read of a key of 1 to 250 bytes, any bytes. Unlike a meta get it
/// counts as a use of the item.
pub fn write_binary_get(key: &[u8], opaque: u32, out: &mut Vec<u8>) {
    // No key of an item is longer than a byte can tell.
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

/// What stands before a value, or instead of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryHead<'a> {
    /// A value follows.
    Value {
        /// The client's number.
        client_flags: u64,
        /// Bytes that follow.
        value_len: u64,
        /// 0 on a server without CAS.
        cas: u64,
    },
    /// There is no such key.
    Miss,
    /// Any other status, and the server's words.
    Refused {
        /// The status field.
        status: u16,
        /// Its text.
        message: &'a [u8],
    },
}

/// Reads the head of the reply to a get, with the opaque that it must carry.
///
/// # Errors
///
/// - `Protocol`: the bytes are no such reply.
/// - `TooManyConnections`.
pub fn parse_binary_get(bytes: &[u8], opaque: u32) -> Result<Step<BinaryHead<'_>>> {
    const WANTED: &str = "a reply of the binary protocol";
    // What starts otherwise is shown at once, and not waited for; but for what a
    // server says before it knows which protocol is spoken.
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
    let status = u16::from_be_bytes([status_high, status_low]);
    let body_len = number(8);
    if opcode != GET || number(12) != opaque || key_len != 0 {
        return Err(wrong());
    }
    if status != STATUS_OK {
        if body_len > MESSAGE_LEN_MAX {
            return Err(wrong());
        }
        let end = BINARY_HEADER_LEN.saturating_add(usize::try_from(body_len).unwrap_or(usize::MAX));
        let Some(message) = bytes.get(BINARY_HEADER_LEN..end) else {
            return Ok(Step::Need);
        };
        let head = match status {
            STATUS_NOT_FOUND => BinaryHead::Miss,
            _ => BinaryHead::Refused { status, message },
        };
        return Ok(Step::Done(head, end));
    }
    // The client flags, which every value has.
    let value_len = body_len.checked_sub(4);
    let (4, Some(value_len)) = (extras_len, value_len) else {
        return Err(wrong());
    };
    let end = BINARY_HEADER_LEN + 4;
    let Some(extras) = bytes.get(BINARY_HEADER_LEN..end) else {
        return Ok(Step::Need);
    };
    let head = BinaryHead::Value {
        client_flags: BigEndian::read_u32(extras).into(),
        value_len: value_len.into(),
        cas: BigEndian::read_u64(header.get(16..).unwrap_or_default()),
    };
    Ok(Step::Done(head, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

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
            if let Some(first) = bytes.first_mut() {
                *first = 0x81;
            }
            let _ = parse_binary_get(&bytes, 0);
        }
    }
}
