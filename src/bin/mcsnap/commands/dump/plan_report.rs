//! What a dry run of a dump prints.

use std::collections::BTreeMap;

use anyhow::Result;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::ring::RingSpec;
use mcsnap::engines::source::{SourceNode, WalkKind};
use mcsnap::jobs::dump::{DumpPlan, Kept, NodePlan};
use mcsnap::ports::net::{Compared, clock_warning};
use mcsnap::words::units::to_u64;
use serde_json::{Value, json};

use crate::brake;
use crate::commands::dump::kept::{kept_text, with_kept};
use crate::commands::dump::space::Space;
use crate::connect::NodeList;
use crate::context::Context;
use crate::memory;
use crate::render::{counted, given_json, given_rows, millis, print_text, size, without_address};
use crate::settings::{Format, Given};

pub(super) fn print_plan(
    context: &Context,
    plan: &DumpPlan,
    kept: Kept,
    to: &str,
    space: Space,
    given: &BTreeMap<String, Given>,
    list: &NodeList,
) -> Result<()> {
    let options = &plan.options;
    if context.format == Format::Json {
        let nodes: Vec<Value> = (0..)
            .zip(&plan.nodes)
            .map(|(index, node)| node_json(node, index, list))
            .collect();
        let document = json!({
            "schema": "mcsnap.dump-plan/1",
            "to": to,
            "name": plan.name(),
            "nodes": nodes,
            "compression": options.compression.to_string(),
            "segment_size_max": options.segment_size_max,
            "segment_record_count_max": options.segment_record_count_max,
            "connection_count": options.connection_count,
            "parallel_node_count": options.parallel_node_count,
            "clock_warnings": plan_clock_warnings(plan),
            "shard_count": 1_u32 << options.shard_bits,
            "spool_memory_max": options.spool_memory_max,
            "memory_max": memory::plan_json(options.memory_limit),
            "timeout_ms": millis(options.net.timeout),
            "ring": RingSpec::to_record(&options.rings),
            "select": (!options.selection.is_everything()).then(|| options.selection.to_string()),
            "resume": options.resume.is_some(),
            "resume_age_max_s": options.resume.map(|resume| resume.age_max.as_secs()),
            "space_wanted_max": space.wanted_max,
            "space_free": space.room.free_bytes,
            "brake": brake::plan_json(options.brake.options()),
            "settings": given_json(given),
        });
        return context.print_plan(with_kept(document, &kept));
    }
    let mut rows = vec![(
        "snapshot",
        format!("{to}/{} (not made: dry run)", plan.name()),
    )];
    if options.resume.is_some() {
        let text = if kept.since.is_some() {
            format!(
                "up to {}; what has changed since is read anew",
                kept_text(&kept)
            )
        } else {
            "nothing: no dump that did not finish has anything to go on with".to_owned()
        };
        rows.push(("kept", text));
    }
    for (index, node) in plan.nodes.iter().enumerate() {
        let origin = list.suffix(index);
        rows.push((
            "node",
            match &node.source {
                Ok(source) => format!(
                    "{}  memcached {}, {}, {}, {}{origin}",
                    node.node.address(),
                    source.server.stats.version_text,
                    counted(source.server.stats.curr_items, "item"),
                    strategy_text(source),
                    counted(to_u64(options.connection_count), "connection"),
                ),
                Err(reason) => {
                    let address = node.node.address();
                    let reason = without_address(reason, &address);
                    format!("{address}  not dumped: {reason}{origin}")
                }
            },
        ));
    }
    rows.extend(
        plan_clock_warnings(plan)
            .into_iter()
            .map(|text| ("warning", text)),
    );
    rows.push(brake::plan_row(options.brake.options()));
    rows.extend(memory::plan_row(options.memory_limit));
    if let Some(ring) = RingSpec::to_record(&options.rings) {
        rows.push(("ring", ring));
    }
    if !options.selection.is_everything() {
        rows.push(("select", options.selection.to_string()));
    }
    rows.push(segments_row(
        options.segment_size_max,
        options.segment_record_count_max,
        options.compression,
        options.shard_bits,
    ));
    rows.push(("space", space.to_text()));
    rows.extend(given_rows(given));
    print_text(&rows)
}

fn node_json(node: &NodePlan, index: usize, list: &NodeList) -> Value {
    match &node.source {
        Ok(SourceNode { server, strategy }) => json!({"node": node.node.address(),
            "from": list.origin(index),
            "server_version": server.stats.version_text,
            "items": server.stats.curr_items,
            "walk": strategy.walk.as_str(),
            "turns_crawler_on": strategy.turns_crawler_on,
            "values": strategy.read_name(),
            "known_gap": strategy.known_gap(),
            "clock_offset_s": server.clock_offset}),
        Err(reason) => json!({"node": node.node.address(), "from": list.origin(index),
            "failure": reason}),
    }
}

/// Says which servers' clocks are far from this host's.
fn plan_clock_warnings(plan: &DumpPlan) -> Vec<String> {
    let answering = plan.nodes.iter().filter_map(|node| {
        let source = node.source.as_ref().ok()?;
        clock_warning(
            &node.node.address(),
            source.server.clock_offset,
            Compared::Now,
        )
    });
    answering.collect()
}

fn strategy_text(source: &SourceNode) -> String {
    let strategy = source.strategy;
    let mut text = format!("walk {}, values by {}", strategy.walk, strategy.read_name());
    if strategy.walk == WalkKind::Cachedump {
        text.push_str(", 2 MiB of keys a slab class at most");
    }
    if strategy.turns_crawler_on {
        text.push_str(", the LRU crawler turned on for it and off again");
    }
    if let Some(gap) = strategy.known_gap() {
        text.push_str(", ");
        text.push_str(gap);
    }
    text
}

pub(super) fn segments_row(
    size_max: u64,
    record_count_max: u64,
    compression: Compression,
    shard_bits: u8,
) -> (&'static str, String) {
    let text = format!(
        "up to {} or {}, {compression}, {} a node",
        size(size_max),
        counted(record_count_max, "record"),
        counted(1_u64 << shard_bits, "shard"),
    );
    ("segments", text)
}
