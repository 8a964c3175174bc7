//! From the flags of a restore to the options of its job.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::ring::RingSpec;
use mcsnap::jobs::restore::{BlockOrder, RestoreOptions, TtlClock};
use mcsnap::ports::net::Brake;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::units::UnixSecs;

use crate::commands::restore::args::RestoreArgs;
use crate::connect::NodeList;
use crate::exit::UsageError;
use crate::settings::{
    Given, check_spool_directory, parse_choice, parse_count, parse_moment, parse_select,
    parse_threads, parse_ttl,
};

/// Reads all options of the job, and finds its nodes.
pub(super) fn options(
    settings: &RestoreArgs,
    given: &BTreeMap<String, Given>,
    cancel: &Cancel,
) -> Result<(RestoreOptions, NodeList)> {
    let connect = &settings.connect;
    if settings.to.is_empty() && connect.nodes_file.is_none() {
        return Err(UsageError("which servers? pass --to HOST:PORT,...".to_owned()).into());
    }
    let or = |setting: &Option<String>, default: &str| {
        setting.clone().unwrap_or_else(|| default.to_owned())
    };
    let connections = parse_count("connections", &or(&settings.connections, "4"), 1, 256)?;
    let net = settings.wait.net_options(connect, given)?;
    let now = UnixSecs::from_system_time(SystemTime::now());
    let options = RestoreOptions {
        nodes: Vec::new(),
        ring: settings
            .ring
            .as_deref()
            .map(str::parse::<RingSpec>)
            .transpose()?,
        mode: parse_choice(
            "mode",
            &or(&settings.mode, "add"),
            &[("add", SetMode::Add), ("set", SetMode::Set)],
        )?,
        connection_count: usize::try_from(connections)?,
        thread_count: parse_threads(settings.threads.as_deref())?,
        memory_limit: settings.memory.limit()?,
        net,
        selection: parse_select(&settings.select)?,
        at: settings.at.as_deref().map(parse_moment).transpose()?,
        order: BlockOrder::default(),
        exptime_if_unknown: settings
            .ttl_if_unknown
            .as_deref()
            .map(|ttl| parse_ttl(ttl, now))
            .transpose()?,
        set_protocol: None,
        source_nodes: settings.nodes.clone(),
        scratch_directory: match &settings.spool_dir {
            Some(directory) => {
                check_spool_directory(directory)?;
                directory.into()
            }
            None => std::env::temp_dir(),
        },
        is_partial_allowed: settings.allow_partial.unwrap_or(false),
        only_for: settings
            .only_for
            .iter()
            .map(|node| node.parse())
            .collect::<mcsnap::words::error::Result<_>>()?,
        evictions_max: settings
            .stop_on_evictions
            .as_deref()
            .map(|most| parse_count("stop-on-evictions", most, 0, u64::MAX))
            .transpose()?,
        ttl_clock: parse_choice(
            "clock",
            &or(&settings.clock, "servers"),
            &[("servers", TtlClock::Servers), ("hosts", TtlClock::Hosts)],
        )?,
        brake: Brake::new(settings.brake.options(given)?),
    };
    // Last, since it may talk to endpoints: what is wrong by itself is told first.
    let list = connect.find_nodes(&settings.to, &options.net, cancel)?;
    let nodes = list.nodes.clone();
    Ok((RestoreOptions { nodes, ..options }, list))
}
