//! Harm to the system calls of one run of the program.
//!
//! Two tools do it, since each can do what the other cannot. A library of our
//! own (`fault_shim.c`), loaded before the C library, counts over all threads,
//! takes the calls on files below one directory only, can make a write short in
//! truth, and can kill before a call and after it. strace, which does none of
//! these, counts what the kernel is asked for, however it is asked: it reaches
//! `renameat2`, which the program calls without the C library, it stops the
//! program behind a chosen call, and it shows that the library above misses
//! nothing.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use rustix::io::Errno;

use crate::harness::workdir::{Run, Workdir};

const SHIM: &str = include_str!("fault_shim.c");

/// A kind of call on a file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A file is made.
    Create,
    /// A directory is made.
    Mkdir,
    /// `write` and its kin.
    Write,
    /// `fsync` and `fdatasync`, of files and directories.
    Sync,
    /// `read` and its kin; not what is read through a map.
    Read,
    /// A file or directory is removed.
    Remove,
    /// A file or directory is opened that is there.
    Open,
}

impl Call {
    /// All that change what is on a disk.
    pub(crate) const CHANGING: [Call; 5] = [
        Call::Create,
        Call::Mkdir,
        Call::Write,
        Call::Sync,
        Call::Remove,
    ];

    fn name(self) -> &'static str {
        match self {
            Call::Create => "create",
            Call::Mkdir => "mkdir",
            Call::Write => "write",
            Call::Sync => "sync",
            Call::Read => "read",
            Call::Remove => "remove",
            Call::Open => "open",
        }
    }
}

/// What happens to a chosen call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It fails, and nothing is done.
    Error(Errno),
    /// It fails with EINTR; the next one does not.
    Interrupt,
    /// Half of the bytes are written or read.
    Short,
    /// The process is killed instead.
    KillBefore,
    /// The process is killed when the call is done.
    KillAfter,
    /// Nothing is done until the gate is open.
    Wait,
}

/// What lets calls that wait go on.
#[derive(Debug)]
pub(crate) struct Gate(PathBuf);

impl Gate {
    /// Lets all calls go on.
    pub(crate) fn open(&self) {
        // More than any test has calls.
        self.open_for(1 << 40);
    }

    /// Lets so many calls go on, with those that it let go on before.
    pub(crate) fn open_for(&self, count: u64) {
        fs::File::create(&self.0).unwrap().set_len(count).unwrap();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // Nobody may be left behind that waits for it; the directory may be gone.
        if self.0.parent().unwrap().exists() {
            self.open();
        }
    }
}

/// Harm to some calls of the kinds named, counted from 1 over all threads.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) calls: Vec<Call>,
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) harm: Harm,
}

/// A call that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// From 1, over all threads.
    pub(crate) number: usize,
    pub(crate) call: String,
    pub(crate) path: String,
}

impl Fault {
    /// Harm to one call.
    pub(crate) fn at(calls: &[Call], number: usize, harm: Harm) -> Fault {
        Fault {
            calls: calls.to_vec(),
            first: number,
            last: number,
            harm,
        }
    }

    /// Harm to one call and all that follow.
    pub(crate) fn from(calls: &[Call], number: usize, harm: Harm) -> Fault {
        Fault {
            last: usize::MAX >> 1,
            ..Fault::at(calls, number, harm)
        }
    }

    /// No harm: the calls are counted only.
    pub(crate) fn none(calls: &[Call]) -> Fault {
        Fault {
            last: 0,
            ..Fault::at(calls, 1, Harm::Interrupt)
        }
    }

    /// Runs the program to its end with this harm to its calls on files below
    /// a directory; returns the calls, too, harmed and not, in no order. Calls
    /// that were counted when another thread was killed may be missing.
    pub(crate) fn run(&self, run: Run, under: &Path) -> (Output, Vec<Counted>) {
        let log = env::temp_dir().join(format!("mcsnap-faults-{}", uuid::Uuid::new_v4()));
        let output = self.prepare(run, under, &log).run();
        let text = fs::read_to_string(&log).expect("the shim was not loaded: no log of it");
        fs::remove_file(&log).unwrap();
        let counted = text
            .lines()
            .map(|line| {
                let mut words = line.splitn(3, ' ');
                let mut word = || words.next().unwrap().to_owned();
                Counted {
                    number: word().parse().unwrap(),
                    call: word(),
                    path: word(),
                }
            })
            .collect();
        (output, counted)
    }

    /// Prepares a run whose calls wait at a gate; the log of calls is in the working
    /// directory.
    pub(crate) fn gate(&self, run: Run, under: &Path, workdir: &Workdir) -> (Run, Gate) {
        assert_eq!(self.harm, Harm::Wait);
        let log = workdir.join("faults");
        let run = self.prepare(run, under, &log);
        (run, Gate(workdir.join("faults.open")))
    }

