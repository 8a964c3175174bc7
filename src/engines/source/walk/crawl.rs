//! Walks by `lru_crawler metadump`; see "LRU Crawler" in protocol.txt.

use std::time::Duration;

use crate::codecs::protocol::metadump::{WalkLine, classify, parse_item};
use crate::codecs::protocol::reply::{check_connection, is_refusal};
use crate::codecs::protocol::request::{METADUMP_ALL, METADUMP_HASH, VERSION, metadump_class};
use crate::codecs::protocol::stats::{CrawlProgress, ServerStats, ServerVersion};
use crate::codecs::protocol::text::{Step, parse_line, split_line};
use crate::engines::source::spool::{LineForm, Pushed, Spool};
use crate::engines::source::under_way::WalkUnderWay;
use crate::engines::source::walk::chunk_packer::ChunkPacker;
use crate::engines::source::walk::crawler_switch::CrawlerSwitch;
use crate::engines::source::walk::job::Walk;
use crate::ports::host::Stopwatch;
use crate::ports::net::{Connection, Prompt, Received, ask_server};
use crate::ports::threads::{Worker, with_crew};
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::units::to_u64;

const BUSY_INTERVAL: Duration = Duration::from_millis(250);

/// How long to wait for a hash table that is about to grow, in versions where walking it
/// then is a risk. The server checks once a second (`clock_handler` in memcached.c), so a
/// table that has not begun to grow by then does not: it may not grow, or it has room for
/// a few more items.
const GROWTH_WAIT: Duration = Duration::from_secs(3);

/// A walk of a large and nearly empty hash table sends nothing for a long time, while the
/// server answers other clients.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How often to check whether a server that is silent in a walk answers others.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// The result of one crawl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crawl {
    /// Items it listed.
    pub(super) listed: u64,
    /// Wanted lines that are in the spool.
    pub(super) taken: u64,
    /// Whether there was no room for the rest of the lines, which were dropped.
    pub(super) is_given_up: bool,
}

/// Which crawl to request.
#[derive(Clone, Copy, Debug)]
struct CrawlRequest<'a> {
    command: &'a [u8],
    /// How many lines at its beginning are not wanted.
    unwanted: u64,
}

