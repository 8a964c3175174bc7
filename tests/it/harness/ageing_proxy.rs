//! A proxy that makes a real memcached look like one of an older version.
//!
//! What it changes is what differs between versions for a client that lists, reads and
//! stores all items: the statistics, the crawler's commands and lines, the listings
//! of `stats cachedump`, `gets`, and the meta commands. Everything else is the
//! server's.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::harness::client::{Client, Fields};

const POLL_PAUSE: Duration = Duration::from_millis(2);

/// What `stats cachedump` answers at most, in bytes: `items.c`.
const LISTING_LEN_MAX: usize = 2 << 20;

/// Three numbers, such as 1.6.18.
pub(crate) type Version = (u32, u32, u32);

/// How answers are cut into segments of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// As they come.
    Nowhere,
    /// Each byte by itself.
    EveryByte,
    /// At random places; the same for the same seed.
    Random(u64),
}

/// What goes wrong with one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyFault {
    Lost,
    Twice,
}

/// What the server is to look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    pub(crate) version: Version,
    /// Some services have no `lru_crawler` at all, whatever their version.
    pub(crate) has_crawler_command: bool,
    /// So many walks are answered with BUSY first.
    pub(crate) busy_count: usize,
    /// Whether the listings show expired items that are not reclaimed yet.
    pub(crate) lists_expired: bool,
    /// Whether `stats cachedump` shows anything: from 1.5.1 on it shows COLD items
    /// alone, and which those are depends on when one looks.
    pub(crate) has_listing: bool,
    /// A walk ends, with its usual end, after so many items.
    pub(crate) walk_item_count_max: usize,
    /// The first walk finds the crawler turned off by somebody else.
    pub(crate) is_crawler_contended: bool,
    /// What becomes of the reply to the n-th `mg`, once.
    pub(crate) reply_fault: Option<(usize, ReplyFault)>,
    /// Whether it has memory left to answer `gets`.
    pub(crate) has_values: bool,
    /// What the server calls its version, if that is no number.
    pub(crate) version_text: Option<&'static str>,
    pub(crate) cut: Cut,
    /// The key of a classic set that is not understood.
    pub(crate) refused_key: Option<&'static str>,
    /// Replaces rows of `stats`.
    pub(crate) stats: &'static [(&'static str, &'static str)],
}

impl Age {
    pub(crate) fn of(version: Version) -> Age {
        Age {
            version,
            has_crawler_command: version >= (1, 4, 18),
            busy_count: 0,
            lists_expired: false,
            has_listing: true,
            walk_item_count_max: usize::MAX,
            is_crawler_contended: false,
            reply_fault: None,
            has_values: true,
            version_text: None,
            cut: Cut::Nowhere,
            refused_key: None,
            stats: &[],
        }
    }

    pub(crate) fn name(&self) -> String {
        if let Some(text) = self.version_text {
            return text.to_owned();
        }
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }

    fn has_binary_protocol(&self) -> bool {
        self.version >= (1, 4, 0)
    }
}

/// Rows of `stats settings`, and the first version that has each.
const SETTINGS_SINCE: [(&str, Version); 10] = [
    ("binding_protocol", (1, 4, 0)),
    ("cas_enabled", (1, 4, 0)),
    ("item_size_max", (1, 4, 2)),
    ("lru_crawler", (1, 4, 18)),
    ("lru_maintainer_thread", (1, 4, 24)),
    ("slab_chunk_max", (1, 4, 30)),
    ("dump_enabled", (1, 4, 34)),
    ("auth_enabled_ascii", (1, 5, 15)),
    ("ssl_enabled", (1, 5, 13)),
    ("client_flags_size", (1, 6, 22)),
];

/// The same for `stats`.
const STATS_SINCE: [(&str, Version); 5] = [
    ("cmd_flush", (1, 4, 0)),
    ("hash_power_level", (1, 4, 10)),
    ("hash_is_expanding", (1, 4, 10)),
    ("lru_crawler_running", (1, 4, 18)),
    ("lru_crawler_starts", (1, 4, 18)),
];

