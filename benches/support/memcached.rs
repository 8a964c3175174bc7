//! Memcached servers of the benches' own, on ports that the system chooses.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Memcached {
    pub(crate) child: Child,
    pub(crate) port: u16,
}

impl Memcached {
    /// Starts a server by a command that ends with the program and options of the
    /// bench's own; those of its address follow.
    pub(crate) fn start(directory: &Path, command: &[&str]) -> Self {
        let file = directory.join("port");
        let child = Command::new(command[0])
            .args(&command[1..])
            .args(["-p", "-1", "-U", "0", "-l", "127.0.0.1", "-u", "root"])
            .env("MEMCACHED_PORT_FILENAME", &file)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run tools/setup", command[0]));
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
        // Another server may be started in the same directory.
        fs::remove_file(&file).unwrap();
        Self { child, port }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.port)
    }
}

impl Drop for Memcached {
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
