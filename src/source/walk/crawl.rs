//! The walks by `lru_crawler metadump`. protocol.txt, "LRU Crawler".

use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::net::{Connection, Prompt, Received, ask_server};
use crate::protocol::metadump::{WalkLine, classify};
use crate::protocol::reply::{check_connection, is_refusal};
use crate::protocol::request::{METADUMP_ALL, METADUMP_HASH, VERSION, metadump_class};
use crate::protocol::stats::{CrawlProgress, ServerStats, ServerVersion};
use crate::protocol::text::{Step, parse_line, split_line};
use crate::source::spool::{LineForm, Spool, WalkChunk};
use crate::source::walk::Walk;
use crate::source::walk::crawler_switch::CrawlerSwitch;
use crate::units::to_u64;

const BUSY_INTERVAL: Duration = Duration::from_millis(250);

/// How long a hash table that should grow is waited for, where walking it then
/// is a risk. The server looks once a second (`clock_handler` in memcached.c),
/// so what has not begun to grow by then does not: it may not, or it has room
/// for a few more.
const GROWTH_WAIT: Duration = Duration::from_secs(3);

/// A walk of a large and nearly empty hash table says nothing for long, while
/// the server answers others.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How long the rest of a walk that nobody wants any more is read, in all and
/// without a byte.
const REST_MAX: Duration = Duration::from_secs(5);
const REST_SILENCE_MAX: Duration = Duration::from_secs(1);

impl Walk<'_> {
    /// Returns how long at most the rest of the walk is read where it is stopped;
    /// `None` where the server does not mind that it is left at once.
    pub fn rest_max(&self) -> Option<Duration> {
        let must_be_read = self.strategy.walk.needs_crawler()
            && self.strategy.version < ServerVersion::WALK_OUTLIVES_CLIENT;
        must_be_read.then_some(REST_MAX)
    }

    /// `lru_crawler metadump hash`: with 200,000 items under load, on 1.6.18 and
    /// 1.6.45, the one walk that missed nothing.
    ///
    /// Returns how many items it listed.
    pub(super) fn crawl_hash(&self, crawler: &CrawlerSwitch<'_>) -> Result<u64> {
        self.crawl_until_not_busy(crawler, METADUMP_HASH)
    }

    /// The LRU lists of all slab classes, in one crawl.
    pub(super) fn crawl_all(&self, crawler: &CrawlerSwitch<'_>) -> Result<()> {
        self.crawl_until_not_busy(crawler, METADUMP_ALL).map(drop)
    }

    /// The LRU lists of one slab class after the other.
    pub(super) fn crawl_class_by_class(&self, crawler: &CrawlerSwitch<'_>) -> Result<()> {
        for class in self.slab_item_counts()?.into_keys() {
            self.crawl_until_not_busy(crawler, &metadump_class(class))?;
        }
        Ok(())
    }

    fn crawl_until_not_busy(&self, crawler: &CrawlerSwitch<'_>, request: &[u8]) -> Result<u64> {
        let started = Instant::now();
        let mut seen = None;
        loop {
            let crawled =
                self.until_not_busy(|| self.try_crawl(request, started.elapsed(), &mut seen));
            match crawled {
                Err(error) if is_crawler_off(&error) && crawler.enable_again()? => {
                    tracing::info!(
                        node = self.node.address(),
                        "the LRU crawler was turned off meanwhile; turned on again"
                    );
                }
                crawled => return crawled,
            }
        }
    }

    /// Does it again while another crawl is in the way, as long as it may take.
    pub(super) fn until_not_busy<T>(&self, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            let waited = started.elapsed();
            match ask() {
                Err(error) if is_passing(&error) && waited < self.busy_timeout => {
                    let error = error.to_chain();
                    tracing::info!(node = self.node.address(), "{error}; waiting");
                    self.pause(BUSY_INTERVAL)?;
                }
                asked => return asked,
            }
        }
    }

    /// `seen` is how far the crawler was when it was first seen running.
    fn try_crawl(
        &self,
        request: &[u8],
        waited: Duration,
        seen: &mut Option<CrawlProgress>,
    ) -> Result<u64> {
        let mut connection = self.connect()?;
        let stats = ask_server(&mut connection)?.stats;
        let is_hash = request == METADUMP_HASH;
        let has_waited = waited >= GROWTH_WAIT.min(self.busy_timeout);
        // Whoever asks while the walk of another is not read takes one of the
        // server's threads with all its clients. A crawler that gets on is the
        // server's own, or read: the server says BUSY then, and begins no crawl of
        // its own for a minute, so that even those in a chain come to an end.
        let is_stuck = stats.is_crawler_running
            && *seen.get_or_insert(stats.crawl_progress) == stats.crawl_progress;
        if is_stuck || (is_hash && !may_walk_hash(self.strategy.version, &stats, has_waited)) {
            return Err(Error::new(ErrorKind::Busy).at(self.location()));
        }
        let listed = self.crawl_once(&mut connection, request)?;
        // Before, an answer to a prompt may still come.
        if self.strategy.version >= ServerVersion::WALK_TERMINATOR {
            self.keep(connection);
        }
        Ok(listed)
    }

    fn crawl_once(&self, connection: &mut Connection, request: &[u8]) -> Result<u64> {
        let version = self.strategy.version;
        // How long after the last line a server that ends its walk with no line
        // of its own is asked something else: the answer comes when the walk is
        // over.
        const PROMPT_AFTER: Duration = Duration::from_millis(500);
        let prompt = (version < ServerVersion::WALK_TERMINATOR).then_some(Prompt {
            after: PROMPT_AFTER,
            request: VERSION,
        });
        let mut chunks = ChunkWriter::new(self.spool);
        let mut unsent = request;
        loop {
            let receive = |bytes: &[u8]| chunks.receive(bytes);
            let walked = connection.exchange_with_prompt("walk", unsent, prompt, receive);
            let Err(error) = walked else {
                chunks.flush()?;
                return Ok(chunks.item_count);
            };
            if matches!(error.kind(), ErrorKind::Timeout { .. }) {
                if chunks.heard_at.elapsed() >= SILENCE_MAX || !self.is_alive() {
                    return Err(error);
                }
                unsent = b"";
                continue;
            }
            if (error.is_canceled() || chunks.is_spool_full)
                && version < ServerVersion::WALK_OUTLIVES_CLIENT
            {
                read_rest(connection, prompt);
            }
            return Err(error);
        }
    }

    /// Says whether the server answers at all.
    fn is_alive(&self) -> bool {
        let asked = self.connect().and_then(|mut connection| {
            connection.exchange_short("version", VERSION, |bytes| {
                Ok(match parse_line(bytes, "VERSION")? {
                    Step::Need => Received::More(0),
                    Step::Done(_, len) => Received::Done(len),
                })
            })
        });
        asked.is_ok()
    }
}

