//! `mcsnap ring detect`: which ring explains where keys lie.

use std::path::Path;

use anyhow::Result;
use mcsnap::cancel::Cancel;
use mcsnap::detection::{
    DetectionReport, KeySample, SampleOptions, detect, sample_nodes, sample_snapshot,
};
use mcsnap::format::manifest::Need;
use mcsnap::item::escape_bytes;
use mcsnap::node::NodeSpec;
use mcsnap::ring::{Explanation, NodeChange, RingSpec, Sureness};
use mcsnap::source::WalkKind;
use mcsnap::store::MapChoice;
use mcsnap::units::{percent, to_u64};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::commands::open_snapshot;
use crate::config::{Resolved, Section};
use crate::connect::ConnectArgs;
use crate::context::{Context, Format};
use crate::exit::{Outcome, UsageError};
use crate::render::{count, print_findings, print_json, print_text};
use crate::settings::{list, parse_count, parse_duration, text};

/// Strays that are named in a report for people, and for programs.
const STRAYS_SHOWN: usize = 3;
const STRAYS_LISTED: usize = 100;

/// Flags of `mcsnap ring detect`.
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct RingDetectArgs {
    /// All servers of the cluster, in the order of your client's configuration
    ///
    /// host[:port][=ip][*weight][@label], as your client has them: rings hash
    /// names. Where the ring goes by their order alone, any order is enough.
    #[arg(value_name = "NODE")]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// Take the keys from a snapshot instead; then NODE is not needed
    #[arg(long, value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Most keys of each server to look at [default: 1000]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) sample: Option<String>,
    /// Longest wait for a server's answer [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) timeout: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl Section for RingDetectArgs {
    const NAME: Option<&'static str> = Some("ring-detect");
}

pub(crate) fn run(context: &Context, args: &RingDetectArgs) -> Result<Outcome> {
    let Resolved { settings, given } = context.resolve(args)?;
    let sample_size = settings.sample.as_deref().unwrap_or("1000");
    let sample_size = usize::try_from(parse_count("sample", sample_size, 1, 1_000_000)?)?;
    let timeout = parse_duration("timeout", settings.timeout.as_deref().unwrap_or("10s"))?;
    refuse_directories(&settings.nodes)?;
    let net = settings.connect.net_options(&given, timeout)?;
    let found = settings
        .connect
        .find_nodes(&settings.nodes, &net, &context.cancel)?;
    let sample = match &settings.snapshot {
        Some(place) => {
            let snapshot = open_snapshot(place, MapChoice::Never, Need::Read)?;
            sample_snapshot(&snapshot, &found.nodes, sample_size, &context.cancel)?
        }
        None => {
            let options = sample_options(sample_size, net, timeout, None);
            sample_nodes(&found.nodes, &options, &context.cancel)?
        }
    };
    let report = detect(&sample);
    match context.format {
        Format::Json => print_json(&document(&sample, &report))?,
        Format::Text => print_text(&rows(&sample, &report))?,
    }
    print_findings(&sample.findings, 0);
    Ok(
        match (report.explanations.is_empty(), sample.findings.is_empty()) {
            (true, _) => Outcome::NotFound,
            (false, false) => Outcome::Degraded,
            (false, true) => Outcome::Clean,
        },
    )
}

/// A ring for the record of a dump, found in its servers' keys; none, and why, if
/// no ring is certain, or several are.
pub(crate) fn find_ring(
    nodes: &[NodeSpec],
    options: &SampleOptions,
    cancel: &Cancel,
) -> Result<std::result::Result<RingSpec, String>> {
    let report = detect(&sample_nodes(nodes, options, cancel)?);
    let total = count(to_u64(report.sightings.len()));
    let Some(best) = report.explanations.first() else {
        return Ok(Err(format!("no ring explains where {total} keys lie")));
    };
    if best.sureness != Sureness::Certain {
        let share = percent(best.agreeing, to_u64(report.sightings.len()));
        return Ok(Err(format!(
            "{} explains where {share:.1} % of {total} keys lie, which is not enough",
            best.ring
        )));
    }
    if best.nodes != nodes {
        let nodes: Vec<String> = best.nodes.iter().map(ToString::to_string).collect();
        return Ok(Err(format!(
            "{} explains where keys lie, but for the nodes written {}",
            best.ring,
            nodes.join(",")
        )));
    }
    Ok(Ok(best.ring.clone()))
}

/// Returns the options for a sample of so many keys of each node.
pub(crate) fn sample_options(
    count_per_node: usize,
    net: mcsnap::net::NetOptions,
    busy_timeout: std::time::Duration,
    walk: Option<WalkKind>,
) -> SampleOptions {
    SampleOptions {
        count_per_node,
        walk,
        net,
        busy_timeout,
    }
}

