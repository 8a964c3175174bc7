//! Takes what is in running memcached servers, puts it into files that last,
//! and puts it back anywhere.

mod brake;
mod cli;
mod command;
mod command_line;
mod commands;
mod connect;
mod context;
mod exit;
mod failure;
mod job_watch;
mod logging;
mod memory;
mod metrics;
mod progress;
mod registry;
mod reload;
mod render;
mod screen;
mod segment_args;
mod settings;
mod signals;
mod snapshots;
mod stderr;
mod stop_signals;
mod this_run;
mod transfer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread::JoinHandle;

use clap::{CommandFactory as _, Parser as _};
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::item::escape_controls;

use crate::cli::Cli;
use crate::context::{Context, World};
use crate::exit::Outcome;
use crate::metrics::Metrics;
use crate::render::{print_failure, print_text};
use crate::settings::Format;
use crate::signals::Signals;
use crate::stderr::{Priority, tell};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let environment = settings::read_environment(std::env::vars_os());
    let variables = environment.as_ref().cloned().unwrap_or_default();
    let format = command_line::find_format(&arguments, &variables, &registry::sections());
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return command_line::end(&error, format, &Cli::command(), &arguments),
    };
    let command = cli.command.rule;
    mcsnap::ports::host::raise_open_files_limit();
    let metrics = match command.has_metrics {
        true => Metrics::of_job(),
        false => Metrics::default(),
    };
    let world = World::new(command.name, metrics);
    let signals = Signals::default();
    let held = match command.has_walks {
        true => stop_signals::hold(),
        false => Ok(()),
    };
    let watched = held
        .and_then(|()| reload::catch_signal())
        .and_then(|()| watch_signals(&world, &signals, format));
    let (notice, ended) = match watched {
        Ok(notice) => (notice, environment.and_then(|it| run(cli, it, &world))),
        Err(error) => (None, Err(error.into())),
    };
    // What a signal sets going is told before what came of it.
    if let Some(notice) = notice.filter(|_| signals.first().is_some()) {
        let _ = notice.join();
    }
    let (code, failure) = match ended {
        Ok(outcome) => (exit::code_of(outcome), None),
        Err(error) => {
            let (code, message) =
                tell_failure(&world, &signals, format, command.prints_lines, &error);
            (code, Some(message))
        }
    };
    // The work is what it is; the code tells of nothing else.
    if let Err(failure) = world.metrics.write_end(&world.run, &world.watch, code) {
        world.log.write_error(&failure);
        tell(Priority::Error, &escape_controls(&failure));
    }
    world.log.write_end(code, failure.as_deref());
    if let Some(failure) = world.log.failure() {
        tell(Priority::Error, &escape_controls(failure));
    }
    ExitCode::from(code)
}

/// Runs the command. A panic is a bug, and told as every other failure.
fn run(cli: Cli, environment: BTreeMap<String, String>, world: &World) -> anyhow::Result<Outcome> {
    let work = || {
        let context = Context::new(&cli.global, environment, registry::sections(), world)?;
        cli.command.run(&context, Cli::command)
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        let what = "a part of it has panicked, as told above".to_owned();
        Err(Error::new(ErrorKind::Internal { what }).into())
    })
}

fn watch_signals(
    world: &World,
    signals: &Signals,
    format: Format,
) -> std::io::Result<Option<JoinHandle<()>>> {
    let reader = signals.watch(&world.cancel)?;
    if format == Format::Json {
        signals::set_last_words(|code, verdict, message| {
            let document = failure::bare_document(&world.run, verdict, "ended", message, code);
            format!("{document}\n").into_bytes()
        });
    }
    signals::tell_bus_errors()?;
    let (world, signals) = (world.clone(), signals.clone());
    Ok(signals::on_first(reader, move || {
        if let Some(signal) = signals.first() {
            world.tell_stop(signal);
        }
    }))
}

/// Prints the report of what was done so far, and why it is no more; returns the
/// exit code and the reason.
fn tell_failure(
    world: &World,
    signals: &Signals,
    format: Format,
    prints_lines: bool,
    error: &anyhow::Error,
) -> (u8, String) {
    let signal = signals.first();
    let message = exit::message_of(error, signal);
    let code = exit::code_of_error(error, signal);
    let left = world.take_unfinished();
    let (members, rows) = match left {
        Some(left) => (Some(left.document), left.rows),
        None => (None, Vec::new()),
    };
    let document = failure::document(&world.run, &world.watch, error, &message, code, members);
    // Nothing is left to tell it to if these fail.
    let _ = match format {
        Format::Json => print_failure(prints_lines, &document),
        Format::Text if rows.is_empty() => Ok(()),
        Format::Text => {
            let rows: Vec<_> = rows.into_iter().chain(world.run.rows()).collect();
            print_text(&rows)
        }
    };
    world.log.write_report(&document);
    tell(Priority::Error, &message);
    (code, message)
}
