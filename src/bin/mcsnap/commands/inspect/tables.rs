//! The tables of an inspection.

use std::cmp::Reverse;

use mcsnap::codecs::statistics::Tally;
use mcsnap::jobs::inspect::Bucket;
use mcsnap::words::item::{Attribute, SlabClass};
use mcsnap::words::units::to_u64;

use crate::commands::inspect::cells::{
    ROW_COUNT_MAX, prefix_label, size_label, tally_cells, time_label, ttl_text,
};
use crate::commands::inspect::inspection::Inspection;
use crate::render::share::share;
use crate::render::table::{Align, Column, Row, Tail, draw, fit_start, labelled, plain};
use crate::render::{count, counted, size};

/// Findings shown; `verify` shows them all.
const FINDING_COUNT_MAX: usize = 20;
/// Columns of a node's address in a table.
const ADDRESS_WIDTH: usize = 24;

impl Inspection<'_> {
    pub(super) fn draw_nodes(self) -> String {
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

    pub(super) fn draw_key_prefixes(self) -> String {
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
        if prefixes.missed_max() > 0 {
            let most = size(prefixes.missed_max());
            let note = format!("A prefix may have items of up to {most} more than its line says.");
            table.push_str(&labelled("", 0, &note));
        }
        if others.records > 0 {
            let most = size(prefixes.other_max());
            let note = format!("No prefix that is not kept apart has items of more than {most}.");
            table.push_str(&labelled("", 0, &note));
        }
        table
    }

    pub(super) fn draw_ttl(self) -> String {
        let ttl = &self.report.statistics.ttl;
        let mut lines = Vec::new();
        push_filled(&mut lines, "expired", &ttl.expired);
        lines.extend(filled_buckets(ttl.left.buckets(), time_label));
        push_filled(&mut lines, "never", &ttl.never);
        push_filled(&mut lines, "unknown", &ttl.unknown);
        self.draw_lines("TTL LEFT", None, &lines) + &unsure_note(ttl.unsure)
    }

    pub(super) fn draw_idle(self) -> String {
        let idle = &self.report.statistics.idle;
        let mut lines: Vec<_> = filled_buckets(idle.since.buckets(), time_label).collect();
        push_filled(&mut lines, "unknown", &idle.unknown);
        self.draw_lines("IDLE FOR", None, &lines) + &unsure_note(idle.unsure)
    }

    pub(super) fn draw_value_sizes(self) -> String {
        let sizes = self.report.statistics.value_sizes.buckets();
        let lines: Vec<_> = filled_buckets(sizes, size_label).collect();
        let unsure = self.report.statistics.value_sizes_unsure;
        self.draw_lines("VALUE SIZE", None, &lines) + &unsure_note(unsure)
    }

    pub(super) fn draw_slab_classes(self) -> String {
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

    pub(super) fn draw_client_flags(self) -> String {
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
        push_filled(&mut lines, "not kept apart", &flags.others());
        push_filled(&mut lines, "unknown", &flags.unknown);
        let mut table = self.draw_lines("CLIENT FLAGS", None, &lines);
        if flags.unlisted.records > 0 {
            let note = "Of those not kept apart, some may have flags that have a line.";
            table.push_str(&labelled("", 0, note));
        }
        table
    }

    pub(super) fn draw_marks(self) -> String {
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

    pub(super) fn draw_largest(self) -> String {
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

    pub(super) fn draw_findings(self) -> String {
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

/// Says how many records are near a bound of a line.
fn unsure_note(records: u64) -> String {
    if records == 0 {
        return String::new();
    }
    let unsure = counted(records, "record");
    let note = format!("{unsure} may belong to the line above or below; --exact tells.");
    labelled("", 0, &note)
}

/// A line of a table of counts.
#[derive(Clone, Debug)]
pub(super) struct Line {
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
