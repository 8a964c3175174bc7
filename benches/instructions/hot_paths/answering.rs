//! A server that knows just what a dump and a restore ask, on a thread of its own.
//!
//! Only the thread of a benchmark is counted, so what the server does costs nothing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Starts a server that has these items, takes every set and forgets it; returns its
/// address. It ends with the process.
pub(crate) fn start(items: HashMap<Vec<u8>, Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), &items);
        }
    });
    address
}

fn serve(stream: TcpStream, items: &HashMap<Vec<u8>, Vec<u8>>) {
    let mut requests = BufReader::with_capacity(1 << 20, stream.try_clone().unwrap());
    let mut replies = BufWriter::with_capacity(1 << 20, stream);
    let (mut line, mut value) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if requests.read_until(b'\n', &mut line).unwrap() == 0 {
            return;
        }
        let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
        match words.next().unwrap() {
            b"mn" => {
                replies.write_all(b"MN\r\n").unwrap();
                replies.flush().unwrap();
            }
            b"mg" => {
                let value = &items[words.next().unwrap()];
                let opaque = words.find(|word| word.starts_with(b"O")).unwrap();
                let opaque = std::str::from_utf8(opaque).unwrap();
                let head = format!("VA {} f4 t86400 c1 {opaque}\r\n", value.len());
                replies.write_all(head.as_bytes()).unwrap();
                replies.write_all(value).unwrap();
                replies.write_all(b"\r\n").unwrap();
            }
            b"ms" => {
                let len = std::str::from_utf8(words.nth(1).unwrap()).unwrap();
                value.resize(len.parse::<usize>().unwrap() + 2, 0);
                requests.read_exact(&mut value).unwrap();
            }
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
}
