//! The terminal on which bars are drawn.

use std::io::{self, IsTerminal as _, Write as _};

use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// The terminal that stderr is. What is drawn is gathered, and written at once: what the
/// terminal echoes of a key comes between two drawings then, and never into the middle
/// of one, or of the code that moves the cursor.
#[derive(Debug, Default)]
struct Screen {
    drawn: Mutex<Drawn>,
}

#[derive(Debug, Default)]
struct Drawn {
    text: String,
    /// Something was written since the cursor was moved away from the end.
    is_at_end: bool,
}

impl Screen {
    /// Returns columns and rows, which may change at any time.
    fn size() -> (u16, u16) {
        let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
        let size = size.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col, size.ws_row))
    }

    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, text: &str) -> io::Result<()> {
        self.drawn().text.push_str(text);
        Ok(())
    }

    fn move_cursor(&self, count: usize, way: char) -> io::Result<()> {
        match count {
            0 => Ok(()),
            count => self.draw(&format!("\x1b[{count}{way}")),
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
        self.move_cursor(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.move_cursor(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.draw(&format!("{text}\n"))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let mut drawn = self.drawn();
        drawn.is_at_end = true;
        drawn.text.push_str(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let mut drawn = self.drawn();
        if std::mem::take(&mut drawn.is_at_end) {
            drawn.text.push_str(&format!("\x1b[{MARGIN}D"));
        }
        let text = std::mem::take(&mut drawn.text);
        io::stderr().write_all(text.as_bytes())
    }
}
