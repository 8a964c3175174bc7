//! A file system of a test's own, which nobody else sees.
//!
//! It is mounted in a namespace, and goes with the shell that lives there. Who
//! may have one: root; everybody, where user namespaces are allowed; whoever has
//! sudo without a password, as on the usual hosted machines. In a container
//! that is allowed none of these the tests fail and say what is missing: without
//! a file system that is full in truth nobody knows what a full one does.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use crate::harness::workdir::{PROGRAM, Workdir, clear_settings};

/// Ways into a namespace with mounts of its own, the least powerful first.
const WAYS: [&[&str]; 3] = [
    &["unshare", "--user", "--map-root-user", "--mount"],
    &["unshare", "--mount"],
    &["sudo", "-n", "unshare", "--mount"],
];

/// A tmpfs in the directory `m` of a test's directory.
#[derive(Debug)]
pub(crate) struct Mounted<'a> {
    workdir: &'a Workdir,
    shell: Child,
    commands: Option<ChildStdin>,
    codes: BufReader<ChildStdout>,
}

/// What a command in the namespace did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Mounted<'_> {
    /// Mounts a file system with options such as `size=1m`.
    pub(crate) fn new<'a>(workdir: &'a Workdir, options: &str) -> Mounted<'a> {
        fs::create_dir(workdir.join("m")).unwrap();
        let way = way();
        let mut shell = clear_settings(&mut Command::new(way[0]))
            .args(&way[1..])
            .arg("sh")
            .current_dir(workdir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut mounted = Mounted {
            workdir,
            commands: shell.stdin.take(),
            codes: BufReader::new(shell.stdout.take().unwrap()),
            shell,
        };
        let mount = format!("mount -t tmpfs -o mode=755,{options} tmpfs m");
        let done = mounted.run(&mount);
        assert_eq!(done.code, 0, "{mount}: {}", done.stderr);
        mounted
    }

    /// Runs a line of the shell.
    pub(crate) fn run(&mut self, line: &str) -> Done {
        let commands = self.commands.as_mut().unwrap();
        // Brackets keep `exit` and the like within the line.
        writeln!(commands, "({line}) >out 2>err </dev/null; echo $?").unwrap();
        let mut code = String::new();
        self.codes.read_line(&mut code).unwrap();
        let text = |name: &str| fs::read_to_string(self.workdir.join(name)).unwrap();
        Done {
            code: code.trim().parse().unwrap(),
            stdout: text("out"),
            stderr: text("err"),
        }
    }

    /// Runs the program.
    pub(crate) fn mcsnap(&mut self, arguments: &[&str]) -> Done {
        self.mcsnap_by("", arguments)
    }

    /// Runs the program behind a prefix, such as `setpriv --clear-groups`.
    pub(crate) fn mcsnap_by(&mut self, prefix: &str, arguments: &[&str]) -> Done {
        self.run(&format!("{prefix} '{PROGRAM}' {}", arguments.join(" ")))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // The shell ends with its input, and the mount with the shell.
        drop(self.commands.take());
        let _ = self.shell.wait();
    }
}

/// The first way that works here.
fn way() -> &'static [&'static str] {
    static WAY: OnceLock<Option<&[&str]>> = OnceLock::new();
    let works = |way: &&[&str]| {
        let directory = tempfile::tempdir().unwrap();
        let tried = Command::new(way[0])
            .args(&way[1..])
            .args(["mount", "-t", "tmpfs", "tmpfs"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .output();
        tried.is_ok_and(|output| output.status.success())
    };
    match WAY.get_or_init(|| WAYS.iter().copied().find(works)) {
        Some(way) => way,
        None => panic!(
            "nobody here may mount a file system for a test; allow user namespaces (sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0), give the container \
             --cap-add SYS_ADMIN --security-opt apparmor=unconfined, or run as root"
        ),
    }
}
