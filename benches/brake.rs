//! What does a job cost the other clients of a server?
//!
//! A client asks a server for one item at a time, two thousand times a second over
//! four connections, and writes down how long each answer takes: without a job,
//! beside a dump and a restore as they come, and beside both at full speed. Client and
//! server share one processor, the program has another, so that nothing but the
//! server's work is fought for. Rounds follow each other, and each number is the
//! median of its rounds.
//!
//! `rates` measures something else: how exact a limit is, over 1, 4 and 64
//! connections.
//!
//! `tools/bench brake` runs it; `--items N` and `--rounds N` change the size.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a bench ends at the first surprise, and prints its table"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::memcached::{Memcached, connect};

#[path = "support/memcached.rs"]
mod memcached;

/// Where server and client run, and where the program does.
const SERVER_CPU: &str = "0";
const PROGRAM_CPU: &str = "1";

/// Between two questions of the client.
const PAUSE: Duration = Duration::from_micros(500);

struct Server(Memcached);

impl Server {
    fn start(directory: &Path, memory_mib: u64) -> Self {
        let memory = memory_mib.to_string();
        let command = ["taskset", "-c", SERVER_CPU, "memcached", "-m", &memory];
        Self(Memcached::start(directory, &command))
    }

    /// Stores items of 1 to 2 KB.
    fn fill(&self, items: u64) {
        let mut stream = self.0.connect();
        let mut request = Vec::new();
        for number in 0..items {
            let len = value_len(number);
            write!(request, "ms key:{number} {len} q\r\n").unwrap();
            // Text of a kind: what compresses to nothing would cost no processor.
            let mut state = number;
            let mut left = len as usize;
            while left > 0 {
                let word = next(&mut state) % 100_000;
                let word = format!("{word} ");
                let part = &word.as_bytes()[..word.len().min(left)];
                request.extend_from_slice(part);
                left -= part.len();
            }
            request.extend_from_slice(b"\r\n");
            if request.len() > 256 << 10 || number + 1 == items {
                request.extend_from_slice(b"mn\r\n");
                stream.write_all(&request).unwrap();
                request.clear();
                let mut reply = [0; 4];
                stream.read_exact(&mut reply).unwrap();
            }
        }
    }
}

fn value_len(number: u64) -> u64 {
    1000 + number * 7919 % 1000
}

fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// How long answers took, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    p50: f64,
    p99: f64,
    p999: f64,
}

/// The client, a process of its own: `go` on its input begins, `end` prints.
fn be_client(port: u16, items: u64) {
    static STARTS: AtomicBool = AtomicBool::new(false);
    static ENDS: AtomicBool = AtomicBool::new(false);
    std::thread::spawn(|| {
        for line in std::io::stdin().lines() {
            match line.unwrap().as_str() {
                "go" => STARTS.store(true, Ordering::SeqCst),
                _ => break,
            }
        }
        ENDS.store(true, Ordering::SeqCst);
    });
    let mut streams: Vec<TcpStream> = (0..4).map(|_| connect(port)).collect();
    let (mut times, mut state, mut turn) = (Vec::new(), 12_345, 0);
    let mut due = Instant::now();
    let mut reply = vec![0; 64 << 10];
    while !ENDS.load(Ordering::SeqCst) {
        if STARTS.swap(false, Ordering::SeqCst) {
            times.clear();
        }
        let stream = &mut streams[turn % 4];
        turn += 1;
        let request = format!("get key:{}\r\n", next(&mut state) % items);
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).unwrap();
        let mut len = 0;
        while !reply[..len].ends_with(b"END\r\n") {
            let more = stream.read(&mut reply[len..]).unwrap();
            assert!(more > 0, "the server is gone");
            len += more;
        }
        times.push(asked.elapsed());
        due += PAUSE;
        let now = Instant::now();
        if due > now {
            std::thread::sleep(due - now);
        } else {
            due = now;
        }
    }
    times.sort();
    let at = |per_mille: usize| {
        let place = times.len() * per_mille / 1000;
        times[place.min(times.len() - 1)].as_secs_f64() * 1e6
    };
    println!("{} {} {}", at(500), at(990), at(999));
}

