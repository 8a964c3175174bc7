//! What a snapshot is called.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::units::UnixSecs;

/// Makes a name of a moment and some random digits, so that two dumps of the
/// same second do not meet: `2026-11-20T02-00-00Z-1f9c`.
pub fn generate_name(now: UnixSecs) -> String {
    let token = uuid::Uuid::new_v4().simple().to_string();
    let seconds = i64::try_from(now.0).unwrap_or(i64::MAX);
    let moment = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    format!(
        "{}-{}",
        moment.strftime("%Y-%m-%dT%H-%M-%SZ"),
        token.get(..4).unwrap_or(&token)
    )
}

/// Checks a name that the user gave.
///
/// # Errors
///
/// - `InvalidInput`: it would not make a plain directory name anywhere.
pub fn parse_name(text: &str) -> Result<String> {
    const LEN_MAX: usize = 200;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=@:".contains(&byte);
    let is_legal = !text.is_empty()
        && text.len() <= LEN_MAX
        && !text.starts_with(['.', '-'])
        && text.bytes().all(is_plain);
    if !is_legal {
        return Err(Error::invalid_input(
            "snapshot name",
            text,
            "wanted 1 to 200 letters, digits and ._-+=@: not starting with . or -",
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_sort_by_time_and_differ() {
        let name = generate_name(UnixSecs(1_700_000_000));
        assert!(name.starts_with("2023-11-14T22-13-20Z-"), "{name}");
        assert_eq!(parse_name(&name).unwrap(), name);
        for text in ["", ".hidden", "a/b", "..", "-x", "a b", "na\u{ef}ve"] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }
}
