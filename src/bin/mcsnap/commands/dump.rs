//! `mcsnap dump`: all items of running servers into a snapshot.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::format::manifest::{Manifest, ManifestNode, Need, Verdict};
use mcsnap::codecs::ring::RingSpec;
use mcsnap::engines::discovery::NodeSource;
use mcsnap::engines::snapshot::{
    LATEST, SnapshotReader, can_resume, check_not_finished, count_sealed,
};
use mcsnap::engines::source::{SourceNode, WalkKind};
use mcsnap::jobs::dump::{
    DumpOptions, DumpPlan, DumpReport, Kept, ResumeOptions, Tolerance, WarmFileOptions,
    WarmFilePlan,
};
use mcsnap::jobs::ring_detect::SampleOptions;
use mcsnap::ports::net::{
    Brake, BrakeReport, Compared, NetOptions, ask_all, clock_warning, meet_server,
};
use mcsnap::ports::store::{
    Room, ScratchFile, Store, create_directory, create_directory_as, look_at_room,
};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::defect::Defect;
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::location::Location;
use mcsnap::words::node::NodeSpec;
use mcsnap::words::units::to_u64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::brake::{self, BrakeArgs};
use crate::commands::clock_warnings;
use crate::commands::ring::detect::{KEYS_PER_NODE, find_contradiction, find_rings};
use crate::commands::verify::parse_threads;
use crate::config::{Given, Origin, Resolved, Section};
use crate::connect::{ConnectArgs, NodeList};
use crate::context::{Context, Format};
use crate::exit::{HintedError, Outcome, UsageError, access_hint};
use crate::naming::Naming;
use crate::reload;
use crate::render::record::moment;
use crate::render::share::share_text;
use crate::render::unfinished::UnfinishedDump;
use crate::render::{
    count, counted, counted_with, given_json, given_rows, holds_row, items_text, lost_text, millis,
    print_text, size, span, told, unaccounted_row, without_address,
};
use crate::settings::{
    DETECT, SELECT_HELP, SELECT_LONG_HELP, WAIT_FOR_NODE, expressions, list, parse_count,
    parse_duration, parse_file_mode, parse_percent, parse_resume, parse_select, parse_size,
    parse_sources, parse_wait, ring_or_detect, switch, text,
};

