//! A walk beside a disk that takes nothing: it goes on, and where memory is full it is
//! given up, and all keys are there in the end.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::Child;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mcsnap::codecs::protocol::metadump::WalkItem;
use mcsnap::codecs::select::Selection;
use mcsnap::engines::source::{
    FetchJob, FetcherOptions, ItemVersion, KeptItems, LineForm, Pushed, ReadStrategy, Spool,
    SpoolMemory, Walk, WalkChunk, WalkKind, WalkPacker, compare_listing, survey,
};
use mcsnap::ports::net::{Asked, Brake, NetOptions};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::item::Exptime;
use mcsnap::words::node::NodeSpec;
use serde_json::Value;

use crate::harness::client::{Item, noisy_key};
use crate::harness::fault::{Call, Fault, Gate, Harm};
use crate::harness::memcached::Memcached;
use crate::harness::workdir::Workdir;

/// Far more than a loaded machine needs.
const LIMIT: Duration = Duration::from_secs(120);

/// 3 MiB of keys at least, however they are packed; and no dump fetches many of them
/// while its disk takes nothing: what waits for writers is bounded.
const KEY_COUNT: usize = 40_000;

fn server() -> Memcached {
    // Without its maintainer no crawl begins but ours.
    let server = Memcached::start_with(&["-m", "256", "-o", "no_lru_maintainer"]);
    let items = (0..KEY_COUNT).map(|_| Item::new(noisy_key(), [b'v'; 1000]));
    assert_eq!(server.client().load(items), KEY_COUNT);
    server
}

/// A dump whose disk takes nothing from the first segment on.
struct StuckDump {
    child: Child,
    gate: Gate,
    stderr: Receiver<String>,
    /// How often the server had been walked before.
    walks_before: u64,
}

impl StuckDump {
    fn start(workdir: &Workdir, server: &Memcached, arguments: &[&str]) -> StuckDump {
        // What is written before, such as the journal, is not held.
        let count = Fault::none(&[Call::Write]);
        let dry = [arguments, &["--name=dry"]].concat();
        let (output, counted) = count.run(workdir.mcsnap(&dry), workdir.path());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let is_data = |path: &str| path.contains("/segments/") || path.contains("/p/");
        let first = counted.iter().filter(|call| is_data(&call.path));
        let first = first.map(|call| call.number).min().unwrap();
        let run = workdir.mcsnap(&[arguments, &["--name=a"]].concat());
        let fault = Fault::from(&[Call::Write], first, Harm::Wait);
        let (run, gate) = fault.gate(run, workdir.path(), workdir);
        let walks_before = walk_count(&server.client().stats(""));
        let mut child = run.spawn();
        let (tell, stderr) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        StuckDump {
            child,
            gate,
            stderr,
            walks_before,
        }
    }

    fn wait_for_line(&self, part: &str) {
        let mut told = Vec::new();
        loop {
            let line = self.stderr.recv_timeout(LIMIT);
            let line = line.unwrap_or_else(|error| panic!("{error}: {told:#?}"));
            if line.contains(part) {
                return;
            }
            told.push(line);
        }
    }

    /// Lets the disk take all, and returns the report.
    fn finish(mut self) -> Value {
        assert_eq!(self.child.try_wait().unwrap(), None);
        self.gate.open();
        let mut report = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut report).unwrap();
        let status = self.child.wait().unwrap();
        let told: Vec<String> = self.stderr.iter().collect();
        assert_eq!(status.code(), Some(0), "{report} {told:?}");
        serde_json::from_str(&report).unwrap()
    }
}

fn walk_count(stats: &BTreeMap<String, String>) -> u64 {
    stats["lru_crawler_starts"].parse().unwrap()
}

