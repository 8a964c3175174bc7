//! Counts, sizes and lengths of time, as people read them.

use std::time::Duration;

use mcsnap::words::units::{plural, verb};

/// A length of time in a report for programs.
pub(crate) fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a length of time in seconds.
pub(crate) fn seconds(length: Duration) -> String {
    format!("{:.2} s", length.as_secs_f64())
}

/// Writes a longer length of time, to the second: `3h 12m 5s`.
pub(crate) fn span(length: Duration) -> String {
    let seconds = i64::try_from(length.as_secs()).unwrap_or(i64::MAX);
    format!("{:#}", jiff::SignedDuration::from_secs(seconds))
}

/// Writes a count with separators: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// Writes a number of things with separators: `1 key`, `1,234 keys`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {}", count(number), plural(number, noun))
}

/// Writes what a number of things do: `1 key is`, `1,234 keys are`.
pub(crate) fn counted_with(number: u64, noun: &str, verbs: [&str; 2]) -> String {
    format!("{} {}", counted(number, noun), verb(number, verbs))
}

/// Writes a number of bytes: `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_and_verbs_go_with_their_numbers() {
        assert_eq!(counted(1, "segment"), "1 segment");
        assert_eq!(counted(1_234_567, "record"), "1,234,567 records");
        assert_eq!(counted_with(1, "record", ["does", "do"]), "1 record does");
        assert_eq!(counted_with(0, "record", ["does", "do"]), "0 records do");
    }
}
