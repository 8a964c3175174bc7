//! The signals that stop a process until it is continued, held while a walk is read.
//!
//! A server whose walk is not read can stop all its clients, and so would Ctrl-Z, or a
//! write of a job in the background to a terminal that allows none.
//!
//! The signals are blocked in all threads, so that they are pending, and the system lets
//! a job in the background write to its terminal. A thread of their own looks whether
//! one is pending, and lets it act between walks: then it does what it always does,
//! nothing where nobody could continue the process; and a SIGCONT takes it back.

use std::io::{self, IsTerminal as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::thread;

use mcsnap::engines::source::{between_walks, walks_under_way};
use rustix::event::{PollFd, PollFlags, poll};

/// The signals, but for SIGSTOP, which nobody can hold.
const SIGNALS: [libc::c_int; 3] = [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];

/// Holds them from now on. To be called before there is another thread: threads have the
/// mask of the one that made them.
pub(crate) fn hold() -> io::Result<()> {
    let set = set_of_signals();
    change_mask(libc::SIG_BLOCK, &set)?;
    let pending = open_descriptor(&set)?;
    let watcher = thread::Builder::new().name("stop-signals".to_owned());
    watcher.spawn(move || watch(&pending, &set)).map(drop)
}

fn watch(pending: &OwnedFd, set: &libc::sigset_t) {
    loop {
        // It can be read from as long as one is pending; nobody does.
        let mut descriptors = [PollFd::new(pending, PollFlags::IN)];
        match poll(&mut descriptors, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            // They stay blocked, which hurts nobody's cache.
            Err(_) => return,
        }
        if walks_under_way() > 0 {
            tell();
        }
        between_walks(|| {
            // The process stops within the first of these, and goes on from there.
            let released = change_mask(libc::SIG_UNBLOCK, set);
            let held = change_mask(libc::SIG_BLOCK, set);
            debug_assert!(released.is_ok() && held.is_ok());
        });
    }
}

/// Tells whoever pressed Ctrl-Z why nothing happens. On a thread of its own: a terminal
/// may be stopped, too.
fn tell() {
    const LINE: &str = "mcsnap: stops when the list of keys that it reads is at its end; a list \
        that is not read would hold up the server's clients\n";
    if io::stderr().is_terminal() {
        let teller = thread::Builder::new();
        // Nothing is left to tell it to if this fails.
        let _ = teller.spawn(|| io::stderr().write_all(LINE.as_bytes()));
    }
}

#[expect(unsafe_code, reason = "the system's own sets of signals")]
fn set_of_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the first call fills the set, the others change what is filled; none
    // keeps the pointer. They fail for numbers that are no signals only.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in SIGNALS {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

#[expect(unsafe_code, reason = "the system's own masks of signals")]
fn change_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is a whole one, and no old mask is asked for.
    let failure = unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) };
    match failure {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

#[expect(unsafe_code, reason = "no safe crate that is here opens one")]
fn open_descriptor(set: &libc::sigset_t) -> io::Result<OwnedFd> {
    // SAFETY: the set is a whole one; -1 asks for a new descriptor.
    let descriptor = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
