//! Walks by `stats cachedump`: several slab classes at a time, each as far as the server
//! lists it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::codecs::protocol::cachedump::{ListingLine, classify_listing, ends_item, parse_listed};
use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::protocol::reply::{check_connection, is_refusal};
use crate::codecs::protocol::request::{VERSION, cachedump};
use crate::codecs::protocol::text::{Step, parse_line};
use crate::engines::source::spool::{LineForm, Spool};
use crate::engines::source::walk::chunk_packer::ChunkPacker;
use crate::engines::source::walk::job::Walk;
use crate::ports::net::{Connection, Received};
use crate::ports::threads::side_by_side;
use crate::words::cancel::Cancel;
use crate::words::error::{Error, ErrorKind, Result};
use crate::words::item::Exptime;
use crate::words::units::UnixSecs;

/// How many classes are listed at a time. The server holds the lock of a class's list
/// while it writes up to 2 MiB of keys, so more would hurt its clients.
const CLASS_COUNT_AT_ONCE: usize = 4;

/// A prefix that no line of a listing has. It marks an item whose key is unknown.
const BROKEN: &[u8] = b"broken ";

impl Walk<'_> {
    /// Lists every class.
    pub(super) fn list_all_classes(&self) -> Result<()> {
        self.list_classes(None)
    }

    /// Lists the newest items of every class: those of its COLD list.
    pub(super) fn list_newest(&self) -> Result<()> {
        /// A crawl leaves out the newest item; the next one may become the newest.
        const ITEM_COUNT: u64 = 2;
        self.list_classes(Some(ITEM_COUNT))
    }

    fn list_classes(&self, item_count_max: Option<u64>) -> Result<()> {
        let classes = self.slab_item_counts()?;
        let worker_count = classes.len().min(CLASS_COUNT_AT_ONCE);
        let queue: Mutex<VecDeque<u8>> = Mutex::new(classes.into_keys().collect());
        let next = || {
            queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
        };
        let list = |()| {
            let mut connection: Option<Connection> = None;
            while let Some(class) = next() {
                self.retry_when_full(|| {
                    let mut connected = match connection.take() {
                        Some(connected) => connected,
                        None => self.connect()?,
                    };
                    let request = cachedump(class, item_count_max);
                    let (spool, cancel) = (self.spool, self.cancel);
                    list_class(&mut connected, class, &request, spool, cancel)?;
                    connection = Some(connected);
                    Ok(())
                })?;
            }
            Ok(())
        };
        let workers = vec![(); worker_count];
        let listed = side_by_side("list", workers, worker_count, self.cancel, list)?;
        // The spool returns the cause of a full disk to one worker only.
        let errors = listed.into_iter().filter_map(Result::err);
        Error::first_cause(errors).map_or(Ok(()), Err)
    }
}

/// Lists one class.
///
/// The server writes all of it into memory of its own, up to 2 MiB, before it sends the
/// first byte (`item_cachedump`), and holds no lock while it sends. So this may wait for
/// room in the spool.
fn list_class(
    connection: &mut Connection,
    class: u8,
    request: &[u8],
    spool: &Spool,
    cancel: &Cancel,
) -> Result<()> {
    let mut listing = Listing::new(class, spool, cancel)?;
    // A key that contains a line end can produce a line that looks like the end of the
    // listing. The answer to another command cannot come before the real end.
    let request = [request, VERSION].concat();
    connection.exchange("listing", &request, |bytes| listing.receive(bytes))?;
    listing.flush()?;
    tracing::debug!(class, count = listing.count, "listed a slab class");
    Ok(())
}

/// Cuts a listing into chunks of whole lines.
struct Listing<'a> {
    packer: ChunkPacker,
    count: u64,
    /// What has arrived of an item whose line ended within its key.
    broken: Option<Vec<u8>>,
    has_end: bool,
    spool: &'a Spool,
    cancel: &'a Cancel,
}

