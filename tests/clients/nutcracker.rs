//! twemproxy in front of servers, asked by a plain connection.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;

const PROGRAM: &str = "/usr/sbin/nutcracker";

/// A running nutcracker; killed on drop.
#[derive(Debug)]
pub(crate) struct Nutcracker {
    child: Child,
    address: String,
}

impl Nutcracker {
    /// Starts one in front of servers like `host:port*weight`; the mode is a
    /// distribution, and after commas a hash and a tag, if they are not the default.
    pub(crate) fn start(folder: &Path, mode: &str, servers: &[String]) -> Nutcracker {
        let deadline = Instant::now() + Duration::from_secs(30);
        // Another process may take a port before nutcracker does; then the next
        // two are tried.
        loop {
            let [pool, statistics] = free_ports();
            let config = folder.join("nutcracker.yml");
            fs::write(&config, pool_config(pool, mode, servers)).unwrap();
            let child = Command::new(PROGRAM)
                .args(["-a", "127.0.0.1", "-s", &statistics.to_string(), "-c"])
                .arg(&config)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap_or_else(|error| panic!("{PROGRAM}: {error}; run tools/setup --clients"));
            let address = format!("127.0.0.1:{pool}");
            let mut proxy = Nutcracker { child, address };
            while proxy.child.try_wait().unwrap().is_none() {
                let answers = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
                if answers(pool) && answers(statistics) {
                    return proxy;
                }
                assert!(Instant::now() < deadline, "nutcracker does not start");
                thread::sleep(Duration::from_millis(5));
            }
            assert!(Instant::now() < deadline, "nutcracker does not start");
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address)
    }
}

impl Drop for Nutcracker {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What nutcracker says its version is.
pub(crate) fn version() -> String {
    let output = Command::new(PROGRAM)
        .arg("-V")
        .output()
        .unwrap_or_else(|error| panic!("{PROGRAM}: {error}; run tools/setup --clients"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines()
        .next()
        .unwrap_or_default()
        .replace("This is ", "")
}

fn free_ports() -> [u16; 2] {
    // Both are held before one is let go, lest they be the same.
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn pool_config(port: u16, mode: &str, servers: &[String]) -> String {
    let mut parts = mode.split(',');
    let distribution = parts.next().unwrap();
    let mut text = format!(
        "pool:\n  listen: 127.0.0.1:{port}\n  timeout: 10000\n  distribution: {distribution}\n"
    );
    for (name, part) in ["hash", "hash_tag"].into_iter().zip(parts) {
        writeln!(text, "  {name}: \"{part}\"").unwrap();
    }
    text.push_str("  servers:\n");
    for server in servers {
        let (address, weight) = server.split_once('*').unwrap_or((server, "1"));
        writeln!(text, "   - {address}:{weight}").unwrap();
    }
    text
}
