//! Classic sets, sent together as a batch and answered one by one; see "Storage commands"
//! in protocol.txt.

use crate::codecs::protocol::classic::{
    StoreReply, has_skipped_value, parse_store, write_classic_set_head,
};
use crate::codecs::protocol::request::SET_TAIL;
use crate::codecs::protocol::text::Step;
use crate::engines::pump::ItemBatch;
use crate::engines::sink::load::sent::{Rules, Sent};
use crate::engines::sink::strategy::KeyProtocol;
use crate::engines::sink::tally::SetOutcome;
use crate::ports::net::{Connection, Received};
use crate::words::error::{Error, Result};
use crate::words::units::to_u64;

/// Sends the records that text can carry. Returns false if the server and this client are
/// out of step: the server did not understand a set, and reads its value as commands.
/// That record has its outcome, and the rest needs another connection.
///
/// # Errors
///
/// - Those of [`Connection::exchange`].
pub(super) fn store(
    connection: &mut Connection,
    request: &mut Vec<u8>,
    rules: Rules<'_>,
    batch: &ItemBatch,
    sent: &mut [Sent],
) -> Result<bool> {
    request.clear();
    let mut waiting = Vec::new();
    for (at, sent) in sent.iter_mut().enumerate() {
        let by_text = sent.is_waiting() && matches!(sent.protocol, KeyProtocol::Text(_));
        let Some(record) = batch.get(sent.index).filter(|_| by_text) else {
            continue;
        };
        let fields = rules.set_fields(&record.meta, sent, at, false);
        write_classic_set_head(record.key, to_u64(record.value.len()), &fields, request);
        request.extend_from_slice(record.value);
        request.extend_from_slice(SET_TAIL);
        sent.was_sent = true;
        waiting.push(at);
    }
    if waiting.is_empty() {
        return Ok(true);
    }
    let mut waiting = waiting.into_iter().peekable();
    let mut is_in_step = true;
    let exchanged = connection.exchange("set", request, |bytes| {
        let mut consumed: usize = 0;
        while let Some(&at) = waiting.peek() {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let (reply, len) = match parse_store(rest)? {
                Step::Need => return Ok(Received::More(consumed)),
                Step::Done(reply, len) => (reply, len),
            };
            consumed = consumed.saturating_add(len);
            waiting.next();
            if let Some(sent) = sent.get_mut(at) {
                sent.settle(outcome_of(reply));
            }
            if let StoreReply::Refused(words) = reply
                && !has_skipped_value(words)
            {
                is_in_step = false;
                return Err(Error::protocol("a set that is understood", rest));
            }
        }
        Ok(Received::Done(consumed))
    });
    if !is_in_step {
        return Ok(false);
    }
    exchanged.map(|()| true)
}

/// Maps a reply to the outcome of its record.
pub(super) fn outcome_of(reply: StoreReply<'_>) -> SetOutcome {
    match reply {
        StoreReply::Stored => SetOutcome::Stored,
        StoreReply::NotStored => SetOutcome::Existing,
        StoreReply::Refused(words) => SetOutcome::of_refusal(words),
    }
}
