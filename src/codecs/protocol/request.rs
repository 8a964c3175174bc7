//! Writes requests: meta commands and others. protocol.txt, "Meta Get", "Meta Set", "Meta
//! Delete".

use std::io::Write as _;

use crate::codecs::protocol::key::KeyForm;

/// Ends a batch: its reply comes after all others.
pub const NOOP: &[u8] = b"mn\r\n";

/// Requests a walk of the whole hash table; since 1.6.9.
pub const METADUMP_HASH: &[u8] = b"lru_crawler metadump hash\r\n";

/// Requests a walk of all slab classes' LRU lists in one crawl; since 1.4.31.
pub const METADUMP_ALL: &[u8] = b"lru_crawler metadump all\r\n";

/// Requests a walk that no server does, since no class has this number: the refusal shows
/// whether walks are available at all.
pub const METADUMP_PROBE: &[u8] = b"lru_crawler metadump 0\r\n";

/// Starts the crawler's thread if it is off.
pub const CRAWLER_ENABLE: &[u8] = b"lru_crawler enable\r\n";

/// Stops the crawler's thread.
pub const CRAWLER_DISABLE: &[u8] = b"lru_crawler disable\r\n";

/// Requests a walk of one slab class's LRU lists; since 1.4.31.
pub fn metadump_class(class: u8) -> Vec<u8> {
    format!("lru_crawler metadump {class}\r\n").into_bytes()
}

/// Asks the crawler to reclaim the expired items of some slab classes; since
/// 1.4.18.
pub fn crawl_classes(classes: impl Iterator<Item = u8>) -> Vec<u8> {
    let classes: Vec<String> = classes.map(|class| class.to_string()).collect();
    format!("lru_crawler crawl {}\r\n", classes.join(",")).into_bytes()
}

/// Requests the keys of a slab class, newest first: up to `item_count_max`, or as many as
/// the server shows, which is at most 2 MiB of them.
pub fn cachedump(class: u8, item_count_max: Option<u64>) -> Vec<u8> {
    // 0 means no limit.
    let limit = item_count_max.unwrap_or(0);
    format!("stats cachedump {class} {limit}\r\n").into_bytes()
}

/// Requests the number of items in each slab class.
pub const STATS_ITEMS: &[u8] = b"stats items\r\n";

/// Requests the server's statistics.
pub const STATS: &[u8] = b"stats\r\n";

/// Requests the server's version.
pub const VERSION: &[u8] = b"version\r\n";

/// A crawler command without arguments, which is an error.
pub const BARE_CRAWLER: &[u8] = b"lru_crawler\r\n";

/// A no-op in the binary protocol: magic 0x80, opcode 0x0a, and no key, extras, value or
/// CAS. protocol_binary.h.
pub const BINARY_NOOP: &[u8; 24] = &[
    0x80, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Requests the memory of each slab class.
pub const STATS_SLABS: &[u8] = b"stats slabs\r\n";

/// Requests the server's settings.
pub const STATS_SETTINGS: &[u8] = b"stats settings\r\n";

/// Appends a read that leaves no trace: no LRU bump and no fetched mark (`u`). Requests
/// client flags, TTL, CAS and the value, with `opaque` to be returned.
pub fn write_get(key: &[u8], form: KeyForm, opaque: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"mg ");
    form.write(key, out);
    out.extend_from_slice(form.flag());
    // Writing to a vector cannot fail.
    let _ = write!(out, " f t c u v O{opaque}\r\n");
}

/// Appends a read of the CAS alone. It leaves no trace unless the item is stale and its
/// win token is still free.
pub fn write_get_cas(key: &[u8], form: KeyForm, out: &mut Vec<u8>) {
    out.extend_from_slice(b"mg ");
    form.write(key, out);
    out.extend_from_slice(form.flag());
    out.extend_from_slice(b" c u\r\n");
}

/// Appends a read of the marks alone, which takes a stale item's win token.
pub fn write_take_win_token(key: &[u8], form: KeyForm, out: &mut Vec<u8>) {
    out.extend_from_slice(b"mg ");
    form.write(key, out);
    out.extend_from_slice(form.flag());
    out.extend_from_slice(b" s u\r\n");
}

/// Appends the command that marks an item stale, which also offers its win token to the
/// next reader.
///
/// With `compare`, only that version is marked. With `keep` (memcached 1.6.27 and later),
/// the item has that version afterwards; otherwise the server gives it a new one.
pub fn write_mark_stale(
    key: &[u8],
    form: KeyForm,
    compare: Option<u64>,
    keep: Option<u64>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"md ");
    form.write(key, out);
    out.extend_from_slice(form.flag());
    out.extend_from_slice(b" I");
    // Writing to a vector cannot fail.
    if let Some(cas) = compare {
        let _ = write!(out, " C{cas}");
    }
    if let Some(cas) = keep {
        let _ = write!(out, " E{cas}");
    }
    out.extend_from_slice(b"\r\n");
}

