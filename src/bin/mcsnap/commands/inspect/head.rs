//! The lines of an inspection above its tables.

use std::collections::BTreeSet;

use mcsnap::jobs::inspect::{LengthRange, WhyKeys};
use mcsnap::words::counters::Counters;
use mcsnap::words::units::to_u64;

use crate::commands::inspect::cells::{
    LABEL_WIDTH, ROW_COUNT_MAX, lost_line, memory_text, moment_text, one_line, parse_moment,
    ratio_text, span,
};
use crate::commands::inspect::inspection::Inspection;
use crate::render::table::{fit_end, fit_start, labelled, plain};
use crate::render::{count, counted, holds_row, items_text, size};

/// Letters of the words of a node's failure.
const FAILURE_LEN_MAX: usize = 300;

impl Inspection<'_> {
    /// Adds up what became of the lines of the walks that were looked at.
    fn counters(self) -> Counters {
        let mut counters = Counters::default();
        for (node, _) in self.nodes() {
            counters.merge(&node.counters);
        }
        counters
    }

    pub(super) fn draw_head(self) -> String {
        let manifest = self.manifest;
        let verdict = if self.is_lone_segment {
            "one segment"
        } else {
            manifest.verdict.as_str()
        };
        let place = fit_start(&plain(self.place), 55);
        let mut rows = vec![
            ("snapshot", format!("{place} ({verdict})")),
            ("name", one_line(&manifest.name)),
            ("id", manifest.snapshot_id.to_string()),
            ("dumped", self.dumped()),
            ("times", self.moment()),
        ];
        rows.extend(self.verified());
        if let Some(ring) = &manifest.ring {
            rows.push(("ring", one_line(ring)));
        }
        let counters = self.counters();
        let holds = holds_row(manifest.select.as_deref());
        rows.extend(holds.map(|(label, text)| (label, one_line(&text))));
        rows.push(("nodes", self.node_count()));
        rows.push(("digest", manifest.content_digest.to_string()));
        // Of a segment alone nobody knows what the walk had listed.
        if !self.is_lone_segment {
            let items = items_text(manifest.select.is_some(), &counters);
            rows.push(("items", items));
            rows.push(("lost", lost_line(&counters, manifest.unlisted())));
            let unsure = manifest.unsure();
            if unsure > 0 {
                rows.push((
                    "unsure",
                    format!("up to {} more may have been there", count(unsure)),
                ));
            }
        }
        rows.extend(self.failures());
        rows.extend(self.selection());
        rows.push(("figures", self.sources()));
        let totals = self.report.totals();
        let storage = totals.storage;
        rows.push((
            "records",
            format!(
                "{}, with {} of keys and {} of values",
                count(totals.tally.records),
                size(totals.tally.key_bytes),
                size(totals.tally.value_bytes)
            ),
        ));
        rows.push(("memory", memory_text(&self.report.statistics.total)));
        if totals.unreadable > 0 || self.report.has_errors() {
            let unreadable = counted(totals.unreadable, "record");
            rows.push((
                "damage",
                format!("{unreadable} cannot be read; see the findings below"),
            ));
        }
        rows.push((
            "keys",
            self.lengths(self.report.statistics.key_len, totals.tally.key_bytes),
        ));
        let value_bytes = totals.tally.value_bytes;
        rows.push((
            "values",
            self.lengths(self.report.statistics.value_len, value_bytes),
        ));
        rows.push((
            "stored",
            format!(
                "{} in {} of {}",
                size(storage.size),
                counted(storage.blocks, "block"),
                counted(storage.segments, "segment")
            ),
        ));
        rows.push((
            "ratio",
            format!(
                "keys and metadata {}, values {}",
                ratio_text(storage.key_raw, storage.key_stored),
                ratio_text(storage.value_raw, storage.value_stored)
            ),
        ));
        rows.iter()
            .map(|(label, text)| labelled(label, LABEL_WIDTH, text))
            .collect()
    }

    /// Says what the figures come from, and how exact they are.
    fn sources(self) -> String {
        let sources = &self.report.sources;
        let keys = counted(sources.by_keys, "segment");
        let of_keys = format!("exact, of the keys of {keys}");
        let why = match sources.why_keys {
            Some(WhyKeys::Exact) => return of_keys,
            Some(WhyKeys::Selection) => "--select",
            Some(WhyKeys::Prefixes) => "--delimiters or --depth",
            Some(WhyKeys::Largest) => "--top",
            None if sources.by_statistics == 0 => return of_keys,
            None => {
                let also = match sources.by_keys {
                    0 => String::new(),
                    _ => format!(", and the keys of {keys} without"),
                };
                let exactness = if self.report.statistics.is_exact() {
                    "exact"
                } else {
                    "exact but where it is told below, see --exact"
                };
                let statistics = counted(sources.by_statistics, "segment");
                return format!("{exactness}, of the statistics of {statistics}{also}");
            }
        };
        format!("{of_keys}, because of {why}")
    }

    fn failures(self) -> Vec<(&'static str, String)> {
        let failed: Vec<String> = self
            .nodes()
            .filter_map(|(node, _)| {
                let failure = fit_end(&plain(node.failure.as_deref()?), FAILURE_LEN_MAX);
                Some(format!("{}: {failure}", plain(&node.address)))
            })
            .collect();
        let hidden = failed.len().saturating_sub(ROW_COUNT_MAX);
        let more = (hidden > 0).then(|| format!("and {} more", counted(to_u64(hidden), "node")));
        let shown = failed.into_iter().take(ROW_COUNT_MAX).chain(more);
        shown.map(|line| ("failed", line)).collect()
    }

    fn node_count(self) -> String {
        const VERSION_COUNT_MAX: usize = 5;
        let versions: BTreeSet<&str> = self
            .nodes()
            .map(|(node, _)| node.server_version.as_str())
            .filter(|version| !version.is_empty())
            .collect();
        let mut named: Vec<String> = versions
            .iter()
            .take(VERSION_COUNT_MAX)
            .map(|version| plain(version))
            .collect();
        if versions.len() > VERSION_COUNT_MAX {
            named.push("...".to_owned());
        }
        let (seen, all) = (self.nodes().count(), self.manifest.nodes.len());
        let seen = if seen == all {
            count(to_u64(all))
        } else {
            format!("{} of {}", count(to_u64(seen)), count(to_u64(all)))
        };
        if named.is_empty() {
            return seen;
        }
        format!("{seen}, memcached {}", one_line(&named.join(", ")))
    }

    /// The last verification, and what has changed since.
    fn verified(self) -> Vec<(&'static str, String)> {
        let Some(last) = &self.report.verification else {
            return Vec::new();
        };
        let record = &last.record;
        let count: u64 = record.findings.values().map(|count| count.0).sum();
        let findings = match count {
            0 => String::new(),
            _ => format!(", {}", counted(count, "finding")),
        };
        let (at, depth, result) = (&record.finished_at, &record.depth, &record.result);
        let text = one_line(&format!("{result} ({depth} check{findings}) at {at}"));
        let mut rows = vec![("verified", text)];
        if !last.is_of_this_manifest {
            rows.push(("", "look-up objects made anew since".to_owned()));
        }
        rows
    }

    fn dumped(self) -> String {
        let (start, end) = (&self.manifest.started_at, &self.manifest.finished_at);
        let took = match (parse_moment(start), parse_moment(end)) {
            (Some(start), Some(end)) => format!(", in {}", span(end.saturating_sub(start))),
            (_, _) => String::new(),
        };
        format!(
            "{} to {}{took}, by {}",
            one_line(start),
            one_line(end),
            one_line(&self.manifest.tool)
        )
    }

    fn moment(self) -> String {
        let at = self.report.at.0;
        let which = if parse_moment(&self.manifest.finished_at) == Some(at) {
            ", the end of the dump"
        } else {
            ""
        };
        format!(
            "TTL left and idle time as of {}{which}",
            moment_text(self.report.at)
        )
    }

    fn lengths(self, range: Option<LengthRange>, sum: u64) -> String {
        let Some(LengthRange { min, max }) = range else {
            return "none".to_owned();
        };
        let records = self.report.statistics.total.records;
        let tenths = sum.saturating_mul(10).checked_div(records).unwrap_or(0);
        let mean = format!("{}.{}", count(tenths / 10), tenths % 10);
        let max = counted(max, "byte");
        format!("{} to {max}, {mean} on average", count(min))
    }

    /// Says what the figures are of, if not of all.
    fn selection(self) -> Vec<(&'static str, String)> {
        let report = self.report;
        let Some(selection) = &report.selection else {
            return Vec::new();
        };
        let kept = report.statistics.total.records;
        let seen = kept.saturating_add(report.filtered.records);
        let mut rows = vec![
            ("select", one_line(selection)),
            (
                "kept",
                format!(
                    "{} of {}; all below is of these",
                    count(kept),
                    counted(seen, "record")
                ),
            ),
        ];
        if report.unknown_kept > 0 {
            let unknown = count(report.unknown_kept);
            let why = "the servers did not tell what --select asks";
            rows.push(("unknown", format!("{unknown} of them: {why}")));
        }
        rows
    }
}