impl<'a> Listing<'a> {
    fn new(class: u8, spool: &'a Spool, cancel: &'a Cancel) -> Result<Self> {
        Ok(Self {
            packer: ChunkPacker::new(LineForm::Cachedump { class })?,
            count: 0,
            broken: None,
            has_end: false,
            spool,
            cancel,
        })
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<Received> {
        let mut consumed: usize = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let Step::Done(line, len) = parse_line(rest, "a line of a listing")? else {
                return Ok(Received::More(consumed));
            };
            consumed = consumed.saturating_add(len);
            if self.broken.is_some() && self.take_broken(line)? {
                continue;
            }
            match classify_listing(line) {
                ListingLine::Item => {
                    self.count = self.count.saturating_add(1);
                    if ends_item(line) {
                        self.push(line)?;
                    } else {
                        self.broken = Some([BROKEN, line].concat());
                    }
                }
                ListingLine::End => self.has_end = true,
                ListingLine::Refused(words) if self.has_end && words.starts_with(b"VERSION ") => {
                    return Ok(Received::Done(consumed));
                }
                ListingLine::Refused(words) if is_refusal(words) => {
                    check_connection(words)?;
                    let words = String::from_utf8_lossy(words).into_owned();
                    return Err(Error::new(ErrorKind::Server { words }));
                }
                ListingLine::Refused(words) if self.count > 0 => self.push(words)?,
                ListingLine::Refused(words) => {
                    return Err(Error::protocol("a line of a listing", words));
                }
            }
        }
    }

    /// Takes a line after one that ended within a key; returns whether it is part of the
    /// key. Every line is, except the answer that comes after the listing.
    ///
    /// The fetcher counts the whole key as one line that cannot be parsed.
    fn take_broken(&mut self, line: &[u8]) -> Result<bool> {
        /// A key of 250 line ends makes that many lines.
        const LEN_MAX: usize = 4096;
        if self.has_end && line.starts_with(b"VERSION ") && !ends_item(line) {
            let broken = self.broken.take().unwrap_or_default();
            self.push(&broken)?;
            return Ok(false);
        }
        // It may still be part of the key.
        self.has_end = line == b"END";
        let broken = self.broken.get_or_insert_default();
        if broken.len().saturating_add(line.len()) <= LEN_MAX {
            broken.push(b'\r');
            broken.extend_from_slice(line);
        }
        if ends_item(line) {
            let broken = self.broken.take().unwrap_or_default();
            self.push(&broken)?;
        }
        Ok(true)
    }

