//! The list of all keys of a node. protocol.txt, "LRU Crawler".

use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Location, Result};
use crate::net::{Connection, NetOptions, Received, ServerReport, ask_server};
use crate::node::NodeSpec;
use crate::protocol::metadump::{WalkLine, classify};
use crate::protocol::reply::{check_connection, is_refusal};
use crate::protocol::request::METADUMP_HASH;
use crate::protocol::stats::{ServerStats, ServerVersion};
use crate::protocol::text::{Step, parse_line, split_line};
use crate::source::spool::Spool;

/// Says whether a server can be walked and read by this build.
///
/// # Errors
///
/// - `Unsupported`: too old, or it does not allow walks.
pub fn check_server(node: &NodeSpec, report: &ServerReport) -> Result<()> {
    let refuse = |field, found: String, supported: String| {
        let kind = ErrorKind::Unsupported {
            field,
            found,
            supported,
        };
        Err(Error::new(kind).at(Location::node(node.address())))
    };
    let stats = &report.stats;
    if stats.version < ServerVersion::META_COMMANDS {
        let least = ServerVersion::META_COMMANDS;
        let found = stats.version_text.clone();
        return refuse(
            "memcached",
            found,
            format!("this build needs {least} or later"),
        );
    }
    if !report.settings.is_dump_allowed {
        let advice = "the server was started with -X, which forbids listing keys";
        return refuse("walk of", node.address(), advice.to_owned());
    }
    Ok(())
}

/// Lists every item of a node into the spool, and closes it, also on error.
///
/// Uses `lru_crawler metadump hash`, the only walk that misses nothing on a
/// server in use: measured on 1.6.18 and 1.6.45 with 200,000 items under load,
/// `metadump all` left out 5 to 15 percent.
///
/// # Errors
///
/// - `Busy`: another crawl did not end in time.
/// - `Server`: it refuses the walk; `Timeout`, `Closed`, `Io`, `Canceled`.
pub fn walk(node: &NodeSpec, options: &NetOptions, cancel: &Cancel, spool: &Spool) -> Result<()> {
    let walked = walk_until_not_busy(node, options, cancel, spool);
    spool.close();
    walked
}

/// How long to wait for the end of another crawl; the server starts none of
/// its own for a minute after it has answered BUSY.
const BUSY_WAIT: Duration = Duration::from_secs(90);
const BUSY_INTERVAL: Duration = Duration::from_millis(250);

fn walk_until_not_busy(
    node: &NodeSpec,
    options: &NetOptions,
    cancel: &Cancel,
    spool: &Spool,
) -> Result<()> {
    // A walk of a large and nearly empty hash table says nothing for long.
    const SILENCE_MAX: Duration = Duration::from_secs(120);
    let started = Instant::now();
    loop {
        let mut connection = Connection::connect(node, options, cancel)?;
        let may_walk = may_walk(&ask_server(&mut connection)?.stats);
        connection.be_patient(SILENCE_MAX);
        let walked = if may_walk {
            walk_once(&mut connection, spool)
        } else {
            Err(Error::new(ErrorKind::Busy))
        };
        match walked {
            Err(error) if *error.kind() == ErrorKind::Busy && started.elapsed() < BUSY_WAIT => {
                tracing::info!(
                    node = node.address(),
                    "another crawl is running, or the hash table is growing; waiting"
                );
                pause(BUSY_INTERVAL, cancel)?;
            }
            walked => return walked,
        }
    }
}

/// Says whether a walk may start now.
///
/// Before 1.6.28 a walk that starts while the hash table starts to grow can
/// lock the server up: each waits for the other's lock (crawler.c, assoc.c). So
/// a growing table is waited for. One about to grow is only told of: it may
/// stay so for ever, and the moment of danger is short.
fn may_walk(stats: &ServerStats) -> bool {
    if stats.version >= ServerVersion::WALK_GIVES_WAY {
        return true;
    }
    if stats.is_hash_about_to_expand() {
        tracing::info!(
            items = stats.curr_items,
            "the hash table is about to grow; memcached 1.6.28 and later walk it safely then"
        );
    }
    !stats.is_hash_expanding
}

/// Waits, but not longer than the cancel flag is down.
fn pause(length: Duration, cancel: &Cancel) -> Result<()> {
    std::thread::sleep(length);
    cancel.check()
}

fn walk_once(connection: &mut Connection, spool: &Spool) -> Result<()> {
    let mut chunks = ChunkWriter {
        chunk: Vec::new(),
        has_items: false,
        spool,
    };
    connection.exchange("walk", METADUMP_HASH, |bytes| chunks.receive(bytes))?;
    chunks.flush()
}

/// Cuts the stream into chunks of whole lines.
struct ChunkWriter<'a> {
    chunk: Vec<u8>,
    has_items: bool,
    spool: &'a Spool,
}

