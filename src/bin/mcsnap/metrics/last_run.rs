//! The metrics of a run that has ended.

use std::time::Duration;

use jiff::Timestamp;
use mcsnap::words::units::to_u64;

use crate::metrics::exposition::{Sample, render, unix_seconds};
use crate::metrics::families::{
    BUILD_INFO, LAST_DURATION, LAST_END, LAST_EXIT_CODE, LAST_FINDINGS, LAST_IS_SUCCESS, LAST_LOST,
    LAST_NODE_FAILED, LAST_NODE_LOST, LAST_NODE_STORED, LAST_NODES, LAST_READ, LAST_RECORDS,
    LAST_SEGMENTS, LAST_SNAPSHOT_AGE, LAST_SNAPSHOT_TIME, LAST_START, LAST_STORED, LAST_SUCCESS,
};
use crate::metrics::numbers::{JobNumbers, NODES_MAX, NodeNumbers, SnapshotTime};

/// A run that has ended.
#[derive(Debug)]
pub(super) struct LastRun<'a> {
    pub(super) command: &'a str,
    pub(super) directory: &'a str,
    /// The name of the file, without its ending.
    pub(super) file: &'a str,
    pub(super) exit_code: u8,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) elapsed: Duration,
    /// Bytes that the job has read; `None` if no job was begun.
    pub(super) read_bytes: Option<u64>,
    pub(super) snapshot: Option<SnapshotTime>,
    pub(super) numbers: Option<&'a JobNumbers>,
}

impl LastRun<'_> {
    /// Writes the metrics. A run that has failed takes over when the last success was:
    /// `earlier` returns the number that a series had before.
    pub(super) fn render(
        &self,
        earlier: impl FnOnce(&str) -> Option<f64>,
    ) -> Result<String, prometheus::Error> {
        let common = [
            ("command", self.command),
            ("directory", self.directory),
            ("file", self.file),
        ];
        let is_success = self.exit_code == 0;
        let last_success = match is_success {
            true => unix_seconds(self.ended_at),
            false => {
                let text = render(&[Sample::of(&LAST_SUCCESS, 0.0)], &common)?;
                let series = text.lines().last().and_then(|line| line.rsplit_once(' '));
                series
                    .and_then(|(series, _)| earlier(series))
                    .unwrap_or(0.0)
            }
        };
        let mut samples = vec![
            Sample::count(&BUILD_INFO, 1).with(env!("CARGO_PKG_VERSION")),
            Sample::of(&LAST_SUCCESS, last_success),
            Sample::flag(&LAST_IS_SUCCESS, is_success),
            Sample::count(&LAST_EXIT_CODE, self.exit_code.into()),
            Sample::moment(&LAST_START, self.started_at),
            Sample::moment(&LAST_END, self.ended_at),
            Sample::of(&LAST_DURATION, self.elapsed.as_secs_f64()),
        ];
        samples.extend(
            self.read_bytes
                .map(|bytes| Sample::count(&LAST_READ, bytes)),
        );
        samples.extend(self.snapshot_samples());
        if let Some(numbers) = self.numbers {
            samples.extend(job_samples(numbers));
        }
        render(&samples, &common)
    }

    fn snapshot_samples(&self) -> Vec<Sample> {
        match self.snapshot {
            None => Vec::new(),
            Some(SnapshotTime::Written(at)) => {
                vec![Sample::moment(&LAST_SNAPSHOT_TIME, at)]
            }
            Some(SnapshotTime::Read(at)) => {
                let age = self.started_at.duration_since(at).as_secs_f64();
                vec![
                    Sample::moment(&LAST_SNAPSHOT_TIME, at),
                    Sample::of(&LAST_SNAPSHOT_AGE, age),
                ]
            }
        }
    }
}