/// A proxy on a loopback port of the kernel's choice.
#[derive(Debug)]
pub(crate) struct AgeingProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    age: Age,
    is_over: AtomicBool,
    is_crawler_on: AtomicBool,
    busy_left: AtomicUsize,
    walk_count: AtomicUsize,
    read_count: AtomicUsize,
    /// The commands received, keys and binary ones apart.
    commands: Mutex<Vec<String>>,
    complaints: Mutex<Vec<String>>,
}

impl AgeingProxy {
    /// Stands before the server at an address.
    pub(crate) fn start(server: &str, age: Age) -> AgeingProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            age,
            is_over: AtomicBool::new(false),
            // Off by default up to 1.4.39.
            is_crawler_on: AtomicBool::new(age.version >= (1, 5, 0)),
            busy_left: AtomicUsize::new(age.busy_count),
            walk_count: AtomicUsize::new(0),
            read_count: AtomicUsize::new(0),
            commands: Mutex::default(),
            complaints: Mutex::default(),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept_all(&listener, &shared))
        };
        AgeingProxy {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn is_crawler_on(&self) -> bool {
        self.shared.is_crawler_on.load(Ordering::SeqCst)
    }

    /// What was asked of the server, without reads.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.shared.commands.lock().unwrap().clone()
    }
}

impl Drop for AgeingProxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            let joined = acceptor.join();
            // A second panic would abort the test run and hide the first.
            if !thread::panicking() {
                joined.unwrap();
                let complaints = self.shared.complaints.lock().unwrap();
                assert!(complaints.is_empty(), "ageing proxy: {complaints:?}");
            }
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Shared) {
    thread::scope(|scope| {
        while !shared.is_over.load(Ordering::SeqCst) {
            match listener.accept() {
                Ok((stream, _)) => {
                    scope.spawn(move || Session::new(stream, shared).serve());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL_PAUSE),
                Err(error) => panic!("accept: {error}"),
            }
        }
    });
}

/// One client's connection, and one to the server for it.
struct Session<'a> {
    stream: TcpStream,
    unread: Vec<u8>,
    server: TcpStream,
    from_server: Vec<u8>,
    shared: &'a Shared,
    random: u64,
}

impl<'a> Session<'a> {
    fn new(stream: TcpStream, shared: &'a Shared) -> Session<'a> {
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(POLL_PAUSE)).unwrap();
        stream.set_write_timeout(Some(POLL_PAUSE)).unwrap();
        let server = TcpStream::connect(&shared.server).unwrap();
        server.set_nodelay(true).unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let random = match shared.age.cut {
            Cut::Random(seed) => seed | 1,
            Cut::Nowhere | Cut::EveryByte => 1,
        };
        Session {
            stream,
            unread: Vec::new(),
            server,
            from_server: Vec::new(),
            shared,
            random,
        }
    }

    fn serve(&mut self) {
        while self.serve_one().is_some() {}
    }

