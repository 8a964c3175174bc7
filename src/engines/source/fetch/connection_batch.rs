//! Requests and reads one connection's batch, and requests it again after a failure.

use std::time::Duration;

use crate::codecs::protocol::metadump::WalkItem;
use crate::codecs::select::Judgement;
use crate::engines::pump::ItemSink;
use crate::engines::source::fetch::batch::Batch;
use crate::engines::source::fetch::buffering_sink::BufferingSink;
use crate::engines::source::fetch::dialect::{Cursor, write_requests};
use crate::engines::source::fetch::job::FetchJob;
use crate::engines::source::fetch::reply_context::ReplyContext;
use crate::engines::source::fetch::reply_reader::ReplyReader;
use crate::engines::source::fetch::tally::FetchTally;
use crate::engines::source::fetch::win_tokens::HeldTokens;
use crate::engines::source::strategy::KeyProtocol;
use crate::ports::net::{Connection, try_count_max};
use crate::words::error::{ErrorKind, Result};
use crate::words::units::to_u64;

/// The keys to request, and the connection that they are requested over.
#[derive(Debug, Default)]
pub(super) struct ConnectionBatch {
    batch: Batch,
    connection: Option<Connection>,
    /// Win tokens not given back yet. They are kept when the connection breaks.
    held: HeldTokens,
    /// Keys of commands that the server refused as a whole. They are requested one by
    /// one, since the server may have had no memory for a hundred values at once.
    refused_together: Vec<usize>,
    /// Replies without a key number that most likely answer the next keys: a miss, or the
    /// words of a refusal.
    likely: Vec<Option<String>>,
    request: Vec<u8>,
    has_given_up: bool,
}

impl ConnectionBatch {
    const TRY_PAUSE: Duration = Duration::from_millis(200);

    pub(super) fn push(
        &mut self,
        key: &[u8],
        protocol: KeyProtocol,
        walked: WalkItem,
        judgement: Judgement,
    ) {
        self.batch.push(key, protocol, walked, judgement);
    }

    pub(super) fn is_full(&self, job: &FetchJob<'_>) -> bool {
        let (items, bytes) = job.brake.batch_max();
        let options = job.options;
        to_u64(self.batch.len()) >= items.min(to_u64(options.batch_key_count_max))
            || self.batch.bytes >= bytes.min(options.batch_bytes_max)
    }

    /// Requests the batch, reads the replies, and empties the batch.
    pub(super) fn fetch(
        &mut self,
        job: &FetchJob<'_>,
        tally: &mut FetchTally,
        sink: &mut dyn ItemSink,
    ) -> Result<()> {
        let fetched = self.try_fetch(job, tally, sink);
        self.batch.clear();
        self.held.give_up(tally);
        self.refused_together.clear();
        if let Some(connection) = &mut self.connection {
            connection.shrink();
        }
        fetched
    }

    fn try_fetch(
        &mut self,
        job: &FetchJob<'_>,
        tally: &mut FetchTally,
        sink: &mut dyn ItemSink,
    ) -> Result<()> {
        let mut answered = 0;
        let mut try_count = 0;
        while answered < self.batch.len() || !self.held.is_empty() {
            if self.has_given_up {
                self.count_missing(answered, tally);
                return Ok(());
            }
            let before = answered;
            let Err(error) = self.exchange(job, &mut answered, tally, sink) else {
                if self.refused_together.is_empty() {
                    return Ok(());
                }
                self.batch = self.batch.one_by_one(&self.refused_together);
                self.refused_together.clear();
                (answered, try_count) = (0, 0);
                continue;
            };
            // Progress within the batch shows that the node is alive.
            try_count = if answered > before { 1 } else { try_count + 1 };
            self.connection = None;
            // A reply to another key than the next one costs a connection but no item,
            // provided that the protocol proves every miss before it.
            let proves_misses = matches!(
                self.batch.protocol(),
                Some(KeyProtocol::Meta(_) | KeyProtocol::Binary)
            );
            let is_foreign = matches!(error.kind(), ErrorKind::Protocol { .. });
            let is_retryable = error.is_retryable() || (proves_misses && is_foreign);
            if !is_retryable || try_count >= try_count_max(&error) {
                self.has_given_up = true;
                self.count_missing(answered, tally);
                return Err(error);
            }
            tracing::info!("{}; connecting again", error.to_chain());
            tally.reconnects = tally.reconnects.saturating_add(1);
            std::thread::sleep(Self::TRY_PAUSE);
            job.cancel.check()?;
        }
        Ok(())
    }

    fn count_missing(&self, answered: usize, tally: &mut FetchTally) {
        let left = self.batch.len().saturating_sub(answered);
        let missing = to_u64(left.saturating_add(self.refused_together.len()));
        tally.counters.missing = tally.counters.missing.saturating_add(missing);
    }

