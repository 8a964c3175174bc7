//! How far is the whole path from the least that it must do?
//!
//! Real memcached servers are filled with mixed items. The *floor* of a dump is
//! to read the same items over as many connections and to append them to plain
//! files, made durable; the floor of a restore is to send them as quiet sets, and
//! that of a restore to a server without meta commands to send them as classic sets,
//! pipelined.
//! Each job and its floor run in turn, in rounds, and the ratios of their wall
//! times are given as medians: a machine's speed drifts, a ratio in one round
//! less so. CPU seconds and peak memory are the program's own, from /proc.
//!
//! `tools/bench` runs it; `--items N` and `--rounds N` change the size.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench ends at the first surprise, and prints its table"
)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcsnap::codecs::format::manifest::Need;
use mcsnap::codecs::protocol::request::SetMode;
use mcsnap::codecs::select::Selection;
use mcsnap::engines::sink::SetProtocol;
use mcsnap::engines::snapshot::SnapshotReader;
use mcsnap::jobs::restore::{RestoreOptions, RestorePlan, TtlClock};
use mcsnap::ports::net::{Brake, NetOptions};
use mcsnap::ports::store::{MapChoice, open_snapshot_place};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::progress::NoProgress;

const CONNECTION_COUNT: u64 = 4;
const BATCH: usize = 1024;

