//! How many instructions do the hot paths take for an item?
//!
//! A program's time differs from run to run; the instructions that Callgrind counts
//! hardly do, on a machine with much other work, too. So a change of a percent can be
//! seen, which no clock shows. What a clock shows and this does not: waiting, for memory
//! as well as for servers and disks.
//!
//! Each benchmark works on 1,000 items: the instructions of an item are a thousandth of
//! those that are printed, `Instructions`. The setting up is not counted, nor are other
//! threads.
//!
//! - `encode`: items become a segment, by the length of values and the compression.
//! - `decode`: the blocks of a segment become items again, each value checked.
//! - `look_up`: keys are found by the key index, and their values read.
//! - `walk`: lines of a walk are parsed and packed.
//! - `replies`: replies to meta gets are parsed, and nothing else.
//! - `fetch`: all that a connection of a dump does: it requests keys, receives and parses
//!   the replies and passes the items on.
//! - `load`: all that a connection of a restore does.
//! - `locate`: keys are placed on a ring of 100 nodes.
//!
//! `tools/bench instructions` runs it, and compares with the run before.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench ends at the first surprise, and its macros make public items"
)]

mod answering;
mod items;
mod jobs;
mod replies;
mod segments;

use std::hint::black_box;

use gungraun::prelude::*;
use mcsnap::codecs::format::compression::{Compression, SectionReader};
use mcsnap::codecs::ring::{Placement, RingSpec};
use mcsnap::engines::pump::ItemBatch;
use mcsnap::engines::sink::Loader;
use mcsnap::engines::snapshot::SegmentReader;
use mcsnap::engines::source::{Fetcher, WalkChunk};
use mcsnap::words::node::NodeSpec;

use items::Items;

const ZSTD: Compression = Compression::Zstd(1);

fn set_up_encoding(value_len: usize, compression: Compression) -> (Items, Compression) {
    (Items::new(value_len), compression)
}

#[library_benchmark]
#[bench::plain_100b(args = (100, Compression::None), setup = set_up_encoding)]
#[bench::plain_2k(args = (2_000, Compression::None), setup = set_up_encoding)]
#[bench::zstd_2k(args = (2_000, ZSTD), setup = set_up_encoding)]
fn encode((items, compression): (Items, Compression)) -> Vec<u8> {
    segments::encode(black_box(&items), compression)
}

fn set_up_decoding(value_len: usize, compression: Compression) -> (SegmentReader, SectionReader) {
    let segment = segments::open(&Items::new(value_len), compression);
    let mut sections = SectionReader::default();
    // The first one makes a decompressor, and a run has only one of it.
    segments::decode(&segment, &mut sections);
    (segment, sections)
}

#[library_benchmark]
#[bench::plain_100b(args = (100, Compression::None), setup = set_up_decoding)]
#[bench::plain_2k(args = (2_000, Compression::None), setup = set_up_decoding)]
#[bench::zstd_2k(args = (2_000, ZSTD), setup = set_up_decoding)]
fn decode((segment, mut sections): (SegmentReader, SectionReader)) {
    segments::decode(black_box(&segment), &mut sections);
}

fn set_up_look_up(value_len: usize, compression: Compression) -> (Items, SegmentReader) {
    let items = Items::new(value_len);
    let segment = segments::open(&items, compression);
    (items, segment)
}

#[library_benchmark]
#[bench::plain_100b(args = (100, Compression::None), setup = set_up_look_up)]
fn look_up((items, segment): (Items, SegmentReader)) {
    segments::look_up(
        &segment,
        black_box(&items.keys),
        &mut SectionReader::default(),
    );
}

fn set_up_walk(value_len: usize) -> Vec<Vec<u8>> {
    Items::new(value_len).walk_lines()
}

#[library_benchmark]
#[bench::hash(args = (100), setup = set_up_walk)]
fn walk(lines: Vec<Vec<u8>>) -> WalkChunk {
    items::pack_walk(black_box(&lines))
}

fn set_up_replies(value_len: usize) -> Vec<u8> {
    replies::of_gets(&Items::new(value_len))
}

#[library_benchmark]
#[bench::values_100b(args = (100), setup = set_up_replies)]
fn replies_to_gets(bytes: Vec<u8>) {
    replies::parse(black_box(&bytes));
}

#[library_benchmark]
#[bench::values_100b(args = (100), setup = jobs::fetcher)]
#[bench::values_2k(args = (2_000), setup = jobs::fetcher)]
fn fetch((mut fetcher, chunk): (Fetcher<'static>, WalkChunk)) {
    jobs::fetch(&mut fetcher, black_box(&chunk));
}

#[library_benchmark]
#[bench::values_100b(args = (100), setup = jobs::loader)]
#[bench::values_2k(args = (2_000), setup = jobs::loader)]
fn load((mut loader, batch): (Loader<'static>, ItemBatch)) {
    loader.load(black_box(&batch)).unwrap();
}

fn set_up_ring(name: &str) -> (Placement, Vec<Vec<u8>>) {
    let spec: RingSpec = name.parse().unwrap();
    let node = |number| NodeSpec::new(format!("10.0.0.{number}"), 11211);
    let nodes: Vec<NodeSpec> = (0..100).map(node).collect();
    (Placement::new(&spec, &nodes).unwrap(), Items::new(1).keys)
}

#[library_benchmark]
#[bench::ketama_weighted(args = ("ketama-weighted"), setup = set_up_ring)]
#[bench::twemproxy(args = ("twemproxy"), setup = set_up_ring)]
#[bench::libmemcached_consistent(args = ("libmemcached:consistent"), setup = set_up_ring)]
#[bench::dalli(args = ("dalli"), setup = set_up_ring)]
#[bench::pymemcache(args = ("pymemcache"), setup = set_up_ring)]
#[bench::mcrouter(args = ("mcrouter"), setup = set_up_ring)]
#[bench::memcached_proxy(args = ("memcached-proxy"), setup = set_up_ring)]
#[bench::modula(args = ("modula"), setup = set_up_ring)]
fn locate((ring, keys): (Placement, Vec<Vec<u8>>)) -> usize {
    let keys = black_box(&keys).iter();
    keys.map(|key| ring.locate(key, 0)).sum()
}

library_benchmark_group!(name = segment, benchmarks = [encode, decode, look_up]);
library_benchmark_group!(name = dump, benchmarks = [walk, replies_to_gets, fetch]);
library_benchmark_group!(name = restore, benchmarks = load);
library_benchmark_group!(name = ring, benchmarks = locate);

main!(library_benchmark_groups = [segment, dump, restore, ring]);
