//! What is done when the bench is told to end early: its servers would outlive it.

use std::process::exit;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process::descendants;

/// From now on, a signal to end also ends all processes that this one has started.
pub(crate) fn take_all_along() {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).unwrap();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for pid in descendants() {
                // It may have ended by itself.
                let _ = kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL);
            }
            exit(128 + signal);
        }
    });
}