fn job_samples(numbers: &JobNumbers) -> Vec<Sample> {
    let mut samples = Vec::new();
    let records = numbers.records.iter();
    samples
        .extend(records.map(|(outcome, count)| Sample::count(&LAST_RECORDS, *count).with(outcome)));
    samples.extend(numbers.lost.map(|lost| Sample::count(&LAST_LOST, lost)));
    if let Some([errors, warnings]) = numbers.findings {
        samples.push(Sample::count(&LAST_FINDINGS, errors).with("error"));
        samples.push(Sample::count(&LAST_FINDINGS, warnings).with("warning"));
    }
    let bytes = numbers.stored_bytes;
    samples.extend(bytes.map(|bytes| Sample::count(&LAST_STORED, bytes)));
    let segments = numbers.segments;
    samples.extend(segments.map(|segments| Sample::count(&LAST_SEGMENTS, segments)));
    let nodes = &numbers.nodes;
    if nodes.is_empty() {
        return samples;
    }
    let failed = nodes.iter().filter(|node| node.has_failed).count();
    samples.push(Sample::count(&LAST_NODES, to_u64(nodes.len())).with("all"));
    samples.push(Sample::count(&LAST_NODES, to_u64(failed)).with("failed"));
    let mut of_nodes = |family, number: fn(&NodeNumbers) -> u64| {
        let shown = nodes.iter().take(NODES_MAX);
        samples.extend(shown.map(|node| Sample::count(family, number(node)).with(&node.node)));
    };
    of_nodes(&LAST_NODE_STORED, |node| node.stored);
    of_nodes(&LAST_NODE_LOST, |node| node.lost);
    of_nodes(&LAST_NODE_FAILED, |node| node.has_failed.into());
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(exit_code: u8) -> LastRun<'static> {
        LastRun {
            command: "restore",
            directory: "/backup",
            file: "warm",
            exit_code,
            started_at: "2026-12-01T02:00:00Z".parse().unwrap(),
            ended_at: "2026-12-01T02:01:00.25Z".parse().unwrap(),
            elapsed: Duration::from_millis(60_250),
            read_bytes: None,
            snapshot: None,
            numbers: None,
        }
    }

    fn value(text: &str, name: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    #[test]
    fn a_failed_run_takes_over_the_last_success() {
        let success = LAST_SUCCESS.name;
        let of = |code, earlier: Option<f64>| {
            let series = "mcsnap_last_success_timestamp_seconds{command=\"restore\",\
                          directory=\"/backup\",file=\"warm\"}";
            let text = run(code).render(|asked| {
                assert_eq!(asked, series);
                earlier
            });
            value(&text.unwrap(), success).unwrap()
        };
        assert_eq!(of(0, Some(5.0)), 1_796_090_460.25);
        for code in [1, 2, 3, 130, 143] {
            assert_eq!(of(code, Some(5.5)), 5.5);
            assert_eq!(of(code, None), 0.0);
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = run(1).render(|_| None).unwrap();
        assert_eq!(value(&text, LAST_EXIT_CODE.name), Some(1.0));
        assert_eq!(value(&text, LAST_IS_SUCCESS.name), Some(0.0));
        for family in [&LAST_RECORDS, &LAST_READ, &LAST_SNAPSHOT_AGE, &LAST_NODES] {
            assert!(!text.contains(family.name), "{text}");
        }
    }

    #[test]
    fn nodes_are_named_up_to_a_bound_and_all_are_counted() {
        let node = |number: usize| NodeNumbers {
            node: format!("a{number}:1"),
            stored: 7,
            lost: 0,
            has_failed: number == 3,
        };
        let numbers = JobNumbers {
            nodes: (0..NODES_MAX + 20).map(node).collect(),
            ..JobNumbers::default()
        };
        let run = LastRun {
            numbers: Some(&numbers),
            snapshot: "2026-12-01T00:00:00Z".parse().ok().map(SnapshotTime::Read),
            ..run(0)
        };
        let text = run.render(|_| None).unwrap();
        let series = format!("{}{{", LAST_NODE_STORED.name);
        assert_eq!(text.matches(&series).count(), NODES_MAX);
        assert!(text.contains("state=\"all\"} 120\n"), "{text}");
        assert!(text.contains("state=\"failed\"} 1\n"), "{text}");
        let age = format!("{}{{", LAST_SNAPSHOT_AGE.name);
        assert_eq!(value(&text, &age), Some(7200.0));
    }
}
