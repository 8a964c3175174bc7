//! `mcsnap dump --warm-file`: a dump of a restart file, without a server.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use mcsnap::engines::discovery::NodeSource;
use mcsnap::jobs::dump::{DumpOptions, Tolerance, WarmFileOptions, WarmFilePlan};
use mcsnap::ports::store::create_directory_as;
use mcsnap::words::units::to_u64;
use serde_json::json;

use crate::commands::dump::args::DumpArgs;
use crate::commands::dump::hints::with_hint;
use crate::commands::dump::plan_report::segments_row;
use crate::commands::dump::report::print_report;
use crate::commands::dump::unfinished::leave_unfinished;
use crate::connect::NodeList;
use crate::context::Context;
use crate::exit::{Outcome, UsageError};
use crate::memory;
use crate::render::record::moment;
use crate::render::{count, counted, given_json, given_rows, print_text, size};
use crate::settings::{DETECT, Format, Given, parse_file_mode, parse_sources, parse_threads};

/// Settings that say how running servers are read.
const OF_SERVERS: [&str; 24] = [
    "latency-bound",
    "full-speed",
    "items-per-second",
    "bytes-per-second",
    "node-items-per-second",
    "node-bytes-per-second",
    "nodes-file",
    "connections",
    "parallel-nodes",
    "spool-memory",
    "spool-dir",
    "timeout",
    "busy-timeout",
    "wait-for-node",
    "allow-partial",
    "resume",
    "walk",
    "tls",
    "tls-ca",
    "tls-cert",
    "tls-key",
    "tls-server-name",
    "auth-file",
    "auth",
];

/// Refuses what means nothing for a file. A layer below the one that names the
/// file may have it, for all the dumps that are none of a file.
pub(super) fn check_settings_of_file(given: &BTreeMap<String, Given>) -> Result<()> {
    if given.get("ring").is_some_and(|ring| ring.value == DETECT) {
        let text = "--ring detect asks running servers; with --warm-file name the ring";
        return Err(UsageError(text.to_owned()).into());
    }
    let origin = given.get("warm-file").map(|given| given.origin);
    let is_meant = |name: &&str| {
        given
            .get(*name)
            .is_some_and(|given| given.value != "false" && Some(given.origin) >= origin)
    };
    if let Some(name) = OF_SERVERS.into_iter().find(is_meant) {
        let text = format!("--{name} is for running servers; with --warm-file leave it out");
        return Err(UsageError(text).into());
    }
    Ok(())
}

/// Reads what are only names, and asks nobody.
pub(super) fn named_nodes(texts: &[String]) -> Result<NodeList> {
    let mut list = NodeList::default();
    for source in parse_sources(texts)? {
        match source {
            NodeSource::Node(node) => list.nodes.push(node),
            NodeSource::Endpoint(_) => return Err(one_name_only()),
        }
    }
    list.origins.resize(list.nodes.len(), None);
    Ok(list)
}

fn one_name_only() -> anyhow::Error {
    let text = "--warm-file reads one file and no server: give no HOST:PORT, or the one that the \
                file is of";
    UsageError(text.to_owned()).into()
}

pub(super) fn warm_file_options(options: DumpOptions, path: &str) -> Result<WarmFileOptions> {
    if options.nodes.len() > 1 {
        return Err(one_name_only());
    }
    Ok(WarmFileOptions {
        path: path.into(),
        node: options.nodes.into_iter().next(),
        name: options.name,
        rings: options.rings,
        segment_size_max: options.segment_size_max,
        segment_record_count_max: options.segment_record_count_max,
        compression: options.compression,
        shard_bits: options.shard_bits,
        thread_count: parse_threads(None)?,
        memory_limit: options.memory_limit,
        selection: options.selection,
    })
}

pub(super) fn run_warm_file(
    context: &Context,
    options: WarmFileOptions,
    to: &str,
    settings: &DumpArgs,
    tolerance: Tolerance,
    given: &BTreeMap<String, Given>,
) -> Result<Outcome> {
    let plan = WarmFilePlan::make(options)?;
    if settings.dry_run == Some(true) {
        print_warm_file_plan(context, &plan, to, given)?;
        return Ok(Outcome::Clean);
    }
    let mode = parse_file_mode(to, settings.file_mode.as_deref())?;
    let store = create_directory_as(to, mode)?;
    let progress = context.progress();
    let ended = plan.run(Arc::clone(&store), &context.cancel, &progress);
    let report = ended.map_err(|error| {
        leave_unfinished(context, &store, &plan.options.name, false, &error);
        with_hint(error, 1)
    })?;
    print_report(context, &report, &[])?;
    Ok(if report.exceeds(tolerance) {
        Outcome::Degraded
    } else {
        Outcome::Clean
    })
}

fn print_warm_file_plan(
    context: &Context,
    plan: &WarmFilePlan,
    to: &str,
    given: &BTreeMap<String, Given>,
) -> Result<()> {
    let (options, meta) = (&plan.options, &plan.meta);
    let class_count = plan.classes.count();
    let smallest = plan.classes.size(1).unwrap_or(0);
    if context.format == Format::Json {
        return context.print_plan(json!({
            "schema": "mcsnap.dump-plan/1",
            "to": to,
            "name": options.name,
            "warm_file": options.path.display().to_string(),
            "node": plan.address(),
            "walk": "warm-file",
            "file_size": meta.file_size,
            "server_started_at": meta.server_started_at().0,
            "stopped_at": meta.stop_time.0,
            "clock_offset_s": meta.clock_offset(),
            "cas": meta.has_cas,
            "item_size_max": meta.item_size_max,
            "page_size": meta.slab_page_size,
            "class_count": class_count,
            "chunk_size_min": smallest,
            "chunk_size_max": meta.slab_chunk_size_max,
            "slab_config": meta.slab_config,
            "compression": options.compression.to_string(),
            "segment_size_max": options.segment_size_max,
            "segment_record_count_max": options.segment_record_count_max,
            "shard_count": 1_u32 << options.shard_bits,
            "thread_count": options.thread_count,
            "memory_max": memory::plan_json(options.memory_limit),
            "settings": given_json(given),
        }));
    }
    let mut rows = vec![
        (
            "snapshot",
            format!("{to}/{} (not made: dry run)", options.name),
        ),
        (
            "node",
            format!(
                "{}  stopped at {}, started at {}",
                plan.address(),
                moment(meta.stop_time),
                moment(meta.server_started_at()),
            ),
        ),
        (
            "file",
            format!(
                "{}  {}, items of {} at most, {}",
                options.path.display(),
                size(meta.file_size),
                size(meta.item_size_max.into()),
                if meta.has_cas {
                    "with CAS"
                } else {
                    "without CAS"
                },
            ),
        ),
        (
            "classes",
            format!(
                "{class_count}, chunks of {} to {} (slab_config {})",
                count(to_u64(smallest)),
                counted(meta.slab_chunk_size_max.into(), "byte"),
                meta.slab_config,
            ),
        ),
        segments_row(
            options.segment_size_max,
            options.segment_record_count_max,
            options.compression,
            options.shard_bits,
        ),
    ];
    rows.extend(given_rows(given));
    print_text(&rows)
}
