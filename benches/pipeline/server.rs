//! A memcached server whose work is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use crate::memcached::Memcached;
use crate::process::cpu_of_threads;

#[derive(Debug)]
pub(crate) struct Server(Memcached);

impl Server {
    pub(crate) fn start(directory: &Path, memory_mib: u64) -> Self {
        let memory = memory_mib.to_string();
        let command = ["memcached", "-t", "2", "-m", &memory];
        Self(Memcached::start(directory, &command))
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port
    }

    pub(crate) fn address(&self) -> String {
        self.0.address()
    }

    /// Takes all items away.
    pub(crate) fn flush(&self) {
        let mut stream = self.0.connect();
        stream.write_all(b"flush_all\r\n").unwrap();
        let mut reply = [0; 4];
        stream.read_exact(&mut reply).unwrap();
        // Older servers take what is stored in the same second for flushed, too.
        sleep(Duration::from_millis(1_100));
    }

    /// How many items were stored since the start.
    pub(crate) fn stored(&self) -> u64 {
        let mut stream = self.0.connect();
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
        cpu_of_threads(self.0.child.id())
    }
}
