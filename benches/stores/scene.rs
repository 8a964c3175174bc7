//! The servers and folders that all parts work on.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::cost::{Asked, Cost, measure};
use crate::floors::store_quietly;
use crate::items::Source;
use crate::object_server::{ObjectServer, set_account, url};
use crate::place::S3Account;
use crate::server::Server;
use crate::workdir::clear_settings;

/// Where a run of a dump puts its snapshot, in the bucket and in the folder, and by which
/// name.
pub(crate) const FRESH: &str = "fresh";
pub(crate) const NAME: &str = "night";
/// Where snapshots are kept for restores and look-ups; each has the name of its compression.
pub(crate) const KEPT: &str = "kept";
/// Where plain puts go.
const PLAIN: &str = "plain";

/// How a snapshot is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    None,
    Zstd,
}

impl Compression {
    pub(crate) const ALL: [Self; 2] = [Self::None, Self::Zstd];

    /// As the program takes it.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd:1",
        }
    }

    /// The name of the snapshot that is kept.
    fn kept_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zstd => "zstd",
        }
    }
}

/// What is measured beside its floors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Job {
    pub(crate) is_dump: bool,
    pub(crate) compression: Compression,
}

impl Job {
    pub(crate) fn name(self) -> String {
        let verb = if self.is_dump { "dump" } else { "restore" };
        format!("{verb}, {}", self.compression.setting())
    }
}

/// Who does a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    /// The program, with the object store.
    Store,
    /// The program, with a directory.
    Directory,
    /// Nothing but puts or gets of the same bytes.
    Plain,
}

impl Who {
    pub(crate) const ALL: [Self; 3] = [Self::Store, Self::Directory, Self::Plain];

    pub(crate) fn name(self, job: Job) -> &'static str {
        match self {
            Self::Store => "mcsnap, store",
            Self::Directory => "mcsnap, directory",
            Self::Plain if job.is_dump => "plain puts",
            Self::Plain => "plain gets",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Scene {
    // Before the folder, so that they end before it goes.
    pub(crate) source: Server,
    pub(crate) sink: Server,
    pub(crate) store: ObjectServer,
    directory: TempDir,
    pub(crate) items: u64,
}

impl Scene {
    /// Starts the servers and fills one of them.
    pub(crate) fn set(arguments: &Arguments) -> Self {
        // Beside the build, so that it is a disk and not memory.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = tempfile::tempdir_in(target).unwrap();
        let items = arguments.items;
        let memory_mib = items / 1_000_000 * 4096 + 4096;
        let scene = Self {
            source: Server::start(directory.path(), memory_mib),
            sink: Server::start(directory.path(), memory_mib),
            store: ObjectServer::start(arguments.server),
            directory,
            items,
        };
        store_quietly(scene.source.port(), items, &Source::make());
        scene
    }

    /// Makes the snapshots that restores and plain puts take: in the bucket and in a folder.
    pub(crate) fn keep(&self) {
        for compression in Compression::ALL {
            for place in [self.folder(KEPT).display().to_string(), url(KEPT)] {
                let mut dump = self.dump(&place, compression.kept_name(), compression);
                measure(&mut dump, Asked::default(), 0);
            }
        }
    }

    /// Does a job once and tells what that took.
    pub(crate) fn run(&self, job: Job, who: Who) -> Cost {
        if !job.is_dump {
            self.sink.flush();
        }
        self.come_to_rest();
        let stored_before = self.sink.stored();
        let asked = Asked {
            memcached: Some(if job.is_dump {
                &self.source
            } else {
                &self.sink
            }),
            store: Some(&self.store),
        };
        let cost = measure(&mut self.command(job, who), asked, 0);
        if !job.is_dump && who != Who::Plain {
            let stored = self.sink.stored() - stored_before;
            // A server that moves an item to another page counts it again.
            assert!(stored >= self.items, "{stored} items stored by {job:?}");
        }
        if job.is_dump {
            self.clean_up(who);
        }
        cost
    }

    /// What was written before is not to be written or freed during the next run.
    pub(crate) fn come_to_rest(&self) {
        let folder = fs::File::open(self.directory.path()).unwrap();
        rustix::fs::syncfs(&folder).unwrap();
        self.store.rest();
    }

    /// Takes away what a run of a dump made.
    fn clean_up(&self, who: Who) {
        match who {
            Who::Store => self.store.remove(FRESH),
            Who::Plain => self.store.remove(PLAIN),
            Who::Directory => fs::remove_dir_all(self.folder(FRESH)).unwrap(),
        }
    }

    fn command(&self, job: Job, who: Who) -> Command {
        let kept = self.folder(KEPT).join(job.compression.kept_name());
        let kept_there = format!("{KEPT}/{}", job.compression.kept_name());
        let folder = || self.folder(FRESH).display().to_string();
        match (job.is_dump, who) {
            (true, Who::Store) => self.dump(&url(FRESH), NAME, job.compression),
            (true, Who::Directory) => self.dump(&folder(), NAME, job.compression),
            (true, Who::Plain) => {
                let mut command = own_child("put-files", self.store.account());
                command.arg(kept).arg(PLAIN);
                command
            }
            (false, Who::Store) => self.restore(&url(&kept_there)),
            (false, Who::Directory) => self.restore(&kept.display().to_string()),
            (false, Who::Plain) => {
                let mut command = own_child("get-objects", self.store.account());
                command.arg(kept_there);
                command
            }
        }
    }

    fn dump(&self, place: &str, name: &str, compression: Compression) -> Command {
        let mut command = program("dump", self.store.account());
        command.arg(self.source.address()).args(["--to", place]);
        command.args(["--name", name, "--compression", compression.setting()]);
        command
    }

    fn restore(&self, place: &str) -> Command {
        let mut command = program("restore", self.store.account());
        command.args([place, "--to", &self.sink.address()]);
        command
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

/// The program, with what users of an account set.
pub(crate) fn program(subcommand: &str, account: &S3Account) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcsnap"));
    clear_settings(&mut command);
    set_account(&mut command, account);
    command.args([subcommand, "-q"]).stdin(Stdio::null());
    command
}

/// This very program as a child process.
pub(crate) fn own_child(name: &str, account: &S3Account) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    set_account(&mut command, account);
    command.arg(name);
    command
}
