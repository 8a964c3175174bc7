//! Records on stdout, for programs and for people.

use jiff::Timestamp;
use mcsnap::words::item::{Attribute, Attributes, Exptime, ItemMeta, escape_bytes};
use mcsnap::words::units::UnixSecs;
use serde::Serialize;

/// A record without its value, as JSON has it. FORMAT.md names the fields;
/// numbers of 64 bits are text, and null is *the server did not tell*.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecordJson<'a> {
    key: String,
    node: &'a str,
    value_len: u32,
    value_hash: String,
    client_flags: Option<String>,
    exptime: Option<ExptimeJson>,
    last_access: Option<u64>,
    cas: Option<String>,
    slab_class: Option<u8>,
    marks: MarksJson,
}

/// Seconds, or the word for what stays.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum ExptimeJson {
    Never(&'static str),
    At(u64),
}

/// The marks that the server told.
#[derive(Clone, Copy, Debug, Serialize)]
struct MarksJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    fetched: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    win_sent: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_is_binary: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incompressible: Option<bool>,
}

impl<'a> RecordJson<'a> {
    pub(crate) fn new(
        key: &[u8],
        node: &'a str,
        value_len: u32,
        value_hash: u64,
        meta: &ItemMeta,
    ) -> Self {
        let mark = |attribute| meta.attributes.get(attribute);
        Self {
            key: escape_bytes(key),
            node,
            value_len,
            value_hash: format!("{value_hash:016x}"),
            client_flags: meta.client_flags.map(|flags| flags.to_string()),
            exptime: meta.exptime.map(|exptime| match exptime {
                Exptime::Never => ExptimeJson::Never("never"),
                Exptime::At(UnixSecs(at)) => ExptimeJson::At(at),
            }),
            last_access: meta.last_access.map(|UnixSecs(at)| at),
            cas: meta.cas.map(|cas| cas.0.to_string()),
            slab_class: meta.slab_class.map(|class| class.0),
            marks: MarksJson {
                fetched: mark(Attribute::Fetched),
                stale: mark(Attribute::Stale),
                win_sent: mark(Attribute::WinSent),
                key_is_binary: mark(Attribute::KeyIsBinary),
                incompressible: mark(Attribute::Incompressible),
            },
        }
    }
}

/// What is shown where the server did not tell.
pub(crate) const UNKNOWN: &str = "?";

/// Writes a moment as RFC 3339 in UTC, or as a number where the calendar ends.
pub(crate) fn moment(at: UnixSecs) -> String {
    let seconds = i64::try_from(at.0).ok();
    match seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()) {
        Some(moment) => moment.to_string(),
        None => at.to_string(),
    }
}

/// Writes when an item expires.
pub(crate) fn exptime(exptime: Option<Exptime>) -> String {
    match exptime {
        None => UNKNOWN.to_owned(),
        Some(Exptime::Never) => "never".to_owned(),
        Some(Exptime::At(at)) => moment(at),
    }
}

/// Writes the marks that are set.
pub(crate) fn marks(attributes: Attributes) -> String {
    let words = [
        (Attribute::Fetched, "fetched"),
        (Attribute::Stale, "stale"),
        (Attribute::WinSent, "win-sent"),
        (Attribute::KeyIsBinary, "key-is-binary"),
        (Attribute::Incompressible, "incompressible"),
    ];
    let set: Vec<&str> = words
        .into_iter()
        .filter(|(attribute, _)| attributes.has(*attribute))
        .map(|(_, word)| word)
        .collect();
    if set.is_empty() {
        return "-".to_owned();
    }
    set.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_of_json_with_what_is_known() {
        let line = |meta: &ItemMeta| {
            let record = RecordJson::new(b"a\\\xff \"", "h:1", 3, 0xab, meta);
            serde_json::to_string(&record).unwrap()
        };
        let mut meta = ItemMeta::default();
        assert_eq!(
            line(&meta),
            r#"{"key":"a\\\\\\xff \"","node":"h:1","value_len":3,"value_hash":"00000000000000ab","client_flags":null,"exptime":null,"last_access":null,"cas":null,"slab_class":null,"marks":{}}"#
        );
        meta.exptime = Some(Exptime::Never);
        meta.client_flags = Some(u64::MAX);
        meta.attributes.set(Attribute::Stale, false);
        let text = line(&meta);
        assert!(text.contains(r#""client_flags":"18446744073709551615","exptime":"never""#));
        assert!(text.ends_with(r#""marks":{"stale":false}}"#), "{text}");
    }

    #[test]
    fn moments_are_dates_as_far_as_the_calendar_goes() {
        assert_eq!(moment(UnixSecs(0)), "1970-01-01T00:00:00Z");
        assert_eq!(moment(UnixSecs(u64::MAX - 1)), "18446744073709551614");
        assert_eq!(exptime(None), "?");
    }
}
