//! Texts that are broken where a screen ends.

/// Narrower than this, broken lines are no easier to read.
const ROOM_MIN: usize = 30;

/// Writes a label and a text in as many lines as a screen takes, broken at blanks; all
/// but the first begin further in.
pub(crate) fn folded(label: &str, label_width: usize, text: &str, columns: usize) -> String {
    let indent = label_width.saturating_add(2);
    let mut made = String::new();
    for (index, line) in lines(text, columns.saturating_sub(indent))
        .iter()
        .enumerate()
    {
        match index {
            0 => made.push_str(&format!("{label:label_width$}  {line}\n")),
            _ => made.push_str(&format!("{:indent$}  {line}\n", "")),
        }
    }
    made
}

/// Writes a text alone in the same way.
pub(crate) fn folded_alone(text: &str, columns: usize) -> String {
    lines(text, columns).join("\n  ")
}

/// Breaks a text: the first line has so much room, and the others two columns less.
fn lines(text: &str, room: usize) -> Vec<String> {
    let len = |text: &str| text.chars().count();
    if room < ROOM_MIN || len(text) <= room {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_first = lines.len() == 1;
        let room = if is_first {
            room
        } else {
            room.saturating_sub(2)
        };
        let Some(line) = lines.last_mut() else {
            break;
        };
        let gap = usize::from(!line.is_empty());
        if gap == 0 || len(line).saturating_add(gap).saturating_add(len(word)) <= room {
            if gap == 1 {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    for line in &mut lines {
        line.truncate(line.trim_end().len());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_where_a_screen_ends_and_no_word_is_lost() {
        let text = "127.0.0.1:11301  memcached 1.6.18, metadump-hash, 48,039 items at start, 48,039 \
                    at end, 48,039 stored";
        for columns in [60, 80, 100, 120] {
            let lines = folded("node", 8, text, columns);
            assert!(lines.lines().all(|line| line.len() <= columns), "{lines}");
            assert!(lines.starts_with("node      127.0.0.1:11301  memcached"));
            let words = |text: &str| {
                text.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert_eq!(words(&lines)[1..], words(text));
        }
        let narrow = folded("node", 8, text, 20);
        assert_eq!(narrow, format!("node      {text}\n"));
        let long = "x".repeat(100);
        let unbroken = folded("a", 1, &format!("see {long}"), 40);
        assert_eq!(unbroken, format!("a  see\n     {long}\n"));
    }

    #[test]
    fn a_line_alone_goes_on_further_in() {
        let text = "mcsnap: stopping (SIGINT): keeping what is sealed";
        assert_eq!(
            folded_alone(text, 35),
            "mcsnap: stopping (SIGINT): keeping\n  what is sealed"
        );
        assert_eq!(folded_alone(text, 80), text);
    }
}
