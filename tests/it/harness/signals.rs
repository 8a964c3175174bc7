//! Signals to running programs.

use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal by its name without `SIG`, such as `STOP`.
pub(crate) fn signal(child: &Child, name: &str) {
    send_signal(child.id(), name);
}

/// Does the same to a process by its id. No program is started for it: that could take
/// longer than what is to be caught in the middle.
pub(crate) fn send_signal(pid: u32, name: &str) {
    let signal = match name {
        "CONT" => Signal::CONT,
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "STOP" => Signal::STOP,
        "TERM" => Signal::TERM,
        "TSTP" => Signal::TSTP,
        "TTIN" => Signal::TTIN,
        "TTOU" => Signal::TTOU,
        "USR1" => Signal::USR1,
        _ => panic!("no signal {name}"),
    };
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}