/// The path of a snapshot looks like that of a socket.
fn refuse_directories(nodes: &[String]) -> Result<(), UsageError> {
    match nodes.iter().find(|node| Path::new(node).is_dir()) {
        Some(path) => Err(UsageError(format!(
            "node \"{path}\": a directory; for a snapshot pass --snapshot {path}"
        ))),
        None => Ok(()),
    }
}

fn document(sample: &KeySample, report: &DetectionReport) -> Value {
    let nodes: Vec<Value> = sample
        .named
        .iter()
        .zip(sample.counts())
        .map(|(node, keys)| json!({"node": node.to_string(), "sampled": keys}))
        .collect();
    let found: Vec<Value> = report
        .explanations
        .iter()
        .map(|found| explanation_json(sample, report, found))
        .collect();
    json!({
        "schema": "mcsnap.ring-detect/1",
        "nodes": nodes,
        "sampled": report.sightings.len(),
        "found": found,
        "findings": sample.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn explanation_json(sample: &KeySample, report: &DetectionReport, found: &Explanation) -> Value {
    let sampled = to_u64(report.sightings.len());
    let strays: Vec<Value> = strays(sample, report, found)
        .take(STRAYS_LISTED)
        .map(|(key, on, belongs)| json!({"key": key, "on": on, "belongs_to": belongs}))
        .collect();
    json!({
        "ring": found.ring.to_string(),
        "client": found.ring.preset().client,
        "nodes": texts(&found.nodes),
        "changes": found.changes.iter().map(|change| change_words(*change)).collect::<Vec<_>>(),
        "sure": found.sureness.as_str(),
        "sampled": sampled,
        "agreeing": found.agreeing,
        "share": percent(found.agreeing, sampled) / 100.0,
        "by_chance": found.by_chance,
        "same_as": texts(&found.same),
        "strays": sampled.saturating_sub(found.agreeing),
        "stray_keys": strays,
    })
}

fn texts(list: &[impl ToString]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Returns each stray: the key, the node that has it, and the one that should.
fn strays<'a>(
    sample: &'a KeySample,
    report: &'a DetectionReport,
    found: &'a Explanation,
) -> impl Iterator<Item = (String, String, String)> + 'a {
    let node = |index: usize| {
        sample
            .named
            .get(index)
            .map_or_else(String::new, NodeSpec::address)
    };
    found.strays().filter_map(move |(number, wanted)| {
        let sighting = report.sightings.get(number)?;
        Some((
            escape_bytes(&sighting.key),
            node(sighting.node),
            node(wanted),
        ))
    })
}

fn change_words(change: NodeChange) -> &'static str {
    match change {
        NodeChange::Order => "the nodes in another order",
        NodeChange::WeightsIgnored => "the nodes without their weights",
        NodeChange::WeightsGuessed => "the nodes with weights that fit their shares",
        NodeChange::NamedByAddress => "the nodes named by their addresses",
        NodeChange::NamedLocalhost => "the nodes of this host named localhost",
    }
}

fn rows(sample: &KeySample, report: &DetectionReport) -> Vec<(&'static str, String)> {
    let sampled = to_u64(report.sightings.len());
    let counts: Vec<String> = sample
        .counts()
        .iter()
        .map(|&keys| count(to_u64(keys)))
        .collect();
    let mut rows = vec![(
        "sampled",
        format!(
            "{} keys of {} nodes: {}",
            count(sampled),
            counts.len(),
            counts.join(" ")
        ),
    )];
    if report.explanations.is_empty() {
        let advice = "no ring explains where the keys lie. Are these all nodes, named and weighted as \
                      in your client, and does one client alone write to them?";
        rows.push(("ring", advice.to_owned()));
    }
    for found in &report.explanations {
        rows.push((
            "ring",
            format!("{}: {}", found.ring, found.ring.preset().client),
        ));
        rows.push((
            "sure",
            format!(
                "{}: it has {} of {} keys where they are, {:.2} %; by chance {:.0} %",
                found.sureness.as_str(),
                count(found.agreeing),
                count(sampled),
                percent(found.agreeing, sampled),
                found.by_chance * 100.0
            ),
        ));
        if !found.same.is_empty() {
            rows.push(("same", texts(&found.same).join(" ")));
        }
        for change in &found.changes {
            rows.push(("with", change_words(*change).to_owned()));
        }
        for (key, on, belongs) in strays(sample, report, found).take(STRAYS_SHOWN) {
            rows.push(("stray", format!("on {on}, belongs to {belongs}: {key}")));
        }
        let nodes = texts(&found.nodes).join(",");
        rows.push(("use", format!("--ring {} --to {nodes}", found.ring)));
    }
    rows
}
