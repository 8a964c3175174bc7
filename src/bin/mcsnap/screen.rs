//! The terminal on which bars are drawn.

use std::io::{self, IsTerminal as _, Write as _};

use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};

/// How often a second bars are drawn.
const RATE: u8 = 20;

/// Columns at the right of a bar that stay free, and where the cursor waits: a terminal
/// writes `^C` there. indicatif leaves it at the very end, from where that would go to
/// the next line; the bars would be looked for one line too far down, and one of them
/// left behind.
pub(crate) const MARGIN: usize = 3;

/// Makes a place for bars, which shows none where stderr is no terminal.
pub(crate) fn make_bars() -> MultiProgress {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), RATE),
        false => ProgressDrawTarget::hidden(),
    };
    MultiProgress::with_draw_target(target)
}

/// The terminal that stderr is.
#[derive(Debug, Default)]
struct Screen {
    /// Something was written since the cursor was moved away from the end.
    is_at_end: AtomicBool,
}

impl Screen {
    /// Returns columns and rows, which may change at any time.
    fn size() -> (u16, u16) {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
        let size = size.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
    }

    fn move_cursor(count: usize, way: char) -> io::Result<()> {
        match count {
            0 => Ok(()),
            count => write!(io::stderr(), "\x1b[{count}{way}"),
        }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        Self::size().0
    }

    fn height(&self) -> u16 {
        Self::size().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        Self::move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        io::stderr().write_all(format!("{text}\n").as_bytes())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.is_at_end.store(true, Ordering::Relaxed);
        io::stderr().write_all(text.as_bytes())
    }

    fn clear_line(&self) -> io::Result<()> {
        io::stderr().write_all(b"\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        if self.is_at_end.swap(false, Ordering::Relaxed) {
            Self::move_cursor(MARGIN, 'D')?;
        }
        io::stderr().flush()
    }
}
