//! Meta sets of a batch: in quiet mode if that is safe, otherwise with replies; see "Meta
//! Set" in protocol.txt.

use crate::codecs::protocol::key::KeyForm;
use crate::codecs::protocol::reply::{Reply, parse_reply};
use crate::codecs::protocol::request::{
    NOOP, SET_TAIL, SetSyntax, write_mark_stale, write_set_head, write_take_win_token,
};
use crate::codecs::protocol::text::{Step, parse_u64};
use crate::engines::pump::ItemBatch;
use crate::engines::sink::load::sent::{Rules, Sent};
use crate::engines::sink::strategy::KeyProtocol;
use crate::engines::sink::tally::SetOutcome;
use crate::ports::net::{Connection, Pass, Received};
use crate::words::error::{Error, Result};
use crate::words::item::{Attribute, ItemMeta};
use crate::words::units::to_u64;

/// A connection, and the syntax of its sets.
#[derive(Debug)]
pub(super) struct MetaSets<'a> {
    pub(super) connection: &'a mut Connection,
    pub(super) request: &'a mut Vec<u8>,
    pub(super) rules: Rules<'a>,
    pub(super) syntax: SetSyntax,
    /// The batch's pass, which counts what is sent besides one set for each record.
    pub(super) pass: &'a Pass<'a>,
}

impl MetaSets<'_> {
    /// Sends the records that text can carry: first those that may be quiet, as one
    /// batch, then the others with replies.
    pub(super) fn store(&mut self, batch: &ItemBatch, sent: &mut [Sent]) -> Result<()> {
        let by_text =
            |sent: &Sent| sent.is_waiting() && matches!(sent.protocol, KeyProtocol::Text(_));
        let quiet = numbers(sent, |sent| {
            by_text(sent) && !sent.is_chunked && !sent.is_stale
        });
        let is_told = self.store_quietly(batch, sent, &quiet)?;
        if is_told {
            for &at in &quiet {
                // An add of an existing key already has its outcome.
                if let Some(sent) = sent.get_mut(at).filter(|sent| sent.outcome.is_none()) {
                    sent.settle(SetOutcome::Stored);
                }
            }
        } else {
            let unconfirmed = numbers(sent, |sent| {
                by_text(sent) && !sent.is_chunked && !sent.is_stale
            });
            self.pass.count_sent(0, to_u64(unconfirmed.len()));
            // In mode add, *not stored* now means that the quiet batch stored the item:
            // if it had existed before, the batch would have had a reply that said so.
            self.store_with_replies(batch, sent, &unconfirmed, &SetOutcome::Stored)?;
        }
        let unanswered = numbers(sent, by_text);
        self.store_with_replies(batch, sent, &unanswered, &SetOutcome::Existing)
    }

    /// Sends all records as one quiet batch, in which only items that are not stored have
    /// a reply. Returns false if there was an error, since it does not name its record.
    fn store_quietly(
        &mut self,
        batch: &ItemBatch,
        sent: &mut [Sent],
        quiet: &[usize],
    ) -> Result<bool> {
        if quiet.is_empty() {
            return Ok(true);
        }
        self.request.clear();
        for &at in quiet {
            self.write(batch, sent, at, true);
        }
        self.request.extend_from_slice(NOOP);
        let mut is_told = true;
        self.connection.exchange("set", self.request, |bytes| {
            let mut consumed: usize = 0;
            loop {
                let rest = bytes.get(consumed..).unwrap_or_default();
                let (reply, len) = match parse_reply(rest, 0)? {
                    Step::Need => return Ok(Received::More(consumed)),
                    Step::Done(reply, len) => (reply, len),
                };
                consumed = consumed.saturating_add(len);
                match reply {
                    Reply::Noop => return Ok(Received::Done(consumed)),
                    Reply::NotStored(flags) => {
                        let opaque = flags.get(b'O').and_then(parse_u64);
                        let at = opaque.and_then(|opaque| usize::try_from(opaque).ok());
                        let at = at.filter(|at| quiet.binary_search(at).is_ok());
                        let Some(sent) = at.and_then(|at| sent.get_mut(at)) else {
                            return Err(Error::protocol("NS with our opaque", rest));
                        };
                        sent.settle(SetOutcome::Existing);
                    }
                    Reply::Refused(_) => is_told = false,
                    Reply::Value { .. }
                    | Reply::Done(_)
                    | Reply::Miss(_)
                    | Reply::Exists(_)
                    | Reply::NotFound(_) => {
                        return Err(Error::protocol("NS, MN or an error", rest));
                    }
                }
            }
        })?;
        Ok(is_told)
    }

    /// Sends these records; each set has its own reply.
    fn store_with_replies(
        &mut self,
        batch: &ItemBatch,
        sent: &mut [Sent],
        unanswered: &[usize],
        if_not_stored: &SetOutcome,
    ) -> Result<()> {
        if unanswered.is_empty() {
            return Ok(());
        }
        self.request.clear();
        for &at in unanswered {
            self.write(batch, sent, at, false);
        }
        let mut waiting = unanswered.iter().peekable();
        self.connection.exchange("set", self.request, |bytes| {
            let mut consumed: usize = 0;
            while let Some(&&at) = waiting.peek() {
                let rest = bytes.get(consumed..).unwrap_or_default();
                let (reply, len) = match parse_reply(rest, 0)? {
                    Step::Need => return Ok(Received::More(consumed)),
                    Step::Done(reply, len) => (reply, len),
                };
                consumed = consumed.saturating_add(len);
                waiting.next();
                if let Some(sent) = sent.get_mut(at) {
                    let outcome = set_outcome(&reply, rest)?;
                    sent.settle(if outcome == SetOutcome::Existing {
                        if_not_stored.clone()
                    } else {
                        outcome
                    });
                }
            }
            Ok(Received::Done(consumed))
        })
    }

    fn write(&mut self, batch: &ItemBatch, sent: &mut [Sent], at: usize, is_quiet: bool) {
        let Some(sent) = sent.get_mut(at) else { return };
        sent.was_sent = true;
        let (Some(record), KeyProtocol::Text(form)) = (batch.get(sent.index), sent.protocol) else {
            return;
        };
        let fields = self.rules.set_fields(&record.meta, sent, at, is_quiet);
        let value_len = to_u64(record.value.len());
        write_set_head(
            self.syntax,
            record.key,
            form,
            value_len,
            &fields,
            self.request,
        );
        self.request.extend_from_slice(record.value);
        self.request.extend_from_slice(SET_TAIL);
    }

    /// Marks a stored item as stale, and gives it its CAS if the node can.
    pub(super) fn mark(
        &mut self,
        key: &[u8],
        form: KeyForm,
        meta: &ItemMeta,
        protocol: KeyProtocol,
    ) -> Result<SetOutcome> {
        let cas = self.rules.cas_to_restore(meta);
        // An item that a client has stored since must not be marked, so the mark compares
        // the CAS. An item sent by the binary protocol is the exception: its CAS is not
        // known. And nodes that assign their own CAS need no comparison: up to 1.6.12
        // they accept none.
        let compare = cas.filter(|_| protocol != KeyProtocol::Binary);
        self.request.clear();
        write_mark_stale(key, form, compare, cas, self.request);
        let outcome = self.ask(mark_outcome)?;
        if outcome == SetOutcome::Stored && meta.attributes.has(Attribute::WinSent) {
            self.request.clear();
            write_take_win_token(key, form, self.request);
            self.pass.count_sent(1, 0);
            self.ask(|_, _| Ok(()))?;
        }
        Ok(outcome)
    }

    /// Sends the request and reads its one reply.
    fn ask<T>(&mut self, take: impl Fn(&Reply<'_>, &[u8]) -> Result<T>) -> Result<T> {
        let mut taken = None;
        self.connection
            .exchange("set", self.request, |bytes| match parse_reply(bytes, 0)? {
                Step::Need => Ok(Received::More(0)),
                Step::Done(reply, len) => {
                    taken = Some(take(&reply, bytes)?);
                    Ok(Received::Done(len))
                }
            })?;
        taken.ok_or_else(|| Error::internal("an exchange ended without its reply"))
    }
}

