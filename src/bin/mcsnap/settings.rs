//! Values of settings: how they are written, and what they mean.

use std::time::Duration;

use anyhow::Result;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serializer};
use serde_yaml::Value;

use mcsnap::discovery::NodeSource;
use mcsnap::error::Error;

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
    let read = |value| Scalar::deserialize(value).map_err(D::Error::custom);
    let texts = match Value::deserialize(deserializer)? {
        Value::Null => Vec::new(),
        Value::Sequence(values) => values.into_iter().map(read).collect::<Result<_, _>>()?,
        one @ (Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Mapping(_)
        | Value::Tagged(_)) => vec![read(one)?],
    };
    let texts: Vec<String> = texts.into_iter().map(|scalar| scalar.0).collect();
    let parts = split_commas(&texts);
    // An empty variable in a script must not come to mean "all".
    if parts.is_empty() && !texts.is_empty() {
        return Err(D::Error::custom("an empty list; leave it out, or name one"));
    }
    Ok(parts)
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
    fn lists_are_split_at_commas() {
        let nodes = parse_sources(&["a:1,b:2".to_owned(), "c:3".to_owned()]).unwrap();
        assert_eq!(nodes.len(), 3);
    }
}
