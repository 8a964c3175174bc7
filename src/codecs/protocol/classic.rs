//! `gets`, `set` and `add`, for servers without meta commands. protocol.txt, "Retrieval
//! command" and "Storage commands".

use std::io::Write as _;

use crate::codecs::protocol::reply::{check_connection, is_refusal};
use crate::codecs::protocol::request::{SetFields, SetMode};
use crate::codecs::protocol::text::{Step, parse_i64, parse_line, parse_u64, words};
use crate::words::error::{Error, Result};

/// Most keys in one command: 100 keys of 250 bytes are far below every limit of servers
/// and proxies on a line.
pub const GETS_KEY_COUNT_MAX: usize = 100;

/// Starts a command; [`write_gets_key`] adds keys and [`end_gets`] ends it. Without
/// `has_gets` it is a `get`, whose reply has no CAS.
pub fn start_gets(has_gets: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if has_gets { b"gets" } else { b"get" });
}

/// Adds a key that text can carry.
pub fn write_gets_key(key: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(key);
}

/// Ends a command.
pub fn end_gets(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// The line before a value, or the line in place of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GetsHead<'a> {
    /// `VALUE`: a value and CRLF follow.
    Value {
        /// Its key.
        key: &'a [u8],
        /// The client's opaque number.
        client_flags: u64,
        /// Length of the value that follows, without CRLF, in bytes.
        value_len: u64,
        /// 0 on a server without CAS; `None` in the reply to a `get`.
        cas: Option<u64>,
    },
    /// `END`: keys of this command without a value do not exist.
    End,
    /// `ERROR`, `CLIENT_ERROR` or `SERVER_ERROR`, which ends the reply.
    Refused(&'a [u8]),
}

/// Parses the line at the front of `bytes`.
///
/// # Errors
///
/// - `Protocol`: the bytes are not a reply to `gets`.
/// - `TooManyConnections`.
pub fn parse_gets(bytes: &[u8]) -> Result<Step<GetsHead<'_>>> {
    const WANTED: &str = "VALUE or END";
    let Step::Done(line, len) = parse_line(bytes, WANTED)? else {
        return Ok(Step::Need);
    };
    let head = match line {
        b"END" => GetsHead::End,
        _ if is_refusal(line) => {
            check_connection(line)?;
            GetsHead::Refused(line)
        }
        _ => parse_value(line).ok_or_else(|| Error::protocol(WANTED, bytes))?,
    };
    Ok(Step::Done(head, len))
}

fn parse_value(line: &[u8]) -> Option<GetsHead<'_>> {
    let mut parts = words(line.strip_prefix(b"VALUE ")?);
    let key = parts.next()?;
    let client_flags = parse_client_flags(parts.next()?)?;
    let value_len = parse_u64(parts.next()?)?;
    let cas = parts.next().map(parse_u64);
    if parts.next().is_some() || cas == Some(None) {
        return None;
    }
    Some(GetsHead::Value {
        key,
        client_flags,
        value_len,
        cas: cas.flatten(),
    })
}

/// Parses client flags, which versions before 1.4.27 show as a signed number.
fn parse_client_flags(text: &[u8]) -> Option<u64> {
    let signed = |text| i32::try_from(parse_i64(text)?).ok();
    parse_u64(text).or_else(|| signed(text).map(|flags| flags.cast_unsigned().into()))
}

/// Appends what precedes the value in a set. The opaque, the quiet flag and the CAS are
/// ignored here. The value and CRLF follow.
///
/// The command does not use `noreply`: versions before 1.6.0 would then read a value that
/// is too large as commands.
pub fn write_classic_set_head(key: &[u8], value_len: u64, fields: &SetFields, out: &mut Vec<u8>) {
    let command: &[u8] = match fields.mode {
        SetMode::Add => b"add ",
        SetMode::Set => b"set ",
    };
    out.extend_from_slice(command);
    out.extend_from_slice(key);
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        " {} {} {value_len}\r\n",
        fields.client_flags, fields.ttl
    );
}

/// The reply to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreReply<'a> {
    /// `STORED`.
    Stored,
    /// `NOT_STORED`: the key of an add already exists.
    NotStored,
    /// `ERROR`, `CLIENT_ERROR` or `SERVER_ERROR`, the whole line.
    Refused(&'a [u8]),
}

