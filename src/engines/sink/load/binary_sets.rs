//! Binary protocol sets, for records that text cannot carry; see protocol_binary.h.

use crate::codecs::protocol::binary::{
    BinarySetFields, BinaryStoreReply, parse_binary_store, write_binary_set_head,
};
use crate::codecs::protocol::text::Step;
use crate::engines::pump::ItemBatch;
use crate::engines::sink::load::sent::{Rules, Sent};
use crate::engines::sink::strategy::KeyProtocol;
use crate::engines::sink::tally::SetOutcome;
use crate::ports::net::{Connection, Received};
use crate::words::error::Result;
use crate::words::item::ItemMeta;
use crate::words::units::to_u64;

/// Sends the records that need the binary protocol; each set has its own reply.
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
) -> Result<()> {
    request.clear();
    let mut waiting = Vec::new();
    for (at, sent) in sent.iter_mut().enumerate() {
        let is_ours = sent.is_waiting() && sent.protocol == KeyProtocol::Binary;
        let Some(record) = batch.get(sent.index).filter(|_| is_ours) else {
            continue;
        };
        let fields = fields_of(rules, &record.meta, sent, opaque(at));
        write_binary_set_head(record.key, to_u64(record.value.len()), &fields, request);
        request.extend_from_slice(record.value);
        sent.was_sent = true;
        waiting.push(at);
    }
    let mut waiting = waiting.into_iter().peekable();
    connection.exchange("set", request, |bytes| {
        let mut consumed: usize = 0;
        while let Some(&at) = waiting.peek() {
            let rest = bytes.get(consumed..).unwrap_or_default();
            let (reply, len) = match parse_binary_store(rest, rules.mode, opaque(at))? {
                Step::Need => return Ok(Received::More(consumed)),
                Step::Done(reply, len) => (reply, len),
            };
            consumed = consumed.saturating_add(len);
            waiting.next();
            if let Some(sent) = sent.get_mut(at) {
                sent.settle(outcome_of(reply));
            }
        }
        Ok(Received::Done(consumed))
    })
}

fn opaque(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Builds the fields of a set. Records that do not fit them have been refused before.
pub(super) fn fields_of(
    rules: Rules<'_>,
    meta: &ItemMeta,
    sent: &Sent,
    opaque: u32,
) -> BinarySetFields {
    BinarySetFields {
        mode: rules.mode,
        client_flags: u32::try_from(meta.client_flags.unwrap_or(0)).unwrap_or(u32::MAX),
        exptime: u32::try_from(sent.ttl).unwrap_or(u32::MAX),
        opaque,
    }
}

/// Maps a reply to the outcome of its record.
pub(super) fn outcome_of(reply: BinaryStoreReply<'_>) -> SetOutcome {
    match reply {
        BinaryStoreReply::Stored => SetOutcome::Stored,
        BinaryStoreReply::Exists => SetOutcome::Existing,
        BinaryStoreReply::TooLarge => SetOutcome::TooLarge,
        BinaryStoreReply::Refused { status, message } => {
            let words = String::from_utf8_lossy(message);
            SetOutcome::Failed(format!("binary status {status:#x}: {words}"))
        }
    }
}
