//! The flags of `mcsnap inspect`, and what it does.

use anyhow::Result;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::statistics::KEY_DELIMITERS;
use mcsnap::jobs::inspect::{InspectOptions, PrefixDepth, inspect};
use mcsnap::ports::store::MapChoice;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::commands::inspect::inspection::Inspection;
use crate::context::Context;
use crate::exit::Outcome;
use crate::render::{finding_json, print, print_json};
use crate::settings::{
    Format, SELECT_HELP, SELECT_LONG_HELP, Section, expressions, list, parse_count, parse_moment,
    parse_select, parse_threads, split_commas, switch, text,
};
use crate::snapshots::{Wanted, hint_at_salvage, open_snapshot, required_snapshot};

/// Show what is in a snapshot: key prefixes, TTLs, idle times, sizes
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct InspectArgs {
    /// Directory or URL of the snapshot, or a segment file
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// See TTLs and idle times from this moment [default: the end of the dump]
    ///
    /// now, a time such as 2026-11-20T02:00:00Z, or seconds since 1970.
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "text")]
    pub(crate) at: Option<String>,
    /// Look at these nodes only, by their addresses in the snapshot
    #[arg(long, value_name = "NODE,...")]
    #[serde(deserialize_with = "list")]
    pub(crate) nodes: Vec<String>,
    /// What ends the prefix of a key; the first is tried first [default: :/_-.]
    ///
    /// The prefix of user:123 is user:, and numbers in it are written #. One at the
    /// start of a key ends nothing, and several in a row count as one.
    #[arg(long, value_name = "CHARACTERS")]
    #[serde(deserialize_with = "text")]
    pub(crate) delimiters: Option<String>,
    /// Take prefixes up to so many delimiters [default: as many as tell kinds apart]
    ///
    /// The prefix of prod:user:123 is prod: at depth 1, prod:user: at depth 2. Without
    /// this, a prefix is opened, up to depth 3, into the longer ones that take at least
    /// 1% of all memory each, and the rest of it is one line.
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) depth: Option<String>,
    /// How many of the largest values to name [default: 10]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) top: Option<String>,
    /// Threads [default: one a processor]
    #[arg(long, value_name = "COUNT")]
    #[serde(deserialize_with = "text")]
    pub(crate) threads: Option<String>,
    /// Count every key, instead of adding up what segments say of themselves
    ///
    /// Without this, the statistics that each segment has of its records are added up,
    /// which reads some kibibytes a segment. They are exact but for three things, and what
    /// is not is told where it is shown: prefixes of keys, of which the heavy ones are
    /// kept; TTLs and idle times near the bounds of a line; and client flags, if a segment
    /// has more than 32. --select, --delimiters, a --depth above 3 and a --top above 10
    /// count every key, too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) exact: Option<bool>,
    #[arg(long, value_name = "EXPRESSION", help = SELECT_HELP, long_help = SELECT_LONG_HELP)]
    #[serde(deserialize_with = "expressions")]
    pub(crate) select: Vec<String>,
}

impl Section for InspectArgs {
    const NAME: Option<&'static str> = Some("inspect");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

impl Command for InspectArgs {
    fn run(&self, context: &Context) -> Result<Outcome> {
        let settings = context.resolve(self)?.settings;
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        let top = settings.top.as_deref().unwrap_or("10");
        let options = InspectOptions {
            at: settings.at.as_deref().map(parse_moment).transpose()?,
            nodes: split_commas(&settings.nodes),
            delimiters: settings
                .delimiters
                .unwrap_or_else(|| KEY_DELIMITERS.to_owned())
                .into_bytes(),
            depth: settings
                .depth
                .as_deref()
                .map_or(Ok(PrefixDepth::Fitting), parse_depth)?,
            largest_count: usize::try_from(parse_count("top", top, 0, 1000)?)?,
            thread_count: parse_threads(settings.threads.as_deref())?,
            selection: parse_select(&settings.select)?,
            is_exact: settings.exact == Some(true),
        };
        // Reads of mapped files bring what lies around in, which is values.
        let snapshot = open_snapshot(place, MapChoice::Never, Need::Read, Wanted::NoSegments)?;
        let progress = context.progress();
        let report = inspect(&snapshot, &options, &context.cancel, &progress);
        let report = report.map_err(hint_at_salvage)?;
        let inspection = Inspection {
            place,
            manifest: snapshot.manifest(),
            is_lone_segment: snapshot.is_lone_segment(),
            report: &report,
        };
        context.log().write_findings(&report.findings);
        let mut document = inspection.to_json(&finding_json)?;
        context.stamp_and_log(&mut document);
        match context.format {
            Format::Text => print(inspection.to_text().as_bytes())?,
            Format::Json => print_json(&document)?,
        }
        Ok(if report.has_errors() {
            Outcome::Degraded
        } else {
            Outcome::Clean
        })
    }
}

fn parse_depth(text: &str) -> Result<PrefixDepth> {
    let depth = parse_count("depth", text, 1, 100)?;
    Ok(PrefixDepth::Exactly(u8::try_from(depth)?))
}