/// What one run took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: f64,
    cpu: f64,
    /// Peak resident set in MiB; 0 for what runs in this process.
    peak: f64,
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(directory: &Path, number: usize, memory_mib: u64) -> Self {
        let file = directory.join(format!("port-{number}"));
        let child = Command::new("memcached")
            .args([
                "-p",
                "-1",
                "-U",
                "0",
                "-l",
                "127.0.0.1",
                "-u",
                "root",
                "-t",
                "2",
                "-m",
            ])
            .arg(memory_mib.to_string())
            .env("MEMCACHED_PORT_FILENAME", &file)
            .spawn()
            .unwrap_or_else(|error| panic!("memcached: {error}; run tools/setup"));
        let deadline = Instant::now() + Duration::from_secs(10);
        let port = loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let port = text
                .lines()
                .find_map(|line| line.strip_prefix("TCP INET: ")?.parse().ok());
            if let Some(port) = port {
                break port;
            }
            assert!(
                Instant::now() < deadline,
                "memcached does not tell its port"
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        Self { child, port }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn flush(&self) {
        let mut stream = self.connect();
        stream.write_all(b"flush_all\r\n").unwrap();
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ours, and of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

fn key(number: u64) -> String {
    format!(
        "user:{number}:{}",
        ["profile", "session", "feed"][(number % 3) as usize]
    )
}

/// Text of words and, for three in ten, noise: some 2,200 bytes on average.
fn value(number: u64, words: &[u8], noise: &[u8]) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let len = match next(&mut state) % 10 {
        0..5 => 50 + next(&mut state) % 450,
        5..9 => 500 + next(&mut state) % 3500,
        _ => 4000 + next(&mut state) % 16_000,
    } as usize;
    let source = if next(&mut state) % 10 < 7 {
        words
    } else {
        noise
    };
    let start = next(&mut state) as usize % (source.len() - len);
    source[start..start + len].to_vec()
}

fn sources() -> (Vec<u8>, Vec<u8>) {
    let mut state = 42;
    let vocabulary: Vec<Vec<u8>> = (0..2000)
        .map(|_| {
            (0..3 + next(&mut state) % 7)
                .map(|_| b'a' + (next(&mut state) % 26) as u8)
                .collect()
        })
        .collect();
    let mut words = Vec::new();
    while words.len() < 4 << 20 {
        words.extend_from_slice(&vocabulary[next(&mut state) as usize % vocabulary.len()]);
        words.push(b' ');
    }
    let noise = (0..4 << 20).map(|_| next(&mut state) as u8).collect();
    (words, noise)
}

/// Sends quiet sets of all items over several connections.
fn store_all(server: &Server, items: u64) {
    let (words, noise) = sources();
    std::thread::scope(|scope| {
        for part in 0..CONNECTION_COUNT {
            let (words, noise) = (&words, &noise);
            scope.spawn(move || {
                let mut stream = server.connect();
                let mut request = Vec::new();
                for number in (part..items).step_by(CONNECTION_COUNT as usize) {
                    let value = value(number, words, noise);
                    let ttl = if number % 2 == 0 { 0 } else { 86_400 };
                    write!(
                        request,
                        "ms {} {} T{ttl} F{} q\r\n",
                        key(number),
                        value.len(),
                        number % 3
                    )
                    .unwrap();
                    request.extend_from_slice(&value);
                    request.extend_from_slice(b"\r\n");
                    if request.len() > 256 << 10 {
                        end_batch(&mut stream, &mut request);
                    }
                }
                end_batch(&mut stream, &mut request);
            });
        }
    });
}

fn end_batch(stream: &mut TcpStream, request: &mut Vec<u8>) {
    request.extend_from_slice(b"mn\r\n");
    stream.write_all(request).unwrap();
    request.clear();
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"MN\r\n");
}

/// Sends classic sets of all items over several connections.
fn store_all_classic(server: &Server, items: u64) {
    let (words, noise) = sources();
    std::thread::scope(|scope| {
        for part in 0..CONNECTION_COUNT {
            let (words, noise) = (&words, &noise);
            scope.spawn(move || {
                let mut stream = server.connect();
                let (mut request, mut count) = (Vec::new(), 0);
                for number in (part..items).step_by(CONNECTION_COUNT as usize) {
                    let value = value(number, words, noise);
                    let ttl = if number % 2 == 0 { 0 } else { 86_400 };
                    let (key, len) = (key(number), value.len());
                    write!(request, "set {key} {} {ttl} {len}\r\n", number % 3).unwrap();
                    request.extend_from_slice(&value);
                    request.extend_from_slice(b"\r\n");
                    count += 1;
                    if request.len() > 256 << 10 {
                        end_classic_batch(&mut stream, &mut request, &mut count);
                    }
                }
                end_classic_batch(&mut stream, &mut request, &mut count);
            });
        }
    });
}

fn end_classic_batch(stream: &mut TcpStream, request: &mut Vec<u8>, count: &mut usize) {
    stream.write_all(request).unwrap();
    request.clear();
    let mut replies = vec![0; b"STORED\r\n".len() * *count];
    stream.read_exact(&mut replies).unwrap();
    assert!(replies.chunks(8).all(|reply| reply == b"STORED\r\n"));
    *count = 0;
}

/// Restores as the program does, but by classic sets.
fn restore_classic(place: &str, server: &Server) {
    let (store, name) = open_snapshot_place(place, MapChoice::Auto).unwrap();
    let snapshot = SnapshotReader::open(store, &name, Need::Restore).unwrap();
    let options = RestoreOptions {
        nodes: vec![server.address().parse().unwrap()],
        ring: None,
        mode: SetMode::Add,
        connection_count: CONNECTION_COUNT as usize,
        memory_limit: mcsnap::words::budget::MemoryLimit::None,
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
    assert!(!report.has_losses() && report.totals().fates.stored == report.records);
}

/// Reads all items over several connections and appends what comes, as it
/// comes, to a file each.
fn read_all(server: &Server, items: u64, directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    std::thread::scope(|scope| {
        for part in 0..CONNECTION_COUNT {
            scope.spawn(move || {
                let mut stream = server.connect();
                let mut file = File::create(directory.join(part.to_string())).unwrap();
                let numbers: Vec<u64> = (part..items).step_by(CONNECTION_COUNT as usize).collect();
                let mut buffer = Vec::new();
                for batch in numbers.chunks(BATCH) {
                    let mut request = Vec::new();
                    for number in batch {
                        write!(request, "mg {} f t c u v\r\n", key(*number)).unwrap();
                    }
                    request.extend_from_slice(b"mn\r\n");
                    stream.write_all(&request).unwrap();
                    buffer.clear();
                    let mut chunk = [0; 64 << 10];
                    while !buffer.ends_with(b"MN\r\n") {
                        let len = stream.read(&mut chunk).unwrap();
                        assert!(len > 0);
                        buffer.extend_from_slice(&chunk[..len]);
                    }
                    file.write_all(&buffer).unwrap();
                }
                file.sync_all().unwrap();
            });
        }
    });
}

/// Clock ticks a second, as Linux shows them to programs on every machine.
const TICKS: f64 = 100.0;

/// CPU seconds of this process, and of its children that have ended.
fn cpu_seconds() -> (f64, f64) {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<f64> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    (
        (fields[11] + fields[12]) / TICKS,
        (fields[13] + fields[14]) / TICKS,
    )
}

fn floor(work: impl FnOnce()) -> Cost {
    let (cpu, clock) = (cpu_seconds().0, Instant::now());
    work();
    Cost {
        wall: clock.elapsed().as_secs_f64(),
        cpu: cpu_seconds().0 - cpu,
        peak: 0.0,
    }
}

fn program(arguments: &[&str]) -> Cost {
    let (cpu, clock) = (cpu_seconds().1, Instant::now());
    let mut child = Command::new(env!("CARGO_BIN_EXE_mcsnap"))
        .args(arguments)
        .arg("-q")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let text = fs::read_to_string(&status_file).unwrap_or_default();
        let shown = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok())
        };
        // Memory of its own: pages of mapped files can be dropped at any time.
        peak = peak.max(shown("RssAnon:").unwrap_or(0.0) / 1024.0);
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "mcsnap {arguments:?}: {status}");
    Cost {
        wall: clock.elapsed().as_secs_f64(),
        cpu: cpu_seconds().1 - cpu,
        peak,
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn print_row(name: &str, costs: &[Cost], floors: &[Cost]) {
    let wall = median(costs.iter().map(|cost| cost.wall).collect());
    let cpu = median(costs.iter().map(|cost| cost.cpu).collect());
    let peak = costs.iter().map(|cost| cost.peak).fold(0.0, f64::max);
    let ratio = median(
        costs
            .iter()
            .zip(floors)
            .map(|(cost, floor)| cost.wall / floor.wall)
            .collect(),
    );
    println!("{name:<22} {wall:>8.2} s {ratio:>7.2} x {cpu:>8.2} s {peak:>8.1} MiB");
}

fn option(name: &str, default: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(default)
}

fn main() {
    // `cargo test --benches` wants to see that it starts, not how fast it is.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let (items, rounds) = (option("--items", 1_000_000), option("--rounds", 3));
    // Beside the build, so that it is a disk and not memory.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = tempfile::tempdir_in(target).unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let memory_mib = items / 1_000_000 * 4096 + 4096;
    let source = Server::start(directory.path(), 0, memory_mib);
    let sink = Server::start(directory.path(), 1, memory_mib);
    store_all(&source, items);

    let (mut read, mut plain, mut zstd) = (Vec::new(), Vec::new(), Vec::new());
    let (mut file, mut data, mut deep) = (Vec::new(), Vec::new(), Vec::new());
    let (mut write, mut restore) = (Vec::new(), Vec::new());
    let (mut write_classic, mut classic) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let name = |kind: &str| format!("{kind}{round}");
        let snapshots = at("s");
        let dump = |compression: &str, name: &str| {
            program(&[
                "dump",
                &source.address(),
                "--to",
                &snapshots,
                "--name",
                name,
                "--compression",
                compression,
            ])
        };
        read.push(floor(|| {
            read_all(&source, items, &directory.path().join("plain"))
        }));
        fs::remove_dir_all(at("plain")).unwrap();
        plain.push(dump("none", &name("none")));
        zstd.push(dump("zstd:1", &name("zstd")));
        let place = at(&format!("s/{}", name("zstd")));
        file.push(floor(|| {
            for entry in fs::read_dir(format!("{place}/segments")).unwrap() {
                assert!(!fs::read(entry.unwrap().path()).unwrap().is_empty());
            }
        }));
        data.push(program(&["verify", &place, "--data"]));
        deep.push(program(&["verify", &place, "--deep"]));
        sink.flush();
        write.push(floor(|| store_all(&sink, items)));
        sink.flush();
        restore.push(program(&["restore", &place, "--to", &sink.address()]));
        sink.flush();
        write_classic.push(floor(|| store_all_classic(&sink, items)));
        sink.flush();
        classic.push(floor(|| restore_classic(&place, &sink)));
        for kind in ["none", "zstd"] {
            fs::remove_dir_all(at(&format!("s/{}", name(kind)))).unwrap();
        }
    }
    println!("{items} items, {rounds} rounds, medians; ratio to the floor of the same round");
    println!(
        "{:<22} {:>10} {:>9} {:>10} {:>12}",
        "", "wall", "ratio", "CPU", "peak memory"
    );
    print_row("floor: read + append", &read, &read);
    print_row("dump, no compression", &plain, &read);
    print_row("dump, zstd:1", &zstd, &read);
    print_row("floor: read the files", &file, &file);
    print_row("verify --data", &data, &file);
    print_row("verify --deep", &deep, &file);
    print_row("floor: quiet sets", &write, &write);
    print_row("restore", &restore, &write);
    print_row("floor: classic sets", &write_classic, &write_classic);
    print_row("restore classic", &classic, &write_classic);
}