/// Waits until the server has been walked so often in its life, to the end.
fn wait_for_walk(server: &Memcached, count: u64) {
    let mut client = server.client();
    let deadline = Instant::now() + LIMIT;
    loop {
        let stats = client.stats("");
        let found = walk_count(&stats);
        assert!(found <= count, "walked too often");
        if found == count && stats["lru_crawler_running"] == "0" {
            return;
        }
        assert!(Instant::now() < deadline, "not walked to the end");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Compares the keys and what was counted with what the server has.
fn check(workdir: &Workdir, server: &Memcached, report: &Value, walk: &str) {
    assert_eq!(report["verdict"], "complete", "{report}");
    assert_eq!(report["nodes"][0]["walk"], walk, "{report}");
    assert_eq!(report["stored"], KEY_COUNT);
    let number = |name: &str| report[name].as_u64().unwrap();
    let known = number("stored") + number("duplicate");
    assert_eq!(number("listed"), known, "{report}");
    let output = workdir.mcsnap(&["ls", "s/a", "--keys"]).succeeds();
    let mut found: Vec<&[u8]> = output.stdout.split(|&byte| byte == b'\n').collect();
    found.pop();
    found.sort_unstable();
    let wanted = server.client().keys();
    assert!(found.into_iter().eq(wanted.keys()), "not the same keys");
    workdir
        .mcsnap(&["verify", "--deep", "-q", "s/a"])
        .succeeds();
}

fn arguments<'a>(address: &'a str, memory: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let dump = ["dump", address, "--to=s", "--spool-dir=p", "--format=json"];
    // So that the first thing to write comes soon: what compresses well is fetched, and
    // held, to the end before there is enough of it for one write.
    let plain = ["--connections=1", "--compression=none", memory];
    [&dump[..], &plain, more].concat()
}

fn workdir(name: &str) -> Workdir {
    let workdir = Workdir::new(name);
    std::fs::create_dir(workdir.join(Path::new("p"))).unwrap();
    workdir
}

#[test]
fn a_walk_goes_on_to_its_end_while_the_disk_takes_nothing() {
    let server = server();
    let workdir = workdir("walk-on");
    let address = server.address();
    let arguments = arguments(&address, "--spool-memory=32MiB", &[]);
    let dump = StuckDump::start(&workdir, &server, &arguments);
    wait_for_walk(&server, dump.walks_before + 1);
    let report = dump.finish();
    check(&workdir, &server, &report, "metadump-hash");
    assert_eq!(report["walks_given_up"], Value::Array(Vec::new()));
}

#[test]
fn a_walk_without_room_is_given_up_and_all_keys_are_there_in_the_end() {
    let server = server();
    for (walk, name) in [("hash", "up-hash"), ("slabs", "up-slabs")] {
        let workdir = workdir(name);
        let address = server.address();
        let walk = format!("--walk={walk}");
        let arguments = arguments(&address, "--spool-memory=1MiB", &[&walk]);
        let dump = StuckDump::start(&workdir, &server, &arguments);
        dump.wait_for_line("the walk of all keys was given up");
        // It was read to its end, though nothing was written, and the next one waits.
        wait_for_walk(&server, dump.walks_before + 1);
        let report = dump.finish();
        check(&workdir, &server, &report, "metadump-slabs-serial");
        assert_eq!(report["walks_given_up"], Value::from(vec![address.clone()]));
        // What was taken of the walk that was given up came again.
        assert!(report["duplicate"].as_u64().unwrap() > 0, "{report}");
    }
}

/// A chunk of one key.
fn chunk() -> WalkChunk {
    let mut packer = WalkPacker::new().unwrap();
    packer.push(b"key", &WalkItem::default());
    WalkChunk {
        items: packer.finish().unwrap().unwrap(),
        form: LineForm::Metadump,
    }
}

/// What there was no room for is not known to have changed, and is found by slab classes.
#[test]
fn a_listing_that_compares_says_that_it_was_given_up() {
    // Items that its maintainer moves from list to list are passed over by a walk of lists.
    let server = Memcached::start_with(&["-o", "no_lru_maintainer"]);
    let items = (0..2000).map(|at| Item::new(format!("key:{at}"), "v"));
    server.client().load(items);
    let mut kept = KeptItems::create(&std::env::temp_dir(), 2000).unwrap();
    for (key, line) in server.client().keys() {
        let version = ItemVersion {
            key: &key,
            cas: line["cas"].parse().unwrap(),
            exptime: Exptime::Never,
        };
        kept.insert(&version).unwrap();
    }
    let node: NodeSpec = server.address().parse().unwrap();
    let (net, cancel) = (NetOptions::default(), Cancel::new());
    let source = survey(&node, &net, Some(WalkKind::Hash), &cancel).unwrap();
    let memory = SpoolMemory::new(1);
    let mut compare = |walk| {
        let strategy = ReadStrategy {
            walk,
            ..source.strategy
        };
        let spool = Spool::new(memory.clone(), std::env::temp_dir());
        let walk = Walk {
            node: &node,
            net: &net,
            strategy,
            spool: &spool,
            seen: None,
            is_for_all: false,
            cancel: &cancel,
            busy_timeout: LIMIT,
            idle: Mutex::default(),
        };
        let job = FetchJob {
            node: &node,
            server: &source.server,
            strategy,
            options: &FetcherOptions::default(),
            selection: &Selection::EVERYTHING,
            seen: None,
            brake: &Brake::full_speed().node("a:1", Asked::Gets),
            cancel: &cancel,
        };
        let report = compare_listing(&walk, &job, &mut kept, &cancel).unwrap();
        (report.is_given_up, kept.waiting())
    };
    let other = Spool::new(memory.clone(), std::env::temp_dir());
    assert_eq!(other.push(chunk()).unwrap(), Pushed::Taken);
    assert_eq!(compare(WalkKind::Hash), (true, 2000));
    drop(other);
    assert_eq!(compare(WalkKind::SlabsSerial), (false, 0));
}
