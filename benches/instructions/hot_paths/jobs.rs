//! What one connection of a dump and of a restore does, with a server on another thread.

use std::hint::black_box;

use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::protocol::stats::{ServerSettings, ServerStats, ServerVersion, StatTable};
use mcsnap::codecs::select::Selection;
use mcsnap::engines::pump::{ItemBatch, ItemSink};
use mcsnap::engines::sink::{LoadOptions, Loader, SetProtocol, WriteStrategy};
use mcsnap::engines::source::{
    FetchJob, Fetcher, FetcherOptions, ReadStrategy, WalkChunk, WalkKind,
};
use mcsnap::ports::net::{Asked, Brake, NetOptions, ServerReport};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::Result;
use mcsnap::words::item::{ItemMeta, Record};
use mcsnap::words::node::NodeSpec;

use crate::answering;
use crate::items::{ITEM_COUNT, Items, pack_walk};

/// A server of today that is not asked what it is.
fn report() -> ServerReport {
    ServerReport {
        stats: ServerStats {
            version: ServerVersion(1, 6, 38),
            ..ServerStats::default()
        },
        settings: ServerSettings::of(&StatTable::default()),
        ..ServerReport::default()
    }
}

/// Keeps what it is given for as long as the process lives, which is one benchmark long.
fn keep<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// A fetcher that has connected and fetched all items once.
pub(crate) fn fetcher(value_len: usize) -> (Fetcher<'static>, WalkChunk) {
    let items = Items::new(value_len);
    let chunk = pack_walk(&items.walk_lines());
    let node: NodeSpec = answering::start(items.by_key()).parse().unwrap();
    let mut fetcher = Fetcher::new(FetchJob {
        node: keep(node),
        server: keep(report()),
        strategy: ReadStrategy {
            version: ServerVersion(1, 6, 38),
            walk: WalkKind::Hash,
            turns_crawler_on: false,
            has_meta_get: true,
            has_gets: true,
            has_base64_keys: true,
            has_binary_protocol: false,
        },
        options: keep(FetcherOptions::default()),
        selection: keep(Selection::default()),
        seen: None,
        brake: keep(Brake::full_speed().node("server", Asked::Gets)),
        cancel: keep(Cancel::new()),
    });
    fetch(&mut fetcher, &chunk);
    (fetcher, chunk)
}

/// Requests all items, parses the replies, and passes the items on.
pub(crate) fn fetch(fetcher: &mut Fetcher<'static>, chunk: &WalkChunk) {
    let mut sink = CountingSink(0);
    fetcher.fetch(chunk, &mut sink).unwrap();
    assert_eq!(sink.0, ITEM_COUNT);
}

/// Takes items and does nothing with them.
struct CountingSink(usize);

impl ItemSink for CountingSink {
    fn item(&mut self, record: &Record<'_>) -> Result<()> {
        black_box(record);
        self.0 += 1;
        Ok(())
    }

    fn begin_large(&mut self, _: &[u8], _: &ItemMeta, _: u64) -> Result<()> {
        panic!("no value is large")
    }

    fn piece(&mut self, _: &[u8]) -> Result<()> {
        panic!("no value is large")
    }

    fn end_large(&mut self) -> Result<()> {
        panic!("no value is large")
    }

    fn abandon_large(&mut self) {
        panic!("no value is large")
    }
}

/// A loader that has connected and stored all items once.
pub(crate) fn loader(value_len: usize) -> (Loader<'static>, ItemBatch) {
    let items = Items::new(value_len);
    let node: NodeSpec = answering::start(items.by_key()).parse().unwrap();
    let mut batch = ItemBatch::default();
    for record in items.records() {
        batch.push(&record);
    }
    let options = LoadOptions {
        net: NetOptions::default(),
        mode: SetMode::Add,
        strategy: WriteStrategy {
            set_protocol: SetProtocol::Meta,
            has_binary_protocol: false,
            has_gets: true,
            holds_cas: true,
            client_flags_max: u32::MAX.into(),
        },
        exptime_if_unknown: None,
        brake: Brake::full_speed().node("server", Asked::Sets),
    };
    let mut loader = Loader::new(keep(node), keep(report()), options, keep(Cancel::new()));
    loader.load(&batch).unwrap();
    (loader, batch)
}
