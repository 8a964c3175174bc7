//! An inspection for people, on 80 columns.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use mcsnap::codecs::format::manifest::Counters;
use mcsnap::jobs::inspect::{Bucket, LengthRange, PrefixRow, Tally};
use mcsnap::words::item::{Attribute, Exptime, SlabClass};
use mcsnap::words::units::{UnixSecs, to_f64, to_u64};

use crate::render::inspection::Inspection;
use crate::render::share::{share, share_text};
use crate::render::table::{
    Align, Column, Row, Tail, WIDTH, draw, fit_end, fit_key, fit_start, labelled, plain,
};
use crate::render::{count, counted, holds_row, items_text, lost_text, size};

/// Rows of a table that has one for each node, class or value; the rest is
/// summed.
const ROW_COUNT_MAX: usize = 20;
/// Findings shown; `verify` shows them all.
const FINDING_COUNT_MAX: usize = 20;
/// Letters of the words of a node's failure.
const FAILURE_LEN_MAX: usize = 300;
/// Columns of the labels at the start.
const LABEL_WIDTH: usize = 8;
/// Columns of the prefix of a key.
const PREFIX_WIDTH: usize = 26;
/// Columns of a node's address in a table.
const ADDRESS_WIDTH: usize = 24;

impl Inspection<'_> {
    /// Adds up what became of the lines of the walks that were looked at.
    fn counters(self) -> Counters {
        let mut counters = Counters::default();
        for (node, _) in self.nodes() {
            counters.merge(&node.counters);
        }
        counters
    }

    /// Draws all of it; no line is longer than 80 columns.
    pub(crate) fn to_text(self) -> String {
        let mut text = self.draw_head();
        let mut section = |table: String| {
            text.push('\n');
            text.push_str(&table);
        };
        if !self.manifest.nodes.is_empty() {
            section(self.draw_nodes());
        }
        if self.report.statistics.total.records > 0 {
            section(self.draw_key_prefixes());
            section(self.draw_ttl());
            section(self.draw_idle());
            section(self.draw_value_sizes());
            section(self.draw_slab_classes());
            section(self.draw_client_flags());
            section(self.draw_marks());
            if self.report.statistics.largest.iter().next().is_some() {
                section(self.draw_largest());
            }
        }
        if !self.report.findings.is_empty() {
            section(self.draw_findings());
        }
        text
    }

    fn draw_head(self) -> String {
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

    fn draw_nodes(self) -> String {
        let mut nodes: Vec<Line> = self
            .nodes()
            .map(|(node, share)| Line {
                label: fit_start(&plain(&node.address), ADDRESS_WIDTH),
                tally: share.tally,
                detail: count(node.losses().saturating_add(share.unreadable)),
            })
            .collect();
        nodes.sort_by_key(|line| Reverse(line.tally.memory_bytes(&self.report.statistics.total)));
        let others = nodes.split_off(ROW_COUNT_MAX.min(nodes.len()));
        push_others(&mut nodes, others.iter().map(|line| &line.tally));
        self.draw_lines("NODE", Some("lost"), &nodes)
    }

    /// Draws labels with counts, perhaps a detail, and bars by memory.
    fn draw_lines(self, heading: &str, detail: Option<&str>, lines: &[Line]) -> String {
        let total = self.report.statistics.total;
        let tallies = lines.iter().map(|line| line.tally.memory_bytes(&total));
        let most = tallies.max().unwrap_or(0);
        let rows: Vec<Row> = lines
            .iter()
            .map(|line| {
                let mut cells = vec![line.label.clone()];
                cells.extend(tally_cells(&line.tally, &total));
                cells.extend(detail.map(|_| line.detail.clone()));
                Row {
                    cells,
                    tail: Tail::Bar(share(line.tally.memory_bytes(&total), most) / 100.0),
                }
            })
            .collect();
        let column = |heading, align, width_min| Column {
            heading,
            align,
            width_min,
        };
        let mut columns = vec![
            column(heading, Align::Left, 17),
            column("records", Align::Right, 10),
            column("%", Align::Right, 5),
            column("bytes", Align::Right, 9),
            column("memory", Align::Right, 9),
            column("%", Align::Right, 5),
        ];
        columns.extend(detail.map(|detail| column(detail, Align::Right, 7)));
        draw(&columns, &rows)
    }

    fn draw_key_prefixes(self) -> String {
        let prefixes = &self.report.statistics.key_prefixes;
        let rows = prefixes.rows(&self.report.statistics.total);
        let (shown, hidden) = rows.split_at_checked(ROW_COUNT_MAX).unwrap_or((&rows, &[]));
        let mut lines: Vec<Line> = shown
            .iter()
            .map(|row| Line::new(prefix_label(row), &row.tally))
            .collect();
        push_others(&mut lines, hidden.iter().map(|row| &row.tally));
        let others = prefixes.others();
        push_filled(&mut lines, "not kept apart", &others);
        push_filled(&mut lines, "no prefix", &prefixes.none);
        let mut table = self.draw_lines("KEY PREFIX", None, &lines);
        if others.records > 0 {
            let most = size(prefixes.other_max());
            let note = format!("No prefix that is not kept apart has items of more than {most}.");
            table.push_str(&labelled("", 0, &note));
        }
        table
    }

    fn draw_ttl(self) -> String {
        let ttl = &self.report.statistics.ttl;
        let mut lines = Vec::new();
        push_filled(&mut lines, "expired", &ttl.expired);
        lines.extend(filled_buckets(ttl.left.buckets(), time_label));
        push_filled(&mut lines, "never", &ttl.never);
        push_filled(&mut lines, "unknown", &ttl.unknown);
        self.draw_lines("TTL LEFT", None, &lines)
    }

    fn draw_idle(self) -> String {
        let idle = &self.report.statistics.idle;
        let mut lines: Vec<_> = filled_buckets(idle.since.buckets(), time_label).collect();
        push_filled(&mut lines, "unknown", &idle.unknown);
        self.draw_lines("IDLE FOR", None, &lines)
    }

    fn draw_value_sizes(self) -> String {
        let sizes = self.report.statistics.value_sizes.buckets();
        let lines: Vec<_> = filled_buckets(sizes, size_label).collect();
        self.draw_lines("VALUE SIZE", None, &lines)
    }

    fn draw_slab_classes(self) -> String {
        let classes = &self.report.statistics.slab_classes;
        let mut heaviest: Vec<_> = classes.iter().collect();
        heaviest
            .sort_by_key(|(_, tally)| Reverse(tally.memory_bytes(&self.report.statistics.total)));
        let (shown, others) = heaviest
            .split_at_checked(ROW_COUNT_MAX)
            .unwrap_or((&heaviest, &[]));
        let mut shown = shown.to_vec();
        shown.sort_by_key(|(SlabClass(class), _)| *class);
        let mut lines: Vec<Line> = shown
            .into_iter()
            .map(|(SlabClass(class), tally)| Line::new(class.to_string(), tally))
            .collect();
        push_others(&mut lines, others.iter().map(|(_, tally)| *tally));
        push_filled(&mut lines, "unknown", &classes.unknown);
        for line in &mut lines {
            let mean = line.tally.bytes().checked_div(line.tally.records);
            line.detail = size(mean.unwrap_or(0));
        }
        self.draw_lines("SLAB CLASS", Some("mean"), &lines)
    }

    fn draw_client_flags(self) -> String {
        let flags = &self.report.statistics.client_flags;
        let heaviest = flags.values.heaviest(&self.report.statistics.total);
        let (shown, others) = heaviest
            .split_at_checked(ROW_COUNT_MAX)
            .unwrap_or((&heaviest, &[]));
        let mut lines: Vec<Line> = shown
            .iter()
            .map(|(value, tally)| Line::new(value.to_string(), tally))
            .collect();
        push_others(&mut lines, others.iter().map(|(_, tally)| *tally));
        push_filled(&mut lines, "not kept apart", flags.values.others());
        push_filled(&mut lines, "unknown", &flags.unknown);
        self.draw_lines("CLIENT FLAGS", None, &lines)
    }

    fn draw_marks(self) -> String {
        let marks = &self.report.statistics.marks;
        let lines: Vec<Line> = Attribute::ALL
            .into_iter()
            .zip(marks)
            .map(|(mark, sums)| Line {
                detail: count(sums.unknown.records),
                ..Line::new(mark.as_str().to_owned(), &sums.set)
            })
            .collect();
        self.draw_lines("MARK", Some("unknown"), &lines)
    }

    fn draw_largest(self) -> String {
        // One node would be the same in each line.
        let has_nodes = self.nodes().nth(1).is_some();
        let rows: Vec<Row> = self
            .report
            .statistics
            .largest
            .iter()
            .map(|large| {
                let mut cells = vec![
                    format!("{} B", count(large.value_len.into())),
                    ttl_text(large.meta.exptime, self.report.at),
                ];
                if has_nodes {
                    cells.push(fit_start(&plain(self.address(&large)), ADDRESS_WIDTH));
                }
                Row {
                    cells,
                    tail: Tail::Key(large.key.to_vec()),
                }
            })
            .collect();
        let column = |heading, align, width_min| Column {
            heading,
            align,
            width_min,
        };
        let mut columns = vec![
            column("LARGEST VALUES", Align::Right, 0),
            column("TTL left", Align::Right, 0),
        ];
        if has_nodes {
            columns.push(column("node", Align::Left, 0));
        }
        columns.push(column("key", Align::Left, 0));
        draw(&columns, &rows)
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

    fn draw_findings(self) -> String {
        let findings = &self.report.findings;
        let mut text = "FINDINGS\n".to_owned();
        for finding in findings.iter().take(FINDING_COUNT_MAX) {
            text.push_str(&labelled("", 0, &plain(&finding.to_string())));
        }
        let hidden = to_u64(findings.len().saturating_sub(FINDING_COUNT_MAX))
            .saturating_add(self.report.finding_count_dropped);
        if hidden > 0 {
            let more = format!("and {} more", counted(hidden, "finding"));
            text.push_str(&labelled("", 0, &more));
        }
        text
    }
}

/// A line of a table of counts.
#[derive(Clone, Debug)]
struct Line {
    label: String,
    tally: Tally,
    /// For a column of the table's own.
    detail: String,
}

impl Line {
    fn new(label: String, tally: &Tally) -> Self {
        Self {
            label,
            tally: *tally,
            detail: String::new(),
        }
    }
}

/// Writes a prefix; the part of it that has no lines of its own is told from it.
fn prefix_label(row: &PrefixRow<'_>) -> String {
    const REST: &str = " (rest)";
    if row.is_rest {
        let width = PREFIX_WIDTH.saturating_sub(REST.len());
        return format!("{}{REST}", fit_key(row.prefix, width));
    }
    fit_key(row.prefix, PREFIX_WIDTH)
}

/// Says how much memory the records take, and how that is known.
fn memory_text(tally: &Tally) -> String {
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
fn one_line(text: &str) -> String {
    fit_end(&plain(text), WIDTH.saturating_sub(LABEL_WIDTH + 2))
}

fn lost_line(counters: &Counters, unlisted: u64) -> String {
    lost_text(&[
        (counters.refused, "refused"),
        (counters.failed, "failed"),
        (counters.missing, "missing"),
        (unlisted, "not listed"),
    ])
}

/// The cells of records and bytes, with their shares.
fn tally_cells(tally: &Tally, total: &Tally) -> [String; 5] {
    [
        count(tally.records),
        share_text(tally.records, total.records),
        size(tally.bytes()),
        size(tally.memory_bytes(total)),
        share_text(tally.memory_bytes(total), total.memory_bytes(total)),
    ]
}

fn ratio_text(raw: u64, stored: u64) -> String {
    if stored == 0 {
        return "none".to_owned();
    }
    format!("{:.2}", to_f64(raw) / to_f64(stored))
}

/// Adds a line where there is something to tell.
fn push_filled(lines: &mut Vec<Line>, label: &str, tally: &Tally) {
    if tally.records > 0 {
        lines.push(Line::new(label.to_owned(), tally));
    }
}

/// Adds a line for all that have none of their own.
fn push_others<'a>(lines: &mut Vec<Line>, others: impl ExactSizeIterator<Item = &'a Tally>) {
    if others.len() == 0 {
        return;
    }
    let label = counted(to_u64(others.len()), "other");
    let mut sum = Tally::default();
    for tally in others {
        sum.merge(tally);
    }
    lines.push(Line::new(label, &sum));
}

/// Labels the buckets from the first to the last that has records.
fn filled_buckets(
    buckets: impl Iterator<Item = Bucket>,
    label: fn(&Bucket) -> String,
) -> impl Iterator<Item = Line> {
    let mut buckets: Vec<Bucket> = buckets
        .skip_while(|bucket| bucket.tally.records == 0)
        .collect();
    while buckets
        .last()
        .is_some_and(|bucket| bucket.tally.records == 0)
    {
        buckets.pop();
    }
    buckets
        .into_iter()
        .map(move |bucket| Line::new(label(&bucket), &bucket.tally))
}

fn time_label(bucket: &Bucket) -> String {
    match (bucket.at_least, bucket.below) {
        (0, Some(below)) => format!("under {}", span(below)),
        (at_least, Some(below)) => format!("{} to {}", span(at_least), span(below)),
        (at_least, None) => format!("{} and more", span(at_least)),
    }
}

fn size_label(bucket: &Bucket) -> String {
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
fn span(seconds: u64) -> String {
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

fn ttl_text(exptime: Option<Exptime>, at: UnixSecs) -> String {
    match exptime {
        None => "unknown".to_owned(),
        Some(Exptime::Never) => "never".to_owned(),
        Some(Exptime::At(UnixSecs(end))) => match end.saturating_sub(at.0) {
            0 => "expired".to_owned(),
            left => span(left),
        },
    }
}

fn parse_moment(text: &str) -> Option<u64> {
    let moment = text.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(moment.as_second()).ok()
}

fn moment_text(UnixSecs(at): UnixSecs) -> String {
    let moment = i64::try_from(at)
        .ok()
        .and_then(|at| jiff::Timestamp::from_second(at).ok());
    moment.map_or_else(|| format!("second {at}"), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use mcsnap::codecs::format::column::KeyRecord;
    use mcsnap::codecs::format::manifest::Manifest;
    use mcsnap::jobs::inspect::{InspectReport, NodeShare, PrefixDepth, Statistics, Storage};
    use mcsnap::words::defect::Defect;
    use mcsnap::words::finding::Finding;
    use mcsnap::words::item::{Attributes, ItemMeta};
    use mcsnap::words::location::Location;
    use serde_json::json;

    use super::*;

    const AT: UnixSecs = UnixSecs(1_795_140_000);

    fn manifest(nodes: &[&str], text: &str) -> Manifest {
        let listed = if text.is_empty() {
            "4"
        } else {
            "123456789012345678"
        };
        let nodes: Vec<_> = nodes
            .iter()
            .map(|address| {
                json!({
                    "address": address, "server_version": format!("1.6.18{text}"), "pid": "1",
                    "server_started_at": "1", "clock_offset": "0", "walk": "metadump-hash",
                    "shard_bits": 0, "items_start": "0", "items_end": "0",
                    "counters": {"listed": listed, "stored": listed},
                    "failure": (!text.is_empty()).then_some(text),
                })
            })
            .collect();
        let digest = "0".repeat(32);
        serde_json::from_value(json!({
            "format": "mcsnap", "version": {"major": 1, "minor": 0}, "snapshot_id": digest,
            "name": format!("night{text}"), "token": "", "tool": format!("mcsnap 0.1.0{text}"),
            "started_at": "2026-11-20T01:58:00Z", "finished_at": "2026-11-20T02:00:00Z",
            "ring": (!text.is_empty()).then_some(text),
            "shard_hash": {"algorithm": "xxh3-64", "seed": "0"}, "nodes": nodes, "segments": [],
            "totals": {"segments": "0", "size": "0", "records": "0", "key_bytes": "0",
                       "value_bytes": "0"},
            "content_digest": digest, "content_digest_exptime": digest, "verdict": "complete",
        }))
        .unwrap()
    }

    fn report(statistics: Statistics, nodes: Vec<Option<NodeShare>>) -> InspectReport {
        InspectReport {
            at: AT,
            nodes,
            statistics,
            selection: None,
            filtered: Tally::default(),
            unknown_kept: 0,
            findings: Vec::new(),
            finding_count_dropped: 0,
            elapsed: std::time::Duration::ZERO,
        }
    }

    fn draw_checked(place: &str, manifest: &Manifest, report: &InspectReport) -> String {
        let inspection = Inspection {
            place,
            is_lone_segment: false,
            manifest,
            report,
        };
        let text = inspection.to_text();
        for line in text.lines() {
            let is_drawable = |letter: char| matches!(letter, ' '..='~' | '█'..='▏');
            assert!(line.chars().all(is_drawable), "{line:?}");
            assert!(line.chars().count() <= WIDTH, "{line:?}");
        }
        text
    }

    fn record(key: &[u8], value_len: u32, meta: ItemMeta) -> KeyRecord<'_> {
        KeyRecord {
            key,
            value_len,
            value_hash: 0,
            meta,
        }
    }

    #[test]
    fn a_small_snapshot_looks_like_this() {
        let mut statistics = Statistics::new(AT, b":", PrefixDepth::Fitting, 2);
        let mut attributes = Attributes::default();
        attributes.set(Attribute::Fetched, true);
        attributes.set(Attribute::Stale, false);
        for (key, value_len, exptime, idle) in [
            (&b"page:1"[..], 3000, Exptime::At(UnixSecs(AT.0 + 90)), 3),
            (
                b"page:\xff2",
                2000,
                Exptime::At(UnixSecs(AT.0 + 86_399)),
                60,
            ),
            (b"count:1", 0, Exptime::Never, 7200),
            (b"gone", 14, Exptime::At(AT), 90),
        ] {
            let meta = ItemMeta {
                client_flags: Some(u64::from(value_len > 100) * 65_535),
                exptime: Some(exptime),
                last_access: Some(UnixSecs(AT.0 - idle)),
                slab_class: Some(SlabClass(match value_len {
                    3000 => 17,
                    2000 => 15,
                    _ => 1,
                })),
                attributes,
                ..ItemMeta::default()
            };
            statistics.add(&record(key, value_len, meta), 0);
        }
        let share = NodeShare {
            tally: statistics.total,
            unreadable: 0,
            storage: Storage {
                segments: 1,
                blocks: 1,
                size: 4000,
                key_stored: 100,
                key_raw: 250,
                value_stored: 2507,
                value_raw: 5014,
            },
        };
        let manifest = manifest(&["cache1:11211"], "");
        let text = draw_checked(
            "/backup/night",
            &manifest,
            &report(statistics, vec![Some(share)]),
        );
        let wanted = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/inspect.txt"));
        assert_eq!(text, wanted);
    }

    #[test]
    fn no_line_is_too_long_whatever_the_data() {
        const HUGE: u64 = 123_456_789_012_345_678;
        let long_text = "\u{1b}[31mlong \u{202e}\u{4e2d}\u{6587}".repeat(30);
        let long_host = format!("{}:65535", "h".repeat(200));
        let mut statistics = Statistics::new(AT, b":", PrefixDepth::Fitting, 20);
        let huge = Tally {
            records: HUGE,
            key_bytes: HUGE,
            value_bytes: HUGE,
            item_bytes: HUGE,
            chunk_bytes: HUGE,
            class_records: HUGE,
            chunk_records: 1,
        };
        for number in 0..=u8::MAX {
            let key = [number; 250];
            let meta = ItemMeta {
                client_flags: Some(u64::MAX - u64::from(number)),
                exptime: Some(Exptime::At(UnixSecs(u64::MAX - 1))),
                last_access: Some(UnixSecs(0)),
                slab_class: Some(SlabClass(number)),
                ..ItemMeta::default()
            };
            statistics.add(&record(&key, u32::MAX, meta), usize::from(number % 2));
        }
        for sum in [
            &mut statistics.total,
            &mut statistics.ttl.expired,
            &mut statistics.ttl.never,
            &mut statistics.ttl.unknown,
            &mut statistics.idle.unknown,
            &mut statistics.slab_classes.unknown,
            &mut statistics.client_flags.unknown,
        ] {
            sum.merge(&huge);
        }
        for mark in &mut statistics.marks {
            mark.set.merge(&huge);
            mark.unknown.merge(&huge);
        }
        for quantity in [0, 60, 1 << 20, u64::MAX] {
            statistics.value_sizes.add(quantity, &huge);
            statistics.ttl.left.add(quantity, &huge);
            statistics.idle.since.add(quantity, &huge);
        }
        let share = NodeShare {
            tally: huge,
            unreadable: HUGE,
            storage: Storage {
                segments: HUGE,
                blocks: HUGE,
                size: HUGE,
                key_stored: 1,
                key_raw: HUGE,
                value_stored: 1,
                value_raw: HUGE,
            },
        };
        let addresses: Vec<&str> = std::iter::repeat_n(long_host.as_str(), 30).collect();
        let mut report = report(statistics, vec![Some(share); 30]);
        report.at = UnixSecs(u64::MAX);
        report.findings = (0..30)
            .map(|_| Finding::new(Location::object("/path".repeat(40)), Defect::SegmentMissing))
            .collect();
        let manifest = manifest(&addresses, &long_text);
        let text = draw_checked(&"/long/path".repeat(20), &manifest, &report);
        for part in [
            "10 others",
            "236 others",
            "\\x00\\x00...",
            "and 10 findings more",
            "and 10 nodes more",
            "3,703,703,670,370,370,340 records cannot be read",
            "100.0",
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }

    #[test]
    fn nothing_and_nothing_known_are_told_as_such() {
        let empty = report(
            Statistics::new(AT, b":", PrefixDepth::Fitting, 10),
            vec![Some(NodeShare::default())],
        );
        let manifest = manifest(&["a:1"], "");
        let text = draw_checked("s", &manifest, &empty);
        assert!(
            text.contains("\nrecords   0, with 0 B of keys and 0 B of values\n"),
            "{text}"
        );
        assert!(text.contains("\nkeys      none\n"), "{text}");
        assert!(
            !text.contains("TTL LEFT") && !text.contains("LARGEST"),
            "{text}"
        );

        let mut statistics = Statistics::new(AT, b":", PrefixDepth::Fitting, 10);
        statistics.add(&record(b"k", 0, ItemMeta::default()), 0);
        let share = NodeShare {
            tally: statistics.total,
            ..NodeShare::default()
        };
        let text = draw_checked("s", &manifest, &report(statistics, vec![Some(share)]));
        for heading in ["TTL LEFT", "IDLE FOR", "SLAB CLASS", "CLIENT FLAGS"] {
            let mut lines = text.lines().skip_while(|line| !line.starts_with(heading));
            let line = lines.nth(1).unwrap_or_default();
            assert!(line.starts_with("unknown "), "{heading}\n{text}");
        }
    }

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
