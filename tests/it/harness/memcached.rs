//! Real memcached servers, each started by the test that needs it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;
use super::signals::send_signal;

/// Names the memcached binary that tests start; without it, the one in `PATH`.
const BINARY_VARIABLE: &str = "TEST_MEMCACHED";

/// Generous, because other tests may keep every core busy.
const START_LIMIT: Duration = Duration::from_secs(30);

const POLL_PAUSE: Duration = Duration::from_millis(5);

/// A running memcached on a loopback port of the kernel's choice; killed on drop.
#[derive(Debug)]
pub(crate) struct Memcached {
    child: Child,
    /// Where it listens: an address, or the path of a socket.
    listen: String,
    /// 0 for a socket.
    port: u16,
    /// Holds the port file and the server's log.
    _directory: TempDir,
}

impl Memcached {
    /// Starts a server with its default settings.
    pub(crate) fn start() -> Memcached {
        Memcached::start_with(&[])
    }

    /// Starts a server with further arguments, such as `["-I", "8m"]`.
    pub(crate) fn start_with(arguments: &[&str]) -> Memcached {
        Memcached::start_at("127.0.0.1", arguments, &[])
    }

    /// Starts a server at an address, or at the path of a socket, with further
    /// arguments and variables.
    pub(crate) fn start_at(
        listen: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Memcached {
        Memcached::start_program(&binary(), listen, arguments, variables)
    }

    /// Does the same with another memcached than that of the tests.
    pub(crate) fn start_program(
        program: &OsStr,
        listen: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Memcached {
        let directory = tempfile::tempdir().unwrap();
        let port_file = directory.path().join("port");
        let log_file = directory.path().join("log");
        let log = File::create(&log_file).unwrap();
        let mut command = Command::new(program);
        if listen.starts_with('/') {
            command.args(["-s", listen]);
        } else {
            // Port -1 is a port of the kernel's choice, so that no two tests
            // can want the same one.
            command.args(["-l", listen, "-p", "-1", "-U", "0"]);
        }
        command
            // Without this memcached refuses to run as root; others may pass it too.
            .args(["-u", "root"])
            .args(arguments)
            .envs(variables.iter().copied())
            .env("MEMCACHED_PORT_FILENAME", &port_file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => panic!(
                "{} is missing; install it: apt-get install memcached (or run tools/setup)",
                program.display()
            ),
            Err(error) => panic!("start {command:?}: {error}"),
        };
        // Made before the wait, so that a panic below kills the child too.
        let mut server = Memcached {
            child,
            listen: listen.to_owned(),
            port: 0,
            _directory: directory,
        };
        server.port = server.wait_for_port(&port_file, &log_file);
        server
    }

    fn wait_for_port(&mut self, port_file: &Path, log_file: &Path) -> u16 {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            // The listening socket exists before the file does.
            if self.listen.starts_with('/') {
                if UnixStream::connect(&self.listen).is_ok() {
                    return 0;
                }
            } else if let Some(port) = read_port(port_file)
                && TcpStream::connect((self.listen.as_str(), port)).is_ok()
            {
                return port;
            }
            let log = || fs::read_to_string(log_file).unwrap_or_default();
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("memcached ended while starting: {status}\n{}", log());
            }
            assert!(
                Instant::now() < deadline,
                "memcached named no port within {START_LIMIT:?}\n{}",
                log()
            );
            thread::sleep(POLL_PAUSE);
        }
    }

    /// `127.0.0.1:PORT`, or `unix:PATH`.
    pub(crate) fn address(&self) -> String {
        if self.listen.starts_with('/') {
            format!("unix:{}", self.listen)
        } else if self.listen.contains(':') {
            format!("[{}]:{}", self.listen, self.port)
        } else {
            format!("{}:{}", self.listen, self.port)
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// All addresses of a server that listens at more than one port of 127.0.0.1.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let ports = fs::read_to_string(self._directory.path().join("port")).unwrap();
        let ports = ports
            .lines()
            .filter_map(|line| line.strip_prefix("TCP INET: "));
        ports.map(|port| format!("127.0.0.1:{port}")).collect()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection to this server.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address())
    }

