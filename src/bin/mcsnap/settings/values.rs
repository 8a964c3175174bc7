//! How the value of a setting is read from a file, the environment or a flag.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serializer};
use serde_yaml::Value;

use mcsnap::codecs::ring::RingSpec;

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
