//! Moments as text. FORMAT.md 2.

use crate::words::defect::{Defect, Structure};
use crate::words::units::UnixSecs;

/// 9999-12-30, where the calendar of the library ends, whatever the time zone.
const MOMENT_END: u64 = 253_402_128_000;

/// Parses a moment such as `2026-11-20T02:00:00Z`. Returns `None` for any other text, also
/// for the other forms of RFC 3339: one form is easier to read, and to compare.
pub fn parse_moment(text: &str) -> Option<UnixSecs> {
    let time = text.parse::<jiff::Timestamp>().ok()?;
    let time = UnixSecs(u64::try_from(time.as_second()).ok()?);
    // The library also reads other forms, and drops a leap second.
    (moment_text(time) == text).then_some(time)
}

/// Writes a moment: UTC, to the second. The last one is written for all that are later.
pub fn moment_text(time: UnixSecs) -> String {
    let second = time.0.min(MOMENT_END.saturating_sub(1));
    let second = i64::try_from(second).unwrap_or_default();
    jiff::Timestamp::from_second(second)
        .unwrap_or_default()
        .to_string()
}

/// Refuses text that is not a moment.
///
/// # Errors
///
/// - `Malformed`: `text` is no moment.
pub fn check_moment(structure: Structure, field: &str, text: &str) -> Result<(), Defect> {
    if parse_moment(text).is_some() {
        return Ok(());
    }
    Err(Defect::Malformed {
        structure,
        reason: format!(
            "{field} \"{}\" is no moment such as 2026-11-20T02:00:00Z",
            text.escape_debug()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (second, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_140_000, "2026-11-20T02:00:00Z"),
            (MOMENT_END - 1, "9999-12-29T23:59:59Z"),
        ] {
            assert_eq!(moment_text(UnixSecs(second)), text);
            assert_eq!(parse_moment(text), Some(UnixSecs(second)), "{text}");
        }
        assert_eq!(
            moment_text(UnixSecs(u64::MAX)),
            moment_text(UnixSecs(MOMENT_END - 1))
        );
    }

    #[test]
    fn other_text_is_no_moment() {
        for text in [
            "",
            "later",
            "2026-11-20",
            "2026-11-20T02:00Z",
            "2026-11-20T02:00:00",
            "2026-11-20 02:00:00Z",
            "2026-11-20t02:00:00z",
            "2026-11-20T02:00:00.5Z",
            "2026-11-20T02:00:00+00:00",
            "2026-11-20T03:00:00+01:00",
            "2026-11-20T02:00:00Z ",
            "2026-11-20T02:00:00Z[UTC]",
            "2016-12-31T23:59:60Z",
            "2026-02-29T02:00:00Z",
            "2026-13-01T02:00:00Z",
            "2026-11-00T02:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T02:60:00Z",
            "+02026-11-20T02:00:00Z",
            "1969-12-31T23:59:59Z",
            "9999-12-30T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "1795140000",
        ] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
        let defect = check_moment(Structure::Manifest, "finished_at", "later").unwrap_err();
        assert_eq!(defect.code(), "MCS015");
    }
}
