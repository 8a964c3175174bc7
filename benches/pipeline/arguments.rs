//! The command line of the bench, and of the child processes that it makes of itself.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::job::Job;

/// Measures dump, verify and restore as a whole, on real memcached servers.
#[derive(Debug, Parser)]
#[command(name = "tools/bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// Items in the server that is dumped; 2,200 bytes each on average.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) items: u64,

    /// Rounds that count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rounds: u64,

    /// Rounds before them that do not: the first ones find cold caches, and servers that
    /// have yet to ask the system for memory.
    #[arg(long, default_value_t = 1)]
    pub(crate) warm_up: u64,

    /// Program of another build to compare with.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) against: Option<PathBuf>,

    /// Jobs to measure, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Job::ALL)]
    pub(crate) jobs: Vec<Job>,

    /// Give `--full-speed` to each build that knows it, so that nothing is held back for
    /// other clients.
    #[arg(long)]
    pub(crate) full_speed: bool,

    /// Write all numbers of all rounds to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Draw the wall times of all rounds, beside their floors, into this SVG file.
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,

    /// Have each dump done once more under `strace`, which tells how long its writes into
    /// the page cache took and how long its fsyncs.
    #[arg(long)]
    pub(crate) syscalls: bool,

    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,

    /// Given by `cargo test --benches`.
    #[arg(long, hide = true)]
    pub(crate) test: bool,

    #[command(subcommand)]
    pub(crate) part: Option<Part>,
}

/// What the bench runs as a child process of its own program, so that it is measured as
/// the builds are.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
pub(crate) enum Part {
    /// Reads all items and appends them to files.
    #[command(hide = true)]
    ReadAppend {
        port: u16,
        items: u64,
        directory: PathBuf,
    },
    /// Reads the segments of a snapshot.
    #[command(hide = true)]
    ReadFiles { directory: PathBuf },
    /// Stores all items by quiet meta sets.
    #[command(hide = true)]
    QuietSets {
        port: u16,
        items: u64,
        source: PathBuf,
    },
    /// Stores all items by classic sets.
    #[command(hide = true)]
    ClassicSets {
        port: u16,
        items: u64,
        source: PathBuf,
    },
    /// Restores as the program does, but by classic sets.
    #[command(hide = true)]
    RestoreClassic { place: String, address: String },
}
