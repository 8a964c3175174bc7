//! What goes to stdout: reports, documents and values.

use std::io::{self, BufWriter, Write as _};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::item::escape_controls;
use mcsnap::words::pieces::Pieces;
use serde::Serialize;
use serde_json::Value;

use crate::render::fold::folded;

/// Something was written to stdout.
static HAS_PRINTED: AtomicBool = AtomicBool::new(false);

/// Says whether anything was written to stdout. Safe in a signal's action.
pub(crate) fn has_printed() -> bool {
    HAS_PRINTED.load(Ordering::Relaxed)
}

/// Prints lines of a label and a text, the texts below each other; on a terminal,
/// each text in as many lines as its width takes.
pub(crate) fn print_text(rows: &[(&str, String)]) -> Result<()> {
    let label_width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let columns = terminal_width();
    let lines: String = rows
        .iter()
        .map(|(label, text)| {
            // Of a text that a file or a server gave, no part is a line of its own.
            let text = escape_controls(text);
            match columns {
                Some(columns) => folded(label, label_width, &text, columns),
                None => format!("{label:label_width$}  {text}\n"),
            }
        })
        .collect();
    print(lines.as_bytes())
}

/// Returns the columns of stdout, if it is a terminal.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    // One that does not tell has 0.
    (size.ws_col > 0).then(|| usize::from(size.ws_col))
}

/// Says, where a report cannot be written, what was done all the same.
pub(crate) fn told(printed: Result<()>, done: impl FnOnce() -> String) -> Result<()> {
    printed.with_context(|| format!("{}, but its report could not be written", done()))
}

/// Prints the report of a failure for programs: one line where the command prints
/// lines, and nothing where another report was begun.
pub(crate) fn print_failure(prints_lines: bool, document: &Value) -> Result<()> {
    if prints_lines {
        return print(format!("{document}\n").as_bytes());
    }
    if has_printed() {
        return Ok(());
    }
    print_json(document)
}

/// Prints one JSON document.
pub(crate) fn print_json(document: &Value) -> Result<()> {
    print(format!("{document:#}\n").as_bytes())
}

/// Prints one JSON document as it comes, so that it need not fit memory.
pub(crate) fn print_document(document: &impl Serialize) -> Result<()> {
    HAS_PRINTED.store(true, Ordering::Relaxed);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, document)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    take_closed_pipe(written).context("cannot write to stdout")
}

/// Writes a value to stdout as it is read, as [`print`] does.
pub(crate) fn print_pieces(pieces: &mut dyn Pieces, cancel: &Cancel) -> Result<()> {
    while let Some(piece) = pieces.next_piece()? {
        cancel.check()?;
        if print_on(piece)
            .context("cannot write to stdout")?
            .is_break()
        {
            break;
        }
    }
    Ok(())
}

/// Writes to stdout. A reader who has seen enough is no failure; how the
/// command ended still goes into the exit code.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    if !bytes.is_empty() {
        HAS_PRINTED.store(true, Ordering::Relaxed);
    }
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    take_closed_pipe(written).context("cannot write to stdout")
}

fn take_closed_pipe(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes to stdout, and says whether anybody still reads.
pub(crate) fn print_on(bytes: &[u8]) -> io::Result<ControlFlow<()>> {
    HAS_PRINTED.store(true, Ordering::Relaxed);
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure_but_a_full_disk_is() {
        let result = |kind: io::ErrorKind| take_closed_pipe(Err(kind.into()));
        assert!(result(io::ErrorKind::BrokenPipe).is_ok());
        assert!(result(io::ErrorKind::StorageFull).is_err());
    }
}