/// Flags of `mcsnap dump`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct DumpArgs {
    /// Servers to read, in the order of your client's configuration
    ///
    /// HOST[:PORT], unix:PATH, or cfg:HOST[:PORT] for all nodes that the
    /// configuration endpoint of a cluster names.
    #[arg(value_name = "HOST:PORT")]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Directory in which the snapshot gets a directory of its own
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) to: Option<String>,
    /// Name of the snapshot [default: the time and four random digits]
    ///
    /// %F stands for the date, %H%M for the time, and so on, as in strftime, in
    /// UTC: night-%F.
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "text")]
    pub(crate) name: Option<String>,
    /// Fill the pattern of --name with local time, not UTC
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) name_local: Option<bool>,
    /// How your client places keys on these servers, for the record; or detect
    ///
    /// With detect, a thousand keys of each server show which ring explains where
    /// they lie. None is recorded where that is not certain; see mcsnap ring
    /// detect. Of a ring that is named, as many keys of the snapshot show whether
    /// it is the one: a warning says how many lie elsewhere.
    #[arg(long, value_name = "RING")]
    #[serde(deserialize_with = "ring_or_detect")]
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
    /// Bytes of listed keys kept in memory, of all servers together [default: 128MiB]
    ///
    /// A short key takes about 10. What is above half of it goes into a nameless
    /// temporary file as fast as that takes it; where it does not, and all is full,
    /// a walk is given up and done again in parts.
    #[arg(long, value_name = "BYTES")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_memory: Option<String>,
    /// Directory of the temporary file [default: that of --to]
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_dir: Option<String>,
    /// Permissions of new files, such as 640 for a group [default: 600]
    ///
    /// Three octal digits: 6 for the owner, and 0, 4 or 6 for the group and for
    /// others. Who may read the files may enter the directories, too.
    #[arg(long, value_name = "MODE")]
    #[serde(deserialize_with = "text")]
    pub(crate) file_mode: Option<String>,
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
    /// Keep a snapshot that lacks a server which failed
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) allow_partial: Option<bool>,
    /// Go on with a dump that did not finish, if one began in the last 6h, or in AGE
    ///
    /// It looks for an unfinished dump with the given --name, or without one for a
    /// dump of the same servers in --to. What that dump sealed is kept if its servers
    /// still have it as it was, by CAS and exptime. If it is older, or its servers were
    /// restarted or flushed since, the dump starts anew, with a warning. AGE is a time
    /// such as 90m, 12h or 7d; without one it is 6h.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "AGE")]
    #[serde(deserialize_with = "text")]
    pub(crate) resume: Option<String>,
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
    /// Percentage of items that may be unsure with exit code 0 [default: 0]
    ///
    /// Unsure is what the counts of a server leave open: an item may have been
    /// there and was not listed. It happens where items are set or removed while the
    /// LRU lists are walked, before memcached 1.6.9, and where a server cannot be
    /// made to reclaim what has expired.
    #[arg(long, value_name = "PERCENT")]
    #[serde(deserialize_with = "text")]
    pub(crate) max_unsure: Option<String>,
    /// Ask the servers, print what would be done, and do nothing
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) dry_run: Option<bool>,
    #[arg(long, value_name = "EXPRESSION", help = SELECT_HELP, long_help = SELECT_LONG_HELP)]
    #[serde(deserialize_with = "expressions")]
    pub(crate) select: Vec<String>,
    /// Read no server, but the restart file (-e) of a stopped one
    ///
    /// Its .meta must be beside it, as a stop with SIGUSR1 leaves it. HOST:PORT,
    /// if given, is then only the name of the node in the snapshot.
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "text")]
    pub(crate) warm_file: Option<String>,
    /// Longest time to wait for another crawl to end [default: 90s]
    ///
    /// A server does one crawl of its items at a time, its own included, and
    /// answers BUSY meanwhile; one at its limit of connections is waited for as
    /// long.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) busy_timeout: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) brake: BrakeArgs,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl Section for DumpArgs {
    const NAME: Option<&'static str> = Some("dump");
    const ARGUMENTS: &'static [&'static str] = &["nodes"];
}

pub(crate) fn run(context: &Context, args: &DumpArgs) -> Result<Outcome> {
    let Resolved { settings, given } = context.resolve(args)?;
    let to = settings
        .to
        .as_deref()
        .ok_or_else(|| UsageError("where should the snapshot go? pass --to DIR".to_owned()))?;
    if Path::new(to).file_name().is_some_and(|last| last == LATEST) {
        let text = format!("--to {to}: that name stands for the newest snapshot of a directory");
        return Err(UsageError(text).into());
    }
    if settings.warm_file.is_some() {
        check_settings_of_file(&given)?;
    }
    let is_local = settings.name_local == Some(true);
    let local = given.get("name-local").filter(|_| is_local);
    // In a file it is meant for the names that have the date.
    let is_local_meant = local.is_some_and(|local| local.origin >= Origin::Flag);
    let naming = Naming::new(settings.name.as_deref(), is_local, is_local_meant)?;
    let room = look_at_room(to)?;
    let (mut options, list) = options(&settings, &given, to, naming.fill()?, &context.cancel)?;
    options.is_sole = naming.is_sole();
    if let Some(resume) = &mut options.resume {
        resume.is_any_name = naming.is_sole();
    }
    if let Some(store) = open_if_there(to)? {
        let checked = check_not_finished(&*store, &options.name);
        checked.map_err(|error| naming.with_hint(error))?;
    }
    let percent = |name, setting: &Option<String>| {
        let text = setting.as_deref();
        text.map_or(Ok(0.0), |text| parse_percent(name, text))
    };
    let mode = parse_file_mode(settings.file_mode.as_deref())?;
    let tolerance = Tolerance {
        lost_percent: percent("max-missing", &settings.max_missing)?,
        unsure_percent: percent("max-unsure", &settings.max_unsure)?,
    };
    if let Some(path) = &settings.warm_file {
        let options = warm_file_options(options, path)?;
        return run_warm_file(context, options, to, &settings, tolerance, &given);
    }
    let node_count = options.nodes.len();
    if settings.ring.as_deref() == Some(DETECT) {
        await_nodes(&options, context).map_err(|error| with_hint(error, node_count))?;
        options.rings = find_recorded_rings(&options, &context.cancel)?;
    }
    let (rings, nodes) = (options.rings.clone(), options.nodes.clone());
    let plan = DumpPlan::make_watched(options, &context.cancel, &context.progress())
        .map_err(|error| with_hint(error, node_count))?;
    let plan = match open_if_there(to)? {
        Some(store) => plan.settle(&store)?,
        None => plan,
    };
    let failed = |store: &dyn Store, error: Error| {
        let hint = resume_hint(&error, store, &plan);
        match hint {
            Some(hint) => HintedError {
                error,
                hint: hint.into(),
            }
            .into(),
            None => with_hint(error, node_count),
        }
    };
    let space = Space::new(&plan, room);
    space.warn(to);
    if settings.dry_run == Some(true) {
        let kept = match open_if_there(to)? {
            Some(store) => plan
                .preview(Arc::clone(&store))
                .map_err(|error| failed(&*store, error))?,
            None => Kept::default(),
        };
        print_plan(context, &plan, kept, to, space, &given, &list)?;
        return Ok(Outcome::Clean);
    }
    let store = create_directory_as(to, mode)?;
    let progress = context.progress();
    let brake = &plan.options.brake;
    let run = || plan.run(Arc::clone(&store), &context.cancel, &progress);
    let read = |resolved: &Resolved<DumpArgs>| resolved.settings.brake.options(&resolved.given);
    let ended = reload::during(context, args, brake, &progress, read, run);
    let report = ended.map_err(|error| {
        let kept = resumable_name(&error, &*store, &plan);
        let name = kept.unwrap_or_else(|| plan.name());
        leave_unfinished(context, &store, name, kept.is_some(), &error);
        failed(&*store, error)
    })?;
    if settings.ring.as_deref() != Some(DETECT) {
        check_recorded_ring(store, &report.manifest, &rings, &nodes, &context.cancel);
    }
    print_report(context, &report, &brake.reports())?;
    Ok(if report.exceeds(tolerance) {
        Outcome::Degraded
    } else {
        Outcome::Clean
    })
}

