//! An inspection for programs.

use anyhow::Result;
use mcsnap::codecs::format::manifest::ManifestNode;
use mcsnap::codecs::statistics::{LargeValue, Tally};
use mcsnap::jobs::inspect::{
    Bucket, LastVerification, LengthRange, NodeShare, PrefixDepth, WhyKeys,
};
use mcsnap::words::finding::Finding;
use mcsnap::words::item::{Attribute, Exptime, SlabClass, escape_bytes};
use mcsnap::words::units::{UnixSecs, to_f64};
use serde_json::{Map, Value, json};

use crate::commands::inspect::inspection::Inspection;
use crate::render::share::{rounded, share};

impl Inspection<'_> {
    /// Writes all of it for programs.
    pub(super) fn to_json(self, findings: &dyn Fn(&Finding) -> Value) -> Result<Value> {
        let (manifest, report) = (self.manifest, self.report);
        let statistics = &report.statistics;
        let total = &statistics.total;
        let totals = report.totals();
        let value_bytes = totals.tally.value_bytes;
        Ok(json!({
            "schema": "mcsnap.inspect/1",
            "snapshot": {
                "place": self.place,
                "name": manifest.name,
                "snapshot_id": manifest.snapshot_id.to_string(),
                "format_version": {
                    "major": manifest.version.major,
                    "minor": manifest.version.minor,
                },
                "tool": manifest.tool,
                "started_at": manifest.started_at,
                "finished_at": manifest.finished_at,
                "ring": manifest.ring,
                "select": manifest.select,
                "is_one_segment": self.is_lone_segment,
                "verdict": (!self.is_lone_segment).then(|| manifest.verdict.as_str()),
                "content_digest": manifest.content_digest.to_string(),
                "content_digest_exptime": manifest.content_digest_exptime.to_string(),
            },
            "verification": report.verification.as_ref().map(verification_json),
            "at_unix_seconds": report.at.0,
            "select": report.selection.as_ref().map(|expression| json!({
                "expression": expression,
                "kept": total.records,
                "filtered": report.filtered.records,
                "unknown_kept": report.unknown_kept,
            })),
            "is_whole": !report.has_errors(),
            "figures": {
                "are_exact": statistics.is_exact(),
                "segments_by_statistics": report.sources.by_statistics,
                "segments_by_keys": report.sources.by_keys,
                "keys_because_of": report.sources.why_keys.map(WhyKeys::as_str),
            },
            "nodes": self.nodes().map(|(node, share)| node_json(node, share, total))
                .collect::<Vec<_>>(),
            "nodes_not_inspected": report.nodes.iter().filter(|share| share.is_none()).count(),
            "totals": share_json(&totals, total),
            "key_length": length_json(statistics.key_len, totals.tally.key_bytes, total),
            "value_length": length_json(statistics.value_len, value_bytes, total),
            "memory": {
                "has_default_slab_classes": total.has_default_classes(),
                "class_known_records": total.class_records,
                "class_as_default_records": total.chunk_records,
            },
            "key_prefixes": self.key_prefixes_json(),
            "ttl_left": {
                "expired": tally_json(&statistics.ttl.expired, total),
                "buckets": buckets_json(statistics.ttl.left.buckets(), "seconds", total),
                "never": tally_json(&statistics.ttl.never, total),
                "unknown": tally_json(&statistics.ttl.unknown, total),
                "unsure_records": statistics.ttl.unsure,
            },
            "idle": {
                "buckets": buckets_json(statistics.idle.since.buckets(), "seconds", total),
                "unknown": tally_json(&statistics.idle.unknown, total),
                "unsure_records": statistics.idle.unsure,
            },
            "value_size": {
                "buckets": buckets_json(statistics.value_sizes.buckets(), "bytes", total),
                "unsure_records": statistics.value_sizes_unsure,
            },
            "slab_classes": self.slab_classes_json(),
            "client_flags": self.client_flags_json(),
            "marks": self.marks_json(),
            "largest_values": statistics.largest.iter().map(|large| self.large_json(&large))
                .collect::<Vec<_>>(),
            "findings": report.findings.iter().map(findings).collect::<Vec<_>>(),
            "findings_dropped": report.finding_count_dropped,
        }))
    }

    fn key_prefixes_json(self) -> Value {
        let statistics = &self.report.statistics;
        let prefixes = &statistics.key_prefixes;
        let values: Vec<Value> = prefixes
            .rows(&statistics.total)
            .into_iter()
            .map(|row| {
                let name = [
                    ("prefix", json!(escape_bytes(row.prefix))),
                    ("is_rest", json!(row.is_rest)),
                ];
                with_members(name, &row.tally, &statistics.total)
            })
            .collect();
        json!({
            "depth": match prefixes.depth() {
                PrefixDepth::Fitting => Value::Null,
                PrefixDepth::Exactly(depth) => json!(depth),
            },
            "values": values,
            "others": tally_json(&prefixes.others(), &statistics.total),
            "others_item_bytes_max": prefixes.other_max(),
            "missed_item_bytes_max": prefixes.missed_max(),
            "none": tally_json(&prefixes.none, &statistics.total),
        })
    }

    fn slab_classes_json(self) -> Value {
        let statistics = &self.report.statistics;
        let classes = statistics.slab_classes.iter();
        let classes: Vec<Value> = classes
            .map(|(SlabClass(class), tally)| {
                with_members(
                    [
                        ("slab_class", json!(class)),
                        ("mean_bytes", json!(mean(tally.bytes(), tally.records))),
                    ],
                    tally,
                    &statistics.total,
                )
            })
            .collect();
        let unknown = tally_json(&statistics.slab_classes.unknown, &statistics.total);
        json!({"classes": classes, "unknown": unknown})
    }

    fn client_flags_json(self) -> Value {
        let statistics = &self.report.statistics;
        let flags = &statistics.client_flags;
        let values: Vec<Value> = flags
            .values
            .heaviest(&statistics.total)
            .into_iter()
            .map(|(value, tally)| {
                let name = [("client_flags", json!(value.to_string()))];
                with_members(name, tally, &statistics.total)
            })
            .collect();
        json!({
            "values": values,
            "are_exact": flags.unlisted.records == 0,
            "others": tally_json(&flags.others(), &statistics.total),
            "unknown": tally_json(&flags.unknown, &statistics.total),
        })
    }

    fn marks_json(self) -> Value {
        let statistics = &self.report.statistics;
        let total = &statistics.total;
        let marks = Attribute::ALL.into_iter().zip(&statistics.marks);
        let marks = marks.map(|(mark, sums)| {
            let sums = json!({
                "set": tally_json(&sums.set, total),
                "unset": tally_json(&sums.unset, total),
                "unknown": tally_json(&sums.unknown, total),
            });
            (mark.as_str().replace('-', "_"), sums)
        });
        Value::Object(marks.collect())
    }

    fn large_json(self, large: &LargeValue<'_>) -> Value {
        let exptime = match large.meta.exptime {
            None => Value::Null,
            Some(Exptime::Never) => json!("never"),
            Some(Exptime::At(UnixSecs(at))) => json!(at),
        };
        json!({
            "key": escape_bytes(large.key),
            "value_bytes": large.value_len,
            "node": self.address(large),
            "exptime": exptime,
            "last_access": large.meta.last_access.map(|UnixSecs(at)| at),
            "client_flags": large.meta.client_flags.map(|flags| flags.to_string()),
            "slab_class": large.meta.slab_class.map(|SlabClass(class)| class),
        })
    }
}

