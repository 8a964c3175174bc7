//! What a server reports about itself, and how its clock compares to ours.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::codecs::protocol::reply::{check_connection, is_refusal};
use crate::codecs::protocol::request::{STATS, STATS_ITEMS, STATS_SETTINGS, STATS_SLABS};
use crate::codecs::protocol::stats::{
    ServerSettings, ServerStats, SlabStats, StatTable, parse_stats, slab_ages, slab_item_counts,
};
use crate::codecs::protocol::text::{Step, parse_line};
use crate::ports::net::connection::{Connection, Received};
use crate::ports::net::diagnosis::{explain, knows_no_crawler, not_memcached};
use crate::ports::net::options::NetOptions;
use crate::ports::net::version_probe::{find_version, names_version};
use crate::words::access::AccessProblem;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::location::Location;
use crate::words::node::NodeSpec;
use crate::words::units::{UnixSecs, counted};

/// A server's statistics and settings at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerReport {
    /// General statistics.
    pub stats: ServerStats,
    /// Settings.
    pub settings: ServerSettings,
    /// Seconds to add to a server time to get this host's time. It is 0 if they differ by
    /// no more than the resolution of both clocks.
    pub clock_offset: i64,
    /// Whether this is memcached's built-in proxy, whose report is true but says nothing
    /// about the servers behind it. Only [`meet_server`] finds this out.
    pub is_proxy: bool,
}

impl ServerReport {
    /// Offsets up to this many seconds count as 0: the server's clock ticks once a second
    /// and may be late by one more.
    pub const CLOCK_TOLERANCE: i64 = 2;

    /// The reason reported for a server that was restarted.
    pub const RESTARTED: &str = "the server was restarted meanwhile";

    /// Returns what has happened to the server, according to a later report, that makes
    /// the work done in between worthless even though every command was answered.
    pub fn find_change(&self, later: &Self) -> Option<&'static str> {
        let later = &self.succeeded_by(later.clone());
        let find_flush = || self.flush_marks().find_flush(&later.flush_marks());
        self.find_restart(later).or_else(find_flush)
    }

    /// Returns a later report of this server with the version found when it was first
    /// met, since not every report includes it.
    pub fn succeeded_by(&self, mut later: Self) -> Self {
        later.stats.version = self.stats.version;
        later
    }

    /// Returns a reason if a later report shows that the server was restarted.
    pub fn find_restart(&self, later: &Self) -> Option<&'static str> {
        // Both numbers are whole seconds. The pid alone proves nothing in a container, where it
        // is 1 before and after.
        const START_TOLERANCE: u64 = 2;
        let (before, after) = (&self.stats, &later.stats);
        let moved = before.started_at().0.abs_diff(after.started_at().0);
        if before.pid != after.pid || after.uptime < before.uptime || moved > START_TOLERANCE {
            Some(Self::RESTARTED)
        } else {
            None
        }
    }

    /// Converts a server time to this host's clock.
    pub fn to_host_time(&self, server_time: UnixSecs) -> UnixSecs {
        server_time.saturating_add_signed(self.clock_offset)
    }

    /// Converts a time of this host to the server's clock.
    pub fn to_server_time(&self, host_time: UnixSecs) -> UnixSecs {
        host_time.saturating_add_signed(self.clock_offset.saturating_neg())
    }
}

/// Asks a server for its statistics and settings for the first time. If it does not
/// answer as memcached does, finds out what it is.
///
/// # Errors
///
/// - `Access`: it wants TLS or a password, it is a proxy, or it speaks only the binary
///   protocol.
/// - As for [`Connection::connect`] and [`ask_server`].
pub fn meet_server(node: &NodeSpec, options: &NetOptions, cancel: &Cancel) -> Result<ServerReport> {
    let met = Connection::connect(node, options, cancel)
        .and_then(|mut connection| ask_server(&mut connection));
    let mut report =
        met.map_err(|error| not_memcached(node, explain(node, options, cancel, error)))?;
    let version = &report.stats.version_text;
    if version.to_ascii_lowercase().contains("mcrouter") {
        let sign = format!("its version is \"{version}\"");
        return Err(Error::access(AccessProblem::Proxy { sign }).at(Location::node(node.address())));
    }
    if !names_version(version) {
        report.stats.version = find_version(&mut Connection::connect(node, options, cancel)?)?;
        tracing::info!(
            node = node.address(),
            "its version is \"{version}\"; it can do what {} could",
            report.stats.version
        );
    }
    // A server may act as a proxy on one port and as itself on another.
    if report.settings.is_proxy_enabled {
        report.is_proxy = knows_no_crawler(node, options, cancel)?;
    }
    Ok(report)
}

