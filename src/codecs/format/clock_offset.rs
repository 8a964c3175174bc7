//! Clock offsets as text. FORMAT.md 2.

use crate::words::defect::{Defect, Structure};

/// Parses an offset such as `-3`. Returns `None` for any other text, also for the empty
/// one, by which a writer says that it does not know.
pub fn parse_offset(text: &str) -> Option<i64> {
    // `parse` would also accept a plus sign.
    text.parse().ok().filter(|_| !text.starts_with('+'))
}

/// Refuses text that is neither an offset nor empty.
///
/// # Errors
///
/// - `Malformed`: `text` is no offset.
pub fn check_offset(structure: Structure, field: &str, text: &str) -> Result<(), Defect> {
    if text.is_empty() || parse_offset(text).is_some() {
        return Ok(());
    }
    Err(Defect::Malformed {
        structure,
        reason: format!(
            "{field} \"{}\" is no number of seconds such as -3",
            text.escape_debug()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_a_decimal_number_with_a_minus_or_without_or_is_not_known() {
        for (text, offset) in [
            ("0", 0),
            ("-0", 0),
            ("-3", -3),
            ("007", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_offset(text), Some(offset), "{text}");
            assert_eq!(check_offset(Structure::Meta, "clock_offset", text), Ok(()));
        }
        assert_eq!(parse_offset(""), None);
        assert_eq!(check_offset(Structure::Meta, "clock_offset", ""), Ok(()));
        for text in ["abc", "+3", "-", " 3", "3.0", "--3", "9223372036854775808"] {
            assert_eq!(parse_offset(text), None, "{text}");
            let refused = check_offset(Structure::Meta, "clock_offset", text).unwrap_err();
            assert_eq!(refused.code(), "MCS015", "{text}");
        }
    }
}