fn mean(sum: u64, records: u64) -> f64 {
    if records == 0 {
        return 0.0;
    }
    rounded(to_f64(sum) / to_f64(records))
}

fn tally_members(tally: &Tally, total: &Tally) -> [(&'static str, Value); 9] {
    let records_percent = rounded(share(tally.records, total.records));
    let bytes_percent = rounded(share(tally.bytes(), total.bytes()));
    let [memory, whole] = [tally, total].map(|tally| tally.memory_bytes(total));
    let memory_percent = rounded(share(memory, whole));
    [
        ("records", json!(tally.records)),
        ("bytes", json!(tally.bytes())),
        ("key_bytes", json!(tally.key_bytes)),
        ("value_bytes", json!(tally.value_bytes)),
        ("item_bytes", json!(tally.item_bytes)),
        ("memory_bytes", json!(memory)),
        ("records_percent", json!(records_percent)),
        ("bytes_percent", json!(bytes_percent)),
        ("memory_percent", json!(memory_percent)),
    ]
}

fn tally_json(tally: &Tally, total: &Tally) -> Value {
    with_members([], tally, total)
}

/// Writes members, and those of a tally after them.
fn with_members<const N: usize>(
    members: [(&'static str, Value); N],
    tally: &Tally,
    total: &Tally,
) -> Value {
    let all = members.into_iter().chain(tally_members(tally, total));
    Value::Object(all.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn buckets_json(buckets: impl Iterator<Item = Bucket>, unit: &str, total: &Tally) -> Vec<Value> {
    let bounds = |bucket: &Bucket| {
        let mut members = Map::new();
        members.insert(format!("at_least_{unit}"), json!(bucket.at_least));
        members.insert(format!("below_{unit}"), json!(bucket.below));
        members
    };
    buckets
        .map(|bucket| {
            let mut members = bounds(&bucket);
            let tally = tally_members(&bucket.tally, total);
            members.extend(tally.map(|(name, value)| (name.to_owned(), value)));
            Value::Object(members)
        })
        .collect()
}

fn length_json(range: Option<LengthRange>, sum: u64, total: &Tally) -> Value {
    json!({
        "min_bytes": range.map(|range| range.min),
        "mean_bytes": range.map(|_| mean(sum, total.records)),
        "max_bytes": range.map(|range| range.max),
    })
}

fn share_json(share: &NodeShare, total: &Tally) -> Value {
    let storage = share.storage;
    let ratio = |raw: u64, stored: u64| (stored > 0).then(|| rounded(to_f64(raw) / to_f64(stored)));
    with_members(
        [
            ("unreadable_records", json!(share.unreadable)),
            ("size_bytes", json!(storage.size)),
            ("segments", json!(storage.segments)),
            ("blocks", json!(storage.blocks)),
            ("key_section_bytes", json!(storage.key_raw)),
            ("key_section_stored_bytes", json!(storage.key_stored)),
            ("value_section_bytes", json!(storage.value_raw)),
            ("value_section_stored_bytes", json!(storage.value_stored)),
            (
                "key_compression_ratio",
                json!(ratio(storage.key_raw, storage.key_stored)),
            ),
            (
                "value_compression_ratio",
                json!(ratio(storage.value_raw, storage.value_stored)),
            ),
        ],
        &share.tally,
        total,
    )
}

fn verification_json(last: &LastVerification) -> Value {
    let record = &last.record;
    let findings: Map<String, Value> = record
        .findings
        .iter()
        .map(|(code, count)| (code.clone(), count.0.into()))
        .collect();
    json!({
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "depth": record.depth,
        "result": record.result,
        "findings": findings,
        "tool": record.tool,
        "is_of_this_manifest": last.is_of_this_manifest,
    })
}

fn node_json(node: &ManifestNode, share: &NodeShare, total: &Tally) -> Value {
    let mut counters = json!(node.counters);
    // A manifest leaves it out where it is none.
    counters["filtered"] = json!(node.counters.filtered.to_string());
    json!({
        "address": node.address,
        "server_version": node.server_version,
        "items_start": node.items_start,
        "items_end": node.items_end,
        "unlisted": node.unlisted,
        "unsure": node.unsure,
        "counters": counters,
        "reasons": node.reasons.counts(),
        "failure": node.failure,
        "share": share_json(share, total),
    })
}
