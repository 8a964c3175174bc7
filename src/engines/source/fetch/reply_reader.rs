//! Parses the replies to one connection's batch into items.

use crate::codecs::protocol::text::Step;
use crate::codecs::select::{Candidate, Judgement};
use crate::engines::pump::ItemSink;
use crate::engines::source::fetch::batch::Batch;
use crate::engines::source::fetch::dialect::{Cursor, KeyReply, ValueFields, ValueHead};
use crate::engines::source::fetch::job::FetchJob;
use crate::engines::source::fetch::reply_context::ReplyContext;
use crate::engines::source::fetch::tally::FetchTally;
use crate::engines::source::fetch::win_tokens::HeldTokens;
use crate::engines::source::strategy::KeyProtocol;
use crate::ports::net::Received;
use crate::words::error::{Error, Result};
use crate::words::item::{ItemMeta, Record, escape_key};
use crate::words::limits::check_limit;
use crate::words::units::to_u64;

/// The reason recorded for a value that is refused.
pub const TOO_LONG: &str = "a value longer than 1 GiB";

/// The longest value that is read and discarded to reach what follows it. No memcached
/// stores a longer value, so a peer that announces one is not memcached.
const SKIPPED_LEN_MAX: u64 = 2 << 30;

/// A large value that arrives in pieces and has not arrived completely.
#[derive(Clone, Copy, Debug)]
pub(super) struct PartialValue {
    left: u64,
    trailer_left: usize,
    /// Whether the pieces are passed on; otherwise they are discarded.
    is_wanted: bool,
    item: Item,
}

/// What is counted for an item once all of it has been passed on.
#[derive(Clone, Copy, Debug)]
struct Item {
    /// Length of key and value.
    len: u64,
    /// Whether the server's answer does not decide if the item is selected.
    is_unknown: bool,
}

/// Parses replies into items.
pub(super) struct ReplyReader<'a> {
    pub(super) job: &'a FetchJob<'a>,
    pub(super) context: ReplyContext<'a>,
    pub(super) batch: &'a Batch,
    pub(super) cursor: Cursor,
    pub(super) partial: Option<PartialValue>,
    /// Bytes of keys and values that have arrived. Items that are then filtered out or
    /// refused count too, since the server had to send them.
    pub(super) arrived: u64,
    pub(super) held: &'a mut HeldTokens,
    pub(super) refused_together: &'a mut Vec<usize>,
    pub(super) likely: &'a mut Vec<Option<String>>,
    pub(super) tally: &'a mut FetchTally,
    pub(super) sink: &'a mut dyn ItemSink,
}

