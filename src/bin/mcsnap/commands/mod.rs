//! The commands, a file for each.

pub(crate) mod completions;
pub(crate) mod dump;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod restore;
pub(crate) mod ring;
pub(crate) mod salvage;
pub(crate) mod verify;

use anyhow::Result;
use mcsnap::error::ErrorKind;
use mcsnap::format::manifest::Need;
use mcsnap::snapshot::SnapshotReader;
use mcsnap::store::{MapChoice, open_snapshot_place};

use crate::cli::Command;
use crate::context::Context;
use crate::exit::{HintedError, Outcome};

/// Runs a command.
pub(crate) fn dispatch(context: &Context, command: Command) -> Result<Outcome> {
    match command {
        Command::Dump(args) => dump::run(context, &args),
        Command::Inspect(args) => inspect::run(context, &args),
        Command::Verify(args) => verify::run(context, &args),
        Command::Restore(args) => restore::run(context, &args),
        Command::Ring(args) => ring::run(context, &args),
        Command::Ls(args) => ls::run(context, &args),
        Command::Get(args) => get::run(context, &args),
        Command::Salvage(args) => salvage::run(context, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

/// Opens a snapshot; where its manifest, or all of it, is damaged, says what may
/// help.
fn open_snapshot(place: &str, map_choice: MapChoice, need: Need) -> Result<SnapshotReader> {
    let (store, name) = open_snapshot_place(place, map_choice)?;
    SnapshotReader::open(store, &name, need).map_err(|error| {
        if !matches!(error.kind(), ErrorKind::Corrupt(_)) {
            return error.into();
        }
        let hint = "mcsnap salvage brings out what is sound".into();
        HintedError { error, hint }.into()
    })
}
