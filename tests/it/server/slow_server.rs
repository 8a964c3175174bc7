//! What a connection does with a server that is not silent, and hardly moves.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mcsnap::ports::net::{
    Connection, Credentials, NetOptions, Pace, Received, TlsClient, TlsSettings, try_count_max,
};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::{Error, ErrorKind, Result};
use mcsnap::words::pieces::Pieces;

use crate::harness::certificates::Certificates;
use crate::harness::fake_server::{FakeServer, Step};

/// Longer than any of these takes: no silence ends an exchange.
const LONG: Duration = Duration::from_secs(3600);

/// No server that sends byte by byte keeps up with this.
const PACE: Pace = Pace {
    short_answer: Duration::from_millis(300),
    window: Duration::from_millis(300),
    bytes_per_sec: 1 << 20,
};

/// More than all buffers of two sockets hold.
const MUCH: usize = 64 << 20;

fn options() -> NetOptions {
    NetOptions {
        pace: PACE,
        ..NetOptions::of_timeout(LONG)
    }
}

fn connect(address: &str) -> Connection {
    Connection::connect(&address.parse().unwrap(), &options(), &Cancel::new()).unwrap()
}

/// A server that answers with this, and then drips.
fn dripping(expected: &str, first: &[u8]) -> FakeServer {
    let drops = Step::Repeat(b"x".to_vec(), Duration::from_millis(5));
    FakeServer::scripted([vec![Step::expect(expected), Step::reply(first), drops]])
}

/// Takes whatever comes, without an end.
fn take_all(bytes: &[u8]) -> Result<Received> {
    Ok(Received::More(bytes.len()))
}

fn assert_slow(error: &Error, wanted: &str) {
    assert!(
        matches!(*error.kind(), ErrorKind::Slow { operation, window, .. }
            if operation == wanted && window == PACE.window),
        "{error}"
    );
    // Nor is it tried again: each time would take a minute.
    assert_eq!(try_count_max(error), 1);
}

fn assert_late(error: &Error, operation: &'static str) {
    let limit_ms = 300;
    let timeout = ErrorKind::Timeout {
        operation,
        limit_ms,
    };
    assert_eq!(*error.kind(), timeout);
}

#[test]
fn values_that_drip_are_given_up() {
    let server = dripping("mg", b"VA 1000000 f0 t-1 c5\r\n");
    let mut connection = connect(&server.address());
    let error = connection
        .exchange_values("get", 1 << 20, b"mg a v\r\n", take_all)
        .unwrap_err();
    assert_slow(&error, "get");
}

#[test]
fn replies_without_values_that_drip_are_given_up() {
    let server = dripping("ms", b"HD\r\n");
    let mut connection = connect(&server.address());
    let error = connection
        .exchange("set", b"ms a 0\r\n\r\n", take_all)
        .unwrap_err();
    assert_slow(&error, "set");
}

/// A server that takes a byte now and then, until it is told to stop.
fn sipping() -> (String, Arc<AtomicBool>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&stop);
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while !is_over.load(Ordering::SeqCst) {
            let _ = stream.read(&mut [0]);
            thread::sleep(Duration::from_millis(5));
        }
    });
    (address, stop, server)
}

struct Zeros {
    piece: Vec<u8>,
    left: usize,
}

impl Pieces for Zeros {
    fn next_piece(&mut self) -> Result<Option<&[u8]>> {
        let has_more = self.left > 0;
        self.left = self.left.saturating_sub(1);
        Ok(has_more.then_some(&self.piece))
    }
}

#[test]
fn a_server_that_hardly_takes_a_request_is_given_up() {
    let request = vec![b'v'; MUCH];
    let (address, stop, server) = sipping();
    let sent = connect(&address).exchange("set", &request, take_all);
    assert_slow(&sent.unwrap_err(), "set");
    stop.store(true, Ordering::SeqCst);
    server.join().unwrap();

    let (address, stop, server) = sipping();
    let mut pieces = Zeros {
        piece: vec![0; MUCH / 64],
        left: 64,
    };
    let sent = connect(&address).exchange_pieces("set", b"ms", &mut pieces, b"\r\n", take_all);
    assert_slow(&sent.unwrap_err(), "set");
    stop.store(true, Ordering::SeqCst);
    server.join().unwrap();

    let (address, stop, server) = sipping();
    let sent = connect(&address).exchange_short("stats", &request, take_all);
    assert_late(&sent.unwrap_err(), "stats");
    stop.store(true, Ordering::SeqCst);
    server.join().unwrap();
}

#[test]
fn a_short_answer_that_drips_is_given_up_however_long_a_silence_may_be() {
    let server = dripping("stats", b"STAT a");
    let mut connection = connect(&server.address());
    let error = connection
        .exchange_short("stats", b"stats\r\n", take_all)
        .unwrap_err();
    assert_late(&error, "stats");
}

#[test]
fn a_log_in_that_drips_is_given_up() {
    let server = dripping("version", b"VERS");
    let options = NetOptions {
        credentials: Some(Arc::new(Credentials::parse("joe:pwd").unwrap())),
        ..options()
    };
    let node = server.address().parse().unwrap();
    let error = Connection::connect(&node, &options, &Cancel::new()).unwrap_err();
    assert_late(&error, "log-in");
}

#[test]
fn a_handshake_that_drips_is_given_up() {
    let files = Certificates::new();
    // The head of a record of 16 KiB.
    let head = [0x16, 3, 3, 0x40, 0];
    let drops = Step::Repeat(vec![0], Duration::from_millis(5));
    let server = FakeServer::scripted([vec![Step::Swallow(1), Step::reply(head), drops]]);
    let tls = TlsClient::new(&TlsSettings {
        authorities: Some(files.path("ca.pem").into()),
        ..TlsSettings::default()
    });
    let options = NetOptions {
        tls: Some(tls.unwrap()),
        ..options()
    };
    let node = server.address().parse().unwrap();
    let error = Connection::connect(&node, &options, &Cancel::new()).unwrap_err();
    assert_late(&error, "TLS handshake");
}

/// A walk of a large table that is nearly empty says next to nothing for long.
#[test]
fn a_walk_may_be_as_slow_as_it_is() {
    let go_on = Arc::new(AtomicBool::new(false));
    let server = FakeServer::scripted([vec![
        Step::expect("lru_crawler"),
        Step::reply("key=a"),
        Step::Await(Arc::clone(&go_on)),
        Step::reply(" exp=-1\nEND\r\n"),
    ]]);
    let mut connection = connect(&server.address());
    let waker = thread::spawn(move || {
        thread::sleep(PACE.window * 2);
        go_on.store(true, Ordering::SeqCst);
    });
    let request = b"lru_crawler metadump all\r\n";
    let walked = connection.exchange_with_prompt("walk", request, None, |bytes| {
        Ok(if bytes.ends_with(b"END\r\n") {
            Received::Done(bytes.len())
        } else {
            Received::More(0)
        })
    });
    walked.unwrap();
    waker.join().unwrap();
}
