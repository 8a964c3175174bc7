//! What a connection does with a server that says more than it was asked.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use mcsnap::codecs::protocol::text::{Step as Parsed, parse_line};
use mcsnap::ports::net::{Connection, NetOptions, Received};
use mcsnap::words::cancel::Cancel;
use mcsnap::words::error::ErrorKind;

use crate::harness::fake_server::{FakeServer, Step};

const MIB: usize = 1 << 20;

fn connect(address: &str, timeout: Duration) -> Connection {
    let options = NetOptions::of_timeout(timeout);
    Connection::connect(&address.parse().unwrap(), &options, &Cancel::new()).unwrap()
}

/// One line, whatever it is.
fn take_line(bytes: &[u8]) -> mcsnap::words::error::Result<Received> {
    Ok(match parse_line(bytes, "a line")? {
        Parsed::Need => Received::More(0),
        Parsed::Done(_, len) => Received::Done(len),
    })
}

/// The server answers the first line of a long request, and then talks on
/// before it reads the rest: who reads that has to keep it.
#[test]
fn what_comes_after_the_last_reply_is_not_read() {
    const TALK_LEN: usize = 256 * MIB;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        reader.read_line(&mut String::new()).unwrap();
        let talk = [&b"HD\r\n"[..], &[b'x'; MIB]].concat();
        let said = (0..TALK_LEN / MIB).take_while(|_| (&stream).write_all(&talk).is_ok());
        said.count() * MIB
    });
    let mut connection = connect(&address, Duration::from_secs(1));
    // Far more than all buffers of two sockets hold.
    let request = [b"ms a 99\r\n", vec![b'v'; 64 * MIB].as_slice()].concat();
    let error = connection.exchange("set", &request, take_line).unwrap_err();
    let wanted = format!("{address}: set: no reply within 1 s");
    assert_eq!(error.to_chain(), wanted);
    drop(connection);
    assert!(server.join().unwrap() < TALK_LEN);
}

#[test]
fn a_reply_is_waited_for_up_to_its_longest() {
    let long = |len: usize| [vec![b'x'; len].as_slice(), b"\r\n"].concat();
    // A receiver that wants all of a line, however long it is.
    let ask = |reply_len: usize, value_len_max: Option<u64>| {
        let server = FakeServer::scripted([vec![
            Step::expect("get"),
            Step::reply(long(reply_len)),
            Step::Hang,
        ]]);
        let mut connection = connect(&server.address(), Duration::from_secs(60));
        let receive = |bytes: &[u8]| {
            Ok(if bytes.ends_with(b"\n") {
                Received::Done(bytes.len())
            } else {
                Received::More(0)
            })
        };
        let answered = match value_len_max {
            None => connection.exchange("get", b"get\r\n", receive),
            Some(len) => connection.exchange_values("get", len, b"get\r\n", receive),
        };
        answered.map_err(|error| error.kind().clone())
    };
    let too_long = |bound: u64| {
        Err(ErrorKind::LimitExceeded {
            limit: "reply length",
            needed: bound + 1,
            bound,
        })
    };
    assert_eq!(ask(4 * MIB - 2, None), Ok(()));
    assert_eq!(ask(4 * MIB - 1, None), too_long(4 << 20));
    assert_eq!(ask(5 * MIB, Some(5 << 20)), Ok(()));
    assert_eq!(ask(6 * MIB, Some(5 << 20)), too_long((5 << 20) + 4100));
}