impl ChunkWriter<'_> {
    /// A chunk holds some 700 lines: enough for one round trip of a fetcher.
    const CHUNK_LEN: usize = 64 << 10;

    fn receive(&mut self, bytes: &[u8]) -> Result<Received> {
        let mut consumed = 0;
        // Whole runs of item lines are taken at once: only the first and last
        // line of what has arrived can be anything else, since the server
        // sends nothing after the end.
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let Step::Done(line, len) = parse_line(rest, "a line of a walk")? else {
                return Ok(Received::More(consumed));
            };
            match classify(line) {
                WalkLine::Item => {
                    self.has_items = true;
                    let run = item_run(rest);
                    self.chunk.extend_from_slice(run);
                    consumed += run.len();
                    if self.chunk.len() >= Self::CHUNK_LEN {
                        self.flush()?;
                    }
                }
                WalkLine::Started => consumed += len,
                WalkLine::End => return Ok(Received::Done(consumed + len)),
                WalkLine::Busy => return Err(Error::new(ErrorKind::Busy)),
                // 1.6.28 and later: the hash table is growing.
                WalkLine::Refused(words) if words.starts_with(b"ERROR locked") => {
                    let busy = Error::new(ErrorKind::Busy);
                    return Err(if self.has_items {
                        incomplete(words)
                    } else {
                        busy
                    });
                }
                WalkLine::Refused(words) => return Err(incomplete(words)),
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.spool.push(std::mem::take(&mut self.chunk))
    }
}

fn incomplete(words: &[u8]) -> Error {
    if let Err(error) = check_connection(words) {
        return error;
    }
    if is_refusal(words) || words.starts_with(b"BADCLASS") {
        let words = String::from_utf8_lossy(words).into_owned();
        return Error::new(ErrorKind::Server { words });
    }
    Error::protocol("a line of a walk", words)
}

/// Returns the longest run of whole item lines at the front, up to about a
/// chunk. The caller has seen that the first line is one.
fn item_run(bytes: &[u8]) -> &[u8] {
    let window = bytes.get(..ChunkWriter::CHUNK_LEN).unwrap_or(bytes);
    // The last line feed in the window ends the last whole line.
    let Some(end) = memchr::memrchr(b'\n', window) else {
        let (_, len) = split_line(bytes).unwrap_or((b"", bytes.len()));
        return bytes.get(..len).unwrap_or(bytes);
    };
    let run = window.get(..=end).unwrap_or(window);
    // Only its last line may be something else, such as the end.
    let before = run.get(..end).unwrap_or_default();
    let last_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let last = run.get(last_start..end).unwrap_or_default();
    match classify(last.strip_suffix(b"\r").unwrap_or(last)) {
        WalkLine::Item => run,
        WalkLine::Started | WalkLine::End | WalkLine::Busy | WalkLine::Refused(_) => {
            run.get(..last_start).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(stream: &[u8], split: usize) -> Result<(Vec<u8>, bool)> {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(1 << 20, directory.path().to_owned());
        let mut chunks = ChunkWriter {
            chunk: Vec::new(),
            has_items: false,
            spool: &spool,
        };
        let mut start = 0;
        let mut is_done = false;
        for end in [split, stream.len()] {
            match chunks.receive(&stream[start..end])? {
                Received::More(len) => start += len,
                Received::Done(len) => {
                    assert_eq!(start + len, stream.len());
                    is_done = true;
                    break;
                }
            }
        }
        chunks.flush()?;
        spool.close();
        let mut all = Vec::new();
        while let Some(chunk) = spool.pop(&Cancel::new())? {
            all.extend(chunk);
        }
        Ok((all, is_done))
    }

    #[test]
    fn a_walk_is_cut_into_whole_lines_whatever_the_split() {
        let items = b"key=a exp=-1\nkey=END exp=-1\nkey=b exp=-1 \n";
        for start in [&b""[..], b"OK\r\n"] {
            let stream = [start, items, b"END\r\n"].concat();
            for split in 0..=stream.len() {
                assert_eq!(
                    collect(&stream, split).unwrap(),
                    (items.to_vec(), true),
                    "{split}"
                );
            }
        }
        assert_eq!(collect(b"END\r\n", 2).unwrap(), (Vec::new(), true));
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let busy = collect(b"BUSY currently processing crawler request\r\n", 4).unwrap_err();
        assert_eq!(*busy.kind(), ErrorKind::Busy);
        let refused = collect(b"ERROR metadump not allowed\r\n", 4).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "server answered: ERROR metadump not allowed"
        );
        let locked = collect(b"key=a exp=-1\nERROR locked try again later\r\n", 4).unwrap_err();
        assert!(matches!(locked.kind(), ErrorKind::Server { .. }));
        assert!(collect(b"HTTP/1.1 400 Bad Request\r\n", 4).is_err());
    }
}
