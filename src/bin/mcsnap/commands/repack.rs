//! `mcsnap repack`: make anew what a snapshot has beside its segments.

use anyhow::Result;
use mcsnap::jobs::repack::{RepackOptions, repack_look_ups};
use mcsnap::ports::host;
use mcsnap::ports::store::{MapChoice, open_snapshot_place};
use mcsnap::words::units::to_u64;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::command::Command;
use crate::context::Context;
use crate::exit::{Outcome, UsageError};
use crate::render::counted;
use crate::settings::{Section, check_spool_directory, switch, text};
use crate::snapshots::{labelled_snapshot, required_snapshot};

/// Make the look-up objects of a snapshot anew
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RepackArgs {
    /// Directory or URL of the snapshot
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Make the look-up objects, by which get finds a key in five reads
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_name = "BOOL")]
    #[serde(deserialize_with = "switch")]
    pub(crate) look_ups: Option<bool>,
    /// Directory for what does not fit in memory [default: the system's]
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) spool_dir: Option<String>,
}

impl Section for RepackArgs {
    const NAME: Option<&'static str> = Some("repack");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

impl Command for RepackArgs {
    const HAS_METRICS: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let settings = context.resolve(self)?.settings;
        let metrics = context.metrics();
        metrics.describe(labelled_snapshot(settings.snapshot.as_deref()), None);
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        if settings.look_ups != Some(true) {
            let text = "what is to be made anew? pass --look-ups";
            return Err(UsageError(text.to_owned()).into());
        }
        if let Some(directory) = &settings.spool_dir {
            check_spool_directory(directory)?;
        }
        let directory = settings.spool_dir.map(Into::into);
        let options = RepackOptions {
            scratch_directory: directory.unwrap_or_else(host::temporary_directory),
        };
        let (store, name) = open_snapshot_place(place, MapChoice::Never)?;
        let report = repack_look_ups(store, &name, &options, &context.cancel)?;
        let document = json!({
            "schema": "mcsnap.repack/1",
            "snapshot": place,
            "look_ups": report.look_ups,
            "nodes_without": report.nodes_without,
        });
        context.print_report(document, || {
            let mut rows = vec![
                ("snapshot", place.clone()),
                ("made", counted(report.look_ups, "look-up object")),
            ];
            if !report.nodes_without.is_empty() {
                let count = counted(to_u64(report.nodes_without.len()), "node");
                let text = format!("for {count}, whose segments have other names than mcsnap's");
                rows.push(("none", text));
            }
            rows
        })?;
        Ok(Outcome::Clean)
    }
}
