//! The signals that stop a job: the first asks it to, the second ends the program.

use std::io::{self, PipeReader, Read as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use mcsnap::words::cancel::Cancel;
use signal_hook::consts::{SIGBUS, SIGHUP, SIGINT, SIGTERM};

use crate::exit::{self, Signal};
use crate::render::has_printed;
use crate::stderr::has_bars;

/// What came of the signals so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signals {
    first: Arc<AtomicUsize>,
}

/// What the second signal, or a bus error, leaves on stdout: a report of its own,
/// by the signal's number. It is made beforehand, since a signal's action can make
/// nothing.
static LAST_WORDS: OnceLock<Vec<(i32, Vec<u8>)>> = OnceLock::new();

impl Signals {
    /// Returns the signal that came first, if one came.
    pub(crate) fn first(&self) -> Option<Signal> {
        Signal::of(i32::try_from(self.first.load(Ordering::Relaxed)).ok()?)
    }

    /// Raises the cancel flag at the first signal. What is returned has a byte to
    /// read from then on.
    #[expect(
        unsafe_code,
        reason = "a signal's action may only do what is safe at any moment"
    )]
    pub(crate) fn watch(&self, cancel: &Cancel) -> io::Result<PipeReader> {
        let (reader, writer) = io::pipe()?;
        let writer = Arc::new(writer);
        let is_told = Arc::new(AtomicBool::new(false));
        for signal in Signal::ALL {
            let number = signal.number();
            // Under nohup a job is to outlive its terminal.
            if number == SIGHUP && is_ignored(number) {
                continue;
            }
            let (flag, first) = (cancel.flag(), Arc::clone(&self.first));
            let (writer, is_told) = (Arc::clone(&writer), Arc::clone(&is_told));
            let value = usize::try_from(number).unwrap_or(0);
            let message = format!("mcsnap: ended at once by a second {}\n", signal.name());
            let action = move || {
                if is_told.swap(true, Ordering::Relaxed) {
                    // A terminal that is closed sends one, and its shell another.
                    if number == SIGHUP {
                        return;
                    }
                    leave(number, message.as_bytes(), signal.code());
                }
                first.store(value, Ordering::Relaxed);
                flag.store(true, Ordering::Relaxed);
                // If the pipe takes nothing, the job stops all the same.
                let _ = rustix::io::write(&*writer, &[0]);
            };
            // SAFETY: atomics, write and _exit are safe in a signal handler, and
            // nothing else is called: no memory is taken, no lock, no destructor
            // runs.
            unsafe { signal_hook::low_level::register(number, action) }?;
        }
        // Raised where a file would become larger than the user's limit, next to an
        // error of the write, which says more than a signal does.
        signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())?;
        Ok(reader)
    }
}

/// Calls this when the first signal comes; the job itself is stopped already.
///
/// Where no thread can be had nothing is told, and the job stops all the same.
pub(crate) fn on_first(
    mut reader: PipeReader,
    tell: impl FnOnce() + Send + 'static,
) -> Option<JoinHandle<()>> {
    let wait = move || {
        if reader.read_exact(&mut [0]).is_ok() {
            tell();
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)
        .ok()
}

/// Sets what an end at once prints on stdout: `words` makes it of the exit code, the
/// verdict and the reason.
pub(crate) fn set_last_words(words: impl Fn(u8, &str, &str) -> Vec<u8>) {
    let second = |signal: Signal| {
        let message = format!("ended at once by a second {}", signal.name());
        let words = words(signal.code(), "stopped", &message);
        (signal.number(), words)
    };
    let mut all: Vec<_> = [SIGINT, SIGTERM]
        .into_iter()
        .filter_map(Signal::of)
        .map(second)
        .collect();
    all.push((SIGBUS, words(exit::FAILED, "failed", BUS_ERROR)));
    // A second call changes nothing; there is one.
    let _ = LAST_WORDS.set(all);
}

/// Ends the program with a message. Safe in a signal's action.
fn leave(number: i32, message: &[u8], code: u8) -> ! {
    // Nothing is left to tell it to if this fails.
    if has_bars() {
        let _ = rustix::io::write(rustix::stdio::stderr(), b"\n");
    }
    let _ = rustix::io::write(rustix::stdio::stderr(), message);
    // Behind half of another report it would spoil both.
    if !has_printed()
        && let Some(all) = LAST_WORDS.get()
        && let Some((_, words)) = all.iter().find(|(signal, _)| *signal == number)
    {
        let _ = rustix::io::write(rustix::stdio::stdout(), words);
    }
    signal_hook::low_level::exit(code.into())
}

const BUS_ERROR: &str = "a file became shorter, or its disk failed, while it was mapped into \
    memory (SIGBUS); with --mmap never it is named by verify and restore";

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
pub(crate) fn tell_bus_errors() -> io::Result<()> {
    let message = format!("mcsnap: {BUS_ERROR}\n");
    let action = move || leave(SIGBUS, message.as_bytes(), exit::FAILED);
    // SAFETY: as above.
    unsafe { signal_hook::low_level::register(SIGBUS, action) }.map(drop)
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
