//! Aligned columns for a terminal of 80 columns, with bars and keys that fill
//! what is left of a line.

use mcsnap::words::item::escape_bytes;

/// No line is longer, in columns. Everything but the bars is ASCII.
pub(crate) const WIDTH: usize = 80;

const GAP: &str = "  ";
const CUT: &str = "...";

/// On which side of its column a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column<'a> {
    pub(crate) heading: &'a str,
    pub(crate) align: Align,
    /// At least so wide, so that tables below each other have one grid.
    pub(crate) width_min: usize,
}

/// One line of a table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// One a column.
    pub(crate) cells: Vec<String>,
    /// What fills the rest of the line.
    pub(crate) tail: Tail,
}

/// What fills the rest of a line.
#[derive(Clone, Debug)]
pub(crate) enum Tail {
    Empty,
    /// A bar, as long as this part of 1.
    Bar(f64),
    /// A key, cut where it does not fit.
    Key(Vec<u8>),
}

/// Draws a table: a line of headings, then the rows.
///
/// A column more than there are cells is that of the tails.
pub(crate) fn draw(columns: &[Column<'_>], rows: &[Row]) -> String {
    let head = Row {
        cells: columns
            .iter()
            .map(|column| column.heading.to_owned())
            .collect(),
        tail: Tail::Empty,
    };
    let all = || std::iter::once(&head).chain(rows);
    let widths = columns.iter().enumerate().map(|(number, column)| {
        let lens = all().filter_map(|row| row.cells.get(number).map(|cell| len_of(cell)));
        lens.max().unwrap_or(0).max(column.width_min)
    });
    let widths: Vec<usize> = widths.collect();
    let mut text = String::new();
    for row in all() {
        let mut line = String::new();
        let columns = columns.iter().zip(&widths);
        for (number, (cell, (column, &width))) in row.cells.iter().zip(columns).enumerate() {
            if number > 0 {
                line.push_str(GAP);
            }
            match column.align {
                Align::Right => line.push_str(&format!("{cell:>width$}")),
                Align::Left => line.push_str(&format!("{cell:<width$}")),
            }
        }
        let room = WIDTH.saturating_sub(len_of(&line).saturating_add(GAP.len()));
        let tail = match &row.tail {
            Tail::Empty => String::new(),
            Tail::Bar(part) => bar(*part, room.min(BAR_LEN_MAX)),
            Tail::Key(key) => fit_key(key, room),
        };
        if !tail.is_empty() {
            line.push_str(GAP);
            line.push_str(&tail);
        }
        text.push_str(fit_end(&line, WIDTH).trim_end());
        text.push('\n');
    }
    text
}

const BAR_LEN_MAX: usize = 30;

/// Draws a bar in eighths of a column; what is not nothing is seen.
fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let all = width.saturating_mul(8);
    let least = usize::from(part > 0.0);
    // A float has no checked conversion: the length is searched for instead.
    let is_within = |eighths: &usize| to_part(*eighths, all) <= part;
    let filled = (1..=all).take_while(is_within).count().max(least).min(all);
    let mut bar = "█".repeat(filled / 8);
    if let Some(last) = (filled % 8).checked_sub(1) {
        bar.extend(EIGHTHS.get(last));
    }
    bar
}

fn to_part(count: usize, whole: usize) -> f64 {
    let [count, whole] = [count, whole].map(mcsnap::words::units::to_u64);
    mcsnap::words::units::percent(count, whole) / 100.0
}

/// Writes a key for people, cut with `...` to a number of columns; never in the
/// middle of an escape.
pub(crate) fn fit_key(key: &[u8], width: usize) -> String {
    let whole = escape_bytes(key);
    if whole.len() <= width {
        return whole;
    }
    let room = width.saturating_sub(CUT.len());
    let mut text = String::new();
    for byte in key {
        let piece = escape_bytes(&[*byte]);
        if text.len().saturating_add(piece.len()) > room {
            break;
        }
        text.push_str(&piece);
    }
    text.push_str(CUT);
    fit_end(&text, width)
}

/// Writes text from outside so that it neither moves the cursor nor takes more
/// columns than letters: printable ASCII as it is, the rest escaped.
pub(crate) fn plain(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_plain {
        return text.to_owned();
    }
    escape_bytes(text.as_bytes())
}

