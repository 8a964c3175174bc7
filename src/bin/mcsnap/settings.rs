//! Values of settings: how they are written, and what they mean.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serializer};
use serde_yaml::Value;

use mcsnap::codecs::ring::RingSpec;
use mcsnap::codecs::select::Selection;
use mcsnap::engines::discovery::NodeSource;
use mcsnap::ports::store::FileMode;
use mcsnap::words::error::Error;
use mcsnap::words::item::Exptime;
use mcsnap::words::units::UnixSecs;

/// A value of a file or of the environment, before it is known what it is for.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::Bool(bool) => bool.to_string(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => text,
            Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => {
                return Err(D::Error::custom("wanted one value"));
            }
        };
        Ok(Self(text))
    }
}

/// Reads text. A number is taken for its value, so that text which only looks
/// like a number, such as `2026.10`, needs quotes in a file.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Scalar>::deserialize(deserializer)?.map(|scalar| scalar.0))
}

/// The value of `--ring` of a dump that has the ring found.
pub(crate) const DETECT: &str = "detect";

/// Reads the text of a ring, and refuses one that is none.
pub(crate) fn ring<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    ring_unless(deserializer, |_| false)
}

/// Reads the text of a ring, or [`DETECT`].
pub(crate) fn ring_or_detect<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    ring_unless(deserializer, |text| text == DETECT)
}

fn ring_unless<'de, D: Deserializer<'de>>(
    deserializer: D,
    is_word: impl Fn(&str) -> bool,
) -> Result<Option<String>, D::Error> {
    let text = text(deserializer)?;
    if let Some(text) = text.as_deref().filter(|text| !is_word(text)) {
        text.parse::<RingSpec>().map_err(D::Error::custom)?;
    }
    Ok(text)
}

/// Reads a yes or no.
pub(crate) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    let Some(scalar) = Option::<Scalar>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match scalar.0.as_str() {
        "true" | "1" | "yes" => Ok(Some(true)),
        "false" | "0" | "no" => Ok(Some(false)),
        other => Err(D::Error::custom(format!(
            "\"{other}\" is neither true nor false"
        ))),
    }
}

/// Reads a list, or text with commas.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = expressions(deserializer)?;
    let parts = split_commas(&texts);
    // An empty variable in a script must not come to mean "all".
    if parts.is_empty() && !texts.is_empty() {
        return Err(D::Error::custom("an empty list; leave it out, or name one"));
    }
    Ok(parts)
}

/// Reads a list whose members may have commas; text is one member.
pub(crate) fn expressions<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let read = |value| Scalar::deserialize(value).map_err(D::Error::custom);
    let texts: Vec<Scalar> = match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        Value::Sequence(values) => values.into_iter().map(read).collect::<Result<_, _>>()?,
        one @ (Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Mapping(_)
        | Value::Tagged(_)) => vec![read(one)?],
    };
    Ok(texts.into_iter().map(|scalar| scalar.0).collect())
}

/// Reads how often a flag was given.
pub(crate) fn repeat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let text = text(deserializer)?.unwrap_or_else(|| "0".to_owned());
    let wanted = || D::Error::custom(format!("\"{text}\": wanted a number from 0 to 255"));
    text.parse().map_err(|_| wanted())
}

/// Writes a flag that was not given as no value, which hides none of another
/// layer.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a field over by reference"
)]
pub(crate) fn repeat_or_none<S: Serializer>(count: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    match *count {
        0 => serializer.serialize_none(),
        count => serializer.serialize_u8(count),
    }
}

