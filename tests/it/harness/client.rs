//! A small memcached client for tests.
//!
//! It shares no line with the library, so that a mistake of the library's
//! protocol code cannot hide behind the same mistake here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// A server that says nothing for so long fails the test.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// Bytes of requests sent before their replies are read.
///
/// Small enough for the socket's buffers to hold a window: the server stops
/// reading while its replies are not read, and both sides would wait for ever.
const FETCH_WINDOW: usize = 32 << 10;

/// Bytes of quiet stores between two `mn`; they are answered only on refusal.
const LOAD_WINDOW: usize = 1 << 20;

/// Most stores between two `mn`, so that even refusals of all fit the buffers.
const LOAD_WINDOW_ITEMS: usize = 2000;

/// The fields of one metadump line but `key`, by name.
pub(crate) type Fields = BTreeMap<String, String>;

/// An item to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u32,
    /// In seconds as `set` takes it: 0 is never, above 30 days an absolute time.
    pub(crate) ttl: i64,
}

/// A key of 160 letters that takes 80 bytes at least, however it is compressed.
pub(crate) fn noisy_key() -> String {
    let part = || uuid::Uuid::new_v4().simple().to_string();
    [part(), part(), part(), part(), part()].concat()
}

impl Item {
    /// An item without flags that never expires.
    pub(crate) fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Item {
        Item {
            key: key.into(),
            value: value.into(),
            flags: 0,
            ttl: 0,
        }
    }

    pub(crate) fn flags(mut self, flags: u32) -> Item {
        self.flags = flags;
        self
    }

    pub(crate) fn ttl(mut self, ttl: i64) -> Item {
        self.ttl = ttl;
        self
    }
}

/// An item as the server returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) value: Vec<u8>,
    pub(crate) flags: u32,
    /// Seconds left; -1 is never.
    pub(crate) ttl: i64,
}

