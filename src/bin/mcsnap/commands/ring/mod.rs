//! `mcsnap ring`: how clients place keys.

pub(crate) mod detect;
pub(crate) mod list;
pub(crate) mod locate;
pub(crate) mod plan;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::commands::placed;
use crate::commands::ring::detect::RingDetectArgs;
use crate::commands::ring::list::RingListArgs;
use crate::commands::ring::locate::RingLocateArgs;
use crate::commands::ring::plan::RingPlanArgs;
use crate::context::Context;
use crate::exit::Outcome;

/// Flags of `mcsnap ring`: those of the commands below it.
#[derive(Debug, Args)]
pub(crate) struct RingArgs {
    #[command(subcommand)]
    command: RingCommand,
}

/// What to do about rings.
#[derive(Debug, Subcommand)]
enum RingCommand {
    /// List the rings that have a name, and the clients that they stand for
    List(RingListArgs),
    /// Find the ring that explains where the keys of servers lie
    Detect(Box<RingDetectArgs>),
    /// Say on which node the client looks for keys
    Locate(Box<RingLocateArgs>),
    /// Say what a change of the ring would move, from the keys of a snapshot
    Plan(Box<RingPlanArgs>),
}

impl RingArgs {
    /// Returns the name of the command below `ring`.
    pub(crate) fn name(&self) -> &'static str {
        match &self.command {
            RingCommand::List(_) => "list",
            RingCommand::Detect(_) => "detect",
            RingCommand::Locate(_) => "locate",
            RingCommand::Plan(_) => "plan",
        }
    }
}

pub(crate) fn run(context: &Context, args: &RingArgs) -> Result<Outcome> {
    match &args.command {
        RingCommand::List(args) => placed(context, args, list::run),
        RingCommand::Detect(args) => placed(context, args.as_ref(), detect::run),
        RingCommand::Locate(args) => placed(context, args.as_ref(), locate::run),
        RingCommand::Plan(args) => placed(context, args.as_ref(), plan::run),
    }
}