/// Says whether a walk was refused since the crawler is off.
fn is_crawler_off(error: &Error) -> bool {
    let ErrorKind::Server { words } = error.kind() else {
        return false;
    };
    words.starts_with("CLIENT_ERROR lru crawler disabled")
}

/// Says whether what keeps a walk from starting will pass.
fn is_passing(error: &Error) -> bool {
    [ErrorKind::Busy, ErrorKind::TooManyConnections].contains(error.kind())
}

/// Says whether a walk of the hash table may start now.
///
/// Before 1.6.28 one that starts while the table starts to grow can lock the
/// server up: each waits for the other's lock (crawler.c, assoc.c). So a growing
/// table is waited for, and for a while one that is about to grow.
fn may_walk_hash(version: ServerVersion, stats: &ServerStats, has_waited: bool) -> bool {
    if version >= ServerVersion::WALK_GIVES_WAY {
        return true;
    }
    !stats.is_hash_expanding && (!stats.is_hash_about_to_expand() || has_waited)
}

/// Reads a walk to its end though nobody wants it: up to 1.4.33 and in some
/// cases up to 1.6.43 a client that goes away meanwhile can crash the server.
/// Longer than a moment it is not waited for.
fn read_rest(connection: &mut Connection, prompt: Option<Prompt>) {
    let deadline = Instant::now() + REST_MAX;
    connection.outlive_cancel(REST_SILENCE_MAX);
    let read = connection.exchange_with_prompt("walk", b"", prompt, |bytes| {
        if Instant::now() >= deadline {
            return Err(Error::new(ErrorKind::Timeout {
                operation: "rest of a walk",
                limit_ms: u64::try_from(REST_MAX.as_millis()).unwrap_or(u64::MAX),
            }));
        }
        skip_lines(bytes)
    });
    if let Err(error) = read {
        tracing::info!("left in the middle of a walk: {}", error.to_chain());
    }
}

fn skip_lines(bytes: &[u8]) -> Result<Received> {
    let mut consumed: usize = 0;
    loop {
        let rest = bytes.get(consumed..).unwrap_or_default();
        let Step::Done(line, len) = parse_line(rest, "a line of a walk")? else {
            return Ok(Received::More(consumed));
        };
        consumed = consumed.saturating_add(len);
        match classify(line) {
            WalkLine::Item | WalkLine::Started => {}
            WalkLine::End | WalkLine::Version | WalkLine::Busy | WalkLine::Refused(_) => {
                return Ok(Received::Done(consumed));
            }
        }
    }
}

