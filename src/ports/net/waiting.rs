//! The only place where a thread waits for a socket.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::words::cancel::Cancel;
use crate::words::error::{Error, Operation, Result};

/// How often a waiting thread checks the cancel flag.
pub(super) const CANCEL_INTERVAL: Duration = Duration::from_millis(100);

/// Waits until the socket is broken or ready for one of the `wanted` uses. Returns what
/// it is ready for, or nothing when the time is over.
///
/// # Errors
///
/// - `Canceled`, within [`CANCEL_INTERVAL`].
/// - `Io`: the system cannot wait.
pub(super) fn wait_for(
    socket: &impl AsFd,
    node: &str,
    wanted: PollFlags,
    limit: Duration,
    cancel: &Cancel,
) -> Result<PollFlags> {
    let started = Instant::now();
    loop {
        cancel.check()?;
        let left = limit.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Ok(PollFlags::empty());
        }
        let timespec = Timespec {
            tv_sec: 0,
            tv_nsec: left.min(CANCEL_INTERVAL).subsec_nanos().max(1).into(),
        };
        let mut descriptors = [PollFd::new(socket, wanted)];
        match poll(&mut descriptors, Some(&timespec)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                let first = descriptors.first();
                return Ok(first.map_or(PollFlags::empty(), PollFd::revents));
            }
            Err(errno) => return Err(Error::net(Operation::Read, node, errno.into())),
        }
    }
}
