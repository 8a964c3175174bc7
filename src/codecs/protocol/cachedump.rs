//! The lines of `stats cachedump`, for servers without a crawler. protocol.txt does not
//! describe the command; `items.c` of each version defines it.

use crate::codecs::protocol::text::parse_u64;
use crate::words::item::{Exptime, KEY_LEN_MAX};
use crate::words::units::UnixSecs;

/// The kinds of lines in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListingLine<'a> {
    /// An item; its text is parsed by [`parse_listed`].
    Item,
    /// `END`: the server has sent all that it shows.
    End,
    /// The server's refusal, in its own words.
    Refused(&'a [u8]),
}

/// Classifies a line, given without its end.
pub fn classify_listing(line: &[u8]) -> ListingLine<'_> {
    match line {
        b"END" => ListingLine::End,
        _ if line.starts_with(b"ITEM ") => ListingLine::Item,
        _ => ListingLine::Refused(line),
    }
}

/// What a listing reports about one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedItem<'a> {
    /// The key, unencoded: a line end in it breaks the listing.
    pub key: &'a [u8],
    /// Length of the value in bytes.
    pub value_len: u64,
    /// The number as listed; see [`exptime_of_listing`]. Servers before 1.2.4 list the
    /// last access here (`items.c`).
    pub exptime: u64,
}

/// Parses `ITEM <key> [<bytes> b; <exptime> s]`; `None` for anything else.
pub fn parse_listed(line: &[u8]) -> Option<ListedItem<'_>> {
    let (key, value_len, exptime) = split_tail(line.strip_prefix(b"ITEM ")?)?;
    (!key.is_empty() && key.len() <= KEY_LEN_MAX).then_some(())?;
    Some(ListedItem {
        key,
        value_len,
        exptime,
    })
}

/// Returns whether an item ends with this line. An item whose key contains line ends
/// spans several lines.
pub fn ends_item(line: &[u8]) -> bool {
    split_tail(line).is_some()
}

/// Splits off `[<bytes> b; <exptime> s]` from the end, since a key may contain spaces and
/// brackets.
fn split_tail(line: &[u8]) -> Option<(&[u8], u64, u64)> {
    let line = line.strip_suffix(b" s]")?;
    let (line, exptime) = line.split_at_checked(memchr::memrchr(b' ', line)?)?;
    let line = line.strip_suffix(b" b;")?;
    let (key, value_len) = line.split_at_checked(memchr::memrchr(b' ', line)?)?;
    let value_len = parse_u64(value_len.strip_prefix(b" [")?)?;
    Some((key, value_len, parse_u64(exptime.get(1..)?)?))
}

/// Converts the exptime of a listing, which is absolute and on the server's clock.
///
/// Never is 0 since 1.4.26. Before, it is the time of the server's start (up to 1.4.17),
/// or 60 seconds before the start (up to 1.4.25); no live item can have such an exptime.
pub fn exptime_of_listing(exptime: u64, server_started_at: UnixSecs) -> Exptime {
    if exptime <= server_started_at.0 {
        Exptime::Never
    } else {
        Exptime::At(UnixSecs(exptime))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_items_line_is_read_from_its_end() {
        let item = |key, value_len, exptime| {
            Some(ListedItem {
                key,
                value_len,
                exptime,
            })
        };
        for (line, wanted) in [
            (
                &b"ITEM a [3 b; 1700000000 s]"[..],
                item(b"a", 3, 1_700_000_000),
            ),
            (
                b"ITEM a b [1 b; 2 s] [3 b; 0 s]",
                item(b"a b [1 b; 2 s]", 3, 0),
            ),
            (b"ITEM \xff\x01 [0 b; 0 s]", item(b"\xff\x01", 0, 0)),
            (b"ITEM  [3 b; 0 s]", None),
            (b"ITEM a [3 b; 0 s", None),
            (b"ITEM a 3 b; 0 s]", None),
            (b"ITEM a [x b; 0 s]", None),
            (b"ITEM a [3 b; -1 s]", None),
            (b"key=a exp=-1", None),
        ] {
            assert_eq!(parse_listed(line), wanted, "{line:?}");
        }
    }

    #[test]
    fn never_is_told_by_a_moment_before_the_start() {
        let started = UnixSecs(1000);
        for exptime in [0, 938, 998, 1000] {
            assert_eq!(exptime_of_listing(exptime, started), Exptime::Never);
        }
        let at = exptime_of_listing(1001, started);
        assert_eq!(at, Exptime::At(UnixSecs(1001)));
    }

    proptest! {
        #[test]
        fn arbitrary_lines_never_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (classify_listing(&line), parse_listed(&line));
        }

        #[test]
        fn what_a_server_writes_is_read(
            key in prop::collection::vec(any::<u8>(), 1..=250), len: u64, exptime: u64,
        ) {
            let mut line = b"ITEM ".to_vec();
            line.extend_from_slice(&key);
            line.extend_from_slice(format!(" [{len} b; {exptime} s]").as_bytes());
            let item = ListedItem { key: &key, value_len: len, exptime };
            prop_assert_eq!(parse_listed(&line), Some(item));
        }
    }
}
