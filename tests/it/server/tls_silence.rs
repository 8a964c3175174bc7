//! What a connection does when a server over TLS has all of a request and says
//! nothing: played by a server, since real ones do so only now and then.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mcsnap::ports::net::{Connection, Credentials, NetOptions, Received, TlsClient, TlsSettings};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::Result;
use mcsnap::words::node::NodeSpec;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::harness::certificates::Certificates;

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A client that waits for so long hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Plays a script on one connection; returns where, and the thread.
fn serve(
    files: &Certificates,
    script: impl FnOnce(&mut Stream) + Send + 'static,
) -> (NodeSpec, JoinHandle<()>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(files.path("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(files.path("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let session = ServerConnection::new(Arc::new(config)).unwrap();
        script(&mut StreamOwned::new(session, socket));
    });
    (NodeSpec::new("127.0.0.1", port), server)
}

fn connect(files: &Certificates, node: &NodeSpec) -> Connection {
    connect_as(files, node, None, &Cancel::new())
}

fn connect_as(
    files: &Certificates,
    node: &NodeSpec,
    user: Option<&str>,
    cancel: &Cancel,
) -> Connection {
    let tls = TlsClient::new(&TlsSettings {
        authorities: Some(files.path("ca.pem").into()),
        ..TlsSettings::default()
    });
    let options = NetOptions {
        credentials: user.map(|user| Arc::new(Credentials::parse(user).unwrap())),
        tls: Some(tls.unwrap()),
        ..NetOptions::of_timeout(LIMIT)
    };
    Connection::connect(node, &options, cancel).unwrap()
}

/// Sends a request, and takes lines up to this one.
fn ask(connection: &mut Connection, request: &[u8], last: &str) -> Vec<String> {
    let (lines, asked) = try_ask(connection, request, last);
    asked.unwrap();
    lines
}

/// Returns what came until it failed, too.
fn try_ask(connection: &mut Connection, request: &[u8], last: &str) -> (Vec<String>, Result<()>) {
    let mut lines = Vec::new();
    let asked = connection.exchange("test", request, |bytes| {
        let mut consumed = 0;
        while let Some(end) = bytes[consumed..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&bytes[consumed..consumed + end]);
            lines.push(line.trim_end().to_owned());
            consumed += end + 1;
            if lines.last().is_some_and(|line| line == last) {
                return Ok(Received::Done(consumed));
            }
        }
        Ok(Received::More(consumed))
    });
    (lines, asked)
}

fn expect(stream: &mut Stream, wanted: &[u8]) {
    let mut found = vec![0; wanted.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(found, wanted);
}

#[test]
fn a_silent_server_gets_a_no_op_whose_reply_is_nobody_elses() {
    let files = Certificates::new();
    let (node, server) = serve(&files, |stream| {
        expect(stream, b"ms a 1 q\r\nb\r\nmn\r\n");
        // All of it is there; the answer comes when more does.
        expect(stream, b"mn\r\n");
        stream.write_all(b"NS\r\nMN\r\n").unwrap();
        // That of the no-op is late, and in two parts.
        stream.write_all(b"M").unwrap();
        expect_nothing(stream, Duration::from_millis(200));
        stream.write_all(b"N\r\n").unwrap();
        expect(stream, b"mg a v\r\n");
        stream.write_all(b"EN\r\n").unwrap();
    });
    let mut connection = connect(&files, &node);
    let lines = ask(&mut connection, b"ms a 1 q\r\nb\r\nmn\r\n", "MN");
    assert_eq!(lines, ["NS", "MN"]);
    assert_eq!(ask(&mut connection, b"mg a v\r\n", "EN"), ["EN"]);
    drop(connection);
    server.join().unwrap();
}

/// Some servers must be read to the end of their walk though nobody wants it.
#[test]
fn an_answer_that_was_left_in_the_middle_is_read_on_before_those_of_no_ops() {
    let files = Certificates::new();
    let cancel = Cancel::new();
    let (go_on, gone_on) = channel();
    let (node, server) = serve(&files, {
        let cancel = cancel.clone();
        move |stream| {
            expect(stream, b"lru_crawler metadump hash\r\n");
            stream.write_all(b"key=a\n").unwrap();
            expect(stream, b"mn\r\n");
            cancel.cancel();
            gone_on.recv().unwrap();
            stream.write_all(b"key=b\nEND\r\nMN\r\n").unwrap();
            // A slow test may have sent more of them.
            let mut request = [0; 4];
            stream.read_exact(&mut request).unwrap();
            while &request == b"mn\r\n" {
                stream.write_all(b"MN\r\n").unwrap();
                stream.read_exact(&mut request).unwrap();
            }
            assert_eq!(&request, b"mg a");
            expect(stream, b" v\r\n");
            stream.write_all(b"EN\r\n").unwrap();
        }
    });
    let mut connection = connect_as(&files, &node, None, &cancel);
    let (lines, asked) = try_ask(&mut connection, b"lru_crawler metadump hash\r\n", "END");
    assert_eq!(lines, ["key=a"]);
    assert!(asked.unwrap_err().is_canceled());
    connection.outlive_cancel(LIMIT);
    go_on.send(()).unwrap();
    assert_eq!(ask(&mut connection, b"", "END"), ["key=b", "END"]);
    assert_eq!(ask(&mut connection, b"mg a v\r\n", "EN"), ["EN"]);
    drop(connection);
    server.join().unwrap();
}

/// A walk takes no other command while it runs.
#[test]
fn a_patient_connection_sends_nothing_of_its_own() {
    let files = Certificates::new();
    let (node, server) = serve(&files, |stream| {
        expect(stream, b"lru_crawler metadump hash\r\n");
        expect_nothing(stream, Duration::from_millis(2500));
        stream.write_all(b"END\r\n").unwrap();
    });
    let mut connection = connect(&files, &node);
    connection.be_patient(LIMIT);
    let lines = ask(&mut connection, b"lru_crawler metadump hash\r\n", "END");
    assert_eq!(lines, ["END"]);
    drop(connection);
    server.join().unwrap();
}

/// memcached 1.6.45 hangs up on a no-op before it.
#[test]
fn a_log_in_takes_the_time_it_takes() {
    let files = Certificates::new();
    let (node, server) = serve(&files, |stream| {
        expect(stream, b"version\r\n");
        expect_nothing(stream, Duration::from_millis(1500));
        stream
            .write_all(b"CLIENT_ERROR unauthenticated\r\n")
            .unwrap();
        expect(stream, b"set auth 0 0 7\r\njoe pwd\r\n");
        stream.write_all(b"STORED\r\n").unwrap();
        // From now on it is as any other.
        expect(stream, b"mg a v\r\nmn\r\n");
        stream.write_all(b"EN\r\nMN\r\n").unwrap();
    });
    let mut connection = connect_as(&files, &node, Some("joe:pwd"), &Cancel::new());
    assert_eq!(ask(&mut connection, b"mg a v\r\n", "EN"), ["EN"]);
    drop(connection);
    server.join().unwrap();
}

fn expect_nothing(stream: &mut Stream, length: Duration) {
    stream.sock.set_read_timeout(Some(length)).unwrap();
    let mut byte = [0];
    let error = stream.read(&mut byte).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        "{error}"
    );
    stream.sock.set_read_timeout(Some(LIMIT)).unwrap();
}
