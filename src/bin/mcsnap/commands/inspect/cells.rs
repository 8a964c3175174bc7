//! What stands in the lines and cells of an inspection.

use mcsnap::codecs::statistics::Tally;
use mcsnap::jobs::inspect::{Bucket, PrefixRow};
use mcsnap::words::counters::Counters;
use mcsnap::words::item::Exptime;
use mcsnap::words::units::{UnixSecs, to_f64};

use crate::render::share::share_text;
use crate::render::table::{WIDTH, fit_end, fit_key, plain};
use crate::render::{count, counted, lost_text, size};

/// Columns of the labels at the start.
pub(super) const LABEL_WIDTH: usize = 8;
/// Columns of the prefix of a key.
const PREFIX_WIDTH: usize = 26;

/// Rows of a table that has one for each node, class or value; the rest is
/// summed.
pub(super) const ROW_COUNT_MAX: usize = 20;

/// Writes a prefix; the part of it that has no lines of its own is told from it.
pub(super) fn prefix_label(row: &PrefixRow<'_>) -> String {
    const REST: &str = " (rest)";
    if row.is_rest {
        let width = PREFIX_WIDTH.saturating_sub(REST.len());
        return format!("{}{REST}", fit_key(row.prefix, width));
    }
    fit_key(row.prefix, PREFIX_WIDTH)
}

/// Says how much memory the records take, and how that is known.
pub(super) fn memory_text(tally: &Tally) -> String {
    let memory = size(tally.memory_bytes(tally));
    let unknown = tally.records.saturating_sub(tally.class_records);
    match (tally.records, unknown) {
        (0, _) => memory,
        (_, 0) if tally.has_default_classes() => {
            format!("{memory} in a server, by the chunks of its slab classes, of default sizes")
        }
        _ if tally.has_default_classes() => {
            let unknown = counted(unknown, "record");
            format!(
                "{memory} in a server, by the chunks of its slab classes, of default sizes; of \
                 {unknown} by the sizes of the items"
            )
        }
        _ => format!(
            "{memory} in a server by the sizes of the items; what its slab classes round up is \
             not known"
        ),
    }
}

/// Writes text from outside on what the label leaves of a line.
pub(super) fn one_line(text: &str) -> String {
    fit_end(&plain(text), WIDTH.saturating_sub(LABEL_WIDTH + 2))
}

pub(super) fn lost_line(counters: &Counters, unlisted: u64) -> String {
    lost_text(&[
        (counters.refused, "refused"),
        (counters.failed, "failed"),
        (counters.missing, "missing"),
        (unlisted, "not listed"),
    ])
}

/// The cells of records and bytes, with their shares.
pub(super) fn tally_cells(tally: &Tally, total: &Tally) -> [String; 5] {
    [
        count(tally.records),
        share_text(tally.records, total.records),
        size(tally.bytes()),
        size(tally.memory_bytes(total)),
        share_text(tally.memory_bytes(total), total.memory_bytes(total)),
    ]
}

pub(super) fn ratio_text(raw: u64, stored: u64) -> String {
    if stored == 0 {
        return "none".to_owned();
    }
    format!("{:.2}", to_f64(raw) / to_f64(stored))
}

pub(super) fn time_label(bucket: &Bucket) -> String {
    match (bucket.at_least, bucket.below) {
        (0, Some(below)) => format!("under {}", span(below)),
        (at_least, Some(below)) => format!("{} to {}", span(at_least), span(below)),
        (at_least, None) => format!("{} and more", span(at_least)),
    }
}

pub(super) fn size_label(bucket: &Bucket) -> String {
    let bound = |bytes: u64| match bytes.trailing_zeros() {
        _ if bytes == 0 => "0 B".to_owned(),
        0..10 => format!("{bytes} B"),
        10..20 => format!("{} KiB", bytes >> 10),
        20.. => format!("{} MiB", bytes >> 20),
    };
    match (bucket.at_least, bucket.below) {
        (0, Some(1)) => "empty".to_owned(),
        (at_least, Some(below)) => format!("{} to {}", bound(at_least), bound(below)),
        (at_least, None) => format!("{} and more", bound(at_least)),
    }
}

/// Writes a number of seconds by its two greatest units.
pub(super) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, letter) in UNITS {
        let number = rest / unit;
        rest %= unit;
        if number > 0 {
            parts.push(format!("{number}{letter}"));
        }
        // Two neighbouring units: "1d 4s" would be too exact.
        if !parts.is_empty() && unit > 1 {
            let next = UNITS.iter().find(|(smaller, _)| *smaller < unit);
            if let Some((smaller, letter)) = next
                && rest / smaller > 0
            {
                parts.push(format!("{}{letter}", rest / smaller));
            }
            break;
        }
    }
    if parts.is_empty() {
        return "0s".to_owned();
    }
    parts.join(" ")
}

pub(super) fn ttl_text(exptime: Option<Exptime>, at: UnixSecs) -> String {
    match exptime {
        None => "unknown".to_owned(),
        Some(Exptime::Never) => "never".to_owned(),
        Some(Exptime::At(UnixSecs(end))) => match end.saturating_sub(at.0) {
            0 => "expired".to_owned(),
            left => span(left),
        },
    }
}

pub(super) fn parse_moment(text: &str) -> Option<u64> {
    let moment = text.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(moment.as_second()).ok()
}

pub(super) fn moment_text(UnixSecs(at): UnixSecs) -> String {
    let moment = i64::try_from(at)
        .ok()
        .and_then(|at| jiff::Timestamp::from_second(at).ok());
    moment.map_or_else(|| format!("second {at}"), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_by_two_units() {
        for (seconds, wanted) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3661, "1h 1m"),
            (86_405, "1d"),
            (2_592_000, "30d"),
            (90_000, "1d 1h"),
            (u64::MAX, "213503982334601d 7h"),
        ] {
            assert_eq!(span(seconds), wanted);
        }
    }
}
