//! What `mcsnap dump` does, step by step.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use mcsnap::engines::snapshot::{LATEST, check_not_finished};
use mcsnap::jobs::dump::{DumpOptions, DumpPlan, Kept};
use mcsnap::ports::net::{ask_all, meet_server};
use mcsnap::ports::store::{Store, create_directory_as, directory_label, look_at_room};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::Error;
use mcsnap::words::node::NodeSpec;

use crate::command::Command;
use crate::commands::dump::args::DumpArgs;
use crate::commands::dump::hints::{resumable_name, resume_hint, with_hint};
use crate::commands::dump::options::{naming, options, tolerance};
use crate::commands::dump::plan_report::print_plan;
use crate::commands::dump::recorded_ring::{check_recorded_ring, find_recorded_rings};
use crate::commands::dump::report::print_report;
use crate::commands::dump::space::Space;
use crate::commands::dump::unfinished::leave_unfinished;
use crate::commands::dump::warm_file::{check_settings_of_file, run_warm_file, warm_file_options};
use crate::context::Context;
use crate::exit::{HintedError, Outcome, UsageError};
use crate::reload;
use crate::settings::{DETECT, Resolved, parse_file_mode};
use crate::snapshots::open_directory_if_there;

impl Command for DumpArgs {
    const HAS_METRICS: bool = true;
    const HAS_WALKS: bool = true;

    fn run(&self, context: &Context) -> Result<Outcome> {
        let Resolved { settings, given } = context.resolve(self)?;
        let to = settings
            .to
            .as_deref()
            .ok_or_else(|| UsageError("where should the snapshot go? pass --to DIR".to_owned()))?;
        let metrics = context.metrics();
        metrics.describe(directory_label(to), settings.dry_run);
        if Path::new(to).file_name().is_some_and(|last| last == LATEST) {
            let text =
                format!("--to {to}: that name stands for the newest snapshot of a directory");
            return Err(UsageError(text).into());
        }
        if settings.warm_file.is_some() {
            check_settings_of_file(&given)?;
        }
        let naming = naming(&settings, &given)?;
        let room = look_at_room(to)?;
        let (mut options, list) = options(&settings, &given, to, naming.fill()?, &context.cancel)?;
        options.is_sole = naming.is_sole();
        if let Some(resume) = &mut options.resume {
            resume.is_any_name = naming.is_sole();
        }
        if let Some(store) = open_directory_if_there(to)? {
            let checked = check_not_finished(&*store, &options.name);
            checked.map_err(|error| naming.with_hint(error))?;
        }
        let mode = parse_file_mode(to, settings.file_mode.as_deref())?;
        let tolerance = tolerance(&settings)?;
        if let Some(path) = &settings.warm_file {
            let options = warm_file_options(options, path)?;
            return run_warm_file(context, options, to, &settings, tolerance, &given);
        }
        let node_count = options.nodes.len();
        if settings.ring.as_deref() == Some(DETECT) {
            await_nodes(&options, context).map_err(|error| with_hint(error, node_count))?;
            options.rings = find_recorded_rings(&options, &context.cancel)?;
        }
        let (rings, nodes) = (options.rings.clone(), options.nodes.clone());
        let plan = DumpPlan::make_watched(options, &context.cancel, &context.progress())
            .map_err(|error| with_hint(error, node_count))?;
        let plan = match open_directory_if_there(to)? {
            Some(store) => plan.settle(&store)?,
            None => plan,
        };
        let failed = |store: &dyn Store, error: Error| match resume_hint(&error, store, &plan) {
            Some(hint) => {
                let hint = hint.into();
                HintedError { error, hint }.into()
            }
            None => with_hint(error, node_count),
        };
        let space = Space::new(&plan, room);
        space.warn(to);
        if settings.dry_run == Some(true) {
            let kept = match open_directory_if_there(to)? {
                Some(store) => plan
                    .preview(Arc::clone(&store))
                    .map_err(|error| failed(&*store, error))?,
                None => Kept::default(),
            };
            print_plan(context, &plan, kept, to, space, &given, &list)?;
            return Ok(Outcome::Clean);
        }
        let store = create_directory_as(to, mode)?;
        let progress = context.progress();
        let brake = &plan.options.brake;
        let run = || plan.run(Arc::clone(&store), &context.cancel, &progress);
        let read = |resolved: &Resolved<DumpArgs>| resolved.settings.brake.options(&resolved.given);
        let ended = reload::during(context, self, brake, &progress, read, run);
        let report = ended.map_err(|error| {
            let kept = resumable_name(&error, &*store, &plan);
            let name = kept.unwrap_or_else(|| plan.name());
            leave_unfinished(context, &store, name, kept.is_some(), &error);
            failed(&*store, error)
        })?;
        if settings.ring.as_deref() != Some(DETECT) {
            check_recorded_ring(store, &report.manifest, &rings, &nodes, &context.cancel);
        }
        print_report(context, &report, &brake.reports())?;
        Ok(if report.exceeds(tolerance) {
            Outcome::Degraded
        } else {
            Outcome::Clean
        })
    }
}

/// Waits for nodes that may come, before their keys are looked at: a ring that cannot
/// be found since a node was away for a moment would be missing from the record.
fn await_nodes(options: &DumpOptions, context: &Context) -> Result<(), Error> {
    let (net, nodes) = (&options.net, &options.nodes);
    let are_all_needed = !options.is_partial_allowed;
    let progress = context.progress();
    let ask = |node: &NodeSpec, stop: &Cancel| meet_server(node, net, stop);
    ask_all(nodes, are_all_needed, net, &context.cancel, &progress, ask).map(drop)
}