/// Returns the indexes of the records that satisfy the predicate, in ascending order.
fn numbers(sent: &[Sent], is_so: impl Fn(&Sent) -> bool) -> Vec<usize> {
    let all = sent.iter().enumerate();
    all.filter_map(|(at, sent)| is_so(sent).then_some(at))
        .collect()
}

/// Maps the reply to a set that is not quiet.
///
/// # Errors
///
/// - `Protocol`: the reply does not belong to this command.
pub(super) fn set_outcome(reply: &Reply<'_>, bytes: &[u8]) -> Result<SetOutcome> {
    match reply {
        Reply::Done(_) => Ok(SetOutcome::Stored),
        Reply::NotStored(_) => Ok(SetOutcome::Existing),
        Reply::Refused(words) => Ok(SetOutcome::of_refusal(words)),
        Reply::Value { .. }
        | Reply::Miss(_)
        | Reply::Exists(_)
        | Reply::NotFound(_)
        | Reply::Noop => Err(Error::protocol("HD, NS or an error", bytes)),
    }
}

/// Maps the reply to a stale mark. A refusal counts as the record's failure, since a
/// stale item must not come back as fresh.
fn mark_outcome(reply: &Reply<'_>, bytes: &[u8]) -> Result<SetOutcome> {
    match reply {
        // The item is gone: a client has changed it, or it was evicted.
        Reply::Done(_) | Reply::Exists(_) | Reply::NotFound(_) => Ok(SetOutcome::Stored),
        Reply::Refused(words) => {
            let words = String::from_utf8_lossy(words);
            Ok(SetOutcome::Failed(format!("stale mark: {words}")))
        }
        Reply::Value { .. } | Reply::Miss(_) | Reply::NotStored(_) | Reply::Noop => {
            Err(Error::protocol("HD, EX or NF", bytes))
        }
    }
}
