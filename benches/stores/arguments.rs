//! The command line of the bench, and of the child processes that it makes of itself.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::object_server::ServerKind;

/// Measures snapshots in an object store: dump, restore, requests and memory.
#[derive(Debug, Parser)]
#[command(name = "tools/bench stores", args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// What to measure, separated by commas.
    #[arg(value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    pub(crate) parts: Vec<Part>,

    /// The server, on this machine.
    #[arg(long, value_enum, default_value_t = ServerKind::Rgw)]
    pub(crate) server: ServerKind,

    /// Items in the memcached server that is dumped; 2,200 bytes each on average.
    #[arg(long, default_value_t = 300_000)]
    pub(crate) items: u64,

    /// Rounds that count.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rounds: u64,

    /// Rounds before them that do not.
    #[arg(long, default_value_t = 1)]
    pub(crate) warm_up: u64,

    /// Milliseconds that each request takes longer, where that is measured.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) delay: u64,

    /// Parts of the object whose making is measured, of 8 MiB each; from the 1,001st on of
    /// more.
    #[arg(long, default_value_t = 1_100)]
    pub(crate) object_parts: u64,

    /// Also print each request, in the order in which they came.
    #[arg(long)]
    pub(crate) requests: bool,

    /// Write all numbers of all rounds, and each request, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,

    /// Given by `cargo test --benches`.
    #[arg(long, hide = true)]
    pub(crate) test: bool,

    #[command(subcommand)]
    pub(crate) child: Option<Child>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Dumps into the store, beside one into a directory and plain puts.
    Dump,
    /// Restores from the store, beside one from a directory and plain gets.
    Restore,
    /// The requests of each command, and what it takes if each request takes longer.
    Requests,
    /// The memory of an object of many parts.
    Memory,
}

impl Part {
    const ALL: [Self; 4] = [Self::Dump, Self::Restore, Self::Requests, Self::Memory];
}

/// What the bench runs as a child process of its own program, so that it is measured as the
/// program is.
#[derive(Debug, Subcommand)]
#[command(hide = true)]
pub(crate) enum Child {
    /// Puts the files of a directory.
    #[command(hide = true)]
    PutFiles { directory: PathBuf, prefix: String },
    /// Gets all objects below a prefix.
    #[command(hide = true)]
    GetObjects { prefix: String },
    /// Writes one object of so many bytes by the library.
    #[command(hide = true)]
    WriteLong { place: String, len: u64 },
    /// Reads it by the library.
    #[command(hide = true)]
    ReadLong { place: String },
}