    fn push(&mut self, line: &[u8]) -> Result<()> {
        match parse_listed(line) {
            Some(listed) => {
                let item = WalkItem {
                    // The meaning of the number depends on the server; see `LineForm`.
                    exptime: Some(Exptime::At(UnixSecs(listed.exptime))),
                    class: self.packer.class(),
                    value_len: Some(listed.value_len),
                    ..WalkItem::default()
                };
                self.packer.push(listed.key, &item, line.len());
            }
            None => self.packer.push_broken(line),
        }
        if self.packer.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let Some((chunk, _)) = self.packer.finish()? else {
            return Ok(());
        };
        self.spool.push_when_room(&chunk, self.cancel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::source::packed_walk::Walked;
    use crate::engines::source::spool_memory::SpoolMemory;

    /// Feeds a transcript in two parts; returns the lines, how many items they are, and
    /// whether the end was seen.
    fn read(stream: &[u8], split: usize) -> Result<(Vec<u8>, u64, bool)> {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::new(SpoolMemory::new(1 << 20), directory.path().to_owned());
        let cancel = Cancel::new();
        let mut listing = Listing::new(7, &spool, &cancel)?;
        let mut start = 0;
        let mut is_done = false;
        for end in [split, stream.len()] {
            match listing.receive(&stream[start..end])? {
                Received::More(len) => start += len,
                Received::Done(len) => {
                    assert_eq!(start + len, stream.len());
                    is_done = true;
                    break;
                }
            }
        }
        listing.flush()?;
        spool.close();
        let mut lines = Vec::new();
        while let Some(chunk) = spool.pop(&cancel)? {
            assert_eq!(chunk.form, LineForm::Cachedump { class: 7 });
            chunk.visit(&mut |walked| {
                lines.extend(text_of(&walked));
                Ok(())
            })?;
        }
        Ok((lines, listing.count, is_done))
    }

    /// Formats an item as the server listed it.
    fn text_of(walked: &Walked<'_>) -> Vec<u8> {
        match walked {
            Walked::Broken(line) => [line, &b"\n"[..]].concat(),
            Walked::Item { key, item } => {
                let Some(Exptime::At(UnixSecs(exptime))) = item.exptime else {
                    panic!("{item:?}");
                };
                assert_eq!(item.class, Some(7));
                let tail = format!(" [{} b; {exptime} s]\n", item.value_len.unwrap());
                [b"ITEM ", *key, tail.as_bytes()].concat()
            }
        }
    }

    #[test]
    fn a_listing_is_read_whatever_the_split() {
        for (stream, lines, count) in [
            (&b"END\r\nVERSION 1.4.13\r\n"[..], &b""[..], 0),
            (
                b"ITEM a [3 b; 0 s]\r\nITEM b c [0 b; 9 s]\r\nEND\r\nVERSION 1.4.13\r\n",
                b"ITEM a [3 b; 0 s]\nITEM b c [0 b; 9 s]\n",
                2,
            ),
            // Keys with line ends in them: "a\r\n\r\nb" and "x\r\nEND\r\nVERSION".
            (
                b"ITEM a\r\n\r\nb [3 b; 0 s]\r\nITEM x\r\nEND\r\nVERSION [3 b; 0 s]\r\nEND\r\nVERSION 1\r\n",
                b"broken ITEM a\r\rb [3 b; 0 s]\nbroken ITEM x\rEND\rVERSION [3 b; 0 s]\n",
                2,
            ),
            (
                b"ITEM x\r\nEND\r\ny [3 b; 0 s]\r\nITEM z [3 b; 0 s]\r\nEND\r\nVERSION 1\r\n",
                b"broken ITEM x\rEND\ry [3 b; 0 s]\nITEM z [3 b; 0 s]\n",
                2,
            ),
            // The key "a\r\nITEM z", and one that looks exactly like the end of a
            // listing.
            (
                b"ITEM a\r\nITEM z [3 b; 0 s]\r\nITEM x\r\nERROR\r\nEND [3 b; 0 s]\r\nEND\r\nVERSION 1\r\n",
                b"broken ITEM a\rITEM z [3 b; 0 s]\nbroken ITEM x\rERROR\rEND [3 b; 0 s]\n",
                2,
            ),
            // Truncated, which no server does.
            (
                b"ITEM a\r\nEND\r\nVERSION 1\r\n",
                b"broken ITEM a\rEND\n",
                1,
            ),
        ] {
            for split in 0..=stream.len() {
                let read = read(stream, split).unwrap();
                assert_eq!(read, (lines.to_vec(), count, true), "split at {split}");
            }
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_servers_words() {
        let refused = b"CLIENT_ERROR stats cachedump not allowed\r\n";
        let error = read(refused, 4).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server answered: CLIENT_ERROR stats cachedump not allowed"
        );
        assert!(read(b"HTTP/1.1 400 Bad Request\r\n", 4).is_err());
        let full = read(b"ERROR Too many open connections\r\n", 4).unwrap_err();
        assert_eq!(*full.kind(), ErrorKind::TooManyConnections);
    }

    #[test]
    fn a_long_listing_is_many_chunks_of_whole_lines() {
        let mut stream: Vec<u8> = (0..20_000)
            .flat_map(|number| format!("ITEM key:{number} [3 b; 0 s]\r\n").into_bytes())
            .collect();
        let lines = String::from_utf8(stream.clone()).unwrap().replace('\r', "");
        stream.extend_from_slice(b"END\r\nVERSION 1.4.13\r\n");
        let (read, count, is_done) = read(&stream, 100_001).unwrap();
        assert!(is_done && read == lines.into_bytes());
        assert_eq!(count, 20_000);
    }
}
