//! `mcsnap ring detect`: which ring explains where keys lie.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::ring::{Explanation, NodeChange, RingSpec, Sureness};
use mcsnap::engines::snapshot::resolve_latest;
use mcsnap::jobs::ring_detect::{
    DetectionReport, KeySample, SampleOptions, detect, sample_nodes, sample_snapshot,
};
use mcsnap::ports::store::MapChoice;
use mcsnap::words::item::escape_bytes;
use mcsnap::words::node::NodeSpec;
use mcsnap::words::units::{percent, to_u64};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::Command;
use crate::connect::ConnectArgs;
use crate::context::Context;
use crate::exit::{Outcome, UsageError};
use crate::render::{count, counted, print_findings, print_json, print_text};
use crate::settings::{Format, Resolved, Section, list, parse_count, parse_duration, ring, text};
use crate::snapshots::{Wanted, open_snapshot};

/// Strays that are named in a report for people, and for programs.
const STRAYS_SHOWN: usize = 3;
const STRAYS_LISTED: usize = 100;

/// Rings of a row.
const NAMES_SHOWN: usize = 6;

/// Keys without which rings cannot be told apart.
const KEYS_LEAST: u64 = 20;

/// How long to wait for the end of another crawl.
const BUSY_TIMEOUT: Duration = Duration::from_secs(90);

/// Find the ring that explains where the keys of servers lie
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
    ///
    /// Where NODEs are given, they are the snapshot's by HOST:PORT, or by IP and
    /// port for a node under another name (cache1:11211=10.0.0.1), and their order
    /// is that of your client.
    #[arg(long, value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Ask for this ring alone: how many keys it explains, and the strays
    #[arg(long, value_name = "RING")]
    #[serde(deserialize_with = "ring")]
    pub(crate) ring: Option<String>,
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
    const ARGUMENTS: &'static [&'static str] = &["nodes"];
}

impl Command for RingDetectArgs {
    const HAS_WALKS: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, given } = context.resolve(self)?;
        let sample_size = settings.sample.as_deref().unwrap_or("1000");
        let sample_size = usize::try_from(parse_count("sample", sample_size, 1, 100_000)?)?;
        let timeout = parse_duration("timeout", settings.timeout.as_deref().unwrap_or("10s"))?;
        refuse_directories(&settings.nodes)?;
        let ring: Option<RingSpec> = settings.ring.as_deref().map(str::parse).transpose()?;
        let net = settings.connect.net_options(&given, timeout)?;
        let found = settings
            .connect
            .find_nodes(&settings.nodes, &net, &context.cancel)?;
        let sample = match &settings.snapshot {
            Some(place) => {
                let place = resolve_latest(place)?;
                let snapshot =
                    open_snapshot(&place, MapChoice::Never, Need::Read, Wanted::Nodes(&[]))?;
                sample_snapshot(&snapshot, &found.nodes, sample_size, &context.cancel)?
            }
            None => {
                let options = SampleOptions {
                    count_per_node: sample_size,
                    walk: None,
                    net,
                    busy_timeout: BUSY_TIMEOUT,
                };
                sample_nodes(&found.nodes, &options, &context.cancel)?
            }
        };
        let report = detect(&sample, ring.as_ref())?;
        context.log().write_findings(&sample.findings);
        let mut document = document(&sample, &report);
        context.stamp_and_log(&mut document);
        match context.format {
            Format::Json => print_json(&document)?,
            Format::Text => print_text(&rows(&sample, &report))?,
        }
        print_findings(&sample.findings, 0);
        Ok(match report.explanations.as_slice() {
            // Of one ring that was asked for it is told how little it explains.
            [] => Outcome::NotFound,
            [found] if found.sureness == Sureness::No => Outcome::NotFound,
            [found] if found.sureness == Sureness::Certain && sample.findings.is_empty() => {
                Outcome::Clean
            }
            [..] => Outcome::Degraded,
        })
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
        .zip(report.counts(sample.nodes.len()))
        .zip(&sample.populations)
        .map(|((node, keys), items)| json!({"node": node.to_string(), "items": items, "sampled": keys}))
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
        "alike_here": texts(&found.alike),
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
    let counts = report.counts(sample.nodes.len());
    let counts: Vec<String> = counts.into_iter().map(count).collect();
    let mut rows = vec![(
        "sampled",
        format!(
            "{} of {}: {}",
            counted(sampled, "key"),
            counted(to_u64(counts.len()), "node"),
            counts.join(" ")
        ),
    )];
    if report.explanations.is_empty() {
        let advice = match sampled {
            0 => "these nodes have no keys",
            _ if sampled < KEYS_LEAST => "too few keys to tell one ring from another",
            _ => {
                "no ring explains where the keys lie. Are these all nodes, named and weighted as in \
                 your client, does one client alone write to them, and does it hash all of a key \
                 (else pass --ring RING,prefix=TEXT)?"
            }
        };
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
                "{}: it has {} of {} where they are, {:.2} %; by chance {:.0} %",
                found.sureness.as_str(),
                count(found.agreeing),
                counted(sampled, "key"),
                percent(found.agreeing, sampled),
                found.by_chance * 100.0
            ),
        ));
        if !found.same.is_empty() {
            rows.push(("same", some_names(&found.same)));
        }
        if !found.alike.is_empty() {
            let names = some_names(&found.alike);
            let text = format!("{names}: not to be told apart on these nodes, but on others");
            rows.push(("or", text));
        }
        for change in &found.changes {
            rows.push(("with", change_words(*change).to_owned()));
        }
        for (key, on, belongs) in strays(sample, report, found).take(STRAYS_SHOWN) {
            rows.push(("stray", format!("on {on}, belongs to {belongs}: {key}")));
        }
        if found.sureness >= Sureness::Likely {
            let nodes = texts(&found.nodes).join(",");
            let (ring, nodes) = (quote(&found.ring.to_string()), quote(&nodes));
            rows.push(("use", format!("--ring {ring} --to {nodes}")));
        }
    }
    let hides_missing = |found: &Explanation| {
        let rule = found.ring.rule();
        rule.is_some_and(|rule| rule.distribution.keeps_keys_of_others())
    };
    if report.explanations.iter().any(hides_missing) {
        let note = "keys cannot tell whether a node is missing in this list: such a ring places \
                    those of the others as if it were there";
        rows.push(("note", note.to_owned()));
    }
    rows
}

fn some_names(rings: &[RingSpec]) -> String {
    let names = texts(rings);
    match names.get(..NAMES_SHOWN) {
        Some(shown) if names.len() > NAMES_SHOWN => {
            let more = names.len().saturating_sub(NAMES_SHOWN);
            format!("{} and {more} more", shown.join(" "))
        }
        Some(_) | None => names.join(" "),
    }
}

/// Writes a text so that a shell takes it for one word.
fn quote(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b":,.=*@%/_-[]".contains(&byte);
    if text.bytes().all(is_plain) && !text.contains(['*', '[']) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
