//! `mcsnap ring plan`: what a change of the ring would move.

use anyhow::Result;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::ring::RingSpec;
use mcsnap::engines::discovery::find_nodes;
use mcsnap::jobs::ring_plan::{ReshardingOptions, plan_resharding};
use mcsnap::ports::store::MapChoice;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::commands::ring::resharding::Resharding;
use crate::connect::ConnectArgs;
use crate::context::Context;
use crate::exit::{Outcome, UsageError};
use crate::render::{finding_json, print, print_findings, print_json, print_unknown_kept};
use crate::settings::{
    Format, Resolved, SELECT_HELP, SELECT_LONG_HELP, Section, expressions, list, parse_duration,
    parse_moment, parse_select, parse_sources, parse_threads, ring, text,
};
use crate::snapshots::{Wanted, open_snapshot, required_snapshot};

/// Say what a change of the ring would move, from the keys of a snapshot
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct RingPlanArgs {
    /// Directory or URL of the snapshot, or a segment file
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// All nodes of the new ring, in the order of your client's configuration
    ///
    /// host[:port][=ip][*weight][@label], or cfg:HOST:PORT for the nodes that a
    /// configuration endpoint names.
    #[arg(long, value_name = "NODE,...")]
    #[serde(deserialize_with = "list")]
    pub(crate) to: Vec<String>,
    /// The new ring [default: --from-ring, or as the snapshot records]
    ///
    /// How your client will place keys; see mcsnap ring list.
    #[arg(long, value_name = "RING")]
    #[serde(deserialize_with = "ring")]
    pub(crate) ring: Option<String>,
    /// All nodes of the ring now [default: keys are where they were dumped]
    ///
    /// With them a key is where that ring puts it, whatever node it was dumped
    /// from: what moves if the list of your clients changes.
    #[arg(long, value_name = "NODE,...")]
    #[serde(deserialize_with = "list")]
    pub(crate) from: Vec<String>,
    /// The ring of --from [default: as the snapshot records]
    #[arg(long, value_name = "RING")]
    #[serde(deserialize_with = "ring")]
    pub(crate) from_ring: Option<String>,
    /// Threads [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
    #[arg(long, value_name = "EXPRESSION", help = SELECT_HELP, long_help = SELECT_LONG_HELP)]
    #[serde(deserialize_with = "expressions")]
    pub(crate) select: Vec<String>,
    /// See times of --select from this moment [default: the end of the dump]
    ///
    /// now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) at: Option<String>,
    /// Longest wait for an endpoint's answer [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) timeout: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) connect: ConnectArgs,
}

impl Section for RingPlanArgs {
    const NAME: Option<&'static str> = Some("ring-plan");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

impl Command for RingPlanArgs {
    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, given } = context.resolve(self)?;
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        let connect = &settings.connect;
        if settings.to.is_empty() && connect.nodes_file.is_none() {
            let message = "no nodes; pass --to with all nodes of the new ring";
            return Err(UsageError(message.to_owned()).into());
        }
        let parse_ring = |text: &Option<String>| text.as_deref().map(str::parse::<RingSpec>);
        let timeout = parse_duration("timeout", settings.timeout.as_deref().unwrap_or("10s"))?;
        let net = connect.net_options(&given, timeout)?;
        let mut options = ReshardingOptions {
            from_nodes: Vec::new(),
            from_ring: parse_ring(&settings.from_ring).transpose()?,
            to_nodes: Vec::new(),
            to_ring: parse_ring(&settings.ring).transpose()?,
            selection: parse_select(&settings.select)?,
            at: settings.at.as_deref().map(parse_moment).transpose()?,
            thread_count: parse_threads(settings.threads.as_deref())?,
        };
        // Reads of mapped files bring what lies around in, which is values.
        let snapshot = open_snapshot(place, MapChoice::Never, Need::Read, Wanted::Nodes(&[]))?;
        // Last, since it may talk to endpoints: what is wrong by itself is told first.
        let from = find_nodes(&parse_sources(&settings.from)?, &net, &context.cancel)?;
        options.from_nodes = from.into_iter().map(|found| found.node).collect();
        options.to_nodes = connect
            .find_nodes(&settings.to, &net, &context.cancel)?
            .nodes;
        let progress = context.progress();
        let report = plan_resharding(&snapshot, &options, &context.cancel, &progress)?;
        let resharding = Resharding {
            place,
            report: &report,
        };
        context.log().write_findings(&report.findings);
        let mut document = resharding.to_json(&finding_json)?;
        context.stamp_and_log(&mut document);
        match context.format {
            Format::Text => print(resharding.to_text().as_bytes())?,
            Format::Json => print_json(&document)?,
        }
        print_findings(&report.findings, report.finding_count_dropped);
        print_unknown_kept(report.unknown_kept);
        Ok(if report.findings.is_empty() {
            Outcome::Clean
        } else {
            Outcome::Degraded
        })
    }
}