    /// Answers one command; `None` at the end of the connection.
    fn serve_one(&mut self) -> Option<()> {
        while self.unread.is_empty() {
            self.read_more()?;
        }
        if self.unread[0] == 0x80 && self.shared.age.has_binary_protocol() {
            return self.serve_binary();
        }
        let line = self.line()?;
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let version = self.shared.age.version;
        let is_read = text.starts_with("get") || text.starts_with("mg ");
        if !is_read {
            self.shared.commands.lock().unwrap().push(text.clone());
        }
        let words: Vec<&str> = text.split(' ').collect();
        let answer = match words[..] {
            ["version"] => format!("VERSION {}\r\n", self.shared.age.name()).into_bytes(),
            ["stats"] => self.statistics("stats", &STATS_SINCE),
            ["stats", "settings"] if version < (1, 4, 0) => b"ERROR\r\n".to_vec(),
            ["stats", "settings"] => self.statistics("stats settings", &SETTINGS_SINCE),
            ["stats", "items" | "slabs"] => self.ask(&line, b"END\r\n"),
            ["stats", "cachedump", ..] if !self.shared.age.has_listing => b"END\r\n".to_vec(),
            ["stats", "cachedump", class, _] if version < (1, 5, 1) => self.listing(class),
            // Of the real server: of each class the COLD list alone.
            ["stats", "cachedump", _, _] => self.ask(&line, b"END\r\n"),
            ["lru_crawler", ..] if !self.shared.age.has_crawler_command => b"ERROR\r\n".to_vec(),
            ["lru_crawler", "metadump", _] if version < (1, 4, 31) => b"ERROR\r\n".to_vec(),
            ["lru_crawler", "metadump", what] => self.walk(what),
            ["lru_crawler", "crawl", _] => {
                self.server.write_all(&line).unwrap();
                self.server_line()
            }
            ["lru_crawler", switch @ ("enable" | "disable")] => self.switch_crawler(switch),
            ["get", ..] if version < (1, 2, 4) => self.ask(&line, b"END\r\n"),
            ["gets", ..] if version < (1, 2, 4) => b"ERROR\r\n".to_vec(),
            ["gets", ..] if !self.shared.age.has_values => {
                b"SERVER_ERROR out of memory writing get response\r\n".to_vec()
            }
            ["gets", ..] => self.ask(&line, b"END\r\n"),
            ["set" | "add", key, _, _, _] if self.shared.age.refused_key == Some(key) => {
                // The value is read as a command, which is none.
                self.line()?;
                b"CLIENT_ERROR bad command line format\r\nERROR\r\n".to_vec()
            }
            ["set" | "add", _, _, _, len] => self.classic_set(&line, len)?,
            // The reply to a probe; a real set would have its value read as
            // commands.
            ["ms", _, "S-1"] if ((1, 5, 19)..(1, 6, 0)).contains(&version) => {
                b"CLIENT_ERROR invalid or duplicate flag\r\n".to_vec()
            }
            ["ms", _, "S-1"] if version < (1, 6, 0) => b"ERROR\r\n".to_vec(),
            ["mg" | "md" | "mn", ..] if version < (1, 6, 0) => b"ERROR\r\n".to_vec(),
            ["ms", _, ref tokens @ ..] if version >= (1, 6, 0) => self.meta_set(&line, tokens)?,
            ["mn"] => b"MN\r\n".to_vec(),
            ["mg" | "md", _, ref flags @ ..] if !knows(version, flags) => {
                b"CLIENT_ERROR invalid flag\r\n".to_vec()
            }
            ["mg", ..] => {
                let reply = self.meta_get(&line);
                let number = self.shared.read_count.fetch_add(1, Ordering::SeqCst);
                match self.shared.age.reply_fault {
                    Some((at, ReplyFault::Lost)) if at == number => Vec::new(),
                    Some((at, ReplyFault::Twice)) if at == number => reply.repeat(2),
                    _ => reply,
                }
            }
            // With a version to compare, none is the right one.
            ["md", _, ref flags @ ..]
                if ((1, 6, 0)..(1, 6, 13)).contains(&version)
                    && flags.iter().any(|flag| flag.starts_with('C')) =>
            {
                b"EX \r\n".to_vec()
            }
            ["md", ..] => self.meta_delete(&line),
            _ => {
                let complaint = format!("no answer for {text:?}");
                self.shared.complaints.lock().unwrap().push(complaint);
                return None;
            }
        };
        self.answer(&answer)
    }

    /// Asks the server and returns all up to this end.
    fn ask(&mut self, request: &[u8], end: &[u8]) -> Vec<u8> {
        self.server.write_all(request).unwrap();
        let mut answer = Vec::new();
        loop {
            let line = self.server_line();
            let value_len = line
                .strip_prefix(b"VALUE ")
                .map(|rest| String::from_utf8_lossy(rest).trim_end().to_owned())
                .map(|rest| rest.split(' ').nth(2).unwrap().parse::<usize>().unwrap());
            answer.extend(self.with_old_flags(line.clone()));
            if line == end || line.starts_with(b"SERVER_ERROR") || line.starts_with(b"CLIENT_") {
                return answer;
            }
            if let Some(len) = value_len {
                answer.extend(self.take_from_server(len + 2));
            }
        }
    }

    /// Writes the client flags of a `VALUE` line as the version does: as a signed
    /// number up to 1.4.26.
    fn with_old_flags(&self, line: Vec<u8>) -> Vec<u8> {
        if self.shared.age.version > (1, 4, 26) || !line.starts_with(b"VALUE ") {
            return line;
        }
        let mut words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let flags: u32 = String::from_utf8_lossy(words[2]).parse().unwrap();
        let signed = flags.cast_signed().to_string();
        words[2] = signed.as_bytes();
        words.join(&b' ')
    }

