//! What `mcsnap restore` does, step by step.

use anyhow::Result;
use mcsnap::codecs::format::manifest::Need;
use mcsnap::jobs::restore::{EndedRestore, LeftOut, RestorePlan, TargetPlan};
use mcsnap::ports::store::MapChoice;
use mcsnap::words::error::Error;
use mcsnap::words::location::Location;

use crate::command::Command;
use crate::commands::restore::args::RestoreArgs;
use crate::commands::restore::capacity::check_capacity;
use crate::commands::restore::numbers::numbers;
use crate::commands::restore::options::options;
use crate::commands::restore::plan_report::print_estimate;
use crate::commands::restore::report::{print_report, unfinished};
use crate::context::Context;
use crate::exit::{HintedError, Outcome};
use crate::reload;
use crate::render::told;
use crate::settings::{Resolved, parse_map_choice};
use crate::snapshots::{Wanted, labelled_snapshot, open_snapshot, required_snapshot};

impl Command for RestoreArgs {
    const HAS_METRICS: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, given } = context.resolve(self)?;
        let metrics = context.metrics();
        let label = labelled_snapshot(settings.snapshot.as_deref());
        metrics.describe(label, settings.dry_run);
        let place = &required_snapshot(settings.snapshot.as_deref())?;
        let (options, list) = options(&settings, &given, &context.cancel)?;
        let map_choice = match settings.dry_run {
            // It looks at keys alone; through a map the kernel would read the
            // values around, too.
            Some(true) => MapChoice::Never,
            _ => parse_map_choice(settings.mmap.as_deref())?,
        };
        let snapshot = open_snapshot(
            place,
            map_choice,
            Need::Restore,
            Wanted::Nodes(&options.source_nodes),
        )?;
        let verdict = snapshot.manifest().verdict;
        metrics.set_snapshot_read(&snapshot.manifest().finished_at);
        let may_take_part = options.nodes.len() > 1 && !options.is_partial_allowed;
        let plan =
            RestorePlan::make_watched(snapshot, options, &context.cancel, &context.progress())
                .map_err(|error| nothing_sent(error, may_take_part))?;
        if settings.dry_run == Some(true) {
            let estimate = plan.estimate(&context.cancel)?;
            print_estimate(context, place, &plan, estimate, &given, &list)?;
            let is_any_missing = plan.targets.iter().any(is_unreachable);
            return Ok(if estimate.damaged > 0 || is_any_missing {
                Outcome::Degraded
            } else {
                Outcome::Clean
            });
        }
        if !plan.surely_fits() {
            check_capacity(&plan, settings.yes == Some(true), &context.cancel)?;
        }
        let progress = context.progress();
        let brake = &plan.options.brake;
        let read =
            |resolved: &Resolved<RestoreArgs>| resolved.settings.brake.options(&resolved.given);
        let run = || plan.run_or_report(&context.cancel, &progress);
        let ended = reload::during(context, self, brake, &progress, read, run);
        let EndedRestore { report, error } = ended?;
        context.log().write_findings(&report.findings);
        metrics.set_numbers(numbers(&report));
        if let Some(error) = error {
            context.leave(unfinished(place, verdict, &plan, &report, &error));
            return Err(error.into());
        }
        let printed = print_report(context, place, verdict, &plan, &report);
        told(printed, || format!("the restore of {place} has ended"))?;
        Ok(if report.has_losses() {
            Outcome::Degraded
        } else {
            Outcome::Clean
        })
    }
}

/// Adds that no server got anything, and what helps.
fn nothing_sent(error: Error, may_take_part: bool) -> anyhow::Error {
    let is_of_node = matches!(error.location(), Some(Location::Node { .. }));
    // What is wrong for good has words of its own for what to do.
    if !is_of_node || !error.is_retryable() {
        return error.into();
    }
    let hint = if may_take_part {
        "nothing was sent to any server; pass --allow-partial to fill those that can be reached"
    } else {
        "nothing was sent"
    };
    let hint = hint.into();
    HintedError { error, hint }.into()
}

fn is_unreachable(plan: &TargetPlan) -> bool {
    matches!(plan.target, Err(LeftOut::Unreachable(_)))
}