/// Cuts the stream into chunks of whole lines.
struct ChunkWriter<'a> {
    chunk: Vec<u8>,
    /// Lines of items, and those that cannot be understood after the first one.
    item_count: u64,
    spool: &'a Spool,
    /// Why the walk failed: the spool takes no more.
    is_spool_full: bool,
    consumed: u64,
    /// Bytes that have come, consumed or not, and when the last of them did.
    heard: u64,
    heard_at: Instant,
}

impl<'a> ChunkWriter<'a> {
    /// A chunk holds some 700 lines: enough for one round trip of a fetcher.
    const CHUNK_LEN: usize = 64 << 10;

    fn new(spool: &'a Spool) -> Self {
        Self {
            chunk: Vec::new(),
            item_count: 0,
            spool,
            is_spool_full: false,
            consumed: 0,
            heard: 0,
            heard_at: Instant::now(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<Received> {
        let heard = self.consumed.saturating_add(to_u64(bytes.len()));
        if heard > self.heard {
            self.heard = heard;
            self.heard_at = Instant::now();
        }
        let received = self.take_lines(bytes)?;
        let (Received::More(len) | Received::Done(len)) = received;
        self.consumed = self.consumed.saturating_add(to_u64(len));
        Ok(received)
    }

    fn take_lines(&mut self, bytes: &[u8]) -> Result<Received> {
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
                    let run = item_run(rest);
                    let lines = to_u64(memchr::memchr_iter(b'\n', run).count());
                    self.take(run, lines)?;
                    consumed += run.len();
                }
                WalkLine::Started => consumed += len,
                WalkLine::End | WalkLine::Version => return Ok(Received::Done(consumed + len)),
                WalkLine::Busy => return Err(Error::new(ErrorKind::Busy)),
                // 1.6.28 and later: the hash table is growing.
                WalkLine::Refused(words) if words.starts_with(b"ERROR locked") => {
                    let busy = Error::new(ErrorKind::Busy);
                    return Err(if self.item_count > 0 {
                        incomplete(words)
                    } else {
                        busy
                    });
                }
                // Lines were seen that are cut, or another's, while clients change
                // what is listed (1.4.31 to 1.5.14): such a line costs its item.
                WalkLine::Refused(words) if self.item_count > 0 && !is_refusal(words) => {
                    let whole = rest.get(..len).unwrap_or_default();
                    self.take(whole, 1)?;
                    consumed += len;
                }
                WalkLine::Refused(words) => return Err(incomplete(words)),
            }
        }
    }

    fn take(&mut self, lines: &[u8], count: u64) -> Result<()> {
        self.item_count = self.item_count.saturating_add(count);
        self.chunk.extend_from_slice(lines);
        if self.chunk.len() >= Self::CHUNK_LEN {
            return self.flush();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let pushed = self.spool.push(WalkChunk {
            lines: std::mem::take(&mut self.chunk),
            form: LineForm::Metadump,
        });
        self.is_spool_full |= pushed.is_err();
        pushed
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
    let mut run = window.get(..=end).unwrap_or(window);
    // Only its last lines may be something else: the end, or the answers to several
    // prompts.
    while let Some(end) = run.len().checked_sub(1) {
        let before = run.get(..end).unwrap_or_default();
        let last_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let last = run.get(last_start..end).unwrap_or_default();
        if classify(last.strip_suffix(b"\r").unwrap_or(last)) == WalkLine::Item {
            break;
        }
        run = run.get(..last_start).unwrap_or_default();
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;

    fn collect(stream: &[u8], split: usize) -> Result<(Vec<u8>, bool)> {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(1 << 20, directory.path().to_owned());
        let mut chunks = ChunkWriter::new(&spool);
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
            all.extend(&chunk.lines);
        }
        Ok((all, is_done))
    }

    #[test]
    fn a_walk_is_cut_into_whole_lines_whatever_the_split() {
        let items = b"key=a exp=-1\nkey=END exp=-1\nkey=b exp=-1 \n";
        let ends = [&b"END\r\n"[..], b"VERSION 1.4.31\r\n"];
        for (start, end) in [(&b""[..], ends[0]), (b"OK\r\n", ends[0]), (b"", ends[1])] {
            let stream = [start, items, end].concat();
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

    /// A server that is slow to list is asked several times.
    #[test]
    fn the_first_answer_to_a_prompt_ends_a_walk() {
        let items = b"key=a exp=-1\nkey=b exp=-1\n";
        let answer = b"VERSION 1.4.31\r\n";
        let stream = [&items[..], answer, answer, answer].concat();
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(1 << 20, directory.path().to_owned());
        let mut chunks = ChunkWriter::new(&spool);
        let received = chunks.receive(&stream).unwrap();
        assert_eq!(received, Received::Done(items.len() + answer.len()));
        assert_eq!((chunks.item_count, &chunks.chunk[..]), (2, &items[..]));
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
