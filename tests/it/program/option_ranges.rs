//! Numbers that a user of the library sets: each has a range, and nothing is
//! begun with one that is out of it.

use std::sync::Arc;
use std::time::Duration;

use mcsnap::codecs::format::compression::Compression;
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::select::Selection;
use mcsnap::jobs::dump::{DumpOptions, DumpPlan, WarmFileOptions, WarmFilePlan};
use mcsnap::jobs::restore::{BlockOrder, RestoreOptions, TtlClock};
use mcsnap::jobs::salvage::{SalvageOptions, salvage};
use mcsnap::ports::net::{Brake, BrakeOptions, NetOptions};
use mcsnap::ports::store::{MemoryStore, Store, open_damaged_place};
use mcsnap::words::budget::MemoryLimit;
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{Error, ErrorKind};
use mcsnap::words::progress::NoProgress;

/// An option, a way to set it, and its range.
type Row<T> = (&'static str, fn(&mut T, u64), u64, u64);

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Checks each option at the ends of its range and beyond them.
fn check<T: Clone>(
    sound: &T,
    rows: &[Row<T>],
    validate: impl Fn(&T) -> Result<(), Error>,
    refuse: impl Fn(T) -> Error,
) {
    validate(sound).unwrap();
    for (name, set, least, most) in rows {
        let with = |number| {
            let mut options = sound.clone();
            set(&mut options, number);
            options
        };
        for number in [*least, *most] {
            validate(&with(number)).unwrap();
        }
        for number in [least.checked_sub(1), most.checked_add(1)]
            .into_iter()
            .flatten()
        {
            let error = refuse(with(number));
            let ErrorKind::InvalidInput { field, value, .. } = error.kind() else {
                panic!("{name} {number}: {error}");
            };
            assert_eq!(
                (*field, value.as_str()),
                (*name, number.to_string().as_str())
            );
            let wanted = format!("wanted a number from {least} to {most}");
            assert!(error.to_string().ends_with(&wanted), "{error}");
        }
    }
}

#[test]
fn a_dump_is_refused_numbers_out_of_range() {
    let sound = DumpOptions {
        // Nobody is asked: a wrong number is told before.
        nodes: vec!["127.0.0.1:1".parse().unwrap()],
        name: "a".to_owned(),
        rings: Vec::new(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        connection_count: 1,
        parallel_node_count: 1,
        shard_bits: 0,
        spool_memory_max: 1 << 20,
        memory_limit: MemoryLimit::None,
        spool_directory: std::env::temp_dir(),
        net: NetOptions::default(),
        is_partial_allowed: false,
        walk: None,
        resume: None,
        selection: Selection::EVERYTHING,
        busy_timeout: Duration::from_secs(1),
        is_sole: false,
        brake: Brake::default(),
    };
    let rows: [Row<DumpOptions>; 6] = [
        (
            "segment_size_max",
            |o, n| o.segment_size_max = n,
            1,
            u64::MAX,
        ),
        (
            "segment_record_count_max",
            |o, n| o.segment_record_count_max = n,
            1,
            1 << 32,
        ),
        (
            "connection_count",
            |o, n| o.connection_count = to_usize(n),
            1,
            256,
        ),
        (
            "parallel_node_count",
            |o, n| o.parallel_node_count = to_usize(n),
            1,
            10_000,
        ),
        (
            "shard_bits",
            |o, n| o.shard_bits = u8::try_from(n).unwrap(),
            0,
            8,
        ),
        (
            "spool_memory_max",
            |o, n| o.spool_memory_max = to_usize(n),
            1,
            u64::MAX,
        ),
    ];
    let refuse = |options| DumpPlan::make(options, &Cancel::new()).unwrap_err();
    check(&sound, &rows, DumpOptions::validate, refuse);
    let mut unbraked = sound.clone();
    unbraked.brake = Brake::new(BrakeOptions {
        latency_bound: Some(Duration::from_secs(11)),
        ..BrakeOptions::default()
    });
    let error = DumpPlan::make(unbraked, &Cancel::new()).unwrap_err();
    let wanted = "latency_bound \"11s\": wanted a length of time from 100us to 10s";
    assert_eq!(error.to_string(), wanted);
    // A plan whose options were changed after it was made.
    let mut plan = DumpPlan {
        options: sound,
        nodes: Vec::new(),
        start: None,
    };
    plan.options.connection_count = 0;
    let store = MemoryStore::new();
    let run = plan.run(Arc::new(store.clone()), &Cancel::new(), &NoProgress);
    assert!(
        run.unwrap_err()
            .to_string()
            .starts_with("connection_count \"0\": ")
    );
    assert_eq!(store.list("").unwrap(), []);
}

#[test]
fn a_restore_is_refused_numbers_out_of_range() {
    let sound = RestoreOptions {
        nodes: Vec::new(),
        ring: None,
        mode: SetMode::Add,
        connection_count: 1,
        thread_count: 1,
        memory_limit: MemoryLimit::None,
        net: NetOptions::default(),
        selection: Selection::EVERYTHING,
        at: None,
        order: BlockOrder::default(),
        exptime_if_unknown: None,
        set_protocol: None,
        source_nodes: Vec::new(),
        scratch_directory: std::env::temp_dir(),
        is_partial_allowed: false,
        only_for: Vec::new(),
        evictions_max: None,
        ttl_clock: TtlClock::Servers,
        brake: Brake::default(),
    };
    let rows: [Row<RestoreOptions>; 2] = [
        (
            "connection_count",
            |o, n| o.connection_count = to_usize(n),
            1,
            256,
        ),
        ("thread_count", |o, n| o.thread_count = to_usize(n), 1, 1024),
    ];
    let refuse = |options: RestoreOptions| options.validate().unwrap_err();
    check(&sound, &rows, RestoreOptions::validate, refuse);
}

#[test]
fn a_dump_of_a_restart_file_is_refused_numbers_out_of_range() {
    let sound = WarmFileOptions {
        path: "gone".into(),
        node: None,
        name: "a".to_owned(),
        rings: Vec::new(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        shard_bits: 0,
        thread_count: 1,
        memory_limit: MemoryLimit::None,
        selection: Selection::EVERYTHING,
    };
    let rows: [Row<WarmFileOptions>; 4] = [
        (
            "segment_size_max",
            |o, n| o.segment_size_max = n,
            1,
            u64::MAX,
        ),
        (
            "segment_record_count_max",
            |o, n| o.segment_record_count_max = n,
            1,
            1 << 32,
        ),
        (
            "shard_bits",
            |o, n| o.shard_bits = u8::try_from(n).unwrap(),
            0,
            8,
        ),
        ("thread_count", |o, n| o.thread_count = to_usize(n), 1, 1024),
    ];
    let refuse = |options| WarmFilePlan::make(options).unwrap_err();
    check(&sound, &rows, WarmFileOptions::validate, refuse);
}

#[test]
fn a_salvage_is_refused_numbers_out_of_range() {
    let sound = SalvageOptions {
        name: "a".to_owned(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        compression: Compression::None,
        thread_count: 1,
        memory_limit: MemoryLimit::None,
    };
    let rows: [Row<SalvageOptions>; 3] = [
        (
            "segment_size_max",
            |o, n| o.segment_size_max = n,
            1,
            u64::MAX,
        ),
        (
            "segment_record_count_max",
            |o, n| o.segment_record_count_max = n,
            1,
            1 << 32,
        ),
        ("thread_count", |o, n| o.thread_count = to_usize(n), 1, 1024),
    ];
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("damaged");
    std::fs::create_dir(&place).unwrap();
    let input = open_damaged_place(place.to_str().unwrap()).unwrap();
    let refuse = |options: SalvageOptions| {
        let store = Arc::new(MemoryStore::new());
        salvage(&input, store, &options, &Cancel::new(), &NoProgress).unwrap_err()
    };
    check(&sound, &rows, SalvageOptions::validate, refuse);
}
