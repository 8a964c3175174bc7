//! Lines on stderr: each in one piece, and as the system's journal sorts them.

use std::io::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::render::fold::folded_alone;

/// How grave a line is, by the numbers of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    Error = 3,
    Warning = 4,
    Info = 6,
    Debug = 7,
}

/// Bars are on the screen, and the cursor is behind the last of them.
static HAS_BARS: AtomicBool = AtomicBool::new(false);

/// Notes whether bars are on the screen.
pub(crate) fn set_bars(are_shown: bool) {
    HAS_BARS.store(are_shown, Ordering::Relaxed);
}

/// Says whether bars are on the screen. Safe in a signal's action.
pub(crate) fn has_bars() -> bool {
    HAS_BARS.load(Ordering::Relaxed)
}

/// Writes a line. A closed stderr is no reason to stop what tells of itself.
pub(crate) fn write_line(priority: Priority, line: &str) {
    let line = format!("{}{line}\n", prefix(priority));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Writes a line in the name of the program; on a terminal, in as many lines as its
/// width takes.
pub(crate) fn tell(priority: Priority, message: &str) {
    let line = format!("mcsnap: {message}");
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    match size.ok().filter(|size| size.ws_col > 0) {
        Some(size) => write_line(priority, &folded_alone(&line, size.ws_col.into())),
        None => write_line(priority, &line),
    }
}

/// Returns what goes before a line: where stderr is the journal, the priority as
/// `sd-daemon(3)` has it, and nothing elsewhere.
pub(crate) fn prefix(priority: Priority) -> &'static str {
    match (is_journal(), priority) {
        (false, _) => "",
        (true, Priority::Error) => "<3>",
        (true, Priority::Warning) => "<4>",
        (true, Priority::Info) => "<6>",
        (true, Priority::Debug) => "<7>",
    }
}

/// Says whether stderr is the journal's socket: systemd names the device and the
/// inode of the one that it has made, and a child may have another stderr.
pub(crate) fn is_journal() -> bool {
    static IS_JOURNAL: OnceLock<bool> = OnceLock::new();
    *IS_JOURNAL.get_or_init(|| {
        let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let stat = rustix::fs::fstat(rustix::stdio::stderr());
        stat.is_ok_and(|stat| is_stream(&stream, stat.st_dev, stat.st_ino))
    })
}

fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream == format!("{device}:{inode}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_device_and_inode() {
        assert!(is_stream("8:42", 8, 42));
        for other in ["", "8:43", "9:42", "8", "8:42:1", "x:y"] {
            assert!(!is_stream(other, 8, 42), "{other}");
        }
    }
}
