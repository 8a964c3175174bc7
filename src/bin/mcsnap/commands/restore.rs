//! `mcsnap restore`: a snapshot into running servers.

use std::collections::BTreeMap;
use std::time::SystemTime;

use anyhow::Result;
use mcsnap::codecs::format::manifest::{Need, Verdict};
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::ring::RingSpec;
use mcsnap::engines::sink::{LoadTally, Presence, Unheld};
use mcsnap::jobs::restore::{
    Capacity, EndedRestore, Fit, LeftOut, NodeEstimate, NodeRestore, RestoreEstimate,
    RestoreOptions, RestorePlan, RestoreReport, TargetNode, TargetPlan, TtlClock, UnheldGroup,
};
use mcsnap::ports::net::{Brake, NetOptions};
use mcsnap::ports::store::MapChoice;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::Error;
use mcsnap::words::location::Location;
use mcsnap::words::node::NodeSpec;
use mcsnap::words::units::{UnixSecs, to_u64};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::brake::{self, BrakeArgs};
use crate::commands::dump::check_spool_directory;
use crate::commands::open_snapshot;
use crate::commands::required_snapshot;
use crate::commands::verify::{parse_map_choice, parse_threads};
use crate::config::{Given, Resolved, Section};
use crate::connect::{ConnectArgs, NodeList};
use crate::consent;
use crate::context::{Context, Format};
use crate::exit::{HintedError, Outcome, UsageError};
use crate::failure::{self, Unfinished};
use crate::reload;
use crate::render::{
    count, counted, counted_with, finding_json, given_json, given_rows, holds_row, lost_text,
    not_text_count, not_text_example, not_text_row, print_text, size, told, unaccounted_row,
    without_address,
};
use crate::settings::{
    SELECT_HELP, SELECT_LONG_HELP, WAIT_FOR_NODE, expressions, list, parse_choice, parse_count,
    parse_duration, parse_moment, parse_select, parse_ttl, parse_wait, ring, switch, text,
};

/// Flags of `mcsnap restore`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RestoreArgs {
    /// Directory of the snapshot, or a segment file
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Servers to fill, in the order of your client's configuration
    ///
    /// HOST[:PORT], unix:PATH, or cfg:HOST[:PORT] for all nodes that the
    /// configuration endpoint of a cluster names.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    #[serde(deserialize_with = "list")]
    pub(crate) to: Vec<String>,
    /// How your client places keys on these servers
    ///
    /// modula, ketama and ketama-weighted as libmemcached does them;
    /// node-for-node keeps each key on the node with the same number. Needed
    /// for more than one server: a wrong guess would hide every key.
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "ring")]
    pub(crate) ring: Option<String>,
    /// add keeps what a server has, set replaces it [default: add]
    #[arg(long, value_name = "MODE")]
    #[serde(deserialize_with = "text")]
    pub(crate) mode: Option<String>,
    /// Connections to a server [default: 4]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) connections: Option<String>,
    /// Threads that read and decompress [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
    /// Longest time to wait for a server [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) timeout: Option<String>,
    /// Ask a server that does not answer at first for so long [default: 30s]
    ///
    /// One that refuses, is silent, has no connection left, or whose name is not
    /// found just now is asked again with growing pauses, all servers side by side.
    /// 0s gives it up at once.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) wait_for_node: Option<String>,
    /// Fill the others if a server cannot be reached
    ///
    /// What belongs to it counts as unsent, a loss. Without this nothing is sent to
    /// any server, unless all can be reached.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) allow_partial: Option<bool>,
    /// Restore the keys of these servers alone, and connect to no other
    ///
    /// --to still names all servers of the ring. A key is restored if the ring of all
    /// of them puts it on one of these servers, and left out otherwise.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    #[serde(deserialize_with = "list")]
    pub(crate) only_for: Vec<String>,
    /// Throw other items out for want of memory without a question
    ///
    /// Before anything is sent, what each server would get is held against the
    /// memory that it has left. Where items would be thrown out, a person at the
    /// terminal is asked; where there is none, this is needed.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) yes: Option<bool>,
    /// Stop when the servers have thrown out more items than so many
    ///
    /// They are asked each second, and it is their own count since the restore began,
    /// whatever was thrown out.
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) stop_on_evictions: Option<String>,
    /// Whose clocks tell how long ago the dump was: servers or hosts [default: servers]
    ///
    /// It matters only where the clocks of a server and of a host do not agree, of
    /// which there is a warning: an item has the time left that it had at the dump,
    /// less the time since.
    #[arg(long, value_name = "WHOSE")]
    #[serde(deserialize_with = "text")]
    pub(crate) clock: Option<String>,
    /// Map files into memory: auto or never [default: auto]
    ///
    /// auto maps files of local file systems only: a mapped file that another
    /// host cuts short ends the program with a signal.
    #[arg(long, value_name = "WHEN")]
    #[serde(deserialize_with = "text")]
    pub(crate) mmap: Option<String>,
    /// Restore what these nodes had, by their addresses in the snapshot
    ///
    /// If several of them had a key, the value of the node where the recorded ring
    /// places the key is restored, or else that of the first one in the snapshot.
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Directory of a temporary file [default: that of the system]
    ///
    /// It has 32 bytes for each key, where the snapshot has several nodes and records
    /// no ring; with one, for each key that is not where that places it.
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_dir: Option<String>,
    /// Print keys and bytes for each server, and send nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) dry_run: Option<bool>,
    #[arg(long, value_name = "EXPRESSION", help = SELECT_HELP, long_help = SELECT_LONG_HELP)]
    #[serde(deserialize_with = "expressions")]
    pub(crate) select: Vec<String>,
    /// See times of --select from this moment [default: the end of the dump]
    ///
    /// now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970. What has
    /// expired is not restored, whatever this says.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) at: Option<String>,
    /// For items whose exptime the snapshot does not tell: a time such as 2h, or
    /// never
    ///
    /// The time begins with the restore. Without it such items are refused:
    /// memcached before 1.2.4 does not tell when its items expire.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) ttl_if_unknown: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) brake: BrakeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl Section for RestoreArgs {
    const NAME: Option<&'static str> = Some("restore");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

