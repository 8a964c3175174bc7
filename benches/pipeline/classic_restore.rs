//! A restore by classic sets, to a server that knows meta commands.
//!
//! The program chooses classic sets where a server knows no other, and such servers are
//! hard to come by; so the library is told here to take them.

use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::select::Selection;
use mcsnap::engines::sink::SetProtocol;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::restore::{BlockOrder, RestoreOptions, RestorePlan, TtlClock};
use mcsnap::ports::net::{Brake, NetOptions};
use mcsnap::ports::store::{MapChoice, open_snapshot_place};
use mcsnap::words::budget::MemoryLimit;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::progress::NoProgress;

use crate::floors::CONNECTION_COUNT;

/// Restores as the program does, but by classic sets.
pub(crate) fn restore_classic(place: &str, address: &str) {
    let (store, name) = open_snapshot_place(place, MapChoice::Auto).unwrap();
    let snapshot = SnapshotReader::open(store, &name, Need::Restore).unwrap();
    let options = RestoreOptions {
        order: BlockOrder::default(),
        nodes: vec![address.parse().unwrap()],
        ring: None,
        mode: SetMode::Add,
        connection_count: CONNECTION_COUNT as usize,
        memory_limit: MemoryLimit::None,
        thread_count: std::thread::available_parallelism().unwrap().get(),
        net: NetOptions::default(),
        selection: Selection::default(),
        at: None,
        exptime_if_unknown: None,
        set_protocol: Some(SetProtocol::Classic),
        source_nodes: Vec::new(),
        scratch_directory: std::env::temp_dir(),
        is_partial_allowed: false,
        only_for: Vec::new(),
        evictions_max: None,
        ttl_clock: TtlClock::Servers,
        brake: Brake::default(),
    };
    let cancel = Cancel::new();
    let plan = RestorePlan::make(snapshot, options, &cancel).unwrap();
    let report = plan.run(&cancel, &NoProgress).unwrap();
    assert!(!report.has_losses() && report.totals().counters.stored == report.records);
}
