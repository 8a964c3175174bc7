//! `mcsnap dump`: all items of running servers into a snapshot.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use mcsnap::dump::{DumpOptions, DumpPlan, DumpReport, NodeSource};
use mcsnap::error::{Error, ErrorKind, Location};
use mcsnap::format::manifest::ManifestNode;
use mcsnap::net::NetOptions;
use mcsnap::ring::RingSpec;
use mcsnap::snapshot::{generate_name, parse_name};
use mcsnap::source::WalkKind;
use mcsnap::store::create_directory;
use mcsnap::units::{UnixSecs, percent};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{Given, Resolved, Section};
use crate::context::{Context, Format};
use crate::exit::{HintedError, Outcome, UsageError};
use crate::render::{count, given_json, given_rows, print_json, print_text, seconds, size};
use crate::settings::{
    list, parse_count, parse_duration, parse_nodes, parse_percent, parse_size, switch, text,
};

/// Flags of `mcsnap dump`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct DumpArgs {
    /// Servers to read, in the order of your client's configuration
    #[arg(value_name = "HOST:PORT")]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Directory in which the snapshot gets a directory of its own
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) to: Option<String>,
    /// Name of the snapshot [default: the time and four random digits]
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub(crate) name: Option<String>,
    /// How your client places keys on these servers, for the record
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub(crate) ring: Option<String>,
    /// Connections to a server for values [default: 4]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) connections: Option<String>,
    /// Servers read side by side [default: 8]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) parallel_nodes: Option<String>,
    /// Writers a server, a power of two [default: 2]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) shards: Option<String>,
    /// Most bytes of a segment file [default: 256MiB]
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) segment_size: Option<String>,
    /// Most records of a segment file [default: 500000]
    ///
    /// Bounds the memory of a writer: up to 48 bytes a record.
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) segment_records: Option<String>,
    /// Compression: none, or zstd:LEVEL with 1 to 22 [default: zstd:1]
    #[arg(long, value_name = "KIND")]
    #[serde(deserialize_with = "text")]
    pub(crate) compression: Option<String>,
    /// Bytes of listed keys kept in memory, a server [default: 16MiB]
    ///
    /// What a server lists beyond goes into a nameless temporary file.
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_memory: Option<String>,
    /// Directory of the temporary file [default: that of --to]
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_dir: Option<String>,
    /// Longest time to wait for a server [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) timeout: Option<String>,
    /// Keep a snapshot that lacks a server which failed
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) allow_partial: Option<bool>,
    /// How to list the keys [default: the best for each server]
    ///
    /// One of hash, slabs, slabs:serial and cachedump. `hash` walks the hash table (memcached 1.6.9 and later) and misses nothing.
    /// `slabs` walks the LRU lists in one crawl, as often as it finds more,
    /// `slabs:serial` with a crawl for each slab class (1.4.31 and later).
    /// `cachedump` needs no crawler, and sees 2 MiB of keys a slab class at most.
    #[arg(long, value_name = "KIND")]
    #[serde(deserialize_with = "text")]
    pub(crate) walk: Option<String>,
    /// Percentage of items that may be lost with exit code 0 [default: 0]
    ///
    /// Losses are items that were refused, failed, missing or not listed.
    /// Vanished, expired, duplicate and filtered items are none.
    #[arg(long, value_name = "PERCENT")]
    #[serde(deserialize_with = "text")]
    pub(crate) max_missing: Option<String>,
    /// Ask the servers, print what would be done, and do nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) dry_run: Option<bool>,
    /// Longest time to wait for another crawl to end [default: 90s]
    ///
    /// A server does one crawl of its items at a time, its own included, and
    /// answers BUSY meanwhile; one at its limit of connections is waited for as
    /// long.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) busy_timeout: Option<String>,
}

impl Section for DumpArgs {
    const NAME: Option<&'static str> = Some("dump");
}

pub(crate) fn run(context: &Context, args: &DumpArgs) -> Result<Outcome> {
    let Resolved { settings, given } = context.resolve(args)?;
    let to = settings
        .to
        .as_deref()
        .ok_or_else(|| UsageError("where should the snapshot go? pass --to DIR".to_owned()))?;
    let options = options(&settings, to)?;
    let max_missing = settings
        .max_missing
        .as_deref()
        .map_or(Ok(0.0), parse_percent)?;
    let node_count = options.nodes.len();
    let plan =
        DumpPlan::make(options, &context.cancel).map_err(|error| with_hint(error, node_count))?;
    if settings.dry_run == Some(true) {
        print_plan(context.format, &plan, to, &given)?;
        return Ok(Outcome::Clean);
    }
    let store = create_directory(to)?;
    let progress = context.progress();
    let report = plan
        .run(store, &context.cancel, &progress)
        .map_err(|error| with_hint(error, node_count))?;
    print_report(context.format, &report)?;
    Ok(if report.has_losses_above(max_missing) {
        Outcome::Degraded
    } else {
        Outcome::Clean
    })
}