pub(crate) fn run(context: &Context, args: &RestoreArgs) -> Result<Outcome> {
    let Resolved { settings, given } = context.resolve(args)?;
    let place = &required_snapshot(settings.snapshot.as_deref())?;
    let (options, list) = options(&settings, &given, &context.cancel)?;
    let map_choice = match settings.dry_run {
        // It looks at keys alone; through a map the kernel would read the
        // values around, too.
        Some(true) => MapChoice::Never,
        _ => parse_map_choice(settings.mmap.as_deref())?,
    };
    let snapshot = open_snapshot(place, map_choice, Need::Restore)?;
    let verdict = snapshot.manifest().verdict;
    let may_take_part = options.nodes.len() > 1 && !options.is_partial_allowed;
    let plan = RestorePlan::make_watched(snapshot, options, &context.cancel, &context.progress())
        .map_err(|error| nothing_sent(error, may_take_part))?;
    if settings.dry_run == Some(true) {
        let estimate = plan.estimate(&context.cancel)?;
        print_estimate(context, place, &plan, estimate, &given, &list)?;
        let is_any_missing = plan.targets.iter().any(is_unreachable);
        return Ok(if estimate.damaged > 0 || is_any_missing {
            Outcome::Degraded
        } else {
            Outcome::Clean
        });
    }
    if !plan.surely_fits() {
        check_capacity(&plan, settings.yes == Some(true), &context.cancel)?;
    }
    let progress = context.progress();
    let brake = &plan.options.brake;
    let read = |resolved: &Resolved<RestoreArgs>| resolved.settings.brake.options(&resolved.given);
    let run = || plan.run_or_report(&context.cancel, &progress);
    let ended = reload::during(context, args, brake, &progress, read, run);
    let EndedRestore { report, error } = ended?;
    context.log().write_findings(&report.findings);
    if let Some(error) = error {
        context.leave(unfinished(place, verdict, &plan, &report, &error));
        return Err(error.into());
    }
    let printed = print_report(context, place, verdict, &plan, &report);
    told(printed, || format!("the restore of {place} has ended"))?;
    Ok(if report.has_losses() {
        Outcome::Degraded
    } else {
        Outcome::Clean
    })
}

