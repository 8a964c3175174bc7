//! Times in manifests and descriptions, as RFC 3339 text. FORMAT.md 5.12.

use crate::words::defect::{Defect, Structure};
use crate::words::units::UnixSecs;

/// Parses a time such as `2026-11-20T02:00:00Z` or `2026-11-20T03:00:00.5+01:00`, in 1970
/// or later; fractions of a second are dropped. Returns `None` for any other text.
///
/// This accepts RFC 3339 and nothing else: a date, a `T`, a time with seconds, and `Z` or
/// an offset. A leap second counts as the first second of the next minute.
pub fn parse_moment(text: &str) -> Option<UnixSecs> {
    let mut reader = Reader(text.as_bytes());
    let year = reader.digits(4)?;
    reader.one_of(b"-")?;
    let month = reader.digits(2)?;
    reader.one_of(b"-")?;
    let day = reader.digits(2)?;
    reader.one_of(b"Tt")?;
    let hour = reader.digits(2)?;
    reader.one_of(b":")?;
    let minute = reader.digits(2)?;
    reader.one_of(b":")?;
    let second = reader.digits(2)?;
    if reader.one_of(b".").is_some() {
        reader.digits(1)?;
        while reader.digits(1).is_some() {}
    }
    let offset_minutes = match reader.one_of(b"Zz+-")? {
        sign @ (b'+' | b'-') => {
            let hours = reader.digits(2).filter(|hours| *hours < 24)?;
            reader.one_of(b":")?;
            let minutes = reader.digits(2).filter(|minutes| *minutes < 60)?;
            let offset = hours.checked_mul(60)?.checked_add(minutes)?;
            if sign == b'-' {
                offset.checked_neg()?
            } else {
                offset
            }
        }
        _ => 0,
    };
    let is_legal = (1..=days_of_month(year, month)?).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && reader.0.is_empty();
    if !is_legal {
        return None;
    }
    let minutes = days_since_1970(year, month, day)?
        .checked_mul(24)?
        .checked_add(hour)?
        .checked_mul(60)?
        .checked_add(minute)?
        .checked_sub(offset_minutes)?;
    let seconds = minutes.checked_mul(60)?.checked_add(second)?;
    u64::try_from(seconds).ok().map(UnixSecs)
}

/// Writes a time in UTC, to the second.
pub fn moment_text(time: UnixSecs) -> String {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_string()
}

/// Refuses text that is not a time.
///
/// # Errors
///
/// - `Malformed`: `text` is not RFC 3339.
pub fn check_moment(structure: Structure, field: &str, text: &str) -> Result<(), Defect> {
    if parse_moment(text).is_some() {
        return Ok(());
    }
    Err(Defect::Malformed {
        structure,
        reason: format!(
            "{field} \"{}\" is no RFC 3339 time after 1970",
            text.escape_debug()
        ),
    })
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        if !wanted.contains(first) {
            return None;
        }
        self.0 = rest;
        Some(*first)
    }

    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0_i64;
        for digit in digits {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number = number.checked_mul(10)?.checked_add(digit.into())?;
        }
        self.0 = rest;
        Some(number)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> Option<i64> {
    match month {
        2 if is_leap(year) => Some(29),
        2 => Some(28),
        4 | 6 | 9 | 11 => Some(30),
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        _ => None,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    // An offset can move the last day of 1969 into 1970.
    if year < 1969 {
        return None;
    }
    let of_years = (1969..year).try_fold(-365_i64, |days, year| {
        days.checked_add(365)?.checked_add(is_leap(year).into())
    });
    let mut days = of_years?.checked_add(day)?.checked_sub(1)?;
    for month in 1..month {
        days = days.checked_add(days_of_month(year, month)?)?;
    }
    Some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_another_reader_reads_them() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-20T02:00:00Z",
            "2026-11-20t02:00:00z",
            "2026-11-20T02:00:00.123456789Z",
            "2024-02-29T23:59:59+23:59",
            "2000-03-01T00:00:00-00:30",
            "2100-12-31T00:00:00+01:00",
            "1969-12-31T23:30:00-01:00",
            "9999-12-30T21:59:59Z",
        ] {
            let wanted: jiff::Timestamp = text.parse().unwrap();
            let wanted = u64::try_from(wanted.as_second()).unwrap();
            assert_eq!(parse_moment(text), Some(UnixSecs(wanted)), "{text}");
        }
        let leap = parse_moment("2016-12-31T23:59:60Z");
        assert_eq!(leap, parse_moment("2017-01-01T00:00:00Z"));
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
            "2026-11-20T02:00:00Z ",
            "2026-11-20T02:00:00.Z",
            "2026-11-20T02:00:00+0100",
            "2026-11-20T02:00:00+24:00",
            "2026-11-20T02:00:00+01:00[Europe/Berlin]",
            "2026-02-29T02:00:00Z",
            "2026-13-01T02:00:00Z",
            "2026-00-01T02:00:00Z",
            "2026-11-00T02:00:00Z",
            "2026-11-20T24:00:00Z",
            "2026-11-20T02:60:00Z",
            "2026-11-20T02:00:61Z",
            "+026-11-20T02:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "0000-01-01T00:00:00Z",
            "1795140000",
        ] {
            assert_eq!(parse_moment(text), None, "{text}");
        }
        let defect = check_moment(Structure::Manifest, "finished_at", "later").unwrap_err();
        assert_eq!(defect.code(), "MCS015");
    }
}
