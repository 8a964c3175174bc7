//! What `mcsnap push` and `mcsnap pull` do, step by step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use mcsnap::engines::snapshot::{LATEST, parse_name};
use mcsnap::jobs::transfer::{Direction, Original, TransferReport, plan_transfer, transfer};
use mcsnap::ports::store::{
    MapChoice, ResolvedPlace, create_directory_unmapped, directory_label, open_snapshot_place,
};
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::finding::Finding;
use mcsnap::words::units::to_u64;

use crate::context::Context;
use crate::exit::{HintedError, Outcome, UsageError};
use crate::metrics::JobNumbers;
use crate::settings::{Given, parse_file_mode};
use crate::snapshots::{open_directory_if_there, required_snapshot};
use crate::transfer::args::TransferArgs;
use crate::transfer::report::{print_damaged_root, print_plan, print_report};

/// What the user wants copied, and where to.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) direction: Direction,
    pub(crate) snapshot: Option<&'a str>,
    pub(crate) to: Option<&'a str>,
    pub(crate) how: &'a TransferArgs,
    pub(crate) given: &'a BTreeMap<String, Given>,
}

/// Copies a snapshot.
pub(crate) fn run(context: &Context, request: &Request<'_>) -> Result<Outcome> {
    let direction = request.direction;
    let metrics = context.metrics();
    if let Some(to) = request.to {
        metrics.describe(directory_label(to), request.how.dry_run);
    }
    let to = request
        .to
        .ok_or_else(|| UsageError("where should the copy go? pass --to DIR".to_owned()))?;
    if Path::new(to).file_name().is_some_and(|last| last == LATEST) {
        let text = format!("--to {to}: that name stands for the newest snapshot of a directory");
        return Err(UsageError(text).into());
    }
    let options = request.how.options(direction)?;
    let mode = parse_file_mode(to, request.how.file_mode.as_deref())?;
    let place = &required_snapshot(request.snapshot)?;
    let (source, own_name) = open_snapshot_place(place, MapChoice::Never)?;
    let name = match request.how.name.as_deref() {
        Some(name) => parse_name(name)?,
        None => parse_name(&own_name).map_err(|error| hinted(error, "pass another --name"))?,
    };
    check_apart(place, to, &name)?;
    let original = match Original::open(source, &own_name) {
        Ok(original) => original,
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt(_)) => {
            let finding = Finding::from_error(error, place)?;
            print_damaged_root(context, direction, place, &finding)?;
            return Ok(Outcome::Degraded);
        }
        Err(error) => return Err(error.into()),
    };
    if request.how.dry_run == Some(true) {
        let there = open_directory_if_there(to)?;
        let plan = plan_transfer(&original, there.as_deref(), &name).map_err(with_hint)?;
        print_plan(context, &plan, &options, to, &name, request.given)?;
        return Ok(Outcome::Clean);
    }
    let store = create_directory_unmapped(to, mode)?;
    let progress = context.progress();
    let copied = transfer(
        &original,
        Arc::clone(&store),
        &name,
        &options,
        &context.cancel,
        &progress,
    );
    let has_begun = context.watch().job().is_some();
    let report = copied.map_err(|error| match has_begun {
        true => with_way_on(error),
        false => with_hint(error),
    })?;
    metrics.set_snapshot_read(original.finished_at());
    metrics.set_numbers(numbers(&report));
    print_report(context, direction, &report)?;
    Ok(if report.damage.is_empty() && report.rivals.is_empty() {
        Outcome::Clean
    } else {
        Outcome::Degraded
    })
}

fn numbers(report: &TransferReport) -> JobNumbers {
    JobNumbers {
        findings: Some([to_u64(report.damage.len()), 0]),
        stored_bytes: Some(report.bytes),
        ..JobNumbers::default()
    }
}

/// Refuses to copy a snapshot onto itself, or into itself, however the places are spelled.
fn check_apart(place: &str, to: &str, name: &str) -> Result<()> {
    let copy = ResolvedPlace::of(to)?.join(name);
    if !copy.is_within(&ResolvedPlace::of(place)?) {
        return Ok(());
    }
    let allowed = format!(
        "with the name {name} the copy would be the snapshot {place} itself, or lie in it; name \
         another place, or pass another --name"
    );
    Err(Error::invalid_input("to", to, allowed).into())
}

/// Says what to do where the name is taken.
fn with_hint(error: Error) -> anyhow::Error {
    if matches!(error.kind(), ErrorKind::AlreadyExists { .. }) {
        return hinted(error, "pass another --name");
    }
    error.into()
}

/// Says that what was copied stays, where the same command goes on with it.
fn with_way_on(error: Error) -> anyhow::Error {
    if matches!(error.kind(), ErrorKind::Io { .. } | ErrorKind::Canceled) {
        let hint = "what was copied stays, and the same command goes on with it";
        return hinted(error, hint);
    }
    with_hint(error)
}

fn hinted(error: Error, hint: &'static str) -> anyhow::Error {
    let hint = hint.into();
    HintedError { error, hint }.into()
}
