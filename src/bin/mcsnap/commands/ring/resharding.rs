//! What a change of the ring moves, for people on 80 columns and for programs.

use anyhow::Result;
use mcsnap::jobs::ring_plan::{Amount, Flow, ReshardingReport};
use mcsnap::words::finding::Finding;
use mcsnap::words::units::{to_u64, verb};
use serde_json::{Value, json};

use crate::render::share::{rounded, share, share_text};
use crate::render::table::{Align, Column, Row, Tail, draw, fit_start, labelled, plain};
use crate::render::{
    count, counted, counted_with, not_text_count, not_text_example, not_text_row, size,
};

/// Rows of a table that has one for each node; the rest is summed.
const ROW_COUNT_MAX: usize = 20;
/// Nodes on each side of a table of what goes where.
const FLOW_SIDE_MAX: usize = 10;
/// Columns of the labels at the start.
const LABEL_WIDTH: usize = 8;
/// Columns of a node's address.
const ADDRESS_WIDTH: usize = 24;
/// Digits after the point of a ratio.
const RATIO_DIGITS: usize = 2;

/// A plan with its place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resharding<'a> {
    /// As the user named the snapshot.
    pub(crate) place: &'a str,
    pub(crate) report: &'a ReshardingReport,
}

/// One row of a table of nodes.
struct NodeRow {
    number: String,
    address: String,
    amount: Amount,
    /// What of it moves.
    moved: Amount,
}