impl ReplyReader<'_> {
    /// Takes replies from the front of what was received.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<Received> {
        self.context.server_now = ReplyContext::now(self.job.server).server_now;
        let mut consumed: usize = 0;
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            if let Some(partial) = self.partial {
                let len = self.take_piece(partial, rest)?;
                consumed = consumed.saturating_add(len);
                if self.partial.is_some() {
                    return Ok(Received::More(consumed));
                }
                continue;
            }
            if self.cursor.is_done(self.batch) {
                return Ok(Received::Done(consumed));
            }
            match self.take_reply(rest)? {
                Step::Need => return Ok(Received::More(consumed)),
                Step::Done((), len) => consumed = consumed.saturating_add(len),
            }
        }
    }

    /// Gives up a value of which no more will arrive.
    pub(super) fn abandon_partial(&mut self) {
        if self.partial.is_some_and(|partial| partial.is_wanted) {
            self.sink.abandon_large();
        }
    }

    /// Reads one reply, or for a large value the part before the value.
    fn take_reply(&mut self, bytes: &[u8]) -> Result<Step<()>> {
        let cursor = self.cursor;
        let (head, head_len) = match self.cursor.parse(self.batch, bytes)? {
            Step::Need => return Ok(Step::Need),
            Step::Done(head, len) => (head, len),
        };
        match head {
            KeyReply::Missed(count) => {
                self.count_likely();
                self.count_missed(count);
            }
            KeyReply::Refused { count, words } => self.count_refused(count, words),
            KeyReply::Likely(words) => {
                let words = words.map(|words| String::from_utf8_lossy(words).into_owned());
                self.likely.push(words);
            }
            KeyReply::End => self.count_likely(),
            KeyReply::Value { missed, value } => {
                let after = bytes.get(head_len..).unwrap_or_default();
                let taken = self.take_value(missed, &value, after)?;
                let Step::Done((), value_len) = taken else {
                    // The head is parsed again once the value has arrived.
                    self.cursor = cursor;
                    return Ok(Step::Need);
                };
                return Ok(Step::Done((), head_len.saturating_add(value_len)));
            }
        }
        Ok(Step::Done((), head_len))
    }

    fn take_value(
        &mut self,
        missed: usize,
        head: &ValueHead<'_>,
        bytes: &[u8],
    ) -> Result<Step<()>> {
        let options = self.job.options;
        if head.value_len > SKIPPED_LEN_MAX {
            check_limit("value length", head.value_len, SKIPPED_LEN_MAX)?;
        }
        let answered = self.cursor.answered.saturating_add(self.likely.len());
        let index = answered.saturating_add(missed);
        let is_too_long = head.value_len > options.value_len_max;
        let is_whole = head.value_len <= options.whole_value_len_max;
        // A whole value is taken only once it is complete, so that no state is half
        // updated.
        let mut taken_len = 0;
        let mut value: &[u8] = &[];
        if is_whole {
            let len = usize::try_from(head.value_len).unwrap_or(usize::MAX);
            taken_len = len.saturating_add(head.trailer_len);
            let Some(data) = bytes.get(..taken_len) else {
                return Ok(Step::Need);
            };
            check_trailer(data.get(len..).unwrap_or_default())?;
            value = data.get(..len).unwrap_or_default();
        }
        self.count_likely();
        self.count_missed(missed);
        let key = self.batch.key(index);
        let meta = self.context.meta(&self.batch.walked(index), head.fields)?;
        self.note_win_token(index, head.fields, &meta);
        let judgement = self.judge(index, key, head.value_len, &meta);
        let item = Item {
            len: to_u64(key.len()).saturating_add(head.value_len),
            is_unknown: judgement == Judgement::Unknown,
        };
        self.arrived = self.arrived.saturating_add(item.len);
        if !judgement.keeps() {
            self.tally.filter();
            self.cursor.answered = index.saturating_add(1);
            if is_whole {
                return Ok(Step::Done((), taken_len));
            }
            self.partial = Some(PartialValue {
                left: head.value_len,
                trailer_left: head.trailer_len,
                is_wanted: false,
                item,
            });
            return Ok(Step::Done((), 0));
        }
        if !is_whole {
            self.partial = Some(PartialValue {
                left: head.value_len,
                trailer_left: head.trailer_len,
                is_wanted: !is_too_long,
                item,
            });
            if is_too_long {
                self.tally.refuse(TOO_LONG);
                self.cursor.answered = index.saturating_add(1);
            } else {
                self.sink.begin_large(key, &meta, head.value_len)?;
            }
            return Ok(Step::Done((), 0));
        }
        // Counted before it is passed on, since the writer counts what it receives.
        self.count_delivered(index, item);
        self.tally.witness(key, meta.cas);
        self.sink.item(&Record { key, value, meta })?;
        Ok(Step::Done((), taken_len))
    }

    /// Passes on the part of a large value that has arrived; returns its length in bytes.
    fn take_piece(&mut self, partial: PartialValue, bytes: &[u8]) -> Result<usize> {
        let want = usize::try_from(partial.left).unwrap_or(usize::MAX);
        let piece = bytes.get(..want).unwrap_or(bytes);
        let mut left = partial.left.saturating_sub(to_u64(piece.len()));
        let mut taken = piece.len();
        if partial.is_wanted && !piece.is_empty() {
            self.sink.piece(piece)?;
        }
        if left == 0 {
            let after = bytes.get(taken..).unwrap_or_default();
            if let Some(trailer) = after.get(..partial.trailer_left) {
                check_trailer(trailer)?;
                taken = taken.saturating_add(trailer.len());
                self.partial = None;
                if partial.is_wanted {
                    self.count_delivered(self.cursor.answered, partial.item);
                    self.sink.end_large()?;
                }
                return Ok(taken);
            }
            left = 0;
        }
        self.partial = Some(PartialValue { left, ..partial });
        Ok(taken)
    }

    /// Counts a complete item. One whose value breaks off is requested again.
    fn count_delivered(&mut self, index: usize, item: Item) {
        let tally = &mut *self.tally;
        tally.delivered = tally.delivered.saturating_add(1);
        tally.delivered_bytes = tally.delivered_bytes.saturating_add(item.len);
        let unknown = u64::from(item.is_unknown);
        tally.unknown_kept = tally.unknown_kept.saturating_add(unknown);
        self.cursor.answered = index.saturating_add(1);
    }

    /// Counts the likely replies, which are now proven to answer the next keys.
    fn count_likely(&mut self) {
        for words in std::mem::take(self.likely) {
            match words {
                None => self.count_missed(1),
                Some(words) => self.count_refused(1, words.as_bytes()),
            }
        }
        self.cursor.likely = 0;
    }

    /// Counts keys without a value; the next key with a value may follow several of them.
    fn count_missed(&mut self, count: usize) {
        for _ in 0..count {
            let walked = self.batch.walked(self.cursor.answered);
            let counters = &mut self.tally.counters;
            if self.context.has_expired(&walked) {
                counters.expired = counters.expired.saturating_add(1);
            } else {
                counters.vanished = counters.vanished.saturating_add(1);
            }
            self.cursor.answered = self.cursor.answered.saturating_add(1);
        }
    }

    fn count_refused(&mut self, count: usize, words: &[u8]) {
        if count > 1 && self.batch.command_key_count > 1 {
            let end = self.cursor.answered.saturating_add(count);
            self.refused_together.extend(self.cursor.answered..end);
            self.cursor.answered = end;
            return;
        }
        let words = String::from_utf8_lossy(words);
        for _ in 0..count {
            let key = self.batch.key(self.cursor.answered);
            tracing::debug!(key = escape_key(key), %words, "read failed");
            self.tally.counters.failed = self.tally.counters.failed.saturating_add(1);
            self.tally.reasons.add(&words);
            self.cursor.answered = self.cursor.answered.saturating_add(1);
        }
    }

    /// Judges an item that its walk line left undecided, now that everything that can be
    /// known is known. An item that is still undecided is kept.
    fn judge(&self, index: usize, key: &[u8], value_len: u64, meta: &ItemMeta) -> Judgement {
        if !self.batch.is_undecided(index) {
            return Judgement::Keep;
        }
        let candidate = Candidate::new(key, Some(value_len), meta, self.context.host_now);
        self.job.selection.judge(&candidate)
    }

    /// Remembers the win token that came with a value, so that it can be given back.
    fn note_win_token(&mut self, index: usize, fields: ValueFields<'_>, meta: &ItemMeta) {
        let ValueFields::Meta(flags) = fields else {
            return;
        };
        if let KeyProtocol::Meta(form) = self.batch.protocol_of(index)
            && flags.has(b'W')
        {
            self.held.hold(index, form, meta.cas);
        }
    }
}

