//! Takes what is in running memcached servers, puts it into files that last,
//! and puts it back anywhere.

mod cli;
mod commands;
mod config;
mod connect;
mod context;
mod exit;
mod logging;
mod naming;
mod progress;
mod render;
mod settings;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser as _;
use mcsnap::cancel::Cancel;
use mcsnap::item::escape_controls;
use signal_hook::consts::{SIGBUS, SIGHUP};

use crate::cli::Cli;
use crate::context::Context;
use crate::logging::{LogHealth, record_end};

fn main() -> ExitCode {
    let cancel = Cancel::new();
    let signal = Arc::new(AtomicUsize::new(0));
    let log = LogHealth::default();
    let cli = Cli::parse();
    let result = watch_signals(&cancel, &signal)
        .and_then(|()| tell_bus_errors())
        .map_err(anyhow::Error::from)
        .and_then(|()| config::read_environment(std::env::vars_os()))
        .and_then(|environment| Context::new(&cli.global, environment, cancel.clone(), &log))
        .and_then(|context| commands::dispatch(&context, cli.command));
    let code = match result {
        Ok(outcome) => {
            let code = exit::code_of(outcome);
            record_end(code, None);
            code
        }
        Err(error) => {
            let signal = signal.load(Ordering::Relaxed);
            let message = exit::message_of(&error, signal);
            // Nothing is left to tell it to if this fails.
            let _ = writeln!(io::stderr(), "mcsnap: {message}");
            let code = exit::code_of_error(&error, signal);
            record_end(code, Some(&message));
            code
        }
    };
    // The work is what it is; the code tells of nothing else.
    if let Some(failure) = log.failure() {
        let _ = writeln!(io::stderr(), "mcsnap: {}", escape_controls(failure));
    }
    ExitCode::from(code)
}

/// The first signal asks the job to stop, the second ends the program.
fn watch_signals(cancel: &Cancel, signal: &Arc<AtomicUsize>) -> io::Result<()> {
    for (number, _) in exit::SIGNALS {
        // Under nohup a job is to outlive its terminal.
        if number == SIGHUP && is_ignored(number) {
            continue;
        }
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
    // Raised where a file would become larger than the user's limit, next to an
    // error of the write, which says more than a signal does.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
    Ok(())
}

/// Says whether the program was started with this signal ignored, as far as
/// the system tells.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal - 1)
        .ok()
        .and_then(|place| 1_u64.checked_shl(place));
    mask.zip(bit).is_some_and(|(mask, bit)| mask & bit != 0)
}

/// Ends the program with a message where a mapped file cannot be read any more:
/// another process cut it short, or its disk failed. Only the kernel knows, and
/// only at the moment of the access, so that no check before it can help.
///
/// What a job was writing at that moment stays behind as after a kill: of the
/// jobs that map files only the dump of a restart file writes, and what it
/// leaves has no manifest and is no snapshot.
#[expect(
    unsafe_code,
    reason = "a signal's action may only do what is safe at any moment"
)]
fn tell_bus_errors() -> io::Result<()> {
    let action = || {
        const MESSAGE: &[u8] = b"mcsnap: a file became shorter, or its disk failed, while it \
            was mapped into memory (SIGBUS); with --mmap never it is named by verify and restore\n";
        // Nothing is left to tell it to if this fails.
        let _ = rustix::io::write(rustix::stdio::stderr(), MESSAGE);
        signal_hook::low_level::exit(exit::FAILED.into());
    };
    // SAFETY: write and _exit are safe in a signal handler, and nothing else is
    // called: no memory is taken, no lock, no destructor runs.
    unsafe { signal_hook::low_level::register(SIGBUS, action) }.map(drop)
}
