//! The lines of `lru_crawler metadump`. protocol.txt, "LRU Crawler". The fields differ by
//! version; unknown ones are skipped.

use std::ops::RangeInclusive;

use crate::codecs::protocol::exptime;
use crate::codecs::protocol::stats::ServerSettings;
use crate::codecs::protocol::text::{parse_i64, parse_u64, words};
use crate::words::item::{Exptime, KEY_LEN_MAX};
use crate::words::units::UnixSecs;

/// What a walk reports about one item, except its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalkItem {
    /// When the item expires, on the server's clock.
    pub exptime: Option<Exptime>,
    /// When a client last read the item, on the server's clock.
    pub last_access: Option<UnixSecs>,
    /// 0 on a server without CAS.
    pub cas: Option<u64>,
    /// Whether the item was read since it was stored.
    pub fetched: Option<bool>,
    /// Slab class, 1 to 63.
    pub class: Option<u8>,
    /// Size of the item as memcached counts it: header, key, suffix and value, in bytes.
    pub item_size: Option<u64>,
    /// Client flags; since 1.6.24.
    pub client_flags: Option<u64>,
    /// Length of the value in bytes, if the listing has it as such.
    pub value_len: Option<u64>,
}

impl WalkItem {
    /// Header of an item, NUL of its key and CRLF of its value, in bytes.
    const ITEM_OVERHEAD: u64 = 48 + 1 + 2;

    /// Returns the range of possible value lengths, by the item's size: the true length
    /// is in it whatever else the version counts.
    pub fn value_lens(&self, key_len: u64) -> Option<RangeInclusive<u64>> {
        /// The header of a 32-bit build, the key's NUL and the value's CRLF.
        const AROUND_MIN: u64 = 32 + 1 + 2;
        /// The header, the CAS, and flags and length as text, as before 1.5.
        const AROUND_MAX: u64 = 128;
        let of_both = self.item_size?.checked_sub(key_len)?;
        let longest = of_both.checked_sub(AROUND_MIN)?;
        Some(of_both.saturating_sub(AROUND_MAX)..=longest)
    }

    /// Returns the exact length of the value in bytes if it can be determined. Servers
    /// from 1.6.24 on report everything that makes up the size (measured up to 1.6.45).
    pub fn exact_value_len(&self, key_len: u64, settings: &ServerSettings) -> Option<u64> {
        if self.value_len.is_some() {
            return self.value_len;
        }
        let flags_len = match self.client_flags? {
            0 => 0,
            _ if settings.client_flags_max > u32::MAX.into() => 8,
            _ => 4,
        };
        let cas_len = if settings.has_cas { 8 } else { 0 };
        let around = key_len
            .checked_add(Self::ITEM_OVERHEAD)?
            .checked_add(flags_len)?
            .checked_add(cas_len)?;
        self.item_size?.checked_sub(around)
    }
}

/// The kinds of lines in a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkLine<'a> {
    /// An item; its text is parsed by [`parse_item`].
    Item,
    /// `OK`, the first line since 1.6.43.
    Started,
    /// `END`: everything has been sent.
    End,
    /// `BUSY`: another crawl is running.
    Busy,
    /// `VERSION`: the answer to a command sent after the walk, for servers that do not
    /// end a walk with a line of its own.
    Version,
    /// The server's refusal, in its own words.
    Refused(&'a [u8]),
}

/// Classifies a line, given without its end.
pub fn classify(line: &[u8]) -> WalkLine<'_> {
    match line {
        b"END" => WalkLine::End,
        // There is nothing to list, which is an answer and not a refusal.
        _ if line.starts_with(b"NOTSTARTED") => WalkLine::End,
        b"OK" => WalkLine::Started,
        _ if line.starts_with(b"key=") => WalkLine::Item,
        _ if line.starts_with(b"BUSY") => WalkLine::Busy,
        _ if line.starts_with(b"VERSION ") => WalkLine::Version,
        _ => WalkLine::Refused(line),
    }
}

