//! What a server reports about its flushes.

use crate::codecs::protocol::stats::ServerVersion;
use crate::ports::net::server::ServerReport;

/// The traces of `flush_all` at one moment.
///
/// The counter alone is not enough: `stats reset` sets it to 0, and a delayed flush
/// counts when it is called, not when it empties the server. The time of the last flush
/// is a setting, which no reset touches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushMarks {
    /// Calls of `flush_all` since the start or the last `stats reset`.
    pub count: u64,
    /// The time of the last flush, in seconds of the server's own count: items set up to
    /// then are removed when it comes. 0 if nothing was ever flushed; `None` if the
    /// server does not report it.
    pub until: Option<u64>,
    /// Whether that time is still to come.
    pub is_ahead: bool,
}

impl FlushMarks {
    /// Returns what has flushed the server, according to later marks of the same process.
    pub fn find_flush(&self, later: &Self) -> Option<&'static str> {
        const CALLED: &str = "flush_all was called on the server meanwhile";
        if !self.both_report_time(later) {
            // A count that fell was reset.
            return (later.count > self.count).then_some(CALLED);
        }
        // A refused flush (`-F`) counts, but does not change the time. A flush that is still to
        // come has removed nothing.
        if self.until != later.until && !later.is_ahead {
            Some(CALLED)
        } else if self.is_ahead && !later.is_ahead {
            Some("a delayed flush_all came due on the server meanwhile")
        } else {
            None
        }
    }

    /// Returns whether both report the time, which is then authoritative.
    fn both_report_time(&self, later: &Self) -> bool {
        self.until.is_some() && later.until.is_some()
    }

    /// Returns true if there was certainly no flush in between.
    pub fn excludes_flush(&self, later: &Self) -> bool {
        self.both_report_time(later) && self.until == later.until && self.is_ahead == later.is_ahead
    }
}

impl ServerReport {
    /// Returns the traces of flushes in this report.
    pub fn flush_marks(&self) -> FlushMarks {
        let until = self.settings.flushed_until;
        let now = self.own_seconds();
        FlushMarks {
            count: self.stats.flushes,
            until,
            is_ahead: until.is_some_and(|until| until > now),
        }
    }

    /// Returns the seconds since all items were flushed; `None` if they never were, the
    /// flush is still to come, or the server does not report it.
    pub(super) fn seconds_since_flush(&self) -> Option<u64> {
        let until = self.settings.flushed_until.filter(|&until| until > 0)?;
        self.own_seconds().checked_sub(until)
    }

    /// Returns the server's own count of seconds.
    fn own_seconds(&self) -> u64 {
        // `uptime` leaves out the seconds that a server counts before its start, so that no
        // item is older than 0 (ITEM_UPDATE_INTERVAL in memcached.h).
        let before_start = if self.stats.version < ServerVersion::COUNTS_FROM_60 {
            0
        } else {
            60
        };
        self.stats.uptime.saturating_add(before_start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLED: Option<&str> = Some("flush_all was called on the server meanwhile");
    const CAME_DUE: Option<&str> = Some("a delayed flush_all came due on the server meanwhile");

    fn marks(count: u64, until: Option<u64>, is_ahead: bool) -> FlushMarks {
        FlushMarks {
            count,
            until,
            is_ahead,
        }
    }

    #[test]
    fn a_flush_is_known_by_its_moment_where_the_count_was_reset() {
        let before = marks(4, Some(70), false);
        for (later, found) in [
            (marks(4, Some(70), false), None),
            // A flush that was refused, and one that is still to come.
            (marks(5, Some(70), false), None),
            (marks(5, Some(900), true), None),
            (marks(5, Some(90), false), CALLED),
            (marks(0, Some(70), false), None),
            (marks(0, Some(90), false), CALLED),
            (marks(1, None, false), None),
            (marks(5, None, false), CALLED),
        ] {
            assert_eq!(before.find_flush(&later), found, "{later:?}");
        }
        // A server that does not report the time.
        assert_eq!(
            marks(4, None, false).find_flush(&marks(5, None, false)),
            CALLED
        );
        assert_eq!(
            marks(4, None, false).find_flush(&marks(0, None, false)),
            None
        );
        let ahead = marks(1, Some(900), true);
        assert_eq!(ahead.find_flush(&marks(1, Some(900), true)), None);
        assert_eq!(ahead.find_flush(&marks(1, Some(900), false)), CAME_DUE);
    }

    #[test]
    fn the_moment_of_a_flush_is_seen_on_the_servers_own_count() {
        let is_ahead = |version, uptime, until| {
            let mut report = ServerReport::default();
            report.stats.version = version;
            report.stats.uptime = uptime;
            report.settings.flushed_until = Some(until);
            report.flush_marks().is_ahead
        };
        let (old, new) = (ServerVersion(1, 4, 17), ServerVersion(1, 4, 18));
        assert!(!is_ahead(new, 2, 0));
        // As 1.6.18 and 1.6.45 report `flush_all` and `flush_all 100`, 2 seconds after their
        // start.
        assert!(!is_ahead(new, 2, 61));
        assert!(is_ahead(new, 2, 161));
        assert!(is_ahead(new, 100, 161));
        assert!(!is_ahead(new, 101, 161));
        assert!(is_ahead(old, 100, 101));
        assert!(!is_ahead(old, 101, 101));
        let since = |uptime, until| {
            let mut report = ServerReport::default();
            (report.stats.version, report.stats.uptime) = (new, uptime);
            report.settings.flushed_until = until;
            report.seconds_since_flush()
        };
        assert_eq!(since(50, Some(100)), Some(10));
        assert_eq!(since(50, Some(111)), None);
        assert_eq!(since(50, Some(0)), None);
        assert_eq!(since(50, None), None);
    }
}
