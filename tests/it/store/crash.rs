//! Whatever fails or dies, there is a whole snapshot or none.

use std::fs;
use std::sync::Arc;

use mcsnap::codecs::format::manifest::Need;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::dump::{DumpOptions, DumpPlan};
use mcsnap::jobs::verify::{Depth, VerifyOptions, verify_snapshot};
use mcsnap::ports::store::{Fault as StoreFault, FaultyStore, MemoryStore, Store};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::progress::NoProgress;

use crate::harness::client::Item;
use crate::harness::fault::{Call, Fault, Harm, was_killed};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

const NAME: &str = "night";

fn plan(server: &Memcached) -> DumpPlan {
    let options = DumpOptions {
        nodes: vec![server.address().parse().unwrap()],
        name: NAME.to_owned(),
        segment_size_max: 1 << 20,
        segment_record_count_max: 100,
        connection_count: 2,
        parallel_node_count: 1,
        shard_bits: 1,
        spool_memory_max: 1 << 20,
        ..DumpOptions::default()
    };
    DumpPlan::make(options, &Cancel::new()).unwrap()
}

/// Says whether there is a snapshot; one that is there must be whole.
fn is_published(store: &MemoryStore, records: u64) -> bool {
    let store: Arc<dyn Store> = Arc::new(store.clone());
    let Ok(snapshot) = SnapshotReader::open(Arc::clone(&store), NAME, Need::Read) else {
        return false;
    };
    assert_eq!(snapshot.manifest().totals.records, records);
    let options = VerifyOptions {
        depth: Depth::Deep,
        thread_count: 1,
    };
    let report = verify_snapshot(store, NAME, &options, &Cancel::new(), &NoProgress).unwrap();
    assert_eq!(report.findings, []);
    true
}

#[test]
fn each_store_operation_failed_in_turn_leaves_a_whole_snapshot_or_none() {
    let server = Memcached::start();
    let records = 450;
    server
        .client()
        .load((0..records).map(|at| Item::new(format!("key:{at}"), vec![b'v'; 300])));
    let counting = FaultyStore::counting(MemoryStore::new());
    plan(&server)
        .run(Arc::new(counting.clone()), &Cancel::new(), &NoProgress)
        .unwrap();
    let operation_count = counting.operation_count();
    assert!(
        operation_count > 12,
        "{operation_count} operations are too few to mean anything"
    );
    let faults = [
        StoreFault::Freeze,
        StoreFault::Once,
        StoreFault::LostReply,
        StoreFault::LostReplies,
    ];
    for fault in faults {
        let mut published = 0;
        for fail_at in 0..operation_count {
            let store = MemoryStore::new();
            let faulty = FaultyStore::new(store.clone(), fail_at, fault);
            let done = plan(&server).run(Arc::new(faulty), &Cancel::new(), &NoProgress);
            let is_there = is_published(&store, records);
            // A reported success is one.
            assert!(done.is_err() || is_there, "{fault:?} at {fail_at}");
            // A lost reply to the last step can only be told by looking.
            assert!(
                done.is_ok() || !is_there || fault != StoreFault::Once,
                "{fault:?} at {fail_at}: {:?}",
                done.err()
            );
            published += u64::from(is_there);
            if fault == StoreFault::Once && done.is_err() {
                // What it had written it has removed again.
                assert_eq!(store.list("").unwrap(), [], "{fault:?} at {fail_at}");
            }
        }
        assert!(published < operation_count, "{fault:?} never failed");
    }
}

#[test]
fn a_killed_dump_is_never_a_snapshot() {
    let server = Memcached::start();
    let value = |at: u64| vec![at.to_le_bytes()[0]; 1500];
    server
        .client()
        .load((0..6000).map(|at| Item::new(format!("key:{at}"), value(at))));
    let address = server.address();
    let workdir = Workdir::new("killed");
    fs::create_dir(workdir.join("s")).unwrap();
    let dump = |name: &str, fault: &Fault| {
        let arguments = [
            "dump",
            "--to=s",
            "--name",
            name,
            "--segment-size=1MiB",
            "--compression=none",
            &address,
        ];
        fault.run(workdir.mcsnap(&arguments), &workdir.join("s"))
    };
    let (output, counted) = dump("whole", &Fault::none(&Call::CHANGING));
    assert!(output.status.success(), "{output:?}");
    let count = counted.len();
    assert!(count > 40, "{count} calls are too few to mean anything");
    let mut killed = 0;
    for part in 0..20 {
        let name = format!("k{part}");
        let number = 1 + part * (count - 1) / 19;
        let (output, _) = dump(&name, &Fault::at(&Call::CHANGING, number, Harm::KillBefore));
        let place = format!("s/{name}");
        // How many calls there are differs: two writers may both make a directory.
        assert!(output.status.success() || was_killed(&output), "{output:?}");
        killed += u32::from(was_killed(&output));
        if output.status.success() || workdir.join(&place).join("manifest.json").exists() {
            // Killed after the last step, and before it could say so.
            workdir.mcsnap(&["verify", "--deep", &place]).succeeds();
        } else {
            let output = workdir.mcsnap(&["verify", &place]).run();
            assert_ne!(output.status.code(), Some(0));
        }
    }
    assert!(killed >= 19, "only {killed} of 20 were killed");
}