fn options(
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
    let timeout = parse_duration("timeout", &or(&settings.timeout, "10s"))?;
    let net = match settings.warm_file {
        Some(_) => NetOptions::default(),
        None => NetOptions {
            wait_for_node: parse_wait(
                "wait-for-node",
                &or(&settings.wait_for_node, WAIT_FOR_NODE),
            )?,
            ..settings.connect.net_options(given, timeout)?
        },
    };
    let options = DumpOptions {
        nodes: Vec::new(),
        name,
        rings: match settings.ring.as_deref() {
            None | Some(DETECT) => Vec::new(),
            Some(ring) => vec![ring.parse()?],
        },
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
            &or(&settings.spool_memory, "128MiB"),
            1 << 20,
        )?),
        spool_directory: or(
            &settings.spool_dir,
            to.strip_prefix("file://").unwrap_or(to),
        )
        .into(),
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

/// Waits for nodes that may come, before their keys are looked at: a ring that cannot
/// be found since a node was away for a moment would be missing from the record.
fn await_nodes(options: &DumpOptions, context: &Context) -> Result<(), Error> {
    let (net, nodes) = (&options.net, &options.nodes);
    let are_all_needed = !options.is_partial_allowed;
    let progress = context.progress();
    let ask = |node: &NodeSpec, stop: &Cancel| meet_server(node, net, stop);
    ask_all(nodes, are_all_needed, net, &context.cancel, &progress, ask).map(drop)
}

/// Finds the ring for the record. A dump does not fail for want of it.
fn find_recorded_rings(options: &DumpOptions, cancel: &Cancel) -> Result<Vec<RingSpec>> {
    if options.nodes.len() < 2 {
        tracing::info!("no ring is recorded: one node needs none");
        return Ok(Vec::new());
    }
    let reason = match find_rings(&options.nodes, &sample_options(options), cancel) {
        Ok(Ok(rings)) => return Ok(rings),
        Ok(Err(reason)) => reason,
        Err(error) => {
            cancel.check()?;
            format!("{error:#}")
        }
    };
    tracing::warn!("no ring is recorded: {reason}");
    Ok(Vec::new())
}