/// Parses the reply at the front of `bytes`.
///
/// # Errors
///
/// - `Protocol`: the bytes are not a reply to a set.
/// - `TooManyConnections`.
pub fn parse_store(bytes: &[u8]) -> Result<Step<StoreReply<'_>>> {
    const WANTED: &str = "STORED, NOT_STORED or an error";
    let Step::Done(line, len) = parse_line(bytes, WANTED)? else {
        return Ok(Step::Need);
    };
    let reply = match line {
        b"STORED" => StoreReply::Stored,
        b"NOT_STORED" => StoreReply::NotStored,
        _ if is_refusal(line) => {
            check_connection(line)?;
            StoreReply::Refused(line)
        }
        _ => return Err(Error::protocol(WANTED, line)),
    };
    Ok(Step::Done(reply, len))
}

/// Returns whether a server that refuses a set with this line has skipped the value. A
/// server that did not understand the command line reads the value as commands.
pub fn has_skipped_value(refusal: &[u8]) -> bool {
    refusal.starts_with(b"SERVER_ERROR")
}

/// Makes the error of a reply that names a key that was not requested, or not in this
/// order.
pub fn foreign_key(key: &[u8]) -> Error {
    Error::protocol("the keys that were asked for, in their order", key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies_of_every_kind_are_read() {
        let value = |key, client_flags, value_len, cas| GetsHead::Value {
            key,
            client_flags,
            value_len,
            cas,
        };
        for (line, wanted) in [
            (
                &b"VALUE k 7 3 99\r\n"[..],
                Some(value(b"k", 7, 3, Some(99))),
            ),
            (b"VALUE k 7 3\r\n", Some(value(b"k", 7, 3, None))),
            // From 1.4.26 and earlier.
            (
                b"VALUE k -2147483648 3 9\r\n",
                Some(value(b"k", 0x8000_0000, 3, Some(9))),
            ),
            (
                b"VALUE k -1 3 9\r\n",
                Some(value(b"k", 0xffff_ffff, 3, Some(9))),
            ),
            (b"VALUE k -2147483649 3 9\r\n", None),
            (b"END\r\n", Some(GetsHead::End)),
            (
                b"SERVER_ERROR x\r\n",
                Some(GetsHead::Refused(b"SERVER_ERROR x")),
            ),
            (b"VALUE k 7\r\n", None),
            (b"VALUE k 7 3 x\r\n", None),
            (b"VALUE k 7 3 1 1\r\n", None),
            (b"VA 3\r\n", None),
        ] {
            for len in 0..line.len() {
                assert_eq!(parse_gets(&line[..len]).unwrap(), Step::Need);
            }
            let parsed = parse_gets(line).ok();
            assert_eq!(parsed, wanted.map(|head| Step::Done(head, line.len())));
        }
        assert!(parse_gets(b"ERROR Too many open connections\r\n").is_err());
    }

    #[test]
    fn a_command_holds_its_keys() {
        let mut out = Vec::new();
        start_gets(true, &mut out);
        write_gets_key(b"a", &mut out);
        write_gets_key(b"b", &mut out);
        end_gets(&mut out);
        assert_eq!(out, b"gets a b\r\n");
    }

    #[test]
    fn replies_to_sets_are_read_whatever_the_split() {
        let too_large = &b"SERVER_ERROR object too large for cache"[..];
        for (line, wanted) in [
            (&b"STORED\r\n"[..], Some(StoreReply::Stored)),
            (b"NOT_STORED\r\n", Some(StoreReply::NotStored)),
            (
                b"SERVER_ERROR object too large for cache\r\n",
                Some(StoreReply::Refused(too_large)),
            ),
            (b"ERROR\r\n", Some(StoreReply::Refused(b"ERROR"))),
            (b"EXISTS\r\n", None),
            (b"STORED \r\n", None),
            (b"HD\r\n", None),
            (b"\r\n", None),
        ] {
            for len in 0..line.len() {
                assert_eq!(parse_store(&line[..len]).unwrap(), Step::Need);
            }
            let followed = [line, b"STORED\r\n"].concat();
            let parsed = parse_store(&followed).ok();
            assert_eq!(parsed, wanted.map(|reply| Step::Done(reply, line.len())));
        }
        assert!(parse_store(b"ERROR Too many open connections\r\n").is_err());
        assert!(has_skipped_value(too_large));
        assert!(!has_skipped_value(b"CLIENT_ERROR bad command line format"));
    }

    #[test]
    fn sets_are_written_as_the_protocol_says() {
        let mut fields = SetFields {
            mode: SetMode::Add,
            ttl: 60,
            client_flags: 7,
            cas: Some(9),
            opaque: 3,
            is_quiet: true,
        };
        let mut out = Vec::new();
        write_classic_set_head(b"k", 5, &fields, &mut out);
        fields.mode = SetMode::Set;
        write_classic_set_head(b"k", 0, &fields, &mut out);
        assert_eq!(out, b"add k 7 60 5\r\nset k 7 60 0\r\n");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_gets(&bytes);
            let _ = parse_store(&bytes);
        }
    }
}
