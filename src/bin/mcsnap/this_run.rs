//! Which run of the program this is: every report and every line of the log says
//! so.

use std::time::{Duration, Instant};

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::render::{millis, seconds};

/// One run of the program, from its start.
#[derive(Debug)]
pub(crate) struct ThisRun {
    /// The command, such as `dump` or `ring-plan`; empty where none is known.
    pub(crate) command: String,
    id: String,
    pid: u32,
    host: String,
    started: Instant,
    started_at: Timestamp,
}

impl ThisRun {
    pub(crate) fn begin(command: &str) -> Self {
        let name = rustix::system::uname();
        Self {
            command: command.to_owned(),
            id: Uuid::new_v4().to_string(),
            pid: std::process::id(),
            host: name.nodename().to_string_lossy().into_owned(),
            started: Instant::now(),
            started_at: Timestamp::now(),
        }
    }

    /// Returns when it began.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Returns how long it has taken so far, planning included.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the name of the command's reports.
    pub(crate) fn schema(&self) -> String {
        match self.command.as_str() {
            "" => "mcsnap.error/1".to_owned(),
            command => format!("mcsnap.{command}/1"),
        }
    }

    /// Returns what a line of the log begins with.
    pub(crate) fn log_head(&self, level: &str, event: &str) -> Map<String, Value> {
        let head = [
            ("time", json!(in_full(Timestamp::now()))),
            ("level", json!(level)),
            ("event", json!(event)),
            ("run_id", json!(self.id)),
            ("pid", json!(self.pid)),
            ("host", json!(self.host)),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("command", json!(self.command)),
        ];
        head.map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }

    /// Adds to a report which run it is of.
    pub(crate) fn stamp(&self, document: &mut Value) {
        if let Value::Object(members) = document {
            members.extend(self.members());
        }
    }

    /// Returns what every report has; it ends now.
    pub(crate) fn members(&self) -> Map<String, Value> {
        let members = [
            ("run_id", json!(self.id)),
            ("host", json!(self.host)),
            ("pid", json!(self.pid)),
            ("version", json!(env!("CARGO_PKG_VERSION"))),
            ("started_at", json!(in_full(self.started_at))),
            ("finished_at", json!(in_full(Timestamp::now()))),
            ("elapsed_ms", json!(millis(self.elapsed()))),
        ];
        members
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }

    /// Returns the same for people.
    pub(crate) fn rows(&self) -> [(&'static str, String); 2] {
        let (from, to) = (to_second(self.started_at), to_second(Timestamp::now()));
        [
            (
                "time",
                format!("{}, {from} to {to}", seconds(self.elapsed())),
            ),
            (
                "run",
                format!("{}, process {} on {}", self.id, self.pid, self.host),
            ),
        ]
    }
}

/// Writes a moment as RFC 3339, to the millisecond.
fn in_full(moment: Timestamp) -> String {
    let rounded = moment.round(Unit::Millisecond).unwrap_or(moment);
    format!("{rounded:.3}")
}

/// Writes a moment as RFC 3339, to the second.
fn to_second(moment: Timestamp) -> String {
    format!(
        "{:.0}",
        Timestamp::from_second(moment.as_second()).unwrap_or(moment)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_to_one_length() {
        let moment = Timestamp::from_millisecond(1_795_140_000_000).unwrap();
        assert_eq!(in_full(moment), "2026-11-20T02:00:00.000Z");
        assert_eq!(to_second(moment), "2026-11-20T02:00:00Z");
        let later = Timestamp::from_nanosecond(1_795_140_000_999_400_000).unwrap();
        assert_eq!(in_full(later), "2026-11-20T02:00:00.999Z");
        assert_eq!(to_second(later), "2026-11-20T02:00:00Z");
    }

    #[test]
    fn a_report_says_which_run_it_is_of() {
        let run = ThisRun::begin("dump");
        let mut document = json!({"schema": run.schema(), "elapsed_ms": 0});
        run.stamp(&mut document);
        assert_eq!(document["schema"], "mcsnap.dump/1");
        assert_eq!(document["pid"], std::process::id());
        assert_eq!(document["run_id"], run.id.as_str());
        assert_eq!(ThisRun::begin("").schema(), "mcsnap.error/1");
    }
}