/// Takes lists with commas apart.
pub(crate) fn split_commas(texts: &[String]) -> Vec<String> {
    let parts = texts.iter().flat_map(|text| text.split(','));
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Reads nodes and endpoints.
pub(crate) fn parse_sources(texts: &[String]) -> Result<Vec<NodeSource>> {
    Ok(split_commas(texts)
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, Error>>()?)
}

/// Reads the permissions of new files; the default is for their owner alone.
pub(crate) fn parse_file_mode(text: Option<&str>) -> Result<FileMode> {
    Ok(text.map_or(Ok(FileMode::default()), str::parse)?)
}

/// Reads a number of bytes, such as `256MiB`, at least `least`.
pub(crate) fn parse_size(name: &'static str, text: &str, least: u64) -> Result<u64> {
    let size = text
        .parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .ok();
    let allowed = format!(
        "wanted a size of at least {}, such as 256MiB",
        bytesize::ByteSize(least)
    );
    size.filter(|&size| size >= least)
        .ok_or_else(|| Error::invalid_input(name, text, allowed).into())
}

/// Reads a count within bounds.
pub(crate) fn parse_count(name: &'static str, text: &str, least: u64, most: u64) -> Result<u64> {
    let count = text
        .parse()
        .ok()
        .filter(|count| (least..=most).contains(count));
    count.ok_or_else(|| {
        Error::invalid_input(
            name,
            text,
            format!("wanted a number from {least} to {most}"),
        )
        .into()
    })
}

/// Reads a percentage, such as `0.5` or `0.5%`.
pub(crate) fn parse_percent(name: &'static str, text: &str) -> Result<f64> {
    let number = text.trim_end_matches('%').trim_end().parse::<f64>().ok();
    number
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or_else(|| {
            let allowed = "wanted a percentage from 0 to 100, such as 0.5";
            Error::invalid_input(name, text, allowed).into()
        })
}

/// Reads a length of time, such as `10s`.
pub(crate) fn parse_duration(name: &'static str, text: &str) -> Result<Duration> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    let allowed = "wanted a length of time from 1ms to 1h, such as 10s or 500ms";
    let range = Duration::from_millis(1)..=Duration::from_secs(3600);
    duration
        .filter(|duration| range.contains(duration))
        .ok_or_else(|| Error::invalid_input(name, text, allowed).into())
}

/// Reads whether an unfinished dump is gone on with, and how old it may be: `true` for
/// six hours, `false`, or a time.
pub(crate) fn parse_resume(text: &str) -> Result<Option<Duration>> {
    const DEFAULT: Duration = Duration::from_secs(6 * 60 * 60);
    const AGE_MAX: u64 = 3650 * 24 * 60 * 60;
    match text {
        "true" | "yes" => return Ok(Some(DEFAULT)),
        "false" | "no" => return Ok(None),
        _ => {}
    }
    let allowed = "wanted true, false, or how long ago the unfinished dump began at most, from 1s \
                   to 3650d, such as 90m, 6h or 2d";
    parse_seconds(text)
        .filter(|seconds| (1..=AGE_MAX).contains(seconds))
        .map(|seconds| Some(Duration::from_secs(seconds)))
        .ok_or_else(|| Error::invalid_input("resume", text, allowed).into())
}

/// Reads a length of time with its unit, in days, too.
fn parse_seconds(text: &str) -> Option<u64> {
    if let Some(days) = text.strip_suffix('d') {
        return days.parse::<u64>().ok()?.checked_mul(24 * 60 * 60);
    }
    let length = text.parse::<jiff::SignedDuration>().ok()?;
    u64::try_from(length.as_secs()).ok()
}

/// What `--wait-for-node` is where it is not given.
pub(crate) const WAIT_FOR_NODE: &str = "30s";

/// Reads how long a node that does not answer is asked again; 0 is not at all.
pub(crate) fn parse_wait(name: &'static str, text: &str) -> Result<Duration> {
    let span = text.parse::<jiff::SignedDuration>().ok();
    let duration = span.and_then(|span| Duration::try_from(span).ok());
    let allowed = "wanted 0s, or a length of time up to 1h, such as 30s or 5m";
    duration
        .filter(|duration| *duration <= Duration::from_secs(3600))
        .ok_or_else(|| Error::invalid_input(name, text, allowed).into())
}

/// Reads a time to live that begins now, such as `2h` or `7d`, or `never`.
pub(crate) fn parse_ttl(text: &str, now: UnixSecs) -> Result<Exptime> {
    const TTL_MAX: u64 = 3650 * 24 * 60 * 60;
    if text == "never" {
        return Ok(Exptime::Never);
    }
    let seconds = parse_seconds(text);
    let allowed = "wanted never, or a time from 1s to 3650d, such as 30m, 2h or 7d";
    seconds
        .filter(|seconds| (1..=TTL_MAX).contains(seconds))
        .map(|seconds| Exptime::At(UnixSecs(now.0.saturating_add(seconds))))
        .ok_or_else(|| Error::invalid_input("ttl-if-unknown", text, allowed).into())
}

/// First line of the help of `--select`.
pub(crate) const SELECT_HELP: &str = "Only what matches, such as 'prefix=user: and ttl>1h'";

/// The grammar of `--select`, for `--help`; README has the same table.
pub(crate) const SELECT_LONG_HELP: &str = "\
Only what matches, such as 'prefix=user: and ttl>1h'

Terms:
  key=K prefix=K    the key, or its start, as keys are printed (\\xNN)
  glob=P            the whole key: * ? [a-z] {this,that}
  regex=R           any part of the key; ^ and $ are its ends
  ttl>1h            time left: 90s, 1h, 7d; never is more than any
  size<1MiB         bytes of the value
  idle>=7d          time since a client read it
  class=5           slab class
  flags=0x10        client flags
  sample=5%         this share of all keys, the same each time
  owner=A/RING/A,B  keys that A has on a ring of A and B

ttl, size, idle, class and flags take = != < <= > >=, ranges (1h..2h, 1h.., \
..2h, ends included) and unknown; ttl also never. All others take = and !=.

Terms are joined by and, or, not and parentheses. A value with spaces needs \
quotes: 'key=\"a b\"'. In a shell, put < and > and parentheses in quotes.
Several --select are joined by and. What a server did not tell is unknown, \
and kept; ttl!=unknown and its like drop it.";

/// Reads what is to be kept; several expressions are joined by `and`.
pub(crate) fn parse_select(texts: &[String]) -> Result<Selection> {
    let mut selection = Selection::default();
    for text in texts {
        selection = selection.and(Selection::parse(text)?)?;
    }
    Ok(selection)
}

/// Reads a moment.
pub(crate) fn parse_moment(text: &str) -> Result<UnixSecs> {
    if text == "now" {
        return Ok(UnixSecs::from_system_time(SystemTime::now()));
    }
    let seconds = text.parse().ok();
    let seconds = seconds.or_else(|| {
        let moment = text.parse::<jiff::Timestamp>().ok()?;
        u64::try_from(moment.as_second()).ok()
    });
    let allowed = "wanted now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970";
    seconds
        .map(UnixSecs)
        .ok_or_else(|| Error::invalid_input("at", text, allowed).into())
}

/// Reads one of a few words.
pub(crate) fn parse_choice<T: Copy>(
    name: &'static str,
    text: &str,
    choices: &[(&str, T)],
) -> Result<T> {
    let chosen = choices
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, choice)| *choice);
    chosen.ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let allowed = format!("wanted one of {}", words.join(", "));
        Error::invalid_input(name, text, allowed).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(parse_size("x", "256MiB", 1).unwrap(), 256 << 20);
        assert_eq!(parse_size("x", "1048576", 1).unwrap(), 1 << 20);
        assert_eq!(
            parse_duration("x", "500ms").unwrap(),
            Duration::from_millis(500)
        );
        assert_eq!(parse_duration("x", "10s").unwrap(), Duration::from_secs(10));
        assert_eq!(
            parse_size("segment-size", "10q", 1 << 20)
                .unwrap_err()
                .to_string(),
            "segment-size \"10q\": wanted a size of at least 1.0 MiB, such as 256MiB"
        );
        for text in ["", "-1s", "0s", "ten", "2h"] {
            assert!(parse_duration("x", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wait_may_be_none() {
        assert_eq!(parse_wait("x", "0s").unwrap(), Duration::ZERO);
        assert_eq!(parse_wait("x", "1h").unwrap(), Duration::from_secs(3600));
        for text in ["", "-1s", "1h1s", "30", "ever"] {
            let error = parse_wait("wait-for-node", text).unwrap_err().to_string();
            assert!(error.starts_with("wait-for-node \""), "{error}");
        }
    }

    #[test]
    fn a_time_to_live_begins_now() {
        let now = UnixSecs(1000);
        assert_eq!(parse_ttl("never", now).unwrap(), Exptime::Never);
        for (text, seconds) in [("1s", 1), ("2h", 7200), ("1h 30m", 5400), ("7d", 604_800)] {
            let wanted = Exptime::At(UnixSecs(1000 + seconds));
            assert_eq!(parse_ttl(text, now).unwrap(), wanted, "{text}");
        }
        for text in [
            "",
            "0s",
            "-1h",
            "100ms",
            "3651d",
            "d",
            "soon",
            "12345678901234567890d",
        ] {
            let error = parse_ttl(text, now).unwrap_err().to_string();
            assert!(error.starts_with("ttl-if-unknown \""), "{error}");
        }
    }

    #[test]
    fn lists_are_split_at_commas() {
        let nodes = parse_sources(&["a:1,b:2".to_owned(), "c:3".to_owned()]).unwrap();
        assert_eq!(nodes.len(), 3);
    }

    #[test]
    fn a_moment_is_read_in_each_of_its_forms() {
        for (text, wanted) in [
            ("0", 0),
            ("1795140000", 1_795_140_000),
            ("2026-11-20T02:00:00Z", 1_795_140_000),
            ("2026-11-20T03:00:00.9+01:00", 1_795_140_000),
        ] {
            assert_eq!(parse_moment(text).unwrap(), UnixSecs(wanted), "{text}");
        }
        assert!(parse_moment("now").unwrap() > UnixSecs(1_700_000_000));
        for text in ["", "-1", "yesterday", "2026-11-20", "1960-01-01T00:00:00Z"] {
            let error = parse_moment(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("at \"{text}\": wanted now")),
                "{error}"
            );
        }
    }

    #[test]
    fn expressions_keep_their_commas_and_are_joined_by_and() {
        #[derive(Deserialize)]
        struct Given {
            #[serde(deserialize_with = "expressions")]
            select: Vec<String>,
        }
        let read = |yaml: &str| {
            let given: Given = serde_yaml::from_str(yaml).unwrap();
            parse_select(&given.select).map(|selection| selection.to_string())
        };
        let one = "glob={a,b}:*";
        assert_eq!(read(&format!("select: '{one}'")).unwrap(), one);
        assert_eq!(
            read("select: ['class=1 or class=2', ttl>1h]").unwrap(),
            "(class=1 or class=2) and ttl>1h"
        );
        assert_eq!(read("select:").unwrap(), "");
        assert!(read("select: ''").is_err());
        assert!(read("select: true").is_err());
    }
}
