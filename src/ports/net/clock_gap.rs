//! Warnings about clocks that do not agree.

/// Seconds by which two clocks may differ without a warning: servers' clocks tick once a
/// second, and hosts are kept accurate to less than that.
pub const CLOCK_GAP_MAX: u64 = 5;

/// When two clocks were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Just now, with this host's clock.
    Now,
    /// When a snapshot was made, with the clock of the host that made it.
    AtDump,
}

/// Describes how far a node's clock is from a host's, if the difference exceeds
/// [`CLOCK_GAP_MAX`]. `offset` is the number of seconds to add to a server time to get
/// the host's time.
pub fn clock_warning(node: &str, offset: i64, compared: Compared) -> Option<String> {
    let seconds = offset.unsigned_abs();
    if seconds <= CLOCK_GAP_MAX {
        return None;
    }
    let side = if offset > 0 { "behind" } else { "ahead of" };
    let gap = span(seconds);
    Some(match compared {
        Compared::Now => format!("the clock of {node} is {gap} {side} that of this host"),
        Compared::AtDump => format!(
            "at the dump, the clock of {node} was {gap} {side} that of the host that dumped"
        ),
    })
}

/// Formats a length of time in the largest unit of which it has two or more.
fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "days"), (3600, "hours"), (60, "minutes")];
    let unit = UNITS.iter().find(|(size, _)| seconds / size >= 2);
    match unit {
        Some((size, name)) => format!("about {} {name} ({seconds} s)", (seconds + size / 2) / size),
        None => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_gap_that_is_none_of_ticking_is_told() {
        let warning = |offset| clock_warning("a:1", offset, Compared::Now);
        assert_eq!(warning(5), None);
        assert_eq!(warning(-5), None);
        for (offset, wanted) in [
            (6, "6 s behind"),
            (-119, "119 s ahead of"),
            (120, "about 2 minutes (120 s) behind"),
            (-2_592_000, "about 30 days (2592000 s) ahead of"),
        ] {
            let wanted = format!("the clock of a:1 is {wanted} that of this host");
            assert_eq!(warning(offset), Some(wanted));
        }
        let told = clock_warning("a:1", 7200, Compared::AtDump).unwrap();
        assert_eq!(
            told,
            "at the dump, the clock of a:1 was about 2 hours (7200 s) behind that of the host that \
             dumped"
        );
    }
}
