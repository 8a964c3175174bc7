//! The servers and folders that jobs work on, and how each of the three does a job there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::build::Build;
use crate::cost::{Cost, measure};
use crate::floors::store_quietly;
use crate::items::Source;
use crate::job::{Job, Who};
use crate::server::Server;

/// The snapshot that verifications and restores take, in the folder of each build.
const KEPT: &str = "kept";
/// What one run of a dump makes.
const FRESH: &str = "fresh";

#[derive(Debug)]
pub(crate) struct Scene {
    // Before the folder, so that they end before it goes.
    source: Server,
    sink: Server,
    directory: TempDir,
    items: u64,
    is_full_speed: bool,
    pub(crate) this: Build,
    pub(crate) other: Option<Build>,
}

impl Scene {
    /// Starts servers, fills one, and has each build make a snapshot.
    pub(crate) fn set(this: Build, other: Option<Build>, arguments: &Arguments) -> Self {
        // Beside the build, so that it is a disk and not memory.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = tempfile::tempdir_in(target).unwrap();
        let items = arguments.items;
        let memory_mib = items / 1_000_000 * 4096 + 4096;
        let values = Source::make();
        values.save(&directory.path().join("values"));
        let scene = Self {
            source: Server::start(directory.path(), memory_mib),
            sink: Server::start(directory.path(), memory_mib),
            directory,
            items,
            is_full_speed: arguments.full_speed,
            this,
            other,
        };
        store_quietly(scene.source.port(), items, &values);
        for who in [Who::This, Who::Other] {
            if who == Who::This || scene.other.is_some() {
                let mut dump = scene.dump(who, "zstd:1", KEPT);
                // Its report is not what is asked for.
                let status = dump.stdout(Stdio::null()).status().unwrap();
                assert!(status.success(), "{dump:?}: {status}");
            }
        }
        scene
    }

    /// Who does a job here.
    pub(crate) fn contenders(&self, job: Job) -> Vec<Who> {
        let mut contenders = vec![Who::Floor, Who::This];
        if self.other.is_some() && self.why_not(job).is_none() {
            contenders.push(Who::Other);
        }
        contenders
    }

    /// Why the other build does not do a job.
    fn why_not(&self, job: Job) -> Option<String> {
        if job == Job::RestoreClassic {
            return Some("its library would have to be asked".to_owned());
        }
        let (command, flags) = job.command();
        let other = self.other.as_ref()?;
        let unknown = flags.iter().find(|flag| !other.knows(command, flag))?;
        Some(format!("its `{command}` knows no {unknown}"))
    }

    /// What a reader of the numbers must know about the other build.
    pub(crate) fn notes(&self, jobs: &[Job]) -> Vec<String> {
        let mut notes = Vec::new();
        if self.other.is_some() {
            for job in jobs {
                if let Some(why) = self.why_not(*job) {
                    notes.push(format!("{}: not by the other build: {why}", job.name()));
                }
            }
        }
        let builds = [Some(&self.this), self.other.as_ref()];
        for build in builds.into_iter().flatten() {
            if self.is_full_speed && !build.knows("dump", "--full-speed") {
                notes.push(format!(
                    "{} knows no --full-speed and runs without",
                    build.program
                ));
            }
        }
        notes
    }

    /// Does a job once and tells what that took.
    pub(crate) fn run(&self, job: Job, who: Who) -> Cost {
        if job.is_restore() {
            self.sink.flush();
        }
        // What was written before is not to be written during this run.
        let folder = fs::File::open(self.directory.path()).unwrap();
        rustix::fs::syncfs(&folder).unwrap();
        let stored_before = self.sink.stored();
        let servers: &[&Server] = if job.is_dump() {
            &[&self.source]
        } else if job.is_restore() {
            &[&self.sink]
        } else {
            &[]
        };
        let cost = measure(&mut self.command(job, who), servers);
        if job.is_restore() {
            let stored = self.sink.stored() - stored_before;
            // A server that moves an item to another page counts it again.
            assert!(
                stored >= self.items,
                "{stored} items stored by {job:?} of {who:?}"
            );
        }
        self.clean_up(job, who);
        cost
    }

    /// Takes away what a run of a job made.
    pub(crate) fn clean_up(&self, job: Job, who: Who) {
        if job.is_dump() {
            fs::remove_dir_all(self.folder(who).join(FRESH)).unwrap();
        }
    }

    /// The child process that does a job.
    pub(crate) fn command(&self, job: Job, who: Who) -> Command {
        match who {
            Who::Floor => self.floor(job),
            Who::This | Who::Other => self.program_job(job, who),
        }
    }

    fn program_job(&self, job: Job, who: Who) -> Command {
        let kept = self.folder(who).join(KEPT);
        let mut command = match job {
            Job::DumpNone => return self.dump(who, "none", FRESH),
            Job::DumpZstd => return self.dump(who, "zstd:1", FRESH),
            Job::RestoreClassic => {
                let mut command = own_part("restore-classic");
                command.arg(kept).arg(self.sink.address());
                return command;
            }
            Job::VerifyData | Job::VerifyDeep | Job::Restore => self.program(who, job.command().0),
        };
        command.arg(kept);
        match job {
            Job::Restore => {
                command.arg("--to").arg(self.sink.address());
            }
            Job::VerifyData => {
                command.arg("--data");
            }
            Job::VerifyDeep => {
                command.arg("--deep");
            }
            Job::DumpNone | Job::DumpZstd | Job::RestoreClassic => {}
        }
        command
    }

    fn floor(&self, job: Job) -> Command {
        let items = self.items.to_string();
        let values = self.directory.path().join("values");
        let port = |server: &Server| server.port().to_string();
        match job {
            Job::DumpNone | Job::DumpZstd => {
                let mut command = own_part("read-append");
                command.args([port(&self.source), items]);
                command.arg(self.folder(Who::Floor).join(FRESH));
                command
            }
            Job::VerifyData | Job::VerifyDeep => {
                let mut command = own_part("read-files");
                command.arg(self.folder(Who::This).join(KEPT));
                command
            }
            Job::Restore => {
                let mut command = own_part("quiet-sets");
                command.args([port(&self.sink), items]).arg(values);
                command
            }
            Job::RestoreClassic => {
                let mut command = own_part("classic-sets");
                command.args([port(&self.sink), items]).arg(values);
                command
            }
        }
    }

    fn dump(&self, who: Who, compression: &str, name: &str) -> Command {
        let mut command = self.program(who, "dump");
        command.arg(self.source.address());
        command.arg("--to").arg(self.folder(who));
        command.args(["--name", name, "--compression", compression]);
        command
    }

    fn program(&self, who: Who, subcommand: &str) -> Command {
        let build = match who {
            Who::Floor | Who::This => &self.this,
            Who::Other => self.other.as_ref().unwrap(),
        };
        let mut command = Command::new(&build.program);
        command.args([subcommand, "-q"]);
        if self.is_full_speed && build.knows(subcommand, "--full-speed") {
            command.arg("--full-speed");
        }
        command
    }

    /// Where one of the three puts what it makes.
    fn folder(&self, who: Who) -> PathBuf {
        self.directory.path().join(match who {
            Who::Floor => "floor",
            Who::This => "this",
            Who::Other => "other",
        })
    }
}

/// This very program as a child process.
fn own_part(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.arg(name);
    command
}
