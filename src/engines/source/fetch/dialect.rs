//! Requests for a batch of keys and the heads of their replies, in each of the three
//! protocols.

use crate::codecs::protocol::binary::{BinaryHead, parse_binary_get, write_binary_get};
use crate::codecs::protocol::classic::{
    GetsHead, end_gets, foreign_key, parse_gets, start_gets, write_gets_key,
};
use crate::codecs::protocol::reply::{Reply, ReplyFlags, ReplyHead, parse_reply_head};
use crate::codecs::protocol::request::{NOOP, write_get};
use crate::codecs::protocol::text::{Step, parse_u64};
use crate::engines::source::fetch::batch::Batch;
use crate::engines::source::strategy::KeyProtocol;
use crate::words::error::{Error, Result};
use crate::words::units::to_u64;

/// The part of a reply before the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueHead<'a> {
    pub(super) value_len: u64,
    /// Bytes of the reply after the value.
    pub(super) trailer_len: usize,
    pub(super) fields: ValueFields<'a>,
}

/// The fields that come with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueFields<'a> {
    /// All fields that were requested.
    Meta(ReplyFlags<'a>),
    /// Only client flags and CAS.
    Plain { client_flags: u64, cas: u64 },
}

/// A reply to the next key, or to the next keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyReply<'a> {
    /// A value, after `missed` keys that are not there.
    Value { missed: usize, value: ValueHead<'a> },
    /// This many keys are not there; 0 at the end of a command whose keys are all
    /// answered.
    Missed(usize),
    /// This many keys cannot be read, with the server's words.
    Refused { count: usize, words: &'a [u8] },
    /// A reply that names no key. It most likely answers the next key, with a miss or
    /// with these words of refusal; later replies prove it.
    Likely(Option<&'a [u8]>),
    /// Every reply has come.
    End,
}

/// Writes the requests for the keys starting at `answered`.
pub(super) fn write_requests(batch: &Batch, answered: usize, out: &mut Vec<u8>) {
    let mut in_command = 0;
    for index in answered..batch.len() {
        let key = batch.key(index);
        match batch.protocol_of(index) {
            KeyProtocol::Meta(form) => write_get(key, form, index, out),
            KeyProtocol::Binary => write_binary_get(key, opaque(index), out),
            KeyProtocol::Classic { with_cas } => {
                if in_command == 0 {
                    start_gets(with_cas, out);
                }
                write_gets_key(key, out);
                in_command += 1;
                if in_command == batch.command_key_count {
                    end_gets(out);
                    in_command = 0;
                }
            }
        }
    }
    if in_command > 0 {
        end_gets(out);
    }
    // The reply to the no-op shows that no reply before it was lost or sent twice.
    if matches!(batch.protocol(), Some(KeyProtocol::Meta(_))) {
        out.extend_from_slice(NOOP);
    }
}

fn opaque(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// How far the replies to a batch have been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// Number of keys answered so far.
    pub(super) answered: usize,
    /// Number of later replies that most likely answer the keys after those.
    pub(super) likely: usize,
    /// The first key of the current `gets`.
    command_start: usize,
    has_ended: bool,
}

impl Cursor {
    /// Starts at the first key of the request.
    pub(super) fn at(answered: usize) -> Self {
        Self {
            answered,
            likely: 0,
            command_start: answered,
            has_ended: false,
        }
    }

    /// Reports whether all replies have been read.
    pub(super) fn is_done(&self, batch: &Batch) -> bool {
        match batch.protocol() {
            // A command's END comes after its last key.
            Some(KeyProtocol::Classic { .. }) => self.command_start >= batch.len(),
            Some(KeyProtocol::Meta(_)) => self.has_ended,
            Some(KeyProtocol::Binary) | None => self.answered >= batch.len(),
        }
    }

    /// Parses the head of the next reply.
    ///
    /// # Errors
    ///
    /// - `Protocol`: the bytes are not a reply to what was requested.
    pub(super) fn parse<'a>(
        &mut self,
        batch: &Batch,
        bytes: &'a [u8],
    ) -> Result<Step<KeyReply<'a>>> {
        match batch.protocol() {
            Some(KeyProtocol::Meta(_)) | None => self.parse_meta(batch, bytes),
            Some(KeyProtocol::Binary) => parse_binary(bytes, opaque(self.answered)),
            Some(KeyProtocol::Classic { .. }) => self.parse_classic(batch, bytes),
        }
    }

    /// Replies come in the order of the keys. A value carries the number of its key, and
    /// so does a miss since 1.6.18; an error never does. A reply without a number is
    /// taken to answer the next key, until a later number, or the no-op after the last
    /// key, proves that it did.
    fn parse_meta<'a>(&mut self, batch: &Batch, bytes: &'a [u8]) -> Result<Step<KeyReply<'a>>> {
        let (head, len) = match parse_reply_head(bytes)? {
            Step::Need => return Ok(Step::Need),
            Step::Done(head, len) => (head, len),
        };
        let next = self.answered.saturating_add(self.likely);
        let line = bytes.get(..len).unwrap_or_default().trim_ascii_end();
        let check = |flags: ReplyFlags<'_>| {
            let opaque = flags.get(b'O').and_then(parse_u64);
            let is_next = opaque == Some(to_u64(next)) && next < batch.len();
            is_next.then_some(()).ok_or_else(|| foreign_reply(line))
        };
        let head = match head {
            ReplyHead::Value { value_len, flags } => {
                check(flags)?;
                KeyReply::Value {
                    missed: 0,
                    value: ValueHead {
                        value_len,
                        trailer_len: 2,
                        fields: ValueFields::Meta(flags),
                    },
                }
            }
            ReplyHead::Whole(Reply::Miss(flags)) if flags.has(b'O') => {
                check(flags)?;
                KeyReply::Missed(1)
            }
            ReplyHead::Whole(Reply::Miss(_)) if next < batch.len() => KeyReply::Likely(None),
            ReplyHead::Whole(Reply::Refused(words)) if next < batch.len() => {
                KeyReply::Likely(Some(words))
            }
            ReplyHead::Whole(Reply::Noop) if next == batch.len() => {
                self.has_ended = true;
                KeyReply::End
            }
            ReplyHead::Whole(Reply::Noop | Reply::Miss(_) | Reply::Refused(_)) => {
                return Err(foreign_reply(line));
            }
            ReplyHead::Whole(
                Reply::Value { .. }
                | Reply::Done(_)
                | Reply::NotStored(_)
                | Reply::Exists(_)
                | Reply::NotFound(_),
            ) => return Err(Error::protocol("VA or EN", line)),
        };
        if matches!(head, KeyReply::Likely(_)) {
            self.likely = self.likely.saturating_add(1);
        }
        Ok(Step::Done(head, len))
    }

    /// The values of a `gets` come in the order of its keys; keys that are not there are
    /// left out.
    fn parse_classic<'a>(&mut self, batch: &Batch, bytes: &'a [u8]) -> Result<Step<KeyReply<'a>>> {
        let (head, len) = match parse_gets(bytes)? {
            Step::Need => return Ok(Step::Need),
            Step::Done(head, len) => (head, len),
        };
        let command_end = self
            .command_start
            .saturating_add(batch.command_key_count)
            .min(batch.len());
        let rest = command_end.saturating_sub(self.answered);
        let head = match head {
            GetsHead::Value {
                key,
                client_flags,
                value_len,
                cas,
            } => {
                let missed = (self.answered..command_end)
                    .position(|index| batch.key(index) == key)
                    .ok_or_else(|| foreign_key(key))?;
                KeyReply::Value {
                    missed,
                    value: ValueHead {
                        value_len,
                        trailer_len: 2,
                        fields: ValueFields::Plain {
                            client_flags,
                            cas: cas.unwrap_or(0),
                        },
                    },
                }
            }
            GetsHead::End => {
                self.command_start = command_end;
                KeyReply::Missed(rest)
            }
            GetsHead::Refused(words) => {
                self.command_start = command_end;
                KeyReply::Refused { count: rest, words }
            }
        };
        Ok(Step::Done(head, len))
    }
}

/// Returns the error for a reply that does not answer the next key: an earlier reply was
/// lost or came twice.
fn foreign_reply(line: &[u8]) -> Error {
    Error::protocol("one reply for each key, in the order of the keys", line)
}

fn parse_binary(bytes: &[u8], opaque: u32) -> Result<Step<KeyReply<'_>>> {
    let (head, len) = match parse_binary_get(bytes, opaque)? {
        Step::Need => return Ok(Step::Need),
        Step::Done(head, len) => (head, len),
    };
    let head = match head {
        BinaryHead::Value {
            client_flags,
            value_len,
            cas,
        } => KeyReply::Value {
            missed: 0,
            value: ValueHead {
                value_len,
                trailer_len: 0,
                fields: ValueFields::Plain { client_flags, cas },
            },
        },
        BinaryHead::Miss => KeyReply::Missed(1),
        BinaryHead::Refused { message, .. } => KeyReply::Refused {
            count: 1,
            words: message,
        },
    };
    Ok(Step::Done(head, len))
}