    /// Passes a set of the oldest kind on with its value.
    fn classic_set(&mut self, line: &[u8], len: &str) -> Option<Vec<u8>> {
        let value = self.take(len.parse::<usize>().unwrap() + 2)?;
        self.server.write_all(line).unwrap();
        self.server.write_all(&value).unwrap();
        Some(self.server_line())
    }

    /// Passes a meta set on with its value, in the syntax of the real server, and
    /// hides the reply if it was quiet.
    fn meta_set(&mut self, line: &[u8], tokens: &[&str]) -> Option<Vec<u8>> {
        let version = self.shared.age.version;
        let is_old = version < (1, 6, 10);
        let (len, flags) = tokens.split_first().unwrap();
        let digits = if is_old {
            len.strip_prefix('S').unwrap_or("x")
        } else {
            len
        };
        let Ok(len) = digits.parse::<usize>() else {
            return Some(if is_old {
                b"CLIENT_ERROR invalid length\r\n".to_vec()
            } else {
                b"CLIENT_ERROR bad command line format\r\n".to_vec()
            });
        };
        let value = self.take(len + 2)?;
        if !knows(version, flags) {
            return Some(b"CLIENT_ERROR invalid flag\r\n".to_vec());
        }
        let key = line.split(|&byte| byte == b' ').nth(1).unwrap();
        let kept: Vec<&str> = flags.iter().copied().filter(|flag| *flag != "q").collect();
        let is_quiet = kept.len() < flags.len();
        let head = format!(" {len} {}\r\n", kept.join(" "));
        let request = [b"ms ", key, head.as_bytes(), &value].concat();
        self.server.write_all(&request).unwrap();
        let reply = self.server_line();
        if is_quiet && reply.starts_with(b"HD") {
            return Some(Vec::new());
        }
        Some(self.with_old_code(reply))
    }

    /// Writes the code of a reply as the version does.
    fn with_old_code(&self, reply: Vec<u8>) -> Vec<u8> {
        let version = self.shared.age.version;
        let text = String::from_utf8(reply).unwrap();
        let (code, rest) = text.trim_end().split_at_checked(2).unwrap_or((&text, ""));
        match code {
            "HD" if version < (1, 6, 10) => format!("OK {rest}\r\n").into_bytes(),
            "NS" | "NF" if version < (1, 6, 10) => format!("{code} {rest}\r\n").into_bytes(),
            "HD" if version < (1, 6, 18) => format!("HD{rest} \r\n").into_bytes(),
            _ => text.into_bytes(),
        }
    }

    fn statistics(&mut self, command: &str, since: &[(&str, Version)]) -> Vec<u8> {
        let age = self.shared.age;
        let table = self.ask(format!("{command}\r\n").as_bytes(), b"END\r\n");
        let mut answer = Vec::new();
        for line in String::from_utf8(table).unwrap().lines() {
            let mut words = line.splitn(3, ' ').skip(1);
            let name = words.next().unwrap_or_default();
            let is_new = |&(row, first): &(&str, Version)| row == name && age.version < first;
            if since.iter().any(is_new) {
                continue;
            }
            let replaced = age.stats.iter().find(|(row, _)| *row == name);
            let line = match (name, replaced) {
                (_, Some((_, value))) => format!("STAT {name} {value}"),
                ("version", None) => format!("STAT version {}", age.name()),
                ("lru_crawler", None) => {
                    let is_on = self.shared.is_crawler_on.load(Ordering::SeqCst);
                    format!("STAT lru_crawler {}", if is_on { "yes" } else { "no" })
                }
                (_, None) => line.to_owned(),
            };
            answer.extend_from_slice(line.as_bytes());
            answer.extend_from_slice(b"\r\n");
        }
        answer
    }

    fn switch_crawler(&mut self, switch: &str) -> Vec<u8> {
        let is_on = switch == "enable";
        let was_on = self.shared.is_crawler_on.swap(is_on, Ordering::SeqCst);
        if is_on && was_on {
            return b"ERROR failed to start lru crawler thread\r\n".to_vec();
        }
        b"OK\r\n".to_vec()
    }

