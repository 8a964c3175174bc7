//! An inspection for people, on 80 columns.

use crate::commands::inspect::inspection::Inspection;

impl Inspection<'_> {
    /// Draws all of it; no line is longer than 80 columns.
    pub(super) fn to_text(self) -> String {
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
}

#[cfg(test)]
mod tests {
    use mcsnap::codecs::format::column::KeyRecord;
    use mcsnap::codecs::format::manifest::Manifest;
    use mcsnap::codecs::statistics::Tally;
    use mcsnap::jobs::inspect::{
        InspectReport, NodeShare, PrefixDepth, Sources, Statistics, Storage,
    };
    use mcsnap::words::defect::Defect;
    use mcsnap::words::finding::Finding;
    use mcsnap::words::item::{Attribute, Attributes, Exptime, ItemMeta, SlabClass};
    use mcsnap::words::location::Location;
    use mcsnap::words::units::UnixSecs;
    use serde_json::json;

    use super::*;
    use crate::render::table::WIDTH;

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
            sources: Sources {
                by_statistics: 1,
                ..Sources::default()
            },
            selection: None,
            filtered: Tally::default(),
            unknown_kept: 0,
            findings: Vec::new(),
            finding_count_dropped: 0,
            verification: None,
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
}
