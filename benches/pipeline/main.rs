//! How far is the whole path from the least that it must do, and from another build?
//!
//! Real memcached servers are filled with mixed items. Each job runs as a child process:
//! the program of this build, that of another build if one is named, and a *floor*,
//! which is the least that the job must do. The floor of a dump is to read the same items
//! over as many connections and to append them to plain files, made durable; that of a
//! verification is to read the files; that of a restore is to send the items as quiet
//! sets, and that of a restore to a server without meta commands to send them as classic
//! sets, pipelined.
//!
//! A machine's speed drifts. So the three run one after the other, in rounds, in another
//! order each round, and a ratio is always that of two runs of one round. What is printed
//! is the median of the rounds and, in brackets, the lowest and the highest.
//!
//! `tools/bench` runs it; `tools/bench --help` tells the options.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench ends at the first surprise, and prints its table"
)]

mod arguments;
mod build;
mod classic_restore;
mod cost;
mod floors;
mod items;
mod job;
mod machine;
#[path = "../support/memcached.rs"]
mod memcached;
#[path = "../support/order.rs"]
mod order;
mod plot;
mod process;
mod results;
mod rounds;
mod scene;
mod server;
mod statistics;
mod syscalls;
mod table;

use clap::Parser;

use arguments::{Arguments, Part};
use build::Build;
use machine::Machine;
use results::Results;
use scene::Scene;

fn main() {
    let arguments = Arguments::parse();
    // `cargo test --benches` wants to see that it starts, not how fast it is.
    if arguments.test {
        return;
    }
    match &arguments.part {
        Some(part) => run_part(part),
        None => measure(&arguments),
    }
}

/// Does what a child process of the bench is for.
fn run_part(part: &Part) {
    match part {
        Part::ReadAppend {
            port,
            items,
            directory,
        } => floors::read_and_append(*port, *items, directory),
        Part::ReadFiles { directory } => floors::read_files(directory),
        Part::QuietSets {
            port,
            items,
            source,
        } => floors::store_quietly(*port, *items, &items::Source::load(source)),
        Part::ClassicSets {
            port,
            items,
            source,
        } => floors::store_classically(*port, *items, &items::Source::load(source)),
        Part::RestoreClassic { place, address } => {
            classic_restore::restore_classic(place, address);
        }
    }
}

fn measure(arguments: &Arguments) {
    let this = Build::this();
    let other = arguments.against.as_deref().map(Build::other);
    let machine = Machine::look();
    let scene = Scene::set(this, other, arguments);
    for note in scene.notes(&arguments.jobs) {
        eprintln!("note: {note}");
    }
    let jobs = rounds::run(&scene, arguments);
    let file_calls = if arguments.syscalls {
        syscalls::trace(&scene, &arguments.jobs)
    } else {
        Vec::new()
    };
    let results = Results::new(arguments, machine, &scene, &jobs, file_calls);
    println!("{}", results.headline());
    println!("{}", table::of_rounds(&results));
    if arguments.syscalls {
        println!("{}", table::of_file_calls(&results));
    }
    if let Some(file) = &arguments.json {
        results.save(file);
    }
    if let Some(file) = &arguments.plot {
        plot::save(&results, file);
    }
}
