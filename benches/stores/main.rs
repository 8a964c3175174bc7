//! How far are snapshots in an object store from what the store and the directory allow?
//!
//! A real server of S3 runs on the same machine, Ceph's gateway unless told otherwise, and
//! real memcached servers are filled with mixed items.
//!
//! - `dump`: dumps into the store, with compression and without. Beside them, in the same
//!   rounds, the same dump into a directory, and plain puts of the same bytes by the crate
//!   `object_store`: with parts of the same size, and as many objects at a time as the dump
//!   has shards. The bar is 1.10 times the longer of the two, or of the CPU time of both, all
//!   servers included, on all processors, if that is more.
//! - `restore`: the same the other way round, beside a restore from a directory and plain
//!   gets of all objects.
//! - `requests`: what each command asks the store for, counted by the proxy of the store
//!   tests, and how long it takes if each request takes 30 ms more.
//! - `memory`: what an object of more than a thousand parts takes, in front of a server that
//!   keeps nothing but lengths.
//!
//! All take turns in rounds, in another order each round, and a ratio is always that of
//! runs of one round. What is printed is the median of the rounds and, in brackets, the
//! lowest and the highest.
//!
//! `tools/bench stores` runs it; `tools/bench stores --help` tells the options.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::exit,
    clippy::wildcard_enum_match_arm,
    reason = "a bench ends at the first surprise, and prints its tables"
)]

mod arguments;
mod cost;
mod dropping;
mod end;
mod memcached;
mod memory;
mod object_server;
mod plain;
mod process;
mod requests;
mod results;
mod rounds;
mod scene;
mod table;

#[path = "../pipeline/floors.rs"]
#[expect(dead_code, reason = "of another bench; only fills a server here")]
mod floors;
#[path = "../pipeline/items.rs"]
#[expect(dead_code, reason = "of another bench; not all of it is used here")]
mod items;
#[path = "../pipeline/machine.rs"]
mod machine;
#[path = "../support/order.rs"]
mod order;
#[path = "../pipeline/server.rs"]
mod server;
#[path = "../pipeline/statistics.rs"]
mod statistics;

#[path = "../../tests/stores/garage.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod garage;
#[path = "../../tests/stores/moto.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod moto;
#[path = "../../tests/stores/place.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod place;
#[path = "../../tests/stores/proxy/mod.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod proxy;
#[path = "../../tests/stores/rgw.rs"]
#[expect(dead_code, reason = "of the tests; not all of it is used here")]
mod rgw;
#[path = "../../tests/it/harness/workdir.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "of the tests; not all of it is used here"
)]
mod workdir;

use clap::Parser as _;

use arguments::{Arguments, Child, Part};
use machine::Machine;
use results::Results;
use scene::Scene;

fn main() {
    let arguments = Arguments::parse();
    // `cargo test --benches` wants to see that it starts, not how fast it is.
    if arguments.test {
        return;
    }
    match &arguments.child {
        Some(child) => run_child(child),
        None => {
            end::take_all_along();
            run_parts(&arguments);
        }
    }
}

/// Does what a child process of the bench is for.
fn run_child(child: &Child) {
    match child {
        Child::PutFiles { directory, prefix } => plain::put_files(directory, prefix),
        Child::GetObjects { prefix } => plain::get_objects(prefix),
        Child::WriteLong { place, len } => plain::write_long(place, *len),
        Child::ReadLong { place } => plain::read_long(place),
    }
}

fn run_parts(arguments: &Arguments) {
    let has = |part: Part| arguments.parts.contains(&part);
    let machine = Machine::look();
    let scene = Scene::set(arguments);
    let jobs = if has(Part::Dump) || has(Part::Restore) {
        scene.keep();
        rounds::run(&scene, arguments)
    } else {
        Vec::new()
    };
    scene.store.remove(scene::KEPT);
    let requests = has(Part::Requests).then(|| requests::run(&scene, arguments));
    let memory = if has(Part::Memory) {
        memory::run(&scene, arguments)
    } else {
        Vec::new()
    };
    let results = Results {
        items: arguments.items,
        rounds: arguments.rounds,
        warm_up: arguments.warm_up,
        server: arguments.server,
        machine,
        jobs,
        requests,
        memory,
    };
    results.print(arguments.requests);
    if let Some(file) = &arguments.json {
        results.save(file);
    }
}
