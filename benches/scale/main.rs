//! What do many segments, and many keys, cost who reads a snapshot?
//!
//! - `segments`: a snapshot of 100,000 small segments on 400 nodes. Time and memory of
//!   each job that goes through its manifest; and how many bytes of manifests it reads,
//!   by strace.
//! - `keys`: a snapshot of one node with 3,000,000 short keys that begin with as many
//!   words. Time and memory of what reads all keys.
//! - `reads`: how many times a look-up reads, and in how many rounds that follow each
//!   other, at 1, 100 and 20,000 segments a shard, in memory and in a directory.
//!
//! Memory is what the kernel tells: the highest resident set (`VmHWM`), with pages of
//! mapped files that the system can take away, and the most anonymous memory seen.
//!
//! `tools/bench scale` runs it; `tools/bench scale --help` says how to change the sizes.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench ends at the first surprise, and prints its tables"
)]

mod made;
mod measured;
mod reads;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;

use crate::made::Shape;
use crate::measured::Program;

#[path = "../support/memcached.rs"]
#[expect(dead_code, reason = "no client of the bench's own asks these servers")]
mod memcached;

/// Measures what many segments and many keys cost.
#[derive(Debug, Parser)]
#[command(name = "tools/bench scale")]
struct Arguments {
    /// What to measure: segments, keys, reads.
    #[arg(value_delimiter = ',', default_value = "segments,keys,reads")]
    parts: Vec<String>,

    /// Segments of the snapshot of many segments.
    #[arg(long, default_value_t = 100_000)]
    segments: u64,

    /// Nodes of the snapshot of many segments.
    #[arg(long, default_value_t = 400)]
    nodes: u32,

    /// Records of the snapshot of many keys.
    #[arg(long, default_value_t = 3_000_000)]
    records: u64,

    /// Where to write the snapshots: some GB, one file a segment [default: the directory
    /// for temporary files].
    #[arg(long)]
    directory: Option<PathBuf>,

    /// The program to measure [default: this build].
    #[arg(long)]
    program: Option<PathBuf>,

    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,

    /// Given by `cargo test --benches`.
    #[arg(long, hide = true)]
    test: bool,
}

fn main() {
    let arguments = Arguments::parse();
    // A test run only shows that this is built.
    if arguments.test {
        return;
    }
    let directory = arguments
        .directory
        .clone()
        .unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::tempdir_in(directory).unwrap();
    let program = arguments.program.clone();
    let program = Program {
        path: program.unwrap_or_else(|| env!("CARGO_BIN_EXE_mcsnap").into()),
        directory: directory.path().to_owned(),
    };
    for part in &arguments.parts {
        match part.as_str() {
            "segments" => {
                let shape = Shape::of_segments(arguments.segments, arguments.nodes);
                made(&shape, &program);
                measured::of_segments(&program, arguments.nodes);
            }
            "keys" => {
                made(&Shape::of_keys(arguments.records), &program);
                measured::of_keys(&program);
            }
            "reads" => reads::count(directory.path()),
            other => panic!("no part {other}"),
        }
    }
}

/// Writes a snapshot, and tells what that took.
fn made(shape: &Shape, program: &Program) {
    let clock = Instant::now();
    let segments = made::write(&program.directory, shape);
    let seconds = clock.elapsed().as_secs_f64();
    let peak = measured::own_peak_mib();
    println!("\n{}: {segments} segments", shape.name);
    println!("written in {seconds:.1} s by this process, of which the peak was {peak:.0} MiB");
}