impl Resharding<'_> {
    /// Draws all of it; no line is longer than 80 columns.
    pub(crate) fn to_text(self) -> String {
        let report = self.report;
        let mut text = self.draw_head();
        let from = report.from.iter().map(|node| {
            let address = plain(&node.address);
            (address, node.has, node.leaves)
        });
        text.push('\n');
        text.push_str(&self.draw_nodes(["FROM", "leaves %"], from));
        let to = report.to.iter().map(|node| {
            let address = plain(&node.node.to_string());
            (address, node.gets, node.comes)
        });
        text.push('\n');
        text.push_str(&self.draw_nodes(["TO", "comes %"], to));
        if let Some(flows) = self.draw_flows() {
            text.push('\n');
            text.push_str(&flows);
        }
        text
    }

    fn draw_head(self) -> String {
        let report = self.report;
        let (total, moved) = (report.total(), report.moved());
        let nodes = |number: usize| counted(to_u64(number), "node");
        let from = match &report.from_ring {
            Some(ring) => format!("{ring}, {}", nodes(report.from.len())),
            None => format!("where they were dumped, {}", nodes(report.from.len())),
        };
        let mut rows = vec![
            ("snapshot", fit_start(&plain(self.place), 70)),
            ("from", from),
            (
                "to",
                format!("{}, {}", report.to_ring, nodes(report.to.len())),
            ),
        ];
        if let Some(expression) = &report.selection {
            rows.push(("select", plain(expression)));
            let filtered = counted_with(report.filtered.keys, "record", ["does", "do"]);
            rows.push(("filtered", format!("{filtered} not match")));
        }
        rows.push((
            "keys",
            format!("{}, {}", count(total.keys), size(total.bytes)),
        ));
        rows.push((
            "moves",
            format!(
                "{} ({} %), {} ({} %)",
                counted(moved.keys, "key"),
                share_text(moved.keys, total.keys),
                size(moved.bytes),
                share_text(moved.bytes, total.bytes),
            ),
        ));
        if let Some((keys, bytes)) = report.fullest() {
            let text = format!(
                "fullest {keys:.RATIO_DIGITS$} x average by keys, {bytes:.RATIO_DIGITS$} x by bytes"
            );
            rows.push(("balance", text));
        }
        rows.extend(not_text_row(report.not_text.as_ref()));
        if report.unreadable > 0 {
            let unreadable = counted(report.unreadable, "record");
            let are = verb(report.unreadable, ["is", "are"]);
            let text = format!("{unreadable} cannot be read, and {are} not counted");
            rows.push(("damage", text));
        }
        rows.iter()
            .map(|(label, text)| labelled(label, LABEL_WIDTH, text))
            .collect()
    }

    /// Draws nodes with what they have or get, and what of it moves.
    fn draw_nodes(
        self,
        [heading, moving]: [&str; 2],
        nodes: impl ExactSizeIterator<Item = (String, Amount, Amount)>,
    ) -> String {
        let mut rows = Vec::new();
        let mut others = Vec::new();
        let kept = match nodes.len() {
            number if number <= ROW_COUNT_MAX => number,
            _ => ROW_COUNT_MAX - 1,
        };
        for (number, (address, amount, moved)) in (1_usize..).zip(nodes) {
            let row = NodeRow {
                number: number.to_string(),
                address,
                amount,
                moved,
            };
            if number <= kept {
                rows.push(row);
            } else {
                others.push(row);
            }
        }
        if !others.is_empty() {
            let mut sum = NodeRow {
                number: String::new(),
                address: counted(to_u64(others.len()), "other"),
                amount: Amount::default(),
                moved: Amount::default(),
            };
            for other in others {
                sum.amount.merge(other.amount);
                sum.moved.merge(other.moved);
            }
            rows.push(sum);
        }
        let total = self.report.total();
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|row| Row {
                cells: vec![
                    row.number,
                    fit_start(&row.address, ADDRESS_WIDTH),
                    count(row.amount.keys),
                    share_text(row.amount.keys, total.keys),
                    size(row.amount.bytes),
                    share_text(row.amount.bytes, total.bytes),
                    share_text(row.moved.keys, total.keys),
                ],
                tail: Tail::Empty,
            })
            .collect();
        let right = |heading, width_min| Column {
            heading,
            align: Align::Right,
            width_min,
        };
        let address = Column {
            heading,
            align: Align::Left,
            width_min: 16,
        };
        let columns = [
            right("#", 2),
            address,
            right("keys", 9),
            right("%", 5),
            right("bytes", 9),
            right("%", 5),
            right(moving, 8),
        ];
        draw(&columns, &rows)
    }

    /// Draws what goes where in percent of all keys, where there are few nodes.
    fn draw_flows(self) -> Option<String> {
        let report = self.report;
        let is_small = report.from.len() <= FLOW_SIDE_MAX && report.to.len() <= FLOW_SIDE_MAX;
        let flows = report.flows.as_ref().filter(|_| is_small)?;
        let total = report.total();
        let cell = |from: usize, to: usize| {
            let is_it = |flow: &&Flow| flow.from == from && flow.to == to;
            let keys = flows.iter().find(is_it).map(|flow| flow.amount.keys);
            keys.map_or_else(|| "-".to_owned(), |keys| share_text(keys, total.keys))
        };
        let numbers: Vec<String> = (1..=report.to.len())
            .map(|number| number.to_string())
            .collect();
        let right = |heading, width_min| Column {
            heading,
            align: Align::Right,
            width_min,
        };
        let mut columns = vec![right("FROM\\TO", 7)];
        columns.extend(numbers.iter().map(|number| right(number.as_str(), 5)));
        let rows: Vec<Row> = (0..report.from.len())
            .map(|from| {
                let mut cells = vec![from.saturating_add(1).to_string()];
                cells.extend((0..report.to.len()).map(|to| cell(from, to)));
                Row {
                    cells,
                    tail: Tail::Empty,
                }
            })
            .collect();
        let heading = "% of all keys, by the numbers of the nodes that have and get them";
        Some(format!("{heading}\n{}", draw(&columns, &rows)))
    }

    /// Writes all of it for programs.
    pub(crate) fn to_json(self, finding: &dyn Fn(&Finding) -> Value) -> Result<Value> {
        let report = self.report;
        let total = report.total();
        let moved = report.moved();
        let from = report.from.iter().map(|node| {
            let mut value = amount_json(node.has, total);
            value["node"] = json!(node.address);
            value["leaving"] = amount_json(node.leaves, total);
            value["is_in_to"] = json!(node.stays_as.is_some());
            value
        });
        let to = report.to.iter().map(|node| {
            let mut value = amount_json(node.gets, total);
            value["node"] = json!(node.node.to_string());
            value["coming"] = amount_json(node.comes, total);
            value
        });
        let flow_json = |flow: &Flow| {
            json!({"from": flow.from, "to": flow.to, "keys": flow.amount.keys,
                   "bytes": flow.amount.bytes,
                   "moves": report.from.get(flow.from)
                       .is_some_and(|node| node.stays_as != Some(flow.to))})
        };
        let flows = report.flows.as_ref();
        Ok(json!({
            "schema": "mcsnap.ring-plan/1",
            "snapshot": self.place,
            "select": report.selection,
            "filtered": report.filtered.keys,
            "unknown_kept": report.unknown_kept,
            "not_text": not_text_count(report.not_text.as_ref()),
            "not_text_example": not_text_example(report.not_text.as_ref()),
            "unreadable": report.unreadable,
            "from_ring": report.from_ring.as_ref().map(ToString::to_string),
            "to_ring": report.to_ring.to_string(),
            "total": amount_json(total, total),
            "moving": amount_json(moved, total),
            "fullest_to_average": report.fullest().map(|(keys, bytes)| {
                json!({"keys": rounded(keys), "bytes": rounded(bytes)})
            }),
            "from": from.collect::<Vec<Value>>(),
            "to": to.collect::<Vec<Value>>(),
            "flows": flows.map(|flows| flows.iter().map(flow_json).collect::<Vec<_>>()),
            "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
            "findings_dropped": report.finding_count_dropped,
        }))
    }
}

