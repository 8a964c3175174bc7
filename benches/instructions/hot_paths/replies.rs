//! Replies as they arrive.

use std::hint::black_box;
use std::io::Write as _;

use mcsnap::codecs::protocol::reply::{Reply, parse_reply};
use mcsnap::codecs::protocol::text::Step;

use crate::items::Items;

/// What a server sends for a batch of gets.
pub(crate) fn of_gets(items: &Items) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, record) in items.records().enumerate() {
        let len = record.value.len();
        write!(bytes, "VA {len} f4 t86400 c{number} O{number}\r\n").unwrap();
        bytes.extend_from_slice(record.value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"MN\r\n");
    bytes
}

/// Parses them all, with the flags that a dump reads.
pub(crate) fn parse(mut bytes: &[u8]) {
    loop {
        let Step::Done(reply, len) = parse_reply(bytes, 1 << 20).unwrap() else {
            panic!("a reply is cut")
        };
        bytes = &bytes[len..];
        match reply {
            Reply::Value { value, flags } => {
                black_box((value, b"ftcO".map(|flag| flags.get(flag))));
            }
            Reply::Noop => return,
            other => panic!("{other:?}"),
        }
    }
}