/// Adds that no server got anything, and what helps.
fn nothing_sent(error: Error, may_take_part: bool) -> anyhow::Error {
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    // What is wrong for good has words of its own for what to do.
    if !is_of_node || !error.is_retryable() {
        return error.into();
    }
    let hint = if may_take_part {
        "nothing was sent to any server; pass --allow-partial to fill those that can be reached"
    } else {
        "nothing was sent"
    };
    let hint = hint.into();
    HintedError { error, hint }.into()
}

fn is_unreachable(plan: &TargetPlan) -> bool {
    matches!(plan.target, Err(LeftOut::Unreachable(_)))
}

/// Asks before items are thrown out for want of memory.
fn check_capacity(plan: &RestorePlan, is_agreed: bool, cancel: &Cancel) -> Result<()> {
    let estimate = plan.estimate(cancel)?;
    let mut evicting = Vec::new();
    for (target, estimate) in plan.targets.iter().zip(&estimate.nodes) {
        let text = || format!("{}: {}", target.node, memory_text(target, estimate));
        match estimate.capacity.fit {
            Fit::Evicts(_) => evicting.push(text()),
            Fit::Refuses(_) => tracing::warn!("{}", text()),
            Fit::Unknown | Fit::Fits | Fit::Tight => {}
        }
    }
    if evicting.is_empty() {
        return Ok(());
    }
    if is_agreed {
        for text in evicting {
            tracing::warn!("{text}");
        }
        return Ok(());
    }
    let all = evicting.join("\n");
    let question = format!("{all}\nRestore, and let items be thrown out?");
    match consent::ask(&question, cancel)? {
        Some(true) => Ok(()),
        Some(false) => Err(UsageError("nothing was sent".to_owned()).into()),
        None => {
            let all = evicting.join("; ");
            let text = format!("nothing was sent: {all}; pass --yes if that is to be");
            Err(UsageError(text).into())
        }
    }
}

/// Says what the restore is to a node's memory.
fn memory_text(target: &TargetPlan, estimate: &NodeEstimate) -> String {
    let capacity = estimate.capacity;
    let there = target.target.as_ref();
    let there = there.map_or(0, |target| target.server.stats.curr_items);
    let all = there.saturating_add(estimate.keys);
    let verdict = match capacity.fit {
        Fit::Unknown => return "it does not tell how much memory it has".to_owned(),
        Fit::Fits => "fits".to_owned(),
        Fit::Tight => "fits, and hardly any is left".to_owned(),
        Fit::Evicts(items) => format!(
            "would evict about {} of {} there and to come",
            count(items),
            counted(all, "item")
        ),
        Fit::Refuses(items) => format!(
            "would refuse about {} of {} to come, since it evicts nothing (-M)",
            count(items),
            counted(estimate.keys, "item")
        ),
    };
    format!(
        "{} needed, {} of {} free: {verdict}",
        size(capacity.needed),
        size(capacity.free),
        size(capacity.limit)
    )
}

fn memory_json(capacity: Capacity) -> Value {
    let (fit, evicted, refused) = match capacity.fit {
        Fit::Unknown => ("unknown", 0, 0),
        Fit::Fits => ("fits", 0, 0),
        Fit::Tight => ("tight", 0, 0),
        Fit::Evicts(items) => ("evicts", items, 0),
        Fit::Refuses(items) => ("refuses", 0, items),
    };
    let told = |bytes: u64| (capacity.fit != Fit::Unknown).then_some(bytes);
    json!({"fit": fit, "needed": capacity.needed, "free": told(capacity.free),
           "limit": told(capacity.limit), "would_evict": evicted, "would_refuse": refused})
}

