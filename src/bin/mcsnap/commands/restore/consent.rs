//! A question to the person at the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Result;
use mcsnap::words::cancel::Cancel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longest answer that is read.
const ANSWER_LEN_MAX: usize = 1000;

/// Asks on stderr, and says whether the answer is yes; none where there is nobody to
/// ask, since stdin or stderr is no terminal. The end of the input is no.
///
/// # Errors
///
/// - `Canceled`, within a tenth of a second; what stdin and stderr fail with.
pub(super) fn ask(question: &str, cancel: &Cancel) -> Result<Option<bool>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = Vec::new();
    // Byte by byte, so that nothing behind the line is taken.
    while let Some(byte) = next_byte(cancel)? {
        if byte == b'\n' || answer.len() >= ANSWER_LEN_MAX {
            break;
        }
        answer.push(byte);
    }
    Ok(Some(is_yes(&answer)))
}

fn is_yes(answer: &[u8]) -> bool {
    let answer = answer.trim_ascii().to_ascii_lowercase();
    answer == b"y" || answer == b"yes"
}

/// Returns the next byte of stdin, and none at its end.
fn next_byte(cancel: &Cancel) -> Result<Option<u8>> {
    /// How often a person who thinks is looked away from.
    const INTERVAL: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let stdin = rustix::stdio::stdin();
    loop {
        cancel.check()?;
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waiting, Some(&INTERVAL)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let mut byte = [0];
        match rustix::io::read(stdin, &mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(byte.first().copied()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for answer in ["y", "Y", "yes", " YES \r"] {
            assert!(is_yes(answer.as_bytes()), "{answer:?}");
        }
        for answer in ["", "n", "no", "yeah, no", "1"] {
            assert!(!is_yes(answer.as_bytes()), "{answer:?}");
        }
    }
}