/// Warns of a ring that the keys contradict, now that they are there: no server is
/// asked for them once more. The user may know better, so it is recorded.
fn check_recorded_ring(
    store: Arc<dyn Store>,
    manifest: &Manifest,
    rings: &[RingSpec],
    nodes: &[NodeSpec],
    cancel: &Cancel,
) {
    let [ring] = rings else {
        return;
    };
    // Of a server that is missing nobody knows which keys it has.
    if nodes.len() < 2 || ring.is_node_for_node() || manifest.verdict == Verdict::Partial {
        return;
    }
    let contradiction = SnapshotReader::open(store, &manifest.name, Need::Read)
        .map_err(anyhow::Error::from)
        .and_then(|snapshot| find_contradiction(ring, &snapshot, nodes, cancel));
    match contradiction {
        Ok(Some(contradiction)) => tracing::warn!("{contradiction}"),
        Ok(None) => {}
        // The dump is what it is.
        Err(error) => {
            tracing::info!("whether the keys lie where {ring} puts them is not known: {error:#}");
        }
    }
}

/// Says how some keys of each server are listed.
fn sample_options(options: &DumpOptions) -> SampleOptions {
    SampleOptions {
        count_per_node: KEYS_PER_NODE,
        walk: options.walk,
        net: options.net.clone(),
        busy_timeout: options.busy_timeout,
    }
}

/// Makes a temporary file as a walk may need one hours later.
pub(crate) fn check_spool_directory(directory: &str) -> Result<()> {
    if let Err(error) = ScratchFile::create(Path::new(directory)) {
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        // No setting is wrong where a disk is full, and a retry may help.
        if cause.is_some_and(|cause: &io::Error| cause.kind() == io::ErrorKind::StorageFull) {
            return Err(error.into());
        }
        let reason = cause.map(ToString::to_string).unwrap_or_default();
        let allowed = format!("no temporary file can be made in it: {reason}");
        return Err(Error::invalid_input("spool-dir", directory, allowed).into());
    }
    Ok(())
}

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
fn check_settings_of_file(given: &BTreeMap<String, Given>) -> Result<()> {
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
fn named_nodes(texts: &[String]) -> Result<NodeList> {
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

fn warm_file_options(options: DumpOptions, path: &str) -> Result<WarmFileOptions> {
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
        selection: options.selection,
    })
}

fn run_warm_file(
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
    let mode = parse_file_mode(settings.file_mode.as_deref())?;
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

/// Leaves a report of what was done of a dump that ended early.
fn leave_unfinished(
    context: &Context,
    store: &Arc<dyn Store>,
    name: &str,
    is_kept: bool,
    error: &Error,
) {
    // What was refused before it began has nothing to report.
    if context.watch().job().is_none() {
        return;
    }
    let sealed = || {
        let counted = count_sealed(&**store, name).inspect_err(|error| {
            tracing::info!("what is kept is not known: {}", error.to_chain());
        });
        counted.ok()
    };
    let unfinished = UnfinishedDump {
        place: store.describe(name),
        name,
        nodes: context.watch().nodes(),
        kept: is_kept.then(sealed).flatten(),
    };
    context.leave(unfinished.report(error.kind()));
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

/// Adds the flag that helps, where one does.
fn with_hint(error: Error, node_count: usize) -> anyhow::Error {
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    let hint = if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
        "pass another --name; it may have the date: night-%F"
    } else if *error.kind() == ErrorKind::Busy {
        "pass a longer --busy-timeout to wait for it"
    } else if access_hint(error.kind()).is_some() {
        return error.into();
    } else if is_of_node && node_count > 1 {
        "no snapshot was made; pass --allow-partial to keep what other servers give"
    } else {
        return error.into();
    };
    let hint = hint.into();
    HintedError { error, hint }.into()
}

/// Returns the name under which a dump that failed can go on, if it can.
fn resumable_name<'a>(error: &Error, store: &dyn Store, plan: &'a DumpPlan) -> Option<&'a str> {
    let is_resumed = plan.options.resume.is_some();
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    // After other errors nothing is kept, unless that was asked for.
    let may_be_kept = is_resumed
        || is_of_node
        || matches!(
            error.kind(),
            ErrorKind::Canceled
                | ErrorKind::AlreadyExists { .. }
                | ErrorKind::Internal { .. }
                | ErrorKind::Corrupt(Defect::SegmentMissing)
        );
    // Where the old dump was of no use, the new one has the name that was asked for.
    let mut names = [plan.options.name.as_str(), plan.name()].into_iter();
    names
        .find(|name| can_resume(store, name))
        .filter(|_| may_be_kept && can_go_on(error))
}

