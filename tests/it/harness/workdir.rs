//! A directory for one test, and the program run inside it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mcsnap");

/// A program that runs for so long hangs.
const RUN_LIMIT: Duration = Duration::from_secs(300);

/// More of the listing or of a stream than this helps nobody.
const SHOWN_MAX: usize = 20_000;

/// A temporary directory; removed when the test passes, kept and named when it fails.
#[derive(Debug)]
pub(crate) struct Workdir {
    directory: TempDir,
}

impl Workdir {
    pub(crate) fn new(name: &str) -> Workdir {
        let directory = tempfile::Builder::new()
            .prefix(&format!("mcsnap-{name}-"))
            .tempdir()
            .unwrap();
        Workdir { directory }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn join(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path().join(relative)
    }

    /// The program with these arguments and this directory as its working directory.
    pub(crate) fn mcsnap<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Run {
        let mut run = self.run_of(PROGRAM);
        run.command.args(arguments);
        run
    }

    /// The same, run by another program, such as `["strace", "-f"]`.
    pub(crate) fn mcsnap_by<S: AsRef<OsStr>>(
        &self,
        runner: &[&str],
        arguments: impl IntoIterator<Item = S>,
    ) -> Run {
        let mut run = self.run_of(runner[0]);
        run.command.args(&runner[1..]).arg(PROGRAM).args(arguments);
        run
    }

    /// Another program, without arguments yet, run as ours is.
    pub(crate) fn run_of(&self, program: &str) -> Run {
        let mut command = Command::new(program);
        command.current_dir(self.path()).stdin(Stdio::null());
        clear_settings(&mut command);
        Run {
            command,
            directory: self.path().to_owned(),
        }
    }
}

/// Keeps the settings of the person who runs the tests from the program, and does not
/// let it wait for servers that will never come.
pub(crate) fn clear_settings(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("MCSNAP_") {
            command.env_remove(name);
        }
    }
    command
        .env("MCSNAP_DUMP_WAIT_FOR_NODE", "0s")
        .env("MCSNAP_RESTORE_WAIT_FOR_NODE", "0s")
}

impl Drop for Workdir {
    fn drop(&mut self) {
        if thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!("kept {}", self.path().display());
        }
    }
}

/// One run of the program, not started yet.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    directory: PathBuf,
}

impl Run {
    /// Gives it a file as standard input.
    pub(crate) fn read_from(mut self, input: &Path) -> Run {
        let input = fs::File::open(input).unwrap();
        self.command.stdin(Stdio::from(input));
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Run {
        self.command.arg(argument);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(name, value);
        self
    }

    /// Puts it into a process group of its own, as a shell does: one that can be stopped,
    /// since its parent is in another.
    pub(crate) fn own_group(mut self) -> Run {
        self.command.process_group(0);
        self
    }

    /// Runs to the end, whatever the end is.
    pub(crate) fn run(mut self) -> Output {
        self.output()
    }

    /// Runs, and panics unless the exit code is 0.
    pub(crate) fn succeeds(self) -> Output {
        self.exits(0)
    }

    /// Runs, and panics unless this is the exit code.
    pub(crate) fn exits(mut self, code: i32) -> Output {
        let output = self.output();
        assert!(
            output.status.code() == Some(code),
            "expected exit code {code}\n{}",
            self.account(&output)
        );
        output
    }

    /// Starts the program with both streams piped; the test waits for it or kills it.
    pub(crate) fn spawn(mut self) -> Child {
        self.start()
    }

    fn start(&mut self) -> Child {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        match self.command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => panic!(
                "{} is missing; tools/setup installs what the tests need",
                self.command.get_program().display()
            ),
            Err(error) => panic!("start {:?}: {error}", self.command),
        }
    }

    fn output(&mut self) -> Output {
        let mut child = self.start();
        let stdout = child.stdout.take().unwrap();
        let stderr = child.stderr.take().unwrap();
        // Both are read while the program runs: a full pipe would stop it.
        let stdout = thread::spawn(move || read_to_end(stdout));
        let stderr = thread::spawn(move || read_to_end(stderr));
        let (status, hung) = wait_at_most(&mut child, RUN_LIMIT);
        let output = Output {
            status,
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        };
        assert!(
            !hung,
            "killed after {RUN_LIMIT:?}\n{}",
            self.account(&output)
        );
        output
    }

    /// All that a reader of a failed test needs.
    fn account(&self, output: &Output) -> String {
        let mut listing = String::new();
        list(&self.directory, 1, &mut listing);
        format!(
            "command: {:?}\ncwd: {}\nlisting:\n{}status: {}\nstdout:\n{}\nstderr:\n{}\n",
            self.command,
            self.directory.display(),
            cut(&listing),
            output.status,
            cut(&String::from_utf8_lossy(&output.stdout)),
            cut(&String::from_utf8_lossy(&output.stderr)),
        )
    }
}

/// The status, and whether the program had to be killed.
fn wait_at_most(child: &mut Child, limit: Duration) -> (ExitStatus, bool) {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, false);
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            return (child.wait().unwrap(), true);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn read_to_end(mut stream: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

fn list(directory: &Path, depth: usize, listing: &mut String) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let indent = "  ".repeat(depth);
        let name: OsString = entry.file_name();
        let name = name.to_string_lossy();
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                writeln!(listing, "{indent}{name}/").unwrap();
                list(&entry.path(), depth + 1, listing);
            }
            Ok(metadata) => writeln!(listing, "{indent}{name} {}", metadata.len()).unwrap(),
            Err(error) => writeln!(listing, "{indent}{name} {error}").unwrap(),
        }
    }
}

fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(SHOWN_MAX);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn message_of(panicking: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
        panic.downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn the_program_runs_in_its_directory() {
        let workdir = Workdir::new("runs");
        workdir.mcsnap(&["--version"]).succeeds();
        let output = workdir
            .mcsnap(&[] as &[&str])
            .arg("--version")
            .env("MCSNAP_NOT_A_SETTING", "1")
            .run();
        assert!(output.status.success());
        let mut child = workdir.mcsnap(&["--version"]).spawn();
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_wrong_exit_code_shows_everything() {
        let workdir = Workdir::new("shows");
        fs::create_dir(workdir.join("inner")).unwrap();
        fs::write(workdir.join("inner/file"), "12345").unwrap();
        let message = message_of(|| {
            let script = "echo to-stdout; echo to-stderr >&2; exit 3";
            workdir.run_of("sh").arg("-c").arg(script).succeeds();
        });
        for part in [
            "expected exit code 0",
            "exit status: 3",
            "inner/",
            "file 5",
            "stdout:\nto-stdout",
            "stderr:\nto-stderr",
            workdir.path().to_str().unwrap(),
        ] {
            assert!(message.contains(part), "no {part:?} in {message}");
        }
    }

    #[test]
    fn a_hanging_program_is_killed() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let (status, hung) = wait_at_most(&mut child, Duration::from_millis(20));
        assert!(hung && !status.success());
    }

    #[test]
    fn the_directory_is_kept_only_after_a_panic() {
        let workdir = Workdir::new("removed");
        let removed = workdir.path().to_owned();
        drop(workdir);
        assert!(!removed.exists());
        let mut kept = PathBuf::new();
        message_of(|| {
            let workdir = Workdir::new("kept");
            kept = workdir.path().to_owned();
            panic!("{}", "on purpose");
        });
        assert!(kept.exists());
        fs::remove_dir_all(kept).unwrap();
    }
}
