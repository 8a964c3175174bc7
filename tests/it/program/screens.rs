//! What is drawn on a terminal fits it, and nothing is left behind.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::harness::client::Item;
use crate::harness::fake_server::{FakeServer, Step};
use crate::harness::memcached::Memcached;
use crate::harness::running_job::wait_until;
use crate::harness::workdir::{PROGRAM, Workdir, clear_settings};
use crate::program::stopped_jobs::walking_server;

/// A terminal: what is on it, line by line, from all that was written to it.
struct Terminal {
    columns: usize,
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// Lines that were too long, and went on in the next one. Blanks to the end of a
    /// line are no such thing: so the bars go from line to line.
    wrapped: usize,
}

impl Terminal {
    fn show(columns: usize, written: &str) -> Terminal {
        let mut terminal = Terminal {
            columns,
            lines: vec![Vec::new()],
            row: 0,
            column: 0,
            wrapped: 0,
        };
        let mut rest = written.chars();
        while let Some(letter) = rest.next() {
            match letter {
                '\r' => terminal.column = 0,
                '\n' => terminal.go_down(1),
                '\x1b' => {
                    assert_eq!(rest.next(), Some('['));
                    let sequence: String = rest
                        .by_ref()
                        .take_while_inclusive(|letter| !letter.is_ascii_alphabetic());
                    terminal.obey(&sequence);
                }
                letter => terminal.put(letter),
            }
        }
        terminal
    }

    fn go_down(&mut self, count: usize) {
        self.row += count;
        while self.lines.len() <= self.row {
            self.lines.push(Vec::new());
        }
    }

    fn put(&mut self, letter: char) {
        if self.column == self.columns {
            let is_full = self.lines[self.row].last().is_some_and(|last| *last != ' ');
            self.wrapped += usize::from(is_full);
            self.go_down(1);
            self.column = 0;
        }
        let line = &mut self.lines[self.row];
        while line.len() <= self.column {
            line.push(' ');
        }
        line[self.column] = letter;
        self.column += 1;
    }

    fn obey(&mut self, sequence: &str) {
        let (number, letter) = sequence.split_at(sequence.len() - 1);
        let count: usize = number.parse().unwrap_or(1);
        match letter {
            "A" => self.row = self.row.saturating_sub(count),
            "B" => self.go_down(count),
            "C" => self.column += count,
            "D" => self.column = self.column.min(self.columns - 1).saturating_sub(count),
            "K" => self.lines[self.row].clear(),
            "m" => {}
            other => panic!("what is {other}?"),
        }
    }

    fn text(&self) -> Vec<String> {
        let line = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned();
        self.lines
            .iter()
            .map(line)
            .filter(|line| !line.is_empty())
            .collect()
    }
}

trait TakeInclusive: Iterator<Item = char> {
    /// Takes letters up to the first that does not go on, and that one.
    fn take_while_inclusive(&mut self, goes_on: impl Fn(&char) -> bool) -> String {
        let mut taken = String::new();
        for letter in self {
            taken.push(letter);
            if !goes_on(&letter) {
                break;
            }
        }
        taken
    }
}

impl<I: Iterator<Item = char>> TakeInclusive for I {}

/// A script that runs on a terminal of so many columns.
fn on_terminal(workdir: &Workdir, columns: usize, script: &str) -> Command {
    let script = format!("stty cols {columns} rows 30; exec {script}");
    let mut command = Command::new("script");
    clear_settings(&mut command)
        .current_dir(workdir.path())
        .args([
            "--quiet",
            "--flush",
            "--return",
            "--command",
            &script,
            "written",
        ]);
    command
}

/// Runs it to the end; returns all that it wrote.
fn written_by(command: &mut Command) -> String {
    let output = command.output().unwrap();
    // script itself wants no terminal, and what it prints is what it writes down.
    let written = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!written.is_empty(), "{output:?}");
    written
}

#[test]
fn bars_and_reports_fit_the_screen() {
    let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
    for server in &servers {
        let items = (0..3000).map(|at| Item::new(format!("key:{at}"), vec![b'v'; 100]));
        server.client().load(items);
    }
    let addresses: Vec<String> = servers.iter().map(Memcached::address).collect();
    let addresses = addresses.join(" ");
    let workdir = Workdir::new("screens");
    for columns in [80, 100, 120] {
        let dump =
            format!("{PROGRAM} dump {addresses} --to s --name c{columns} --parallel-nodes 2");
        let written = written_by(&mut on_terminal(&workdir, columns, &dump));
        let terminal = Terminal::show(columns, &written);
        assert_eq!(terminal.wrapped, 0, "{columns}: {written:?}");
        // A bar was drawn, and of none anything is left.
        let shown = terminal.text();
        assert!(written.contains("/s"), "{written:?}");
        assert!(
            !shown
                .iter()
                .any(|line| line.contains("/s ") && !line.contains("/s/"))
        );
        let report = shown.iter().position(|line| line.starts_with("snapshot  "));
        assert_eq!(report, Some(3), "{shown:#?}");
        assert!(
            shown[..3]
                .iter()
                .all(|line| line.ends_with(": 3,000 items")),
            "{shown:#?}"
        );
        assert!(
            shown
                .iter()
                .any(|line| line.starts_with("complete  100.0000 %"))
        );
    }
}

/// A terminal writes `^C` where the cursor is.
#[test]
fn a_key_that_stops_a_job_leaves_no_bar_behind() {
    for columns in [80, 100, 120] {
        let servers = [(); 3].map(|()| walking_server("1.6.44", Step::Hang));
        let addresses = servers.each_ref().map(FakeServer::address).join(" ");
        let workdir = Workdir::new("key");
        let dump = format!("{PROGRAM} dump {addresses} --to s --name a");
        let mut child = on_terminal(&workdir, columns, &dump)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let bars = |written: &str| written.matches(" of 3 ").count();
        wait_until("bars are drawn", || {
            let written = fs::read(workdir.join("written")).unwrap_or_default();
            bars(&String::from_utf8_lossy(&written)) > 8
        });
        let mut keys = child.stdin.take().unwrap();
        keys.write_all(b"\x03").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130));
        let written = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(written.contains("^C"), "{written:?}");
        let shown = Terminal::show(columns, &written).text();
        assert_eq!(bars(&shown.join("\n")), 0, "{columns}: {shown:#?}");
        let notice = "mcsnap: stopping (SIGINT): dropping the segments under way";
        assert!(shown[0].starts_with(notice), "{columns}: {shown:#?}");
        assert!(shown.iter().all(|line| line.len() <= columns), "{shown:#?}");
        assert!(
            shown
                .last()
                .unwrap()
                .starts_with("mcsnap: stopped by SIGINT")
        );
    }
}