/// Has the client look on while something is done.
fn beside_client<T>(server: &Server, items: u64, work: impl FnOnce() -> T) -> (Latency, T) {
    let mut client = Command::new("taskset")
        .args(["-c", SERVER_CPU])
        .arg(std::env::current_exe().unwrap())
        .args(["--client", &server.0.port.to_string(), &items.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    input.write_all(b"go\n").unwrap();
    let done = work();
    input.write_all(b"end\n").unwrap();
    let mut line = String::new();
    let output = client.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    client.wait().unwrap();
    let numbers: Vec<f64> = line
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let latency = Latency {
        p50: numbers[0],
        p99: numbers[1],
        p999: numbers[2],
    };
    (latency, done)
}

/// Runs the program; returns how long it took.
fn program(arguments: &[&str]) -> f64 {
    let clock = Instant::now();
    let status = Command::new("taskset")
        .args(["-c", PROGRAM_CPU, env!("CARGO_BIN_EXE_mcsnap")])
        .args(arguments)
        .arg("-q")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "mcsnap {arguments:?}: {status}");
    clock.elapsed().as_secs_f64()
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn option(name: &str, default: u64) -> u64 {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(default)
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The jobs, with and without the brake.
fn measure_jobs(server: &Server, directory: &Path, items: u64, rounds: u64) {
    let snapshots = directory.join("s").display().to_string();
    let place = format!("{snapshots}/kept");
    let address = server.0.address();
    program(&["dump", &address, "--to", &snapshots, "--name", "kept"]);
    let names = [
        "none",
        "dump",
        "dump --full-speed",
        "restore",
        "restore --full-speed",
    ];
    let mut rows: Vec<Vec<(Latency, f64)>> = vec![Vec::new(); names.len()];
    for round in 0..rounds {
        let name = format!("r{round}");
        let dump = ["dump", &address, "--to", &snapshots, "--name"];
        let restore = ["restore", &place, "--mode", "set", "--to", &address];
        for (job, row) in rows.iter_mut().enumerate() {
            let fast = &["--full-speed"][..];
            row.push(beside_client(server, items, || match job {
                0 => {
                    std::thread::sleep(Duration::from_secs(3));
                    f64::INFINITY
                }
                1 => program(&[&dump[..], &[&format!("{name}a")]].concat()),
                2 => program(&[&dump[..], &[&format!("{name}b")], fast].concat()),
                3 => program(&restore),
                _ => program(&[&restore[..], fast].concat()),
            }));
        }
        for name in [format!("{name}a"), format!("{name}b")] {
            fs::remove_dir_all(format!("{snapshots}/{name}")).unwrap();
        }
    }
    println!("| job | items/s | of full speed | p50 ms | p99 ms | p99.9 ms |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let time = |row: &[(Latency, f64)]| median(row.iter().map(|(_, time)| *time).collect());
    for (job, name) in names.iter().enumerate() {
        let row = &rows[job];
        let of = |pick: fn(&Latency) -> f64| {
            median(row.iter().map(|(latency, _)| pick(latency)).collect()) / 1e3
        };
        // The job at full speed stands after the one without.
        let full = if job % 2 == 1 { job + 1 } else { job };
        let (rate, share) = match job {
            0 => ("-".to_owned(), "-".to_owned()),
            _ => (
                format!("{:.0}", items as f64 / time(row)),
                format!("{:.0} %", 100.0 * time(&rows[full]) / time(row)),
            ),
        };
        let (p50, p99, p999) = (of(|l| l.p50), of(|l| l.p99), of(|l| l.p999));
        println!("| {name} | {rate} | {share} | {p50:.2} | {p99:.2} | {p999:.2} |");
    }
}

/// How exact limits are.
fn measure_rates(server: &Server, directory: &Path, items: u64) {
    let snapshots = directory.join("s").display().to_string();
    let address = server.0.address();
    let bytes: u64 = (0..items)
        .map(|number| value_len(number) + format!("key:{number}").len() as u64)
        .sum();
    println!("| limit | connections | wanted s | took s | off |");
    println!("| --- | --- | --- | --- | --- |");
    for connections in ["1", "4", "64"] {
        for (flag, limit, seconds) in [
            ("--items-per-second", format!("{}", items / 8), 8.0),
            ("--bytes-per-second", format!("{}B", bytes / 8), 8.0),
        ] {
            let name = format!("{connections}{flag}");
            let output = Command::new(env!("CARGO_BIN_EXE_mcsnap"))
                .args(["dump", &address, "--to", &snapshots, "--name", &name])
                .args([flag, &limit, "--connections", connections])
                .args(["--latency-bound", "none", "-q", "--format", "json"])
                .output()
                .unwrap();
            assert!(output.status.success());
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let took = report["elapsed_ms"].as_f64().unwrap() / 1e3;
            let off = 100.0 * (seconds / took - 1.0);
            println!("| {flag} {limit} | {connections} | {seconds:.2} | {took:.2} | {off:+.1} % |");
            fs::remove_dir_all(format!("{snapshots}/{name}")).unwrap();
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --benches` wants to see that it starts, not how fast it is.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    if arguments.get(1).is_some_and(|first| first == "--client") {
        return be_client(arguments[2].parse().unwrap(), arguments[3].parse().unwrap());
    }
    let (items, rounds) = (option("--items", 500_000), option("--rounds", 5));
    // In memory where that is possible: what a disk does is not the question here.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() {
        memory
    } else {
        Path::new(env!("CARGO_TARGET_TMPDIR"))
    };
    let directory = tempfile::tempdir_in(place).unwrap();
    let server = Server::start(directory.path(), items / 1000 * 4 + 1024);
    server.fill(items);
    let load = load_average();
    println!("{items} items of 1 to 2 KB, {rounds} rounds, medians; load average before: {load}");
    if arguments.iter().any(|argument| argument == "rates") {
        measure_rates(&server, directory.path(), items);
    } else {
        measure_jobs(&server, directory.path(), items, rounds);
    }
}
