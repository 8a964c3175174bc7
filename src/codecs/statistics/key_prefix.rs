//! The prefix of a key: the words up to a delimiter. FORMAT.md 5.16.
//!
//! The prefix of `user:123:mail` at depth 1 is `user:`, at depth 2 `user:123:`. It ends
//! with a delimiter; of several delimiters, the first in the list that occurs in the key
//! is used. Several delimiters in a row count as one, and one at the start does not end a
//! prefix: the prefix of Django's `:1:user:7` is `:1:` or `:1:user:`. Numbers in a prefix
//! are written as `#`, since `page1:`, `page2:` and so on are one kind of key. A short
//! number after a delimiter at the start is a version, and stays.

/// A colon, as in memcached's own option `-D`; if a key has none, a slash, an underscore,
/// a dash or a dot.
pub const KEY_DELIMITERS: &str = ":/_-.";

/// Returns the first of the delimiters that ends a prefix of the key; `None` if none does.
pub fn delimiter_of(key: &[u8], delimiters: &[u8]) -> Option<u8> {
    let mut places = delimiters.iter().copied();
    places.find(|delimiter| prefix_end(key, *delimiter, 1).is_some())
}

/// Returns the prefix of a key by the first of the delimiters that ends one, and that
/// delimiter; `None` if none does.
pub fn prefix_of<'k>(
    key: &'k [u8],
    delimiters: &[u8],
    delimiter_count: usize,
) -> Option<(&'k [u8], u8)> {
    delimiters.iter().find_map(|&delimiter| {
        let end = prefix_end(key, delimiter, delimiter_count)?;
        Some((key.get(..end)?, delimiter))
    })
}

/// Returns where the prefix of a key ends: after this many delimiters, or after the last
/// one if there are fewer. Several in a row count as one; those at the start do not
/// count.
pub fn prefix_end(key: &[u8], delimiter: u8, delimiter_count: usize) -> Option<usize> {
    let run_len = |at: usize| {
        let rest = key.get(at..).unwrap_or_default().iter();
        rest.take_while(|byte| **byte == delimiter).count()
    };
    let mut at = run_len(0);
    let mut end = None;
    for _ in 0..delimiter_count {
        let Some(word_len) = memchr::memchr(delimiter, key.get(at..)?) else {
            break;
        };
        at = at.saturating_add(word_len);
        at = at.saturating_add(run_len(at));
        end = Some(at);
    }
    end
}

/// Writes a prefix with `#` for each number: digits, or at least eight hexadecimal digits
/// of which at least one is not a letter. A number of one or two digits stays if it is
/// all there is between a delimiter at the start and the next one.
pub fn push_without_numbers(kept: &mut Vec<u8>, prefix: &[u8], delimiter: u8) {
    const HEX_LEN_MIN: usize = 8;
    const VERSION_LEN_MAX: usize = 2;
    // Most prefixes contain only words.
    if !prefix.iter().any(u8::is_ascii_digit) {
        kept.extend_from_slice(prefix);
        return;
    }
    let mut rest = prefix;
    if rest.first() == Some(&delimiter) {
        let run = rest.iter().take_while(|byte| **byte == delimiter).count();
        let words = rest.get(run..).unwrap_or_default();
        let digits = words
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let is_version =
            (1..=VERSION_LEN_MAX).contains(&digits) && words.get(digits) == Some(&delimiter);
        if is_version
            && let Some((version, more)) = rest.split_at_checked(run.saturating_add(digits))
        {
            kept.extend_from_slice(version);
            rest = more;
        }
    }
    while !rest.is_empty() {
        let (words, after) = split_run(rest, |byte| !byte.is_ascii_hexdigit());
        kept.extend_from_slice(words);
        rest = after;
        let (hex, after_hex) = split_run(rest, u8::is_ascii_hexdigit);
        let digits_at = hex.iter().position(u8::is_ascii_digit);
        let Some(digits_at) = digits_at else {
            kept.extend_from_slice(hex);
            rest = after_hex;
            continue;
        };
        if hex.len() >= HEX_LEN_MIN {
            kept.push(b'#');
            rest = after_hex;
            continue;
        }
        // Too short for a number of letters, and so is what is left of it.
        let (letters, digits) = hex.split_at(digits_at);
        kept.extend_from_slice(letters);
        kept.push(b'#');
        let (number, _) = split_run(digits, u8::is_ascii_digit);
        let end = digits_at.saturating_add(number.len());
        rest = rest.get(end..).unwrap_or_default();
    }
}

/// Splits bytes after those at the start of which `is_part` holds.
fn split_run(bytes: &[u8], is_part: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let len = bytes.iter().take_while(|byte| is_part(byte)).count();
    bytes.split_at(len)
}