/// Asks a server for its statistics and settings.
///
/// # Errors
///
/// - `Protocol`: the other side is not memcached.
/// - `Server`: it refuses, for instance because it wants authentication.
/// - As for [`Connection::exchange`].
pub fn ask_server(connection: &mut Connection) -> Result<ServerReport> {
    let before = host_time();
    let stats = ServerStats::of(&ask(connection, STATS)?);
    let after = host_time();
    let settings = ServerSettings::of(&ask_settings(connection)?);
    let middle = before.saturating_add(after) / 2;
    // The server reports whole seconds, so half a second is missing on average.
    let server = i64::try_from(stats.time.0)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    let offset = middle.saturating_sub(server.saturating_add(500));
    let seconds = (offset.saturating_add(500)).div_euclid(1000);
    let clock_offset = if seconds.abs() <= ServerReport::CLOCK_TOLERANCE {
        0
    } else {
        seconds
    };
    Ok(ServerReport {
        stats,
        settings,
        clock_offset,
        is_proxy: false,
    })
}

/// Asks a server how many items each slab class has, by class.
///
/// # Errors
///
/// - `Unsupported`: it has items but lists no class that holds them. It is not memcached,
///   or does not report what a listing needs.
/// - As for [`ask_server`].
pub fn ask_slab_item_counts(connection: &mut Connection) -> Result<BTreeMap<u8, u64>> {
    let counts = slab_item_counts(&ask(connection, STATS_ITEMS)?);
    if !counts.is_empty() {
        return Ok(counts);
    }
    // Items may come and go between the two answers, but not twice.
    let items_before = ServerStats::of(&ask(connection, STATS)?).curr_items;
    let counts = slab_item_counts(&ask(connection, STATS_ITEMS)?);
    let items = ServerStats::of(&ask(connection, STATS)?).curr_items;
    if !counts.is_empty() || items.min(items_before) == 0 {
        return Ok(counts);
    }
    let kind = ErrorKind::Unsupported {
        field: "listing of",
        found: "keys".to_owned(),
        supported: format!(
            "the server counts {}, and \"stats items\" names no slab class that has them; it is \
             not memcached, or hides what a listing needs",
            counted(items, "item")
        ),
    };
    Err(Error::new(kind).at(Location::node(connection.node())))
}

/// Asks a server for the memory of its slab classes. If it refuses, the result is empty.
///
/// Flushed items keep their chunks until somebody needs them or the server finds time. A
/// class with such items counts as free, since everything older than the flush is removed
/// before anything else.
///
/// # Errors
///
/// - `TooManyConnections`, and as for [`Connection::exchange`].
pub fn ask_slabs(connection: &mut Connection, report: &ServerReport) -> Result<SlabStats> {
    let mut slabs = SlabStats::of(&ask_if_known(connection, STATS_SLABS)?);
    if let Some(since) = report.seconds_since_flush() {
        let ages = slab_ages(&ask_if_known(connection, STATS_ITEMS)?);
        for (class, memory) in &mut slabs.classes {
            if ages.get(class).is_some_and(|&age| age >= since) {
                memory.free_chunks = memory.chunks;
            }
        }
    }
    Ok(slabs)
}

/// Returns milliseconds since the Unix epoch.
fn host_time() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Asks for the settings. Servers before 1.4.0 have no settings, and some services do not
/// report them; their items can be read all the same.
fn ask_settings(connection: &mut Connection) -> Result<StatTable> {
    ask_if_known(connection, STATS_SETTINGS)
}

/// Treats a refusal as an empty table.
fn ask_if_known(connection: &mut Connection, request: &'static [u8]) -> Result<StatTable> {
    let mut table = StatTable::default();
    connection.exchange_short("stats", request, |bytes| {
        if let Step::Done(line, len) = parse_line(bytes, "memcached statistics")?
            && is_refusal(line)
        {
            check_connection(line)?;
            return Ok(Received::Done(len));
        }
        take_stats(bytes, &mut table)
    })?;
    Ok(table)
}

/// Parses what has arrived of a table.
fn take_stats(bytes: &[u8], table: &mut StatTable) -> Result<Received> {
    let (step, consumed) = parse_stats(bytes, table)?;
    Ok(match step {
        Step::Need => Received::More(consumed),
        Step::Done((), _) => Received::Done(consumed),
    })
}

/// Asks for a table of statistics.
pub(super) fn ask(connection: &mut Connection, request: &'static [u8]) -> Result<StatTable> {
    let mut table = StatTable::default();
    connection.exchange_short("stats", request, |bytes| take_stats(bytes, &mut table))?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_seen_by_the_start_time_where_the_pid_stays() {
        let report = |time, uptime, flushes| {
            let stats = ServerStats {
                pid: 1,
                time: UnixSecs(time),
                uptime,
                flushes,
                ..ServerStats::default()
            };
            ServerReport {
                stats,
                ..ServerReport::default()
            }
        };
        let before = report(1000, 5, 0);
        assert_eq!(before.find_change(&report(1060, 65, 0)), None);
        assert_eq!(before.find_change(&report(1061, 65, 0)), None);
        let restarted = before.find_change(&report(1060, 40, 0));
        assert_eq!(restarted, Some("the server was restarted meanwhile"));
        let flushed = before.find_change(&report(1060, 65, 1));
        assert_eq!(
            flushed,
            Some("flush_all was called on the server meanwhile")
        );
    }
}
