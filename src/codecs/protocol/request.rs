//! Meta commands. protocol.txt, "Meta Get", "Meta Set", "Meta Delete".

use std::io::Write as _;

use crate::codecs::protocol::key::KeyForm;

/// Ends a batch: its reply comes after all others.
pub const NOOP: &[u8] = b"mn\r\n";

/// Asks for the walk of the whole hash table; since 1.6.9.
pub const METADUMP_HASH: &[u8] = b"lru_crawler metadump hash\r\n";

/// Asks for the walk of all slab classes' LRU lists in one crawl; since 1.4.31.
pub const METADUMP_ALL: &[u8] = b"lru_crawler metadump all\r\n";

/// Asks for a walk that no server does, since no class has this number: the
/// refusal tells whether walks are to be had at all.
pub const METADUMP_PROBE: &[u8] = b"lru_crawler metadump 0\r\n";

/// Starts the crawler's thread where it is off.
pub const CRAWLER_ENABLE: &[u8] = b"lru_crawler enable\r\n";

/// Ends it.
pub const CRAWLER_DISABLE: &[u8] = b"lru_crawler disable\r\n";

/// Asks for the walk of one slab class's LRU lists; since 1.4.31.
pub fn metadump_class(class: u8) -> Vec<u8> {
    format!("lru_crawler metadump {class}\r\n").into_bytes()
}

/// Asks the crawler to reclaim the expired items of some slab classes; since
/// 1.4.18.
pub fn crawl_classes(classes: impl Iterator<Item = u8>) -> Vec<u8> {
    let classes: Vec<String> = classes.map(|class| class.to_string()).collect();
    format!("lru_crawler crawl {}\r\n", classes.join(",")).into_bytes()
}

/// Asks for the keys of a slab class, the newest first: so many, or as many as the
/// server shows, which are at most 2 MiB of them.
pub fn cachedump(class: u8, item_count_max: Option<u64>) -> Vec<u8> {
    // 0 is no limit.
    let limit = item_count_max.unwrap_or(0);
    format!("stats cachedump {class} {limit}\r\n").into_bytes()
}

/// Asks for the number of items in each slab class.
pub const STATS_ITEMS: &[u8] = b"stats items\r\n";

/// Asks for the server's statistics.
pub const STATS: &[u8] = b"stats\r\n";

/// Asks for the server's version.
pub const VERSION: &[u8] = b"version\r\n";

/// Asks the crawler for nothing, which is an error.
pub const BARE_CRAWLER: &[u8] = b"lru_crawler\r\n";

/// Asks for nothing in the binary protocol: magic 0x80, opcode 0x0a, and no key,
/// extras, value or CAS. protocol_binary.h.
pub const BINARY_NOOP: &[u8; 24] = &[
    0x80, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Asks for the memory of each slab class.
pub const STATS_SLABS: &[u8] = b"stats slabs\r\n";

/// Asks for the server's settings.
pub const STATS_SETTINGS: &[u8] = b"stats settings\r\n";

/// Appends a read that leaves no trace: no LRU bump, no fetched mark (`u`).
/// Asks for client flags, TTL, CAS and the value, and for a number to come back
/// with them.
pub fn write_get(key: &[u8], form: KeyForm, opaque: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"mg ");
    form.write(key, out);
    out.extend_from_slice(form.flag());
    // Writing to a vector cannot fail.
    let _ = write!(out, " f t c u v O{opaque}\r\n");
}

/// Appends a read of the CAS alone, which leaves no trace on an item that is not
/// stale, or of which somebody has the win token.
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

/// Appends the command that marks an item stale, which also gives its win token
/// to whoever asks next.
///
/// With `compare` only that version is marked. With `keep` (memcached 1.6.27
/// and later) the item has that version afterwards; without, the server gives
/// it a new one.
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

/// Asks for a set whose length is no number, which no server acts on: the words
/// of its refusal tell how a meta set is written there, if at all.
pub const SET_PROBE: &[u8] = b"ms k S-1\r\n";

/// Asks for a key with a flag that servers have which can give an item its version
/// (1.6.27 and later); the others refuse the flag.
pub const EXPLICIT_CAS_PROBE: &[u8] = b"mg mcsnap:no-such-key E1 u\r\n";

/// Appends a question whether a key is there, which leaves no trace. An item that
/// is stale loses its win token by it.
pub fn write_is_there(key: &[u8], form: KeyForm, out: &mut Vec<u8>) {
    write_take_win_token(key, form, out);
}

/// How a meta set is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetSyntax {
    /// Since 1.6.10: the length is a word of its own.
    Today,
    /// 1.6.0 to 1.6.9: the length is the flag `S`, and there are no base64 keys.
    FlagS,
}

/// Whether a set may replace what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMode {
    /// Store only if no item has the key.
    Add,
    /// Store in any case.
    Set,
}

/// All of a set but key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetFields {
    /// Whether to replace.
    pub mode: SetMode,
    /// The number for `T`, from [`crate::codecs::protocol::exptime::to_ttl_token`].
    pub ttl: u64,
    /// The client's number.
    pub client_flags: u64,
    /// The version to give the item; memcached 1.6.27 and later.
    pub cas: Option<u64>,
    /// Comes back with the reply.
    pub opaque: usize,
    /// Whether a success has no reply.
    pub is_quiet: bool,
}

/// What follows the value in a set.
pub const SET_TAIL: &[u8] = b"\r\n";

/// Appends what comes before the value in a set.
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
    // First of all flags: a server that does not understand another one skips as
    // many bytes as it has been told by then.
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
