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
        let Some(word_len) = find_byte(delimiter, key.get(at..)?) else {
            break;
        };
        at = at.saturating_add(word_len);
        at = at.saturating_add(run_len(at));
        end = Some(at);
    }
    end
}

/// Returns the place of the first such byte. For keys, which are short, this takes a third
/// of the instructions of a search that is made for long texts.
pub(super) fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
    const LEN: usize = size_of::<u64>();
    if bytes.len() < LEN {
        return bytes.iter().position(|other| *other == byte);
    }
    let mut at = 0_usize;
    loop {
        // The last eight may have some again that were looked at.
        at = at.min(bytes.len().saturating_sub(LEN));
        let eight = bytes.get(at..)?.first_chunk::<LEN>()?;
        if let Some(place) = find_in_eight(byte, *eight) {
            return Some(at.wrapping_add(place));
        }
        at = at.wrapping_add(LEN);
        if at >= bytes.len() {
            return None;
        }
    }
}

/// Returns the place of the first such byte of eight, all of which are compared at once.
fn find_in_eight(byte: u8, eight: [u8; 8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);
    // Equal bytes become 0. Of a 0, subtracting 1 sets the high bit; above it, where it may
    // be set wrongly, nobody looks.
    let different = u64::from_le_bytes(eight) ^ u64::from_le_bytes([byte; 8]);
    let zeros = different.wrapping_sub(ONES) & !different & HIGH_BITS;
    (zeros != 0).then(|| usize::try_from(zeros.trailing_zeros() / 8).unwrap_or_default())
}

/// Writes a prefix with `#` for each number: digits, or at least eight hexadecimal digits
/// of which at least one is not a letter. A number of one or two digits stays if it is
/// all there is between a delimiter at the start and the next one.
pub fn push_without_numbers(kept: &mut Vec<u8>, prefix: &[u8], delimiter: u8) {
    const HEX_LEN_MIN: usize = 8;
    let part = |start: usize, end: usize| prefix.get(start..end).unwrap_or_default();
    let kind_at = |at: usize| prefix.get(at).map(|byte| Digit::of(*byte));
    let mut at = version_len(prefix, delimiter);
    // Where the bytes start that are kept as they are, and not written yet.
    let mut start = 0;
    while let Some(kind) = kind_at(at) {
        if kind == Digit::No {
            at = at.wrapping_add(1);
            continue;
        }
        let (mut end, mut first_number) = (at, None);
        while let Some(kind @ (Digit::Letter | Digit::Number)) = kind_at(end) {
            if kind == Digit::Number && first_number.is_none() {
                first_number = Some(end);
            }
            end = end.wrapping_add(1);
        }
        let Some(number) = first_number else {
            at = end;
            continue;
        };
        if end.wrapping_sub(at) >= HEX_LEN_MIN {
            kept.extend_from_slice(part(start, at));
            at = end;
        } else {
            // Too short for a number of letters, and so is what is left of it.
            kept.extend_from_slice(part(start, number));
            at = number;
            while kind_at(at) == Some(Digit::Number) {
                at = at.wrapping_add(1);
            }
        }
        kept.push(b'#');
        start = at;
    }
    kept.extend_from_slice(part(start, prefix.len()));
}

/// Returns how many bytes at the start of a prefix stay, as a version: delimiters, and one
/// or two digits with another delimiter after them.
fn version_len(prefix: &[u8], delimiter: u8) -> usize {
    const VERSION_LEN_MAX: usize = 2;
    if prefix.first() != Some(&delimiter) {
        return 0;
    }
    let run = prefix.iter().take_while(|byte| **byte == delimiter).count();
    let words = prefix.get(run..).unwrap_or_default();
    let digits = words
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let is_version =
        (1..=VERSION_LEN_MAX).contains(&digits) && words.get(digits) == Some(&delimiter);
    if is_version {
        run.saturating_add(digits)
    } else {
        0
    }
}

/// What a byte is as a digit of a hexadecimal number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digit {
    No,
    Letter,
    Number,
}

impl Digit {
    /// By byte: comparing with the bounds of three ranges takes longer.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is one for each byte, and it is done when this is compiled"
    )]
    const ALL: [Self; 256] = {
        let mut all = [Self::No; 256];
        let mut byte = 0_u8;
        while byte < u8::MAX {
            all[byte as usize] = match byte {
                b'0'..=b'9' => Self::Number,
                b'a'..=b'f' | b'A'..=b'F' => Self::Letter,
                _ => Self::No,
            };
            byte += 1;
        }
        all
    };

    fn of(byte: u8) -> Self {
        // There is one for each byte.
        Self::ALL
            .get(usize::from(byte))
            .copied()
            .unwrap_or(Self::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As FORMAT.md says it, without a thought for time.
    fn plain(key: &[u8]) -> Option<Vec<u8>> {
        let prefix = KEY_DELIMITERS.bytes().find_map(|delimiter| {
            let start = key.iter().take_while(|byte| **byte == delimiter).count();
            let ends = (start + 1..=key.len()).filter(|&end| {
                key[end - 1] == delimiter && key.get(end).is_none_or(|byte| *byte != delimiter)
            });
            let end = ends.take(3).last()?;
            Some((&key[..end], start, delimiter))
        });
        let (prefix, start, delimiter) = prefix?;
        let digits = |at: usize| {
            prefix[at..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        let version = digits(start);
        let mut at = 0;
        if start > 0 && (1..=2).contains(&version) && prefix[start + version] == delimiter {
            at = start + version;
        }
        let mut kept = prefix[..at].to_vec();
        while at < prefix.len() {
            let run = prefix[at..].iter();
            let hex = run.take_while(|byte| byte.is_ascii_hexdigit()).count();
            let is_number = hex >= 8 && prefix[at..at + hex].iter().any(u8::is_ascii_digit);
            let len = if is_number { hex } else { digits(at) };
            if len > 0 {
                kept.push(b'#');
                at += len;
                continue;
            }
            // A run without one of 0 to 9, or too short: up to the first digit, or whole.
            let words = prefix[at..].iter();
            let words = match hex {
                0 => 1,
                _ => words.take(hex).take_while(|b| !b.is_ascii_digit()).count(),
            };
            kept.extend_from_slice(&prefix[at..at + words]);
            at += words;
        }
        Some(kept)
    }

    #[test]
    fn a_prefix_is_what_the_format_says() {
        const BYTES: &[u8] = b":::__/-.019afAFgz\xff\0";
        let mut state = 5_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..200_000 {
            let most = if next(8) == 0 { 60 } else { 12 };
            let len = 1 + next(most);
            let key: Vec<u8> = (0..len).map(|_| BYTES[next(BYTES.len())]).collect();
            let found = prefix_of(&key, KEY_DELIMITERS.as_bytes(), 3).map(|(prefix, delimiter)| {
                let mut name = Vec::new();
                push_without_numbers(&mut name, prefix, delimiter);
                name
            });
            assert_eq!(found, plain(&key), "{}", key.escape_ascii());
        }
    }

    #[test]
    fn the_first_of_equal_bytes_is_found_wherever_it_is() {
        for len in 0..40 {
            for place in 0..len {
                // Neighbours of the byte, which a borrow could make equal.
                for other in [b':' - 1, b':' + 1, b':' ^ 0x80, 0] {
                    let mut bytes = vec![other; len];
                    assert_eq!(find_byte(b':', &bytes), None);
                    bytes[place..].fill(b':');
                    assert_eq!(find_byte(b':', &bytes), Some(place));
                }
            }
        }
    }
}