/// Parses an item's line; decodes its key into `key`, which is overwritten. Returns
/// `None` if the line is not an item's, for instance because it was cut.
pub fn parse_item(line: &[u8], key: &mut Vec<u8>) -> Option<WalkItem> {
    // Leading spaces are not accepted, as in `classify`, which not every line passes
    // through.
    let line = line.strip_prefix(b"key=")?;
    let key_end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (encoded, rest) = line.split_at_checked(key_end)?;
    decode_key(encoded, key)?;
    let mut item = WalkItem::default();
    for word in words(rest) {
        let equals = memchr::memchr(b'=', word)?;
        let (name, text) = word.split_at_checked(equals)?;
        let text = text.get(1..)?;
        match name {
            b"exp" => item.exptime = Some(exptime::from_walk(parse_i64(text)?)?),
            b"la" => item.last_access = Some(UnixSecs(parse_u64(text)?)),
            b"cas" => item.cas = Some(parse_u64(text)?),
            b"fetch" => item.fetched = Some(text == b"yes"),
            b"cls" => item.class = Some(u8::try_from(parse_u64(text)?).ok()?),
            b"size" => item.item_size = Some(parse_u64(text)?),
            b"flags" => item.client_flags = Some(parse_u64(text)?),
            _ => {}
        }
    }
    Some(item)
}

/// Decodes the percent encoding that every walk applies to every key.
fn decode_key(encoded: &[u8], key: &mut Vec<u8>) -> Option<()> {
    key.clear();
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            key.push(hex_digit(*digits.first()?)? << 4 | hex_digit(*digits.get(1)?)?);
            rest = after;
        } else {
            key.push(byte);
            rest = after;
        }
    }
    (!key.is_empty() && key.len() <= KEY_LEN_MAX).then_some(())
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => byte.checked_sub(b'0'),
        b'a'..=b'f' => byte.checked_sub(b'a' - 10),
        b'A'..=b'F' => byte.checked_sub(b'A' - 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &[u8]) -> Option<(Vec<u8>, WalkItem)> {
        let mut key = Vec::new();
        parse_item(line, &mut key).map(|item| (key, item))
    }

    #[test]
    fn the_lines_of_every_version_are_read() {
        // 1.4.31, 1.5.4, 1.6.24, 1.6.39 with its trailing space and extstore.
        let base = b"key=a%20b exp=1700000000 la=1699999999 cas=7 fetch=yes".to_vec();
        let item = WalkItem {
            exptime: Some(Exptime::At(UnixSecs(1_700_000_000))),
            last_access: Some(UnixSecs(1_699_999_999)),
            cas: Some(7),
            fetched: Some(true),
            ..WalkItem::default()
        };
        assert_eq!(parse(&base), Some((b"a b".to_vec(), item)));
        let sized = [&base[..], b" cls=3 size=64"].concat();
        let item = WalkItem {
            class: Some(3),
            item_size: Some(64),
            ..item
        };
        assert_eq!(parse(&sized), Some((b"a b".to_vec(), item)));
        let flagged = [&sized[..], b" flags=4294967295"].concat();
        let item = WalkItem {
            client_flags: Some(4_294_967_295),
            ..item
        };
        assert_eq!(parse(&flagged), Some((b"a b".to_vec(), item)));
        let newest = [&flagged[..], b" ext_page=1 ext_offset=2 "].concat();
        assert_eq!(parse(&newest), Some((b"a b".to_vec(), item)));
        let never = parse(b"key=k exp=-1 la=1 cas=0 fetch=no").unwrap().1;
        assert_eq!(
            (never.exptime, never.fetched),
            (Some(Exptime::Never), Some(false))
        );
    }

    #[test]
    fn a_damaged_line_is_not_an_item() {
        for line in [
            &b"key="[..],
            b"key=%2",
            b"key=%zz exp=1",
            b"key=a exp=x",
            b"key=a exp",
            b"kex=a",
            b" key=a",
            b"",
        ] {
            assert_eq!(parse(line), None, "{line:?}");
        }
        assert_eq!(parse(&[b"key=", &[b'k'; 251][..]].concat()), None);
        assert_eq!(
            classify(b"BUSY currently processing crawler request"),
            WalkLine::Busy
        );
        assert_eq!(
            classify(b"ERROR locked"),
            WalkLine::Refused(b"ERROR locked")
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&line);
            let _ = parse(&[b"key=".to_vec(), line].concat());
        }
    }
}