/// Says how a dump that failed can go on, or what to do where it cannot.
fn resume_hint(error: &Error, store: &dyn Store, plan: &DumpPlan) -> Option<String> {
    let is_resumed = plan.options.resume.is_some();
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    if let Some(name) = resumable_name(error, store, plan) {
        let what = match count_sealed(store, name) {
            Ok(sealed) if is_of_node && sealed.segments > 0 => format!(
                "{} of {}",
                counted(sealed.records, "record"),
                counted(sealed.nodes, "server")
            ),
            Ok(_) | Err(_) => "it".to_owned(),
        };
        let or_partial = if is_of_node && plan.nodes.len() > 1 {
            ", or --allow-partial for a snapshot of what other servers give"
        } else {
            ""
        };
        let hint = format!("pass --resume --name {name} to go on with {what}{or_partial}");
        return Some(hint);
    }
    let is_journal = |place: &str| place.ends_with("dump.json");
    let hint = match (error.kind(), error.location()) {
        (ErrorKind::Corrupt(_), Some(Location::Object { object, .. })) if is_journal(object) => {
            "pass another --name to start anew, or make a snapshot of what is there by mcsnap salvage"
        }
        (ErrorKind::Corrupt(_), _) => "move the file away, and its items are read again",
        _ => return None,
    };
    is_resumed.then(|| hint.to_owned())
}

/// Says whether the same command can do more than it did.
fn can_go_on(error: &Error) -> bool {
    // What was removed is read again.
    let is_segment_missing = *error.kind() == ErrorKind::Corrupt(Defect::SegmentMissing);
    is_segment_missing
        || !matches!(
            error.kind(),
            ErrorKind::Locked { .. }
                | ErrorKind::Superseded { .. }
                | ErrorKind::InvalidInput { .. }
                | ErrorKind::Corrupt(_)
        )
}

/// Opens the directory of snapshots, and makes none.
fn open_if_there(to: &str) -> Result<Option<Arc<dyn Store>>> {
    if !Path::new(to.strip_prefix("file://").unwrap_or(to)).is_dir() {
        return Ok(None);
    }
    Ok(Some(create_directory(to)?))
}

/// Says what was done, or would be, before this run.
fn kept_text(kept: &Kept) -> String {
    let segments = counted(kept.segments, "segment");
    let records = counted(kept.records, "record");
    let since = kept.since.map_or_else(String::new, |(began_at, age)| {
        let (began_at, age) = (moment(began_at), span(age));
        format!(" that began at {began_at}, {age} before this run")
    });
    let mut text = format!("{records} in {segments} of a dump{since}");
    if kept.dropped_records > 0 {
        let dropped = counted_with(kept.dropped_records, "record", ["is", "are"]);
        text.push_str(&format!(
            "; {dropped} not kept, since some of their segments have changed or gone, or may have"
        ));
    }
    if kept.unconfirmed_records > 0 {
        let unconfirmed = counted(kept.unconfirmed_records, "record");
        text.push_str(&format!(
            "; {unconfirmed} of these are of a server that failed, which may not have them any more"
        ));
    }
    text
}

/// What of a report for programs is about an earlier run.
fn kept_json(kept: &Kept) -> Value {
    json!({
        "kept_segments": kept.segments,
        "kept_records": kept.records,
        "kept_began_at": kept.since.map(|(began_at, _)| moment(began_at)),
        "kept_age_s": kept.since.map(|(_, age)| age.as_secs()),
        "kept_unconfirmed_records": kept.unconfirmed_records,
        "dropped_records": kept.dropped_records,
    })
}

fn print_plan(
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
        let nodes: Vec<Value> = plan
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| match &node.source {
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
            })
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
        return context.print_plan(joined(document, kept_json(&kept)));
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

/// What a dump may take of a disk, and what is there.
#[derive(Clone, Copy, Debug)]
struct Space {
    /// Bytes, if nothing could be compressed; also of what is not selected.
    wanted_max: u64,
    /// Bytes, if a good guess is right; none where there is nothing to guess by.
    wanted: Option<u64>,
    room: Room,
}

