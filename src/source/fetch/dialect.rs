//! Requests for a batch of keys, and the heads of their replies, in each of the
//! three ways to ask.

use crate::error::{Error, Result};
use crate::protocol::binary::{BinaryHead, parse_binary_get, write_binary_get};
use crate::protocol::classic::{
    GetsHead, end_gets, foreign_key, parse_gets, start_gets, write_gets_key,
};
use crate::protocol::reply::{Reply, ReplyFlags, ReplyHead, parse_reply_head};
use crate::protocol::request::write_get;
use crate::protocol::text::{Step, split_line};
use crate::source::fetch::batch::Batch;
use crate::source::strategy::Carrier;

/// What a reply says before the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ValueHead<'a> {
    pub(super) value_len: u64,
    /// Bytes after the value that belong to the reply.
    pub(super) trailer_len: usize,
    pub(super) fields: ValueFields<'a>,
}

/// What came with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueFields<'a> {
    /// All that was asked for.
    Meta(ReplyFlags<'a>),
    /// Client flags and CAS alone.
    Plain { client_flags: u64, cas: u64 },
}

/// What came for the next key, or keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// After so many keys that are not there, one with a value.
    Value { missed: usize, value: ValueHead<'a> },
    /// So many keys are not there; 0 for the end of a command whose keys are all
    /// answered.
    Missed(usize),
    /// So many keys cannot be had, in the server's words.
    Refused { count: usize, words: &'a [u8] },
}

/// Writes the requests for the keys from `answered` on.
pub(super) fn write_requests(batch: &Batch, answered: usize, out: &mut Vec<u8>) {
    let mut in_command = 0;
    for index in answered..batch.len() {
        let key = batch.key(index);
        match batch.carrier(index) {
            Carrier::Meta(form) => write_get(key, form, out),
            Carrier::Binary => write_binary_get(key, opaque(index), out),
            Carrier::Classic => {
                if in_command == 0 {
                    start_gets(out);
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
}

fn opaque(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Where the replies to a batch have got to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    /// Keys before this one are answered.
    pub(super) answered: usize,
    /// The first key of the present `gets`.
    command_start: usize,
}

impl Cursor {
    /// Starts at a key that the request starts with.
    pub(super) fn at(answered: usize) -> Self {
        Self {
            answered,
            command_start: answered,
        }
    }

    /// Says whether nothing more will come.
    pub(super) fn is_done(&self, batch: &Batch) -> bool {
        match batch.way() {
            // A command's END comes after its last key.
            Some(Carrier::Classic) => self.command_start >= batch.len(),
            Some(Carrier::Meta(_) | Carrier::Binary) | None => self.answered >= batch.len(),
        }
    }

    /// Reads the next head.
    ///
    /// # Errors
    ///
    /// - `Protocol`: the bytes are no reply to what was asked.
    pub(super) fn parse<'a>(&mut self, batch: &Batch, bytes: &'a [u8]) -> Result<Step<Head<'a>>> {
        match batch.way() {
            Some(Carrier::Meta(_)) | None => parse_meta(bytes),
            Some(Carrier::Binary) => parse_binary(bytes, opaque(self.answered)),
            Some(Carrier::Classic) => self.parse_classic(batch, bytes),
        }
    }

    /// The values of a `gets` come in the order of its keys; those that are not
    /// there are left out.
    fn parse_classic<'a>(&mut self, batch: &Batch, bytes: &'a [u8]) -> Result<Step<Head<'a>>> {
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
                Head::Value {
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
                Head::Missed(rest)
            }
            GetsHead::Refused(words) => {
                self.command_start = command_end;
                Head::Refused { count: rest, words }
            }
        };
        Ok(Step::Done(head, len))
    }
}

fn parse_meta(bytes: &[u8]) -> Result<Step<Head<'_>>> {
    let (head, len) = match parse_reply_head(bytes)? {
        Step::Need => return Ok(Step::Need),
        Step::Done(head, len) => (head, len),
    };
    let head = match head {
        ReplyHead::Value { value_len, flags } => Head::Value {
            missed: 0,
            value: ValueHead {
                value_len,
                trailer_len: 2,
                fields: ValueFields::Meta(flags),
            },
        },
        ReplyHead::Whole(Reply::Miss) => Head::Missed(1),
        ReplyHead::Whole(Reply::Refused(words)) => Head::Refused { count: 1, words },
        ReplyHead::Whole(
            Reply::Value { .. }
            | Reply::Done(_)
            | Reply::NotStored(_)
            | Reply::Exists(_)
            | Reply::NotFound(_)
            | Reply::Noop,
        ) => {
            let (line, _) = split_line(bytes).unwrap_or((bytes, 0));
            return Err(Error::protocol("VA or EN", line));
        }
    };
    Ok(Step::Done(head, len))
}

fn parse_binary(bytes: &[u8], opaque: u32) -> Result<Step<Head<'_>>> {
    let (head, len) = match parse_binary_get(bytes, opaque)? {
        Step::Need => return Ok(Step::Need),
        Step::Done(head, len) => (head, len),
    };
    let head = match head {
        BinaryHead::Value {
            client_flags,
            value_len,
            cas,
        } => Head::Value {
            missed: 0,
            value: ValueHead {
                value_len,
                trailer_len: 0,
                fields: ValueFields::Plain { client_flags, cas },
            },
        },
        BinaryHead::Miss => Head::Missed(1),
        BinaryHead::Refused { message, .. } => Head::Refused {
            count: 1,
            words: message,
        },
    };
    Ok(Step::Done(head, len))
}
