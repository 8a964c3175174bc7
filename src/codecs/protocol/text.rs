//! Lines and numbers of the text protocol.

use crate::words::error::{Error, Result};

/// Longest line accepted from a server, in bytes. A walk line has a key of 250 bytes,
/// encoded in up to 750, and some 200 bytes of fields.
pub const LINE_LEN_MAX: usize = 4096;

/// The result of parsing the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// The bytes are the beginning of something; more are needed.
    Need,
    /// Something complete, and how many bytes it took.
    Done(T, usize),
}

/// Returns the first line without its end, and how many bytes it takes including its end.
/// Both `\r\n` and a bare `\n` end a line.
pub fn split_line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes.get(..end)?;
    Some((
        line.strip_suffix(b"\r").unwrap_or(line),
        end.saturating_add(1),
    ))
}

/// Parses the line at the front of `bytes`, and returns it without its end.
///
/// # Errors
///
/// - `Protocol`, with what was `wanted`: the line is longer than [`LINE_LEN_MAX`],
///   whether its end has arrived or not.
pub fn parse_line<'a>(bytes: &'a [u8], wanted: &'static str) -> Result<Step<&'a [u8]>> {
    // A line end beyond the longest line is not searched for.
    const LINE_END_MAX: usize = LINE_LEN_MAX.saturating_add(1);
    let window = bytes.get(..LINE_END_MAX).unwrap_or(bytes);
    match split_line(window) {
        Some((line, len)) => Ok(Step::Done(line, len)),
        None if window.len() < LINE_END_MAX => Ok(Step::Need),
        None => Err(Error::protocol(wanted, bytes)),
    }
}

/// Parses a decimal number that consists of digits only.
pub fn parse_u64(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// Parses a decimal number that may have a minus sign.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => 0_i64.checked_sub_unsigned(parse_u64(digits)?),
        None => i64::try_from(parse_u64(text)?).ok(),
    }
}

/// Visits the words separated by spaces; empty ones are skipped.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ')
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_all_digits_and_within_range() {
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        for text in [&b""[..], b"-1", b"+1", b"1x", b"18446744073709551616", b":"] {
            assert_eq!(parse_u64(text), None);
        }
        assert_eq!(parse_i64(b"-1"), Some(-1));
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"--1"), None);
    }

    #[test]
    fn a_line_ends_with_either_end() {
        assert_eq!(split_line(b"END\r\nx"), Some((&b"END"[..], 5)));
        assert_eq!(split_line(b"key=a\n"), Some((&b"key=a"[..], 6)));
        assert_eq!(split_line(b"EN"), None);
    }

    #[test]
    fn a_line_is_too_long_whether_its_end_has_come_or_not() {
        let longest = [&[b'x'; LINE_LEN_MAX][..], b"\nEND"].concat();
        let (line, end) = longest.split_at(LINE_LEN_MAX);
        let step = parse_line(&longest, "a line").unwrap();
        assert_eq!(step, Step::Done(line, LINE_LEN_MAX + 1));
        assert_eq!(parse_line(line, "a line").unwrap(), Step::Need);
        let longer = [b"x", line, end].concat();
        assert!(parse_line(&longer, "a line").is_err());
        assert!(parse_line(&longer[..=LINE_LEN_MAX], "a line").is_err());
    }
}
