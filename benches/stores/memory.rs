//! The memory that an object of many parts takes.
//!
//! A dump whose one segment has a thousand parts would need a memcached of 8 GiB. So the
//! library's writer alone makes an object of so many parts, and its reader alone reads it, in
//! front of a server that keeps nothing but lengths; beside them a whole dump, with one
//! segment, goes to the same server, and to a real one and back. An object of 10,000 parts
//! would have 8 TiB: the parts get longer after each thousand.

use std::process::Command;

use comfy_table::Table;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::cost::{Asked, Cost, measure};
use crate::dropping::{Dropping, Longest};
use crate::object_server::url;
use crate::place::S3Account;
use crate::scene::{FRESH, NAME, Scene, own_child, program};
use crate::table::markdown;

/// The most that a job may take.
const PEAK_MAX_MIB: f64 = 192.0;

/// Bytes of a part, and how many there are of one length.
const PART_LEN: u64 = 8 << 20;
const PARTS_OF_LEN: u64 = 1_000;

/// What one run took.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    what: &'static str,
    parts: usize,
    part_len_max: u64,
    len: u64,
    cost: Cost,
    is_met: bool,
}

/// The length of an object of so many parts.
fn len_of(parts: u64) -> u64 {
    (0..parts)
        .map(|number| PART_LEN << (number / PARTS_OF_LEN).min(16))
        .sum()
}

/// Measures each once: memory does not drift.
pub(crate) fn run(scene: &Scene, arguments: &Arguments) -> Vec<Row> {
    let server = Dropping::start();
    let account = server.account();
    let place = url("long");
    let len = len_of(arguments.object_parts);
    let mut write = own_child("write-long", &account);
    let written = measure(write.arg(&place).arg(len.to_string()), Asked::default(), 0);
    let mut read = own_child("read-long", &account);
    let read = measure(read.arg(&place), Asked::default(), 0);
    let long = server.take_longest();
    assert_eq!(long.parts as u64, arguments.object_parts);
    let dumped = measure(&mut dump_whole(scene, &account), Asked::default(), 0);
    let of_dump = server.take_longest();
    let real = scene.store.account();
    let dumped_there = measure(&mut dump_whole(scene, real), Asked::default(), 0);
    scene.sink.flush();
    let mut restore = program("restore", real);
    restore.args([
        &url(&format!("{FRESH}/{NAME}")),
        "--to",
        &scene.sink.address(),
    ]);
    let restored = measure(&mut restore, Asked::default(), 0);
    scene.store.remove(FRESH);
    vec![
        row("the library's writer", long, written),
        row("the library's reader", long, read),
        row("dump, one segment", of_dump, dumped),
        // The same, so that it has as many parts.
        row("dump, one segment, kept", of_dump, dumped_there),
        row("restore of it", of_dump, restored),
    ]
}

/// A dump whose one segment is as long as all values.
fn dump_whole(scene: &Scene, account: &S3Account) -> Command {
    let mut dump = program("dump", account);
    dump.arg(scene.source.address());
    dump.args(["--to", &url(FRESH), "--name", NAME, "--compression=none"]);
    dump.args(["--shards=1", "--segment-size=1TiB"]);
    dump.args(["--segment-records", &(scene.items + 1).to_string()]);
    dump
}

fn row(what: &'static str, longest: Longest, cost: Cost) -> Row {
    Row {
        what,
        parts: longest.parts,
        part_len_max: longest.part_len_max,
        len: longest.len,
        is_met: cost.peak_resident_mib <= PEAK_MAX_MIB,
        cost,
    }
}

/// Shows the results.
pub(crate) fn table(rows: &[Row]) -> Table {
    let mut table = markdown(&[
        "what",
        "bar",
        "parts",
        "longest MiB",
        "object MiB",
        "peak MiB",
        "of its own",
        "wall s",
    ]);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    for row in rows {
        let is_met = if row.is_met { "met" } else { "NOT met" };
        table.add_row([
            row.what.to_owned(),
            format!("peak <= {PEAK_MAX_MIB}: {is_met}"),
            row.parts.to_string(),
            mib(row.part_len_max),
            mib(row.len),
            format!("{:.1}", row.cost.peak_resident_mib),
            format!("{:.1}", row.cost.peak_anonymous_mib),
            format!("{:.1}", row.cost.wall_s),
        ]);
    }
    table
}