impl Space {
    fn new(plan: &DumpPlan, room: Room) -> Self {
        let wanted_max = plan.byte_count();
        // zstd makes half of most values; who warns every night is not heard.
        let wanted = match plan.options.compression {
            Compression::None => wanted_max,
            Compression::Zstd { .. } => wanted_max / 2,
        };
        Self {
            wanted_max,
            wanted: plan.options.selection.is_everything().then_some(wanted),
            room,
        }
    }

    fn warn(self, to: &str) {
        if let (Some(wanted), Some(free)) = (self.wanted, self.room.free_bytes)
            && free < wanted
        {
            tracing::warn!(
                "{to} has {} free, and the servers' items take {} in memory: they may not fit",
                size(free),
                size(self.wanted_max),
            );
        }
    }

    fn to_text(self) -> String {
        let wanted = format!(
            "{} at most, if nothing can be compressed",
            size(self.wanted_max)
        );
        match self.room.free_bytes {
            Some(free) => format!("{wanted}; {} free", size(free)),
            None => format!("{wanted}; how much is free is not known"),
        }
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

fn segments_row(
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

fn print_report(context: &Context, report: &DumpReport, braked: &[BrakeReport]) -> Result<()> {
    let mut document = document(report);
    document["brake"] = brake::report_json(braked);
    let printed = context.print_report(document, || rows(report, braked));
    told(printed, || {
        let verdict = report.manifest.verdict.as_str();
        format!("snapshot {} is there ({verdict})", report.place)
    })
}

/// The report for programs.
fn document(report: &DumpReport) -> Value {
    let manifest = &report.manifest;
    let counters = manifest.counters();
    let totals = manifest.totals;
    let document = json!({
        "schema": "mcsnap.dump/1",
        "snapshot": report.place,
        "name": manifest.name,
        "snapshot_id": manifest.snapshot_id,
        "verdict": manifest.verdict,
        "completeness_percent": (manifest.verdict != Verdict::Partial)
            .then(|| report.completeness()),
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
        "filtered": counters.filtered,
        "ring": manifest.ring,
        "select": manifest.select,
        "refused": counters.refused,
        "failed": counters.failed,
        "missing": counters.missing,
        "unlisted": manifest.unlisted(),
        "unsure": manifest.unsure(),
        "unknown_kept": report.unknown_kept,
        "unsettled": report.unsettled,
        "walks_given_up": report.walks_given_up,
        "unaccounted": report.unaccounted,
        "win_tokens_returned": report.win_tokens_returned,
        "win_tokens_kept": report.win_tokens_kept,
        "clock_warnings": clock_warnings(manifest),
        "nodes": manifest.nodes.iter().map(node_json).collect::<Vec<_>>(),
    });
    joined(document, kept_json(&report.kept))
}

fn failed_servers(manifest: &Manifest) -> u64 {
    let failed = manifest.nodes.iter().filter(|node| node.failure.is_some());
    to_u64(failed.count())
}

/// Says how much of what should be there is.
fn complete_text(report: &DumpReport) -> String {
    let manifest = &report.manifest;
    let failed = failed_servers(manifest);
    if failed > 0 {
        let servers = counted(failed, "failed server");
        return format!("not known: nobody can tell what else {servers} had");
    }
    let at_least = if manifest.unsure() > 0 {
        "at least "
    } else {
        ""
    };
    let percent = floored(report.completeness());
    format!("{at_least}{percent} % of what should be there")
}

/// Puts the members of two documents together.
fn joined(mut document: Value, other: Value) -> Value {
    if let (Value::Object(members), Value::Object(others)) = (&mut document, other) {
        members.extend(others);
    }
    document
}

fn rows(report: &DumpReport, braked: &[BrakeReport]) -> Vec<(&'static str, String)> {
    let manifest = &report.manifest;
    let counters = manifest.counters();
    let totals = manifest.totals;
    let mut rows = vec![(
        "snapshot",
        format!("{} ({})", report.place, manifest.verdict.as_str()),
    )];
    if report.kept.since.is_some() {
        rows.push(("kept", kept_text(&report.kept)));
    }
    for node in &manifest.nodes {
        rows.push(("node", node_text(node)));
        if node.unlisted > 0 {
            // Each key once, however many walks have shown it.
            let seen = node.counters.listed.saturating_sub(node.counters.duplicate);
            let share = share_text(seen, seen.saturating_add(node.unlisted));
            let unlisted = counted(node.unlisted, "item");
            let reason = "the server counts them, and its listing does not show them";
            let text = format!("{unlisted}: {reason} ({share} % could be seen)");
            rows.push(("lost", text));
        }
        if node.unsure > 0 {
            let unsure = count(node.unsure);
            let known = node.counters.stored.saturating_add(node.losses());
            let share = share_text(node.unsure, known.saturating_add(node.unsure));
            let text = format!(
                "up to {unsure} more items may have been there ({share} %): the server counts them, \
                 and they may as well have expired, or been set, removed or in use while it listed \
                 its keys; --max-unsure accepts that"
            );
            rows.push(("unsure", text));
        }
        rows.extend(
            node.reasons
                .iter()
                .map(|(reason, n)| ("lost", format!("{}: {reason}", counted(n, "item")))),
        );
    }
    rows.extend(
        clock_warnings(manifest)
            .into_iter()
            .map(|text| ("warning", text)),
    );
    rows.extend(brake::report_rows(braked));
    if let Some(ring) = &manifest.ring {
        rows.push(("ring", ring.clone()));
    }
    rows.extend(holds_row(manifest.select.as_deref()));
    if report.unknown_kept > 0 {
        let unknown = counted(report.unknown_kept, "item");
        let text = format!("{unknown} kept though the servers do not tell what --select asks");
        rows.push(("select", text));
    }
    if report.win_tokens_kept > 0 {
        let tokens = count(report.win_tokens_kept);
        let text = format!(
            "{tokens} stale items are not made again by a client before they expire: reading them \
             took their win token, and the server did not take it back"
        );
        rows.push(("stale", text));
    }
    for node in &report.walks_given_up {
        let text = format!(
            "{node}: the first one was given up, since the disk of the spool did not keep up; the \
             keys were listed once more, by slab classes"
        );
        rows.push(("walks", text));
    }
    if report.unsettled > 0 {
        let unsettled = counted(report.unsettled, "item");
        let reason = "items are added faster than the lists are walked";
        let text = format!("{unsettled} first seen in the last walk: {reason}");
        rows.push(("walks", text));
    }
    rows.extend(unaccounted_row(report.unaccounted, "items"));
    rows.push(("items", items_text(manifest.select.is_some(), &counters)));
    let losses = [
        (counters.refused, "refused"),
        (counters.failed, "failed"),
        (counters.missing, "missing"),
        (manifest.unlisted(), "not listed"),
    ];
    let failed = failed_servers(manifest);
    let lost = match (failed, losses.iter().all(|(number, _)| *number == 0)) {
        (0, _) => lost_text(&losses),
        (_, true) => format!("all else that {} had", counted(failed, "failed server")),
        (_, false) => format!(
            "{}, and all else that {} had",
            lost_text(&losses),
            counted(failed, "failed server")
        ),
    };
    rows.push(("lost", lost));
    rows.push(("complete", complete_text(report)));
    rows.push((
        "size",
        format!(
            "{} in {}, for {} of keys and values",
            size(totals.size),
            counted(totals.segments, "segment"),
            size(totals.key_bytes.saturating_add(totals.value_bytes)),
        ),
    ));
    rows.push(("digest", manifest.content_digest.to_string()));
    rows
}

/// Writes a percentage with four digits, and never 100 for less than all.
fn floored(percent: f64) -> String {
    format!("{:.4}", (percent * 1e4).floor() / 1e4)
}

fn node_text(node: &ManifestNode) -> String {
    match &node.failure {
        Some(failure) => format!(
            "{}  {} stored, then: {}",
            node.address,
            counted(node.counters.stored, "item"),
            without_address(failure, &node.address)
        ),
        None if node.server_version.is_empty() => format!(
            "{}  stopped server, {} in its file, {} stored",
            node.address,
            counted(node.items_start, "item"),
            count(node.counters.stored),
        ),
        None => format!(
            "{}  memcached {}, {}, {} at start, {} at end, {} stored",
            node.address,
            node.server_version,
            node.walk,
            counted(node.items_start, "item"),
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
        "filtered": node.counters.filtered,
        "refused": node.counters.refused,
        "failed": node.counters.failed,
        "missing": node.counters.missing,
        "unlisted": node.unlisted,
        "unsure": node.unsure,
        "reasons": node.reasons,
        "failure": node.failure,
    })
}