fn check_trailer(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() || bytes == b"\r\n" {
        return Ok(());
    }
    Err(Error::protocol("CRLF after a value", bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codecs::protocol::key::KeyForm;
    use crate::codecs::protocol::metadump::WalkItem;
    use crate::codecs::select::Selection;
    use crate::engines::source::fetch::FetcherOptions;
    use crate::engines::source::strategy::ReadStrategy;
    use crate::ports::net::{Asked, Brake, ServerReport};
    use crate::words::cancel::Cancel;
    use crate::words::node::NodeSpec;
    use crate::words::units::UnixSecs;

    const CLASSIC: KeyProtocol = KeyProtocol::Classic { with_cas: true };

    /// Records what it is given.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Notes(Vec<String>);

    impl ItemSink for Notes {
        fn item(&mut self, record: &Record<'_>) -> Result<()> {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            let flags = record.meta.client_flags.unwrap_or(0);
            let note = format!("{}={} f{flags}", text(record.key), text(record.value));
            self.0.push(note);
            Ok(())
        }

        fn begin_large(&mut self, key: &[u8], _: &ItemMeta, value_len: u64) -> Result<()> {
            let key = String::from_utf8_lossy(key);
            self.0.push(format!("{key} of {value_len}: "));
            Ok(())
        }

        fn piece(&mut self, bytes: &[u8]) -> Result<()> {
            let last = self.0.last_mut().unwrap();
            last.push_str(&String::from_utf8_lossy(bytes));
            Ok(())
        }

        fn end_large(&mut self) -> Result<()> {
            self.0.last_mut().unwrap().push('.');
            Ok(())
        }

        fn abandon_large(&mut self) {
            self.0.last_mut().unwrap().push('!');
        }
    }

    /// Feeds a transcript of replies in two parts; returns the notes, the counters, and
    /// whether every key was answered.
    fn read(
        protocol: KeyProtocol,
        keys: &[&str],
        stream: &[u8],
        split: usize,
    ) -> Result<(Notes, FetchTally, bool)> {
        let all = (&Selection::EVERYTHING, Judgement::Keep);
        read_selected(protocol, keys, stream, split, all)
    }

    /// As [`read`], with a selection and its judgement of the walk lines.
    fn read_selected(
        protocol: KeyProtocol,
        keys: &[&str],
        stream: &[u8],
        split: usize,
        (selection, judgement): (&Selection, Judgement),
    ) -> Result<(Notes, FetchTally, bool)> {
        let node: NodeSpec = "a:1".parse().unwrap();
        let server = ServerReport::default();
        let cancel = Cancel::new();
        let options = FetcherOptions {
            whole_value_len_max: 6,
            value_len_max: 20,
            ..FetcherOptions::default()
        };
        let strategy = ReadStrategy::OF_META_COMMANDS;
        let job = FetchJob {
            node: &node,
            server: &server,
            strategy,
            options: &options,
            selection,
            seen: None,
            brake: &Brake::full_speed().node("a:1", Asked::Gets),
            cancel: &cancel,
        };
        let mut batch = Batch::default();
        for key in keys {
            batch.push(key.as_bytes(), protocol, WalkItem::default(), judgement);
        }
        let (mut notes, mut tally) = (Notes::default(), FetchTally::default());
        let (mut held, mut refused_together, mut likely) =
            (HeldTokens::default(), Vec::new(), Vec::new());
        let mut reader = ReplyReader {
            job: &job,
            context: ReplyContext {
                server: &server,
                host_now: UnixSecs(1000),
                asked_at: UnixSecs(1000),
                server_now: UnixSecs(1000),
            },
            batch: &batch,
            cursor: Cursor::at(0),
            partial: None,
            arrived: 0,
            held: &mut held,
            refused_together: &mut refused_together,
            likely: &mut likely,
            tally: &mut tally,
            sink: &mut notes,
        };
        let mut start = 0;
        let mut is_done = false;
        for end in [split, stream.len()] {
            match reader.receive(&stream[start..end])? {
                Received::More(len) => start += len,
                Received::Done(len) => {
                    start += len;
                    is_done = true;
                    break;
                }
            }
        }
        assert!(!is_done || start == stream.len());
        Ok((notes, tally, is_done))
    }

    fn binary_reply(index: u32, status: u16, flags: Option<u32>, body: &[u8]) -> Vec<u8> {
        let extras = flags.map(u32::to_be_bytes);
        let extras = extras.as_ref().map_or(&[][..], |extras| &extras[..]);
        let mut bytes = vec![0x81, 0, 0, 0, u8::try_from(extras.len()).unwrap(), 0];
        bytes.extend_from_slice(&status.to_be_bytes());
        let len = u32::try_from(extras.len() + body.len()).unwrap();
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&index.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(extras);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn replies_of_each_kind_are_read_whatever_the_split() {
        let meta = b"VA 1 f7 t-1 c5 O0\r\nx\r\nEN\r\nVA 10 f8 t-1 c6 O2\r\n0123456789\r\n\
            SERVER_ERROR out of memory\r\nVA 21 f9 t-1 c7 O4\r\n012345678901234567890\r\n\
            VA 6 f0 t-1 c8 O5\r\n\r\nEN\r\n\r\nMN\r\n";
        let classic = b"VALUE a 7 1 5\r\nx\r\nVALUE c 8 10 6\r\n0123456789\r\n\
            VALUE e 9 21 7\r\n012345678901234567890\r\nVALUE f 0 6 8\r\n\r\nEN\r\n\r\nEND\r\n";
        let binary = [
            binary_reply(0, 0, Some(7), b"x"),
            binary_reply(1, 1, None, b"Not found"),
            binary_reply(2, 0, Some(8), b"0123456789"),
            binary_reply(3, 0x82, None, b"Out of memory"),
            binary_reply(4, 0, Some(9), b"012345678901234567890"),
            binary_reply(5, 0, Some(0), b"\r\nEN\r\n"),
        ]
        .concat();
        let keys = ["a", "b", "c", "d", "e", "f"];
        let wanted = ["a=x f7", "c of 10: 0123456789.", "f=\r\nEN\r\n f0"];
        for (protocol, stream, vanished, failed) in [
            (KeyProtocol::Meta(KeyForm::Text), &meta[..], 1, 1),
            (CLASSIC, &classic[..], 2, 0),
            (KeyProtocol::Binary, &binary[..], 1, 1),
        ] {
            for split in 0..=stream.len() {
                let (notes, tally, is_done) = read(protocol, &keys, stream, split).unwrap();
                assert!(is_done, "{protocol:?} split at {split}");
                assert_eq!(notes.0, wanted, "{protocol:?} split at {split}");
                // Three keys of one byte, values of 1, 10 and 6.
                assert_eq!((tally.delivered, tally.delivered_bytes), (3, 3 + 17));
                let counters = tally.counters;
                assert_eq!((counters.vanished, counters.failed), (vanished, failed));
                // Longer than this test allows.
                assert_eq!(counters.refused, 1);
            }
        }
    }

    #[test]
    fn a_value_that_breaks_off_is_neither_delivered_nor_answered() {
        let stream = b"VA 10 f8 t-1 c6 O0\r\n01234";
        let (notes, tally, is_done) =
            read(KeyProtocol::Meta(KeyForm::Text), &["c"], stream, 23).unwrap();
        assert!(!is_done);
        assert_eq!(
            (notes.0, tally.delivered),
            (vec!["c of 10: 01234".to_owned()], 0)
        );
    }

    #[test]
    fn what_is_kept_unknown_is_counted_when_it_is_whole() {
        let selection = Selection::parse("idle>1h").unwrap();
        let protocol = CLASSIC;
        let read = |stream: &[u8]| {
            let asked = (&selection, Judgement::Unknown);
            let (_, tally, is_done) = read_selected(protocol, &["c"], stream, 9, asked).unwrap();
            (tally.unknown_kept, tally.delivered_bytes, is_done)
        };
        assert_eq!(
            read(b"VALUE c 8 10 6\r\n0123456789\r\nEND\r\n"),
            (1, 11, true)
        );
        // The value breaks off, so it is requested again.
        assert_eq!(read(b"VALUE c 8 10 6\r\n01234"), (0, 0, false));
        assert_eq!(read(b"VALUE c 8 1 6\r\n0\r\nEND\r\n"), (1, 2, true));
        // Longer than this test allows: refused, not kept.
        let long = b"VALUE c 8 21 6\r\n012345678901234567890\r\nEND\r\n";
        assert_eq!(read(long), (0, 0, true));
    }

    #[test]
    fn a_reply_that_nobody_asked_for_ends_the_exchange() {
        for (protocol, stream) in [
            (CLASSIC, &b"VALUE z 0 1 1\r\nx\r\nEND\r\n"[..]),
            // Out of order.
            (CLASSIC, b"VALUE b 0 1 1\r\nx\r\nVALUE a 0 1 1\r\nx\r\n"),
            (KeyProtocol::Meta(KeyForm::Text), b"HD\r\n"),
            (
                KeyProtocol::Meta(KeyForm::Text),
                b"VA 1 f0 t-1 c1 O0\r\nxyz",
            ),
            (
                KeyProtocol::Meta(KeyForm::Text),
                b"VA 99999999999 f0 t-1 c1 O0\r\n",
            ),
            (KeyProtocol::Binary, b"ERROR\r\n"),
        ] {
            let read = read(protocol, &["a", "b"], stream, 0);
            assert!(read.is_err(), "{protocol:?} {stream:?}");
        }
    }

    #[test]
    fn a_reply_that_is_lost_or_comes_twice_answers_no_other_key() {
        let keys = ["a", "b", "c", "d"];
        let value = |index: u32| format!("VA 1 f{index} t-1 c5 O{index}\r\nx\r\n");
        let miss = "EN\r\n".to_owned();
        let miss_of = |index: u32| format!("EN O{index}\r\n");
        let end = "MN\r\n".to_owned();
        let read = |replies: &[String]| {
            let stream = replies.concat();
            (0..=stream.len())
                .map(|split| {
                    read(
                        KeyProtocol::Meta(KeyForm::Text),
                        &keys,
                        stream.as_bytes(),
                        split,
                    )
                })
                .map(|read| {
                    read.map(|(notes, tally, _)| (notes.0, tally.counters.vanished))
                        .ok()
                })
                .collect::<Vec<_>>()
        };
        let whole = [value(0), miss.clone(), value(2), miss_of(3), end.clone()];
        let wanted = (vec!["a=x f0".to_owned(), "c=x f2".to_owned()], 2);
        assert!(
            read(&whole)
                .iter()
                .all(|read| *read == Some(wanted.clone()))
        );
        // A reply may be lost or doubled anywhere, and the stream cut anywhere.
        for at in 0..4 {
            let mut lost = whole.to_vec();
            lost.remove(at);
            let mut twice = whole.to_vec();
            twice.insert(at, whole[at].clone());
            for replies in [lost, twice] {
                assert!(read(&replies).iter().all(Option::is_none), "{replies:?}");
            }
        }
        // A miss before 1.6.18 names no key, so it counts only once the end has come.
        let misses = [miss.clone(), miss.clone(), miss.clone(), miss.clone()];
        assert_eq!(read(&misses)[0], Some((Vec::new(), 0)));
        assert_eq!(read(&[misses.concat(), end])[0], Some((Vec::new(), 4)));
        // The key number is missing where it is required.
        assert_eq!(read(&["VA 1 f0 t-1 c5\r\nx\r\n".to_owned()])[0], None);
    }

    #[test]
    fn a_long_list_of_keys_is_many_commands() {
        let keys: Vec<String> = (0..250).map(|number| format!("k{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let stream = b"VALUE k99 0 1 1\r\nx\r\nEND\r\nEND\r\nVALUE k200 0 1 1\r\ny\r\nEND\r\n";
        for split in 0..stream.len() {
            let (notes, tally, is_done) = read(CLASSIC, &keys, stream, split).unwrap();
            assert!(is_done);
            assert_eq!(notes.0, ["k99=x f0", "k200=y f0"]);
            assert_eq!(tally.counters.vanished, 248);
        }
        // A hundred keys that were refused together are requested again.
        let (_, tally, _) = read(CLASSIC, &keys, b"SERVER_ERROR x\r\n", 0).unwrap();
        assert_eq!(tally.counters.failed, 0);
    }
}
