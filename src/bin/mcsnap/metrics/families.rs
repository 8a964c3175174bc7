//! The list of all metrics. README.md has the same in two tables.
//!
//! A help text is never changed: of two files in one folder that have different ones for a
//! metric, as of two versions of the program, the collector drops one.

/// A metric: a name, and all its series.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    /// Labels beside those that every series has.
    pub(crate) labels: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

impl Family {
    const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Gauge,
            help,
            labels: &[],
        }
    }

    const fn counter(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            kind: Kind::Counter,
            help,
            labels: &[],
        }
    }

    const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }
}

/// Which build writes the metrics.
pub(crate) static BUILD_INFO: Family = Family::gauge(
    "mcsnap_build_info",
    "The version of mcsnap that writes these metrics; always 1.",
)
.by(&["version"]);

pub(super) static LAST_SUCCESS: Family = Family::gauge(
    "mcsnap_last_success_timestamp_seconds",
    "When the last run that ended with exit code 0 ended; 0 if none is known.",
);
pub(super) static LAST_START: Family = Family::gauge(
    "mcsnap_last_run_start_timestamp_seconds",
    "When the last run began.",
);
pub(super) static LAST_END: Family = Family::gauge(
    "mcsnap_last_run_end_timestamp_seconds",
    "When the last run ended.",
);
pub(super) static LAST_DURATION: Family = Family::gauge(
    "mcsnap_last_run_duration_seconds",
    "How long the last run took.",
);
pub(super) static LAST_IS_SUCCESS: Family = Family::gauge(
    "mcsnap_last_run_success",
    "Whether the last run ended with exit code 0.",
);
pub(super) static LAST_EXIT_CODE: Family = Family::gauge(
    "mcsnap_last_run_exit_code",
    "The exit code of the last run.",
);
pub(super) static LAST_RECORDS: Family = Family::gauge(
    "mcsnap_last_run_records",
    "Records of the last run by what became of them, in the words of its report.",
)
.by(&["outcome"]);
pub(super) static LAST_LOST: Family = Family::gauge(
    "mcsnap_last_run_lost_records",
    "Records that the last run lost, for whatever reason.",
);
pub(super) static LAST_FINDINGS: Family = Family::gauge(
    "mcsnap_last_run_findings",
    "What the last run found to be wrong with the snapshot, by severity.",
)
.by(&["severity"]);
pub(super) static LAST_READ: Family = Family::gauge(
    "mcsnap_last_run_read_bytes",
    "Bytes that the last run read from servers or from the snapshot.",
);
pub(super) static LAST_STORED: Family = Family::gauge(
    "mcsnap_last_run_stored_bytes",
    "Bytes that the last run stored: of segments, or of keys and values in servers.",
);
pub(super) static LAST_SEGMENTS: Family = Family::gauge(
    "mcsnap_last_run_segments",
    "Segments that the last run wrote or checked.",
);
pub(super) static LAST_SNAPSHOT_TIME: Family = Family::gauge(
    "mcsnap_last_run_snapshot_timestamp_seconds",
    "When the dump ended of which the snapshot is that the last run wrote or read.",
);
pub(super) static LAST_SNAPSHOT_AGE: Family = Family::gauge(
    "mcsnap_last_run_snapshot_age_seconds",
    "How old the snapshot was that the last run read, when the run began.",
);
pub(super) static LAST_NODES: Family = Family::gauge(
    "mcsnap_last_run_nodes",
    "Nodes of the last run, all or those that failed.",
)
.by(&["state"]);
pub(super) static LAST_NODE_STORED: Family = Family::gauge(
    "mcsnap_last_run_node_stored_records",
    "Records of a node that the last run stored in the snapshot, or in the node.",
)
.by(&["node"]);
pub(super) static LAST_NODE_LOST: Family = Family::gauge(
    "mcsnap_last_run_node_lost_records",
    "Records of a node that the last run lost, for whatever reason.",
)
.by(&["node"]);
pub(super) static LAST_NODE_FAILED: Family = Family::gauge(
    "mcsnap_last_run_node_failed",
    "Whether a node failed in the last run.",
)
.by(&["node"]);

pub(super) static START: Family =
    Family::gauge("mcsnap_run_start_timestamp_seconds", "When this run began.");