fn options(settings: &DumpArgs, to: &str) -> Result<DumpOptions> {
    let or = |setting: &Option<String>, default: &str| {
        setting.clone().unwrap_or_else(|| default.to_owned())
    };
    let shards = or(&settings.shards, "2");
    let shard_count = parse_count("shards", &shards, 1, 256)?;
    if !shard_count.is_power_of_two() {
        return Err(
            Error::invalid_input("shards", shards, "wanted a power of two, 1 to 256").into(),
        );
    }
    let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let count = |name, text: &str, most| parse_count(name, text, 1, most).map(to_usize);
    let now = UnixSecs::from_system_time(SystemTime::now());
    Ok(DumpOptions {
        nodes: parse_nodes(&settings.nodes)?,
        name: match &settings.name {
            Some(name) => parse_name(name)?,
            None => generate_name(now),
        },
        ring: settings
            .ring
            .as_deref()
            .map(|ring| ring.parse::<RingSpec>().map(|ring| ring.to_string()))
            .transpose()?,
        segment_size_max: parse_size(
            "segment-size",
            &or(&settings.segment_size, "256MiB"),
            1 << 20,
        )?,
        segment_record_count_max: parse_count(
            "segment-records",
            &or(&settings.segment_records, "500000"),
            1,
            u32::MAX.into(),
        )?,
        compression: or(&settings.compression, "zstd:1").parse()?,
        connection_count: count("connections", &or(&settings.connections, "4"), 256)?,
        parallel_node_count: count("parallel-nodes", &or(&settings.parallel_nodes, "8"), 10_000)?,
        shard_bits: u8::try_from(shard_count.trailing_zeros()).unwrap_or(0),
        spool_memory_max: to_usize(parse_size(
            "spool-memory",
            &or(&settings.spool_memory, "16MiB"),
            1 << 20,
        )?),
        spool_directory: or(
            &settings.spool_dir,
            to.strip_prefix("file://").unwrap_or(to),
        )
        .into(),
        net: NetOptions {
            timeout: parse_duration("timeout", &or(&settings.timeout, "10s"))?,
        },
        is_partial_allowed: settings.allow_partial.unwrap_or(false),
        walk: settings.walk.as_deref().map(str::parse).transpose()?,
        busy_timeout: parse_duration("busy-timeout", &or(&settings.busy_timeout, "90s"))?,
    })
}

/// Adds the flag that helps, where one does.
fn with_hint(error: Error, node_count: usize) -> anyhow::Error {
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    let hint = if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
        "pass another --name"
    } else if is_of_node && node_count > 1 {
        "no snapshot was made; pass --allow-partial to keep what other servers give"
    } else {
        return error.into();
    };
    HintedError { error, hint }.into()
}

fn print_plan(
    format: Format,
    plan: &DumpPlan,
    to: &str,
    given: &BTreeMap<String, Given>,
) -> Result<()> {
    let options = &plan.options;
    if format == Format::Json {
        let nodes: Vec<Value> = plan
            .nodes
            .iter()
            .map(|node| match &node.source {
                Ok(NodeSource { server, strategy }) => json!({"node": node.node.address(),
                    "server_version": server.stats.version_text,
                    "items": server.stats.curr_items,
                    "walk": strategy.walk.as_str(),
                    "turns_crawler_on": strategy.turns_crawler_on,
                    "values": strategy.read_name(),
                    "known_gap": strategy.known_gap(server.stats.version),
                    "clock_offset_s": server.clock_offset}),
                Err(reason) => json!({"node": node.node.address(), "failure": reason}),
            })
            .collect();
        return print_json(&json!({
            "schema": "mcsnap.dump-plan/1",
            "to": to,
            "name": options.name,
            "nodes": nodes,
            "compression": options.compression.to_string(),
            "segment_size_max": options.segment_size_max,
            "segment_record_count_max": options.segment_record_count_max,
            "connection_count": options.connection_count,
            "parallel_node_count": options.parallel_node_count,
            "shard_count": 1_u32 << options.shard_bits,
            "spool_memory_max": options.spool_memory_max,
            "timeout_ms": u64::try_from(options.net.timeout.as_millis())?,
            "settings": given_json(given),
        }));
    }
    let mut rows = vec![(
        "snapshot",
        format!("{to}/{} (not made: dry run)", options.name),
    )];
    for node in &plan.nodes {
        rows.push((
            "node",
            match &node.source {
                Ok(source) => format!(
                    "{}  memcached {}, {} items, {}, {} connections",
                    node.node.address(),
                    source.server.stats.version_text,
                    count(source.server.stats.curr_items),
                    strategy_text(source),
                    options.connection_count,
                ),
                Err(reason) => format!("{}  not dumped: {reason}", node.node.address()),
            },
        ));
    }
    rows.push((
        "segments",
        format!(
            "up to {} or {} records, {}, {} shards a node",
            size(options.segment_size_max),
            count(options.segment_record_count_max),
            options.compression,
            1_u32 << options.shard_bits,
        ),
    ));
    rows.extend(given_rows(given));
    print_text(&rows)
}