fn amount_json(amount: Amount, total: Amount) -> Value {
    json!({
        "keys": amount.keys,
        "bytes": amount.bytes,
        "keys_percent": rounded(share(amount.keys, total.keys)),
        "bytes_percent": rounded(share(amount.bytes, total.bytes)),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mcsnap::jobs::ring_plan::{FromNode, ToNode};
    use mcsnap::words::units::UnixSecs;

    use super::*;

    fn amount(keys: u64, bytes: u64) -> Amount {
        Amount { keys, bytes }
    }

    /// Two nodes, one of which is replaced by two.
    fn report() -> ReshardingReport {
        let from = |address: &str, has, leaves, stays_as| FromNode {
            address: address.to_owned(),
            has,
            leaves,
            stays_as,
        };
        let to = |node: &str, gets, comes| ToNode {
            node: node.parse().unwrap(),
            gets,
            comes,
        };
        let flow = |from, to, keys, bytes| Flow {
            from,
            to,
            amount: amount(keys, bytes),
        };
        let nothing = Amount::default();
        ReshardingReport {
            from_ring: None,
            to_ring: "ketama".parse().unwrap(),
            from: vec![
                from("a:11211", amount(1000, 1 << 20), nothing, Some(0)),
                from(
                    "b:11211",
                    amount(1000, 3 << 20),
                    amount(1000, 3 << 20),
                    None,
                ),
            ],
            to: vec![
                to("a", amount(1001, 1 << 20), amount(1, 100)),
                to("c*2", amount(999, 3 << 20), amount(999, 3 << 20)),
                to("d@x", nothing, nothing),
            ],
            flows: Some(vec![
                flow(0, 0, 1000, 1 << 20),
                flow(1, 0, 1, 100),
                flow(1, 1, 999, 3 << 20),
            ]),
            selection: Some("prefix=user:".to_owned()),
            at: UnixSecs(0),
            filtered: amount(5, 50),
            unknown_kept: 0,
            not_text: None,
            unreadable: 7,
            findings: Vec::new(),
            finding_count_dropped: 0,
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn a_small_plan_looks_like_this() {
        let report = report();
        let text = Resharding {
            place: "/backup/night",
            report: &report,
        }
        .to_text();
        let lines = [
            "snapshot  /backup/night",
            "from      where they were dumped, 2 nodes",
            "to        ketama, 3 nodes",
            "select    prefix=user:",
            "filtered  5 records do not match",
            "keys      2,000, 4.0 MiB",
            "moves     1,000 keys (50.0 %), 3.0 MiB (75.0 %)",
            "balance   fullest 1.50 x average by keys, 2.25 x by bytes",
            "damage    7 records cannot be read, and are not counted",
            "",
            " #  FROM                   keys      %      bytes      %  leaves %",
            " 1  a:11211               1,000   50.0    1.0 MiB   25.0       0.0",
            " 2  b:11211               1,000   50.0    3.0 MiB   75.0      50.0",
            "",
            " #  TO                     keys      %      bytes      %   comes %",
            " 1  a:11211               1,001   50.0    1.0 MiB   25.0       0.1",
            " 2  c:11211*2               999   50.0    3.0 MiB   75.0      50.0",
            " 3  d:11211@x                 0    0.0        0 B    0.0       0.0",
            "",
            "% of all keys, by the numbers of the nodes that have and get them",
            "FROM\\TO      1      2      3",
            "      1   50.0      -      -",
            "      2    0.1   50.0      -",
        ];
        assert_eq!(text, lines.map(|line| format!("{line}\n")).concat());
    }
}
