//! Replies to meta commands. protocol.txt, "Meta Get" to "Meta No-Op".

use crate::codecs::protocol::text::{Step, parse_line, parse_u64, words};
use crate::words::access::AccessProblem;
use crate::words::error::{Error, ErrorKind, Result};

/// The one-letter tokens after a reply's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyFlags<'a>(&'a [u8]);

impl<'a> ReplyFlags<'a> {
    /// Returns the token of a flag, empty if it has none; `None` if the flag is missing.
    pub fn get(self, flag: u8) -> Option<&'a [u8]> {
        words(self.0)
            .filter_map(|word| word.split_first())
            .find_map(|(&letter, token)| (letter == flag).then_some(token))
    }

    /// Returns the text, for a message.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns whether a flag is present.
    pub fn has(self, flag: u8) -> bool {
        self.get(flag).is_some()
    }
}

/// One reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `VA`: the value with its flags.
    Value {
        /// The data block without its CRLF.
        value: &'a [u8],
        /// The requested flags.
        flags: ReplyFlags<'a>,
    },
    /// `HD`: done.
    Done(ReplyFlags<'a>),
    /// `EN`: a get found nothing. Servers since 1.6.18 send flags back with it.
    Miss(ReplyFlags<'a>),
    /// `NS`: a set was not carried out, such as an add of an existing key.
    NotStored(ReplyFlags<'a>),
    /// `EX`: the CAS did not match.
    Exists(ReplyFlags<'a>),
    /// `NF`: the key does not exist.
    NotFound(ReplyFlags<'a>),
    /// `MN`: the end of a batch.
    Noop,
    /// `ERROR`, `CLIENT_ERROR` or `SERVER_ERROR`, the whole line.
    Refused(&'a [u8]),
}

/// A reply, of which a value comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyHead<'a> {
    /// `VA`: this many bytes and CRLF follow.
    Value {
        /// Length of the value in bytes.
        value_len: u64,
        /// The requested flags.
        flags: ReplyFlags<'a>,
    },
    /// Any reply but `VA`, complete.
    Whole(Reply<'a>),
}

/// Parses the line at the front of `bytes`, for callers that take the value in pieces.
///
/// # Errors
///
/// - `Protocol`: the bytes are not a reply to a meta command.
pub fn parse_reply_head(bytes: &[u8]) -> Result<Step<ReplyHead<'_>>> {
    const WANTED: &str = "a reply to a meta command";
    let Step::Done(line, consumed) = parse_line(bytes, WANTED)? else {
        return Ok(Step::Need);
    };
    let (code, rest) = line.split_at_checked(2).unwrap_or((line, b""));
    let is_code = rest.is_empty() || rest.starts_with(b" ");
    let flags = ReplyFlags(rest);
    let reply = match code {
        b"VA" if is_code => {
            let mut parts = rest.trim_ascii_start().splitn(2, |&byte| byte == b' ');
            let value_len = parts.next().and_then(parse_u64);
            let value_len = value_len.ok_or_else(|| Error::protocol("VA with a length", line))?;
            let flags = ReplyFlags(parts.next().unwrap_or_default());
            return Ok(Step::Done(ReplyHead::Value { value_len, flags }, consumed));
        }
        // Before 1.6.10, success was reported as OK.
        b"HD" | b"OK" if is_code => Reply::Done(flags),
        b"EN" if is_code => Reply::Miss(flags),
        b"NS" if is_code => Reply::NotStored(flags),
        b"EX" if is_code => Reply::Exists(flags),
        b"NF" if is_code => Reply::NotFound(flags),
        b"MN" if is_code => Reply::Noop,
        _ if is_refusal(line) => {
            check_connection(line)?;
            Reply::Refused(line)
        }
        _ => return Err(Error::protocol(WANTED, line)),
    };
    Ok(Step::Done(ReplyHead::Whole(reply), consumed))
}

/// Parses the reply at the front of `bytes`.
///
/// # Errors
///
/// - `Protocol`: the bytes are not a reply to a meta command.
/// - `LimitExceeded`: the value is longer than `value_len_max` bytes.
pub fn parse_reply(bytes: &[u8], value_len_max: u64) -> Result<Step<Reply<'_>>> {
    match parse_reply_head(bytes)? {
        Step::Need => Ok(Step::Need),
        Step::Done(ReplyHead::Whole(reply), len) => Ok(Step::Done(reply, len)),
        Step::Done(ReplyHead::Value { value_len, flags }, line_len) => {
            crate::words::limits::check_limit("value length", value_len, value_len_max)?;
            // The limit keeps this within any address space.
            let len = usize::try_from(value_len).unwrap_or(usize::MAX);
            let value_end = line_len.saturating_add(len);
            let reply_end = value_end.saturating_add(2);
            let Some(data) = bytes.get(line_len..reply_end) else {
                return Ok(Step::Need);
            };
            let Some(value) = data.strip_suffix(b"\r\n") else {
                let after = bytes.get(value_end..).unwrap_or_default();
                return Err(Error::protocol("CRLF after a value", after));
            };
            Ok(Step::Done(Reply::Value { value, flags }, reply_end))
        }
    }
}

/// Returns whether a line is one of the three kinds of error.
pub fn is_refusal(line: &[u8]) -> bool {
    [&b"ERROR"[..], b"CLIENT_ERROR", b"SERVER_ERROR"]
        .iter()
        .any(|code| {
            line.strip_prefix(*code)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
        })
}

/// Returns whether a line is the answer of a server with a list of users (`-Y`) to
/// anything but a log-in.
pub fn is_unauthenticated(line: &[u8]) -> bool {
    line.starts_with(b"CLIENT_ERROR unauthenticated")
}

/// Checks that a line does not refuse the whole connection. A server sends such a refusal
/// unasked before it closes the connection, so it is not the reply to any command; or it
/// answers every command with it.
///
/// # Errors
///
/// - `TooManyConnections`.
/// - `Access`: the server wants a log-in first.
pub fn check_connection(line: &[u8]) -> Result<()> {
    if line.starts_with(b"ERROR Too many open connections") {
        return Err(Error::new(ErrorKind::TooManyConnections));
    }
    if is_unauthenticated(line) {
        return Err(Error::access(AccessProblem::AuthenticationWanted));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codecs::protocol::text::LINE_LEN_MAX;

    fn parse(bytes: &[u8]) -> Result<Step<Reply<'_>>> {
        parse_reply(bytes, 1024)
    }

    #[test]
    fn a_value_is_read_whole_whatever_the_split() {
        let bytes = b"VA 4 f30 t-1 c7 W\r\n\r\nEN\r\nHD\r\n";
        for len in 0..25 {
            assert_eq!(parse(&bytes[..len]).unwrap(), Step::Need, "{len} bytes");
        }
        let Step::Done(Reply::Value { value, flags }, consumed) = parse(bytes).unwrap() else {
            panic!("not a value");
        };
        assert_eq!((value, consumed), (&b"\r\nEN"[..], 25));
        assert_eq!(
            (flags.get(b'f'), flags.get(b't')),
            (Some(&b"30"[..]), Some(&b"-1"[..]))
        );
        assert!(flags.has(b'W') && !flags.has(b'Z'));
    }

    #[test]
    fn codes_and_errors_are_told_apart() {
        let done = |bytes| match parse(bytes).unwrap() {
            Step::Done(reply, _) => reply,
            Step::Need => panic!("incomplete"),
        };
        assert_eq!(done(b"EN\r\n"), Reply::Miss(ReplyFlags(b"")));
        let Reply::Miss(flags) = done(b"EN O3\r\n") else {
            panic!("not EN")
        };
        assert_eq!(flags.get(b'O'), Some(&b"3"[..]));
        assert_eq!(done(b"MN\r\n"), Reply::Noop);
        let Reply::NotStored(flags) = done(b"NS O17\r\n") else {
            panic!("not NS")
        };
        assert_eq!(flags.get(b'O'), Some(&b"17"[..]));
        let words = b"SERVER_ERROR out of memory storing object";
        assert_eq!(
            done(b"SERVER_ERROR out of memory storing object\r\n"),
            Reply::Refused(words)
        );
        assert_eq!(done(b"ERROR\r\n"), Reply::Refused(b"ERROR"));
        let full = parse(b"ERROR Too many open connections\r\n").unwrap_err();
        assert_eq!(*full.kind(), ErrorKind::TooManyConnections);
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"ENOUGH\r\n",
            b"VA x\r\n",
            b"\r\n",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(b"VA 1 \r\nabc").is_err());
        assert!(parse(b"VA 1025 \r\n").is_err());
        assert!(parse(&[b'x'; LINE_LEN_MAX + 1]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"VA ".to_vec(), bytes].concat());
        }
    }
}
