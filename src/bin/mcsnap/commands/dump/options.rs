//! From the flags of a dump to the options of its job.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use mcsnap::jobs::dump::{DumpOptions, ResumeOptions, Tolerance};
use mcsnap::ports::host;
use mcsnap::ports::net::{Brake, NetOptions};
use mcsnap::ports::store::is_remote;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::Error;

use crate::commands::dump::args::DumpArgs;
use crate::commands::dump::naming::Naming;
use crate::commands::dump::warm_file::named_nodes;
use crate::connect::NodeList;
use crate::exit::UsageError;
use crate::settings::{
    DETECT, Given, Origin, check_spool_directory, parse_count, parse_duration, parse_percent,
    parse_resume, parse_select, parse_size,
};

/// Takes the name, or what it is made of.
pub(super) fn naming<'a>(
    settings: &'a DumpArgs,
    given: &BTreeMap<String, Given>,
) -> Result<Naming<'a>> {
    let is_local = settings.name_local == Some(true);
    let local = given.get("name-local").filter(|_| is_local);
    // In a file it is meant for the names that have the date.
    let is_local_meant = local.is_some_and(|local| local.origin >= Origin::Flag);
    Naming::new(settings.name.as_deref(), is_local, is_local_meant)
}

/// Reads how much may be missing.
pub(super) fn tolerance(settings: &DumpArgs) -> Result<Tolerance> {
    let percent = |name, setting: &Option<String>| {
        let text = setting.as_deref();
        text.map_or(Ok(0.0), |text| parse_percent(name, text))
    };
    Ok(Tolerance {
        lost_percent: percent("max-missing", &settings.max_missing)?,
        unsure_percent: percent("max-unsure", &settings.max_unsure)?,
    })
}

/// Reads all options of the job, and finds its nodes; those of a file are only named.
pub(super) fn options(
    settings: &DumpArgs,
    given: &BTreeMap<String, Given>,
    to: &str,
    name: String,
    cancel: &Cancel,
) -> Result<(DumpOptions, NodeList)> {
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
    if let Some(directory) = &settings.spool_dir {
        check_spool_directory(directory)?;
    }
    let net = match settings.warm_file {
        Some(_) => {
            // What is wrong is told, though nobody is waited for.
            settings.wait.timeout()?;
            NetOptions::default()
        }
        None => settings.wait.net_options(&settings.connect, given)?,
    };
    let options = DumpOptions {
        nodes: Vec::new(),
        name,
        rings: match settings.ring.as_deref() {
            None | Some(DETECT) => Vec::new(),
            Some(ring) => vec![ring.parse()?],
        },
        segment_size_max: settings.segments.size_max()?,
        segment_record_count_max: settings.segments.record_count_max()?,
        compression: settings.segments.compression()?,
        connection_count: count("connections", &or(&settings.connections, "4"), 256)?,
        parallel_node_count: count("parallel-nodes", &or(&settings.parallel_nodes, "8"), 10_000)?,
        shard_bits: u8::try_from(shard_count.trailing_zeros()).unwrap_or(0),
        spool_memory_max: to_usize(parse_size(
            "spool-memory",
            &or(&settings.spool_memory, "128MiB"),
            1 << 20,
        )?),
        memory_limit: settings.memory.limit()?,
        spool_directory: spool_directory(settings.spool_dir.as_deref(), to),
        net,
        is_partial_allowed: settings.allow_partial.unwrap_or(false),
        walk: settings.walk.as_deref().map(str::parse).transpose()?,
        resume: parse_resume(settings.resume.as_deref().unwrap_or("false"))?.map(|age_max| {
            ResumeOptions {
                age_max,
                // The name decides: see the caller.
                is_any_name: false,
                takes_shard_bits: settings.shards.is_none(),
            }
        }),
        selection: parse_select(&settings.select)?,
        busy_timeout: parse_duration("busy-timeout", &or(&settings.busy_timeout, "90s"))?,
        is_sole: false,
        brake: Brake::new(settings.brake.options(given)?),
    };
    // Last, since it may talk to endpoints: what is wrong by itself is told first.
    let list = match settings.warm_file {
        Some(_) => named_nodes(&settings.nodes)?,
        None => {
            let connect = &settings.connect;
            let list = connect.find_nodes(&settings.nodes, &options.net, cancel)?;
            if list.nodes.is_empty() {
                let text = "which servers? pass HOST:PORT for each, or --nodes-file FILE";
                return Err(UsageError(text.to_owned()).into());
            }
            list
        }
    };
    let nodes = list.nodes.clone();
    Ok((DumpOptions { nodes, ..options }, list))
}

/// Returns where keys go that do not fit in memory: beside the snapshot, unless that is in
/// an object store.
fn spool_directory(chosen: Option<&str>, to: &str) -> PathBuf {
    match chosen {
        Some(directory) => directory.into(),
        None if is_remote(to) => host::temporary_directory(),
        None => to.strip_prefix("file://").unwrap_or(to).into(),
    }
}