/// Cuts what is too long at its end.
pub(crate) fn fit_end(text: &str, width: usize) -> String {
    if len_of(text) <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(CUT.len());
    let kept: String = text.chars().take(room).collect();
    format!("{kept}{CUT}").chars().take(width).collect()
}

/// Cuts what is too long at its start: the end of a path tells more.
pub(crate) fn fit_start(text: &str, width: usize) -> String {
    let len = len_of(text);
    if len <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(CUT.len());
    let kept: String = text.chars().skip(len.saturating_sub(room)).collect();
    format!("{CUT}{kept}").chars().take(width).collect()
}

/// Writes a label and a text, broken at blanks into as many lines as it takes.
pub(crate) fn labelled(label: &str, label_width: usize, text: &str) -> String {
    let width = WIDTH.saturating_sub(label_width.saturating_add(GAP.len()));
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut rest = word;
        loop {
            let last = lines.last().map_or("", String::as_str);
            let gap = usize::from(!last.is_empty());
            let room = width.saturating_sub(len_of(last).saturating_add(gap));
            if len_of(rest) <= room {
                break;
            }
            if gap == 1 && len_of(rest) <= width {
                lines.push(String::new());
                break;
            }
            // Longer than any line: broken where the line ends.
            let at = rest
                .char_indices()
                .nth(room)
                .map_or(rest.len(), |(at, _)| at);
            let (piece, more) = rest.split_at(at);
            push_word(&mut lines, piece);
            lines.push(String::new());
            rest = more;
        }
        push_word(&mut lines, rest);
    }
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    let lines = lines.iter().zip(labels);
    lines
        .map(|(line, label)| {
            format!("{label:label_width$}{GAP}{line}")
                .trim_end()
                .to_owned()
                + "\n"
        })
        .collect()
}

fn push_word(lines: &mut [String], word: &str) {
    if let Some(line) = lines.last_mut().filter(|_| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
}

fn len_of(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_tails_fill_the_line() {
        let row = |label: &str, count: &str, tail| Row {
            cells: vec![label.to_owned(), count.to_owned()],
            tail,
        };
        let column = |heading, align, width_min| Column {
            heading,
            align,
            width_min,
        };
        let columns = [
            column("kind", Align::Left, 7),
            column("records", Align::Right, 0),
            column("key", Align::Left, 0),
        ];
        let rows = [
            row("a", "1", Tail::Bar(0.5)),
            row("other", "1,234,567", Tail::Key(vec![b'\n'; 250])),
            row("b", "2", Tail::Empty),
        ];
        let text = draw(&columns, &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "kind       records  key");
        assert_eq!(lines[1], "a                1  ███████████████");
        assert_eq!(len_of(lines[2]), 79);
        assert!(lines[2].ends_with("\\x0a..."), "{text}");
        assert_eq!(lines[3], "b                2");
    }

    #[test]
    fn a_bar_shows_what_there_is_and_no_more() {
        for (part, wanted) in [
            (0.0, ""),
            (1e-9, "▏"),
            (0.25, "█"),
            (0.3, "█▏"),
            (1.0, "████"),
            (7.0, "████"),
            (f64::NAN, ""),
        ] {
            assert_eq!(bar(part, 4), wanted, "{part}");
        }
        assert_eq!(bar(1.0, 0), "");
    }

    #[test]
    fn what_does_not_fit_is_cut_with_dots() {
        assert_eq!(fit_key(b"a\xffb", 6), "a\\xffb");
        assert_eq!(fit_key(b"a\xffbc", 6), "a...");
        assert_eq!(fit_key(b"abcdef", 2), "..");
        assert_eq!(fit_end("abcdef", 5), "ab...");
        assert_eq!(fit_start("/long/path", 7), "...path");
        assert_eq!(plain("a\u{1b}[2Jé"), "a\\x1b[2J\\xc3\\xa9");
    }

    #[test]
    fn long_text_is_broken_at_blanks_or_where_it_must() {
        let text = labelled(
            "label",
            6,
            &format!("{} {}", "word ".repeat(20), "x".repeat(200)),
        );
        assert!(text.starts_with("label   word word"), "{text}");
        for line in text.lines() {
            assert!(len_of(line) <= WIDTH, "{line}");
        }
        let letters = text.matches('x').count();
        assert_eq!((letters, text.matches("word").count()), (200, 20));
        assert_eq!(labelled("a", 1, ""), "a\n");
    }
}