fn options(
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
    let timeout = parse_duration("timeout", &or(&settings.timeout, "10s"))?;
    let wait = or(&settings.wait_for_node, WAIT_FOR_NODE);
    let net = NetOptions {
        wait_for_node: parse_wait("wait-for-node", &wait)?,
        ..connect.net_options(given, timeout)?
    };
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
        net,
        selection: parse_select(&settings.select)?,
        at: settings.at.as_deref().map(parse_moment).transpose()?,
        exptime_if_unknown: settings
            .ttl_if_unknown
            .as_deref()
            .map(|ttl| parse_ttl(ttl, now))
            .transpose()?,
        way: None,
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

fn print_estimate(
    context: &Context,
    place: &str,
    plan: &RestorePlan,
    estimate: &RestoreEstimate,
    given: &BTreeMap<String, Given>,
    list: &NodeList,
) -> Result<()> {
    let nodes = || plan.targets.iter().zip(&estimate.nodes).enumerate();
    if context.format == Format::Json {
        let nodes: Vec<Value> = nodes()
            .filter_map(|(index, (plan, estimate))| {
                let mut value = json!({"node": plan.node.to_string(), "from": list.origin(index),
                       "keys": estimate.keys, "bytes": estimate.bytes,
                       "expired": estimate.expired});
                match &plan.target {
                    Ok(TargetNode {
                        server, strategy, ..
                    }) => {
                        value["server_version"] = json!(server.stats.version_text);
                        value["items_now"] = json!(server.stats.curr_items);
                        value["way"] = json!(strategy.way.as_str());
                        value["stored_by"] = json!(strategy.name());
                        value["without_cas"] = json!(estimate.unheld.cas);
                        value["stale_refused"] = json!(estimate.unheld.stale);
                        value["wide_flags_refused"] = json!(estimate.unheld.wide_flags);
                        value["clock_offset_s"] = json!(server.clock_offset);
                        value["memory"] = memory_json(estimate.capacity);
                    }
                    Err(LeftOut::Unreachable(error)) => value["failure"] = json!(error.to_chain()),
                    Err(LeftOut::NotMeant) => return None,
                }
                Some(value)
            })
            .collect();
        return context.print_plan(json!({
            "schema": "mcsnap.restore-plan/1",
            "snapshot": place,
            "select": select_json(plan),
            "only_for": only_for_json(plan),
            "clock_warnings": plan.clock_warnings,
            "filtered": estimate.filtered,
            "duplicates": estimate.duplicates,
            "unknown_kept": estimate.unknown_kept,
            "not_text": not_text_count(estimate.not_text.as_ref()),
            "not_text_example": not_text_example(estimate.not_text.as_ref()),
            "nodes": nodes,
            "cannot_hold": estimate.unheld.iter().map(unheld_json).collect::<Vec<_>>(),
            "damaged": estimate.damaged,
            "findings": estimate.findings.iter().map(finding_json).collect::<Vec<_>>(),
            "brake": brake::plan_json(plan.options.brake.options()),
            "settings": given_json(given),
        }));
    }
    let mut rows = vec![("snapshot", format!("{place} (nothing sent: dry run)"))];
    rows.extend(select_rows(plan, estimate.filtered, estimate.unknown_kept));
    if estimate.duplicates > 0 {
        let doubles = counted(estimate.duplicates, "record");
        let text = format!("{doubles} of keys that are restored from another node");
        rows.push(("duplicate", text));
    }
    rows.extend(only_for_row(plan));
    for (index, (target, estimate)) in nodes() {
        let (node, origin) = (&target.node, list.suffix(index));
        let keys = counted(estimate.keys, "key");
        match &target.target {
            Ok(TargetNode {
                server, strategy, ..
            }) => {
                let text = format!(
                    "{node}  {keys}, {}; {} expired; memcached {} with {} now; stored by: \
                     {}{origin}",
                    size(estimate.bytes),
                    count(estimate.expired),
                    server.stats.version_text,
                    counted(server.stats.curr_items, "item"),
                    strategy.name(),
                );
                rows.push(("node", text));
                let text = format!("{node}  {}", memory_text(target, estimate));
                rows.push(("memory", text));
            }
            Err(LeftOut::Unreachable(error)) => {
                let reason = error.to_reason();
                let text = format!("{node}  {keys} would not be sent: {reason}{origin}");
                rows.push(("node", text));
            }
            Err(LeftOut::NotMeant) => {}
        }
    }
    rows.extend(clock_rows(
        plan,
        estimate.nodes.iter().map(|node| node.expired).sum(),
    ));
    rows.extend(
        estimate
            .unheld
            .iter()
            .map(|lacking| ("note", lacking.to_string())),
    );
    rows.push(brake::plan_row(plan.options.brake.options()));
    rows.extend(not_text_row(estimate.not_text.as_ref()));
    rows.extend(damage_rows(estimate.damaged, &estimate.findings));
    rows.extend(given_rows(given));
    print_text(&rows)
}

fn only_for_json(plan: &RestorePlan) -> Value {
    let only_for = plan.options.only_for.iter().map(NodeSpec::address);
    let only_for: Vec<String> = only_for.collect();
    json!((!only_for.is_empty()).then_some(only_for))
}

/// Says so where not all of the ring's nodes are filled.
fn only_for_row(plan: &RestorePlan) -> Option<(&'static str, String)> {
    let is_left_out = |plan: &&TargetPlan| matches!(plan.target, Err(LeftOut::NotMeant));
    let others = to_u64(plan.targets.iter().filter(is_left_out).count());
    let others = Some(others).filter(|&others| others > 0)?;
    let asked = counted_with(others, "other server", ["was", "were"]);
    let named: Vec<String> = plan
        .options
        .only_for
        .iter()
        .map(NodeSpec::address)
        .collect();
    let text = format!("{}; {asked} not asked", named.join(", "));
    Some(("only for", text))
}

/// Says whose clocks do not agree, and what comes of it.
fn clock_rows(plan: &RestorePlan, expired: u64) -> impl Iterator<Item = (&'static str, String)> {
    let is_doubtful = expired > 0
        && !plan.clock_warnings.is_empty()
        && plan.options.ttl_clock == TtlClock::Servers;
    let count = counted_with(expired, "record", ["counts", "count"]);
    let doubt = is_doubtful.then(|| {
        format!(
            "{count} as expired by the servers' clocks, which do not agree with the hosts'; if \
             those are right, --clock hosts restores what has not expired by them"
        )
    });
    let warnings = plan.clock_warnings.iter().cloned().chain(doubt);
    warnings.map(|warning| ("warning", warning))
}

fn unheld_json(group: &UnheldGroup) -> Value {
    let what = match group.what {
        Unheld::Cas => "cas",
        Unheld::StaleMark => "stale-mark",
        Unheld::WideFlags => "wide-client-flags",
    };
    json!({"what": what, "why": group.why, "records": group.records, "nodes": group.nodes})
}

fn select_json(plan: &RestorePlan) -> Value {
    let selection = &plan.options.selection;
    json!((!selection.is_everything()).then(|| selection.to_string()))
}

/// Says what was selected, by the dump and now, if it was not all.
fn select_rows(plan: &RestorePlan, filtered: u64, unknown: u64) -> Vec<(&'static str, String)> {
    let selection = &plan.options.selection;
    let holds = holds_row(plan.snapshot.manifest().select.as_deref());
    let mut rows: Vec<_> = holds.into_iter().collect();
    if selection.is_everything() {
        return rows;
    }
    rows.push(("select", selection.to_string()));
    let filtered = counted_with(filtered, "record", ["does", "do"]);
    rows.push(("filtered", format!("{filtered} not match")));
    if unknown > 0 {
        let why = "the servers did not tell what --select asks";
        rows.push((
            "note",
            format!(
                "{} kept: {why}",
                counted_with(unknown, "record", ["is", "are"])
            ),
        ));
    }
    rows
}

fn damage_rows(
    damaged: u64,
    findings: &[mcsnap::words::finding::Finding],
) -> Vec<(&'static str, String)> {
    let mut rows: Vec<_> = findings
        .iter()
        .map(|finding| ("damage", finding.to_string()))
        .collect();
    if damaged > 0 {
        let damaged = counted_with(damaged, "record", ["is", "are"]);
        rows.push(("lost", format!("{damaged} damaged")));
    }
    rows
}

fn tally_json(tally: &LoadTally) -> Value {
    json!({
        "taken": tally.taken,
        "stored": tally.stored,
        "stored_bytes": tally.stored_bytes,
        "existing": tally.existing,
        "expired": tally.expired,
        "too_large": tally.too_large,
        "refused": tally.refused,
        "failed": tally.failed,
        "unsent": tally.unsent,
        "unsure": tally.unsure,
        "not_kept": tally.not_kept,
        "clamped": tally.clamped,
        "without_cas": tally.without_cas,
        "reasons": tally.reasons,
    })
}

fn presence_json(seen: Presence) -> Value {
    let (share, least, most) = seen.share_gone();
    json!({"looked": seen.looked, "gone": seen.gone, "is_all": seen.is_all,
           "share_gone": share, "share_gone_least": least, "share_gone_most": most})
}

/// Says what was found of stored keys at the end, where it was looked.
fn presence_row(node: &NodeRestore) -> Option<(&'static str, String)> {
    let seen = node.presence?;
    let looked = count(seen.looked);
    let (share, least, most) = seen.share_gone();
    let percent = |share: f64| format!("{:.1}", share * 100.0);
    if seen.looked == 0 {
        let text = format!(
            "{}  the node has thrown items out, and does not say whether stored keys are still there",
            node.node
        );
        return Some(("unsure", text));
    }
    Some(match (seen.gone, seen.is_all) {
        (0, true) => (
            "note",
            format!("{}  all {looked} stored keys are still there", node.node),
        ),
        (0, false) => (
            "note",
            format!(
                "{}  all of a sample of {looked} stored keys are still there: at most {} % of all are \
                 gone",
                node.node,
                percent(most)
            ),
        ),
        (gone, true) => (
            "lost",
            format!(
                "{}  {} of {looked} stored keys are gone, evicted or deleted since",
                node.node,
                count(gone)
            ),
        ),
        (gone, false) => (
            "lost",
            format!(
                "{}  {} of a sample of {looked} stored keys are gone: about {} % ({}-{} %), evicted or \
                 deleted since",
                node.node,
                count(gone),
                percent(share),
                percent(least),
                percent(most)
            ),
        ),
    })
}

/// Says which items were too large, and what to do.
fn too_large_row(node: &NodeRestore) -> Option<(&'static str, String)> {
    let tally = &node.tally;
    let keys: Vec<String> = tally
        .too_large_keys
        .iter()
        .map(|key| format!("\"{key}\""))
        .collect();
    let what = match tally.too_large {
        0 => return None,
        1 => "1 record is larger than an item of this node may be".to_owned(),
        many => format!(
            "{} records are larger than an item of this node may be",
            count(many)
        ),
    };
    Some((
        "lost",
        format!(
            "{what}, {} (memcached's option -I), such as {}",
            size(node.item_size_max),
            keys.join(", ")
        ),
    ))
}

/// Says so where the nodes had some of the keys, or all of them.
fn existing_text(report: &RestoreReport) -> String {
    let totals = report.totals();
    let there = match totals.existing {
        1 => "1 key was there already, and keeps its value".to_owned(),
        keys => format!(
            "{} keys were there already, and keep their values",
            count(keys)
        ),
    };
    match totals.stored {
        0 => format!("nothing restored: {there}; --mode set replaces them"),
        _ => format!("restored; {there}"),
    }
}

/// Says how many records were left out for those of other nodes.
fn duplicates_text(duplicates: u64) -> String {
    match duplicates {
        0 => String::new(),
        duplicates => format!(
            ", {} left out for another node's (where the recorded ring looks, else the first)",
            count(duplicates)
        ),
    }
}

/// Says that the servers threw out more than they may.
fn evictions_text(report: &RestoreReport) -> String {
    let items = counted_with(report.evicted(), "item", ["was", "were"]);
    let most = count(report.evictions_max.unwrap_or(0));
    let cause = format!("{items} evicted, more than --stop-on-evictions {most}");
    if report.is_stopped {
        format!("stopped: {cause}")
    } else {
        format!("restored, but {cause}")
    }
}

/// Says in a few words how a restore went.
fn verdict(snapshot_verdict: Verdict, report: &RestoreReport) -> String {
    if report.has_evicted_too_many() {
        return evictions_text(report);
    }
    let words = match (report.has_losses(), snapshot_verdict) {
        (true, _) if report.totals().stored == 0 && report.totals().unsure == 0 => {
            "nothing restored, with losses"
        }
        (true, _) => "restored, with losses",
        (false, _) if report.is_all_expired() => {
            return match report.totals().expired {
                1 => "nothing restored: the only record has expired".to_owned(),
                all => format!("nothing restored: all {} records have expired", count(all)),
            };
        }
        (false, verdict) if report.totals().existing > 0 => {
            let lack = match verdict {
                Verdict::Complete => "",
                Verdict::Unsure => "; the dump may have missed items",
                Verdict::Lossy => "; the dump had lost items",
                Verdict::Partial => "; the dump lacked a server",
            };
            return existing_text(report) + lack;
        }
        (false, Verdict::Complete) if report.filtered > 0 => "restored, as selected",
        (false, Verdict::Complete) => "restored, complete",
        (false, Verdict::Unsure) => "all of it restored, but the dump may have missed items",
        (false, Verdict::Lossy) => "all of it restored, but the dump had lost items",
        (false, Verdict::Partial) => "all of it restored, but the dump lacked a server",
    };
    words.to_owned()
}

/// The report for programs.
fn document(
    place: &str,
    snapshot_verdict: Verdict,
    plan: &RestorePlan,
    report: &RestoreReport,
) -> Value {
    let totals = report.totals();
    let nodes: Vec<Value> = report
        .nodes
        .iter()
        .map(|node| {
            let mut value = tally_json(&node.tally);
            value["node"] = json!(node.node.to_string());
            value["evicted"] = json!(node.evicted);
            value["presence"] = json!(node.presence.map(presence_json));
            value["too_large_keys"] = json!(node.tally.too_large_keys);
            value["item_size_max"] = json!(node.item_size_max);
            value["items_end"] = json!(node.items_end);
            value["failure"] = json!(node.failure);
            value["clock_offset_s"] = json!(node.clock_offset);
            value
        })
        .collect();
    let mut document = tally_json(&totals);
    document["unsent"] = json!(totals.unsent.saturating_add(report.unsent));
    document["stopped"] = json!(report.is_stopped);
    document["only_for"] = only_for_json(plan);
    document["clock_warnings"] = json!(plan.clock_warnings);
    document["schema"] = json!("mcsnap.restore/1");
    document["snapshot"] = json!(place);
    document["snapshot_verdict"] = json!(snapshot_verdict.as_str());
    document["records"] = json!(report.records);
    document["select"] = select_json(plan);
    document["filtered"] = json!(report.filtered);
    document["duplicates"] = json!(report.duplicates);
    document["unknown_kept"] = json!(report.unknown_kept);
    document["not_text"] = json!(not_text_count(report.not_text.as_ref()));
    document["not_text_example"] = json!(not_text_example(report.not_text.as_ref()));
    document["damaged"] = json!(report.damaged);
    document["unaccounted"] = json!(report.unaccounted());
    document["evicted"] = json!(report.evicted());
    document["verdict"] = json!(verdict(snapshot_verdict, report));
    document["has_losses"] = json!(report.has_losses());
    document["nodes"] = json!(nodes);
    document["brake"] = brake::report_json(&plan.options.brake.reports());
    let findings: Vec<Value> = report.findings.iter().map(finding_json).collect();
    document["findings"] = json!(findings);
    let unheld: Vec<Value> = report.unheld.iter().map(unheld_json).collect();
    document["cannot_hold"] = json!(unheld);
    document
}

/// Makes the report of a restore that ended early.
fn unfinished(
    place: &str,
    snapshot_verdict: Verdict,
    plan: &RestorePlan,
    report: &RestoreReport,
    error: &Error,
) -> Unfinished {
    // What nobody came to has no outcome, and that is no bug.
    let not_sent = report.records.saturating_sub(report.accounted());
    let mut document = document(place, snapshot_verdict, plan, report);
    document["not_sent"] = json!(not_sent);
    document["unaccounted"] = json!(0);
    let verdict = failure::verdict(Some(error.kind()));
    let head = format!("{verdict}: {} not sent", counted(not_sent, "record"));
    Unfinished {
        document,
        rows: rows(place, &head, plan, report, false),
    }
}

/// Says what became of a node's records. A node that was not asked at the end has no
/// number of items.
fn node_text(node: &NodeRestore, is_asked_at_end: bool) -> String {
    let now = match node.items_end {
        Some(items) => format!("; {} now", counted(items, "item")),
        None if is_asked_at_end => "; items now unknown".to_owned(),
        None => String::new(),
    };
    let evicted = node.evicted.filter(|&evicted| evicted > 0);
    let evicted =
        evicted.map(|evicted| format!("; {} of any items evicted meanwhile", count(evicted)));
    let address = node.node.address();
    let failure = node.failure.as_ref();
    let failure = failure.map(|failure| format!("; {}", without_address(failure, &address)));
    format!(
        "{}  {} stored, {}; {} existing{now}{}{}",
        node.node,
        count(node.tally.stored),
        size(node.tally.stored_bytes),
        count(node.tally.existing),
        evicted.unwrap_or_default(),
        failure.unwrap_or_default(),
    )
}

/// Says so where nobody knows whether the node has some records.
fn unsure_row(node: &NodeRestore) -> Option<(&'static str, String)> {
    let unsure = Some(node.tally.unsure).filter(|&unsure| unsure > 0)?;
    let sent = counted_with(unsure, "record", ["was", "were"]);
    let text = format!(
        "{}  {sent} sent and not answered: the node went away, and may have any of them",
        node.node
    );
    Some(("unsure", text))
}

fn print_report(
    context: &Context,
    place: &str,
    snapshot_verdict: Verdict,
    plan: &RestorePlan,
    report: &RestoreReport,
) -> Result<()> {
    let document = document(place, snapshot_verdict, plan, report);
    context.print_report(document, || {
        let verdict = verdict(snapshot_verdict, report);
        let mut rows = rows(place, &verdict, plan, report, true);
        rows.extend(unaccounted_row(report.unaccounted(), "records"));
        rows
    })
}

fn rows(
    place: &str,
    verdict: &str,
    plan: &RestorePlan,
    report: &RestoreReport,
    is_asked_at_end: bool,
) -> Vec<(&'static str, String)> {
    let totals = report.totals();
    let mut rows = vec![("snapshot", format!("{place} ({verdict})"))];
    rows.extend(select_rows(plan, report.filtered, report.unknown_kept));
    rows.extend(only_for_row(plan));
    for node in &report.nodes {
        rows.push(("node", node_text(node, is_asked_at_end)));
        rows.extend(unsure_row(node));
        rows.extend(too_large_row(node));
        rows.extend(
            node.tally
                .reasons
                .iter()
                .map(|(reason, n)| ("lost", format!("{}: {reason}", counted(n, "record")))),
        );
        if node.tally.not_kept > 0 {
            let not_kept = counted(node.tally.not_kept, "record");
            let why = "the node said that it stored them, and does not count them as stored";
            rows.push(("lost", format!("{not_kept}: {why}")));
        }
        rows.extend(presence_row(node));
    }
    rows.extend(brake::report_rows(&plan.options.brake.reports()));
    rows.push((
        "records",
        format!(
            "{} in the snapshot: {} stored, {} existing, {} expired{}",
            count(report.records),
            count(totals.stored),
            count(totals.existing),
            count(totals.expired),
            duplicates_text(report.duplicates),
        ),
    ));
    let is_gone_again = report
        .nodes
        .iter()
        .any(|node| node.presence.is_some_and(|seen| seen.gone > 0));
    let losses = [
        (totals.too_large, "too large"),
        (totals.refused, "refused"),
        (totals.failed, "failed"),
        (totals.unsent.saturating_add(report.unsent), "unsent"),
        (totals.not_kept, "not kept"),
        (report.damaged, "damaged"),
    ];
    let lost = lost_text(&losses);
    rows.push((
        "lost",
        match (is_gone_again, losses.iter().all(|(number, _)| *number == 0)) {
            (false, _) => lost,
            (true, true) => "stored keys that are gone again, above".to_owned(),
            (true, false) => format!("{lost}; and stored keys that are gone again, above"),
        },
    ));
    // What was stored lacks its CAS; where nothing was, there is nothing to note.
    let is_seen = |lacking: &&UnheldGroup| totals.stored > 0 || lacking.what != Unheld::Cas;
    let unheld = report.unheld.iter().filter(is_seen);
    rows.extend(unheld.map(|lacking| ("note", lacking.to_string())));
    rows.extend(clock_rows(plan, totals.expired));
    if totals.clamped > 0 {
        let clamped = counted_with(totals.clamped, "record", ["expires", "expire"]);
        rows.push((
            "note",
            format!(
                "{clamped} in 2038, or in 2106 by the binary protocol: earlier than the dump says"
            ),
        ));
    }
    rows.extend(not_text_row(report.not_text.as_ref()));
    rows.extend(damage_rows(0, &report.findings));
    rows
}
