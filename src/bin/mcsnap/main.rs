//! Takes what is in running memcached servers, puts it into files that last,
//! and puts it back anywhere.

mod cli;
mod commands;
mod config;
mod context;
mod exit;
mod logging;
mod progress;
mod render;
mod settings;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser as _;
use mcsnap::cancel::Cancel;

use crate::cli::Cli;
use crate::context::Context;

fn main() -> ExitCode {
    let cancel = Cancel::new();
    let signal = Arc::new(AtomicUsize::new(0));
    let cli = Cli::parse();
    let result = watch_signals(&cancel, &signal)
        .map_err(anyhow::Error::from)
        .and_then(|()| config::read_environment(std::env::vars_os()))
        .and_then(|environment| Context::new(&cli.global, environment, cancel.clone()))
        .and_then(|context| commands::dispatch(&context, cli.command));
    match result {
        Ok(outcome) => exit::code_of(outcome),
        Err(error) => {
            let signal = signal.load(Ordering::Relaxed);
            // Nothing is left to tell it to if this fails.
            let _ = writeln!(io::stderr(), "mcsnap: {}", exit::message_of(&error, signal));
            exit::code_of_error(&error, signal)
        }
    }
}

/// The first signal asks the job to stop, the second ends the program.
fn watch_signals(cancel: &Cancel, signal: &Arc<AtomicUsize>) -> io::Result<()> {
    for (number, _) in exit::SIGNALS {
        let flag = cancel.flag();
        // In this order: the shutdown looks at the flag before it is raised.
        signal_hook::flag::register_conditional_shutdown(
            number,
            i32::from(exit::SIGNAL_BASE) + number,
            Arc::clone(&flag),
        )?;
        let value = usize::try_from(number).unwrap_or(0);
        signal_hook::flag::register_usize(number, Arc::clone(signal), value)?;
        signal_hook::flag::register(number, flag)?;
    }
    Ok(())
}
