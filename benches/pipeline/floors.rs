//! The least that each job must do, over as many connections as the program takes.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use crate::items::{Source, flags, key, ttl};
use crate::memcached::connect;

pub(crate) const CONNECTION_COUNT: u64 = 4;

/// Items that are asked for at once.
const BATCH: usize = 1024;

/// Bytes after which a batch of sets is sent.
const BATCH_LEN: usize = 256 << 10;

/// Reads all items and appends what comes, as it comes, to one file a connection.
pub(crate) fn read_and_append(port: u16, items: u64, directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    on_each_connection(port, items, |part, mut stream, numbers| {
        let mut file = File::create(directory.join(part.to_string())).unwrap();
        let mut chunk = vec![0; 64 << 10];
        let mut buffer = Vec::new();
        for batch in numbers.chunks(BATCH) {
            let mut request = Vec::new();
            for number in batch {
                write!(request, "mg {} f t c u v\r\n", key(*number)).unwrap();
            }
            request.extend_from_slice(b"mn\r\n");
            stream.write_all(&request).unwrap();
            buffer.clear();
            while !buffer.ends_with(b"MN\r\n") {
                let len = stream.read(&mut chunk).unwrap();
                assert!(len > 0, "the server is gone");
                buffer.extend_from_slice(&chunk[..len]);
            }
            file.write_all(&buffer).unwrap();
        }
        file.sync_all().unwrap();
    });
}

/// Reads all segments of a snapshot, one after the other.
pub(crate) fn read_files(directory: &Path) {
    for entry in fs::read_dir(directory.join("segments")).unwrap() {
        assert!(!fs::read(entry.unwrap().path()).unwrap().is_empty());
    }
}

/// Sends quiet meta sets of all items.
pub(crate) fn store_quietly(port: u16, items: u64, source: &Source) {
    on_each_connection(port, items, |_, mut stream, numbers| {
        let mut request = Vec::new();
        for number in numbers {
            let value = source.value(number);
            let (key, len) = (key(number), value.len());
            let (ttl, flags) = (ttl(number), flags(number));
            write!(request, "ms {key} {len} T{ttl} F{flags} q\r\n").unwrap();
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
            if request.len() > BATCH_LEN {
                end_quiet_batch(&mut stream, &mut request);
            }
        }
        end_quiet_batch(&mut stream, &mut request);
    });
}

fn end_quiet_batch(stream: &mut TcpStream, request: &mut Vec<u8>) {
    request.extend_from_slice(b"mn\r\n");
    stream.write_all(request).unwrap();
    request.clear();
    let mut reply = [0; 4];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"MN\r\n");
}

/// Sends classic sets of all items.
pub(crate) fn store_classically(port: u16, items: u64, source: &Source) {
    on_each_connection(port, items, |_, mut stream, numbers| {
        let (mut request, mut count) = (Vec::new(), 0);
        for number in numbers {
            let value = source.value(number);
            let (key, len) = (key(number), value.len());
            let (ttl, flags) = (ttl(number), flags(number));
            write!(request, "set {key} {flags} {ttl} {len}\r\n").unwrap();
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
            count += 1;
            if request.len() > BATCH_LEN {
                end_classic_batch(&mut stream, &mut request, &mut count);
            }
        }
        end_classic_batch(&mut stream, &mut request, &mut count);
    });
}

fn end_classic_batch(stream: &mut TcpStream, request: &mut Vec<u8>, count: &mut usize) {
    const STORED: &[u8] = b"STORED\r\n";
    stream.write_all(request).unwrap();
    request.clear();
    let mut replies = vec![0; STORED.len() * *count];
    stream.read_exact(&mut replies).unwrap();
    assert!(replies.chunks(STORED.len()).all(|reply| reply == STORED));
    *count = 0;
}

/// Has each connection work on its share of the items.
fn on_each_connection(port: u16, items: u64, work: impl Fn(u64, TcpStream, Vec<u64>) + Sync) {
    std::thread::scope(|scope| {
        for part in 0..CONNECTION_COUNT {
            let work = &work;
            scope.spawn(move || {
                let numbers = (part..items).step_by(CONNECTION_COUNT as usize);
                work(part, connect(port), numbers.collect());
            });
        }
    });
}