/// A set whose length is not a number, which no server executes. The refusal shows which
/// syntax the server expects in a meta set, if it has meta sets at all.
pub const SET_PROBE: &[u8] = b"ms k S-1\r\n";

/// Requests a key with a flag that only servers that can give an item its version (1.6.27
/// and later) accept; others refuse the flag.
pub const EXPLICIT_CAS_PROBE: &[u8] = b"mg mcsnap:no-such-key E1 u\r\n";

/// Appends a query whether a key exists, which leaves no trace, except that a stale item
/// loses its win token.
pub fn write_is_there(key: &[u8], form: KeyForm, out: &mut Vec<u8>) {
    write_take_win_token(key, form, out);
}

/// The syntax of a meta set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetSyntax {
    /// Since 1.6.10: the length is a separate word.
    Today,
    /// 1.6.0 to 1.6.9: the length is the flag `S`, and base64 keys are not supported.
    FlagS,
}

/// Whether a set may replace an existing item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMode {
    /// Store only if no item has the key.
    Add,
    /// Store in any case.
    Set,
}

/// Everything in a set except key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetFields {
    /// Whether the set may replace an item.
    pub mode: SetMode,
    /// The number for `T`, from [`crate::codecs::protocol::exptime::to_ttl_token`].
    pub ttl: u64,
    /// The client's opaque number.
    pub client_flags: u64,
    /// The version to give the item; needs memcached 1.6.27 or later.
    pub cas: Option<u64>,
    /// Returned with the reply.
    pub opaque: usize,
    /// Whether a success gets no reply.
    pub is_quiet: bool,
}

/// What follows the value in a set.
pub const SET_TAIL: &[u8] = b"\r\n";

/// Appends what precedes the value in a set.
pub fn write_set_head(
    syntax: SetSyntax,
    key: &[u8],
    form: KeyForm,
    value_len: u64,
    fields: &SetFields,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"ms ");
    form.write(key, out);
    // The length precedes all flags: a server that does not understand one of them then
    // knows how many bytes to skip.
    //
    // Writing to a vector cannot fail.
    let _ = match syntax {
        SetSyntax::Today => write!(out, " {value_len}"),
        SetSyntax::FlagS => write!(out, " S{value_len}"),
    };
    out.extend_from_slice(form.flag());
    let _ = write!(
        out,
        " T{} F{} O{}",
        fields.ttl, fields.client_flags, fields.opaque
    );
    if let Some(cas) = fields.cas {
        let _ = write!(out, " E{cas}");
    }
    if fields.mode == SetMode::Add {
        out.extend_from_slice(b" ME");
    }
    if fields.is_quiet {
        out.extend_from_slice(b" q");
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_written_as_the_protocol_says() {
        let mut out = Vec::new();
        write_get(b"k", KeyForm::Text, 0, &mut out);
        write_get(b"a b", KeyForm::Base64, 12, &mut out);
        assert_eq!(out, b"mg k f t c u v O0\r\nmg YSBi b f t c u v O12\r\n");
        out.clear();
        write_get_cas(b"a b", KeyForm::Base64, &mut out);
        assert_eq!(out, b"mg YSBi b c u\r\n");
        out.clear();
        let fields = SetFields {
            mode: SetMode::Add,
            ttl: 60,
            client_flags: 7,
            cas: Some(9),
            opaque: 3,
            is_quiet: true,
        };
        let today = SetSyntax::Today;
        write_set_head(today, b"a b", KeyForm::Base64, 2, &fields, &mut out);
        assert_eq!(out, b"ms YSBi 2 b T60 F7 O3 E9 ME q\r\n");
        out.clear();
        let fields = SetFields {
            mode: SetMode::Set,
            cas: None,
            is_quiet: false,
            ..fields
        };
        write_set_head(SetSyntax::FlagS, b"k", KeyForm::Text, 2, &fields, &mut out);
        assert_eq!(out, b"ms k S2 T60 F7 O3\r\n");
        out.clear();
        write_mark_stale(b"k", KeyForm::Text, Some(5), Some(5), &mut out);
        write_mark_stale(b"k", KeyForm::Text, Some(5), None, &mut out);
        write_mark_stale(b"a b", KeyForm::Base64, None, None, &mut out);
        assert_eq!(out, b"md k I C5 E5\r\nmd k I C5\r\nmd YSBi b I\r\n");
    }
}
