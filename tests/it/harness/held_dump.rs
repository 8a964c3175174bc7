//! A dump that halts in the middle until the test lets it go on, however fast the machine
//! is.

use std::fs;

use crate::harness::fault::{Call, Fault, Gate, Harm};
use crate::harness::workdir::{Run, Workdir};

/// Makes a dump named `a` in the store `s` halt when it has begun so many segments whose
/// file names are of a shell's pattern, such as `n0001-*` for those of the second server:
/// each writer that would begin another one waits at the gate. A dump fetches little more
/// than what it can write.
///
/// Where only one writer is left, as with `--shards=1`, all of these segments are sealed
/// then; each further writer may have one that is not.
pub(crate) fn hold(run: Run, workdir: &Workdir, names: &str, count: usize) -> (Run, Gate) {
    fs::create_dir_all(workdir.join("s")).unwrap();
    let fault = Fault::from(&[Call::Create], count + 1, Harm::Wait);
    let (run, gate) = fault.gate(run, &workdir.join("s/a/segments"), workdir);
    (run.env("FAULT_NAMES", names), gate)
}
