//! `mcsnap pull`: copy a snapshot from a store.

use anyhow::Result;
use mcsnap::jobs::transfer::Direction;
use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::context::Context;
use crate::exit::Outcome;
use crate::settings::{Resolved, Section, text};
use crate::transfer::{Request, TransferArgs, run};

/// Copy a snapshot from a store, or from any other place
#[derive(Clone, Debug, Default, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct PullArgs {
    /// URL or directory of the snapshot
    #[arg(value_name = "SNAPSHOT")]
    #[serde(deserialize_with = "text")]
    pub(crate) snapshot: Option<String>,
    /// Directory, or URL, below which the copy gets a place of its own
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "text")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) how: TransferArgs,
}

impl Section for PullArgs {
    const NAME: Option<&'static str> = Some("pull");
    const ARGUMENTS: &'static [&'static str] = &["snapshot"];
}

impl Command for PullArgs {
    const HAS_METRICS: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, given } = context.resolve(self)?;
        let request = Request {
            direction: Direction::Pull,
            snapshot: settings.snapshot.as_deref(),
            to: settings.to.as_deref(),
            how: &settings.how,
            given: &given,
        };
        run(context, &request)
    }
}