    /// Every item of the server, in whatever order.
    fn items(&self) -> Vec<(Vec<u8>, Fields)> {
        let mut client = Client::connect(&self.shared.server);
        client.keys().into_iter().collect()
    }

    /// What `lru_crawler metadump` answers; `what` is a class, all or hash.
    fn walk(&mut self, what: &str) -> Vec<u8> {
        let version = self.shared.age.version;
        if self.shared.age.is_crawler_contended
            && self.shared.walk_count.fetch_add(1, Ordering::SeqCst) == 1
        {
            self.shared.is_crawler_on.store(false, Ordering::SeqCst);
        }
        if !self.shared.is_crawler_on.load(Ordering::SeqCst) {
            return b"CLIENT_ERROR lru crawler disabled\r\n".to_vec();
        }
        let class: Option<u8> = what.parse().ok();
        let is_known = match what {
            "hash" => version >= (1, 6, 9),
            "all" => true,
            _ => class.is_some_and(|class| (1..64).contains(&class)),
        };
        if !is_known {
            return b"BADCLASS invalid class id\r\n".to_vec();
        }
        let take_one = |left: usize| left.checked_sub(1);
        let busy = &self.shared.busy_left;
        if busy
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one)
            .is_ok()
        {
            return b"BUSY currently processing crawler request\r\n".to_vec();
        }
        let mut items = self.items();
        if let Some(class) = class {
            items.retain(|(_, fields)| fields["cls"] == class.to_string());
        }
        // The newest item of each list is left out; there is one list a class
        // here.
        if [(1, 5, 5), (1, 5, 6)].contains(&version) {
            let classes: std::collections::BTreeSet<String> =
                items.iter().map(|(_, item)| item["cls"].clone()).collect();
            for class in classes {
                let newest = items
                    .iter()
                    .enumerate()
                    .filter(|(_, (_, item))| item["cls"] == class)
                    .max_by_key(|(_, (_, item))| item["cas"].parse::<u64>().unwrap())
                    .map(|(index, _)| index);
                items.remove(newest.unwrap());
            }
        }
        items.truncate(self.shared.age.walk_item_count_max);
        if items.is_empty() && what != "hash" {
            return b"NOTSTARTED no items to crawl\r\n".to_vec();
        }
        let mut answer = Vec::new();
        if version >= (1, 6, 43) {
            answer.extend_from_slice(b"OK\r\n");
        }
        let flags = if version >= (1, 6, 24) {
            self.client_flags(&items)
        } else {
            vec![String::new(); items.len()]
        };
        for ((key, fields), flags) in items.iter().zip(flags) {
            self.push_walk_line(key, fields, &flags, &mut answer);
        }
        if version >= (1, 5, 4) {
            answer.extend_from_slice(b"END\r\n");
        }
        answer
    }

    fn push_walk_line(&self, key: &[u8], fields: &Fields, flags: &str, out: &mut Vec<u8>) {
        let version = self.shared.age.version;
        let mut line = format!(
            "key={} exp={} la={} cas={} fetch={}",
            percent_encoded(key),
            fields["exp"],
            fields["la"],
            fields["cas"],
            fields["fetch"]
        );
        if version >= (1, 5, 4) {
            line.push_str(&format!(" cls={} size={}", fields["cls"], fields["size"]));
        }
        if version >= (1, 6, 24) {
            line.push_str(&format!(" flags={flags}"));
        }
        if version >= (1, 6, 39) {
            line.push(' ');
        }
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    }

    /// Client flags of items, which servers before 1.6.24 do not tell in a walk.
    fn client_flags(&mut self, items: &[(Vec<u8>, Fields)]) -> Vec<String> {
        /// Requests sent before their replies are read.
        const WINDOW: usize = 256;
        let mut all = Vec::new();
        for window in items.chunks(WINDOW) {
            let is_plain = |key: &[u8]| key.iter().all(u8::is_ascii_graphic);
            let is_asked = |(key, fields): &(Vec<u8>, Fields)| {
                (key.len() <= 186 || is_plain(key)) && !fields.contains_key("flags")
            };
            let mut requests = String::new();
            for (key, _) in window.iter().filter(|item| is_asked(item)) {
                requests.push_str(&if is_plain(key) {
                    format!("mg {} f u\r\n", String::from_utf8_lossy(key))
                } else {
                    format!("mg {} b f u\r\n", BASE64.encode(key))
                });
            }
            self.server.write_all(requests.as_bytes()).unwrap();
            for item in window {
                let (key, fields) = item;
                all.push(if let Some(flags) = fields.get("flags") {
                    flags.clone()
                } else if is_asked(item) {
                    let line = String::from_utf8(self.server_line()).unwrap();
                    match line.trim_end().strip_prefix("HD f") {
                        Some(flags) => flags.trim().to_owned(),
                        // Deleted since it was listed.
                        None if line.starts_with("EN") => "0".to_owned(),
                        None => panic!("mg answered {line:?}"),
                    }
                } else {
                    // A connection speaks one protocol, that of its first byte.
                    binary_flags(&self.shared.server, key).to_string()
                });
            }
        }
        all
    }

    /// What `stats cachedump` of versions with one list a class answers.
    fn listing(&mut self, class: &str) -> Vec<u8> {
        let version = self.shared.age.version;
        let stats = Client::connect(&self.shared.server).stats("");
        let number = |name: &str| stats[name].parse::<u64>().unwrap();
        let started_at = number("time") - number("uptime");
        let never = match version {
            (1, 4, 18..=25) => started_at - 60,
            (1, 4, 26..) | (1, 5.., _) => 0,
            _ => started_at,
        };
        let mut answer = Vec::new();
        let mut push = |key: &[u8], len: u64, exptime: u64| {
            // The key ends at its first NUL, as every string of C does.
            let key = key.split(|&byte| byte == 0).next().unwrap();
            let mut line = [b"ITEM ", key].concat();
            line.extend_from_slice(format!(" [{len} b; {exptime} s]\r\n").as_bytes());
            // Six bytes are kept for the end.
            if answer.len() + line.len() + 6 <= LISTING_LEN_MAX {
                answer.extend_from_slice(&line);
            }
        };
        let mut items = self.items();
        items.retain(|(_, fields)| fields["cls"] == class);
        let flags = self.client_flags(&items);
        for ((key, fields), flags) in items.iter().zip(flags) {
            let exptime = match &fields["exp"][..] {
                // Before 1.2.4 the number is the last access.
                _ if version < (1, 2, 4) => fields["la"].parse().unwrap(),
                "-1" => never,
                at => at.parse().unwrap(),
            };
            let around = 48 + 8 + 1 + 2 + u64::try_from(key.len()).unwrap();
            let size: u64 = fields["size"].parse().unwrap();
            let flags_len = if flags == "0" { 0 } else { 4 };
            push(key, size - around - flags_len, exptime);
        }
        if self.shared.age.lists_expired {
            push(b"expired-long-ago", 5, started_at + 1);
        }
        answer.extend_from_slice(b"END\r\n");
        answer
    }

    fn meta_get(&mut self, line: &[u8]) -> Vec<u8> {
        self.server.write_all(line).unwrap();
        let mut head = self.server_line();
        let text = String::from_utf8(head.clone()).unwrap();
        let value_len = text
            .strip_prefix("VA ")
            .map(|rest| rest.trim_end().split(' ').next().unwrap().parse().unwrap());
        if let Some(value_len) = value_len {
            if self.shared.age.version < (1, 6, 18) {
                head = format!("{} \r\n", text.trim_end()).into_bytes();
            }
            let len: usize = value_len;
            head.extend(self.take_from_server(len + 2));
            return head;
        }
        if text.starts_with("EN") && self.shared.age.version < (1, 6, 18) {
            head = b"EN\r\n".to_vec();
        }
        self.with_old_code(head)
    }

    fn meta_delete(&mut self, line: &[u8]) -> Vec<u8> {
        self.server.write_all(line).unwrap();
        let reply = self.server_line();
        self.with_old_code(reply)
    }

    fn serve_binary(&mut self) -> Option<()> {
        let head = self.take(24)?;
        let body_len = u32::from_be_bytes(head[8..12].try_into().unwrap());
        let body = self.take(usize::try_from(body_len).unwrap())?;
        self.server.write_all(&head).unwrap();
        self.server.write_all(&body).unwrap();
        let reply = self.binary_reply();
        self.answer(&reply)
    }

    fn binary_reply(&mut self) -> Vec<u8> {
        let mut reply = self.take_from_server(24);
        let body_len = u32::from_be_bytes(reply[8..12].try_into().unwrap());
        reply.extend(self.take_from_server(usize::try_from(body_len).unwrap()));
        reply
    }

    fn server_line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.from_server.iter().position(|byte| *byte == b'\n') {
                return self.take_from_server(end + 1);
            }
            self.read_from_server();
        }
    }

    fn take_from_server(&mut self, count: usize) -> Vec<u8> {
        while self.from_server.len() < count {
            self.read_from_server();
        }
        let rest = self.from_server.split_off(count);
        std::mem::replace(&mut self.from_server, rest)
    }

    fn read_from_server(&mut self) {
        let mut bytes = [0; 16 << 10];
        let count = self.server.read(&mut bytes).unwrap();
        assert!(count > 0, "the real server closed a connection");
        self.from_server.extend_from_slice(&bytes[..count]);
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                return self.take(end + 1);
            }
            self.read_more()?;
        }
    }

    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            self.read_more()?;
        }
        let rest = self.unread.split_off(count);
        Some(std::mem::replace(&mut self.unread, rest))
    }

    fn read_more(&mut self) -> Option<()> {
        let mut bytes = [0; 16 << 10];
        while !self.shared.is_over.load(Ordering::SeqCst) {
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => {
                    self.unread.extend_from_slice(&bytes[..count]);
                    return Some(());
                }
                Err(error) if is_pause(error.kind()) => {}
                Err(_) => return None,
            }
        }
        None
    }

    fn answer(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let len = match self.shared.age.cut {
                Cut::Nowhere => bytes.len(),
                Cut::EveryByte => 1,
                Cut::Random(_) => {
                    self.random = self
                        .random
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    let most = usize::try_from(self.random >> 54).unwrap();
                    most.clamp(1, bytes.len())
                }
            };
            let (piece, rest) = bytes.split_at(len);
            self.write(piece)?;
            bytes = rest;
        }
        Some(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> Option<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !bytes.is_empty() {
            if self.shared.is_over.load(Ordering::SeqCst) || Instant::now() > deadline {
                return None;
            }
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_pause(error.kind()) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}

/// Says whether a version has these meta flags.
fn knows(version: Version, flags: &[&str]) -> bool {
    flags.iter().all(|flag| match flag.as_bytes() {
        b"b" => version >= (1, 6, 10),
        [b'E', ..] => version >= (1, 6, 27),
        _ => true,
    })
}

fn percent_encoded(key: &[u8]) -> String {
    key.iter()
        .map(|&byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Client flags of any key, by the binary protocol; marks the item as fetched.
fn binary_flags(server: &str, key: &[u8]) -> u32 {
    let len = u8::try_from(key.len()).unwrap();
    let mut request = vec![0x80, 0, 0, len, 0, 0, 0, 0, 0, 0, 0, len];
    request.extend_from_slice(&[0; 12]);
    request.extend_from_slice(key);
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(&request).unwrap();
    let mut reply = [0; 28];
    stream.read_exact(&mut reply).unwrap();
    u32::from_be_bytes(reply[24..].try_into().unwrap())
}

/// Stores any key as an old client would: by the binary protocol.
pub(crate) fn binary_set(server: &str, key: &[u8], value: &[u8], flags: u32, exptime: u32) {
    let len = |len: usize| u32::try_from(len).unwrap().to_be_bytes();
    let mut request = vec![0x80, 1, 0, u8::try_from(key.len()).unwrap(), 8, 0, 0, 0];
    request.extend_from_slice(&len(8 + key.len() + value.len()));
    request.extend_from_slice(&[0; 12]);
    request.extend_from_slice(&flags.to_be_bytes());
    request.extend_from_slice(&exptime.to_be_bytes());
    request.extend_from_slice(key);
    request.extend_from_slice(value);
    let mut stream = TcpStream::connect(server).unwrap();
    stream.write_all(&request).unwrap();
    let mut reply = [0; 24];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!((reply[0], reply[6], reply[7]), (0x81, 0, 0), "binary set");
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}