    /// What the server says its version is, such as `1.6.18`.
    pub(crate) fn version(&self) -> String {
        let reply = self.client().command("version");
        match reply.strip_prefix("VERSION ") {
            Some(version) => version.to_owned(),
            None => panic!("version answered {reply:?}"),
        }
    }

    /// Kills the server at once, as a crash would, and waits for its end.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    /// Stops the server in good order, which a server with `-e` needs to leave its
    /// items in the file, and waits for its end.
    pub(crate) fn end(&mut self) {
        let status = self.try_end();
        assert!(status.success(), "memcached ended: {status}");
    }

    /// Does the same, and returns how the server took it.
    pub(crate) fn try_end(&mut self) -> ExitStatus {
        self.signal("USR1");
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status,
                None => assert!(Instant::now() < deadline, "memcached does not end"),
            }
            thread::sleep(POLL_PAUSE);
        }
    }

    /// Sends a signal by its name without `SIG`, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        send_signal(self.pid(), name);
    }

    /// Makes the server silent: it accepts connections and answers nothing.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
        // The signal is on its way when `kill` returns, and a thread on another
        // processor may still answer: wait until all have stopped.
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.is_stopped() {
            assert!(Instant::now() < deadline, "the server does not stop");
            thread::yield_now();
        }
    }

    fn is_stopped(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        tasks.flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state follows the name, which is in brackets.
            let state = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.trim().chars().next());
            state == Some('T')
        })
    }

    /// Lets a stopped server go on.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        // Both fail only for a child that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address of the caller alone, so that no other test can take the port of a
/// server that is gone and is to come back, or is to stay away.
pub(crate) fn own_host() -> String {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    // Other processes of the tests may run at the same time.
    let [.., high, low] = process::id().to_be_bytes();
    // The addresses of 127.0.0.0 are those that tests name.
    format!("127.{}.{high}.{}", 1 + number % 254, 1 + low % 254)
}

/// Says whether the servers that tests start know an option.
pub(crate) fn is_built_with(option: &str) -> bool {
    let help = Command::new(binary()).arg("-h").output().unwrap();
    String::from_utf8_lossy(&help.stdout).contains(option)
}

fn binary() -> OsString {
    env::var_os(BINARY_VARIABLE).unwrap_or_else(|| OsString::from("memcached"))
}

/// The port in a file of lines like `TCP INET: 12345`, once it is there.
fn read_port(port_file: &Path) -> Option<u16> {
    let text = fs::read_to_string(port_file).ok()?;
    let line = text.lines().find(|line| line.starts_with("TCP INET"))?;
    line.rsplit_once(": ")?.1.trim().parse().ok()
}

#[test]
fn servers_start_on_ports_of_their_own() {
    let first = Memcached::start();
    let second = Memcached::start_with(&["-I", "8m", "-m", "128"]);
    assert_ne!(first.port(), second.port());
    assert!(first.version().starts_with("1."), "{}", first.version());
    let settings = second.client().stats("settings");
    assert_eq!(settings["item_size_max"], "8388608");
    assert_eq!(second.client().stats("")["pid"], second.pid().to_string());
}

#[test]
fn a_killed_server_refuses_connections() {
    let mut server = Memcached::start();
    assert!(!server.kill().success());
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn a_stopped_server_is_silent_until_resumed() {
    let server = Memcached::start();
    let mut client = server.client();
    server.stop();
    client.send(b"version\r\n");
    assert!(!client.answers_within(Duration::from_millis(50)));
    server.resume();
    assert!(client.read_line().starts_with("VERSION "));
}

#[test]
fn a_server_that_cannot_start_shows_its_log() {
    let panic = std::panic::catch_unwind(|| Memcached::start_with(&["-I", "1"])).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(
        message.starts_with("memcached ended while starting"),
        "{message}"
    );
}
