//! Jobs that may take little memory: they keep to it, do all their work, and say how much
//! they need where it is too little.

use crate::harness::client::{Client, Item};
use crate::harness::memcached::Memcached;
use crate::harness::memory_peak::peak_kib;
use crate::harness::reports::{number, report_of, run_json, stderr_of};
use crate::harness::workdir::Workdir;

const NODE_COUNT: usize = 4;
const KEY_COUNT: usize = 20_000;
const MIB: usize = 1 << 20;

/// More than this of a limit is too much.
const EXCESS_PERCENT_MAX: u64 = 5;

/// Values from nothing to 12 MiB: short ones, such as are read whole, and such as are
/// split.
fn value(at: usize) -> Vec<u8> {
    let len = match at {
        0 => 12 * MIB,
        1..8 => 7 * MIB,
        8..30 => 300 << 10,
        _ => at % 900,
    };
    // Bytes that do not compress.
    let mut state = u64::try_from(at).unwrap();
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    });
    words.flat_map(u64::to_be_bytes).take(len).collect()
}

fn roomy() -> Memcached {
    Memcached::start_with(&["-I", "32m", "-m", "1024"])
}

fn filled(node: usize) -> Memcached {
    let server = roomy();
    let items = (0..KEY_COUNT).map(|at| Item::new(format!("{node}:{at}"), value(at)));
    server.client().load(items);
    server
}

/// Runs a job that may take so much memory, and checks that it does not take more.
fn keeps_to(workdir: &Workdir, limit_mib: u64, arguments: &[&str]) {
    let limit = format!("--mem-limit={limit_mib}MiB");
    let run = workdir.mcsnap(arguments).arg(&limit).arg("-q");
    let mut child = run.spawn();
    let peak = peak_kib(&mut child, "RssAnon");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr_of(&output));
    let most = (limit_mib << 10) * (100 + EXCESS_PERCENT_MAX) / 100;
    assert!(peak <= most, "{peak} of {most} KiB: {arguments:?}");
}

#[test]
fn jobs_keep_to_the_memory_that_they_may_take() {
    let workdir = Workdir::new("memory-limit");
    let sources: Vec<Memcached> = (0..NODE_COUNT).map(filled).collect();
    let addresses: Vec<String> = sources.iter().map(Memcached::address).collect();
    let mut dump = vec!["dump", "--to=s", "--name=a", "--full-speed"];
    dump.extend(addresses.iter().map(String::as_str));
    keeps_to(&workdir, 64, &dump);
    let targets: Vec<Memcached> = (0..NODE_COUNT).map(|_| roomy()).collect();
    let to: Vec<String> = targets.iter().map(Memcached::address).collect();
    let to = to.join(",");
    let ring = ["--ring=node-for-node", "--threads=16", "--full-speed"];
    let restore = [&["restore", "s/a", "--to", &to], &ring[..]].concat();
    keeps_to(&workdir, 64, &restore);
    let salvage = ["salvage", "s/a", "--to=out", "--name=b", "--threads=16"];
    keeps_to(&workdir, 96, &salvage);
    let verify = ["verify", "out/b", "--deep"];
    let records = number(&run_json(&workdir, &verify, 0), "records");
    assert_eq!(usize::try_from(records).unwrap(), NODE_COUNT * KEY_COUNT);
    let mut clients: Vec<Client> = targets.iter().map(Memcached::client).collect();
    for (node, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.keys().len(), KEY_COUNT);
        for at in (0..40).chain([KEY_COUNT - 1]) {
            let (_, found) = client.get(&format!("{node}:{at}")).unwrap();
            assert!(found == value(at), "{node}:{at}");
        }
    }
}

#[test]
fn a_limit_that_is_too_low_is_refused_and_the_one_that_is_named_is_enough() {
    let workdir = Workdir::new("memory-too-low");
    let server = Memcached::start();
    server.client().load([Item::new("key", "value")]);
    let address = server.address();
    let to = format!("--to={address}");
    let dump = ["dump", "--to=s", &address];
    let restore = ["restore", "s/whole", &to];
    workdir.mcsnap(&dump).arg("--name=whole").succeeds();
    for (job, name) in [(&dump[..], "--name=least"), (&restore, "--mode=set")] {
        for dry_run in ["--dry-run=true", "--dry-run=false"] {
            let refused = workdir.mcsnap(job).arg("--mem-limit=16MiB").arg(dry_run);
            let errors = stderr_of(&refused.exits(2));
            assert!(errors.contains("mem-limit \"16MiB\""), "{errors}");
            let (_, rest) = errors.split_once("at least ").expect("a size");
            let (least, _) = rest.split_once(' ').expect("more words");
            let enough = workdir.mcsnap(job).arg(format!("--mem-limit={least}"));
            enough.arg(name).arg(dry_run).arg("-q").succeeds();
        }
    }
    for (text, wanted) in [
        ("15MiB", "a size of at least 16"),
        ("much", "a size of at least 16"),
    ] {
        let refused = workdir.mcsnap(&dump).arg(format!("--mem-limit={text}"));
        let errors = stderr_of(&refused.exits(2));
        assert!(errors.contains(wanted), "{errors}");
    }
}

#[test]
fn the_limit_stands_in_the_plan_and_none_is_no_limit() {
    let workdir = Workdir::new("memory-plan");
    let server = Memcached::start();
    let address = server.address();
    let plan = |limit: &str| {
        let dump = ["dump", "--to=s", &address, "--dry-run", "--format=json"];
        let run = workdir.mcsnap(&dump).arg(limit);
        report_of(&run.succeeds())["memory_max"].clone()
    };
    assert_eq!(plan("--mem-limit=300MiB"), 300 << 20);
    assert!(plan("--mem-limit=none").is_null());
    let dump = ["dump", "--to=s", &address, "--name=a", "--mem-limit=none"];
    let report = run_json(&workdir, &dump, 0);
    assert_eq!(report["verdict"], "complete");
}