fn strategy_text(source: &NodeSource) -> String {
    let strategy = source.strategy;
    let mut text = format!("walk {}, values by {}", strategy.walk, strategy.read_name());
    if strategy.walk == WalkKind::Cachedump {
        text.push_str(", 2 MiB of keys a slab class at most");
    }
    if strategy.turns_crawler_on {
        text.push_str(", the LRU crawler turned on for it and off again");
    }
    if let Some(gap) = strategy.known_gap(source.server.stats.version) {
        text.push_str(", ");
        text.push_str(gap);
    }
    text
}

fn print_report(format: Format, report: &DumpReport) -> Result<()> {
    let manifest = &report.manifest;
    let counters = manifest.counters();
    let totals = manifest.totals;
    if format == Format::Json {
        return print_json(&json!({
            "schema": "mcsnap.dump/1",
            "snapshot": report.place,
            "name": manifest.name,
            "snapshot_id": manifest.snapshot_id,
            "verdict": manifest.verdict,
            "completeness_percent": report.completeness(),
            "records": totals.records,
            "segments": totals.segments,
            "size_bytes": totals.size,
            "key_bytes": totals.key_bytes,
            "value_bytes": totals.value_bytes,
            "content_digest": manifest.content_digest,
            "content_digest_exptime": manifest.content_digest_exptime,
            "listed": counters.listed,
            "stored": counters.stored,
            "vanished": counters.vanished,
            "expired": counters.expired,
            "duplicate": counters.duplicate,
            "refused": counters.refused,
            "failed": counters.failed,
            "missing": counters.missing,
            "unlisted": report.unlisted(),
            "win_tokens_returned": report.win_tokens_returned,
            "nodes": manifest.nodes.iter().map(node_json).collect::<Vec<_>>(),
            "elapsed_ms": u64::try_from(report.elapsed.as_millis())?,
        }));
    }
    let mut rows = vec![(
        "snapshot",
        format!("{} ({})", report.place, manifest.verdict.as_str()),
    )];
    for node in &manifest.nodes {
        rows.push(("node", node_text(node)));
        if node.unlisted > 0 {
            let seen = node.counters.listed;
            let share = percent(seen, seen.saturating_add(node.unlisted));
            let unlisted = count(node.unlisted);
            let reason = "the server counts them, and its listing does not show them";
            let text = format!("{unlisted} items: {reason} ({share:.1} % could be seen)");
            rows.push(("lost", text));
        }
        rows.extend(
            node.reasons
                .iter()
                .map(|(reason, n)| ("lost", format!("{} items: {reason}", count(n)))),
        );
    }
    rows.push((
        "items",
        format!(
            "{} listed: {} stored, {} vanished, {} expired, {} duplicate",
            count(counters.listed),
            count(counters.stored),
            count(counters.vanished),
            count(counters.expired),
            count(counters.duplicate),
        ),
    ));
    rows.push((
        "lost",
        format!(
            "{} refused, {} failed, {} missing, {} not listed ({:.4} % of what should be there is)",
            count(counters.refused),
            count(counters.failed),
            count(counters.missing),
            count(report.unlisted()),
            report.completeness(),
        ),
    ));
    rows.push((
        "size",
        format!(
            "{} in {} segments, for {} of keys and values",
            size(totals.size),
            count(totals.segments),
            size(totals.key_bytes.saturating_add(totals.value_bytes)),
        ),
    ));
    rows.push(("digest", manifest.content_digest.to_string()));
    rows.push(("time", seconds(report.elapsed)));
    print_text(&rows)
}

fn node_text(node: &ManifestNode) -> String {
    match &node.failure {
        Some(failure) => format!(
            "{}  {} items stored, then: {failure}",
            node.address,
            count(node.counters.stored)
        ),
        None => format!(
            "{}  memcached {}, {}, {} items at start, {} at end, {} stored",
            node.address,
            node.server_version,
            node.walk,
            count(node.items_start),
            count(node.items_end),
            count(node.counters.stored),
        ),
    }
}

fn node_json(node: &ManifestNode) -> Value {
    json!({
        "node": node.address,
        "server_version": node.server_version,
        "pid": node.pid,
        "clock_offset_s": node.clock_offset.parse::<i64>().unwrap_or(0),
        "walk": node.walk,
        "items_start": node.items_start,
        "items_end": node.items_end,
        "listed": node.counters.listed,
        "stored": node.counters.stored,
        "vanished": node.counters.vanished,
        "expired": node.counters.expired,
        "duplicate": node.counters.duplicate,
        "refused": node.counters.refused,
        "failed": node.counters.failed,
        "missing": node.counters.missing,
        "unlisted": node.unlisted,
        "reasons": node.reasons,
        "failure": node.failure,
    })
}