    /// Requests the keys that are not answered yet and reads the replies in order.
    fn exchange(
        &mut self,
        job: &FetchJob<'_>,
        answered: &mut usize,
        tally: &mut FetchTally,
        sink: &mut dyn ItemSink,
    ) -> Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let connection = Connection::connect(job.node, &job.options.net, job.cancel)?;
                self.connection.insert(connection)
            }
        };
        if *answered >= self.batch.len() {
            // The connection broke after the last answer.
            let pass = job.brake.enter(0, 0, job.cancel)?;
            return self
                .held
                .give_back(connection, &self.batch, job, tally, &pass);
        }
        let left = self.batch.len().saturating_sub(*answered);
        let pass = job
            .brake
            .enter(to_u64(left), self.batch.bytes, job.cancel)?;
        connection.begin_batch(job.brake, pass.paid());
        self.request.clear();
        self.likely.clear();
        write_requests(&self.batch, *answered, &mut self.request);
        let mut sink = BufferingSink::new(sink, job.brake);
        let mut reader = ReplyReader {
            job,
            context: ReplyContext::now(job.server),
            batch: &self.batch,
            cursor: Cursor::at(*answered),
            partial: None,
            arrived: 0,
            held: &mut self.held,
            refused_together: &mut self.refused_together,
            likely: &mut self.likely,
            tally,
            sink: &mut sink,
        };
        let whole_len_max = job.options.whole_value_len_max;
        let receive = |bytes: &[u8]| reader.receive(bytes);
        let exchanged = connection.exchange_values("get", whole_len_max, &self.request, receive);
        reader.abandon_partial();
        *answered = reader.cursor.answered;
        let arrived = reader.arrived;
        let exchanged = exchanged.and_then(|()| {
            self.held
                .give_back(connection, &self.batch, job, tally, &pass)
        });
        if exchanged.is_ok() {
            pass.finish(connection.paid(), arrived);
        } else {
            drop(pass);
        }
        // These items are already counted, so they are passed on in any case.
        sink.flush()?;
        exchanged
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;

    use super::*;
    use crate::codecs::protocol::key::KeyForm;
    use crate::codecs::select::Selection;
    use crate::engines::source::fetch::FetcherOptions;
    use crate::engines::source::strategy::ReadStrategy;
    use crate::ports::net::{Asked, Brake, ServerReport};
    use crate::words::cancel::Cancel;
    use crate::words::item::{ItemMeta, Record};
    use crate::words::node::NodeSpec;

    /// Counts whole items; there are no others.
    #[derive(Default)]
    struct Count(usize);

    impl ItemSink for Count {
        fn item(&mut self, _: &Record<'_>) -> Result<()> {
            self.0 += 1;
            Ok(())
        }

        fn begin_large(&mut self, _: &[u8], _: &ItemMeta, _: u64) -> Result<()> {
            unreachable!("a value of one byte")
        }

        fn piece(&mut self, _: &[u8]) -> Result<()> {
            unreachable!("a value of one byte")
        }

        fn end_large(&mut self) -> Result<()> {
            unreachable!("a value of one byte")
        }

        fn abandon_large(&mut self) {}
    }

    #[test]
    fn what_is_asked_to_give_a_win_token_back_is_counted_as_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let node: NodeSpec = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (mut server, cancel) = (ServerReport::default(), Cancel::new());
        server.settings.has_cas = true;
        let options = FetcherOptions::default();
        let brake = Brake::default().node("a:1", Asked::Gets);
        let job = FetchJob {
            node: &node,
            server: &server,
            strategy: ReadStrategy::OF_META_COMMANDS,
            options: &options,
            selection: &Selection::EVERYTHING,
            seen: None,
            brake: &brake,
            cancel: &cancel,
        };
        let (mut count, mut tally) = (Count::default(), FetchTally::default());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(&stream).lines();
                let replies = [
                    "VA 1 f0 t-1 c5 W O0\r\nx\r\n",
                    "MN\r\n",
                    "HD c5\r\n",
                    "HD\r\n",
                ];
                for reply in replies {
                    lines.next().unwrap().unwrap();
                    (&stream).write_all(reply.as_bytes()).unwrap();
                }
            });
            let mut batch = ConnectionBatch::default();
            let protocol = KeyProtocol::Meta(KeyForm::Text);
            batch.push(b"a", protocol, WalkItem::default(), Judgement::Keep);
            batch.fetch(&job, &mut tally, &mut count).unwrap();
        });
        assert_eq!((count.0, tally.win_tokens_returned), (1, 1));
        assert_eq!(brake.sent().gets, 2);
    }
}
