//! Quantities with units, and how numbers are written.

use std::borrow::Cow;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSecs(pub u64);

impl UnixSecs {
    /// Converts a system time; a time before 1970 gives 0.
    pub fn from_system_time(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(since.as_secs())
    }

    /// Moves the time by a signed number of seconds, saturating at 0 and at the largest
    /// value.
    #[must_use]
    pub fn saturating_add_signed(self, seconds: i64) -> Self {
        Self(self.0.saturating_add_signed(seconds))
    }
}

impl fmt::Display for UnixSecs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Returns `part` as a percentage of `whole`; 100 if the whole is 0.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 100.0;
    }
    to_f64(part) * 100.0 / to_f64(whole)
}

/// Converts a count to a float for display and ratios; above 2^53 the last digits are
/// rounded.
#[expect(
    clippy::cast_precision_loss,
    reason = "for display and ratios only, where 53 bits are plenty"
)]
pub fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Converts a length in memory to the width used on disk and in counters.
pub fn to_u64(len: usize) -> u64 {
    // usize is at most 64 bits wide on every target Rust supports.
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Returns the form of a noun that goes with a number: `key` for 1, otherwise `keys`.
///
/// The noun must be regular: `s` is appended, or `ies` replaces a `y` after a consonant.
pub fn plural(number: u64, noun: &str) -> Cow<'_, str> {
    if number == 1 {
        return Cow::Borrowed(noun);
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => Cow::Owned(format!("{stem}ies")),
        Some(_) | None => Cow::Owned(format!("{noun}s")),
    }
}

/// Returns the form of a verb that goes with a number: the first for 1, otherwise the
/// second.
pub fn verb(number: u64, [one, many]: [&str; 2]) -> &str {
    if number == 1 { one } else { many }
}

/// Formats a number with its noun: `1 key`, `1,234 keys`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", grouped(number), plural(number, noun))
}

/// Formats a number with a comma after every three digits: `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len().saturating_add(digits.len() / 3));
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len().saturating_sub(index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_of_nothing_is_all_of_it() {
        assert!((percent(0, 0) - 100.0).abs() < f64::EPSILON);
        assert!((percent(1, 4) - 25.0).abs() < f64::EPSILON);
    }

    #[test]
    fn moving_a_moment_stops_at_the_ends() {
        assert_eq!(UnixSecs(5).saturating_add_signed(-9), UnixSecs(0));
        assert_eq!(
            UnixSecs(u64::MAX).saturating_add_signed(9),
            UnixSecs(u64::MAX)
        );
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, wanted) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345, "12,345"),
            (999_999, "999,999"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), wanted);
        }
    }

    #[test]
    fn a_noun_goes_with_its_number() {
        for (number, noun, wanted) in [
            (0, "key", "0 keys"),
            (1, "key", "1 key"),
            (2, "key", "2 keys"),
            (1, "entry", "1 entry"),
            (2, "entry", "2 entries"),
            (
                u64::MAX,
                "more segment",
                "18,446,744,073,709,551,615 more segments",
            ),
        ] {
            assert_eq!(counted(number, noun), wanted);
        }
        assert_eq!(
            [0, 1, 2].map(|n| verb(n, ["is", "are"])),
            ["are", "is", "are"]
        );
    }
}