impl Walk<'_> {
    /// Returns how long a server may be silent while the rest of a stopped walk is read;
    /// `None` if the walk may be left at once.
    pub fn rest_silence_max(&self) -> Option<Duration> {
        let must_be_read = self.strategy.walk.needs_crawler()
            && self.strategy.version < ServerVersion::WALK_OUTLIVES_CLIENT;
        must_be_read.then_some(self.net.timeout)
    }

    /// Walks `lru_crawler metadump hash`. With 200,000 items under load, on 1.6.18 and
    /// 1.6.45, this was the only walk that missed nothing.
    pub(super) fn crawl_hash(&self, crawler: &CrawlerSwitch<'_>) -> Result<Crawl> {
        self.crawl(crawler, METADUMP_HASH, 0)
    }

    /// Walks the LRU lists of all slab classes in one crawl.
    pub(super) fn crawl_all(&self, crawler: &CrawlerSwitch<'_>) -> Result<Crawl> {
        self.crawl(crawler, METADUMP_ALL, 0)
    }

    /// Walks the LRU lists of one slab class after the other, each when there is room in
    /// the spool.
    ///
    /// A crawl of lists holds no lock of an item, a list or a bucket while it writes to
    /// its client (`item_crawler_thread` in crawler.c flushes the buffer before it takes
    /// the list's lock). A crawl of the hash table keeps the table from growing and,
    /// before 1.6.19, holds an item's lock. But a crawl of lists does hold the crawler's
    /// own lock, which the thread that maintains the lists waits for, and so does the
    /// thread of every client that sends `lru_crawler`. So this crawl is read at once
    /// too, and any waiting is done between two crawls, when the server has nothing to
    /// send.
    ///
    /// A class with more items than there is room for is crawled again, and the lines
    /// that the crawls before took are skipped. The lists change meanwhile; items that
    /// are missed this way are found by another pass, like all items that move.
    pub(super) fn crawl_class_by_class(&self, crawler: &CrawlerSwitch<'_>) -> Result<()> {
        for class in self.slab_item_counts()?.into_keys() {
            let mut taken: u64 = 0;
            loop {
                self.spool.wait_for_room(self.cancel)?;
                let crawl = self.crawl(crawler, &metadump_class(class), taken)?;
                if !crawl.is_given_up {
                    break;
                }
                taken = taken.saturating_add(crawl.taken);
                let node = self.node.address();
                tracing::info!(
                    node,
                    class,
                    taken,
                    "no room for a whole slab class; waiting for it"
                );
            }
        }
        Ok(())
    }

    fn crawl(&self, crawler: &CrawlerSwitch<'_>, command: &[u8], unwanted: u64) -> Result<Crawl> {
        let request = CrawlRequest { command, unwanted };
        let started = Stopwatch::start();
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

    /// Repeats a request while another crawl is running, up to the busy timeout.
    pub(super) fn until_not_busy<T>(&self, mut ask: impl FnMut() -> Result<T>) -> Result<T> {
        let started = Stopwatch::start();
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

    /// `seen` is the progress of the crawler when it was first seen running.
    fn try_crawl(
        &self,
        request: CrawlRequest<'_>,
        waited: Duration,
        seen: &mut Option<CrawlProgress>,
    ) -> Result<Crawl> {
        let mut connection = self.connect()?;
        let stats = ask_server(&mut connection)?.stats;
        let is_hash = request.command == METADUMP_HASH;
        let has_waited = waited >= GROWTH_WAIT.min(self.busy_timeout);
        // A second request blocks one of the server's threads, with all its clients,
        // while the first walk is not read. A crawler that makes progress is the server's
        // own, or its walk is read: the server then answers BUSY and begins no crawl of
        // its own for a minute, so that even a chain of crawls ends.
        let is_stuck = stats.is_crawler_running
            && *seen.get_or_insert(stats.crawl_progress) == stats.crawl_progress;
        if is_stuck || (is_hash && !may_walk_hash(self.strategy.version, &stats, has_waited)) {
            return Err(Error::new(ErrorKind::Busy).at(self.location()));
        }
        let crawl = self.crawl_once(&mut connection, request, stats.curr_items)?;
        // In older versions an answer to a prompt may still arrive.
        if self.strategy.version >= ServerVersion::WALK_TERMINATOR {
            self.keep(connection);
        }
        Ok(crawl)
    }

    /// Reads one crawl to its end. From the request on, this thread touches only its
    /// socket and memory; anything to log waits until the crawl is over.
    fn crawl_once(
        &self,
        connection: &mut Connection,
        request: CrawlRequest<'_>,
        item_count: u64,
    ) -> Result<Crawl> {
        let may_leave = self.strategy.version >= ServerVersion::WALK_OUTLIVES_CLIENT;
        let mut chunks = ChunkWriter::new(self.spool, request.unwanted, may_leave)?;
        let walk = WalkUnderWay::begin(self.cancel)?;
        let read = self.read_crawl(connection, request.command, &mut chunks);
        let mut rest = Ok(());
        if let Err(error) = &read
            && error.is_canceled()
            && !may_leave
        {
            rest = read_rest(connection, self.net.timeout, self.prompt(), item_count);
        }
        drop(walk);
        if let Err(error) = rest {
            tracing::info!("left in the middle of a walk: {}", error.to_chain());
        }
        read.and_then(|()| chunks.finish())
    }

    /// Returns the request to send, after a silence, to a server whose walk has no end
    /// line: the answer arrives when the walk is over.
    fn prompt(&self) -> Option<Prompt> {
        const PROMPT_AFTER: Duration = Duration::from_millis(500);
        (self.strategy.version < ServerVersion::WALK_TERMINATOR).then_some(Prompt {
            after: PROMPT_AFTER,
            request: VERSION,
        })
    }

    fn read_crawl(
        &self,
        connection: &mut Connection,
        command: &[u8],
        chunks: &mut ChunkWriter<'_>,
    ) -> Result<()> {
        // The answer is no longer needed when the walk is over.
        let is_over = self.cancel.child();
        with_crew(&is_over, |crew| {
            let mut unsent = command;
            // Another thread asks, so that this one keeps reading.
            let mut asked: Option<(Error, Worker<'_, bool>)> = None;
            let read = loop {
                let receive = |bytes: &[u8]| chunks.receive(bytes);
                let walked =
                    connection.exchange_with_prompt("walk", unsent, self.prompt(), receive);
                let Err(error) = walked else {
                    break Ok(());
                };
                if !matches!(error.kind(), ErrorKind::Timeout { .. }) {
                    break Err(error);
                }
                unsent = b"";
                match asked.take() {
                    Some((silence, asking)) if !asking.is_finished() => {
                        asked = Some((silence, asking));
                    }
                    Some((silence, asking)) => {
                        if !asking.join() {
                            break Err(silence);
                        }
                        connection.wait_at_most(self.net.timeout);
                    }
                    None if chunks.heard_at.elapsed() >= SILENCE_MAX => break Err(error),
                    None => {
                        let asking = crew.start("is-alive", || self.is_alive(&is_over));
                        let Ok(asking) = asking else {
                            break Err(error);
                        };
                        asked = Some((error, asking));
                        connection.wait_at_most(ALIVE_INTERVAL.min(self.net.timeout));
                    }
                }
            };
            is_over.cancel();
            read
        })
    }

    /// Reports whether the server answers at all.
    fn is_alive(&self, cancel: &Cancel) -> bool {
        let connected = Connection::connect(self.node, self.net, cancel);
        let asked = connected.and_then(|mut connection| {
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

/// Reports whether a walk was refused because the crawler is off.
fn is_crawler_off(error: &Error) -> bool {
    let ErrorKind::Server { words } = error.kind() else {
        return false;
    };
    words.starts_with("CLIENT_ERROR lru crawler disabled")
}

/// Reports whether the reason that keeps a walk from starting is temporary.
fn is_passing(error: &Error) -> bool {
    [ErrorKind::Busy, ErrorKind::TooManyConnections].contains(error.kind())
}

/// Reports whether a walk of the hash table may start now.
///
/// Before 1.6.28, a walk that starts while the table starts to grow can deadlock the
/// server: each waits for the other's lock (crawler.c, assoc.c). So the walk waits for a
/// table that grows, and for a while for one that is about to grow.
fn may_walk_hash(version: ServerVersion, stats: &ServerStats, has_waited: bool) -> bool {
    if version >= ServerVersion::WALK_GIVES_WAY {
        return true;
    }
    !stats.is_hash_expanding && (!stats.is_hash_about_to_expand() || has_waited)
}

/// Reads a walk to its end although its lines are not wanted: up to 1.4.33, and in some
/// cases up to 1.6.43, a client that disconnects during a walk can crash the server.
///
/// The walk is left early only if it is silent for the given time, or if it lists many
/// more items than there were, which no real server does.
fn read_rest(
    connection: &mut Connection,
    silence_max: Duration,
    prompt: Option<Prompt>,
    item_count: u64,
) -> Result<()> {
    /// How many items may have been added meanwhile, beyond as many as there were.
    const MORE_MAX: u64 = 10_000_000;
    let line_count_max = item_count.saturating_mul(2).saturating_add(MORE_MAX);
    let mut line_count: u64 = 0;
    connection.outlive_cancel(silence_max);
    connection.exchange_with_prompt("rest of a walk", b"", prompt, |bytes| {
        let lines = to_u64(memchr::memchr_iter(b'\n', bytes).count());
        let received = skip_lines(bytes)?;
        line_count = line_count.saturating_add(lines);
        if line_count > line_count_max {
            return Err(Error::new(ErrorKind::LimitExceeded {
                limit: "lines of a walk",
                needed: line_count,
                bound: line_count_max,
            }));
        }
        Ok(received)
    })
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
    packer: ChunkPacker,
    key: Vec<u8>,
    /// Lines of items, and lines after the first item that cannot be parsed.
    item_count: u64,
    /// How many of the next lines to skip.
    unwanted: u64,
    /// Lines put into the spool.
    taken: u64,
    spool: &'a Spool,
    /// Whether the connection may be closed in the middle of a walk.
    may_leave: bool,
    /// Why lines are dropped, if they are.
    drop_reason: Option<DropReason>,
    consumed: u64,
    /// Bytes received, consumed or not, and when the last of them arrived.
    heard: u64,
    heard_at: Stopwatch,
}

/// Why a walk is read to its end although its lines are not wanted.
#[derive(Debug)]
enum DropReason {
    /// There is no room for more lines.
    NoRoom,
    /// This job has failed.
    Error(Error),
}

impl<'a> ChunkWriter<'a> {
    /// How many bytes of lines are examined together.
    const RUN_LEN: usize = 64 << 10;

    fn new(spool: &'a Spool, unwanted: u64, may_leave: bool) -> Result<Self> {
        Ok(Self {
            packer: ChunkPacker::new(LineForm::Metadump)?,
            key: Vec::new(),
            item_count: 0,
            unwanted,
            taken: 0,
            spool,
            may_leave,
            drop_reason: None,
            consumed: 0,
            heard: 0,
            heard_at: Stopwatch::start(),
        })
    }

    /// Puts the last lines into the spool and returns the result of the crawl.
    fn finish(mut self) -> Result<Crawl> {
        self.flush()?;
        let is_given_up = match self.drop_reason {
            None => false,
            Some(DropReason::NoRoom) => true,
            Some(DropReason::Error(error)) => return Err(error),
        };
        Ok(Crawl {
            listed: self.item_count,
            taken: self.taken,
            is_given_up,
        })
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<Received> {
        let heard = self.consumed.saturating_add(to_u64(bytes.len()));
        if heard > self.heard {
            self.heard = heard;
            self.heard_at = Stopwatch::start();
        }
        let received = self.take_lines(bytes)?;
        let (Received::More(len) | Received::Done(len)) = received;
        self.consumed = self.consumed.saturating_add(to_u64(len));
        Ok(received)
    }

    fn take_lines(&mut self, bytes: &[u8]) -> Result<Received> {
        let mut consumed = 0;
        // Takes whole runs of item lines at once. Only the first and the last line of
        // what has arrived can be anything else, since the server sends nothing after the
        // end.
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
                // While clients change what is listed, servers from 1.4.31 to 1.5.14 were
                // seen to send lines that are truncated or mixed with another line. Such
                // a line costs its item.
                WalkLine::Refused(words) if self.item_count > 0 && !is_refusal(words) => {
                    let whole = rest.get(..len).unwrap_or_default();
                    self.take(whole, 1)?;
                    consumed += len;
                }
                WalkLine::Refused(words) => return Err(incomplete(words)),
            }
        }
    }

    /// Takes whole lines; each is an item or a line that cannot be parsed.
    fn take(&mut self, lines: &[u8], count: u64) -> Result<()> {
        self.item_count = self.item_count.saturating_add(count);
        let mut rest = lines;
        while self.drop_reason.is_none()
            && let Some((line, len)) = split_line(rest)
        {
            rest = rest.get(len..).unwrap_or_default();
            if self.unwanted > 0 {
                self.unwanted = self.unwanted.saturating_sub(1);
                continue;
            }
            match parse_item(line, &mut self.key) {
                Some(item) => self.packer.push(&self.key, &item, len),
                None => self.packer.push_broken(line),
            }
            if self.packer.is_full() {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Passes the chunk on if it is wanted. Returns an error only if the walk may be
    /// left.
    fn flush(&mut self) -> Result<()> {
        if self.drop_reason.is_some() {
            return Ok(());
        }
        let pushed = match self.packer.finish() {
            Ok(None) => return Ok(()),
            Ok(Some((chunk, line_count))) => {
                let pushed = self.spool.push(chunk);
                pushed.map(|pushed| (pushed, line_count))
            }
            Err(error) => Err(error),
        };
        match pushed {
            Ok((Pushed::Taken, line_count)) => {
                self.taken = self.taken.saturating_add(line_count);
            }
            Ok((Pushed::NoRoom, _)) => self.drop_reason = Some(DropReason::NoRoom),
            Err(error) if self.may_leave => return Err(error),
            Err(error) => self.drop_reason = Some(DropReason::Error(error)),
        }
        Ok(())
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

/// Returns the longest run of whole item lines at the front, up to about a chunk. The
/// caller has checked that the first line is one.
fn item_run(bytes: &[u8]) -> &[u8] {
    let window = bytes.get(..ChunkWriter::RUN_LEN).unwrap_or(bytes);
    // The last line feed in the window ends the last whole line.
    let Some(end) = memchr::memrchr(b'\n', window) else {
        let (_, len) = split_line(bytes).unwrap_or((b"", bytes.len()));
        return bytes.get(..len).unwrap_or(bytes);
    };
    let mut run = window.get(..=end).unwrap_or(window);
    // Only the last lines of the run may be something else: the end, or the answers to
    // several prompts.
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
    use crate::engines::source::packed_walk::Walked;
    use crate::engines::source::spool_memory::SpoolMemory;
    use crate::words::item::Exptime;

    fn spool(len_max: usize) -> Spool {
        Spool::new(SpoolMemory::new(len_max), std::env::temp_dir())
    }

    /// Returns the contents of a spool as lines of keys and exptimes.
    fn lines_of(spool: &Spool) -> Vec<u8> {
        spool.close();
        let mut all = String::new();
        while let Some(chunk) = spool.pop(&Cancel::new()).unwrap() {
            let visited = chunk.visit(&mut |walked| {
                match walked {
                    Walked::Item { key, item } => {
                        assert_eq!(item.exptime, Some(Exptime::Never));
                        let key = String::from_utf8_lossy(key);
                        all.push_str(&format!("key={key} exp=-1\n"));
                    }
                    Walked::Broken(line) => all.push_str(&format!("{line:?}")),
                }
                Ok(())
            });
            visited.unwrap();
        }
        all.into_bytes()
    }

    fn collect(stream: &[u8], split: usize) -> Result<(Vec<u8>, bool)> {
        let spool = spool(1 << 20);
        let mut chunks = ChunkWriter::new(&spool, 0, false)?;
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
        assert!(!chunks.finish()?.is_given_up);
        Ok((lines_of(&spool), is_done))
    }

    #[test]
    fn a_walk_is_cut_into_whole_lines_whatever_the_split() {
        let wanted = b"key=a exp=-1\nkey=END exp=-1\nkey=b exp=-1\n";
        let items = b"key=a exp=-1\nkey=END exp=-1\nkey=b exp=-1 \n";
        let ends = [&b"END\r\n"[..], b"VERSION 1.4.31\r\n"];
        for (start, end) in [(&b""[..], ends[0]), (b"OK\r\n", ends[0]), (b"", ends[1])] {
            let stream = [start, items, end].concat();
            for split in 0..=stream.len() {
                assert_eq!(
                    collect(&stream, split).unwrap(),
                    (wanted.to_vec(), true),
                    "{split}"
                );
            }
        }
        assert_eq!(collect(b"END\r\n", 2).unwrap(), (Vec::new(), true));
    }

    /// A server that lists slowly is prompted several times.
    #[test]
    fn the_first_answer_to_a_prompt_ends_a_walk() {
        let items = b"key=a exp=-1\nkey=b exp=-1\n";
        let answer = b"VERSION 1.4.31\r\n";
        let stream = [&items[..], answer, answer, answer].concat();
        let spool = spool(1 << 20);
        let mut chunks = ChunkWriter::new(&spool, 0, false).unwrap();
        let received = chunks.receive(&stream).unwrap();
        assert_eq!(received, Received::Done(items.len() + answer.len()));
        assert_eq!(chunks.finish().unwrap().listed, 2);
        assert_eq!(lines_of(&spool), items);
    }

    #[test]
    fn a_walk_without_room_is_read_to_its_end_and_the_next_one_begins_behind() {
        const KEY_COUNT: u64 = 20_000;
        let line = |number: u64| format!("key={number:0>20} exp=-1\n");
        let items: String = (0..KEY_COUNT).map(line).collect();
        let stream = [items.as_bytes(), b"END\r\n"].concat();
        let memory = SpoolMemory::new(1);
        let mut all = Vec::new();
        let mut taken = 0;
        let mut crawl_count = 0;
        loop {
            // There is room for one chunk.
            let spool = Spool::new(memory.clone(), std::env::temp_dir());
            let mut chunks = ChunkWriter::new(&spool, taken, false).unwrap();
            let received = chunks.receive(&stream).unwrap();
            assert_eq!(received, Received::Done(stream.len()));
            let crawl = chunks.finish().unwrap();
            assert_eq!(crawl.listed, KEY_COUNT);
            assert!(crawl.taken > 0);
            taken += crawl.taken;
            crawl_count += 1;
            all.extend(lines_of(&spool));
            if !crawl.is_given_up {
                break;
            }
        }
        assert_eq!((taken, crawl_count), (KEY_COUNT, 10));
        assert_eq!(all, items.into_bytes());
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
