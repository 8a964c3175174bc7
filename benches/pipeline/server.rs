//! Memcached servers of the bench's own, on ports that the system chooses.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::process::cpu_of_threads;

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(directory: &Path, name: &str, memory_mib: u64) -> Self {
        let file = directory.join(format!("port-{name}"));
        let child = Command::new("memcached")
            .args(["-p", "-1", "-U", "0", "-l", "127.0.0.1", "-u", "root"])
            .args(["-t", "2", "-m", &memory_mib.to_string()])
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
            sleep(Duration::from_millis(5));
        };
        Self { child, port }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Takes all items away.
    pub(crate) fn flush(&self) {
        let mut stream = connect(self.port);
        stream.write_all(b"flush_all\r\n").unwrap();
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).unwrap();
        // Older servers take what is stored in the same second for flushed, too.
        sleep(Duration::from_millis(1_100));
    }

    /// How many items were stored since the start.
    pub(crate) fn stored(&self) -> u64 {
        let mut stream = connect(self.port);
        stream.write_all(b"stats\r\n").unwrap();
        BufReader::new(stream)
            .lines()
            .map(Result::unwrap)
            .take_while(|line| line != "END")
            .find_map(|line| line.strip_prefix("STAT total_items ")?.parse().ok())
            .unwrap()
    }

    /// CPU seconds of all its threads since the start. None of them ends before it does.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_of_threads(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ours, and of no use any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