    fn prepare(&self, run: Run, under: &Path, log: &Path) -> Run {
        let names: Vec<_> = self.calls.iter().map(|call| call.name()).collect();
        let harm = match self.harm {
            Harm::Error(errno) => errno.raw_os_error().to_string(),
            Harm::Interrupt => "interrupt".to_owned(),
            Harm::Short => "short".to_owned(),
            Harm::KillBefore => "kill-before".to_owned(),
            Harm::KillAfter => "kill-after".to_owned(),
            Harm::Wait => "wait".to_owned(),
        };
        run.env("LD_PRELOAD", shim())
            .env("FAULT_UNDER", canonical(under))
            .env("FAULT_CALLS", names.join(","))
            .env("FAULT_FROM", self.first.to_string())
            .env("FAULT_TO", self.last.to_string())
            .env("FAULT_HARM", harm)
            .env("FAULT_LOG", log)
    }
}

/// The path without links, also of what is not there yet.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|error| {
        assert_eq!(error.kind(), ErrorKind::NotFound, "{path:?}");
        canonical(path.parent().unwrap()).join(path.file_name().unwrap())
    })
}

/// Returns the call of this number, if there were so many.
pub(crate) fn find_call(counted: &[Counted], number: usize) -> Option<&Counted> {
    counted.iter().find(|call| call.number == number)
}

/// Says whether the program was killed as by `kill -9`, or by another signal.
pub(crate) fn was_killed(output: &Output) -> bool {
    const KILL: i32 = 9;
    output.status.signal() == Some(KILL)
}

/// The compiled library, made once for each state of its source.
fn shim() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        SHIM.hash(&mut hasher);
        let name = format!("fault-shim-{:016x}", hasher.finish());
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = directory.join(format!("{name}.so"));
        if library.exists() {
            return library;
        }
        // Other test processes may be at it, too.
        let own = directory.join(format!("{name}-{}", uuid::Uuid::new_v4()));
        let (source, made) = (own.with_extension("c"), own.with_extension("so"));
        fs::write(&source, SHIM).unwrap();
        let compiled = Command::new("cc")
            // Fortified headers define `read` and others themselves.
            .args(["-O1", "-U_FORTIFY_SOURCE", "-Wall", "-Werror"])
            .args(["-shared", "-fPIC", "-o"])
            .args([&made, &source])
            .output();
        let output = match compiled {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                panic!(
                    "cc is missing; install it: apt-get install gcc libc6-dev (or run tools/setup)"
                )
            }
            Err(error) => panic!("start cc: {error}"),
        };
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "fault_shim.c: {words}");
        fs::rename(&made, &library).unwrap();
        fs::remove_file(&source).unwrap();
        library
    })
}

/// A run of the program under strace.
#[derive(Debug)]
pub(crate) struct Strace {
    arguments: Vec<String>,
    log: PathBuf,
}

impl Strace {
    /// Follows all threads, and shows these calls only, such as `fsync,statx`.
    pub(crate) fn of(workdir: &Workdir, calls: &str) -> Strace {
        let log = workdir.join(format!("strace-{}", uuid::Uuid::new_v4()));
        let mut strace = Strace {
            arguments: Vec::new(),
            log,
        };
        let log = strace.log.display().to_string();
        strace.add(&["-f", "-qq", "-y", "-s", "0", "-o", &log, "-e"]);
        strace.add(&[&format!("trace={calls}")]);
        strace
    }

    /// Takes the calls only that name this path, just so, or a descriptor of it.
    pub(crate) fn path(mut self, path: &Path) -> Strace {
        self.add(&["-P", &path.display().to_string()]);
        self
    }

    /// Shows so many bytes of each text.
    pub(crate) fn shows(mut self, len: usize) -> Strace {
        self.add(&["-s", &len.to_string()]);
        self
    }

    /// Does some harm: `renameat2:error=EIO:when=2`. What `when` says is
    /// counted in each thread for itself.
    pub(crate) fn inject(mut self, what: &str) -> Strace {
        self.add(&["-e", &format!("inject={what}")]);
        self
    }

    fn add(&mut self, arguments: &[&str]) {
        self.arguments
            .extend(arguments.iter().map(|&text| text.to_owned()));
    }

    /// The program with these arguments, not started yet.
    pub(crate) fn mcsnap<S: AsRef<str>>(&self, workdir: &Workdir, arguments: &[S]) -> Run {
        let mut all: Vec<&str> = vec!["strace"];
        all.extend(self.arguments.iter().map(String::as_str));
        workdir.mcsnap_by(&all, arguments.iter().map(AsRef::as_ref))
    }

    /// What was seen so far, a call a line.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