pub(super) static EXPECTED_RECORDS: Family = Family::gauge(
    "mcsnap_run_expected_records",
    "About how many records this run will handle; 0 where that is not known.",
);
pub(super) static EXPECTED_BYTES: Family = Family::gauge(
    "mcsnap_run_expected_bytes",
    "About how many bytes this run will handle; 0 where that is not known.",
);
pub(super) static RECORDS: Family = Family::counter(
    "mcsnap_run_records_total",
    "Records that this run has handled, whatever became of them.",
);
pub(super) static BYTES: Family = Family::counter(
    "mcsnap_run_bytes_total",
    "Bytes that this run has handled: of values, or of files that it checks.",
);
pub(super) static RETRIES: Family = Family::counter(
    "mcsnap_run_retries_total",
    "Connections that were opened anew, and nodes that were asked again.",
);
pub(super) static LOST: Family = Family::counter(
    "mcsnap_run_lost_records_total",
    "Records that this run has lost; those of a node that is read anew may come back.",
);
pub(super) static NODES: Family = Family::gauge(
    "mcsnap_run_nodes",
    "Nodes that this run has started with, finished, or given up.",
)
.by(&["state"]);
pub(super) static NODE_EXPECTED: Family = Family::gauge(
    "mcsnap_run_node_expected_records",
    "About how many records a node has.",
)
.by(&["node"]);
pub(super) static NODE_RECORDS: Family = Family::counter(
    "mcsnap_run_node_records_total",
    "Records of a node that this run has handled, whatever became of them.",
)
.by(&["node"]);
pub(super) static NODE_BYTES: Family = Family::counter(
    "mcsnap_run_node_bytes_total",
    "Bytes of a node that this run has handled.",
)
.by(&["node"]);
pub(super) static NODE_RETRIES: Family = Family::counter(
    "mcsnap_run_node_retries_total",
    "Connections to a node that were opened anew, and how often it was asked again.",
)
.by(&["node"]);
pub(super) static NODE_LOST: Family = Family::counter(
    "mcsnap_run_node_lost_records_total",
    "Records of a node that this run has lost; they may come back if it is read anew.",
)
.by(&["node"]);
pub(super) static NODE_FINISHED: Family = Family::gauge(
    "mcsnap_run_node_finished",
    "Whether this run is done with a node, and the node did not fail.",
)
.by(&["node"]);
pub(super) static NODE_FAILED: Family = Family::gauge(
    "mcsnap_run_node_failed",
    "Whether this run has given a node up.",
)
.by(&["node"]);

/// What a file has, about the last run.
#[cfg(test)]
pub(super) static OF_FILE: [&Family; 19] = [
    &LAST_SUCCESS,
    &LAST_IS_SUCCESS,
    &LAST_EXIT_CODE,
    &LAST_START,
    &LAST_END,
    &LAST_DURATION,
    &LAST_RECORDS,
    &LAST_LOST,
    &LAST_FINDINGS,
    &LAST_READ,
    &LAST_STORED,
    &LAST_SEGMENTS,
    &LAST_SNAPSHOT_TIME,
    &LAST_SNAPSHOT_AGE,
    &LAST_NODES,
    &LAST_NODE_STORED,
    &LAST_NODE_LOST,
    &LAST_NODE_FAILED,
    &BUILD_INFO,
];

/// What the endpoint has, about the run that serves it.
#[cfg(test)]
pub(super) static OF_ENDPOINT: [&Family; 16] = [
    &START,
    &EXPECTED_RECORDS,
    &EXPECTED_BYTES,
    &RECORDS,
    &BYTES,
    &RETRIES,
    &LOST,
    &NODES,
    &NODE_EXPECTED,
    &NODE_RECORDS,
    &NODE_BYTES,
    &NODE_RETRIES,
    &NODE_LOST,
    &NODE_FINISHED,
    &NODE_FAILED,
    &BUILD_INFO,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The rows of the table behind a heading of README.md: name, kind, labels.
    fn table(marker: &str) -> Vec<[String; 3]> {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        let (_, rest) = readme.split_once(marker).unwrap();
        let lines = rest.lines().skip(1).skip_while(|line| line.is_empty());
        let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
        rows.map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            [cells[1], cells[2], cells[3]].map(|cell| cell.replace('`', ""))
        })
        .collect()
    }

    fn coded(families: &[&Family]) -> Vec<[String; 3]> {
        let row = |family: &&Family| {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let labels = match family.labels {
                [] => "-".to_owned(),
                labels => labels.join(", "),
            };
            [family.name.to_owned(), kind.to_owned(), labels]
        };
        families.iter().map(row).collect()
    }

    #[test]
    fn the_readme_lists_every_metric_with_its_type_and_labels() {
        assert_eq!(table("In the file of `--metrics-file`:"), coded(&OF_FILE));
        assert_eq!(
            table("What it has, at `--metrics-addr`:"),
            coded(&OF_ENDPOINT)
        );
    }

    #[test]
    fn names_are_as_prometheus_wants_them() {
        let all = OF_FILE.iter().chain(&OF_ENDPOINT);
        let mut names = BTreeSet::new();
        for family in all {
            let is_first = names.insert(family.name);
            assert!(is_first || family.name == BUILD_INFO.name);
            let is_counter = family.name.ends_with("_total");
            assert_eq!(family.kind == Kind::Counter, is_counter, "{}", family.name);
            for ending in ["_count", "_sum", "_bucket", "_percent", "_ms", "_gauge"] {
                assert!(!family.name.ends_with(ending), "{}", family.name);
            }
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(family.name.starts_with("mcsnap_") && family.name.chars().all(is_plain));
            assert!(family.help.ends_with('.') && !family.help.contains(['\n', '\\']));
            for label in family.labels {
                // Prometheus gives these two to every target.
                assert!(!["job", "instance"].contains(label), "{}", family.name);
            }
        }
    }
}