/// One connection; everything unexpected panics.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: &str) -> Client {
        let stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) => panic!("connect {address}: {error}"),
        };
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(REPLY_LIMIT)).unwrap();
        stream.set_write_timeout(Some(REPLY_LIMIT)).unwrap();
        Client {
            stream: BufReader::with_capacity(64 << 10, stream),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// One reply line without its end, which in a metadump is only `\n`.
    pub(crate) fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).unwrap();
        let Some(text) = line.strip_suffix(b"\n") else {
            panic!(
                "the connection ended after {:?}",
                String::from_utf8_lossy(&line)
            );
        };
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// Whether any byte of a reply comes in time; it is left to be read.
    pub(crate) fn answers_within(&mut self, limit: Duration) -> bool {
        self.stream.get_ref().set_read_timeout(Some(limit)).unwrap();
        let answered = match self.stream.fill_buf() {
            Ok(bytes) => !bytes.is_empty(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("read: {error}"),
        };
        self.stream
            .get_ref()
            .set_read_timeout(Some(REPLY_LIMIT))
            .unwrap();
        answered
    }

    /// Whether the server has ended the connection, after what it sent is read.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Sends one line and returns the first line of the reply.
    pub(crate) fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes());
        self.read_line()
    }

    /// Stores by the classic `set`.
    pub(crate) fn set(&mut self, key: &str, flags: u32, ttl: i64, value: &[u8]) {
        let mut request = format!("set {key} {flags} {ttl} {}\r\n", value.len()).into_bytes();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n");
        self.send(&request);
        let reply = self.read_line();
        assert_eq!(reply, "STORED", "set {key}");
    }

    /// Stores any key by `ms`, with meta flags such as `"T60 F3"`; the reply line.
    pub(crate) fn ms(&mut self, key: &[u8], value: &[u8], flags: &str) -> String {
        let mut request = Vec::new();
        push_ms(&mut request, key, value, flags);
        self.send(&request);
        self.read_line()
    }

    /// Flags and value by the classic `get`.
    pub(crate) fn get(&mut self, key: &str) -> Option<(u32, Vec<u8>)> {
        let header = self.command(&format!("get {key}"));
        if header == "END" {
            return None;
        }
        let words: Vec<&str> = header.split(' ').collect();
        let ["VALUE", found, flags, length] = words[..] else {
            panic!("get {key} answered {header:?}");
        };
        assert_eq!(found, key);
        let value = self.read_value(length.parse().unwrap());
        assert_eq!(self.read_line(), "END");
        Some((flags.parse().unwrap(), value))
    }

    /// The reply line and the value of `mg`; the value is empty without flag `v`.
    pub(crate) fn mg(&mut self, key: &[u8], flags: &str) -> Option<(String, Vec<u8>)> {
        let mut request = Vec::new();
        push_mg(&mut request, key, flags);
        self.send(&request);
        self.read_mg()
    }

    fn read_mg(&mut self) -> Option<(String, Vec<u8>)> {
        let header = self.read_line();
        let mut words = header.split(' ');
        match words.next() {
            Some("EN") => None,
            Some("HD") => Some((header, Vec::new())),
            Some("VA") => {
                let length = words.next().unwrap().parse().unwrap();
                let value = self.read_value(length);
                Some((header, value))
            }
            _ => panic!("mg answered {header:?}"),
        }
    }

    fn read_value(&mut self, length: usize) -> Vec<u8> {
        let mut value = vec![0; length + 2];
        self.stream.read_exact(&mut value).unwrap();
        assert!(value.ends_with(b"\r\n"), "a value of {length} has no end");
        value.truncate(length);
        value
    }

    /// Every key the server lists by `lru_crawler metadump hash`, with its fields.
    pub(crate) fn keys(&mut self) -> BTreeMap<Vec<u8>, Fields> {
        let deadline = Instant::now() + REPLY_LIMIT;
        let mut line = self.command("lru_crawler metadump hash");
        // Another crawl may be running: the server begins some by itself.
        while line.starts_with("BUSY") || line.starts_with("LOCKED") {
            assert!(Instant::now() < deadline, "metadump: {line}");
            thread::sleep(Duration::from_millis(10));
            line = self.command("lru_crawler metadump hash");
        }
        // Since 1.6.43 the list starts with this line.
        if line == "OK" {
            line = self.read_line();
        }
        let mut keys = BTreeMap::new();
        while line != "END" {
            let mut fields: Fields = line
                .split_whitespace()
                .map(|field| match field.split_once('=') {
                    Some((name, text)) => (name.to_owned(), text.to_owned()),
                    None => panic!("metadump line {line:?}"),
                })
                .collect();
            let Some(key) = fields.remove("key") else {
                panic!("metadump line {line:?}");
            };
            keys.insert(percent_decoded(&key), fields);
            line = self.read_line();
        }
        keys
    }

    /// The table of `stats`, or of `stats ARGUMENTS`.
    pub(crate) fn stats(&mut self, arguments: &str) -> BTreeMap<String, String> {
        let mut line = self.command(format!("stats {arguments}").trim_end());
        let mut table = BTreeMap::new();
        while line != "END" {
            let Some(row) = line.strip_prefix("STAT ") else {
                panic!("stats {arguments} answered {line:?}");
            };
            let (name, value) = row.split_once(' ').unwrap_or((row, ""));
            table.insert(name.to_owned(), value.to_owned());
            line = self.read_line();
        }
        table
    }

    /// Stores items in large windows and returns how many; a refusal panics.
    pub(crate) fn load(&mut self, items: impl IntoIterator<Item = Item>) -> usize {
        let mut count = 0;
        let mut window = Vec::new();
        let mut window_items = 0;
        for item in items {
            let flags = format!("F{} T{} q", item.flags, item.ttl);
            push_ms(&mut window, &item.key, &item.value, &flags);
            count += 1;
            window_items += 1;
            if window.len() >= LOAD_WINDOW || window_items >= LOAD_WINDOW_ITEMS {
                self.send_quiet(&mut window);
                window_items = 0;
            }
        }
        self.send_quiet(&mut window);
        count
    }

    fn send_quiet(&mut self, window: &mut Vec<u8>) {
        window.extend_from_slice(b"mn\r\n");
        self.send(window);
        window.clear();
        let reply = self.read_line();
        assert_eq!(reply, "MN", "a store was refused");
    }

    /// The items of those keys that the server has.
    ///
    /// Fetching counts as a use: it moves items up the server's LRU.
    pub(crate) fn fetch_all<K: AsRef<[u8]>>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> BTreeMap<Vec<u8>, Fetched> {
        let mut fetched = BTreeMap::new();
        let mut window = Vec::new();
        let mut asked = Vec::new();
        for key in keys {
            push_mg(&mut window, key.as_ref(), "f t v");
            asked.push(key.as_ref().to_vec());
            if window.len() >= FETCH_WINDOW {
                self.fetch_window(&mut window, &mut asked, &mut fetched);
            }
        }
        self.fetch_window(&mut window, &mut asked, &mut fetched);
        fetched
    }

    fn fetch_window(
        &mut self,
        window: &mut Vec<u8>,
        asked: &mut Vec<Vec<u8>>,
        fetched: &mut BTreeMap<Vec<u8>, Fetched>,
    ) {
        self.send(window);
        window.clear();
        for key in asked.drain(..) {
            let Some((header, value)) = self.read_mg() else {
                continue;
            };
            let item = Fetched {
                value,
                flags: meta_flag(&header, 'f').parse().unwrap(),
                ttl: meta_flag(&header, 't').parse().unwrap(),
            };
            fetched.insert(key, item);
        }
    }

    /// Waits until the server's clock, which ticks once a second, does.
    pub(crate) fn wait_for_tick(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let before = self.stats("")["time"].clone();
        while self.stats("")["time"] == before {
            assert!(Instant::now() < deadline, "the server's clock stands still");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn flush_all(&mut self) {
        assert_eq!(self.command("flush_all"), "OK");
    }
}

/// The text of one flag in a reply line such as `VA 5 f0 t-1`.
pub(crate) fn meta_flag(header: &str, flag: char) -> &str {
    let found = header
        .split(' ')
        .skip(1)
        .find_map(|word| word.strip_prefix(flag));
    match found {
        Some(text) => text,
        None => panic!("no flag {flag} in {header:?}"),
    }
}

fn push_ms(request: &mut Vec<u8>, key: &[u8], value: &[u8], flags: &str) {
    let (key, form) = key_on_the_wire(key);
    request.extend_from_slice(b"ms ");
    request.extend_from_slice(&key);
    request.extend_from_slice(format!(" {} {form}{flags}", value.len()).as_bytes());
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(value);
    request.extend_from_slice(b"\r\n");
}

fn push_mg(request: &mut Vec<u8>, key: &[u8], flags: &str) {
    let (key, form) = key_on_the_wire(key);
    request.extend_from_slice(b"mg ");
    request.extend_from_slice(&key);
    request.extend_from_slice(format!(" {form}{flags}\r\n").as_bytes());
}

/// The key as a request carries it, and the meta flag that says so.
fn key_on_the_wire(key: &[u8]) -> (Vec<u8>, &'static str) {
    let is_odd = |byte: &u8| *byte <= b' ' || *byte == 0x7f;
    if key.iter().any(is_odd) {
        (BASE64.encode(key).into_bytes(), "b ")
    } else {
        (key.to_vec(), "")
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            decoded.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            decoded.push(byte);
        }
    }
    decoded
}
